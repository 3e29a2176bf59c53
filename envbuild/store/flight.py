"""Single flight: of all who want the same thing at once, one makes it, the others wait, watch, and take it."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Generic, TypeVar

from envbuild.progress import Report, Step
from envbuild.store import flock

Answer = TypeVar("Answer")

_NOTE_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Flight(Generic[Answer]):
    """What the one who got through finds: the answer, if another made it meanwhile, or the lock to make it under."""

    answer: Answer | None
    held: flock.Held | None

    def relayed(self, report: Report) -> Report:
        """A report that those who wait see as well."""

        def relay(step: Step) -> None:
            if self.held is not None:
                self.held.note(json.dumps({"pid": os.getpid(), **asdict(step)}))
            report(step)

        return relay


@contextlib.contextmanager
def single_flight(
    path: Path, ready: Callable[[], Answer | None], report: Report, what: str, mode: int
) -> Iterator[Flight[Answer]]:
    """Hold a file's lock, unless the answer is there first.

    :param ready: gives the answer if it is there; called when nobody is making it.
    :param what: what the others are waiting for, in words.
    :raises OSError: the file cannot be opened, or the file system cannot lock.
    """
    while True:
        held = flock.take(path, mode)
        if held is not None:
            with held:
                answer = ready()
                yield Flight(answer=answer, held=held if answer is None else None)
            return
        _wait_until_free(path, report, what)
        # It is done, or whoever made it is dead. Nobody holds the lock now: all who waited look at the same time.
        answer = ready()
        if answer is not None:
            yield Flight(answer=answer, held=None)
            return


def _wait_until_free(path: Path, report: Report, what: str) -> None:
    report(Step("waiting", what))
    said, looked = what, 0.0
    while not flock.is_free(path):
        time.sleep(flock.LOOK_SECONDS)
        if time.monotonic() - looked < _NOTE_SECONDS:
            continue
        looked, note = time.monotonic(), _note(path)
        if note is not None and f"{what}: {note}" != said:
            said = f"{what}: {note}"
            report(Step("waiting", said))


def _note(path: Path) -> str | None:
    """What the one who holds the lock says of its work."""
    try:
        step = json.loads(path.read_bytes())
        return f"process {step['pid']}: {'done ' if step['done'] else ''}{step['phase']} {step['text']}"
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def slot(folder: Path, kind: str, limit: int, report: Report, mode: int) -> Iterator[None]:
    """One of the places for heavy work on this machine; waits until one is free.

    :param limit: how many there are.
    """
    said = False
    while True:
        for number in range(limit):
            held = flock.take(folder / f"{kind}-{number}.slot", mode)
            if held is not None:
                with held:
                    yield
                return
        if not said:
            report(Step("waiting", f"one of {limit} places for a {kind} (ENVBUILD_PARALLEL)"))
            said = True
        time.sleep(flock.LOOK_SECONDS)
