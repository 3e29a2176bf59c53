"""Pipes: reading and writing a worker's channel with a deadline, for payloads of any size."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import time
from typing import BinaryIO, Final

# Sixteen times the usual: fewer switches between the two processes for a large payload.
PIPE_SIZE: Final = 1 << 20
_F_SETPIPE_SZ: Final = getattr(fcntl, "F_SETPIPE_SZ", 1031)


class DeadlinePassed(Exception):
    """The time given was over."""


class Deadline:
    """A moment in time, or never."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds

    def milliseconds_left(self) -> int | None:
        """What ``poll`` takes; ``None`` waits for ever.

        :raises DeadlinePassed: nothing is left.
        """
        if self._end is None:
            return None
        left = self._end - time.monotonic()
        if left <= 0:
            raise DeadlinePassed
        return int(left * 1000) + 1


class Pipe:
    """One end of a pipe; its ``deadline`` holds for all that is read or written until it is changed."""

    def __init__(self, file: BinaryIO, event: int) -> None:
        """:param event: ``select.POLLIN`` to read, ``select.POLLOUT`` to write."""
        self.deadline = Deadline(None)
        self._file = file
        self._poll = select.poll()
        self._poll.register(file.fileno(), event)
        os.set_blocking(file.fileno(), False)
        # A limit of the system's on all pipes of a user may refuse it.
        with contextlib.suppress(OSError):
            fcntl.fcntl(file.fileno(), _F_SETPIPE_SZ, PIPE_SIZE)

    def readinto(self, view: memoryview) -> int:
        """Fill a part of ``view``; 0 is the end."""
        while True:
            try:
                return os.readv(self._file.fileno(), [view])
            except BlockingIOError:
                self._wait()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of it.

        :raises BrokenPipeError: nobody reads any more.
        """
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._file.fileno(), view) :]
            except BlockingIOError:
                self._wait()

    def has_other_end(self) -> bool:
        """Whether anybody has the other end open; may be asked while another thread reads, writes or closes."""
        poll = select.poll()  # one of them serves one thread at a time
        try:
            poll.register(self._file.fileno(), 0)  # nothing but the hang-up, which is always reported
        except ValueError:
            return False
        return not poll.poll(0)

    def close(self) -> None:
        """Close it; twice does no harm."""
        self._file.close()

    def _wait(self) -> None:
        self._poll.poll(self.deadline.milliseconds_left())
