"""The access log: one line a request, with nothing of what was asked or answered."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

QUIET: Final = frozenset(("/ping", "/health"))
"""What an orchestrator asks every few seconds."""
_LONGEST_PATH: Final = 200


class AccessLog:
    """Wraps an application; a line has method, path without query, status and milliseconds."""

    def __init__(self, application: ASGIApp, say: Callable[[str], None]) -> None:
        self._application = application
        self._say = say

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, and say so afterwards."""
        if scope["type"] != "http" or scope["path"] in QUIET:
            await self._application(scope, receive, send)
            return
        began, status = time.perf_counter(), "-"

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._application(scope, receive, watched)
        finally:
            milliseconds = (time.perf_counter() - began) * 1000
            self._say(f"{scope['method']} {_printable(scope['path'])} {status} {milliseconds:.1f} ms")


def _printable(path: str) -> str:
    """A path in which nobody can write a line of their own."""
    return quote(path[:_LONGEST_PATH], safe="/:@!$&'()*+,;=~")
