"""Waiting for what another process does."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DEADLINE = 60.0


def eventually(holds: Callable[[], Any], what: str) -> Any:
    """Wait until something holds, and give it back."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if value := holds():
            return value
        time.sleep(0.01)
    pytest.fail(f"not within {DEADLINE} seconds: {what}")


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that only waits to be reaped has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def running_with(word: str) -> set[int]:
    """The processes, other than this one, whose arguments or environment name something."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            except OSError:
                continue
            if word.encode() in text:
                found.add(int(entry.name))
    return found
