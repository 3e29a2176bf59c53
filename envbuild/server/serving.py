"""Serving: a model behind an address, from the first moment of listening to the last answer."""

from __future__ import annotations

import socket

from envbuild.bridge.environ import notices_of_absent
from envbuild.errors import Interrupted, UsageError
from envbuild.server import place, saying
from envbuild.server.place import Place, Places
from envbuild.server.predictor import Predictor
from envbuild.server.stopping import Stopping
from envbuild.settings import Settings


def serve(host: str, port: int, places: Places) -> None:
    """Listen at once, load the model meanwhile, and answer until SIGTERM or SIGINT.

    :raises ModelError: there is no model, or it cannot be read; one that cannot be loaded is an answer, not an error.
    :raises UsageError: the address cannot be had, or no temporary directory.
    :raises Interrupted: a second signal came before every request was answered.
    """
    settings = Settings.from_environ(home=places.environment)
    place.use_temporary(places)
    served = place.find(places)
    warn_of_absent(settings)
    with listening(host, port) as listener:
        predictor = Predictor(
            lambda: place.start_worker(served, settings), report=saying.say_step, on_fault=saying.say_fault
        )
        stopping = Stopping(predictor.abort)
        try:
            _answer(served, predictor, listener, stopping)
        finally:
            predictor.close()
    if stopping.at_once:
        raise Interrupted("stopped before every request was answered")


def warn_of_mismatch(served: Place) -> None:
    """Say on stderr where a mounted model does not fit the environment; it is served all the same."""
    for reason in place.reasons_against(served):
        saying.say_warning("model-does-not-fit", f"{served.model.path}: {reason}")


def warn_of_absent(settings: Settings) -> None:
    """Say on stderr which variables are to be passed on to the model and are not here."""
    for notice in notices_of_absent(settings.pass_env):
        saying.say_warning(notice.code, notice.message)


def _answer(served: Place, predictor: Predictor, listener: socket.socket, stopping: Stopping) -> None:
    predictor.begin()
    warn_of_mismatch(served)
    # The model loads while these are imported.
    from envbuild.server.answering import answer
    from envbuild.server.scoring import application

    answer(application(predictor, served.mlflow_version()), listener, stopping)


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens from now on.

    :raises UsageError: the address cannot be had.
    """
    is_v6 = ":" in host
    try:
        listener = socket.create_server((host, port), family=socket.AF_INET6 if is_v6 else socket.AF_INET, backlog=2048)
    except OSError as error:
        raise UsageError(
            f"cannot listen at {host}, port {port}: {error.strerror or error}", hint="--host and --port say where"
        ) from error
    # What it accepts inherits it. asyncio does it for sockets that it makes itself; without it a short answer, written
    # in two pieces, waits 40 ms for the client's acknowledgement of the first.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    saying.say(f"listening at http://{f'[{host}]' if is_v6 else host}:{listener.getsockname()[1]}")
    return listener
