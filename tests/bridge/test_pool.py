"""A pool: several workers with one model, asked by many threads, killed in between, closed in the middle."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from doing import LOADER, body, model_in
from waiting import eventually, is_gone

from envbuild.bridge import Pool, Worker, WorkerOptions
from envbuild.errors import CommandNotStarted, ModelNotLoaded, ModelRaised, TimedOut, UsageError, WorkerKilled

HERE = Path(sys.executable)
Make = Callable[..., Pool]
PID = "os.getpid()"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[Pool] = []

    def pool(source: str = LOADER, python: Path = HERE, **given: Any) -> Pool:
        ours = {name: given.pop(name) for name in ("workers", "idle_timeout", "on_close") if name in given}
        model, options = model_in(tmp_path, source), WorkerOptions(stderr=lambda line: None, **given)
        made.append(Pool(lambda: Worker.start(python, model, options), **ours))
        return made[-1]

    yield pool
    for one in made:
        one.close()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as executor:
        yield executor


def ask(pool: Pool, question: str) -> Any:
    return json.loads(pool.predict(body(question)).payload)


def until(file: Path) -> str:
    """A question that is answered, with the worker's pid, when a file is there."""
    return f"[[time.sleep(0.01) for _ in iter(lambda: os.path.exists({str(file)!r}), True)], os.getpid()][1]"


def at_work(pool: Pool, count: int) -> None:
    eventually(lambda: pool.busy == count, f"{count} are at work")


def test_all_workers_load_side_by_side(make: Make, tmp_path: Path) -> None:
    # Each waits for the other two: one after the other they would wait for ever.
    met = tmp_path / "met"
    met.mkdir()
    wait = f"open({str(met)!r} + '/' + str(os.getpid()), 'w').close()\nwhile len(os.listdir({str(met)!r})) < 3: pass\n"
    pool = make(source="import os\n" + wait + LOADER, workers=3, load_timeout=60)
    pool.wait_loaded()
    assert len(set(pool.pids)) == 3
    assert (pool.size, pool.busy, pool.waiting) == (3, 0, 0)


def test_a_request_never_waits_while_a_worker_is_free(make: Make, threads: ThreadPoolExecutor, tmp_path: Path) -> None:
    pool = make(workers=3)
    pool.wait_loaded()
    held = [threads.submit(ask, pool, until(tmp_path / name)) for name in ("a", "b")]
    at_work(pool, 2)
    free = {ask(pool, PID) for _ in range(5)}
    (tmp_path / "a").touch()
    (tmp_path / "b").touch()
    assert len(free) == 1
    assert len(free | {one.result() for one in held}) == 3


def test_of_free_workers_the_one_that_was_asked_last_is_asked_again(make: Make) -> None:
    pool = make(workers=3)
    pool.wait_loaded()
    assert len({ask(pool, PID) for _ in range(10)}) == 1


def test_the_queue_is_first_come_first_served(make: Make, threads: ThreadPoolExecutor, tmp_path: Path) -> None:
    pool, log = make(workers=1), tmp_path / "log"
    pool.wait_loaded()
    first = threads.submit(ask, pool, until(tmp_path / "go"))
    at_work(pool, 1)
    later = []
    for number in range(6):
        later.append(threads.submit(ask, pool, f"open({str(log)!r}, 'a').write('{number}')"))
        eventually(lambda: pool.waiting == len(later), "it waits")
    (tmp_path / "go").touch()
    for one in (first, *later):
        one.result()
    assert log.read_text() == "012345"


