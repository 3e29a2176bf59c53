"""Several workers: side by side, one after the death of another, none while it loads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from asking import HERE, Server
from crew_models import begun, held, kill, pids_of
from tiny import write_model
from waiting import eventually

Serve = Callable[..., Server]


def test_so_many_predictions_are_made_side_by_side(serve: Serve, tmp_path: Path) -> None:
    server = serve(ENVBUILD_WORKERS="3")
    assert len(set(pids_of(server, tmp_path, 3))) == 3
    gates = [tmp_path / name for name in "abcd"]
    slow = [held(server, gate) for gate in gates[:3]]
    last = server.begin("wait", str(gates[3]))
    assert server.ping() == 200
    assert last.is_waiting
    assert not Path(f"{gates[3]}.begun").exists()
    gates[1].touch()
    assert slow[1].answer().predictions == ["wait", str(gates[1])]
    begun(gates[3])
    for gate in gates:
        gate.touch()
    assert [one.answer().status for one in (slow[0], slow[2], last)] == [200, 200, 200]


def test_of_several_that_are_free_the_one_that_was_asked_last_is_asked(serve: Serve, tmp_path: Path) -> None:
    server = serve(ENVBUILD_WORKERS="3")
    pids_of(server, tmp_path, 3)
    assert len({server.predict("pid").predictions for _ in range(4)}) == 1


def test_a_worker_that_dies_is_replaced_and_the_others_notice_nothing(serve: Serve, tmp_path: Path) -> None:
    server = serve(ENVBUILD_WORKERS="2")
    before = pids_of(server, tmp_path, 2)
    gate = tmp_path / "gate"
    slow = held(server, gate)
    free = server.predict("pid").predictions
    (busy,) = set(before) - {free}
    answer = server.predict("kill")
    assert (answer.status, answer.json["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    after = server.predict("pid").predictions
    assert after not in before
    assert slow.is_waiting
    gate.touch()
    assert slow.answer().predictions == ["wait", str(gate)]
    assert set(pids_of(server, tmp_path, 2)) == {busy, after}


def test_a_worker_that_died_with_a_request_is_replaced_without_another_request(serve: Serve, model: Path) -> None:
    server = serve()
    assert server.predict("kill").status == 503
    eventually(lambda: len((model.parent / "loads").read_text().splitlines()) == 2, "the model is loaded again")
    # A ping would do it as well.
    assert server.stderr.count("error[worker-killed]") == 1


def test_a_worker_that_loads_gets_nothing_while_another_lives(serve: Serve, model: Path, tmp_path: Path) -> None:
    server = serve(ENVBUILD_WORKERS="2")
    before = pids_of(server, tmp_path, 2)
    (model / "waits").touch()
    dead = server.predict("pid").predictions
    (alive,) = set(before) - {dead}
    kill(dead)
    assert [server.predict("pid").predictions for _ in range(5)] == [alive] * 5
    assert server.ping() == 200
    gate = tmp_path / "gate"
    slow = held(server, gate)
    waits = [server.begin("pid") for _ in range(3)]
    assert server.ping() == 200
    assert all(one.is_waiting for one in waits)
    gate.touch()
    assert slow.answer().status == 200
    assert [one.answer().predictions for one in waits] == [alive] * 3
    (model / "go").touch()
    after = pids_of(server, tmp_path, 2)
    assert alive in after
    assert dead not in after


def loading(model: Path, number: int) -> int:
    """The process id of the one that is the so-manieth to load the model."""
    lines = eventually(lambda: _loads(model)[number - 1 :], "it is being loaded")
    return int(lines[0])


def _loads(model: Path) -> list[str]:
    return (model.parent / "loads").read_text().splitlines()


def test_a_worker_that_is_killed_while_it_loads_costs_nobody_his_answer(serve: Serve, model: Path) -> None:
    server = serve().wait_loaded()
    (model / "waits").touch()
    kill(loading(model, 1))
    asked = [server.begin("pid") for _ in range(3)]
    kill(loading(model, 2))
    kill(loading(model, 3))
    last = loading(model, 4)
    assert all(one.is_waiting for one in asked)
    (model / "go").touch()
    assert [one.answer().predictions for one in asked] == [last] * 3


def test_what_is_killed_whenever_it_loads_is_given_up(serve: Serve, model: Path) -> None:
    server = serve().wait_loaded()
    (model / "waits").touch()
    kill(loading(model, 1))
    asked = server.begin("pid")
    for number in (2, 3, 4):
        kill(loading(model, number))
    answer = asked.answer()
    assert (answer.status, answer.json["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")


# The first that comes waits for one file, the others for another one.
UNEVEN = """
import os, time

class Model:
    def predict(self, data):
        return os.getpid()

def _load_pyfunc(path):
    try:
        os.close(os.open(os.path.join(path, "first"), os.O_CREAT | os.O_EXCL))
        awaited = "go-first"
    except FileExistsError:
        awaited = "go"
    while not os.path.exists(os.path.join(path, awaited)):
        time.sleep(0.01)
    return Model()
"""


def test_whoever_comes_while_all_load_is_served_by_the_first_that_has_loaded(serve: Serve, model: Path) -> None:
    write_model(model, python=HERE, loader=UNEVEN)
    server = serve(ENVBUILD_WORKERS="3")
    asked = [server.begin("pid") for _ in range(4)]
    assert server.ping() == 503
    (model / "go-first").touch()
    assert len({one.answer().predictions for one in asked}) == 1
    (model / "go").touch()
