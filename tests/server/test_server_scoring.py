"""The scoring routes: what is asked and what is answered, over real HTTP."""

from __future__ import annotations

import gzip
import json
import socket
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from asking import Server, body
from tiny import write_model
from waiting import eventually

from envbuild.server.protocols.invocations import CONTENT_TYPES

Serve = Callable[..., Server]


@pytest.fixture
def server(serve: Serve) -> Server:
    return serve().wait_loaded()


def test_ping_and_health_say_that_the_model_is_loaded(server: Server) -> None:
    for path in ("/ping", "/health"):
        answer = server.ask("GET", path)
        assert (answer.status, answer.body) == (200, b"\n")


def test_the_version_is_that_of_the_mlflow_that_saved_the_model(server: Server) -> None:
    answer = server.ask("GET", "/version")
    assert (answer.status, answer.body) == (200, b"2.17.2")


def test_a_version_that_nobody_knows_is_not_made_up(serve: Serve, model: Path) -> None:
    (model / "MLmodel").write_text((model / "MLmodel").read_text().replace("mlflow_version: 2.17.2\n", ""))
    answer = serve().ask("GET", "/version")
    assert (answer.status, answer.json["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_a_prediction_is_answered_as_the_worker_wrote_it(server: Server) -> None:
    answer = server.predict("echo", 1.5, None)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json == {"predictions": ["echo", 1.5, None]}


def test_a_charset_beside_the_content_type_is_understood(server: Server) -> None:
    answer = server.ask("POST", "/invocations", body("echo"), "Application/JSON; charset=utf-8")
    assert answer.predictions == ["echo"]


@pytest.mark.parametrize("payload", [b"{", b"\xff", b'{"rows": []}', b""])
def test_what_is_no_request_is_a_bad_request(server: Server, payload: bytes) -> None:
    answer = server.ask("POST", "/invocations", payload, "application/json")
    assert (answer.status, answer.json["error_code"]) == (400, "BAD_REQUEST")
    assert answer.headers["content-type"] == "application/json"
    assert server.predict("echo").predictions == ["echo"]


def test_what_does_not_fit_the_model_is_an_invalid_value(server: Server) -> None:
    payload = json.dumps({"inputs": ["echo"], "params": {"depth": 3}}).encode()
    answer = server.ask("POST", "/invocations", payload, "application/json")
    assert (answer.status, answer.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "params" in answer.json["message"]


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "json", None])
def test_an_unknown_content_type_or_none_is_unsupported(server: Server, content_type: str | None) -> None:
    answer = server.ask("POST", "/invocations", body("echo"), content_type)
    assert answer.status == 415
    assert "text/csv" in answer.json["message"]


REFUSED = {
    "application/json": "exactly one of",
    "application/json-numpy-split": "object with data",
    "application/vnd.apache.parquet": "Parquet",
    "application/vnd.apache.arrow.file": "Arrow",
    "application/vnd.apache.arrow.stream": "Arrow",
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("content_type", CONTENT_TYPES)
def test_every_content_type_reaches_the_reader_of_its_kind(server: Server, content_type: str) -> None:
    payload = b"a\n1\n" if content_type == "text/csv" else b'{"a": 1}\n'
    answer = server.ask("POST", "/invocations", payload, content_type)
    if content_type in REFUSED:
        assert (answer.status, answer.json["error_code"]) == (400, "BAD_REQUEST")
        assert REFUSED[content_type] in answer.json["message"]
    else:
        # Without pandas a table is a column by name.
        assert answer.predictions == {"a": [1]}


def test_a_body_may_be_gzip_and_nothing_else(server: Server) -> None:
    packed = gzip.compress(body("echo", 2))
    answer = server.ask("POST", "/invocations", packed, "application/json", {"Content-Encoding": "gzip"})
    assert answer.predictions == ["echo", 2]
    answer = server.ask("POST", "/invocations", packed, "application/json", {"Content-Encoding": "br"})
    assert (answer.status, answer.json["error_code"]) == (415, "BAD_REQUEST")
    answer = server.ask("POST", "/invocations", b"no", "application/json", {"Content-Encoding": "gzip"})
    assert (answer.status, answer.json["error_code"]) == (400, "BAD_REQUEST")


def test_the_content_types_are_all_that_a_worker_reads(
    server: Server, worker_module: Callable[[str], types.ModuleType]
) -> None:
    message = server.ask("POST", "/invocations", b"{}", "text/html").json["message"]
    assert all(content_type in message for content_type in CONTENT_TYPES)
    parsing = worker_module("parsing")
    assert sorted(set(parsing._READERS) - {parsing.HANDED, parsing.COLUMNS, parsing.FRAME}) == sorted(CONTENT_TYPES)


@pytest.mark.parametrize(("verb", "said"), [("raise", "there is no such fruit"), ("set", "predictions")])
def test_a_model_that_fails_is_an_internal_error_and_is_asked_again(server: Server, verb: str, said: str) -> None:
    before = server.predict("pid").predictions
    answer = server.predict(verb)
    assert (answer.status, answer.json["error_code"]) == (500, "INTERNAL_ERROR")
    assert said in answer.json["message"]
    assert server.predict("pid").predictions == before


def test_a_prediction_that_takes_too_long_is_timed_out_and_the_next_is_answered(serve: Serve, tmp_path: Path) -> None:
    server = serve(ENVBUILD_PREDICT_TIMEOUT="1").wait_loaded()
    answer = server.predict("wait", str(tmp_path / "never"))
    assert (answer.status, answer.json["error_code"]) == (504, "DEADLINE_EXCEEDED")
    assert server.predict("echo").predictions == ["echo"]
    assert "error[timed-out]" in server.stderr


def test_nan_becomes_what_the_setting_says(serve: Serve) -> None:
    assert serve(ENVBUILD_NAN="string").predict("nan").predictions == ["NaN"]


@pytest.mark.parametrize(
    ("method", "path", "status", "name"),
    [("GET", "/nowhere", 404, "ENDPOINT_NOT_FOUND"), ("GET", "/invocations", 405, "BAD_REQUEST")],
)
def test_other_routes_are_refused_in_the_same_form(
    server: Server, method: str, path: str, status: int, name: str
) -> None:
    answer = server.ask(method, path)
    assert (answer.status, answer.json["error_code"]) == (status, name)


def test_a_ping_is_answered_during_a_slow_prediction(server: Server, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    slow = server.begin("wait", str(gate))
    eventually(Path(f"{gate}.begun").exists, "the prediction has begun")
    assert server.ping() == 200
    assert slow.is_waiting
    gate.touch()
    assert slow.answer().predictions == ["wait", str(gate)]


def test_nobody_predicts_for_a_client_that_went_away_while_it_waited(server: Server, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    slow = server.begin("wait", str(gate))
    eventually(Path(f"{gate}.begun").exists, "the prediction has begun")
    payload = body("from one who left")
    with socket.create_connection(("127.0.0.1", server.port)) as leaving:
        head = (
            f"POST /invocations HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: {len(payload)}"
        )
        leaving.sendall(head.encode() + b"\r\n\r\n" + payload)
        # An answer to another connection says that the first one was read.
        assert server.ping() == 200
    assert server.ping() == 200
    gate.touch()
    assert slow.answer().status == 200
    assert server.predict("seen").predictions == ["wait", "seen"]
    assert "POST /invocations 499 " in server.stderr


def test_the_log_has_a_line_for_each_request_and_nothing_of_what_it_held(server: Server) -> None:
    server.predict("echo", "canary-in-the-body")
    server.ask("GET", "/version?canary-in-the-query")
    server.ask("GET", "/nowhere%0aPOST%20/forged")
    server.ask("GET", "/health")
    eventually(lambda: server.stderr.count(" ms ") == 3, "all are in the log")
    logged = [line for line in server.stderr.splitlines() if " ms " in line]
    assert [line.split()[:3] for line in logged] == [
        ["POST", "/invocations", "200"],
        ["GET", "/version", "200"],
        ["GET", "/nowhere%0APOST%20/forged", "404"],
    ]
    assert "canary" not in server.stderr


def test_a_user_and_a_word_in_a_message_are_cut_out(serve: Serve, model: Path) -> None:
    loader = "def _load_pyfunc(path):\n    raise OSError('https://user:word@host.example/ is not there')\n"
    write_model(model, loader=loader)
    server = serve()
    answer = server.predict("echo")
    assert answer.status == 503
    assert "****@host.example" in answer.json["message"]
    assert "word" not in answer.json["message"] + "".join(
        line for line in server.stderr.splitlines() if line.startswith("error[")
    )
