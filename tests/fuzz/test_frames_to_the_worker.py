"""Mutated frames: the worker answers what it can read, ends where it cannot, and answers the next good request."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import framing
import pytest
from acting import RawWorker, frame

SEED = 20180605
GOOD = frame("predict", 77, b'{"input": "good"}')
# To fill a payload up that is said to be longer; for one that is longer yet nobody waits.
FILLED = 1000


class Workers:
    """One worker after the other."""

    def __init__(self, folder: Path) -> None:
        order = {"model": str(folder), "loader_module": "echoing", "code": "code"}
        (folder / "code").mkdir()
        (folder / "code" / "echoing.py").write_text(Path(__file__).with_name("echoing.py").read_text())
        self._load = frame("load", 1, json.dumps(order).encode())
        self._now: RawWorker | None = None
        self.started = 0

    def worker(self) -> RawWorker:
        """The one that lives, or a new one."""
        if self._now is None:
            self._now = RawWorker()
            self._now.send(self._load)
            self.started += 1
            assert [self._now.receive()[0]["verb"] for _ in range(2)] == ["ready", "loaded"]  # type: ignore[index]
        return self._now

    def end(self, status: tuple[int, ...] | None) -> None:
        """The worker has ended, or is ended; nothing that it printed is a traceback."""
        if self._now is not None:
            if status is not None:
                assert self._now.end() in status
                assert self._now.process.stderr is not None
                assert b"Traceback" not in self._now.process.stderr.read()
            self._now.remove()
            self._now = None


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    made = Workers(tmp_path)
    yield made
    made.end(None)


@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_mutated_frames(workers: Workers, count: int) -> None:
    chance, seen = random.Random(SEED), Counter[str]()
    for number in range(count):
        stream = framing.mutated(chance)
        told = framing.told(stream)
        try:
            _try(workers, stream, told, seen)
        except AssertionError as error:
            pytest.fail(f"frame {number}, {told}: {stream!r:.300}: {error}")
    print(f"\nmutated frames: {count}, workers: {workers.started}: {dict(seen)}")
    assert seen["broken"] > 0
    assert workers.started < count // 10, "most leave the worker able to go on"


def _try(workers: Workers, stream: bytes, told: framing.Told, seen: Counter[str]) -> None:
    worker = workers.worker()
    if told.end == "unended":  # the good frame's header becomes this one's end
        stream += b"\n"
        told = framing.told(stream)
    seen[told.end] += 1
    worker.send(stream)
    _answers(worker, told.ids, seen)
    if told.end == "broken":
        header, body = worker.receive()  # type: ignore[misc]
        assert (header["verb"], header["id"], body["code"]) == ("failed", 0, "worker-protocol")
        assert worker.receive() is None
        workers.end((3,))
    elif told.end == "stop" or told.missing > FILLED:
        workers.end((0, -9))
    else:
        if told.missing:
            worker.send(b" " * told.missing)
            assert worker.receive() is not None
        worker.send(GOOD)
        assert worker.receive()[1] == {"input": "good"}  # type: ignore[index]


def _answers(worker: RawWorker, ids: tuple[int, ...], seen: Counter[str]) -> None:
    for number in ids:
        header, body = worker.receive()  # type: ignore[misc]
        assert header["id"] == number
        assert header["verb"] in ("predicted", "failed")
        said = "answered" if header["verb"] == "predicted" else body["code"]
        assert said in ("answered", "worker-protocol", "input-invalid")
        seen[said] += 1
