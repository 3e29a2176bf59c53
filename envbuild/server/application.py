"""The application: the routes of every protocol over one crew."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.types import ASGIApp

from envbuild.server import description, page
from envbuild.server.crew import Crew
from envbuild.server.failing import HANDLERS
from envbuild.server.metrics import Metrics
from envbuild.server.middleware.access import AccessLog
from envbuild.server.middleware.compressing import Compressing
from envbuild.server.middleware.guarding import Guarding
from envbuild.server.middleware.rooting import Rooting
from envbuild.server.protocols import azure, inference, invocations
from envbuild.server.served import Served
from envbuild.settings.serving import ServingSettings


def application(served: Served, crew: Crew, settings: ServingSettings) -> ASGIApp:
    """The application that answers for one model."""
    metrics = Metrics(served, crew)
    crew.watch(metrics)
    routes = [
        *invocations.routes(served, crew),
        *inference.routes(served, crew),
        *azure.routes(served, crew),
        *metrics.routes(),
        *description.routes(served, crew, settings),
        *(() if settings.no_page else page.routes(served, crew, settings)),
    ]
    metrics.know(routes)
    guarded = Guarding(Compressing(Starlette(routes=routes, exception_handlers=dict(HANDLERS))), settings)
    return Rooting(AccessLog(guarded, metrics), settings.root_path)
