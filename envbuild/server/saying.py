"""What the server says on stderr: errors in the command line's form, warnings, steps; one write a message.

As JSON each message is an object on a line of its own, and so is each line that the model prints.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, Final, Literal

from envbuild.errors import EnvbuildError
from envbuild.progress import Step
from envbuild.redaction import redacted
from envbuild.settings.values import LogFormat

Level = Literal["info", "warning", "error"]
_FINISHED: Mapping[str, str] = {"loading": "loaded", "predicting": "predicted"}
_LONGEST_LINE: Final = 8192


class _Form:
    is_json = False


def is_json() -> bool:
    """Whether each message is an object."""
    return _Form.is_json


def use(log_format: LogFormat) -> None:
    """Say everything in this format from now on."""
    _Form.is_json = log_format == "json"
    # What a thread of ours dies of is said by Python itself, in many lines.
    threading.excepthook = _say_thread if _Form.is_json else threading.__excepthook__


def say(text: str, *, level: Level = "info", **more: Any) -> None:
    """A message of one line or more.

    :param more: what belongs to the message; as text it is left out, and so is what is ``None``.
    """
    if not _Form.is_json:
        _write(text)
        return
    known = {name: value for name, value in more.items() if value is not None}
    # RFC 3339, in UTC.
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    _write(json.dumps({"time": now, "level": level, "message": text, **known}))


def say_error(error: EnvbuildError) -> None:
    """An error, as the command line says it."""
    if _Form.is_json:
        say(str(error), level="error", code=error.code, hint=error.hint, details=list(error.details) or None)
        return
    lines = [f"error[{error.code}]: {error}", *(f"  | {detail}" for detail in error.details)]
    if error.hint is not None:
        lines.append(f"  hint: {error.hint}")
    say("\n".join(lines))


def say_fault(error: EnvbuildError) -> None:
    """An error without its details: what a worker said last stands on stderr already."""
    say_error(type(error)(error.message, hint=error.hint, place=error.place))


def say_warning(code: str, text: str) -> None:
    """Something that the one who deploys should know."""
    if _Form.is_json:
        say(text, level="warning", code=code)
    else:
        say(f"warning[{code}]: {text}")


def say_line(text: str, code: str | None) -> None:
    """A line of what comes before serving; with a code it is a warning."""
    if code is None:
        say(text)
    else:
        say_warning(code, text)


def say_step(step: Step) -> None:
    """A step of long work."""
    verb = _FINISHED.get(step.phase, step.phase) if step.done else step.phase
    say(f"{verb} {step.text}")


def of_model() -> Callable[[bytes], None] | None:
    """What takes the prints of one worker; ``None`` where they go to stderr as they are."""
    return _Prints() if _Form.is_json else None


class _Prints:
    """Makes lines of what comes in pieces."""

    def __init__(self) -> None:
        self._rest = b""

    def __call__(self, piece: bytes) -> None:
        """Say the lines that are whole by now."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            _say_print(line)
        while len(self._rest) > _LONGEST_LINE:
            _say_print(self._rest[:_LONGEST_LINE])
            self._rest = self._rest[_LONGEST_LINE:]

    def end(self) -> None:
        """Say what was begun; nothing more comes."""
        if self._rest:
            _say_print(self._rest)
            self._rest = b""


def _say_print(line: bytes) -> None:
    say(line.decode("utf-8", "replace").rstrip("\r"), stream="model")


def _say_thread(failed: threading.ExceptHookArgs) -> None:
    lines = traceback.format_exception(failed.exc_type, failed.exc_value, failed.exc_traceback)
    say("".join(lines).rstrip(), level="error", code="internal")


def _write(text: str) -> None:
    # Whoever reads it may have gone, or there is no stderr at all; that must not end a server.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(redacted(text) + "\n")
        sys.stderr.flush()
