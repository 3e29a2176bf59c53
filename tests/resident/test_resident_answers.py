"""A resident worker answers as a fresh one does, to whoever calls."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from residing import House, MakeModel, body, side_by_side
from waiting import eventually

MODELS = Path(__file__).resolve().parents[1] / "models"


def test_the_next_call_uses_the_worker_of_the_last(house: House, model: Path) -> None:
    first = house.predict(model, "who")
    second = house.predict(model, "who")
    third = house.predict(model, "who", warm=False)
    pid = first.answer[0]
    assert [done.answer for done in (first, second, third)] == [[pid, "one", number] for number in (1, 2, 3)]
    assert house.call("workers", "stop", "--all").code == 0
    house.nothing_is_left()
    assert house.predict(model, "who", warm=False).answer[0] != pid


def test_without_it_nothing_stays(house: House, model: Path) -> None:
    assert house.predict(model, "who", warm=False).code == 0
    house.nothing_is_left()
    assert list(house.home.glob("resident-*")) == []


def test_the_setting_means_the_same(house: House, model: Path) -> None:
    environ = {"ENVBUILD_KEEP_WARM": "5m"}
    pids = [house.predict(model, "who", warm=False, env=environ).answer[0] for _ in range(2)]
    assert pids[0] == pids[1]


ASKED: list[tuple[bytes, tuple[str, ...]]] = [
    (body("echo", 1), ()),
    (body("nan"), ()),
    (body("nan"), ("--nan", "string")),
    (body("raise"), ()),
    (body("exit"), ()),
    (body("kill"), ()),
    (body("long", 5000), ("--max-output", "1000")),
    (body("sleep", "started", 60), ("--predict-timeout", "1")),
    (b"{", ()),
    (b"a,b\n1,2\n", ("--content-type", "text/csv")),
    (b"not gzip", ("--content-encoding", "gzip")),
]


@pytest.mark.sampled(4)
@pytest.mark.parametrize(("asked", "options"), ASKED, ids=lambda value: str(value)[:40])
def test_answers_and_errors_are_those_of_a_fresh_worker(
    house: House, model: Path, asked: bytes, options: tuple[str, ...]
) -> None:
    words = ["predict", model, "-", *options]
    fresh = house.call(*words, stdin=asked)
    # What the input is, is no affair of the worker's.
    treated = () if options and options[0].startswith("--content") else options
    assert house.predict(model, "who", options=treated).code == 0
    (worker,) = house.workers()
    resident = house.call(*words, stdin=asked)
    assert (resident.code, resident.stdout) == (fresh.code, fresh.stdout)
    assert without_loading(resident.stderr) == without_loading(fresh.stderr)
    # What the model does to its worker is over with it; nobody meets a dead one.
    again = house.predict(model, "who", options=treated)
    assert again.code == 0, again.stderr
    assert [one["id"] for one in house.workers()] == [worker["id"]]


def without_loading(text: str) -> str:
    return re.sub(r"^(  \| )?the model is loaded\n", "", text, flags=re.MULTILINE)


ERAS = [
    "py310_mlflow2_17",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("py36_mlflow1_2", "py38_mlflow1_30", "py311_mlflow3_17")),
]


@pytest.mark.slow
@pytest.mark.parametrize("era", ERAS)
def test_models_of_all_eras_answer_as_ever(house: House, shared_home: Path, era: str) -> None:
    model = MODELS / era / "heart"
    asked = model.with_suffix(".input.json").read_bytes()
    expected = json.loads(model.with_suffix(".expected.json").read_bytes())
    real = replace(house, home=shared_home, more={})
    cold = real.call("predict", model, "-", "--keep-warm", "5m", stdin=asked)
    warm = real.call("predict", model, "-", stdin=asked)
    assert (cold.code, warm.code, warm.stdout) == (0, 0, cold.stdout), cold.stderr
    assert warm.answer == expected
    # What does not fit the signature is refused in the same words.
    wrong = b'{"dataframe_records": [{"nothing": "of the kind"}]}'
    refused = real.call("predict", model, "-", stdin=wrong)
    assert real.call("workers", "stop", model).code == 0
    fresh = real.call("predict", model, "-", stdin=wrong)
    assert (refused.code, refused.stdout) == (fresh.code, fresh.stdout)
    # What it says while it is loaded, it says once.
    assert fresh.stderr.endswith(refused.stderr)
    assert fresh.code in (6, 7)


def test_a_model_that_cannot_be_loaded_says_why_and_leaves_nothing(house: House, model_of: MakeModel) -> None:
    model = model_of(loader="def _load_pyfunc(path):\n    raise ValueError('it is rotten')\n")
    fresh = house.predict(model, "who", warm=False)
    warm = house.predict(model, "who")
    assert (warm.code, warm.stderr) == (fresh.code, fresh.stderr)
    assert warm.code == 7
    assert "it is rotten" in warm.stderr
    house.nothing_is_left()


def test_loading_that_takes_too_long_is_said(house: House, model_of: MakeModel) -> None:
    model = model_of(loader="import time\ndef _load_pyfunc(path):\n    time.sleep(60)\n")
    done = house.predict(model, "who", options=("--load-timeout", "0.5"))
    assert (done.code, "error[timed-out]: the model was not loaded within 0.5 seconds" in done.stderr) == (8, True)
    house.nothing_is_left()


def test_what_the_model_prints_reaches_who_asked(house: House, model: Path) -> None:
    first = house.call("predict", model, "-", "--keep-warm", "5m", stdin=body("print", 1))
    second = house.call("predict", model, "-", stdin=body("print", 2))
    third = house.call("predict", model, "-", stdin=body("echo"))
    assert first.stderr == "the model is loaded\nthe model prints 1\nso does its child\n"
    assert second.stderr == "the model prints 2\nso does its child\n"
    assert third.stderr == ""


def test_all_prints_come_before_the_answer(house: House, model: Path) -> None:
    assert house.predict(model, "who").code == 0
    done = house.call("predict", model, "-", stdin=body("print much"))
    assert done.stderr == "".join(f"{number}\n" for number in range(20000))


def test_prints_go_into_the_log_as_well(house: House, model: Path) -> None:
    assert house.predict(model, "who").code == 0
    house.call("predict", model, "-", "--log-file", house.folder / "log", stdin=body("print", 7))
    assert "the model prints 7" in (house.folder / "log").read_text()


def test_who_serves_is_said_with_v(house: House, model: Path) -> None:
    assert house.predict(model, "who").code == 0
    (worker,) = house.workers()
    done = house.call("predict", model, "-", "-v", stdin=body("who"))
    assert f"resident worker {worker['id']}, process {worker['worker']}" in done.stderr


@pytest.mark.parametrize("count", [2, 10])
def test_many_at_once_are_answered_each_its_own_by_one_worker(house: House, model: Path, count: int) -> None:
    with side_by_side(count, lambda number: house.predict(model, "who", number)) as done:
        assert [(one.code, one.answer[3]) for one in done] == [(0, number) for number in range(count)]
        assert len({one.answer[0] for one in done}) == 1
        assert sorted(one.answer[2] for one in done) == list(range(1, count + 1)), "each once"
    assert len(house.workers()) == 1, "two that find nobody start one keeper only"


def test_a_long_prediction_does_not_keep_others_waiting(house: House, model: Path) -> None:
    pid = house.predict(model, "who").answer[0]
    with house.start("predict", model, "-", "-q") as slow:
        assert slow.stdin is not None
        slow.stdin.write(body("sleep", str(house.folder / "at work"), str(house.folder / "enough")))
        slow.stdin.close()
        eventually((house.folder / "at work").exists, "the model is at work")
        assert [one["state"] for one in house.workers()] == ["busy"]
        other = house.predict(model, "who")
        assert (other.code, other.answer[2]) == (0, 1)
        assert other.answer[0] != pid
        slow.kill()


def test_different_options_have_different_workers(house: House, model: Path) -> None:
    pids = [
        house.predict(model, "who", options=options).answer[0]
        for options in ((), ("--nan", "string"), ("--set-env", "A=1"), ("--set-env", "A=2"), ("--no-network",))
    ]
    assert len(set(pids)) == 5
    assert house.predict(model, "variable", "A", options=("--set-env", "A=2"), warm=False).answer == ["2"]
    assert house.predict(model, "network", options=("--no-network",), warm=False).answer in ([], ["lo"])
    assert len(house.workers()) == 5


@pytest.mark.slow
def test_variables_and_directory_of_the_call_decide_too(house: House, model: Path) -> None:
    pid = house.predict(model, "who").answer[0]
    assert house.predict(model, "who", env={"UNRELATED": "1"}).answer[0] == pid
    assert house.predict(model, "who", env={"OMP_NUM_THREADS": "1"}).answer[0] != pid
    (house.folder / "elsewhere").mkdir()
    assert house.predict(model, "who", cwd=house.folder / "elsewhere").answer[0] != pid
    passing = ("--pass-env", "TOKEN")
    tokens = [house.predict(model, "variable", "TOKEN", options=passing, env={"TOKEN": text}).answer for text in "abab"]
    assert tokens == [["a"], ["b"], ["a"], ["b"]]
    assert len(house.workers()) == 5


def test_read_only_stays_in_force(house: House, model: Path) -> None:
    asked = ("write", str(model / "new"))
    for _ in range(2):
        done = house.predict(model, *asked, options=("--read-only",))
        assert (done.code, "Read-only file system" in done.stderr) == (7, True)
    assert not (model / "new").exists()


def test_without_input_nothing_is_computed_and_the_worker_stays(house: House, model: Path) -> None:
    pid = house.predict(model, "who").answer[0]
    assert house.call("predict", model, house.folder / "missing.json").code == 6
    assert house.predict(model, "who").answer[0] == pid
