"""Bodies of requests that the HTTP side reads itself; how long they may be unpacked, the middleware :mod:`envbuild.server.middleware.guarding` has seen to."""

from __future__ import annotations

import json
import zlib
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request

from envbuild.errors import InputError
from envbuild.request import decompressed

ENCODINGS: Final = ("gzip", "deflate", "identity")


async def unpacked(request: Request) -> bytes:
    """A request's body as it was before it was compressed.

    :raises HTTPException: 415: nobody knows how it is compressed.
    :raises InputError: it is not compressed in the way that is said.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in (*ENCODINGS, "x-gzip"):
        known = ", ".join(ENCODINGS)
        raise HTTPException(415, f"the content encoding is {encoding[:40]!r}; this server takes {known}")
    body = await request.body()
    if encoding != "deflate":
        return decompressed(body, encoding)
    try:
        return zlib.decompress(body)
    except zlib.error as error:
        raise InputError(f"the input is not deflate: {error}") from None


def parsed(body: bytes | memoryview) -> Any:
    """A body that is JSON.

    :raises InputError: it is not.
    """
    try:
        return json.loads(str(body, "utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputError(f"the input is not UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise InputError("the input is nested too deeply") from None
    except ValueError as error:
        raise InputError(f"the input is not JSON: {error}") from None
