"""Who may ask, how long what is asked may be, and how long it may take to come."""

from __future__ import annotations

import gzip
import json
import random
import socket
import subprocess
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from asking import Server, body, children_of
from hypothesis import given, settings
from hypothesis import strategies as st
from waiting import DEADLINE, eventually

from envbuild.errors import InputError
from envbuild.server.middleware.compressing import takes_gzip
from envbuild.server.middleware.guarding import Unpacked

Serve = Callable[..., Server]
TOKEN = "a-Token.of~letters+signs/="
JSON = "application/json"


def line_to(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE)


def until_closed(line: socket.socket) -> bytes:
    came = b""
    while data := line.recv(1 << 16):
        came += data
    return came


def head(length: object = None, *more: str, path: str = "/invocations") -> bytes:
    given = [] if length is None else [f"Content-Length: {length}"]
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: h", f"Content-Type: {JSON}", *given, *more, "", ""]).encode()


def send_on_and_on(line: socket.socket, piece: bytes) -> None:
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until:
        line.sendall(piece)


# The token.


@pytest.fixture
def guarded(serve: Serve) -> Server:
    server = serve(ENVBUILD_TOKEN=TOKEN)
    eventually(lambda: server.ask("GET", "/ping").status == 200, "the model is loaded")
    return server


def test_who_shows_the_token_is_answered(guarded: Server) -> None:
    for word in (f"Bearer {TOKEN}", f"bearer {TOKEN}", f"Bearer   {TOKEN}"):
        answer = guarded.ask("POST", "/invocations", body("echo"), JSON, {"Authorization": word})
        assert answer.predictions == ["echo"]


def test_who_does_not_is_refused(guarded: Server) -> None:
    right = f"Bearer {TOKEN}"
    words = (None, "", "Bearer", TOKEN, f"Basic {TOKEN}", right[:-1], f"{right}x", f"{right} {TOKEN}", "Bearer é")
    for path in ("/invocations", "/metrics", "/version", "/nowhere", "/v2/models/model/infer", "/ping/"):
        for word in words:
            given = {} if word is None else {"Authorization": word.encode("latin-1")}
            answer = guarded.ask("POST", path, body("echo"), JSON, given)
            assert answer.status == 401, (path, word)
            assert answer.headers["www-authenticate"].startswith("Bearer")
            if path.startswith("/v2"):
                assert list(answer.json) == ["error"]
            else:
                assert answer.json["error_code"] == "UNAUTHENTICATED"


def test_two_tokens_are_none(guarded: Server) -> None:
    with line_to(guarded) as line:
        line.sendall(head(0, *[f"Authorization: Bearer {TOKEN}"] * 2, "Connection: close"))
        assert until_closed(line).startswith(b"HTTP/1.1 401 ")


def test_health_needs_no_token_and_nobody_is_told_it(guarded: Server) -> None:
    for path in ("/ping", "/health", "/v2/health/live", "/v2/health/ready"):
        assert guarded.ask("GET", path).status == 200
    guarded.ask("GET", "/version", headers={"Authorization": f"Bearer {TOKEN}"})
    guarded.ask("GET", "/version", headers={"Authorization": "Bearer another-one"})
    assert TOKEN not in guarded.stderr
    assert "another-one" not in guarded.stderr
    workers = [child for child in children_of(guarded.process.pid) if (Path(f"/proc/{child}/environ")).exists()]
    assert workers
    assert not any(TOKEN.encode() in Path(f"/proc/{worker}/environ").read_bytes() for worker in workers)


# Lengths.


def test_a_body_that_says_that_it_is_too_long_is_refused_before_it_comes(serve: Serve) -> None:
    server = serve(ENVBUILD_MAX_BODY="1kB").wait_loaded()
    with line_to(server) as line:
        line.sendall(head(1001, "Expect: 100-continue"))
        answer = until_closed(line)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {
        "error_code": "BAD_REQUEST",
        "message": "the body is longer than 1000 bytes",
    }


