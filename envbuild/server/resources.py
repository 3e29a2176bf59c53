"""Resources: what a process and all below it take of the machine, as Linux counts it (proc(5))."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")


def memory_below(pid: int) -> int:
    """The memory of a process and of all that it started, in bytes; what several share is counted once.

    Where the kernel does not tell that (``smaps_rollup``), it is what is in use by each.
    """
    return sum(map(_memory, _below(pid)))


def _below(pid: int) -> Iterator[int]:
    yield pid
    with suppress(OSError):  # it may have ended
        for task in (_PROC / str(pid) / "task").iterdir():
            with suppress(OSError):
                for child in (task / "children").read_text().split():
                    yield from _below(int(child))


def _memory(pid: int) -> int:
    with suppress(OSError):
        found = re.search(r"^Pss:\s+(\d+) kB", (_PROC / str(pid) / "smaps_rollup").read_text(), re.MULTILINE)
        if found is not None:
            return int(found[1]) * 1024
    with suppress(OSError, IndexError):
        return int((_PROC / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
