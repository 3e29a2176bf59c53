"""Stderr: what a model prints, carried on as it comes, with its last lines kept for errors."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO, Final

KEPT_BYTES: Final = 8192
KEPT_LINES: Final = 20
_CHUNK: Final = 1 << 16


class StderrPump:
    """A thread that empties a worker's stderr, so that a model which prints much is never held up by us."""

    def __init__(self, pipe: BinaryIO, sink: Callable[[bytes], None] | None) -> None:
        """:param sink: called with each piece as it comes; ``None`` writes to this process's own stderr."""
        self._pipe = pipe
        self._sink = sink or _write_to_own
        self._kept = b""
        self._thread = threading.Thread(target=self._pump, name="envbuild-worker-stderr", daemon=True)
        self._thread.start()

    def tail(self) -> tuple[str, ...]:
        """The last lines so far."""
        return tuple(self._kept.decode("utf-8", "replace").splitlines()[-KEPT_LINES:])

    def finish(self, seconds: float = 5.0) -> None:
        """Wait until all has been carried on; to be called when the worker's group is gone."""
        self._thread.join(seconds)

    def _pump(self) -> None:
        with self._pipe:
            while chunk := self._pipe.read(_CHUNK):
                self._kept = (self._kept + chunk)[-KEPT_BYTES:]
                # A sink that fails must not stop the pipe from being emptied.
                with contextlib.suppress(Exception):
                    self._sink(chunk)


def _write_to_own(chunk: bytes) -> None:
    buffer = getattr(sys.stderr, "buffer", None)
    if buffer is None:
        sys.stderr.write(chunk.decode("utf-8", "replace"))
    else:
        buffer.write(chunk)
    sys.stderr.flush()