def test_a_body_of_just_the_longest_length_is_taken_and_one_byte_more_is_not(serve: Serve) -> None:
    server = serve(ENVBUILD_MAX_BODY="1kB").wait_loaded()
    payload = body("echo", "")
    fitting = body("echo", "x" * (1000 - len(payload)))
    assert server.ask("POST", "/invocations", fitting, JSON).status == 200
    assert server.ask("POST", "/invocations", fitting + b" ", JSON).status == 413


def chunked(payload: bytes) -> bytes:
    chunks = [payload[start : start + 400] for start in range(0, len(payload), 400)]
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


@pytest.mark.parametrize(("length", "status"), [(900, b"200"), (1001, b"413"), (100_000, b"413")])
def test_a_body_in_chunks_is_counted_as_it_comes(serve: Serve, length: int, status: bytes) -> None:
    server = serve(ENVBUILD_MAX_BODY="1kB").wait_loaded()
    payload = body("echo", "x" * (length - len(body("echo", ""))))
    with line_to(server) as line:
        line.sendall(head(None, "Transfer-Encoding: chunked") + chunked(payload))
        # The rest of what was refused is passed over, and the connection goes on.
        line.sendall(b"GET /version HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        answer = until_closed(line)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert answer.endswith(b"\r\n\r\n2.17.2")


@pytest.mark.slow
def test_who_sends_on_and_on_after_a_refusal_is_cut_off(serve: Serve) -> None:
    server = serve(ENVBUILD_MAX_BODY="1kB").wait_loaded()
    with line_to(server) as line:
        # So long that it does not come to its end meanwhile.
        line.sendall(head(10**15))
        assert line.recv(100).startswith(b"HTTP/1.1 413 ")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            send_on_and_on(line, b"x" * 1000)


@pytest.mark.parametrize(
    ("path", "encoding"),
    [
        ("/invocations", "gzip"),
        ("/invocations", "GZIP "),
        ("/invocations", "\xa0gzip"),
        ("/v2/models/model/infer", "x-gzip"),
        ("/v2/models/model/infer", "deflate"),
    ],
)
def test_a_body_that_unpacks_to_more_is_refused_before_a_worker_sees_it(serve: Serve, encoding: str, path: str) -> None:
    server = serve(ENVBUILD_MAX_BODY="1MB").wait_loaded()
    packed = zlib.compress(bytes(10**8), 1) if encoding == "deflate" else gzip.compress(bytes(10**8), 1)
    answer = server.ask("POST", path, packed, JSON, {"Content-Encoding": encoding.encode("latin-1")})
    assert answer.status == 413
    assert "1000000 bytes when unpacked" in (answer.json.get("message") or answer.json["error"])
    peak = int(Path(f"/proc/{server.process.pid}/status").read_text().partition("VmHWM:")[2].split()[0])
    assert peak < 90_000, "it was unpacked"


def test_a_packed_body_may_have_several_members_and_zeros_behind_them(serve: Serve) -> None:
    server = serve().wait_loaded()
    text = body("echo", 7)
    packed = gzip.compress(text[:5]) + gzip.compress(text[5:]) + b"\0" * 9
    answer = server.ask("POST", "/invocations", packed, JSON, {"Content-Encoding": "gzip"})
    assert answer.predictions == ["echo", 7]


def broken(member: bytes, place: int, value: int) -> bytes:
    changed = bytearray(member)
    changed[place % len(member)] ^= value
    return bytes(changed)


@settings(max_examples=300, deadline=None)
@given(
    parts=st.lists(st.binary(max_size=300).map(lambda data: data * 20), min_size=1, max_size=3),
    zeros=st.integers(0, 3),
    most=st.integers(0, 9000),
    cut=st.integers(1, 500),
    change=st.none() | st.tuples(st.integers(0, 10_000), st.integers(1, 255)),
)
def test_what_passes_is_never_longer_than_it_may_be_by_pythons_own_reading(
    parts: list[bytes], zeros: int, most: int, cut: int, change: tuple[int, int] | None
) -> None:
    packed = b"".join(map(gzip.compress, parts)) + b"\0" * zeros
    if change is not None:
        packed = broken(packed, *change)
    counted = Unpacked(most, zlib.MAX_WBITS | 16)
    try:
        for start in range(0, len(packed), cut):
            counted.take(packed[start : start + cut])
        passes = not counted.is_too_long
    except InputError:
        passes = False
    if change is None:
        assert passes == (len(b"".join(parts)) <= most)
    elif passes:
        try:
            length = len(gzip.decompress(packed))
        except (OSError, EOFError, zlib.error):
            return
        assert length <= most


# Times.


@pytest.mark.parametrize(
    "sent",
    [head(100) + b"{", head(None, "Transfer-Encoding: chunked") + b"5\r\n{\r\n"],
    ids=["a part of what was said", "a part of a chunk"],
)
def test_a_body_that_does_not_come_is_a_408_and_holds_no_worker(serve: Serve, sent: bytes) -> None:
    server = serve(ENVBUILD_REQUEST_TIMEOUT="1").wait_loaded()
    with line_to(server) as line:
        line.sendall(sent)
        assert server.predict("echo").predictions == ["echo"]
        answer = until_closed(line)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in answer.lower()
    assert b"the body did not come within 1 seconds" in answer


@pytest.mark.parametrize("sent", [b"", b"GET /ping HTTP/1.1\r\nHo"])
def test_a_head_that_does_not_come_ends_the_connection(serve: Serve, sent: bytes) -> None:
    server = serve(ENVBUILD_REQUEST_TIMEOUT="1").wait_loaded()
    with line_to(server) as line:
        line.sendall(sent)
        # An end or a reset: either tells the client.
        with suppress(ConnectionResetError):
            assert line.recv(1) == b""


@pytest.mark.parametrize(
    ("first", "more"),
    [
        (b"GET /ping HTTP/1.1\r\n", b"X-One: of many\r\n"),
        (b"GET /ping HTTP/1.1\r\nX: ", b"y" * 100),
        (b"GET /", b"path" * 100),
        (head(None, "Transfer-Encoding: chunked") + b"0\r\n", b"X-Trailer: of many\r\n"),
        (head(None, "Transfer-Encoding: chunked") + b"1;", b"extension" * 10),
    ],
    ids=["headers", "a header", "a path", "trailers", "an extension of a chunk"],
)
def test_a_head_without_end_is_refused(serve: Serve, first: bytes, more: bytes) -> None:
    server = serve().wait_loaded()
    with line_to(server) as line:
        line.sendall(first)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            send_on_and_on(line, more)
    assert server.predict("echo").predictions == ["echo"]


def test_trailers_change_nothing_of_the_request(serve: Serve) -> None:
    server = serve(ENVBUILD_TOKEN=TOKEN)
    eventually(lambda: server.ping() == 200, "the model is loaded")
    with line_to(server) as line:
        late = chunked(body("echo"))[:-2] + f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
        line.sendall(head(None, "Transfer-Encoding: chunked", "Connection: close") + late)
        assert until_closed(line).startswith(b"HTTP/1.1 401 ")


def test_what_is_no_http_is_refused_after_what_was_asked_before(serve: Serve, tmp_path: Path) -> None:
    server, gate = serve().wait_loaded(), tmp_path / "gate"
    payload = body("wait", str(gate))
    with line_to(server) as line:
        line.sendall(head(len(payload)) + payload + b"\0\0 nonsense \r\n\r\n")
        eventually(Path(f"{gate}.begun").exists, "the prediction has begun")
        gate.touch()
        answer = until_closed(line)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    with line_to(server) as line:
        line.sendall(b"\0\0 nonsense \r\n\r\n")
        answer = until_closed(line)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error_code"] == "BAD_REQUEST"


# What clients do.


def test_curl_waits_to_be_told_to_go_on(serve: Serve, tmp_path: Path) -> None:
    server, file = serve().wait_loaded(), tmp_path / "body"
    file.write_bytes(body("echo", "x" * 2_000_000))
    address = f"http://127.0.0.1:{server.port}/invocations"
    argv = ["curl", "-sv", "-H", f"Content-Type: {JSON}", "-H", "Expect: 100-continue", "--data-binary", f"@{file}"]
    done = subprocess.run([*argv, address], capture_output=True, timeout=60, check=True)
    assert b"HTTP/1.1 100 Continue" in done.stderr
    assert json.loads(done.stdout)["predictions"][0] == "echo"


def test_an_old_client_is_answered_and_its_connection_closed(serve: Serve) -> None:
    server = serve().wait_loaded()
    payload = body("echo")
    with line_to(server) as line:
        line.sendall(head(len(payload)).replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: h\r\n", b"") + payload)
        answer = until_closed(line)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b'{"predictions": ["echo"]}')


def test_who_offers_another_protocol_is_answered_in_this_one(serve: Serve) -> None:
    server = serve().wait_loaded()
    payload, more = body("echo"), ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQ")
    with line_to(server) as line:
        # As Java's own client does by default.
        for _ in range(2):
            line.sendall(head(len(payload), *more) + payload)
            came = b""
            while b"}" not in came:
                came += line.recv(1 << 16)
            assert came.startswith(b"HTTP/1.1 200 ")


def test_a_connection_is_kept_and_answers_in_order(serve: Serve) -> None:
    connection = serve().wait_loaded().connect()
    chance = random.Random(7)
    for number in range(20):
        payload = body("echo", number, "x" * chance.choice((1, 100_000)))
        connection.request("POST", "/invocations", payload, {"Content-Type": JSON})
        first = connection.sock
        assert json.loads(connection.getresponse().read())["predictions"][1] == number
        assert connection.sock is first
    connection.close()


def test_answers_are_packed_for_who_takes_that(serve: Serve) -> None:
    server = serve().wait_loaded()
    long, short = body("echo", "x" * 5000), body("echo")
    for accepted, payload, packed in (
        ("gzip", long, True),
        ("br, gzip;q=0.5", long, True),
        ("gzip;q=0", long, False),
        ("identity", long, False),
        ("gzip", short, False),
    ):
        answer = server.ask("POST", "/invocations", payload, JSON, {"Accept-Encoding": accepted})
        assert (answer.headers.get("content-encoding") == "gzip") is packed, accepted
        assert int(answer.headers["content-length"]) == len(answer.body)
        text = gzip.decompress(answer.body) if packed else answer.body
        assert json.loads(text)["predictions"][0] == "echo"


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [
        ("gzip", True),
        ("GZip", True),
        ("a, gzip ; q=0.001", True),
        ("gzip; q=0.000", False),
        ("x-gzip", False),
        ("", False),
    ],
)
def test_who_takes_gzip(accepted: str, takes: bool) -> None:
    assert takes_gzip(accepted) is takes


