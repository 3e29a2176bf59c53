"""A server as a process of its own, and what one asks of it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import select
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit import REPO
from waiting import DEADLINE, eventually

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
SERVE_HERE = Path(__file__).resolve().parent / "serve_here.py"

# Does what its input says; as it loads, what lies beside its MLmodel says.
LOADER = """
import os, signal, sys, time

def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.01)

class Model:
    def __init__(self):
        self.seen = []

    def predict(self, data):
        verb, *rest = data
        self.seen.append(verb)
        if verb == "raise":
            raise ValueError("there is no such fruit")
        if verb == "exit":
            os._exit(5)
        if verb == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if verb == "much":
            return len(b"x" * rest[0])
        if verb == "pid":
            return os.getpid()
        if verb == "nan":
            return [float("nan")]
        if verb == "set":
            return {1, 2}
        if verb == "seen":
            return self.seen
        if verb == "tmpdir":
            return os.environ["TMPDIR"]
        if verb in ("wait", "pid-behind"):
            open(rest[0] + ".begun", "w").close()
            wait_for(rest[0])
        if verb == "pid-behind":
            return os.getpid()
        return data

def _load_pyfunc(path):
    try:
        with open(os.path.join(os.path.dirname(path), "loads"), "a") as file:
            file.write("%d\\n" % os.getpid())
    except OSError:
        pass
    if os.path.exists(os.path.join(path, "waits")):
        wait_for(os.path.join(path, "go"))
    if os.path.exists(os.path.join(path, "fails")):
        raise ImportError("there is no library of that name")
    return Model()
"""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def predictions(self) -> Any:
        assert self.status == 200, self.body
        return self.json["predictions"]


def body(*data: object) -> bytes:
    return json.dumps({"inputs": list(data)}).encode()


def children_of(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        # A thread may end meanwhile.
        with contextlib.suppress(OSError):
            found += [int(child) for child in task.read_text().split()]
    return found


def environ(**more: str) -> dict[str, str]:
    # What some networks cannot do without.
    kept = {name: value for name, value in os.environ.items() if name.startswith("SSL_CERT") or name.endswith("_PROXY")}
    return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PYTHONPATH": str(REPO), **kept, **more}


class Server:
    """A server that was started; its stderr goes into a file."""

    def __init__(self, argv: Sequence[object], log: Path, env: Mapping[str, str] | None = None, **options: Any) -> None:
        self._log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                list(map(str, argv)), env=env or environ(), stderr=stderr, start_new_session=True, **options
            )
        self._known_port = 0

    @property
    def stderr(self) -> str:
        return self._log.read_text()

    @property
    def port(self) -> int:
        self._known_port = self._known_port or int(eventually(self._port, "it listens"))
        return self._known_port

    def _port(self) -> str | None:
        assert self.process.poll() is None, self.stderr
        found = re.search(r"listening at https?://[^\s\"]*:(\d+)", self.stderr)
        return None if found is None else found[1]

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)

    def ask(
        self,
        method: str,
        path: str,
        payload: bytes | None = None,
        content_type: str | None = None,
        headers: Mapping[str, str] = {},
    ) -> Answer:
        connection = self.connect()
        try:
            known = {} if content_type is None else {"Content-Type": content_type}
            connection.request(method, path, payload, {**known, **headers})
            return _read(connection)
        finally:
            connection.close()

    def predict(self, *data: object) -> Answer:
        return self.ask("POST", "/invocations", body(*data), "application/json")

    def begin(self, *data: object) -> Asked:
        """Ask for a prediction without waiting for it; what is asked afterwards is read afterwards."""
        return Asked(self.connect(), *data)

    def ping(self) -> int:
        return self.ask("GET", "/ping").status

    def wait_loaded(self) -> Server:
        eventually(lambda: self.ping() == 200, "the model is loaded")
        return self

    def wait(self) -> int:
        return self.process.wait(DEADLINE)

    def remove(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class Asked:
    """A question that is out and waits for its answer."""

    def __init__(self, connection: http.client.HTTPConnection, *data: object) -> None:
        self._connection = connection
        connection.request("POST", "/invocations", body(*data), {"Content-Type": "application/json"})

    @property
    def is_waiting(self) -> bool:
        return not select.select([self._connection.sock], [], [], 0)[0]

    def answer(self) -> Answer:
        answer = _read(self._connection)
        self.close()
        return answer

    def close(self) -> None:
        """Go away without an answer."""
        self._connection.close()


def _read(connection: http.client.HTTPConnection) -> Answer:
    answer = connection.getresponse()
    return Answer(answer.status, dict(answer.getheaders()), answer.read())


def here(environment: Path, own: Path, *command: object, mounted: Path | None = None) -> list[object]:
    """The argv of a server with its own places."""
    return [sys.executable, SERVE_HERE, environment, own, mounted or environment / "no-mount", *command]


SERVE = ("serve", "--host", "127.0.0.1", "--port", "0")
