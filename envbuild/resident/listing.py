"""Listing: which resident workers there are, and how they are ended."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from envbuild.errors import StoreUntrusted
from envbuild.resident.ground import Ground, Name, Untrusted
from envbuild.resident.line import Broken, Line, Status, connected, said

_STEP_SECONDS: Final = 3.0
# For a model that does not want to end.
_END_SECONDS: Final = 15.0


def listed(home: Path) -> list[Status]:
    """The resident workers of this user on this machine; what dead ones left behind is removed.

    :raises StoreUntrusted: the private directory is not as we make it.
    """
    with _lines(home) as lines:
        return [status for _, status in lines]


def stopped(home: Path, which: str | None) -> list[tuple[Status, bool]]:
    """End workers; those that are at work end after their answer.

    :param which: the beginning of an id, or a model's directory; ``None``: all.
    :return: which were told to, and whether they have ended.
    :raises StoreUntrusted: the private directory is not as we make it.
    """
    with _lines(home) as lines:
        return [(status, _stop(line)) for line, status in lines if which is None or _is_meant(which, status)]


def _is_meant(which: str, status: Status) -> bool:
    path = Path(which).expanduser()
    with contextlib.suppress(OSError):
        if path.exists() and path.resolve() in (Path(status.model).resolve(), Path(status.model, "MLmodel").resolve()):
            return True
    return status.id.startswith(which.lower())


def _stop(line: Line) -> bool:
    line.wait_at_most(_END_SECONDS)
    try:
        line.send("stop")
        line.receive()
    except Broken:
        return True
    return False


@contextlib.contextmanager
def _lines(home: Path) -> Iterator[list[tuple[Line, Status]]]:
    try:
        ground = Ground.opened(home)
    except Untrusted as error:
        raise StoreUntrusted(str(error), hint="remove it, if you do not know whose it is") from None
    if ground is None:
        yield []
        return
    with ground, contextlib.ExitStack() as stack:
        found = []
        for name in list(ground.names()):
            with contextlib.suppress(Broken):
                line, status = _asked(ground, name)
                stack.callback(line.close)
                found.append((line, status))
        yield found


def _asked(ground: Ground, name: Name) -> tuple[Line, Status]:
    if ground.clear(name) or not ground.is_socket(name):
        raise Broken("it is dead")
    line = connected(str(ground.file(name.socket)), _STEP_SECONDS)
    try:
        line.send("status")
        return line, Status.from_dict(said(line.receive()))
    except Broken:
        line.close()
        raise
