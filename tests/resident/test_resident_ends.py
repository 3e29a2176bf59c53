"""How a resident worker ends: by idling, by order, by a kill at any moment; and what is left then: nothing."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
from residing import House, MakeModel, body, side_by_side
from waiting import eventually, is_gone

SEED = 20180605
PATIENCE = 60.0


def test_it_ends_when_it_has_been_idle_for_long_enough(house: House, model: Path) -> None:
    done = house.call("predict", model, "-", "--keep-warm", "1s", stdin=body("who"))
    pid = done.answer[0]
    eventually(lambda: is_gone(pid), "it has ended")
    house.nothing_is_left()
    assert house.predict(model, "who").answer[0] != pid


def test_the_last_call_says_for_how_long(house: House, model: Path) -> None:
    pid = house.predict(model, "who").answer[0]
    done = house.call("predict", model, "-", "--keep-warm", "0.5s", stdin=body("who"))
    assert done.answer[0] == pid
    house.nothing_is_left()


def test_what_a_list_says(house: House, model: Path) -> None:
    assert house.call("workers", "list").stdout == "there are no resident workers\n"
    before = time.time()
    pid = house.predict(model, "who").answer[0]
    (one,) = house.workers()
    assert (one["model"], one["state"], one["served"]) == (str(model), "idle", 1)
    assert before < one["began"] <= one["idle_since"] < one["ends_at"] < time.time() + 300
    assert one["memory"] > 2**20
    assert Path(one["environment"]).is_relative_to(house.home)
    assert one["lock_hash"] in one["environment"]
    assert os.getpgid(pid) == one["worker"]
    text = house.call("workers", "list").stdout
    assert text.splitlines()[0].split()[:4] == ["ID", "PID", "STATE", "AGE"]
    assert one["id"] in text
    assert str(model) in text


@pytest.mark.sampled(4)
@pytest.mark.parametrize("by", ["id", "beginning of an id", "model", "MLmodel"])
def test_one_is_stopped_by_its_id_or_its_model(house: House, model_of: MakeModel, by: str) -> None:
    models = [model_of(name) for name in ("first", "second")]
    for model in models:
        assert house.predict(model, "who").code == 0
    wanted = next(one for one in house.workers() if one["model"] == str(models[0]))
    words = {"id": wanted["id"], "model": models[0], "MLmodel": models[0] / "MLmodel"}
    done = house.call("workers", "stop", words.get(by, wanted["id"][:6]), "--json")
    assert [one["id"] for one in json.loads(done.stdout)["stopped"]] == [wanted["id"]]
    assert [one["model"] for one in house.workers()] == [str(models[1])]
    assert house.call("workers", "stop", "--all").stdout.endswith(f"has ended  {models[1]}\n")
    house.nothing_is_left()


def test_stopping_what_is_not_there_says_so(house: House) -> None:
    assert house.call("workers", "stop", "abc").code == 2
    assert house.call("workers", "stop").code == 2
    assert house.call("workers", "stop", "abc", "--all").code == 2
    assert house.call("workers", "stop", "--all").code == 0


def test_one_that_is_at_work_ends_after_its_answer(house: House, model: Path) -> None:
    assert house.predict(model, "who").code == 0
    with house.start("predict", model, "-") as slow:
        assert slow.stdin is not None
        slow.stdin.write(body("sleep", str(house.folder / "at work"), str(house.folder / "enough")))
        slow.stdin.close()
        eventually((house.folder / "at work").exists, "the model is at work")
        assert "ends after its answer" in house.call("workers", "stop", "--all").stdout
        assert house.predict(model, "who", warm=False).answer[2] == 1, "it takes no other call"
        (house.folder / "enough").touch()
        assert slow.stdout is not None
        assert json.loads(slow.stdout.read())["predictions"][0] == "sleep"
    house.nothing_is_left()


def test_it_holds_its_environment_until_it_ends(house: House, model: Path) -> None:
    assert house.predict(model, "who").code == 0
    (one,) = house.workers()
    refused = house.call("envs", "rm", one["lock_hash"])
    assert (refused.code, "it is in use" in refused.stderr) == (5, True)
    left = json.loads(house.call("envs", "gc", "--older-than", "0s", "--json").stdout)
    assert (left["removed"], Path(one["environment"]).is_dir()) == ([], True)
    assert house.call("workers", "stop", one["id"]).code == 0
    # It can be removed at once; to leave the store as it is, it is only asked.
    gone = json.loads(house.call("envs", "gc", "--older-than", "0s", "--dry-run", "--json").stdout)
    assert [one["lock_hash"] for one in gone["removed"]] == [one["lock_hash"]]


@pytest.mark.slow
def test_it_ends_when_its_environment_was_taken_away(house: House, model: Path) -> None:
    assert house.predict(model, "who").code == 0
    (one,) = house.workers()
    environment = Path(one["environment"])
    environment.rename(house.folder / "away")
    house.nothing_is_left()
    (house.folder / "away").rename(environment)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("victim", ["worker", "sentinel", "keeper"])
def test_one_that_dies_while_nobody_asks_is_nobodys_error(house: House, model: Path, victim: str) -> None:
    for number in range(3):
        assert house.predict(model, "who").answer[1:] == ["one", 1]
        for pid in pids_of(house, victim, 0):
            os.kill(pid, signal.SIGKILL)
        if number == 1:
            house.nothing_is_left(empty_ground=victim != "keeper")
    assert house.workers() == []
    house.nothing_is_left()


@pytest.mark.sampled(2)
@pytest.mark.parametrize("how", ["removed", "replaced"])
def test_it_ends_when_its_socket_was_taken_away(house: House, model: Path, how: str) -> None:
    assert house.predict(model, "who").code == 0
    (path,) = house.private().glob("*.sock")
    path.unlink()
    if how == "replaced":
        path.write_text("")
    eventually(lambda: not house.running(), "it has ended")
    assert house.predict(model, "who").answer[2] == 1


def test_sigterm_ends_it_in_order(house: House, model: Path) -> None:
    assert house.predict(model, "who").code == 0
    (one,) = house.workers()
    os.kill(one["pid"], signal.SIGTERM)
    house.nothing_is_left()


def test_a_caller_that_is_interrupted_ends_the_prediction(house: House, model: Path) -> None:
    pid = house.predict(model, "who").answer[0]
    with house.start("predict", model, "-") as caller:
        assert caller.stdin is not None
        caller.stdin.write(body("sleep", str(house.folder / "at work"), 300))
        caller.stdin.close()
        eventually((house.folder / "at work").exists, "the model is at work")
        caller.send_signal(signal.SIGINT)
        assert caller.wait(30) == 130
    eventually(lambda: is_gone(pid), "nobody computes on")
    house.nothing_is_left()
    assert house.predict(model, "who").answer[2] == 1


def test_a_caller_that_goes_away_while_the_model_is_loaded_leaves_nothing(house: House, model: Path) -> None:
    environ, options = {"LOADING": "300"}, ("--pass-env", "LOADING")
    with house.start("predict", model, "-", "--keep-warm", "5m", *options, env=environ) as caller:
        eventually(lambda: len(house.running()) >= 4, "the model is being loaded")
        eventually(lambda: [one["state"] for one in house.workers()] == ["loading"], "it is known")
        caller.send_signal(signal.SIGINT)
        assert caller.wait(30) == 130
    house.nothing_is_left()


def test_a_caller_that_waits_its_turn_may_go(house: House, model: Path) -> None:
    assert house.predict(model, "who").code == 0
    with house.start("predict", model, "-") as first:
        assert first.stdin is not None
        first.stdin.write(body("sleep", str(house.folder / "at work"), str(house.folder / "enough")))
        first.stdin.close()
        eventually((house.folder / "at work").exists, "the model is at work")
        with house.start("predict", model, "-") as second:
            assert second.stdin is not None
            second.stdin.write(body("sleep", str(house.folder / "never"), 300))
            second.stdin.close()
            time.sleep(1)
            second.kill()
        (house.folder / "enough").touch()
        assert first.stdout is not None
        assert json.loads(first.stdout.read())["predictions"][0] == "sleep"
    assert not (house.folder / "never").exists()
    assert house.predict(model, "who").answer[2] == 3


VICTIMS = ("caller", "keeper", "worker", "sentinel")


def pids_of(house: House, victim: str, caller: int) -> list[int]:
    if victim == "caller":
        return [caller]
    running = house.running()
    if victim == "keeper":
        return [pid for pid, words in running.items() if "resident/__main__.py" in words]
    workers = [pid for pid, words in running.items() if "envbuild/worker" in words]
    with contextlib.suppress(ProcessLookupError):
        sentinels = [pid for pid in workers if os.getpgid(pid) == pid]
        return sentinels if victim == "sentinel" else [pid for pid in workers if pid not in sentinels]
    return []


def killed_once(house: House, model: Path, victim: str, chance: random.Random) -> None:
    """One call, cold or warm, during which somebody is killed at some moment; then another, which must be right."""
    if chance.random() < 0.5:
        assert house.predict(model, "who").code == 0
    with house.start("predict", model, "-", "-q", "--keep-warm", "5m") as caller:
        assert caller.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            caller.stdin.write(body("sleep", str(house.folder / "at work"), 0.2))
            caller.stdin.close()
        time.sleep(chance.random() * 1.5)
        for pid in pids_of(house, victim, caller.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert caller.stdout is not None
        answer = caller.stdout.read()
        code = caller.wait(PATIENCE)
    expected = json.dumps({"predictions": ["sleep", str(house.folder / "at work"), 0.2]})
    if code == 0:
        assert json.loads(answer) == json.loads(expected)
    else:
        # A worker that was killed in the middle of its work is an error as ever.
        assert (code, answer) in {(-signal.SIGKILL, b""), (8, b""), (7, b"")}, (victim, code)
        assert code == -signal.SIGKILL or victim in ("worker", "sentinel")
    done = house.predict(model, "who")
    assert (done.code, done.answer[1]) == (0, "one"), done.stderr


@pytest.mark.sampled(4)
@pytest.mark.parametrize("victim", VICTIMS)
def test_killed_at_any_moment_the_next_call_is_right_and_nothing_is_left(
    house: House, model: Path, victim: str
) -> None:
    chance = random.Random(f"{SEED} {victim}")
    for _ in range(2):
        killed_once(house, model, victim, chance)
    assert house.call("workers", "stop", "--all").code == 0
    house.nothing_is_left(after_kills=True)


@pytest.mark.soak
@pytest.mark.parametrize("victim", VICTIMS)
def test_killed_a_hundred_times(house: House, model: Path, victim: str) -> None:
    chance = random.Random(f"{SEED} {victim} soak")
    for _ in range(100):
        killed_once(house, model, victim, chance)
    assert house.call("workers", "stop", "--all").code == 0
    house.nothing_is_left(after_kills=True)


def test_callers_at_once_are_right_while_keepers_are_killed(house: House, model: Path) -> None:
    chance = random.Random(SEED)

    def work(number: int) -> object:
        if number == 0:
            for _ in range(12):
                time.sleep(chance.random() * 0.5)
                for pid in pids_of(house, "keeper", 0):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            return None
        done = [house.predict(model, "echo", number, turn) for turn in range(4)]
        return [(one.code, one.answer if one.code == 0 else one.stderr) for one in done]

    with side_by_side(5, work) as results:
        for number in range(1, 5):
            assert results[number] == [(0, ["echo", number, turn]) for turn in range(4)]
    house.call("workers", "stop", "--all")
    house.nothing_is_left(after_kills=True)
