"""What the tests of the command line call and look at."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
USER, CANARY = "deployer", "canary-3f9a1c"

LOADER = """
import os, signal, subprocess, sys, time

class Model:
    def predict(self, data):
        verb, *rest = data if isinstance(data, list) and data else ["echo"]
        if verb == "raise":
            raise ValueError("there is no such fruit")
        if verb == "exit":
            sys.exit(3)
        if verb == "end":
            os._exit(5)
        if verb == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if verb == "sleep":
            child = subprocess.Popen(["sleep", "300"])
            with open(rest[0] + ".new", "w") as file:
                file.write("%d %d" % (os.getpid(), child.pid))
            os.rename(rest[0] + ".new", rest[0])
            time.sleep(300)
        if verb == "print":
            print("the model prints")
            os.system("echo so does its child")
        if verb == "nan":
            return [float("nan"), 1.0]
        if verb == "set":
            return [{1, 2}]
        if verb == "url":
            return ["https://user:word@host.example/"]
        if verb == "environ":
            return dict(os.environ)
        return data

def _load_pyfunc(path):
    return Model()
"""


@dataclass(frozen=True)
class Done:
    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def json(self) -> dict[str, Any]:
        (line,) = self.stdout.splitlines()
        answer = json.loads(line)
        assert isinstance(answer, dict)
        return answer

    @property
    def error(self) -> str | None:
        """The stable code of the error on stderr."""
        found = [line for line in self.stderr.splitlines() if line.startswith("error[")]
        return found[-1].removeprefix("error[").partition("]")[0] if found else None


Call = Callable[..., Done]
Start = Callable[..., "subprocess.Popen[bytes]"]


@dataclass(frozen=True)
class Tiny:
    """A model without any library, and inputs for it."""

    path: Path

    def input(self, *data: object, name: str = "input.json") -> Path:
        path = self.path.parent / name
        path.write_text(json.dumps({"inputs": list(data)}))
        return path


MakeTiny = Callable[..., Tiny]


def gone(pid: int, seconds: float = 5.0) -> bool:
    """Whether a process is there no more (or is a zombie that its new parent has not waited for)."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def running_with(text: str) -> list[str]:
    """The command lines of processes that have a text in them."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            if text in words:
                found.append(words)
    return found


def wait_for(path: Path, process: subprocess.Popen[bytes], seconds: float = 30.0) -> str:
    """The text of a file that a process is about to write."""
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"{path} did not come"
        time.sleep(0.02)
    return path.read_text()
