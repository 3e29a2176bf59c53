"""A model that stays at hand: its workers die, time out and idle, and the next request is answered."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from doing import LOADER, body, model_in
from waiting import eventually, is_gone

from envbuild.bridge import RenewedWorker, Worker, WorkerOptions
from envbuild.errors import ModelNotLoaded, ModelRaised, OutOfMemory, TimedOut, UsageError, WorkerExited, WorkerKilled

HERE = Path(sys.executable)
Keep = Callable[..., RenewedWorker]
PID = "os.getpid()"


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Keep]:
    kept: list[RenewedWorker] = []

    def made(
        source: str = LOADER, idle_timeout: float | None = None, on_close: Any = lambda: None, **options: Any
    ) -> Any:
        model, given = model_in(tmp_path, source), WorkerOptions(stderr=lambda line: None, **options)
        kept.append(
            RenewedWorker(lambda: Worker.start(HERE, model, given), idle_timeout=idle_timeout, on_close=on_close)
        )
        return kept[-1]

    yield made
    for one in kept:
        one.close()


def ask(worker: RenewedWorker, question: str) -> Any:
    return json.loads(worker.predict(body(question)).payload)


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("os._exit(3)", WorkerExited),
        ("os.kill(os.getpid(), 9)", WorkerKilled),
        ("time.sleep(1000)", TimedOut),
        ("len(b'x' * 2**30)", OutOfMemory),
    ],
)
def test_after_a_worker_was_lost_the_next_request_gets_another(
    keep: Keep, question: str, kind: type[Exception]
) -> None:
    worker = keep(predict_timeout=1.0 if kind is TimedOut else None, max_memory=2**28)
    first = ask(worker, PID)
    for _ in range(2):
        with pytest.raises(kind):
            ask(worker, question)
    ask(worker, PID)
    if kind is not OutOfMemory:  # where there are no control groups, the worker was only refused the memory
        assert is_gone(first)
        assert ask(worker, PID) != first


def test_a_worker_that_died_while_nobody_asked_is_replaced(keep: Keep) -> None:
    worker = keep()
    first = ask(worker, PID)
    os.kill(first, 9)
    eventually(lambda: is_gone(first), "it is dead")
    assert ask(worker, PID) != first


def test_a_worker_that_can_go_on_is_kept(keep: Keep) -> None:
    worker = keep()
    first = ask(worker, PID)
    with pytest.raises(ModelRaised):
        ask(worker, "1 / 0")
    assert ask(worker, PID) == first


def test_a_load_that_failed_is_tried_again(keep: Keep, tmp_path: Path) -> None:
    source = f"if not os.path.exists({str(tmp_path / 'mended')!r}): raise OSError('not yet')"
    worker = keep(source="import os\n" + source + LOADER)
    for _ in range(2):
        with pytest.raises(ModelNotLoaded, match="not yet"):
            ask(worker, "1")
    assert worker.pid is None
    (tmp_path / "mended").touch()
    worker.wait_loaded()
    assert ask(worker, "1") == 1


def test_an_idle_worker_is_ended_and_the_next_request_starts_another(keep: Keep) -> None:
    worker = keep(idle_timeout=0.2)
    first = ask(worker, PID)
    eventually(lambda: is_gone(first) and worker.pid is None, "it was ended")
    second = ask(worker, PID)
    assert second != first
    eventually(lambda: is_gone(second), "it was ended too")


def test_a_worker_at_work_is_not_idle(keep: Keep) -> None:
    worker = keep(idle_timeout=0.1)
    assert ask(worker, "time.sleep(0.5)") is None
    assert ask(worker, "[time.sleep(0.5), 5][1]") == 5


def threads() -> set[str]:
    return {one.name for one in threading.enumerate() if one.name.startswith("envbuild-worker")}


def test_closing_ends_everything_once_and_no_thread_is_left(keep: Keep) -> None:
    ends: list[int] = []
    worker = keep(idle_timeout=60, on_close=lambda: ends.append(1))
    for question in (PID, "os._exit(3)", PID):
        try:
            last = ask(worker, question)
        except WorkerExited:
            assert question == "os._exit(3)"
    assert "envbuild-worker-idle" in threads()
    worker.close()
    worker.close()
    assert is_gone(last)
    assert ends == [1]
    eventually(lambda: not threads(), "its threads have ended")
    with pytest.raises(UsageError, match="closed"):
        ask(worker, PID)


def test_threads_take_turns_also_while_workers_come_and_go(keep: Keep) -> None:
    worker, answers = keep(idle_timeout=0.05), []

    def asking(number: int) -> None:
        for turn in range(5):
            if turn == 2:
                with pytest.raises(WorkerExited):
                    ask(worker, "os._exit(3)")
            answers.append(ask(worker, f"[{number}, {turn}]"))

    asked = [threading.Thread(target=asking, args=(number,)) for number in range(4)]
    for one in asked:
        one.start()
    for one in asked:
        one.join()
    assert sorted(answers) == [[number, turn] for number in range(4) for turn in range(5)]
