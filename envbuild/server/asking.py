"""Asking: a request's prediction, for as long as its client waits for it."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from envbuild.bridge import Prediction
from envbuild.errors import EnvbuildError
from envbuild.request import Question
from envbuild.server.account import account_of
from envbuild.server.crew import Crew


async def predicted(request: Request, crew: Crew, question: Question) -> Prediction:
    """The prediction, unless the client goes away first; its body must have been read.

    :raises ClientDisconnect: the client has gone.
    :raises EnvbuildError: as :meth:`Crew.predict`.
    """
    account = account_of(request.scope)
    try:
        return await _unless_gone(request, crew.ask(question, account.times))
    except EnvbuildError as error:
        account.failure = error.code
        raise


async def _unless_gone(request: Request, asked: asyncio.Future[Prediction]) -> Prediction:
    gone = asyncio.ensure_future(_gone(request))
    gone.add_done_callback(lambda task: asked.cancel())
    try:
        return await asked
    except asyncio.CancelledError:
        if gone.done():
            raise ClientDisconnect from None
        raise
    finally:
        gone.cancel()


async def _gone(request: Request) -> None:
    """Return when the client goes away: all that can come now."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