def test_head_and_options_have_no_bodies_and_no_faults(serve: Serve) -> None:
    server = serve().wait_loaded()
    answer = server.ask("HEAD", "/ping")
    assert (answer.status, answer.body) == (200, b"")
    answer = server.ask("HEAD", "/ping", headers={"Connection": "close"})
    assert (answer.status, answer.body) == (200, b"")
    answer = server.ask("HEAD", "/nowhere")
    assert (answer.status, answer.body) == (404, b"")
    answer = server.ask("OPTIONS", "/invocations")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert server.predict("echo").predictions == ["echo"]


def test_an_answer_without_a_body_comes_at_once_and_another_after_it(serve: Serve) -> None:
    server = serve().wait_loaded()
    with line_to(server) as line:
        for method in (b"HEAD", b"GET"):
            line.sendall(method + b" /ping HTTP/1.1\r\nHost: a\r\n\r\n")
            assert line.recv(1 << 12).startswith(b"HTTP/1.1 200 ")


def test_who_asks_first_is_told_to_go_on(serve: Serve) -> None:
    server, asked = serve().wait_loaded(), body("echo", 1)
    with line_to(server) as line:
        line.sendall(head(len(asked), "Expect: 100-continue"))
        assert line.recv(100).startswith(b"HTTP/1.1 100 ")
        line.sendall(asked)
        assert line.recv(1 << 12).startswith(b"HTTP/1.1 200 ")


def test_a_host_that_is_none_is_no_fault_of_ours(serve: Serve) -> None:
    server = serve().wait_loaded()
    for host in ("[", "[::1]:x", "\u2100", "", "a b"):
        for path in ("/nowhere", "/version/", "/version"):
            with line_to(server) as line:
                line.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
                assert int(until_closed(line).split()[1]) < 500, (host, path)
    assert "Traceback" not in server.stderr
