"""What one who runs a server sees of it: metrics, the log, ids and traces, and the lines that it listens at."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from asking import Server, body
from prometheus_client.parser import text_string_to_metric_families
from waiting import DEADLINE, eventually, is_gone

import envbuild
from envbuild.server import saying
from envbuild.server.middleware.tracing import trace_of
from envbuild.server.resources import memory_below

Serve = Callable[..., Server]
JSON = "application/json"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def samples(server: Server, accept: str = "") -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What a scraper reads."""
    answer = server.ask("GET", "/metrics", headers={"Accept": accept})
    assert answer.status == 200
    families = text_string_to_metric_families(answer.body.decode())
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def value(found: dict[Any, float], name: str, **labels: str) -> float | None:
    return found.get((name, tuple(sorted(labels.items()))))


def logged(server: Server) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.stderr.splitlines()]


# Metrics.


def test_the_metrics_count_requests_by_route_and_status(serve: Serve) -> None:
    server = serve().wait_loaded()
    for verb in ("echo", "echo", "raise"):
        server.predict(verb)
    for path in ("/nowhere", "/elsewhere", "/%ff"):
        server.ask("GET", path)
    server.ask("POST", "/invocations", b"", "text/html")
    found = samples(server)
    assert value(found, "envbuild_request_seconds_count", route="/invocations", status="2xx") == 2
    assert value(found, "envbuild_request_seconds_count", route="/invocations", status="5xx") == 1
    assert value(found, "envbuild_request_seconds_count", route="/invocations", status="4xx") == 1
    assert value(found, "envbuild_request_seconds_count", route="unknown", status="4xx") == 3
    assert value(found, "envbuild_failures_total", code="model-raised") == 1
    assert value(found, "envbuild_failures_total", code="http-404") == 3
    assert value(found, "envbuild_queue_seconds_count") == value(found, "envbuild_predict_seconds_count") == 3
    assert value(found, "envbuild_batch_requests_sum") == 3
    # This scrape is one.
    assert value(found, "envbuild_requests_in_flight") == 1


def test_the_metrics_are_there_while_every_worker_is_busy_and_say_so(serve: Serve, tmp_path: Path) -> None:
    server, gate = serve().wait_loaded(), tmp_path / "gate"
    slow = server.begin("wait", str(gate))
    eventually(Path(f"{gate}.begun").exists, "the prediction has begun")
    queued = server.begin("echo")
    eventually(lambda: value(samples(server), "envbuild_queue_length") == 1, "one waits")
    found = samples(server)
    assert [value(found, f"envbuild_workers{state}") for state in ("", "_ready", "_busy")] == [1, 1, 1]
    assert value(found, "envbuild_requests_in_flight") == 3
    assert slow.is_waiting
    gate.touch()
    assert (slow.answer().status, queued.answer().status) == (200, 200)


def test_the_metrics_know_a_worker_that_follows_another_and_what_is_served(serve: Serve) -> None:
    server = serve().wait_loaded()
    first = server.predict("pid").predictions
    found = samples(server)
    assert value(found, "envbuild_worker_restarts_total", worker="0") == 0
    memory = value(found, "envbuild_worker_memory_bytes", worker="0")
    assert memory is not None
    assert 1 << 20 < memory < 1 << 30
    os.kill(first, signal.SIGKILL)
    eventually(lambda: is_gone(first), "the worker is gone")
    assert server.predict("echo").predictions == ["echo"]
    found = samples(server)
    assert value(found, "envbuild_worker_restarts_total", worker="0") == 1
    (labels,) = [dict(labels) for name, labels in found if name == "envbuild_build_info"]
    assert (labels["version"], labels["model"]) == (envbuild.__version__, "model")
    assert re.fullmatch(r"3\.\d+(\.\d+)?", labels["python"])
    assert labels["lock_hash"]


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4"),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=1.0.0"),
        ("text/plain; version=what", "text/plain; version=0.0.4"),
    ],
)
def test_the_metrics_come_in_the_form_that_is_asked_for(serve: Serve, accept: str, content_type: str) -> None:
    answer = serve().ask("GET", "/metrics", headers={"Accept": accept})
    assert answer.status == 200
    assert answer.headers["content-type"].startswith(content_type)


