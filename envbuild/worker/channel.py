"""The channel: the two fds that frames go over, and everything that keeps a model off them."""

import fcntl
import os
import sys

# By name and at once: a model may put something else in the modules' place.
from json import dumps, loads
from os import fstat, write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PROTOCOL = 4
MAX_HEADER = 64 * 1024
MAX_PAYLOAD = 1 << 40
BUFFER = 1 << 16


class BadHeader(Exception):
    """A header that cannot be read; where the next frame begins is not known."""


class ChannelLost(Exception):
    """The model closed one of the channel's fds, or put another file in its place."""


class Frame:
    """One frame as it was read: the header as a dict, the payload as bytes; ``None`` if it found no room."""

    __slots__ = ("header", "payload")

    def __init__(self, header: "dict[str, Any]", payload: "bytes | None") -> None:
        self.header = header
        self.payload = payload

    @property
    def id(self) -> int:
        """The question's number, or 0 where it has none that can be given back."""
        number = self.header.get("id")
        return number if type(number) is int and abs(number) < 1 << 53 else 0


class Channel:
    """Reads the host's frames and writes the worker's."""

    def __init__(self, reading: int, writing: int) -> None:
        self.reading = reading
        self.writing = writing
        self._files = {fd: _identity(fd) for fd in (reading, writing)}
        self._reader = open(reading, "rb", buffering=BUFFER, closefd=False)

    def receive(self) -> "Frame | None":
        """The next frame, or ``None`` when the host is gone.

        :raises BadHeader: the stream is not frames any more.
        :raises ChannelLost: there is no stream any more.
        """
        self._check(self.reading)
        line = self._reader.readline(MAX_HEADER)
        if not line:
            return None
        header = _header(line)
        try:
            payload = self._reader.read(header["length"])
        except MemoryError:
            return Frame(header, None) if self._skip(header["length"]) else None
        return Frame(header, payload) if len(payload) == header["length"] else None

    def _skip(self, length: int) -> bool:
        """Read a payload away, so that the next frame is found; whether it came to its end."""
        while length:
            piece = self._reader.read(min(length, BUFFER))
            if not piece:
                return False
            length -= len(piece)
        return True

    def send(self, verb: str, number: int, payload: bytes, **more: "Any") -> None:
        """Write one frame; its payload is JSON where ``content_type`` does not say something else.

        :raises ChannelLost: nobody would read it.
        """
        self._check(self.writing)
        header = {
            "protocol": PROTOCOL,
            "id": number,
            "verb": verb,
            "content_type": "application/json",
            "length": len(payload),
        }
        header.update(more)
        line = dumps(header).encode("ascii") + b"\n"
        if len(payload) <= BUFFER:
            self._write(line + payload)  # else the host wakes twice
            return
        self._write(line)
        self._write(payload)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[write(self.writing, view) :]

    def _check(self, fd: int) -> None:
        if _identity(fd) != self._files[fd]:
            raise ChannelLost("the model closed or replaced a file of the worker's, its channel to the host")


def _identity(fd: int) -> "tuple[int, int] | None":
    try:
        status = fstat(fd)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _header(line: bytes) -> "dict[str, Any]":
    if not line.endswith(b"\n"):
        raise BadHeader(f"the header's line has no end, or is longer than {MAX_HEADER} bytes")
    try:
        header = loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadHeader(f"the header is not JSON: {error}") from None
    length = header.get("length") if isinstance(header, dict) else None
    if type(length) is not int or not 0 <= length <= MAX_PAYLOAD:
        raise BadHeader("the header says no length that can be read")
    return dict(header)


def take_over() -> Channel:
    """Take fds 0 and 1 for the bridge alone: from now on 0 reads nothing and 1 is stderr, for C code too."""
    channel = Channel(_move_away(0), _move_away(1))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    sys.stdin = sys.__stdin__ = _text(0, "r")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _text(1, "w")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _text(2, "w")  # type: ignore[misc]
    return channel


def _move_away(fd: int) -> int:
    """A copy of ``fd`` that children do not inherit, so high that a model which closes the low ones misses it."""
    for lowest in (1000, 200):
        try:
            return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest)
        except OSError:  # the limit of open files is lower than that
            continue
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)


def _text(fd: int, mode: str) -> "Any":
    # Line by line, so that what a model prints can be followed; Python 3.6 would keep it in blocks.
    return open(fd, mode, buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
