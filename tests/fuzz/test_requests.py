"""Mutated requests on a line: no fault of ours, no hang, and after them the server is what it was before."""

from __future__ import annotations

import json
import random
import re
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import bodies
import pytest
from asking import Server, environ
from drawn_requests import Drawn, drawn
from tiny import write_model
from waiting import DEADLINE, eventually

SEED = 20181121
# How long an answer may be on its way before nothing more is waited for; it shows less to miss it, but nothing wrong.
QUIET_SECONDS = 0.03
SERVE_THERE = Path(__file__).parent / "serve_there.py"
# What the model itself may do wrong.
ITS_OWN = {"model-raised", "output-invalid"}


@dataclass(frozen=True)
class State:
    """What a server takes of the machine, and which worker it has."""

    memory: int
    descriptors: int
    threads: int
    worker: str

    def __str__(self) -> str:
        return f"{self.memory >> 20} MiB, {self.descriptors} descriptors, {self.threads} threads"


class Fuzzed(Server):
    """A server whose log is objects."""

    def state(self) -> State:
        """What it takes once nobody is connected any more."""
        at = Path(f"/proc/{self.process.pid}")
        eventually(lambda: not self._is_connected(), "no connection is left")
        text = (at / "status").read_text()
        known = {name: int(value) for name, value in re.findall(r"^(VmRSS|Threads):\s+(\d+)", text, re.MULTILINE)}
        return State(
            memory=known["VmRSS"] * 1024,
            descriptors=len(list((at / "fd").iterdir())),
            threads=known["Threads"],
            worker=metric(self, "envbuild_worker_restarts_total"),
        )

    def _is_connected(self) -> bool:
        """Whether it has a connection of its port; that of a client that is closing counts as well."""
        there = f":{self.port:04X} "
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        return any(line.split()[1].endswith(there.strip()) and line.split()[3] == "01" for line in lines)


def metric(server: Server, name: str) -> str:
    return "".join(re.findall(rf"^{name}\S* (\S+)$", server.ask("GET", "/metrics").body.decode(), re.MULTILINE))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Fuzzed]:
    more = "mlflow_version: 3.1.0\nsignature:\n" + "".join(
        f"  {name}: {json.dumps(json.dumps(value))}\n" for name, value in bodies.COLUMNS.items()
    )
    # Imported as it loads: a first prediction that takes long would be given up with those who go away meanwhile.
    loader = "import pandas\n" + (Path(__file__).parent / "echoing.py").read_text()
    model = write_model(tmp_path / "model", loader=loader, more=more)
    variables = {"ENVBUILD_WORKERS": "2", "ENVBUILD_LOG_FORMAT": "json", "ENVBUILD_MAX_BODY": "1MB"}
    argv = [sys.executable, "-W", "error::ResourceWarning", SERVE_THERE, model]
    server = Fuzzed(argv, tmp_path / "log", environ(TMPDIR=str(tmp_path), **variables))
    try:
        yield server
        server.process.terminate()
        assert server.wait() == 0
    finally:
        server.remove()


def send(port: int, request: Drawn) -> bytes:
    """Everything that comes for it, until the server closes; that it does so is part of the test."""
    came = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as line:
        try:
            for piece in request.pieces:
                line.sendall(piece)
            line.settimeout(QUIET_SECONDS)
            try:
                while data := line.recv(1 << 16):
                    came += data
            except TimeoutError:
                line.settimeout(DEADLINE)
                line.shutdown(socket.SHUT_WR)
                while data := line.recv(1 << 16):
                    came += data
        except (ConnectionResetError, BrokenPipeError):  # it was closed while we were still sending
            pass
    return bytes(came)


def statuses(answer: bytes) -> list[str]:
    """The statuses of the answers; those of errors are in a form of ours."""
    heads = re.findall(
        r"^HTTP/1\.1 (\d{3}) [A-Za-z -]*\r\n(.*?)\r\n\r\n", answer.decode("latin-1"), re.MULTILINE | re.DOTALL
    )
    for status, head in heads:
        assert status < "400" or "content-type: application/json" in head, (status, head)
    return [status for status, _ in heads]


def one(port: int, number: int) -> tuple[str, list[str]]:
    request = drawn(random.Random(SEED + number))
    try:
        answer = send(port, request)
    except TimeoutError:
        pytest.fail(f"request {number} hangs: {request!r:.1000}")
    assert b"Internal Server Error" not in answer, (number, request, answer[-500:])
    assert b"a fault of envbuild" not in answer, (number, request, answer[-500:])
    return request.kind, statuses(answer)


@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.soak)])
def test_mutated_requests(server: Fuzzed, count: int) -> None:
    server.wait_loaded()
    kinds, seen, states = Counter[str](), Counter[str](), []
    with ThreadPoolExecutor(4) as clients:
        for start in range(0, count, 100):
            for kind, said in clients.map(lambda number: one(server.port, number), range(start, start + 100)):
                kinds[kind] += 1
                seen.update(said or ["closed"])
            answer = server.ask("POST", "/invocations", bodies.GOOD["columns"], "application/json")
            assert answer.json == {"predictions": [{"a": 1, "b": 0.5}]}, start
            states.append(server.state())
    print(f"\nmutated requests: {count}: {dict(kinds)}; answers: {dict(seen)}; {states[0]} … {states[-1]}")
    logged = [json.loads(line) for line in server.stderr.splitlines()]
    faults = {entry["code"] for entry in logged if entry.get("status", 0) >= 500}
    assert faults <= ITS_OWN, [
        entry for entry in logged if entry.get("code", "http") not in ITS_OWN and entry["level"] == "error"
    ]
    assert "Traceback" not in server.stderr
    assert [entry for entry in logged if entry["level"] == "error"] == []
    half = states[len(states) // 2]
    # The first requests fill pools and caches; what grows after them is a leak.
    assert states[-1].memory < half.memory + (8 << 20)
    assert states[-1].descriptors <= half.descriptors + 2
    assert states[-1].threads <= half.threads + 4
    assert {state.worker for state in states} == {"0.00.0"}
    assert seen["200"] > count // 20, "mutations that leave nothing right show little"
