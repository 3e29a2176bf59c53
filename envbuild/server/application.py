"""The application: the routes of every protocol over one crew."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.types import ASGIApp

from envbuild.server import invocations, saying
from envbuild.server.access import AccessLog
from envbuild.server.crew import Crew
from envbuild.server.failing import HANDLERS
from envbuild.server.served import Served
from envbuild.settings.serving import ServingSettings


def application(served: Served, crew: Crew, settings: ServingSettings) -> ASGIApp:
    """The application that answers for one model."""
    del settings
    routes = [*invocations.routes(served, crew)]
    return AccessLog(Starlette(routes=routes, exception_handlers=dict(HANDLERS)), saying.say)
