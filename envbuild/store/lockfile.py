"""The lock that lies in an environment: what it was built from, in the words of PEP 751."""

from __future__ import annotations

from pathlib import Path

from envbuild.errors import LockError
from envbuild.lock import Lock, read_kept

PYLOCK = "pylock.toml"


def kept_lock(place: Path) -> Lock | None:
    """The lock in an environment; ``None`` where it cannot be read."""
    try:
        return read_kept((place / PYLOCK).read_text(encoding="utf-8"), str(place / PYLOCK))
    except (OSError, UnicodeDecodeError, LockError):
        return None
