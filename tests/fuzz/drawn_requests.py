"""Requests as bytes on a line: right ones, and in most of them something that no client would send on purpose."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

import bodies
import mutation

ASPECTS = ("method", "path", "version", "host", "length", "headers", "chunks", "body")
METHODS = (b"GET", b"HEAD", b"PUT", b"OPTIONS", b"DELETE", b"PATCH", b"CONNECT", b"TRACE", b"post", b"\xff")
RIGHT_PATHS = (b"/invocations",) * 4 + (b"/v2/models/fuzzed/infer", b"/score")
PATHS = (
    b"/",
    b"/ping",
    b"/metrics",
    b"/version",
    b"/v2",
    b"/v2/health/ready",
    b"/v2/models/fuzzed",
    b"/v2/models/other/infer",
    b"/openapi.json",
    b"/swagger.json",
    b"/invocations/",
    b"/invocations?a=%ff&b",
    b"/invocations#x",
    b"//invocations",
    b"/../invocations",
    b"/%2e%2e/%00/%ff",
    b"/\xc3\xa9\xff",
    b"http://elsewhere.example/invocations",
    b"http://[::1/ping",
    b"elsewhere.example:443",
    b"*",
    b"",
    b"/nowhere/" + b"a" * 5000,
)
VERSIONS = (b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2", b"http/1.1", b"HTTP", b"")
HOSTS = (b"", b"[", b"[::1]:x", b"a b", b"\xe2\x84\x80", b"x:99999999", b"user:word@host", b"/\\@")
LENGTHS = (
    b"0",
    b"1",
    b"-1",
    b"+5",
    b"0x10",
    b"1e3",
    b"",
    b" 7 ",
    b"99999999",
    b"104857601",
    b"9" * 30,
    b"5, 5",
    b"\xb2",
)
ODD_HEADERS = (
    (b"Expect", b"100-continue"),
    (b"Expect", b"200-ok"),
    (b"Connection", b"close"),
    (b"Connection", b"Upgrade, HTTP2-Settings"),
    (b"Connection", b"keep-alive, \xff"),
    (b"Upgrade", b"websocket"),
    (b"Upgrade", b"h2c"),
    (b"Accept", b"text/csv"),
    (b"Accept", b"text/plain; version=x.y"),
    (b"Accept", b"application/openmetrics-text; version=;;=1"),
    (b"Accept", b"*/*;q=z, \xff/\xff"),
    (b"Accept-Encoding", b"gzip"),
    (b"Accept-Encoding", b"gzip;q=0, br;q=\xff"),
    (b"Content-Encoding", b"gzip"),
    (b"Content-Encoding", b"deflate"),
    (b"Content-Encoding", b"\xa0gzip, br"),
    (b"Content-Type", b"application/octet-stream"),
    (b"Content-Type", b"application/json; charset=\xff; boundary=" + b"b" * 3000),
    (b"Inference-Header-Content-Length", b"12"),
    (b"Inference-Header-Content-Length", b"-3"),
    (b"Inference-Header-Content-Length", b"9" * 5000),
    (b"X-Amzn-SageMaker-Custom-Attributes", b"\xe9 = \x01"),
    (b"X-Request-ID", b"of the caller"),
    (b"X-Request-ID", b"a" * 129),
    (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    (b"traceparent", b"00-" + b"0" * 60),
    (b"tracestate", b"a=1,a=2,,=\xff"),
    (b"Authorization", b"Bearer \xff"),
    (b"Transfer-Encoding", b"gzip, chunked"),
    (b"Transfer-Encoding", b"identity"),
    (b"Transfer-Encoding", b"\x0bchunked"),
    (b"Trailer", b"Content-Encoding"),
    (b"Cookie", b"=" * 4000),
    (b"a b", b"c"),
    (b"", b"nothing"),
    (b"X-" + b"n" * 3000, b"v"),
    (b"X-Folded", b"one\r\n two"),
    (b"X-Zero", b"a\0b"),
    (b"X-Feed", b"a\nb"),
)
V2 = {
    "id": "1",
    "inputs": [
        {"name": "a", "shape": [2], "datatype": "INT64", "data": [1, 2]},
        {"name": "b", "shape": [2, 1], "datatype": "FP64", "data": [[0.5], [1.5]]},
        {"name": "c", "shape": [2], "datatype": "BYTES", "data": ["x", "y"], "parameters": {"content_type": "str"}},
    ],
    "outputs": [{"name": "a", "parameters": {"binary_data": True}}],
}
AZURE = {"input_data": {"columns": ["a", "b"], "index": [0], "data": [[1, 0.5]]}}


@dataclass(frozen=True)
class Drawn:
    """What is sent, piece by piece, and what came to be in it."""

    pieces: tuple[bytes, ...]
    kind: str


def drawn(chance: random.Random) -> Drawn:
    """One connection's worth of requests."""
    how = chance.random()
    if how < 0.02:
        return Drawn((chance.randbytes(chance.randint(1, 3000)),), "noise")
    if how < 0.03:
        return Drawn((b"GET / HTTP/1.1\r\n" + b"X-Many: of them\r\n" * chance.choice((100, 20_000)),), "endless head")
    if how < 0.04:
        return Drawn((b"POST /invocations HTTP/1.1\r\nX: " + b"y" * 200_000,), "endless header")
    count = chance.choice((1,) * 8 + (2, 5))
    message = b"".join(_request(chance) for _ in range(count))
    kind = "one" if count == 1 else "pipelined"
    if chance.random() < 0.15:
        message, kind = mutation.mutated_bytes(message, chance), f"{kind}, mutated"
    if chance.random() < 0.1:
        message, kind = message[: chance.randrange(len(message)) + 1], f"{kind}, cut off"
    return Drawn(_pieces(message, chance), kind)


