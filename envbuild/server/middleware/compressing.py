"""Compressing: answers as gzip, for who takes it."""

from __future__ import annotations

import re
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

SHORTEST: Final = 1024
"""Bytes from which on an answer is compressed."""
# Numbers as text shrink little further with more effort, and the event loop waits meanwhile.
_EFFORT: Final = 3
_NAME: Final = "accept-encoding"


class Compressing:
    """Wraps an application."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = GZipMiddleware(application, minimum_size=SHORTEST, compresslevel=_EFFORT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "http":
            headers = MutableHeaders(scope=scope)
            if _NAME in headers and not takes_gzip(",".join(headers.getlist(_NAME))):
                # Starlette looks for the word alone, also where it is refused.
                del headers[_NAME]
        await self._application(scope, receive, send)


def takes_gzip(accepted: str) -> bool:
    """Whether ``Accept-Encoding`` lets an answer be gzip by name (RFC 9110, 12.5.3)."""
    for one in accepted.lower().split(","):
        name, *parameters = (part.strip() for part in one.split(";"))
        if name == "gzip":
            return not any(re.fullmatch(r"q\s*=\s*0(\.0*)?", parameter) for parameter in parameters)
    return False
