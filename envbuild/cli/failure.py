"""Errors at the edge: said to people on stderr or to programs on stdout, then turned into an exit code."""

from __future__ import annotations

import contextlib
import json
import sys
import traceback
from collections.abc import Callable

import click

from envbuild import errors
from envbuild.errors import EnvbuildError
from envbuild.redaction import redacted

SCHEMA_VERSION = 1
Say = Callable[[EnvbuildError], None]


def _say_plainly(error: EnvbuildError) -> None:
    click.echo(redacted(_text(error)), err=True)


class _Way:
    say: Say = staticmethod(_say_plainly)


def say_by(say: Say) -> None:
    """Have errors said in another form from now on: that of a log which programs read."""
    _Way.say = staticmethod(say)


def report_failure(error: BaseException, arguments: list[str]) -> int:
    """Say an error and give its exit code."""
    known = _known(error)
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    # Whoever reads them may have gone, or their disk is full; the exit code still says it.
    with contextlib.suppress(OSError):
        _Way.say(known)
    if "--json" in options:
        content = {"schema_version": SCHEMA_VERSION, "command": _command(options), "ok": False}
        with contextlib.suppress(OSError):
            click.echo(redacted(json.dumps({**content, "error": known.to_dict()}, ensure_ascii=False)))
    if isinstance(known, errors.InternalError) and ("-v" in options or "--verbose" in options):
        traceback.print_exception(error, file=sys.stderr)
    return known.exit_code


def _command(options: list[str]) -> str | None:
    """The command that was called; ``None`` where the call does not name one that there is."""
    from envbuild.cli import COMMANDS, SUBCOMMANDS

    if not options or options[0] not in COMMANDS:
        return None
    below = options[1] if options[1:] and options[1] in SUBCOMMANDS.get(options[0], ()) else None
    return options[0] if below is None else f"{options[0]} {below}"


def _known(error: BaseException) -> EnvbuildError:
    """Any error as one of ours."""
    if isinstance(error, EnvbuildError):
        return error
    if isinstance(error, (KeyboardInterrupt, click.exceptions.Abort)):
        return errors.Interrupted("interrupted")
    if isinstance(error, click.exceptions.ClickException):
        context = getattr(error, "ctx", None)
        hint = None if context is None else f"{context.command_path} --help shows what there is"
        return errors.UsageError(error.format_message(), hint=hint)
    return errors.InternalError(
        f"{type(error).__name__}: {error}",
        hint="this is a fault of envbuild's own; run again with -v and report what it prints",
    )


def _text(error: EnvbuildError) -> str:
    bold = click.style(f"error[{error.code}]", fg="red", bold=True)
    lines = [f"{bold}: {error}"]
    lines += [f"  | {detail}" for detail in error.details]
    if error.hint is not None:
        lines.append(f"  {click.style('hint', bold=True)}: {error.hint}")
    return "\n".join(lines)
