"""Keeper: the process that owns a resident worker, from its order to its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

# All of it is needed in a moment, and whoever gives the order is at work meanwhile.
import envbuild.bridge.worker  # noqa: F401 - for its effect
from envbuild import pipeline
from envbuild.errors import EnvbuildError
from envbuild.resident.ground import Ground
from envbuild.resident.keeping import Keeper, Prints
from envbuild.resident.key import Unsettled, facts_of
from envbuild.resident.line import listening
from envbuild.resident.order import FAILED, LISTENING, TAKEN, Order, received
from envbuild.store import flock
from envbuild.store.marker import MARKER

if TYPE_CHECKING:
    from envbuild.bridge import Worker

# Somebody may only be clearing up under the name.
_TRIES, _PAUSE = 10, 0.02


def main() -> NoReturn:
    """Take an order, serve, and end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    status = 1
    try:
        order = received(sys.stdin.buffer)
        status = 0 if order is None else _serve(order)
    finally:
        # No thread is waited for: those that are left wait for callers.
        os._exit(status)


def _serve(order: Order) -> int:
    with contextlib.ExitStack() as stack:
        try:
            ground = Ground.opened(order.settings.home, make=True)
            if ground is None:
                return _say(FAILED)
            stack.enter_context(ground)
            held = _taken(ground, order)
            if held is None:
                return _say(TAKEN)
            stack.enter_context(held)
            prints = Prints()
            worker = stack.enter_context(_worker(order, prints))
            ground.unlink(order.name)
            listener = stack.enter_context(listening(str(ground.file(order.name.socket))))
        except (EnvbuildError, OSError):
            # Whoever gave the order does without us, and meets the same.
            return _say(FAILED)
        keeper = Keeper(order, worker, listener, prints, _Wanted(ground, order))
        signal.signal(signal.SIGTERM, lambda number, frame: _end(keeper, number, frame))
        _say(LISTENING)
        _let_go()
        ground.sweep()
        keeper.run(sys.stdin.fileno())
        ground.unlink(order.name)
        listener.close()
        worker.close()
        held.release()
        keeper.hang_up()
    return 0


def _end(keeper: Keeper, number: int, frame: FrameType | None) -> None:
    del number, frame
    keeper.end()


def _taken(ground: Ground, order: Order) -> flock.Held | None:
    for _ in range(_TRIES):
        if (held := flock.take(ground.file(order.name.lock))) is not None:
            return held
        if ground.is_socket(order.name):
            return None
        time.sleep(_PAUSE)
    return None


def _worker(order: Order, prints: Prints) -> Worker:
    """The worker, as any call starts it; the environment stays where it is until it ends.

    :raises FileNotFoundError: the environment has gone.
    """
    environment = order.environment
    lease = flock.wait_existing(environment.path / MARKER, shared=True)
    built = pipeline.Built(
        locked=order.locked, environment=environment, lease=lease, was_built=False, seconds=0.0, notices=()
    )
    return pipeline.start(built, order.settings, prints)


class _Wanted:
    """Whether calls lead to a keeper still."""

    def __init__(self, ground: Ground, order: Order) -> None:
        self._ground, self._order = ground, order
        self._seen = self._now()

    def __call__(self) -> bool:
        """Ask for it, after the model was loaded."""
        try:
            same = facts_of(self._order.model) == self._order.facts
        except (OSError, Unsettled):
            same = False
        return same and self._now() == self._seen

    def _now(self) -> tuple[tuple[int, int], ...] | None:
        """The socket, and the marker of the environment, by their inodes."""
        paths = (self._ground.file(self._order.name.socket), self._order.environment.path / MARKER)
        with contextlib.suppress(OSError):
            return tuple((facts.st_dev, facts.st_ino) for facts in map(os.lstat, paths))
        return None


def _say(what: str) -> int:
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(what).encode() + b"\n")
    return 0


def _let_go() -> None:
    """Let go of the outputs of whoever gave the order; the input says whether it is there still."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    os.close(nothing)