def test_the_memory_of_a_process_is_that_of_those_below_it_too() -> None:
    code = "import sys; held = bytearray(50 << 20); held[::4096] = bytes([1]) * len(held[::4096]); print(flush=True); input()"
    argv = ["sh", "-c", f"python3 -c '{code}'; true"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdout is not None
        shell.stdout.readline()
        assert 50 << 20 < memory_below(shell.pid) < 100 << 20
        shell.communicate(b"\n")
    assert memory_below(shell.pid) == 0


# The log.


def test_every_line_of_the_log_is_an_object(serve: Serve, model: Path) -> None:
    (model / "code" / "its_loader.py").write_text(
        "import os, sys\nprint('as it loads')\n" + (model / "code" / "its_loader.py").read_text()
    )
    server = serve(ENVBUILD_LOG_FORMAT="json", ENVBUILD_PASS_ENV="IS_ABSENT").wait_loaded()
    server.ask("POST", "/invocations", body("echo", "canary"), JSON, {"X-Request-ID": "from-the-caller"})
    server.predict("raise")
    server.predict("kill")
    server.ask("GET", "/version?canary")
    server.ask("GET", "/health")
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        line.sendall(b"nonsense\r\n\r\n")
        assert line.recv(1000)
    server.process.terminate()
    assert server.wait() == 0
    entries = logged(server)
    assert all(datetime.fromisoformat(entry["time"].replace("Z", "+00:00")).tzinfo for entry in entries)
    assert {entry["level"] for entry in entries} <= {"info", "warning", "error"}
    asked = [entry for entry in entries if "method" in entry]
    assert [(entry["method"], entry["path"], entry["status"], entry.get("code")) for entry in asked] == [
        ("POST", "/invocations", 200, None),
        ("POST", "/invocations", 500, "model-raised"),
        ("POST", "/invocations", 503, "worker-killed"),
        ("GET", "/version", 200, None),
    ]
    first = asked[0]
    assert first["request_id"] == "from-the-caller"
    assert (first["bytes_in"], first["bytes_out"]) == (
        len(body("echo", "canary")),
        len('{"predictions": ["echo", "canary"]}'),
    )
    assert 0 <= first["queue_ms"] + first["predict_ms"] <= first["ms"] + 0.2
    messages = [entry["message"] for entry in entries if entry.get("stream") == "model"]
    assert "as it loads" in messages
    assert "ValueError: there is no such fruit" in messages
    assert {"variable-absent", "worker-killed"} <= {entry.get("code") for entry in entries}
    assert any(entry["message"].startswith("listening at http://") for entry in entries)
    assert "canary" not in server.stderr


def test_what_a_model_prints_without_an_end_is_said_in_pieces(capsys: pytest.CaptureFixture[str]) -> None:
    def said() -> list[int]:
        return [len(json.loads(line)["message"]) for line in capsys.readouterr().err.splitlines()]

    saying.use("json")
    try:
        prints = saying.of_model()
        assert prints is not None
        prints(b"a\n" + b"x" * 20_000)
        assert said() == [1, 8192, 8192]
        prints(b"\n")
        assert said() == [20_000 - 2 * 8192]
    finally:
        saying.use("text")


def test_an_error_before_anything_is_served_is_an_object_too(serve: Serve) -> None:
    port = serve().port
    server = serve(ENVBUILD_LOG_FORMAT="json", ENVBUILD_UDS=f"/nowhere/{port}")
    assert server.wait() == 2
    assert [(entry["level"], entry["code"]) for entry in logged(server)] == [("error", "usage")]


def test_a_request_has_the_callers_id_where_it_is_plain_and_else_one_of_ours(serve: Serve) -> None:
    server = serve().wait_loaded()
    given = {"/version": "a:b/c-1", "/nowhere": "x" * 128}
    for path, one in given.items():
        assert server.ask("GET", path, headers={"X-Request-ID": one}).headers["x-request-id"] == one
    made = [
        server.ask("GET", "/version", headers={"X-Request-ID": one}).headers["x-request-id"]
        for one in ("", "x" * 129, "a b", 'a"b', "é")
    ]
    assert len(set(made)) == 5
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in made)
    eventually(lambda: server.stderr.count(" ms ") == 7, "all are in the log")
    ends = [line.split()[-1] for line in server.stderr.splitlines() if " ms " in line]
    assert ends == [*given.values(), *made]


def test_the_callers_trace_is_in_the_log_and_he_is_told_our_part_of_it(serve: Serve) -> None:
    server = serve(ENVBUILD_LOG_FORMAT="json").wait_loaded()
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "a=1, b@c=2"}
    told = server.ask("GET", "/version", headers=headers).headers["traceresponse"]
    assert "traceresponse" not in server.ask("GET", "/version", headers={"traceparent": "00-0-0-00"}).headers
    # A line comes after the answer.
    eventually(lambda: server.stderr.count('"method"') == 2, "both are in the log")
    with_trace, without = [entry for entry in logged(server) if "method" in entry]
    assert (with_trace["trace_id"], with_trace["parent_id"], with_trace["tracestate"]) == (TRACE, PARENT, "a=1,b@c=2")
    assert told == f"00-{TRACE}-{with_trace['span_id']}-01"
    assert "trace_id" not in without


