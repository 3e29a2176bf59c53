"""Failing: a chunk that a model does not predict, and which of its rows are to blame."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from envbuild.batching.chunk import Chunk
from envbuild.batching.result import OnError
from envbuild.errors import (
    CommandNotStarted,
    ConfinementUnavailable,
    EnvbuildError,
    InputError,
    ModelNotLoaded,
    ModelRaised,
    OutputInvalid,
    OutputTooLarge,
    Place,
    ProtocolError,
    UsageError,
    WorkerKilled,
)

if TYPE_CHECKING:
    from envbuild.bridge import Prediction

Ask = Callable[["bytes | memoryview", str], "Prediction"]
# Not about the rows: no other row would fare better.
_FATAL: Final = (CommandNotStarted, ConfinementUnavailable, ModelNotLoaded, ProtocolError, UsageError)
# About a row, perhaps; whatever else ends a worker takes its whole chunk.
_OF_ROWS: Final = (InputError, ModelRaised, OutputInvalid, OutputTooLarge)
# So many failures without one success are not about single rows.
_TOO_MANY: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """Rows of a chunk, counted from 0, that failed together."""

    start: int
    stop: int
    error: EnvbuildError


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """What the model answered to some rows."""

    start: int
    answer: Prediction


Part = Good | Bad


class ChunkFailed(Exception):
    """The batch is to stop; ``bad`` says which rows of the chunk."""

    def __init__(self, bad: Bad, chunk: Chunk) -> None:
        super().__init__(str(bad.error))
        self.bad = bad
        self.chunk = chunk


def predicted(chunk: Chunk, ask: Ask, on_error: OnError) -> tuple[Part, ...]:
    """A chunk's answer, or those of its parts and the rows that failed, in the rows' order.

    :raises ChunkFailed: a row failed, and the batch is to stop; or none went well.
    :raises EnvbuildError: it is not about the rows.
    """
    try:
        return (Good(start=0, answer=_asked(chunk.payload, chunk, ask)),)
    except _FATAL:
        raise
    except EnvbuildError as error:
        whole = Bad(start=0, stop=len(chunk.rows), error=error)
        if on_error == "stop":
            raise ChunkFailed(_first(chunk, ask, whole), chunk) from error
        return _halved(chunk, ask, whole)


def _asked(payload: bytes | memoryview, chunk: Chunk, ask: Ask) -> Prediction:
    try:
        return ask(payload, chunk.content_type)
    except WorkerKilled:
        # Perhaps from outside, and not for these rows: the worker that follows it gets them once more.
        return ask(payload, chunk.content_type)


def _tried(chunk: Chunk, ask: Ask, start: int, stop: int) -> Part:
    try:
        return Good(start=start, answer=_asked(chunk.rows.part(start, stop), chunk, ask))
    except _FATAL:
        raise
    except EnvbuildError as error:
        return Bad(start=start, stop=stop, error=error)


def _first(chunk: Chunk, ask: Ask, bad: Bad) -> Bad:
    """The first row that fails by itself, or as few of them as do not go well together."""
    while bad.stop - bad.start > 1 and isinstance(bad.error, _OF_ROWS):
        middle = (bad.start + bad.stop) // 2
        for start, stop in ((bad.start, middle), (middle, bad.stop)):
            part = _tried(chunk, ask, start, stop)
            if isinstance(part, Bad):
                bad = part
                break
        else:
            return bad
    return bad


def _halved(chunk: Chunk, ask: Ask, whole: Bad) -> tuple[Part, ...]:
    """Every part that goes well, and every row that fails by itself; all halves of a size before the smaller ones."""
    parts: list[Part] = []
    left, failures, successes = deque([whole]), 1, 0
    while left:
        bad = left.popleft()
        if bad.stop - bad.start <= 1 or not isinstance(bad.error, _OF_ROWS):
            parts.append(bad)
            continue
        middle = (bad.start + bad.stop) // 2
        for start, stop in ((bad.start, middle), (middle, bad.stop)):
            part = _tried(chunk, ask, start, stop)
            if isinstance(part, Bad):
                failures += 1
                left.append(part)
            else:
                successes += 1
                parts.append(part)
        if failures > _TOO_MANY and not successes:
            raise ChunkFailed(whole, chunk)
    return tuple(sorted(parts, key=lambda part: part.start))


def explained(bad: Bad, chunk: Chunk, name: str, path: str | None, before: int) -> EnvbuildError:
    """The error of some rows of a chunk, with the rows and lines of the whole file.

    :param path: the file; ``None`` for standard input.
    :param before: how many rows of the file stand before the chunk.
    """
    first, last = before + bad.start + 1, before + bad.stop
    line, end = chunk.rows.line(bad.start), chunk.rows.line(bad.stop - 1)
    rows = f"row {first}" if first == last else f"rows {first} to {last}"
    lines = "" if line is None or line == end else f" (lines {line} to {end})"
    error, place = bad.error, None if path is None else Place(path, line)
    message = absolute(error, bad, chunk, before)
    shown = f"{rows}{lines}: {message}" if place is not None else f"{name}, {rows}{lines}: {message}"
    return type(error)(shown, hint=error.hint, place=place, details=error.details)


def absolute(error: EnvbuildError, bad: Bad, chunk: Chunk, before: int) -> str:
    """An error's message, in which rows and lines of a part become those of the file."""
    if not isinstance(error, InputError):
        return error.message
    text = re.sub(r"\brow (\d+)\b", lambda found: f"row {before + bad.start + int(found[1]) + 1}", error.message)
    line = chunk.rows.line(bad.start)
    if line is None:
        return text
    headers = 0 if chunk.content_type.startswith("application") else 1
    return re.sub(r"\bline (\d+)\b", lambda found: f"line {line + int(found[1]) - 1 - headers}", text)
