"""Failing: errors as MLflow's scoring server says them: a status, and ``{"error_code", "message"}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ExceptionHandler, Scope

from envbuild.errors import (
    CommandNotStarted,
    ConfinementUnavailable,
    EnvbuildError,
    InputError,
    InputMismatch,
    InternalError,
    Interrupted,
    ModelNotLoaded,
    OutOfMemory,
    ServerBusy,
    TimedOut,
    WorkerExited,
    WorkerKilled,
)
from envbuild.redaction import redacted
from envbuild.server.middleware.account import account_of
from envbuild.server.middleware.rooting import path_below_root

CLIENT_GONE: Final = 499
"""For the log alone: nobody gets it."""
# MLflow's names of errors. The first that fits counts; anything else is the model's or our own fault: 500.
_STATUSES: Final[tuple[tuple[type[EnvbuildError], int, str], ...]] = (
    (InputMismatch, 400, "INVALID_PARAMETER_VALUE"),
    (InputError, 400, "BAD_REQUEST"),
    (ServerBusy, 429, "REQUEST_LIMIT_EXCEEDED"),
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
_AGAIN: Final = {"Retry-After": "1"}


def status_of(error: EnvbuildError) -> tuple[int, str]:
    """The status of an error, and MLflow's name of it."""
    return next(
        ((status, name) for kind, status, name in _STATUSES if isinstance(error, kind)), (500, "INTERNAL_ERROR")
    )


def failed(status: int, name: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error as an answer."""
    return JSONResponse({"error_code": name, "message": redacted(message)}, status_code=status, headers=headers)


def refused(scope: Scope, status: int, name: str, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error as an answer, in the form of the protocol whose path was asked."""
    if path_below_root(scope).startswith("/v2"):
        return JSONResponse({"error": redacted(message)}, status_code=status, headers=headers)
    return failed(status, name, message, headers)


async def on_error(request: Request, error: Exception) -> Response:
    """One of our errors."""
    if not isinstance(error, EnvbuildError):
        raise error
    account_of(request.scope).failure = error.code
    status, name = status_of(error)
    return refused(request.scope, status, name, str(error), _AGAIN if status == 429 else None)


async def on_http_error(request: Request, error: Exception) -> Response:
    """An error of HTTP itself."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = error.headers if isinstance(error, HTTPException) else None
    name = _NAMES.get(status, "BAD_REQUEST")
    # Not the request's URL: that is made of the header Host as well, which may be anything.
    message = f"{request.method} {request.scope['path']}: {getattr(error, 'detail', '')}"
    return refused(request.scope, status, name, message, headers)


async def on_client_gone(request: Request, error: Exception) -> Response:
    """For the log alone."""
    del request, error
    return Response(status_code=CLIENT_GONE)


async def on_fault(request: Request, error: Exception) -> Response:
    """A fault of our own; its traceback goes to stderr."""
    account_of(request.scope).failure = InternalError.code
    return refused(request.scope, 500, "INTERNAL_ERROR", f"a fault of envbuild's own: {type(error).__name__}")


HANDLERS: Final[Mapping[type[Exception], ExceptionHandler]] = {
    EnvbuildError: on_error,
    HTTPException: on_http_error,
    ClientDisconnect: on_client_gone,
    Exception: on_fault,
}
