"""The routes of the description: ``/openapi.json`` and ``/swagger.json``."""

from __future__ import annotations

from functools import cached_property

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from envbuild.request import JSON
from envbuild.server.crew import Crew
from envbuild.server.description import forms, openapi, swagger
from envbuild.server.served import Served
from envbuild.settings.serving import ServingSettings


def routes(served: Served, crew: Crew, settings: ServingSettings) -> list[Route]:
    """``/openapi.json`` (3.1) and ``/swagger.json`` (2.0)."""
    del crew
    described = Description(served, settings)
    return [
        Route("/openapi.json", described.openapi, methods=["GET"]),
        Route("/swagger.json", described.swagger, methods=["GET"]),
    ]


class Description:
    """The two documents, each made when somebody asks for it first."""

    def __init__(self, served: Served, settings: ServingSettings) -> None:
        self._served = served
        self._settings = settings

    async def openapi(self, request: Request) -> Response:
        """The description as OpenAPI 3.1."""
        del request
        return Response(self._openapi, media_type=JSON)

    async def swagger(self, request: Request) -> Response:
        """The description as Swagger 2.0."""
        del request
        return Response(self._swagger, media_type=JSON)

    @cached_property
    def _openapi(self) -> bytes:
        return openapi.written(openapi.document(self._served, forms.of(self._served), self._settings))

    @cached_property
    def _swagger(self) -> bytes:
        found = openapi.document(self._served, forms.of(self._served), self._settings)
        return openapi.written(swagger.lowered(found))
