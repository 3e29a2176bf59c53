"""The queue: bounded, in order, for as long as somebody waits."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from asking import Asked, Server, body
from crew_models import begun, held, refuses
from waiting import eventually

Serve = Callable[..., Server]


def test_who_finds_the_queue_full_is_told_to_come_again(serve: Serve, tmp_path: Path) -> None:
    server, gate = serve(ENVBUILD_QUEUE="2"), tmp_path / "gate"
    slow = held(server, gate)
    waits = [server.begin("echo", number) for number in range(2)]
    for _ in range(3):
        refused = server.predict("refused")
        assert (refused.status, refused.json["error_code"]) == (429, "REQUEST_LIMIT_EXCEEDED")
        assert refused.headers["retry-after"] == "1"
    assert server.ping() == 200
    gate.touch()
    assert slow.answer().status == 200
    assert [one.answer().predictions for one in waits] == [["echo", 0], ["echo", 1]]
    assert server.predict("seen").predictions == ["wait", "echo", "echo", "seen"]


def test_the_order_is_that_in_which_they_came(serve: Serve, tmp_path: Path) -> None:
    server, gate = serve(), tmp_path / "gate"
    slow = held(server, gate)
    waits = [server.begin(f"number {number}") for number in range(20)]
    assert server.ping() == 200
    gate.touch()
    assert slow.answer().status == 200
    assert {one.answer().status for one in waits} == {200}
    assert server.predict("seen").predictions == ["wait", *(f"number {number}" for number in range(20)), "seen"]


def test_what_is_not_answered_in_time_is_timed_out_whether_it_waits_or_is_computed(
    serve: Serve, tmp_path: Path
) -> None:
    server = serve(ENVBUILD_REQUEST_TIMEOUT="1")
    first = eventually(lambda: _pid(server), "it has loaded")
    slow = held(server, tmp_path / "never")
    waits = server.begin("wait", str(tmp_path / "not begun"))
    for answer in (slow.answer(), waits.answer()):
        assert (answer.status, answer.json["error_code"]) == (504, "DEADLINE_EXCEEDED")
        assert answer.json["message"] == "the request was not answered within 1 seconds"
    # Its worker is ended, since it would never be free again.
    assert eventually(lambda: _pid(server), "another worker answers") != first
    assert not (tmp_path / "not begun.begun").exists()


def _pid(server: Server) -> int | None:
    answer = server.predict("pid")
    return answer.predictions if answer.status == 200 else None


@pytest.mark.parametrize("more", ["", "x" * 10**6], ids=["a short body", "a long body"])
def test_a_client_that_goes_away_frees_its_worker_for_the_next(serve: Serve, tmp_path: Path, more: str) -> None:
    server = serve()
    first = server.predict("pid").predictions
    slow = held(server, tmp_path / "never", more)
    waits = server.begin("pid")
    slow.close()
    assert waits.answer().predictions != first
    assert server.ping() == 200
    # Nobody's fault is told.
    assert "error[" not in server.stderr


def test_the_worker_of_a_client_that_went_away_alone_is_replaced_without_being_asked(
    serve: Serve, model: Path, tmp_path: Path
) -> None:
    server = serve().wait_loaded()
    held(server, tmp_path / "never").close()
    eventually(lambda: len((model.parent / "loads").read_text().splitlines()) == 2, "the model is loaded again")
    server.wait_loaded()


def test_a_client_that_goes_away_with_another_request_behind_frees_its_worker(serve: Serve, tmp_path: Path) -> None:
    server, never = serve(), tmp_path / "never"
    first = server.predict("pid").predictions
    asked = body("wait", str(never))
    request = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall((request % len(asked) + asked) * 2)
        begun(never)
    assert server.predict("pid").predictions != first


def test_a_prediction_that_soon_ends_costs_no_worker(serve: Serve, tmp_path: Path) -> None:
    server, gate = serve(), tmp_path / "gate"
    first = server.predict("pid").predictions
    slow = held(server, gate)
    waits = server.begin("pid")
    slow.close()
    # The log says so when the server has noticed.
    eventually(lambda: "POST /invocations 499" in server.stderr, "it has gone")
    gate.touch()
    assert waits.answer().predictions == first


def test_a_client_that_goes_away_leaves_its_place_in_the_queue(serve: Serve, tmp_path: Path) -> None:
    server, gate = serve(ENVBUILD_QUEUE="1"), tmp_path / "gate"
    slow = held(server, gate)
    gone = server.begin("gone")
    assert server.predict("refused").status == 429
    gone.close()

    def admitted() -> Asked | None:
        asked = server.begin("echo")
        server.ping()
        return asked if asked.is_waiting else None

    last = eventually(admitted, "there is room")
    gate.touch()
    assert (slow.answer().status, last.answer().predictions) == (200, ["echo"])
    assert server.predict("seen").predictions == ["wait", "echo", "seen"]


def test_sigterm_lets_all_workers_and_the_whole_queue_be_answered(serve: Serve, tmp_path: Path) -> None:
    server = serve(ENVBUILD_WORKERS="2", ENVBUILD_BATCH_SIZE="4")
    gates = [tmp_path / name for name in "ab"]
    slow = [server.begin("wait", str(gate)) for gate in gates]
    for gate in gates:
        begun(gate)
    waits = [server.begin("echo", number) for number in range(9)]
    assert server.ping() == 200
    server.process.send_signal(signal.SIGTERM)
    for gate in gates:
        gate.touch()
    assert [one.answer().status for one in slow] == [200, 200]
    assert [one.answer().predictions for one in waits] == [["echo", number] for number in range(9)]
    assert server.wait() == 0


def test_a_second_signal_ends_at_once_whatever_waits(serve: Serve, tmp_path: Path) -> None:
    server = serve(ENVBUILD_WORKERS="2")
    slow = [server.begin("wait", str(tmp_path / name)) for name in "ab"]
    for name in "ab":
        begun(tmp_path / name)
    waits = server.begin("echo")
    assert server.ping() == 200
    server.process.send_signal(signal.SIGTERM)
    eventually(lambda: refuses(server.port), "no connection is taken any more")
    server.process.send_signal(signal.SIGTERM)
    assert server.wait() == 130
    for one in (*slow, waits):
        one.close()
