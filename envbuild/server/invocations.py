"""Invocations: the scoring routes, as MLflow's scoring server and SageMaker's containers have them."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from envbuild.request import ARROW_FILE, ARROW_STREAM, CSV, JSON, JSON_LINES, PARQUET, Question, kind_of
from envbuild.server.asking import predicted
from envbuild.server.crew import Crew
from envbuild.server.failing import failed
from envbuild.server.served import Served

CONTENT_TYPES: Final = (
    JSON,
    "application/json-numpy-split",
    JSON_LINES,
    "application/x-ndjson",
    CSV,
    PARQUET,
    ARROW_FILE,
    ARROW_STREAM,
)
"""What a worker can read."""
ENCODINGS: Final = ("gzip", "identity")


def routes(served: Served, crew: Crew) -> list[Route]:
    """``/ping``, ``/health``, ``/version`` and ``/invocations``."""
    invocations = Invocations(served, crew)
    return [
        Route("/ping", invocations.ping, methods=["GET"]),
        Route("/health", invocations.ping, methods=["GET"]),
        Route("/version", invocations.version, methods=["GET"]),
        Route("/invocations", invocations.invoke, methods=["POST"]),
    ]


class Invocations:
    """The routes over one crew."""

    def __init__(self, served: Served, crew: Crew) -> None:
        self._crew = crew
        self._mlflow_version = served.mlflow_version()

    async def ping(self, request: Request) -> Response:
        """Whether a worker is ready; one that died is replaced."""
        del request
        trouble = self._crew.trouble()
        self._crew.revive()
        return Response("\n", media_type=JSON) if trouble is None else failed(503, "TEMPORARILY_UNAVAILABLE", trouble)

    async def version(self, request: Request) -> Response:
        """The mlflow that saved the model."""
        del request
        if self._mlflow_version is None:
            return failed(404, "RESOURCE_DOES_NOT_EXIST", "the model does not say which mlflow saved it")
        return PlainTextResponse(self._mlflow_version)

    async def invoke(self, request: Request) -> Response:
        """A prediction; waits for the model where it is being loaded, and for the predictions before this one."""
        content_type = request.headers.get("content-type", "")
        if kind_of(content_type) not in CONTENT_TYPES:
            message = f"the content type is {content_type!r}; this server takes {', '.join(CONTENT_TYPES)}"
            return failed(415, "BAD_REQUEST", message)
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ENCODINGS:
            message = f"the content encoding is {encoding!r}; this server takes {', '.join(ENCODINGS)}"
            return failed(415, "BAD_REQUEST", message)
        question = Question(payload=await request.body(), content_type=content_type, encoding=encoding)
        prediction = await predicted(request, self._crew, question)
        return Response(prediction.payload, media_type=prediction.content_type)
