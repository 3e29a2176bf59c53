"""Failures, remembered for a short while, so that a fleet does not try the same thing a thousand times at once."""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envbuild.errors import EnvbuildError, error_from
from envbuild.store.writing import write_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """A failure, and when it happened (seconds since the epoch)."""

    error: EnvbuildError
    at: float

    def to_raise(self) -> EnvbuildError:
        """The failure as it is told to those who did not see it happen."""
        ago = max(0.0, time.time() - self.at)
        hint = f"this failed {ago:.0f} s ago and was not tried again; --retry tries again at once"
        known = self.error
        return type(known)(
            known.message,
            hint=hint if known.hint is None else f"{known.hint}. {hint}",
            place=known.place,
            details=known.details,
        )


class Failures:
    """The failures that a store remembers, each by the name of what was tried.

    :param seconds: for how long.
    """

    def __init__(self, folder: Path, seconds: float) -> None:
        self._folder = folder
        self._seconds = seconds

    def recall(self, name: str) -> Remembered | None:
        """The failure of that name, if it is fresh; one that cannot be read never happened."""
        try:
            kept: dict[str, Any] = json.loads(self._path(name).read_bytes())
            found = Remembered(error=error_from(kept["error"]), at=float(kept["at"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        # A clock that was set back must not make it last.
        return found if 0 <= time.time() - found.at < self._seconds else None

    def remember(self, name: str, error: EnvbuildError) -> None:
        """Remember a failure; one that cannot be written is forgotten."""
        content = json.dumps({"at": time.time(), "error": error.to_dict()})
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._path(name), content.encode())

    def forget(self, name: str) -> None:
        """It went well."""
        with contextlib.suppress(OSError):
            self._path(name).unlink()

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"
