"""Access: each request's id and trace, and at its end a line of the log, with nothing of what was asked or answered."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from envbuild.server import saying
from envbuild.server.metrics import Metrics
from envbuild.server.middleware.account import Account, account_of
from envbuild.server.middleware.rooting import path_below_root
from envbuild.server.middleware.tracing import trace_of

QUIET: Final = frozenset(("/ping", "/health", "/metrics", "/v2/health/live", "/v2/health/ready"))
"""What an orchestrator asks every few seconds."""
REQUEST_ID: Final = b"x-request-id"
_PLAIN_ID: Final = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}")
_LONGEST_PATH: Final = 200


class AccessLog:
    """Wraps an application, outside of all that may refuse a request."""

    def __init__(self, application: ASGIApp, metrics: Metrics) -> None:
        self._application = application
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, and say so afterwards."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        account = account_of(scope)
        account.request_id = _request_id(scope["headers"])
        account.trace = trace_of(_values(scope, b"traceparent"), _values(scope, b"tracestate"))
        path, has_body = path_below_root(scope), scope["method"] != "HEAD"

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                account.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_headers(account)]
            elif has_body:
                account.bytes_out += len(message.get("body", b""))
            await send(message)

        began = time.perf_counter()
        self._metrics.begun()
        try:
            await self._application(scope, receive, watched)
        finally:
            seconds = time.perf_counter() - began
            self._metrics.ended(path, account, seconds)
            if path not in QUIET:
                _say(scope, account, seconds)


def _say(scope: Scope, account: Account, seconds: float) -> None:
    method, path, trace = scope["method"], _printable(scope["path"]), account.trace
    status = "-" if account.status is None else account.status
    milliseconds = round(seconds * 1000, 1)
    if not saying.is_json():
        saying.say(f"{method} {path} {status} {milliseconds:.1f} ms {account.request_id}")
        return
    saying.say(
        f"{method} {path} {status}",
        request_id=account.request_id,
        trace_id=trace and trace.id,
        span_id=trace and trace.span,
        parent_id=trace and trace.parent,
        tracestate=trace and trace.state,
        method=method,
        path=path,
        status=account.status,
        code=account.failure,
        ms=milliseconds,
        queue_ms=_milliseconds(account.waited),
        predict_ms=_milliseconds(account.predicted),
        bytes_in=account.bytes_in,
        bytes_out=account.bytes_out,
    )


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The caller's own where it is one and plain, else a new one."""
    given = [value for name, value in headers if name == REQUEST_ID]
    if len(given) == 1 and _PLAIN_ID.fullmatch(given[0]):
        return given[0].decode()
    return os.urandom(16).hex()


def _headers(account: Account) -> Iterable[tuple[bytes, bytes]]:
    yield REQUEST_ID, account.request_id.encode()
    if account.trace is not None:
        yield b"traceresponse", account.trace.response().encode()


def _values(scope: Scope, wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in scope["headers"] if name == wanted]


def _printable(path: str) -> str:
    """A path in which nobody can write a line of their own."""
    return quote(path[:_LONGEST_PATH], safe="/:@!$&'()*+,;=~", errors="replace")
