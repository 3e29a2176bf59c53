"""A server's life: its model is loaded, lost, loaded again; it is asked to stop."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from asking import SERVE, Server, body, children_of, here
from waiting import eventually, is_gone

from envbuild.server.serving import listening
from envbuild.settings.serving import ServingSettings

Serve = Callable[..., Server]


def loads(model: Path) -> int:
    """How many times the model was begun to load."""
    log = model.parent / "loads"
    return len(log.read_text().splitlines()) if log.exists() else 0


def begun(gate: Path) -> None:
    eventually(Path(f"{gate}.begun").exists, "the prediction has begun")


def private_directories(tmp_path: Path) -> list[Path]:
    return list(tmp_path.glob("envbuild-worker-*"))


def test_it_listens_while_the_model_loads_and_who_asks_meanwhile_is_answered(serve: Serve, model: Path) -> None:
    (model / "waits").touch()
    server = serve()
    answer = server.ask("GET", "/health")
    assert (answer.status, answer.json["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert answer.json["message"] == "the model is being loaded"
    asked = server.begin("echo", 1)
    # Loading was begun before anybody asked, and is not begun once more.
    eventually(lambda: loads(model) == 1, "the loading has begun")
    (model / "go").touch()
    assert asked.answer().predictions == ["echo", 1]
    assert (server.ping(), loads(model)) == (200, 1)


def test_a_worker_that_was_killed_between_two_requests_is_replaced(serve: Serve) -> None:
    server = serve()
    first = server.predict("pid").predictions
    os.kill(first, signal.SIGKILL)
    eventually(lambda: is_gone(first), "the worker is gone")
    assert server.predict("pid").predictions != first


def test_after_a_worker_died_the_pings_say_so_and_bring_it_back(serve: Serve) -> None:
    server = serve()
    first = server.predict("pid").predictions
    os.kill(first, signal.SIGKILL)
    eventually(lambda: is_gone(first), "the worker is gone")
    assert server.ask("GET", "/ping").json["message"] == "the model's worker has ended"
    server.wait_loaded()
    assert server.predict("pid").predictions != first


@pytest.mark.parametrize(("verb", "code"), [("kill", "worker-killed"), ("exit", "worker-exited")])
def test_a_model_that_ends_its_worker_is_unavailable_once(serve: Serve, verb: str, code: str) -> None:
    server = serve()
    answer = server.predict(verb)
    assert (answer.status, answer.json["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert server.predict("echo").predictions == ["echo"]
    assert f"error[{code}]" in server.stderr


def test_a_model_that_takes_too_much_memory_is_unavailable_once_and_a_long_answer_is_an_error(serve: Serve) -> None:
    server = serve(ENVBUILD_MAX_MEMORY="300MiB", ENVBUILD_MAX_OUTPUT="1kB")
    answer = server.predict("much", 2**30)
    assert (answer.status, answer.json["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert "the limit is 314572800 bytes" in answer.json["message"]
    answer = server.predict("echo", "x" * 1000)
    assert (answer.status, answer.json["error_code"]) == (500, "INTERNAL_ERROR")
    assert server.predict("echo").predictions == ["echo"]


def test_variables_that_are_not_there_are_said(serve: Serve) -> None:
    server = serve(ENVBUILD_PASS_ENV="IS_ABSENT")
    assert server.predict("echo").predictions == ["echo"]
    assert "warning[variable-absent]: IS_ABSENT" in server.stderr


def test_a_model_that_cannot_be_loaded_is_told_and_loaded_at_a_later_request(serve: Serve, model: Path) -> None:
    (model / "fails").touch()
    server = serve()
    eventually(lambda: "error[model-not-loaded]" in server.stderr, "the failure is told")
    for method, path, payload in (("GET", "/ping", None), ("POST", "/invocations", body("echo"))):
        answer = server.ask(method, path, payload, "application/json")
        assert (answer.status, answer.json["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
        assert "there is no library of that name" in answer.json["message"]
    before = loads(model)
    server.ping()
    assert loads(model) == before
    (model / "fails").unlink()
    assert server.predict("echo").predictions == ["echo"]
    assert server.ping() == 200


def test_who_waits_for_a_load_that_fails_shares_its_failure(serve: Serve, model: Path) -> None:
    for name in ("waits", "fails"):
        (model / name).touch()
    server = serve()
    eventually(lambda: loads(model) == 1, "the loading has begun")
    waiting = [server.begin("echo", number) for number in range(3)]
    assert server.ping() == 503
    assert loads(model) == 1
    (model / "go").touch()
    assert [asked.answer().status for asked in waiting] == [503, 503, 503]
    assert loads(model) == 1


def test_a_model_that_takes_too_long_to_load_is_unavailable(serve: Serve, model: Path) -> None:
    (model / "waits").touch()
    server = serve(ENVBUILD_LOAD_TIMEOUT="1")
    answer = server.predict("echo")
    assert (answer.status, answer.json["message"]) == (503, "the model was not loaded within 1 seconds")
    assert server.process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_was_asked_be_answered_and_then_ends_with_0(
    serve: Serve, tmp_path: Path, number: signal.Signals
) -> None:
    server, gate = serve(), tmp_path / "gate"
    worker = server.predict("pid").predictions
    slow = server.begin("wait", str(gate))
    begun(gate)
    queued = server.begin("echo", "after it")
    assert server.ping() == 200
    port = server.port
    server.process.send_signal(number)
    eventually(lambda: refuses(port), "no connection is taken any more")
    assert slow.is_waiting
    assert server.process.poll() is None
    gate.touch()
    assert slow.answer().predictions == ["wait", str(gate)]
    assert queued.answer().predictions == ["echo", "after it"]
    assert server.wait() == 0
    assert is_gone(worker)
    assert private_directories(tmp_path) == []


def test_a_signal_ends_a_server_that_is_idle_whoever_keeps_a_connection_open(serve: Serve) -> None:
    server = serve().wait_loaded()
    with socket.create_connection(("127.0.0.1", server.port)):
        server.process.send_signal(signal.SIGTERM)
        assert server.wait() == 0


def test_a_signal_ends_a_server_whose_model_is_still_loading(serve: Serve, model: Path, tmp_path: Path) -> None:
    (model / "waits").touch()
    server = serve()
    eventually(lambda: loads(model) == 1, "the loading has begun")
    worker = int((model.parent / "loads").read_text())
    server.process.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert is_gone(worker)
    assert private_directories(tmp_path) == []
    assert "error[" not in server.stderr


def test_a_second_signal_ends_at_once(serve: Serve, tmp_path: Path) -> None:
    server, gate = serve(), tmp_path / "gate"
    worker = server.predict("pid").predictions
    slow = server.begin("wait", str(gate))
    begun(gate)
    port = server.port
    server.process.send_signal(signal.SIGTERM)
    eventually(lambda: refuses(port), "the first was heard")
    server.process.send_signal(signal.SIGTERM)
    assert server.wait() == 130
    slow.close()
    assert is_gone(worker)
    assert "error[interrupted]" in server.stderr


def test_no_process_is_left_of_a_server_that_was_killed(serve: Serve) -> None:
    server = serve()
    server.predict("echo")
    below = [child for child in children_of(server.process.pid) if not is_gone(child)]
    assert below
    server.process.kill()
    server.wait()
    eventually(lambda: all(map(is_gone, below)), "the worker is gone")


def test_an_address_that_is_taken_is_said(
    serve: Serve, start: Callable[..., Server], environment: Path, model: Path
) -> None:
    port = serve().port
    second = start(here(environment, model, "serve", "--host", "127.0.0.1", "--port", port))
    assert second.wait() == 2
    assert f"error[usage]: cannot listen at 127.0.0.1, port {port}: Address already in use" in second.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_short_answers_are_sent_at_once(host: str) -> None:
    with (
        listening(ServingSettings(host=host, port=0)) as listener,
        socket.create_connection(listener.getsockname()[:2]),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_serve_is_the_command_where_none_is_given(start: Callable[..., Server], environment: Path, model: Path) -> None:
    assert start(here(environment, model, *SERVE[1:])).predict("echo").predictions == ["echo"]


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return True
    return False
