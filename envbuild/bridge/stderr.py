"""Stderr: what a model prints, carried on as it comes, with its last lines kept for errors."""

from __future__ import annotations

import array
import contextlib
import fcntl
import select
import sys
import termios
import threading
from collections.abc import Callable
from typing import BinaryIO, Final

KEPT_BYTES: Final = 8192
KEPT_LINES: Final = 20
_CHUNK: Final = 1 << 16


class Tail:
    """Carries on what a model prints, and keeps the end of it."""

    def __init__(self, sink: Callable[[bytes], None] | None) -> None:
        """:param sink: called with each piece as it comes; ``None`` writes to this process's own stderr."""
        self._sink = sink or _write_to_own
        self._kept = b""

    def __call__(self, chunk: bytes) -> None:
        """Keep a piece, and carry it on."""
        self._kept = (self._kept + chunk)[-KEPT_BYTES:]
        self._sink(chunk)

    def end(self) -> None:
        """Say that nothing more comes, to a sink that has an ``end`` to be told by."""
        end = getattr(self._sink, "end", None)
        if end is not None:
            end()

    def lines(self) -> tuple[str, ...]:
        """The last lines so far."""
        return tuple(self._kept.decode("utf-8", "replace").splitlines()[-KEPT_LINES:])


class StderrPump:
    """A thread that empties a worker's stderr, so that a model which prints much is never held up by us."""

    def __init__(self, pipe: BinaryIO, sink: Callable[[bytes], None] | None) -> None:
        """:param sink: called with each piece as it comes; ``None`` writes to this process's own stderr."""
        self._pipe = pipe
        self._tail = Tail(sink)
        self._reading = threading.Lock()
        self._thread = threading.Thread(target=self._pump, name="envbuild-worker-stderr", daemon=True)
        self._thread.start()

    def tail(self) -> tuple[str, ...]:
        """The last lines so far."""
        return self._tail.lines()

    def catch_up(self) -> None:
        """Wait until all that has been written so far is carried on."""
        with self._reading, contextlib.suppress(OSError, ValueError):  # it may be closed already
            left = array.array("i", [0])
            fcntl.ioctl(self._pipe, termios.FIONREAD, left)
            # No more than that: a model's thread may print on and on.
            while left[0] > 0 and (count := self._carry(left[0])):
                left[0] -= count

    def finish(self, seconds: float = 5.0) -> None:
        """Wait until all has been carried on; to be called when the worker's group is gone."""
        self._thread.join(seconds)

    def _pump(self) -> None:
        with self._pipe:
            poll = select.poll()
            poll.register(self._pipe, select.POLLIN)
            while True:
                poll.poll()
                with self._reading:
                    # Somebody else may have emptied it meanwhile.
                    if poll.poll(0) and not self._carry(_CHUNK):
                        with contextlib.suppress(Exception):
                            self._tail.end()
                        return

    def _carry(self, size: int) -> int:
        chunk = self._pipe.read(size)
        # A sink that fails must not stop the pipe from being emptied.
        with contextlib.suppress(Exception):
            if chunk:
                self._tail(chunk)
        return len(chunk)


def _write_to_own(chunk: bytes) -> None:
    buffer = getattr(sys.stderr, "buffer", None)
    if buffer is None:
        sys.stderr.write(chunk.decode("utf-8", "replace"))
    else:
        buffer.write(chunk)
    sys.stderr.flush()
