"""Line: what a caller and a keeper say to each other over a socket, in the frames of the bridge.

==========  ===============  ==========================================================================================
from        verb             payload
==========  ===============  ==========================================================================================
caller      ``hello``        ``{"key"}``, which has the version in it
keeper      ``welcome``      ``{"key", "loading", "details"}``: what loads the model, what is kept from it, in words
keeper      ``refused``      none: it is another key's; nothing comes after it
caller      ``predict``      as to a worker; the header may have ``keep_warm``, in seconds
keeper      ``printed``      what the model prints, at any time before the answer
keeper      ``predicted``    as from a worker
keeper      ``failed``       an error, as ``EnvbuildError.to_dict`` gives it
keeper      ``busy``         none: others' predictions take long; nothing was done
anybody     ``status``       none; answered by ``status`` with what :class:`Status` has
anybody     ``stop``         none; answered by the end of the line, when the worker has ended; by ``busy`` while it predicts
==========  ===============  ==========================================================================================

Both ask the kernel who the other one is. A line that ends without an answer means that there is none.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from envbuild.bridge.frames import Frame, FrameReader, TooLong
from envbuild.errors import ProtocolError
from envbuild.resident.ground import Unusable

_CREDENTIALS: Final = "3i"


class Broken(Unusable):
    """The line has ended, or what comes is not what can be expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What a keeper says of itself; times are in seconds since 1970, sizes in bytes."""

    id: str
    model: str
    lock_hash: str
    environment: str
    pid: int
    """The keeper's."""
    worker: int
    """The worker's."""
    state: str
    """``loading``, ``idle`` or ``busy``."""
    began: float
    idle_since: float | None
    ends_at: float | None
    """When it ends unless it is asked something; ``None`` while it has something to do."""
    served: int
    """How many predictions it has answered."""
    memory: int
    """What the worker and what it started have resident."""

    def to_dict(self) -> dict[str, Any]:
        """The form that ``--json`` prints."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Status:
        """Read what :meth:`to_dict` gave.

        :raises Broken: it is something else.
        """
        try:
            return cls(**said)
        except TypeError:
            raise Broken("this is no status") from None


class Line:
    """One end of a connection; several threads may send."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._frames = FrameReader(self._readinto)

    @property
    def peer(self) -> tuple[int, int]:
        """The process and the user at the other end, by the kernel's word: of who connected, or of who listens."""
        size = struct.calcsize(_CREDENTIALS)
        said = self._connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        pid, user, _ = struct.unpack(_CREDENTIALS, said)
        return pid, user

    def fileno(self) -> int:
        """The socket, to be polled."""
        return self._connection.fileno()

    def wait_at_most(self, seconds: float | None) -> None:
        """From now on, whatever takes longer is broken; ``None`` waits for ever."""
        self._connection.settimeout(seconds)

    def send(self, verb: str, payload: bytes | bytearray = b"", **more: Any) -> None:
        """Send a frame.

        :raises Broken: nobody reads it.
        """
        content_type = more.pop("content_type", "application/json")
        frame = Frame(id=0, verb=verb, content_type=content_type, payload=payload, more=more)
        try:
            with self._sending:
                self._connection.sendall(frame.header())
                # Who has answered the header may have hung up already, and would make even nothing an error.
                if frame.payload:
                    self._connection.sendall(frame.payload)
        except OSError as error:
            raise Broken(str(error)) from None

    def tell(self, verb: str, content: Mapping[str, Any]) -> None:
        """Send a frame whose payload is JSON.

        :raises Broken: nobody reads it.
        """
        self.send(verb, json.dumps(content).encode())

    def receive(self) -> Frame:
        """The next frame.

        :raises Broken: none comes.
        """
        try:
            frame = self._frames.read()
        except (OSError, ProtocolError, TooLong) as error:
            raise Broken(str(error)) from None
        if frame is None:
            raise Broken("the line has ended")
        return frame

    def close(self) -> None:
        """Hang up, also for who is reading in another thread; twice does no harm."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def __enter__(self) -> Line:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _readinto(self, view: memoryview) -> int:
        return self._connection.recv_into(view)


def said(frame: Frame) -> dict[str, Any]:
    """The payload of a frame as JSON.

    :raises Broken: it is no object.
    """
    try:
        return frame.said()
    except ProtocolError as error:
        raise Broken(str(error)) from None


def connected(path: str, seconds: float) -> Line:
    """A line to who listens at a path, if it is a process of ours.

    :param seconds: how long each step may take.
    :raises Broken: nobody does, or it is somebody else.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line = Line(connection)
    try:
        connection.settimeout(seconds)
        connection.connect(path)
        _, user = line.peer
        if user != os.geteuid():
            raise Broken(f"it is a process of another user (uid {user})")
    except OSError as error:
        line.close()
        raise Broken(str(error)) from None
    except Broken:
        line.close()
        raise
    return line


def listening(path: str) -> socket.socket:
    """A socket that listens at a path, for this user alone.

    :raises OSError: there can be none.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    listener.listen(128)
    listener.setblocking(False)
    return listener


def accepted(listener: socket.socket) -> Line:
    """The next line of those who called.

    :raises Broken: it is not a process of ours, or one that is kept from others.
    """
    connection, _ = listener.accept()
    line = Line(connection)
    pid, user = line.peer
    if user != os.geteuid() or not _is_at_large(pid):
        line.close()
        raise Broken(f"process {pid} of user {user} is not served")
    return line


def _is_at_large(pid: int) -> bool:
    """Whether a process is in our network: a worker without one shall not reach another that has it."""
    try:
        return Path(f"/proc/{pid}/ns/net").samefile("/proc/self/ns/net")
    except OSError:
        return False
