"""Models for the crew's tests: one that does what it is told, row by row, and what one knows of its workers."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

from asking import Asked, Server
from waiting import eventually, is_gone

# A row is a verb and what it needs; each is answered with itself and how many rows the call had.
ROW_BY_ROW = """
import os, time

def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.01)

class Model:
    def predict(self, data):
        for verb, *rest in data:
            if verb == "raise":
                raise ValueError("there is no such fruit")
            if verb == "exit":
                os._exit(5)
            if verb == "fewer":
                return data[1:]
            if verb == "wait":
                open(rest[0] + ".begun", "w").close()
                wait_for(rest[0])
        return [{"row": row, "of": len(data)} for row in data]

def _load_pyfunc(path):
    return Model()
"""


def begun(gate: Path) -> None:
    """Wait until a prediction that waits for a gate has begun."""
    eventually(Path(f"{gate}.begun").exists, "the prediction has begun")


def held(server: Server, gate: Path, *more: str) -> Asked:
    """A prediction that is being made until its gate is there."""
    asked = server.begin("wait", str(gate), *more)
    begun(gate)
    return asked


def pids_of(server: Server, folder: Path, count: int) -> list[int]:
    """The process ids of so many workers, each of which has loaded the model and is free."""
    gates = [folder / f"gate-{os.urandom(4).hex()}" for _ in range(count)]
    asked = [server.begin("pid-behind", str(gate)) for gate in gates]
    for gate in gates:
        begun(gate)
    for gate in gates:
        gate.touch()
    return [one.answer().predictions for one in asked]


def kill(pid: int) -> None:
    """Kill a process, and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: is_gone(pid), "the worker is gone")


def rows(*values: Any) -> bytes:
    """A request with these rows."""
    return json.dumps({"inputs": list(values)}).encode()


def refuses(port: int) -> bool:
    """Whether no connection is taken there."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return True
    return False
