"""Answering: an application over HTTP until somebody asks to stop, and then until the last answer is out."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from envbuild.errors import UsageError
from envbuild.server.stopping import Stopping
from envbuild.settings.serving import ServingSettings


class _Server(uvicorn.Server):
    """Leaves the signals to :class:`Stopping`: uvicorn's own way ends with the signal, not with status 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def answer(application: ASGIApp, listener: socket.socket, settings: ServingSettings, stopping: Stopping) -> None:
    """Answer until ``stopping`` says otherwise; requests that have begun by then are answered.

    :raises UsageError: the certificate or its key cannot be used.
    """
    config = uvicorn.Config(
        application,
        http="httptools",
        ws="none",
        loop="asyncio",
        lifespan="off",
        # The access log is ours, and what is left, warnings and tracebacks, goes to stderr without any set-up.
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        root_path=settings.root_path,
        ssl_certfile=settings.certfile,
        ssl_keyfile=settings.keyfile,
    )
    try:
        config.load()
    except OSError as error:  # of which TLS's own errors are a kind
        raise UsageError(
            f"{settings.certfile} and {settings.keyfile} cannot be used: {error.strerror or error}",
            hint="a certificate and its key, as PEM",
        ) from error
    server = _Server(config)
    stopping.attach(server)
    server.run(sockets=[listener])
