"""The connection: uvicorn's HTTP over httptools, with bounds on what a client may send without asking anything.

Neither has a limit for the head of a request, for trailers or for the time that a head takes; and what cannot be
understood is answered before what was asked on the same connection earlier. Two things cost too much time where the
model itself takes little: a head and its body are two system calls, and who wants to know that the client has gone must
have a task for it.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable
from typing import Any, Final, cast

import httptools
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

LONGEST_HEAD: Final = 1 << 16
"""Bytes that may come and be neither a whole head nor anything of a body."""
# How long a body may go on that nobody reads, its request having been refused; it is not cut off at once because a client
# that is still sending would not see the answer.
_LINGER_SECONDS: Final = 5.0
# At the server's end: for the last answer to be taken; and for TLS, which waits for the other side to close as well.
_CLOSE_SECONDS: Final = 10.0
_CLOSE_IDLE_SECONDS: Final = 1.0
# Longer ones are not copied to stand behind their head.
_LONGEST_COPY: Final = 1 << 16
_LOST: Final = "envbuild.lost"


def lost_of(scope: Scope) -> asyncio.Future[None]:
    """What is done as soon as the client of a request has gone."""
    return cast("asyncio.Future[None]", scope[_LOST])


class Connection(HttpToolsProtocol):
    """A client's connection."""

    def __init__(self, *arguments: Any, seconds: float, **options: Any) -> None:
        """:param seconds: how long a request's head may take."""
        super().__init__(*arguments, **options)
        self._seconds = seconds
        self._deadline: asyncio.TimerHandle | None = None
        self._is_in_head = False
        self._taken = 0
        self._without_offer: bytes | None = None
        self._fruitless = 0
        self._is_refused = False
        self._is_last = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a head."""
        self._lost = self.loop.create_future()
        super().connection_made(_Joining(transport))
        self._expect(self._seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._expect(None)
        self._lost.set_result(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what comes, as long as it comes to something."""
        if self.transport.is_closing() or self._is_refused:
            return
        self._unset_keepalive_if_required()
        before = self._taken
        self._feed(data)
        self._fruitless = 0 if self._taken > before else self._fruitless + len(data)
        if self._fruitless > LONGEST_HEAD:
            self._refuse(431, "the head of the request is too long")

    def _feed(self, data: bytes) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as offer:
                # Of another protocol, which we may pass over (RFC 9110, 7.8); the parser has stopped before the body.
                if self._without_offer is None:
                    self._refuse(400, "this server is no proxy")
                    return
                self.parser = httptools.HttpRequestParser(self)
                data = self._without_offer + data[offer.args[0] :]
            except httptools.HttpParserError:
                self._refuse(400, "this is no HTTP request")
                return
            else:
                return

    def on_message_begin(self) -> None:
        """A request begins."""
        self._without_offer = None
        super().on_message_begin()
        cast("Scope", self.scope)[_LOST] = self._lost
        self._is_in_head = True
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete:
            self._expect(self._seconds)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; what stands behind the body is left out, for what comes late must change nothing."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._is_in_head = False
        if self.parser.should_upgrade():
            self._without_offer = self._head_without_offer()
            return
        self._taken += 1
        self._expect(None)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        self._taken += 1
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._taken += 1
        if self.parser.should_upgrade():
            return
        if self.cycle.response_complete:
            # The rest of a body that nobody wanted; from now on it is as after any other answer.
            self._expect(self.timeout_keep_alive)
        elif not self.pipeline:
            # A long body had this stopped; without it nobody would see the client go.
            self.flow.resume_reading()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """A request is answered."""
        cast("_Joining", self.transport).flush()
        super().on_response_complete()
        if not self.pipeline and self.cycle.more_body and not self.transport.is_closing():
            self._expect(_LINGER_SECONDS)
        elif self._is_last:
            self._expect(_CLOSE_SECONDS)

    def shutdown(self) -> None:
        """Close as soon as what was asked is answered."""
        super().shutdown()
        self._is_last = True
        if self.transport.is_closing():
            self._expect(_CLOSE_IDLE_SECONDS)

    def _head_without_offer(self) -> bytes | None:
        """The head again, without the offer of another protocol; ``None`` where that is all that is asked."""
        if self.parser.get_method() == b"CONNECT":
            return None
        headers = [name + b": " + value for name, value in self.headers if name not in (b"upgrade", b"http2-settings")]
        first = b" ".join((self.parser.get_method(), self.url, b"HTTP/" + self.parser.get_http_version().encode()))
        return b"\r\n".join((first, *headers, b"", b""))

    def _expect(self, seconds: float | None) -> None:
        """Give the client so long for what has to come next."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)

    def _refuse(self, status: int, message: str) -> None:
        """Say so, after what was asked before; nothing more is read."""
        if self._is_refused:
            return
        self._is_refused = True
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            if not cycle.more_body:
                # It is still to be answered, and nothing after it.
                cycle.keep_alive = False
                return
            if cycle.response_started or self.pipeline:
                self.transport.close()
                return
        body = json.dumps({"error_code": "BAD_REQUEST", "message": message}).encode()
        head = (
            b"content-type: application/json\r\nconnection: close\r\n"
            b"content-length: " + str(len(body)).encode() + b"\r\n\r\n"
        )
        self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.close()


class _Joining(asyncio.Transport):
    """A transport that keeps the head of an answer until its body comes."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._head = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send, or keep for a moment."""
        head, self._head = self._head, b""
        if head and len(data) <= _LONGEST_COPY:
            self._transport.write(head + data)
        elif not head and isinstance(data, bytes) and _is_head(data):
            self._head = data
        else:
            if head:
                self._transport.write(head)
            self._transport.write(data)

    def flush(self) -> None:
        """Send a head that has no body."""
        head, self._head = self._head, b""
        if head:
            self._transport.write(head)

    def close(self) -> None:
        """Close when everything has been sent."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        """Take nothing for a while."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take what comes again."""
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What is known of the connection."""
        return self._transport.get_extra_info(name, default)


def _is_head(data: bytes) -> bool:
    # "100 Continue" is what a client waits for before it goes on.
    return data.startswith(b"HTTP/1.1 ") and data.endswith(b"\r\n\r\n") and not data.startswith(b"HTTP/1.1 1")


def connections(seconds: float) -> Callable[..., asyncio.Protocol]:
    """What makes connections whose heads may take so many seconds."""
    return functools.partial(Connection, seconds=seconds)
