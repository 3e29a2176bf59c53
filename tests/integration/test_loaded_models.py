"""Loaded models: several workers from Python, by threads and in asyncio, cancelled and closed at any time."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tiny import write_model
from waiting import eventually, is_gone

import envbuild
from envbuild.errors import InputError, ModelNotLoaded, ModelRaised, UsageError, WorkerKilled
from envbuild.settings import Settings
from envbuild.store import Store
from envbuild.store.upkeep import Upkeep

LOADER = """
import os, time

class Model:
    def predict(self, data):
        return eval(data["input"])

def _load_pyfunc(path):
    return Model()
"""
PID = {"input": "os.getpid()"}
Made = tuple[Path, Path]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A model that evaluates its input, with its environment built; and its store."""
    folder = tmp_path_factory.mktemp("loaded")
    made = write_model(folder / "model", loader=LOADER)
    envbuild.build(made, home=folder / "home", offline=True)
    return made, folder / "home"


def in_use(model: Made) -> bool:
    (one,) = Upkeep(Store(Settings(home=model[1]))).listed()
    return one.in_use


def until(file: Path) -> dict[str, str]:
    """A question that is answered, with the worker's pid, when a file is there."""
    return {"input": f"[[time.sleep(0.01) for _ in iter(lambda: os.path.exists({str(file)!r}), True)], os.getpid()][1]"}


def test_the_lease_ends_when_the_last_worker_has(model: Made, tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as threads:
        loaded = envbuild.load_model(model[0], home=model[1], workers=2)
        assert (loaded.workers, loaded.busy, len(set(loaded.pids))) == (2, 0, 2)
        held = [threads.submit(loaded.predict, until(tmp_path / "go")) for _ in range(2)]
        eventually(lambda: loaded.busy == 2, "both are at work")
        closing = threads.submit(loaded.close)
        assert in_use(model)
        (tmp_path / "go").touch()
        pids = {one.result() for one in held}
        closing.result()
    assert len(pids) == 2
    assert all(map(is_gone, pids))
    assert not in_use(model)


def test_bytes_go_as_they_are(model: Made) -> None:
    with envbuild.load_model(model[0], home=model[1]) as loaded:
        assert loaded.predict(b'{"input": "6 * 7"}') == 42
        assert loaded.predict(bytearray(b'{"input": "6 * 7"}'), content_type="application/json") == 42
        with pytest.raises(InputError, match="the input is not JSON"):
            loaded.predict(b"6 * 7")
        with pytest.raises(InputError, match="params have no place beside bytes"):
            loaded.predict(b'{"input": "1"}', {"a": 1})
        with pytest.raises(InputError, match="a content type says what bytes are"):
            loaded.predict({"input": "1"}, content_type="text/csv")


def run(steps: Any) -> Any:
    return asyncio.run(asyncio.wait_for(steps, 60))


def test_in_asyncio_predictions_are_made_side_by_side(model: Made) -> None:
    async def steps() -> None:
        async with envbuild.load_model_async(model[0], home=model[1], workers=3) as loaded:
            assert (loaded.workers, len(loaded.pids)) == (3, 3)
            assert loaded.lock.python
            assert loaded.environment.python.exists()
            answers = await asyncio.gather(*(loaded.predict({"input": f"[{n}]"}) for n in range(40)))
            assert answers == [[n] for n in range(40)]
            pids = loaded.pids
        assert all(map(is_gone, pids))

    run(steps())
    assert not in_use(model)


def test_a_cancelled_prediction_answers_nobody_else(model: Made, tmp_path: Path) -> None:
    async def steps() -> None:
        async with envbuild.load_model_async(model[0], home=model[1]) as loaded:
            running = asyncio.ensure_future(loaded.predict(until(tmp_path / "go")))
            while loaded.busy == 0:  # noqa: ASYNC110 - another thread's
                await asyncio.sleep(0.01)
            mark = tmp_path / "made"
            waiting = asyncio.ensure_future(loaded.predict({"input": f"open({str(mark)!r}, 'w').close()"}))
            await asyncio.sleep(0.05)
            for one in (running, waiting):
                one.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await one
            next_one = asyncio.ensure_future(loaded.predict({"input": "'mine'"}))
            await asyncio.sleep(0.05)
            assert not next_one.done(), "the worker is busy until the model has answered"
            (tmp_path / "go").touch()
            assert await next_one == "mine"
            assert not mark.exists(), "what was cancelled before its turn is never made"

    run(steps())


def test_many_cancelled_at_any_moment_leave_the_pool_in_step(model: Made) -> None:
    async def steps() -> None:
        async with envbuild.load_model_async(model[0], home=model[1], workers=2) as loaded:

            async def one(number: int) -> Any:
                asked = asyncio.ensure_future(loaded.predict({"input": f"[time.sleep(0.005), {number}][1]"}))
                if number % 3:
                    await asyncio.sleep(number % 7 / 100)
                    asked.cancel()
                try:
                    return await asked
                except asyncio.CancelledError:
                    return number

            assert await asyncio.gather(*(one(number) for number in range(60))) == list(range(60))
            assert await loaded.predict({"input": "'after'"}) == "after"

    run(steps())


def test_errors_arrive_and_a_killed_worker_is_replaced_in_asyncio(model: Made) -> None:
    async def steps() -> None:
        async with envbuild.load_model_async(model[0], home=model[1]) as loaded:
            before = await loaded.predict(PID)
            with pytest.raises(ModelRaised, match="ZeroDivisionError"):
                await loaded.predict({"input": "1 / 0"})
            with pytest.raises(WorkerKilled):
                await loaded.predict({"input": "os.kill(os.getpid(), 9)"})
            assert await loaded.predict(PID) != before

    run(steps())


def test_before_and_after_async_with_there_is_no_model(model: Made) -> None:
    async def steps() -> None:
        loaded = envbuild.load_model_async(model[0], home=model[1])
        with pytest.raises(UsageError, match="not loaded"):
            await loaded.predict(PID)
        async with loaded:
            with pytest.raises(UsageError, match="loaded already"):
                await loaded.__aenter__()
            assert await loaded.predict({"input": "1"}) == 1
        await loaded.close()
        with pytest.raises(UsageError, match="not loaded"):
            await loaded.predict(PID)

    run(steps())


def test_a_load_that_fails_and_one_that_is_cancelled_leave_nothing(model: Made, tmp_path: Path) -> None:
    broken = write_model(tmp_path / "broken", loader="raise OSError('not today')")
    slow = write_model(
        tmp_path / "slow",
        loader=f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(1)" + LOADER,
    )

    async def steps() -> None:
        with pytest.raises(ModelNotLoaded, match="not today"):
            async with envbuild.load_model_async(broken, home=model[1], offline=True):
                pytest.fail("it is not loaded")
        entering = asyncio.ensure_future(envbuild.load_model_async(slow, home=model[1], offline=True).__aenter__())
        while not (tmp_path / "pid").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.01)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering

    run(steps())
    eventually(lambda: is_gone(int((tmp_path / "pid").read_text())), "its worker is ended when it has loaded")
    eventually(lambda: not in_use(model), "nothing holds the environment")