@pytest.mark.parametrize(
    ("parents", "is_right"),
    [
        ([f"00-{TRACE}-{PARENT}-01"], True),
        ([f"00-{TRACE}-{PARENT}-ff"], True),
        ([f"01-{TRACE}-{PARENT}-01-more"], True),
        ([f"00-{TRACE}-{PARENT}-01-more"], False),
        ([f"ff-{TRACE}-{PARENT}-01"], False),
        ([f"00-{TRACE.upper()}-{PARENT}-01"], False),
        ([f"00-{'0' * 32}-{PARENT}-01"], False),
        ([f"00-{TRACE}-{'0' * 16}-01"], False),
        ([f"00-{TRACE}-{PARENT}-1"], False),
        ([f"00-{TRACE}-{PARENT}-01\n"], False),
        ([f"00-{TRACE}-{PARENT}-01"] * 2, False),
        ([""], False),
        ([], False),
    ],
)
def test_a_trace_that_breaks_the_rules_is_none(parents: list[str], is_right: bool) -> None:
    assert (trace_of(parents, []) is not None) is is_right


@pytest.mark.parametrize(
    ("states", "kept"),
    [
        (["a=1"], "a=1"),
        (["a=1,b=2", " ,c/d=x y"], "a=1,b=2,c/d=x y"),
        (["1tenant@sys=v"], "1tenant@sys=v"),
        (["a=1,a=2"], None),
        (["A=1"], None),
        (["a=", "b"], None),
        (["a=" + "x" * 300], None),
        ([",".join(f"k{number}=v" for number in range(33))], None),
        ([], None),
    ],
)
def test_the_state_of_a_trace_is_kept_whole_or_not_at_all(states: list[str], kept: str | None) -> None:
    trace = trace_of([f"00-{TRACE}-{PARENT}-00"], states)
    assert trace is not None
    assert trace.state == kept


# Where it listens.


def test_the_routes_answer_under_the_root_path_and_without_it(serve: Serve) -> None:
    server = serve(ENVBUILD_ROOT_PATH="/models/heart", ENVBUILD_TOKEN="a-token")
    eventually(lambda: server.ask("GET", "/models/heart/ping").status == 200, "the model is loaded")
    headers = {"Authorization": "Bearer a-token"}
    for path in ("/ping", "/models/heart/ping"):
        assert server.ask("GET", path).status == 200
    for path in ("/version", "/models/heart/version"):
        assert server.ask("GET", path, headers=headers).body == b"2.17.2"
        assert server.ask("GET", path).status == 401
    for path in ("/models/heartversion", "/models", "/models/heart/models/heart/version"):
        assert server.ask("GET", path, headers=headers).status == 404
    assert value_of_route(server, headers, "/version") == 4


def value_of_route(server: Server, headers: dict[str, str], route: str) -> int:
    text = server.ask("GET", "/metrics", headers=headers).body.decode()
    found = re.findall(rf'^envbuild_request_seconds_count{{route="{route}",status="\dxx"}} (\S+)$', text, re.MULTILINE)
    return int(sum(map(float, found)))


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    made, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    argv = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-out", made, "-keyout", key]
    subprocess.run([*argv, *names], check=True, capture_output=True)
    return made, key


class Unix(http.client.HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=DEADLINE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE)
        self.sock.connect(str(self._path))


def ask(connection: http.client.HTTPConnection, method: str, path: str, payload: bytes | None = None) -> Any:
    """Ask, and keep the connection."""
    connection.request(method, path, payload, {"Content-Type": JSON})
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_tls_is_verified_by_its_client_and_drains(serve: Serve, certificate: tuple[Path, Path], tmp_path: Path) -> None:
    made, key = certificate
    server = serve(ENVBUILD_CERTFILE=str(made), ENVBUILD_KEYFILE=str(key))
    context = ssl.create_default_context(cafile=str(made))

    def connect() -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", server.port, timeout=DEADLINE, context=context)

    with closing(connect()) as connection:
        assert ask(connection, "POST", "/invocations", body("echo"))[0] == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        http.client.HTTPSConnection("127.0.0.1", server.port, context=ssl.create_default_context()).connect()
    with pytest.raises((http.client.BadStatusLine, ConnectionError)):
        server.ask("GET", "/ping")
    drains(server, connect, tmp_path / "gate", lambda: refuses(("127.0.0.1", server.port)))
    assert "Traceback" not in server.stderr


