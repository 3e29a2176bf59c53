"""What the server says on stderr: errors in the command line's form, warnings, steps; one write a message."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping

from envbuild.errors import EnvbuildError
from envbuild.progress import Step
from envbuild.redaction import redacted

_FINISHED: Mapping[str, str] = {"loading": "loaded", "predicting": "predicted"}


def say(text: str) -> None:
    """A message of one line or more."""
    # Whoever reads it may have gone, or there is no stderr at all; that must not end a server.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(redacted(text) + "\n")
        sys.stderr.flush()


def say_error(error: EnvbuildError) -> None:
    """An error, as the command line says it."""
    lines = [f"error[{error.code}]: {error}", *(f"  | {detail}" for detail in error.details)]
    if error.hint is not None:
        lines.append(f"  hint: {error.hint}")
    say("\n".join(lines))


def say_fault(error: EnvbuildError) -> None:
    """An error without its details: what a worker said last stands on stderr already."""
    say_error(type(error)(error.message, hint=error.hint, place=error.place))


def say_warning(code: str, text: str) -> None:
    """Something that the one who deploys should know."""
    say(f"warning[{code}]: {text}")


def say_step(step: Step) -> None:
    """A step of long work."""
    verb = _FINISHED.get(step.phase, step.phase) if step.done else step.phase
    say(f"{verb} {step.text}")
