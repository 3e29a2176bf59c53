"""Waiting for what another process does."""

from __future__ import annotations

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