def _request(chance: random.Random) -> bytes:
    """A request of which up to three things are not as they should be."""
    wrong = chance.sample(ASPECTS, chance.choice((0, 1, 1, 1, 1, 2, 3)))
    path = chance.choice(PATHS if "path" in wrong else RIGHT_PATHS)
    body, content_type, encoding = _mutated_body(path, chance) if "body" in wrong else _right_body(path)
    hosts = chance.choices(HOSTS, k=chance.choice((0, 1, 1, 2))) if "host" in wrong else [b"localhost"]
    headers = [(b"Host", host) for host in hosts]
    headers.append((b"Content-Type", content_type.encode("utf-8", "surrogatepass")))
    if encoding is not None:
        headers.append((b"Content-Encoding", encoding.encode()))
    if "chunks" in wrong or chance.random() < 0.1:
        body = _chunked(body, chance, wrong="chunks" in wrong)
        headers.append((b"Transfer-Encoding", b"chunked"))
        if "length" in wrong:
            headers.append((b"Content-Length", str(len(body)).encode()))
    else:
        lies = (*LENGTHS, str(len(body) - 1).encode(), str(len(body) + 1).encode())
        headers.append((b"Content-Length", chance.choice(lies) if "length" in wrong else str(len(body)).encode()))
    if "headers" in wrong:
        headers += chance.choices(ODD_HEADERS, k=chance.randint(1, 3))
        chance.shuffle(headers)
    method = chance.choice(METHODS) if "method" in wrong else b"POST"
    version = chance.choice(VERSIONS) if "version" in wrong else b"HTTP/1.1"
    end = b"\n" if "version" in wrong and chance.random() < 0.2 else b"\r\n"
    return end.join((b" ".join((method, path, version)), *(name + b": " + value for name, value in headers), b"", body))


def _right_body(path: bytes) -> bodies.Request:
    if path.startswith(b"/v2"):
        return json.dumps(V2).encode(), "application/json", None
    data = AZURE if path == b"/score" else {"dataframe_records": [bodies.RECORD]}
    return json.dumps(data).encode(), "application/json", None


def _mutated_body(path: bytes, chance: random.Random) -> bodies.Request:
    if path.startswith(b"/v2"):
        return mutation.mutated_json(V2, chance), "application/json", None
    if path == b"/score" and chance.random() < 0.5:
        return mutation.mutated_json(AZURE, chance), "application/json", None
    return bodies.mutated("columns", chance)


def _chunked(body: bytes, chance: random.Random, *, wrong: bool) -> bytes:
    """A body in chunks, of which one may lie."""
    size = chance.choice((1, 7, 100, 5000))
    chunks = [body[start : start + size] for start in range(0, min(len(body), 200 * size), size)]
    lines = [b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks]
    if lines and wrong and chance.random() < 0.7:
        place = chance.randrange(len(lines))
        lies = (
            b"ffffffffffffffff\r\n",
            b"-1\r\nx\r\n",
            b"g\r\n",
            b"5\r\nab\r\n",
            b"3;a=b\r\nabc\r\n",
            b"\r\n",
            b"3\nabc\n",
        )
        lines[place] = chance.choice(lies)
    ends = (b"0\r\n\r\n", b"", b"0\r\n", b"0\r\nContent-Encoding: gzip\r\nX: y\r\n\r\n", b"0;e\r\n\r\n")
    return b"".join(lines) + (chance.choice(ends) if wrong else ends[0])


def _pieces(message: bytes, chance: random.Random) -> tuple[bytes, ...]:
    if chance.random() < 0.8 or len(message) < 10:
        return (message,)
    cuts = sorted(chance.sample(range(1, len(message)), 3))
    return tuple(message[start:end] for start, end in zip([0, *cuts], [*cuts, len(message)]))
