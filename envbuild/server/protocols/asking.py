"""Asking: a request's prediction, for as long as its client waits for it."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from envbuild.bridge import Prediction
from envbuild.errors import EnvbuildError
from envbuild.request import Question
from envbuild.server.connection import lost_of
from envbuild.server.crew import Crew
from envbuild.server.middleware.account import account_of


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
    lost = lost_of(request.scope)

    def leave(_: asyncio.Future[None]) -> None:
        asked.cancel()

    # A callback and no task that waits for it: each turn of the event loop that a request needs is one that it waits for.
    lost.add_done_callback(leave)
    try:
        return await asked
    except asyncio.CancelledError:
        if lost.done():
            raise ClientDisconnect from None
        raise
    finally:
        lost.remove_done_callback(leave)
