"""What a worker leaves behind: processes, wherever they went, files, descriptors and threads of the host's."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from waiting import eventually

_PR_SET_CHILD_SUBREAPER = 36


@contextmanager
def adopting() -> Iterator[None]:
    """Whatever escapes from a worker becomes a child of this process, so that it is found."""
    prctl = ctypes.CDLL(None).prctl
    assert prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@contextmanager
def no_process_left() -> Iterator[None]:
    """Look before and after."""
    children = _children()
    yield
    # The kernel may be at work on what it was told to kill.
    eventually(lambda: not [pid for pid in _children() - children if not _is_over(pid)], "no process is left")


@contextmanager
def nothing_left(private: Path) -> Iterator[None]:
    """Look before and after; ``private`` is where workers' directories are made."""
    files = _files()
    with no_process_left():
        yield
    assert list(private.iterdir()) == []
    assert len(_files()) <= len(files), "no descriptor is left"
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("envbuild-worker")] == []


def _children() -> set[int]:
    return {int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/stat") if _parent(stat) == os.getpid()}


def _parent(stat: Path) -> int:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _is_over(pid: int) -> bool:
    """Whether a child has ended, and take leave of it."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def _files() -> list[Path]:
    return list(Path("/proc/self/fd").iterdir())
