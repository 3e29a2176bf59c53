"""Serving: a model behind an address, from the first moment of listening to the last answer."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from envbuild.errors import Interrupted, UsageError
from envbuild.server import saying
from envbuild.server.crew import Crew
from envbuild.server.predictor import Predictor
from envbuild.server.served import Served
from envbuild.server.stopping import Stopping
from envbuild.settings.serving import ServingSettings

_BACKLOG = 2048


def serve(
    served: Served,
    settings: ServingSettings,
    *,
    on_listening: Callable[[str | None], None] = lambda url: None,
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Listen at once, load the model meanwhile, and answer until SIGTERM or SIGINT.

    :param on_listening: told the URL as soon as somebody listens there; ``None`` where that is at a Unix socket.
    :param meanwhile: called while the model loads.
    :raises UsageError: the address cannot be had, or the certificate cannot be used.
    :raises Interrupted: a second signal came before every request was answered.
    """
    saying.use(settings.log_format)
    _check_certificate(settings)
    with listening(settings) as listener, _removed_at_the_end(settings.uds):
        crew = _crew(served, settings)
        stopping = Stopping(crew.retire, lambda: _abort(crew))
        try:
            for predictor in crew.predictors:
                predictor.begin()
            on_listening(None if settings.uds is not None else _url_of(listener, settings))
            meanwhile()
            _answer(served, crew, settings, listener, stopping)
        finally:
            for predictor in crew.predictors:
                predictor.close()
            crew.close()
    if stopping.at_once:
        raise Interrupted("stopped before every request was answered")


def _crew(served: Served, settings: ServingSettings) -> Crew:
    probe = None if settings.no_probe else served.probe()
    crew: Crew

    def changed() -> None:
        crew.wake()

    predictors = [
        Predictor(served.start, probe=probe, report=saying.say_step, on_fault=saying.say_fault, on_change=changed)
        for _ in range(settings.workers)
    ]
    crew = Crew(
        predictors,
        queue=settings.queue,
        batch_size=settings.batch_size,
        batch_wait=settings.batch_wait,
        request_timeout=settings.request_timeout,
    )
    return crew


def _abort(crew: Crew) -> None:
    for predictor in crew.predictors:
        predictor.abort()


def _answer(served: Served, crew: Crew, settings: ServingSettings, listener: socket.socket, stopping: Stopping) -> None:
    # The model loads while these are imported.
    from envbuild.server.answering import answer
    from envbuild.server.application import application

    answer(application(served, crew, settings), listener, settings, stopping)


def _check_certificate(settings: ServingSettings) -> None:
    """Look whether TLS is possible before anybody is told that we listen.

    :raises UsageError: the certificate or its key cannot be used.
    """
    if settings.certfile is None:
        return
    # Imported here: without TLS nobody needs it.
    import ssl

    try:
        # Without a password OpenSSL would ask the terminal for one.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.certfile, settings.keyfile, password="")
    except OSError as error:  # of which TLS's own errors are a kind
        raise UsageError(
            f"{settings.certfile} and {settings.keyfile} cannot be used: {error.strerror or error}",
            hint="a certificate and its key, as PEM, without a password",
        ) from error


def listening(settings: ServingSettings) -> socket.socket:
    """A socket that listens from now on.

    :raises UsageError: the address cannot be had.
    """
    if settings.uds is not None:
        return _listening_at(settings.uds)
    host, port = settings.host, settings.port
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise UsageError(
            f"cannot listen at {host}, port {port}: {error.strerror or error}", hint="--host and --port say where"
        ) from error
    # What it accepts inherits it. asyncio does it for sockets that it makes itself; without it a short answer, written
    # in two pieces, waits 40 ms for the client's acknowledgement of the first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    saying.say(f"listening at {_url_of(listener, settings)}")
    return listener


def _url_of(listener: socket.socket, settings: ServingSettings) -> str:
    scheme = "http" if settings.certfile is None else "https"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{scheme}://{host}:{listener.getsockname()[1]}"


def _listening_at(path: Path) -> socket.socket:
    """A Unix socket for our own user; one that nobody listens at any more is taken away first.

    :raises UsageError: it cannot be made, or somebody listens there.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if _is_left_over(path):
            path.unlink()
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise UsageError(f"cannot listen at {path}: {error.strerror or error}", hint="--uds says where") from error
    saying.say(f"listening at {path}")
    return listener


@contextmanager
def _removed_at_the_end(path: Path | None) -> Iterator[None]:
    """Take our Unix socket away at the end, unless somebody has put another in its place."""
    if path is None:
        yield
        return
    ours = path.stat().st_ino
    try:
        yield
    finally:
        with suppress(OSError):
            if path.stat().st_ino == ours:
                path.unlink()


def _is_left_over(path: Path) -> bool:
    """Whether there is a socket that nobody listens at."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.stat().st_mode):
            return False
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
            try:
                asked.connect(str(path))
            except ConnectionRefusedError:
                return True
    return False