def test_one_that_is_killed_in_a_prediction_fails_that_one_alone(
    make: Make, threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    pool = make(workers=2)
    pool.wait_loaded()
    before = set(pool.pids)
    held = threads.submit(ask, pool, until(tmp_path / "go"))
    at_work(pool, 1)
    other = ask(pool, PID)
    dying = threads.submit(ask, pool, f"[open({str(tmp_path / 'begun')!r}, 'w').close(), time.sleep(1000)]")
    # Killed before it is asked, it would be followed by another that is.
    eventually((tmp_path / "begun").exists, "it is being made")
    os.kill(other, 9)
    with pytest.raises(WorkerKilled):
        dying.result()
    eventually(lambda: is_gone(other), "it is gone")
    fresh = ask(pool, PID)
    (tmp_path / "go").touch()
    assert held.result() not in (fresh, other)
    assert fresh != other
    assert len(before | {held.result(), fresh}) >= 3


def test_one_that_died_unasked_is_passed_over_while_another_lives(make: Make) -> None:
    pool = make(workers=2)
    pool.wait_loaded()
    dead = ask(pool, PID)
    os.kill(dead, 9)
    eventually(lambda: is_gone(dead), "it is dead")
    answers = {ask(pool, PID) for _ in range(5)}
    assert len(answers) == 1
    assert dead not in answers


@pytest.mark.parametrize("question", ["1 / 0", "time.sleep(1000)"])
def test_a_failure_gives_the_worker_back(make: Make, question: str) -> None:
    pool = make(workers=2, predict_timeout=0.5)
    for _ in range(5):
        with pytest.raises((ModelRaised, TimedOut)):
            ask(pool, question)
    assert pool.busy == 0
    assert isinstance(ask(pool, PID), int)


def test_closing_lets_the_predictions_finish_and_refuses_those_that_wait(
    make: Make, threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    ends: list[tuple[int, ...]] = []
    pool = make(workers=2, on_close=lambda: ends.append(pool.pids))
    pool.wait_loaded()
    held = [threads.submit(ask, pool, until(tmp_path / "go")) for _ in range(2)]
    at_work(pool, 2)
    waiting = threads.submit(ask, pool, PID)
    eventually(lambda: pool.waiting == 1, "one waits")
    closing = threads.submit(pool.close)
    with pytest.raises(UsageError, match="closed"):
        waiting.result()
    assert ends == []
    (tmp_path / "go").touch()
    pids = {one.result() for one in held}
    closing.result()
    pool.close()
    assert len(pids) == 2
    assert all(map(is_gone, pids))
    assert ends == [()], "once, after the last worker has ended"
    with pytest.raises(UsageError, match="closed"):
        pool.predict(body("1"))
    with pytest.raises(UsageError, match="closed"):
        pool.wait_loaded()


def test_one_that_cannot_be_loaded_fails_the_call_and_the_next_call_tries_again(make: Make, tmp_path: Path) -> None:
    # Of all who make a directory at once, one does.
    counted = (
        f"import os\nfor number in (1, 2, 3):\n    try: os.mkdir({str(tmp_path)!r} + '/%d' % number)\n"
        "    except FileExistsError: continue\n    break\nif number == 2: raise OSError('not the second')\n"
    )
    pool = make(source=counted + LOADER, workers=2)
    with pytest.raises(ModelNotLoaded, match="not the second"):
        pool.wait_loaded()
    assert len(pool.pids) == 1
    pool.wait_loaded()
    assert len(pool.pids) == 2
    assert isinstance(ask(pool, PID), int)


def test_an_interpreter_that_is_not_there(make: Make, tmp_path: Path) -> None:
    pool = make(python=tmp_path / "python", workers=3)
    with pytest.raises(CommandNotStarted):
        pool.wait_loaded()
    assert pool.pids == ()


def test_idle_workers_end_each_by_itself_and_come_again(
    make: Make, threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    pool = make(workers=2, idle_timeout=0.3)
    pool.wait_loaded()
    first = threads.submit(ask, pool, until(tmp_path / "go"))
    at_work(pool, 1)
    eventually(lambda: len(pool.pids) == 1, "the other one has idled to its end")
    (tmp_path / "go").touch()
    assert not is_gone(first.result()) or pool.pids == ()
    eventually(lambda: pool.pids == (), "both have")
    assert isinstance(ask(pool, PID), int)


def test_many_threads_get_their_own_answers_while_workers_die(make: Make, threads: ThreadPoolExecutor) -> None:
    pool = make(workers=3)

    def asking(number: int) -> Counter[str]:
        seen: Counter[str] = Counter()
        for turn in range(20):
            if (number + turn) % 29 == 0:
                with pytest.raises(WorkerKilled):
                    ask(pool, "os.kill(os.getpid(), 9)")
                seen["killed"] += 1
            else:
                assert ask(pool, f"[{number}, {turn}]") == [number, turn]
                seen["answered"] += 1
        return seen

    total: Counter[str] = sum((one.result() for one in [threads.submit(asking, n) for n in range(16)]), Counter())
    assert sum(total.values()) == 320
    assert total["killed"] == sum((n + t) % 29 == 0 for n in range(16) for t in range(20))
    assert pool.busy == pool.waiting == 0
    assert len(set(pool.pids)) == len(pool.pids) <= 3


def test_a_pool_of_none_is_refused() -> None:
    with pytest.raises(UsageError, match="0 workers"):
        Pool(lambda: pytest.fail("nothing is started"), workers=0)
