"""File locks that the kernel frees when their process ends, however it ends: flock (2), exclusive or shared.

A lock is held by an open file and by nothing that is written: there is no owner to look up, no time to compare, and
nothing to clean up after a kill. A file whose lock is exclusive is removed when it is released; whoever waited for it
sees that the file under the name is another one, and begins again.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

_BUSY = (errno.EAGAIN, errno.EACCES)
# How often those who wait look: they have a lock some 20 ms after it is free.
LOOK_SECONDS = 0.02


class Held:
    """A lock that is held, until it is released or the process ends; a fork does not hold it."""

    def __init__(self, descriptor: int, path: Path, *, removed: bool) -> None:
        self._descriptor = descriptor
        self._path = path
        self._removed = removed
        _HELD.add(self)

    def fileno(self) -> int:
        """The open file that holds it."""
        return self._descriptor

    def keep_through_exec(self) -> None:
        """Let it be held by the program that this process becomes, and by all that that starts."""
        os.set_inheritable(self._descriptor, True)

    def note(self, text: str) -> None:
        """Leave a word for those who wait."""
        content = text.encode()
        # Waiters may read half of it; they look again.
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, len(content))
            os.pwrite(self._descriptor, content, 0)

    def release(self) -> None:
        """Free it; twice does no harm."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        if self._removed:
            # While we hold it: nobody else can hold a file of this name.
            with contextlib.suppress(OSError):
                self._path.unlink()
        os.close(descriptor)

    def forget(self) -> None:
        """In a fork: close the file, which leaves the lock with the process that took it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __enter__(self) -> Held:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __del__(self) -> None:
        self.release()


_HELD: weakref.WeakSet[Held] = weakref.WeakSet()


def _after_fork() -> None:
    for held in list(_HELD):
        held.forget()


os.register_at_fork(after_in_child=_after_fork)


def take(path: Path, mode: int = 0o600) -> Held | None:
    """Take the exclusive lock of a file, which is made where it is missing; ``None`` while somebody else holds it.

    :raises OSError: the file cannot be opened, or the file system cannot lock.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
        with _closed_unless_held(descriptor) as held:
            # Whatever the umask: those of a shared store's group must be able to take it too.
            if os.fstat(descriptor).st_uid == os.geteuid():
                os.fchmod(descriptor, mode)
            if not _flock(descriptor, fcntl.LOCK_EX):
                return None
            # Whoever held it before us may have removed it: it locks nothing any more then.
            if _is_at(descriptor, path):
                held.append(Held(descriptor, path, removed=True))
                return held[0]


def take_existing(path: Path, *, shared: bool) -> Held | None:
    """Take the lock of a file that is there and stays; ``None`` while somebody else holds it.

    :raises FileNotFoundError: it is not there, or was replaced meanwhile.
    :raises OSError: it cannot be opened, or the file system cannot lock.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    with _closed_unless_held(descriptor) as held:
        if not _flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            return None
        if not _is_at(descriptor, path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        held.append(Held(descriptor, path, removed=False))
        return held[0]


def wait_existing(path: Path, *, shared: bool) -> Held:
    """:func:`take_existing`, when whoever holds it has let go."""
    while (held := take_existing(path, shared=shared)) is None:
        time.sleep(LOOK_SECONDS)
    return held


def is_free(path: Path) -> bool:
    """Whether nobody holds a file's lock exclusively, as far as can be told now.

    :raises OSError: it cannot be opened.
    """
    try:
        held = take_existing(path, shared=True)
    except FileNotFoundError:
        return True
    if held is None:
        return False
    held.release()
    return True


@contextlib.contextmanager
def _closed_unless_held(descriptor: int) -> Iterator[list[Held]]:
    held: list[Held] = []
    try:
        yield held
    finally:
        if not held:
            os.close(descriptor)


def _flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        raise
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False
