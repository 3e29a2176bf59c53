"""What the tests of resident workers call and look at."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from waiting import eventually

MakeModel = Callable[..., Path]
# Loads slowly enough to be caught at it where it is asked to; says who it is.
LOADER = """
import json, os, signal, sys, time

class Model:
    def __init__(self, value):
        self.value, self.calls = value, 0

    def predict(self, data):
        verb, *rest = data if isinstance(data, list) else ["echo"]
        self.calls += 1
        if verb == "who":
            return [os.getpid(), self.value, self.calls, *rest]
        if verb == "raise":
            raise ValueError("there is no such fruit")
        if verb == "exit":
            os._exit(5)
        if verb == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if verb == "print":
            print("the model prints " + str(rest[0]))
            os.system("echo so does its child")
        if verb == "print much":
            for number in range(20000):
                print(number)
        if verb == "nan":
            return [float("nan"), 1.0]
        if verb == "long":
            return ["x" * int(rest[0])]
        if verb == "variable":
            return [os.environ.get(name) for name in rest]
        if verb == "network":
            with open("/proc/net/dev") as file:
                return [line.split(":")[0].strip() for line in file if ":" in line]
        if verb == "write":
            open(rest[0], "w").close()
        if verb == "sleep":
            with open(rest[0], "w") as file:
                file.write(str(os.getpid()))
            end = time.monotonic() + 120
            while isinstance(rest[1], str) and not os.path.exists(rest[1]) and time.monotonic() < end:
                time.sleep(0.01)
            time.sleep(0 if isinstance(rest[1], str) else rest[1])
        return data

def _load_pyfunc(path):
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    print("the model is loaded")
    with open(os.path.join(here, "value.txt")) as file:
        value = file.read()
    time.sleep(float(os.environ.get("LOADING", "0")))
    return Model(value)
"""


@dataclass(frozen=True)
class Done:
    code: int
    stdout: str
    stderr: str

    @property
    def answer(self) -> Any:
        """The predictions."""
        return json.loads(self.stdout)["predictions"]


@dataclass
class House:
    """A store with one environment, a place for temporary files, and models."""

    home: Path
    temporary: Path
    folder: Path
    more: dict[str, str] = field(default_factory=dict)

    def environ(self, **more: str) -> dict[str, str]:
        """The variables of a call."""
        root = str(Path(__file__).resolve().parents[2])
        ours = {"PYTHONPATH": root, "ENVBUILD_HOME": str(self.home), "TMPDIR": str(self.temporary), "LC_ALL": "C.UTF-8"}
        return {**os.environ, **ours, **self.more, **more}

    def start(self, *words: object, env: dict[str, str] | None = None, **more: Any) -> subprocess.Popen[bytes]:
        """Start envbuild."""
        options: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        options.update(cwd=self.folder, env=self.environ(**(env or {})), start_new_session=True)
        argv = [sys.executable, "-m", "envbuild", *map(str, words)]
        return subprocess.Popen(argv, **{**options, **more})

    def call(self, *words: object, stdin: bytes = b"", **more: Any) -> Done:
        """Run envbuild to its end."""
        with self.start(*words, **more) as process:
            out, err = process.communicate(stdin, timeout=120)
        assert b"Traceback" not in err or b"the worker's stderr" in err, err.decode()
        return Done(process.returncode, out.decode(), err.decode())

    def predict(
        self, model: Path, *asked: object, warm: bool = True, options: tuple[str, ...] = (), **more: Any
    ) -> Done:
        """Predict, by default with a worker that stays."""
        words = ["predict", model, "-", "-q", *(["--keep-warm", "5m"] if warm else []), *options]
        return self.call(*words, stdin=body(*asked), **more)

    def workers(self) -> list[dict[str, Any]]:
        """What ``workers list`` says."""
        done = self.call("workers", "list", "--json")
        assert done.code == 0, done.stderr
        listed: list[dict[str, Any]] = json.loads(done.stdout)["workers"]
        return listed

    def private(self) -> Path:
        """The private directory."""
        (found,) = self.home.glob("resident-*")
        return found

    def running(self) -> dict[int, str]:
        """The processes of keepers and workers: all that know our place for temporary files, but for us."""
        found = {}
        mark = f"TMPDIR={self.temporary}".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if mark in (entry / "environ").read_bytes() and _lives(entry):
                        words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                        found[int(entry.name)] = words
        return found

    def nothing_is_left(self, *, empty_ground: bool = True, after_kills: bool = False) -> None:
        """No process, no private directory of a worker's, and no socket.

        :param after_kills: directories in which there is nothing are passed over: who is killed between making them and
            starting the worker, which removes them, leaves them there.
        """
        eventually(lambda: not self.running(), f"no process is left: {self.running()}")
        eventually(lambda: not self._private(after_kills=after_kills), "no private directory is left")
        if empty_ground:
            left = [path.name for path in self.home.glob("resident-*/*") if path.name != "secret"]
            assert left == []

    def _private(self, *, after_kills: bool) -> list[Path]:
        if after_kills:
            return [path for path in self.temporary.rglob("*") if not path.is_dir()]
        return list(self.temporary.iterdir())


def _lives(entry: Path) -> bool:
    return (entry / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"


def body(*asked: object) -> bytes:
    """A request."""
    return json.dumps({"inputs": list(asked)}).encode()


@contextlib.contextmanager
def side_by_side(count: int, work: Any) -> Iterator[list[Any]]:
    """Run something in as many threads; their results, in order."""
    results: list[Any] = [None] * count

    def run(number: int) -> None:
        results[number] = work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    yield results
