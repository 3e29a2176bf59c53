"""Asking: a request's prediction, for as long as its client waits for it."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from envbuild.bridge import Prediction
from envbuild.request import Question
from envbuild.server.crew import Crew


async def predicted(request: Request, crew: Crew, question: Question) -> Prediction:
    """The prediction, unless the client goes away first; its body must have been read.

    :raises ClientDisconnect: the client has gone.
    :raises EnvbuildError: as :meth:`Crew.predict`.
    """
    asked = asyncio.ensure_future(crew.predict(question))
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((asked, gone), return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            raise ClientDisconnect
        return asked.result()
    finally:
        for task in (asked, gone):
            task.cancel()


async def _gone(request: Request) -> None:
    """Return when the client goes away: all that can come now."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
