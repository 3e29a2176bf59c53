"""A model that does what its input says, and a client of the worker that may break the rules."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

WORKER_FOLDER = Path(__file__).resolve().parents[2] / "envbuild" / "worker"
DEADLINE = 20.0

# Does what its input says. The input comes as {"input": {"do": NAME, ...}}, a form that needs no numpy.
MODEL = """
import os, signal, subprocess, sys, threading, time

class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no text")

class Model:
    def predict(self, data):
        order = data["input"]
        return getattr(self, order["do"])(order)

    def echo(self, order):
        return order["value"]

    def noise(self, order):
        print("noise by print")
        sys.__stdout__.write("noise by __stdout__\\n")
        os.write(1, b"noise by fd\\n")
        os.system("echo noise by shell")
        return "quiet"

    def much_noise(self, order):
        sys.stderr.write("x" * order["size"])
        return order["value"]

    def read(self, order):
        return [sys.stdin.read(), os.read(0, 10).decode()]

    def close(self, order):
        for fd in (0, 1, 2):
            os.close(fd)
        os.closerange(3, 100)
        return "closed"

    def exit(self, order):
        sys.exit(3)

    def hard_exit(self, order):
        os.write(2, b"last words\\n")
        os._exit(3)

    def kill(self, order):
        os.kill(os.getpid(), signal.SIGKILL)

    def kill_with_child(self, order):
        subprocess.Popen(["sleep", "1000"], close_fds=False)
        if os.fork() == 0:
            time.sleep(1000)
        os.kill(os.getpid(), signal.SIGKILL)

    def fail(self, order):
        raise ValueError("two\\nlines")

    def fail_unprintably(self, order):
        raise Unprintable()

    def interrupt(self, order):
        raise KeyboardInterrupt

    def fork(self, order):
        os.fork()
        return "once"

    def leave_thread(self, order):
        threading.Thread(target=time.sleep, args=(1000,)).start()
        return "left"

    def hang(self, order):
        child = subprocess.Popen(["sleep", "1000"])
        with open(order["file"] + ".part", "w") as file:
            file.write("%d %d" % (os.getpid(), child.pid))
        os.rename(order["file"] + ".part", order["file"])
        if order.get("holding_gil"):
            import ctypes
            ctypes.PyDLL(None).sleep(1000)
        time.sleep(1000)

    def environ(self, order):
        return dict(os.environ)

    def path(self, order):
        return sys.path

    def importable(self, order):
        found = []
        for name in order["names"]:
            try:
                __import__(name)
                found.append(name)
            except ImportError:
                pass
        return found

    def utils(self, order):
        import utils
        return utils.WHOSE

    def imported(self, order):
        return [name for name in order["names"] if name in sys.modules]

def _load_pyfunc(path):
    return Model()
"""


def order(do: str, **more: Any) -> bytes:
    """The body that makes the model do something."""
    return json.dumps({"input": {"do": do, **more}}).encode()


class RawWorker:
    """A worker without the bridge: what is sent is up to the test."""

    def __init__(self, python: Path | str = sys.executable, host: int | None = None) -> None:
        self.process = subprocess.Popen(
            [str(python), "-I", "-S", str(WORKER_FOLDER), str(os.getpid() if host is None else host)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        )
        self.ended = False
        self._rest = b""

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def receive(self, seconds: float = DEADLINE) -> tuple[dict[str, Any], Any] | None:
        """The next frame; ``None`` at the end or when nothing comes."""
        line = self._until(lambda: b"\n" in self._rest, seconds)
        if not line:
            return None
        head, _, self._rest = self._rest.partition(b"\n")
        header = json.loads(head)
        assert self._until(lambda: len(self._rest) >= header["length"], seconds)
        payload, self._rest = self._rest[: header["length"]], self._rest[header["length"] :]
        return header, json.loads(payload)

    def _until(self, enough: Callable[[], bool], seconds: float) -> bool:
        assert self.process.stdout is not None
        while not enough():
            if not select.select([self.process.stdout], [], [], seconds)[0]:
                return False
            chunk = self.process.stdout.read(65536)
            if not chunk:
                self.ended = True
                return False
            self._rest += chunk
        return True

    def end(self) -> int:
        """Close the channel and give the exit status."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(DEADLINE)

    def remove(self) -> None:
        with self.process:
            self.process.kill()


def frame(verb: str, number: int, payload: bytes = b"{}", **header: Any) -> bytes:
    """A frame's bytes; any header can be set to anything."""
    fields = {"protocol": 4, "id": number, "verb": verb, "content_type": "application/json", "length": len(payload)}
    return json.dumps({**fields, **header}).encode() + b"\n" + payload
