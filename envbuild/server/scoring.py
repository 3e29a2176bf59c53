"""The scoring routes, as MLflow's scoring server has them: ping, health, version, invocations."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from envbuild.errors import (
    CommandNotStarted,
    ConfinementUnavailable,
    EnvbuildError,
    InputError,
    InputMismatch,
    Interrupted,
    ModelNotLoaded,
    OutOfMemory,
    TimedOut,
    WorkerExited,
    WorkerKilled,
)
from envbuild.redaction import redacted
from envbuild.request import ARROW_FILE, ARROW_STREAM, CSV, JSON, JSON_LINES, PARQUET, kind_of
from envbuild.server import saying
from envbuild.server.access import AccessLog
from envbuild.server.predictor import Predictor

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

# MLflow's names of errors. The first that fits counts; anything else is the model's or our own fault: 500.
_STATUSES: Final[tuple[tuple[type[EnvbuildError], int, str], ...]] = (
    (InputMismatch, 400, "INVALID_PARAMETER_VALUE"),
    (InputError, 400, "BAD_REQUEST"),
    (TimedOut, 504, "DEADLINE_EXCEEDED"),
    (ModelNotLoaded, 503, "TEMPORARILY_UNAVAILABLE"),
    (CommandNotStarted, 503, "TEMPORARILY_UNAVAILABLE"),
    (ConfinementUnavailable, 503, "TEMPORARILY_UNAVAILABLE"),
    (OutOfMemory, 503, "TEMPORARILY_UNAVAILABLE"),
    (WorkerExited, 503, "TEMPORARILY_UNAVAILABLE"),
    (WorkerKilled, 503, "TEMPORARILY_UNAVAILABLE"),
    (Interrupted, 503, "TEMPORARILY_UNAVAILABLE"),
)
_NAMES: Final[Mapping[int, str]] = {404: "ENDPOINT_NOT_FOUND", 500: "INTERNAL_ERROR"}
_CLIENT_GONE: Final = 499


def application(predictor: Predictor, mlflow_version: str | None) -> ASGIApp:
    """The application that answers for one model.

    :param mlflow_version: the mlflow that saved the model; ``None`` where nobody knows.
    """
    scoring = Scoring(predictor, mlflow_version)
    routes = [
        Route("/ping", scoring.ping, methods=["GET"]),
        Route("/health", scoring.ping, methods=["GET"]),
        Route("/version", scoring.version, methods=["GET"]),
        Route("/invocations", scoring.invocations, methods=["POST"]),
    ]
    handlers = {
        EnvbuildError: _on_error,
        HTTPException: _on_http_error,
        ClientDisconnect: _on_client_gone,
        Exception: _on_fault,
    }
    return AccessLog(Starlette(routes=routes, exception_handlers=handlers), saying.say)


class Scoring:
    """The routes over one predictor."""

    def __init__(self, predictor: Predictor, mlflow_version: str | None) -> None:
        self._predictor = predictor
        self._mlflow_version = mlflow_version
        # Who waits here holds no thread, and may go away meanwhile.
        self._turn = asyncio.Lock()

    async def ping(self, request: Request) -> Response:
        """Whether the model is loaded and its worker lives; a worker that died is replaced."""
        del request
        trouble = self._predictor.trouble()
        if trouble is None:
            return Response("\n", media_type=JSON)
        self._predictor.revive()
        return _failed(503, "TEMPORARILY_UNAVAILABLE", trouble)

    async def version(self, request: Request) -> Response:
        """The mlflow that saved the model."""
        del request
        if self._mlflow_version is None:
            return _failed(404, "RESOURCE_DOES_NOT_EXIST", "the model does not say which mlflow saved it")
        return PlainTextResponse(self._mlflow_version)

    async def invocations(self, request: Request) -> Response:
        """A prediction; waits for the model where it is being loaded, and for the predictions before this one."""
        content_type = request.headers.get("content-type", "")
        if kind_of(content_type) not in CONTENT_TYPES:
            message = f"the content type is {content_type!r}; this server takes {', '.join(CONTENT_TYPES)}"
            return _failed(415, "BAD_REQUEST", message)
        encoding = request.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ENCODINGS:
            message = f"the content encoding is {encoding!r}; this server takes {', '.join(ENCODINGS)}"
            return _failed(415, "BAD_REQUEST", message)
        failures, payload = self._predictor.failures, await request.body()
        async with self._turn:
            if await request.is_disconnected():
                return Response(status_code=_CLIENT_GONE)
            prediction = await asyncio.to_thread(
                self._predictor.predict, payload, content_type, encoding, failures=failures
            )
        return Response(prediction.payload, media_type=prediction.content_type)


async def _on_error(request: Request, error: Exception) -> Response:
    del request
    for kind, status, name in _STATUSES:
        if isinstance(error, kind):
            return _failed(status, name, str(error))
    return _failed(500, "INTERNAL_ERROR", str(error))


async def _on_http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    name = _NAMES.get(status, "BAD_REQUEST")
    return _failed(status, name, f"{request.method} {request.url.path}: {getattr(error, 'detail', '')}", headers)


async def _on_client_gone(request: Request, error: Exception) -> Response:
    """For the log alone."""
    del request, error
    return Response(status_code=_CLIENT_GONE)


async def _on_fault(request: Request, error: Exception) -> Response:
    """A fault of our own; its traceback goes to stderr."""
    del request
    return _failed(500, "INTERNAL_ERROR", f"a fault of envbuild's own: {type(error).__name__}")


def _failed(status: int, name: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error_code": name, "message": redacted(message)}, status_code=status, headers=headers)
