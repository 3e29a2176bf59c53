"""Answering: an application over HTTP until somebody asks to stop, and then until the last answer is out."""

from __future__ import annotations

import contextlib
import logging
import math
import socket
from collections.abc import Iterator
from typing import Any, cast

import uvicorn
from starlette.types import ASGIApp

from envbuild.server import saying
from envbuild.server.connection import connections
from envbuild.server.stopping import Stopping
from envbuild.settings.serving import ServingSettings

# Beyond the time of a body and of a prediction: for a client that does not take its answer.
_LAST_SECONDS = 10.0


class _Server(uvicorn.Server):
    """Leaves the signals to :class:`Stopping`: uvicorn's own way ends with the signal, not with status 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


class _Carried(logging.Handler):
    """Says what libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say one record, with its traceback."""
        level: saying.Level = "error" if record.levelno >= logging.ERROR else "warning"
        saying.say(self.format(record), level=level, logger=record.name)


def answer(application: ASGIApp, listener: socket.socket, settings: ServingSettings, stopping: Stopping) -> None:
    """Answer until ``stopping`` says otherwise; requests that have begun by then are answered."""
    _carry_logs()
    config = uvicorn.Config(
        application,
        http=cast("Any", connections(settings.request_timeout)),
        ws="none",
        loop="asyncio",
        lifespan="off",
        # The access log is ours, and what is left is carried on by us.
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(2 * settings.request_timeout + _LAST_SECONDS),
        ssl_certfile=settings.certfile,
        ssl_keyfile=settings.keyfile,
    )
    server = _Server(config)
    stopping.attach(server)
    server.run(sockets=[listener])


def _carry_logs() -> None:
    """Have warnings and worse said by us, whoever they are of."""
    logging.captureWarnings(capture=True)
    logging.basicConfig(handlers=[_Carried(logging.WARNING)], force=True)
