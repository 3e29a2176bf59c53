"""Guarding: who may ask, how long what is asked may be, and how long it may take to come."""

from __future__ import annotations

import asyncio
import hmac
import re
import sys
import zlib
from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from envbuild.errors import InputError
from envbuild.server.failing import refused
from envbuild.server.middleware.account import account_of
from envbuild.server.middleware.rooting import path_below_root
from envbuild.settings.serving import ServingSettings

OPEN: Final = frozenset(("/", "/ping", "/health", "/v2/health/live", "/v2/health/ready"))
"""What needs no token: what orchestrators ask, and the page, which asks for the token itself."""
_CLOSE: Final = {"Connection": "close"}
# What is unpacked at a time to see how long it is, and from which length on that is another thread's work.
_PIECE: Final = 1 << 16
_LONG: Final = 1 << 10


class Guarding:
    """Wraps an application; what is refused never comes to it."""

    def __init__(self, application: ASGIApp, settings: ServingSettings) -> None:
        self._application = application
        self._token = None if settings.token is None else settings.token.encode()
        self._max_body, self._seconds = settings.max_body, settings.request_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        if self._token is not None and path_below_root(scope) not in OPEN and not _shows(self._token, scope):
            message = "this server wants a token: Authorization: Bearer TOKEN"
            headers = {"WWW-Authenticate": 'Bearer realm="envbuild"', **_after(scope)}
            await refused(scope, 401, "UNAUTHENTICATED", message, headers)(scope, receive, send)
            return
        length = _length(scope)
        if length > self._max_body:
            await refused(scope, 413, "BAD_REQUEST", _too_long(self._max_body), _after(scope))(scope, receive, send)
            return
        if length or _has(scope, b"transfer-encoding"):
            receive = _Body(scope, receive, self._max_body, self._seconds).receive
        await self._application(scope, receive, send)


class _Body:
    """A body as it comes."""

    def __init__(self, scope: Scope, receive: Receive, most: int, seconds: float) -> None:
        self._receive = receive
        self._most = most
        self._account = account_of(scope)
        self._seconds = seconds
        self._until = asyncio.get_running_loop().time() + seconds
        self._packed = _packed(scope, most)
        self._is_whole = False

    async def receive(self) -> Message:
        """The next piece.

        :raises HTTPException: with 408 or 413: it does not come, or is too long as it is or unpacked.
        :raises InputError: it is not packed as its head says.
        """
        if self._is_whole:
            return await self._receive()
        left = self._until - asyncio.get_running_loop().time()
        try:
            message = await _within(left, self._receive)
        except asyncio.TimeoutError:
            detail = f"the body did not come within {self._seconds:g} seconds"
            raise HTTPException(408, detail, headers=_CLOSE) from None
        if message["type"] == "http.request":
            await self._take(message.get("body", b""), is_last=not message.get("more_body", False))
        return message

    async def _take(self, piece: bytes, *, is_last: bool) -> None:
        self._is_whole = is_last
        self._account.bytes_in += len(piece)
        if self._account.bytes_in > self._most:
            raise HTTPException(413, _too_long(self._most))
        if self._packed is None:
            return
        if len(piece) < _LONG:
            self._packed.take(piece)
        else:
            await asyncio.get_running_loop().run_in_executor(None, self._packed.take, piece)
        if self._packed.is_too_long:
            raise HTTPException(413, f"{_too_long(self._most)} when unpacked")


if sys.version_info >= (3, 11):

    async def _within(seconds: float, receive: Receive) -> Message:
        # Unlike wait_for it needs no task, whose turns of the event loop every request would wait for.
        async with asyncio.timeout(seconds):
            return await receive()

else:

    async def _within(seconds: float, receive: Receive) -> Message:
        return await asyncio.wait_for(receive(), max(seconds, 0))


class Unpacked:
    """How long a body is when it is unpacked; only the piece at hand is ever in memory."""

    def __init__(self, most: int, bits: int) -> None:
        """:param bits: zlib's ``wbits``, by which it knows the form."""
        self._bits = bits
        self._left = most
        self._member = zlib.decompressobj(bits)

    @property
    def is_too_long(self) -> bool:
        """Whether it was longer than it may be; nothing more is unpacked then."""
        return self._left < 0

    def take(self, piece: bytes) -> None:
        """Unpack the next piece, and forget it.

        :raises InputError: it is not of the form.
        """
        try:
            while piece and not self.is_too_long:
                piece = self._taken(piece)
        except zlib.error as error:
            raise InputError(f"the input is not packed as it says: {error}") from None

    def _taken(self, piece: bytes) -> bytes:
        """Unpack some, and give back what is left of the piece."""
        if self._member.eof:
            # Several members may follow each other, and zeros may stand behind them (RFC 1952; gzip's own manual).
            piece = piece.lstrip(b"\0")
            if not piece:
                return b""
            self._member = zlib.decompressobj(self._bits)
        self._left -= len(self._member.decompress(piece, _PIECE))
        return self._member.unused_data if self._member.eof else self._member.unconsumed_tail


def _packed(scope: Scope, most: int) -> Unpacked | None:
    # Read as the routes read it, who take the first header: else a body could pass as one here and another there.
    encoding = Headers(scope=scope).get("content-encoding", "").strip().lower()
    if encoding in ("gzip", "x-gzip"):
        return Unpacked(most, zlib.MAX_WBITS | 16)
    return Unpacked(most, zlib.MAX_WBITS) if encoding == "deflate" else None


def _shows(token: bytes, scope: Scope) -> bool:
    """Whether the request has the token, found out in a time that says nothing about it."""
    given = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(given) != 1:
        return False
    scheme, _, word = given[0].strip().partition(b" ")
    return scheme.lower() == b"bearer" and hmac.compare_digest(word.strip(), token)


def _length(scope: Scope) -> int:
    """What the head says; the HTTP side has seen to it that it is a number."""
    given = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(given) if re.fullmatch(rb"\d{1,20}", given) else 0


def _has(scope: Scope, wanted: bytes) -> bool:
    return any(name == wanted for name, _ in scope["headers"])


def _after(scope: Scope) -> dict[str, str]:
    """Who waits to be told to go on must not send the body after this answer, and says the next thing elsewhere."""
    return _CLOSE if _has(scope, b"expect") else {}


def _too_long(most: int) -> str:
    return f"the body is longer than {most} bytes"
