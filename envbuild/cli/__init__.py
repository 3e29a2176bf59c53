"""The command line: one module a command, loaded when its command is called."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
from types import FrameType
from typing import Any

import click

# Their short helps stand here, so that `envbuild --help` imports none of them.
COMMANDS = {
    "inspect": "Show what a model is and what it asks for.",
    "lock": "Lock a model's environment.",
    "explain": "Say why a package is in a model's environment in this version.",
    "diff": "Say what differs between two models, locks, environments, images.",
    "check": "Check that an override leaves the model's answers as they are.",
    "build": "Build a model's environment, once.",
    "predict": "Predict with a model in its own environment.",
    "batch": "Predict a table of any size, chunk by chunk.",
    "serve": "Serve a model over HTTP.",
    "run": "Run a command in a model's environment.",
    "bundle": "Put all that a model needs into one file; look at one.",
    "push": "Share a model's lock and its files, for others to pull.",
    "pull": "Build a model's environment from what was pushed.",
    "image": "Make a Docker image that serves a model.",
    "verify": "Check that an environment or an image is still as it was built.",
    "envs": "List, show, pin, remove and collect environments.",
    "workers": "List and stop the workers that stay behind for the next call.",
    "cache": "Show and clean what was downloaded and compiled.",
    "doctor": "Look at what envbuild needs on this machine.",
    "completion": "Print the shell completion script.",
}
# The commands of those that are groups.
SUBCOMMANDS = {
    "envs": ("list", "show", "gc", "rm", "pin"),
    "workers": ("list", "stop"),
    "bundle": ("export", "inspect", "verify"),
    "cache": ("dir", "size", "clean"),
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"envbuild.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    del parameter
    if value:
        from envbuild import __version__

        click.echo(f"envbuild {__version__}")
        ctx.exit()


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Settings are read from ENVBUILD_* too. Exit codes: 0 right, 1 internal, 2 usage, 3 bad model, 4 cannot "
    "lock, 5 cannot build, 6 bad input, 7 the model failed, 8 timed out or killed, 10 different, 11 the check fails, 130 interrupted.",
    invoke_without_command=True,
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
@click.pass_context
def envbuild(context: click.Context) -> None:
    """Give an MLflow model back the environment that it was born in, and predict in it."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(2)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code; errors are one message each, never a traceback."""
    # A start makes many objects, of which none goes: looking for garbage among them again and again takes a tenth of it.
    gc.set_threshold(50_000)
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(_status(sys.argv[1:] if arguments is None else arguments))


def program() -> None:
    """The program ``envbuild``: :func:`main`, without Python's own tidying up at the end, which a call waits for."""
    try:
        main()
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            status = status or 1
    # Everything that must be closed was closed by whoever opened it.
    os._exit(status)


def _status(arguments: list[str]) -> int:
    try:
        status: Any = envbuild.main(args=arguments, prog_name="envbuild", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except SystemExit as error:
        # click ends so when a shell asks it for completions.
        return error.code if isinstance(error.code, int) else 1
    except BrokenPipeError:
        # Whoever read our output has gone; there is nobody to tell.
        forget_stdout()
        return 1
    except BaseException as error:  # noqa: BLE001 - this is the edge: every error becomes a message here
        from envbuild.cli.failure import report_failure

        return report_failure(error, arguments)


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt


def forget_stdout() -> None:
    """Let what is left in the buffer of standard output go nowhere: flushing it at the exit would fail once more."""
    import contextlib

    with contextlib.suppress(OSError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
