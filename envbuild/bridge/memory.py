"""Memory: how much a worker may take, held by a control group of its own, or else by ``RLIMIT_DATA``.

A control group counts the worker and everything that it starts together, whatever session they are in; the kernel kills
for it, and says that it did. ``RLIMIT_DATA`` is each process's own: what asks for more is refused, and the model sees a
``MemoryError``.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from envbuild import process

_PREFIX: Final = "envbuild-"
_REMOVE_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.01
_NUMBERS: Final = itertools.count(1)
_SYSTEM: Final = Path("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Files:
    """How a version of control groups calls what is needed of it."""

    limit: str
    more: tuple[tuple[str, str], ...]
    """What is set as well, where the kernel has it; ``{}`` is the limit."""
    events: str
    peak: str


_V1: Final = _Files(
    limit="memory.limit_in_bytes",
    # Without accounts of swap, the kernel is asked not to use any.
    more=(("memory.memsw.limit_in_bytes", "{}"), ("memory.swappiness", "0")),
    events="memory.oom_control",
    peak="memory.max_usage_in_bytes",
)
_V2: Final = _Files(
    limit="memory.max",
    more=(("memory.swap.max", "0"), ("memory.oom.group", "1")),
    events="memory.events",
    peak="memory.peak",
)


class MemoryLimit:
    """What one worker may take."""

    def __init__(self, size: int, group: Path | None, files: _Files) -> None:
        self.size = size
        self._group = group
        self._files = files
        self._kills = 0

    @property
    def means(self) -> Literal["cgroup", "rlimit"]:
        """What holds it."""
        return "rlimit" if self._group is None else "cgroup"

    def plan(self) -> dict[str, Any]:
        """What the launcher does about it."""
        return {"data": self.size} if self._group is None else {"cgroup": str(self._group / "cgroup.procs")}

    def has_killed(self) -> bool:
        """Whether the kernel has killed for it since this was asked last."""
        if self._group is None:
            return False
        before, self._kills = self._kills, _count(self._group / self._files.events, "oom_kill")
        return self._kills > before

    def peak(self) -> int | None:
        """The most that was in use at once, in bytes, where somebody counts."""
        with suppress(OSError, ValueError):
            return None if self._group is None else int((self._group / self._files.peak).read_text())
        return None

    def remove(self) -> None:
        """Remove the group, and kill what is left in it; twice does no harm."""
        if self._group is not None:
            _remove(self._group)


def limited(size: int, root: Path = _SYSTEM) -> MemoryLimit:
    """A limit for one worker, in bytes.

    :param root: where ``/proc`` and ``/sys`` are.
    """
    for parent, files in _places(root):
        _sweep(parent)
        group = parent / f"{_PREFIX}{process.identity()}-{next(_NUMBERS)}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            _set(group / files.limit, str(size))
            if not os.access(group / "cgroup.procs", os.W_OK):
                raise PermissionError
        except OSError:
            _remove(group)
            continue
        for name, value in files.more:
            with suppress(OSError):
                _set(group / name, value.format(size))
        return MemoryLimit(size, group, files)
    return MemoryLimit(size, None, _V2)


def system_kills() -> int:
    """How many processes of this machine the kernel has killed for memory so far."""
    return _count(Path("/proc/vmstat"), "oom_kill")


def _places(root: Path) -> list[tuple[Path, _Files]]:
    """Where a group of ours could be made, below the one that we are in where that goes."""
    found: list[tuple[Path | None, _Files]] = []
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            number, names, path = line.split(":", 2)
            if "memory" in names.split(","):
                found += [(own, _V1) for own in _mounted(root, "cgroup", path)]
            elif number == "0":
                found += [(_parent(own), _V2) for own in _mounted(root, "cgroup2", path)]
    return [(parent, files) for parent, files in found if parent is not None]


def _mounted(root: Path, kind: str, path: str) -> list[Path]:
    """Where a group of a hierarchy can be seen."""
    found = []
    for line in (root / "proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        top, point = before.split()[3:5]
        its_kind, _, options = after.split()[:3]
        if its_kind == kind and (kind == "cgroup2" or "memory" in options.split(",")):
            below = os.path.relpath(path, top)
            # What lies outside of what is mounted begins with it, or has it in a namespace of groups.
            if ".." not in [*below.split("/"), *path.split("/")]:
                found.append(root / point.lstrip("/") / below)
    return found


def _parent(own: Path) -> Path | None:
    """Below which group one can be made: below our own, or beside it where processes may only be in leaves.

    Beside it our own group's limit does not count, so that there must be none.
    """
    if _delegates(own):
        return own
    with suppress(OSError):
        if _delegates(own.parent) and (own / "memory.max").read_text().strip() == "max":
            return own.parent if os.access(own.parent / "cgroup.procs", os.W_OK) else None
    return None


def _delegates(group: Path) -> bool:
    with suppress(OSError):
        return "memory" in (group / "cgroup.subtree_control").read_text().split()
    return False


def _set(file: Path, text: str) -> None:
    # A file that is not there is not made: it would be none of a group's.
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _count(file: Path, name: str) -> int:
    with suppress(OSError):
        found = re.search(rf"^{name} (\d+)$", file.read_text(), flags=re.MULTILINE)
        return 0 if found is None else int(found[1])
    return 0


def _sweep(parent: Path) -> None:
    """Remove the groups of hosts that were killed."""
    with suppress(OSError):
        for group in parent.glob(f"{_PREFIX}*"):
            host, _, _ = group.name.removeprefix(_PREFIX).rpartition("-")
            if process.is_gone(host):
                _remove(group)


def _remove(group: Path) -> None:
    until = time.monotonic() + _REMOVE_SECONDS
    while time.monotonic() < until:
        try:
            group.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            _kill_all(group)
            time.sleep(_LOOK_SECONDS)
        else:
            return


def _kill_all(group: Path) -> None:
    with suppress(OSError, ValueError):
        for pid in (group / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(int(pid), signal.SIGKILL)
