"""The protocol, spoken to the worker without the bridge, rightly and wrongly."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from acting import RawWorker, frame, order
from waiting import eventually, is_gone

StartRaw = Callable[..., RawWorker]
MakeModel = Callable[..., Any]


def load_order(model: Any) -> bytes:
    return json.dumps({"model": str(model.path), "loader_module": "its_loader", "code": "code"}).encode()


def failed(answer: Any) -> tuple[int, str]:
    header, payload = answer
    assert header["verb"] == "failed"
    return header["id"], payload["code"]


def test_the_worker_speaks_first(raw_worker: StartRaw, every_python: Path) -> None:
    worker = raw_worker(every_python)
    header, said = worker.receive()  # type: ignore[misc]
    assert (header["protocol"], header["id"], header["verb"]) == (1, 0, "ready")
    assert set(said) == {"protocol", "python", "implementation", "executable", "pid", "loader"}
    assert said["pid"] == worker.process.pid
    worker.send(frame("stop", 1))
    assert worker.process.wait(20) == 0


def test_everything_may_be_sent_at_once(raw_worker: StartRaw, make_model: MakeModel) -> None:
    worker = raw_worker()
    asked = [frame("predict", number, order("echo", value=number)) for number in range(2, 50)]
    worker.send(frame("load", 1, load_order(make_model())) + b"".join(asked) + frame("stop", 50))
    answers = [worker.receive() for _ in range(50)]
    assert [header["verb"] for header, _ in answers] == ["ready", "loaded"] + ["predicted"] * 48  # type: ignore[misc]
    assert [payload for _, payload in answers[2:]] == list(range(2, 50))  # type: ignore[misc]
    assert worker.process.wait(20) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        frame("sing", 7),
        frame("predict", 7, protocol=99),
        frame("predict", 7, protocol=None),
        frame("predict", 7, b"{}"),  # nothing is loaded
        frame("load", 7, b"[1, 2]"),
        frame("load", 7, b'{"model": 1}'),
        frame(["list"], 7),  # type: ignore[arg-type]
    ],
)
def test_what_can_be_read_is_answered_and_the_worker_goes_on(
    raw_worker: StartRaw, make_model: MakeModel, wrong: bytes
) -> None:
    worker = raw_worker()
    worker.send(wrong + frame("load", 8, load_order(make_model())) + frame("predict", 9, order("echo", value="ok")))
    assert worker.receive()[0]["verb"] == "ready"  # type: ignore[index]
    assert failed(worker.receive()) == (7, "worker-protocol")
    assert worker.receive()[0]["verb"] == "loaded"  # type: ignore[index]
    assert worker.receive()[1] == "ok"  # type: ignore[index]


def test_the_versions_are_both_named(raw_worker: StartRaw) -> None:
    worker = raw_worker()
    worker.receive()
    worker.send(frame("load", 1, protocol=99))
    assert worker.receive()[1]["message"] == "this worker speaks protocol 1, not 99"  # type: ignore[index]


@pytest.mark.parametrize(
    "wrong",
    [
        b"not json\n",
        b"[]\n",
        b"{}\n",
        b"\n",
        b"\xff\xfe\n",
        frame("predict", 1, length=-1),
        frame("predict", 1, length="5"),
        frame("predict", 1, length=True),
        frame("predict", 1, length=1 << 60),
        b"x" * 70_000 + b"\n",
        b"[" * 60_000 + b"\n",
    ],
)
def test_a_header_that_cannot_be_read_ends_the_worker(raw_worker: StartRaw, every_python: Path, wrong: bytes) -> None:
    worker = raw_worker(every_python)
    worker.receive()
    worker.send(wrong)
    assert failed(worker.receive()) == (0, "worker-protocol")
    assert worker.process.wait(20) == 3


def test_end_of_file_ends_an_idle_worker(raw_worker: StartRaw, every_python: Path) -> None:
    worker = raw_worker(every_python)
    worker.receive()
    assert worker.end() in (0, -9)


def test_the_sentinel_ends_with_its_worker(raw_worker: StartRaw) -> None:
    """Also when nobody kills the group and the channel stays open."""
    worker = raw_worker()
    worker.receive()
    worker.process.kill()
    worker.process.wait()
    eventually(lambda: _group_is_gone(worker.process.pid), "the sentinel is gone")


def _group_is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return all(is_gone(int(path.name)) for path in Path("/proc").glob("[0-9]*") if _group_of(path) == group)


def _group_of(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[2])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def test_a_worker_whose_host_is_another_process_does_not_start(raw_worker: StartRaw) -> None:
    worker = raw_worker(host=os.getppid())
    assert worker.receive() is None
    assert worker.process.wait(20) == 1


def test_a_worker_without_a_host_to_watch(raw_worker: StartRaw) -> None:
    assert raw_worker(host=0).receive()[0]["verb"] == "ready"  # type: ignore[index]


def test_mutated_frames(raw_worker: StartRaw, make_model: MakeModel) -> None:
    """After any change to a frame: the next good request is answered, or the worker ends, saying why."""
    chance = random.Random(20180605)
    load = frame("load", 1, load_order(make_model()))
    good = frame("predict", 3, order("echo", value="good"))
    worker = None
    restarts = 0
    for _ in range(200):
        if worker is None:
            worker = raw_worker()
            worker.send(load)
            assert [worker.receive()[0]["verb"] for _ in range(2)] == ["ready", "loaded"]  # type: ignore[index]
        if not _survives(worker, _mutated(frame("predict", 2, order("echo", value="bad")), chance), good):
            restarts += 1
            worker.remove()
            assert is_gone(worker.process.pid)
            worker = None
    assert 0 < restarts < 200


def _mutated(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        place = chance.randrange(len(changed))
        how = chance.choice(("change", "change", "insert", "delete", "cut"))
        if how == "change":
            changed[place] = chance.randrange(256)
        elif how == "insert":
            changed.insert(place, chance.randrange(256))
        elif how == "delete" and len(changed) > 1:
            del changed[place]
        elif chance.random() < 0.3:
            del changed[place + 1 :]
    return bytes(changed)


def _survives(worker: RawWorker, mutated: bytes, good: bytes) -> bool:
    worker.send(mutated + good)
    told = False
    while answer := worker.receive(0.5):
        header, payload = answer
        if header["verb"] == "predicted" and header["id"] == 3:
            assert payload == "good"
            return True
        assert header["verb"] in ("failed", "predicted")
        told = told or header["verb"] == "failed"
    if worker.ended:
        assert told, "it ended, and did not say why"
        assert worker.process.wait(20) == 3
    else:
        # It waits for the rest of a frame whose length has become larger.
        assert worker.end() in (0, -9)
    return False
