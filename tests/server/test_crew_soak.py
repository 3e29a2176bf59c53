"""A soak: clients without a pause, workers killed at random; run by command alone (``-m soak``)."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import HERE, Server, children_of
from tiny import write_model

SECONDS = float(os.environ.get("SOAK_SECONDS", "600"))
CLIENTS, WORKERS, BATCH = 24, 3, 8
# Takes a moment, so that a kill finds something that is being made.
TWICE = """
import time

class Twice:
    def predict(self, data):
        time.sleep(0.002)
        return [2 * value for value in data]

def _load_pyfunc(path):
    return Twice()
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "served" / "model", python=HERE, loader=TWICE)


class Soak:
    """What the clients saw, and how many workers were killed."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.end = time.monotonic() + SECONDS
        self.seen: Counter[Any] = Counter()
        self.wrong: list[Any] = []
        self.kills = 0

    def ask(self, client: int) -> None:
        """Ask without a pause, and look at every answer."""
        chance, connection = random.Random(client), self.server.connect()
        while time.monotonic() < self.end:
            values = [chance.randrange(10**9) for _ in range(chance.randint(1, 20))]
            payload = json.dumps({"inputs": values})
            try:
                connection.request("POST", "/invocations", payload, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                said = json.loads(answer.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.wrong.append(repr(error))
                connection.close()
                continue
            self.seen[answer.status] += 1
            if answer.status == 200 and said != {"predictions": [2 * value for value in values]}:
                self.wrong.append((values, said))
            elif answer.status != 200:
                self.seen[said["error_code"]] += 1
        connection.close()

    def kill(self) -> None:
        """Kill a worker at random now and then: the sentinel of one, or what it looks after."""
        chance = random.Random(0)
        while time.monotonic() < self.end:
            time.sleep(chance.uniform(0.1, 1.0))
            sentinels = children_of(self.server.process.pid)
            workers = [below for one in sentinels for below in _children_of(one)]
            if chosen := [*sentinels, *workers]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(chance.choice(chosen), signal.SIGKILL)
                    self.kills += 1


def _children_of(pid: int) -> list[int]:
    try:
        return children_of(pid)
    except (FileNotFoundError, ProcessLookupError):  # it was killed just now
        return []


@pytest.mark.soak
@pytest.mark.parametrize("batch", [1, BATCH])
def test_workers_killed_at_random_cost_nothing_but_what_they_had(serve: Callable[..., Server], batch: int) -> None:
    server = serve(ENVBUILD_WORKERS=str(WORKERS), ENVBUILD_BATCH_SIZE=str(batch)).wait_loaded()
    soak = Soak(server)
    threads = [threading.Thread(target=soak.ask, args=(client,)) for client in range(CLIENTS)]
    threads.append(threading.Thread(target=soak.kill))
    memory = [_memory(server.process.pid)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    memory.append(_memory(server.process.pid))
    print(f"batch {batch}: {soak.kills} workers killed, {dict(soak.seen)}, server {memory} KiB")
    assert soak.wrong == []
    assert set(soak.seen) <= {200, 503, "TEMPORARILY_UNAVAILABLE"}
    # What was together with others on a worker that was killed is asked again alone.
    assert soak.seen[503] <= soak.kills
    assert soak.seen[200] > 100 * soak.seen[503]
    server.wait_loaded()
    server.process.terminate()
    assert server.wait() == 0


def _memory(pid: int) -> int:
    """The resident memory of a process, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])
