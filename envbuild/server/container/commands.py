"""The commands of ``python -m envbuild.server``: serve, predict, health."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from envbuild.errors import EnvbuildError
    from envbuild.server.container.place import Place, Places
    from envbuild.settings import Settings

PORT = 8080
_JSON = "application/json"


def main(arguments: Sequence[str], places: Places | None = None) -> int:
    """Run one command and give its exit status; errors are one message each, on stderr.

    :param places: where the model and its environment are, where not at an image's usual places.
    """
    try:
        return _run(arguments, places)
    except SystemExit as error:
        # argparse ends so after --help.
        return error.code if isinstance(error.code, int) else 1
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody to tell.
        _forget_stdout()
        return 1
    except BaseException as error:  # noqa: BLE001 - this is the edge: every error becomes a message here
        return _report(error)


def _run(arguments: Sequence[str], places: Places | None) -> int:
    options = _parser().parse_args(_with_command(arguments))
    if options.command == "health":
        from envbuild.server.container.health import check

        return check(options.port)
    # Imported here and below: the health check runs every few seconds and needs none of it.
    from envbuild.server.container.place import Places

    places = places or Places()
    if options.command == "predict":
        _predict(options.content_type, places)
    else:
        _serve(options.host, options.port, places)
    return 0


def _serve(host: str, port: int, places: Places) -> None:
    from envbuild.server import saying
    from envbuild.server.container import place
    from envbuild.server.serving import serve
    from envbuild.settings import Settings
    from envbuild.settings.serving import ServingSettings

    settings = Settings.from_environ(home=places.environment)
    serving = ServingSettings.from_environ(host=host, port=port)
    saying.use(serving.log_format)
    place.use_temporary(places)
    found = place.find(places)
    _warn_of_absent(settings)
    serve(place.served(found, settings, serving.name), serving, meanwhile=lambda: _warn_of_mismatch(found))


def _predict(content_type: str, places: Places) -> None:
    import signal

    from envbuild.errors import InputNotFound
    from envbuild.server import saying
    from envbuild.server.container import place
    from envbuild.settings import Settings

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if sys.stdin is None:
        raise InputNotFound("there is no standard input to read a request from", hint="docker run needs -i")
    settings = Settings.from_environ(home=places.environment)
    place.use_temporary(places)
    found = place.find(places)
    with place.start_worker(found, settings) as worker:
        _warn_of_mismatch(found)
        _warn_of_absent(settings)
        prediction = worker.predict(sys.stdin.buffer.read(), content_type)
    if prediction.nulls:
        saying.say_warning("nan-null", f"{prediction.nulls} values of the answer were NaN or infinite and are null")
    _write(prediction.payload + b"\n")


def _warn_of_mismatch(found: Place) -> None:
    """Say on stderr where a mounted model does not fit the environment; it is served all the same."""
    from envbuild.server import saying
    from envbuild.server.container import place

    for reason in place.reasons_against(found):
        saying.say_warning("model-does-not-fit", f"{found.model.path}: {reason}")


def _warn_of_absent(settings: Settings) -> None:
    """Say on stderr which variables are to be passed on to the model and are not here."""
    from envbuild.bridge.environ import notices_of_absent
    from envbuild.server import saying

    for notice in notices_of_absent(settings.pass_env):
        saying.say_warning(notice.code, notice.message)


def _write(answer: bytes) -> None:
    from envbuild.errors import UsageError

    if sys.stdout is None:
        raise UsageError("there is no standard output to write the answer to")
    try:
        sys.stdout.buffer.write(answer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        _forget_stdout()
        raise UsageError(f"the answer cannot be written to standard output: {error.strerror}") from error


def _forget_stdout() -> None:
    """Let what is left in its buffer go nowhere: flushing it at the exit would fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say it as every other error is said.

        :raises UsageError: always.
        """
        from envbuild.errors import UsageError

        raise UsageError(message, hint=f"{self.prog} --help shows what there is")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m envbuild.server", description="Serve a model over HTTP, as MLflow does.")
    commands = parser.add_subparsers(dest="command", title="commands")
    serve = commands.add_parser("serve", help="answer over HTTP (the default)")
    serve.add_argument("--host", default="0.0.0.0", help="the address to listen at (default: all)")  # noqa: S104 - a container's
    predict = commands.add_parser("predict", help="predict on standard input, answer on standard output")
    predict.add_argument("--content-type", default=_JSON, metavar="TYPE", help=f"what the input is (default: {_JSON})")
    health = commands.add_parser("health", help="ask the server in this container whether it can predict")
    for command in (serve, health):
        command.add_argument("--port", type=_port, default=PORT, help=f"the server's port (default: {PORT})")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 16:
        raise argparse.ArgumentTypeError(f"{text!r} is no port")
    return int(text)


def _with_command(arguments: Sequence[str]) -> list[str]:
    """The arguments; without a command they are those of ``serve``."""
    named = bool(arguments) and (not arguments[0].startswith("-") or arguments[0] in ("-h", "--help"))
    return list(arguments) if named else ["serve", *arguments]


def _report(error: BaseException) -> int:
    """Say an error and give its exit status."""
    from envbuild.errors import InternalError
    from envbuild.server import saying

    known = _known(error)
    if isinstance(known, InternalError):
        import traceback

        saying.say("".join(traceback.format_exception(error)).rstrip())
    saying.say_error(known)
    return known.exit_code


def _known(error: BaseException) -> EnvbuildError:
    """Any error as one of ours."""
    from envbuild.errors import EnvbuildError, InternalError, Interrupted

    if isinstance(error, EnvbuildError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Interrupted("interrupted")
    hint = "this is a fault of envbuild's own; report it with the lines above"
    return InternalError(f"{type(error).__name__}: {error}", hint=hint)