def test_a_unix_socket_is_for_its_user_alone_and_gone_at_the_end(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    left_over = socket.socket(socket.AF_UNIX)
    left_over.bind(str(path))
    left_over.close()
    server = serve(ENVBUILD_UDS=str(path))
    eventually(lambda: f"listening at {path}" in server.stderr, "it listens")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with closing(Unix(path)) as connection:
        assert ask(connection, "POST", "/invocations", body("echo"))[0] == 200
    second = serve(ENVBUILD_UDS=str(path))
    assert second.wait() == 2
    assert f"error[usage]: cannot listen at {path}: Address already in use" in second.stderr
    assert path.exists()
    drains(server, lambda: Unix(path), tmp_path / "gate", lambda: refuses(str(path)))
    assert not path.exists()


def test_a_socket_that_took_the_place_of_ours_is_left_alone(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = serve(ENVBUILD_UDS=str(path))
    eventually(lambda: f"listening at {path}" in server.stderr, "it listens")
    path.rename(tmp_path / "ours")
    with closing(socket.socket(socket.AF_UNIX)) as another:
        another.bind(str(path))
        server.process.terminate()
        assert server.wait() == 0
        assert path.exists()


def test_a_file_that_is_no_socket_is_left_alone(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("mine")
    server = serve(ENVBUILD_UDS=str(path))
    assert server.wait() == 2
    assert "error[usage]: cannot listen at" in server.stderr
    assert path.read_text() == "mine"


def refuses(address: Any) -> bool:
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as asked:
        return asked.connect_ex(address) != 0


def drains(
    server: Server, connect: Callable[[], http.client.HTTPConnection], gate: Path, is_refused: Callable[[], bool]
) -> None:
    """What was asked is answered after SIGTERM, and nothing else; who keeps a connection open holds up nothing."""
    slow, kept = connect(), connect()
    assert ask(kept, "GET", "/ping")[0] == 200
    slow.request("POST", "/invocations", body("wait", str(gate)), {"Content-Type": JSON})
    eventually(Path(f"{gate}.begun").exists, "the prediction has begun")
    server.process.terminate()
    eventually(is_refused, "no connection is taken any more")
    assert server.process.poll() is None
    gate.touch()
    answer = slow.getresponse()
    assert (answer.status, json.loads(answer.read())["predictions"][0]) == (200, "wait")
    slow.close()
    assert server.wait() == 0
    kept.close()


def test_after_sigterm_who_asks_on_a_kept_connection_hears_that_it_is_over(serve: Serve, tmp_path: Path) -> None:
    server, gate = serve().wait_loaded(), tmp_path / "gate"
    payload = body("wait", str(gate))
    asked = f"POST /invocations HTTP/1.1\r\nHost: h\r\nContent-Type: {JSON}\r\nContent-Length: {len(payload)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as line:
        line.sendall(asked.encode() + payload + b"GET /v2/health/ready HTTP/1.1\r\nHost: h\r\n\r\n")
        eventually(Path(f"{gate}.begun").exists, "the prediction has begun")
        server.process.terminate()
        eventually(lambda: refuses(("127.0.0.1", server.port)), "no connection is taken any more")
        gate.touch()
        came = b""
        while data := line.recv(1 << 16):
            came += data
    assert re.findall(rb"HTTP/1.1 (\d+) ", came) == [b"200", b"503"]
    assert server.wait() == 0


@pytest.mark.parametrize("wrong", ["another's key", "no key", "a locked key", "no file"])
def test_a_certificate_that_cannot_be_used_is_a_plain_error(
    serve: Serve, certificate: tuple[Path, Path], tmp_path: Path, wrong: str
) -> None:
    made, key = certificate
    if wrong == "another's key":
        argv = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", key]
        subprocess.run(argv, check=True, capture_output=True)
    elif wrong == "no key":
        key.write_text("nothing")
    elif wrong == "a locked key":
        argv = ["openssl", "ec", "-in", key, "-aes256", "-passout", "pass:word", "-out", tmp_path / "locked.pem"]
        subprocess.run(argv, check=True, capture_output=True)
        key = tmp_path / "locked.pem"
    else:
        key.unlink()
    server = serve(ENVBUILD_CERTFILE=str(made), ENVBUILD_KEYFILE=str(key))
    assert server.wait() == 2
    assert f"error[usage]: {made} and {key} cannot be used: " in server.stderr
    assert "Traceback" not in server.stderr
    assert "listening" not in server.stderr
