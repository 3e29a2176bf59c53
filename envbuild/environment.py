"""An environment: something that runs Python with exactly a lock in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from envbuild.interpreters import Interpreter


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A complete environment; ``path`` is its root, and nothing is written there after it was completed."""

    path: Path
    lock_hash: str
    interpreter: Interpreter
    """The Python that it was really built from."""
    manifest: str
    """sha256 of its manifest: every file with size, sha256 and mode."""
    linked: bool = False
    """Whether its files are shared with other environments by hard links: who writes into one writes into all."""

    @property
    def python(self) -> Path:
        """The program that runs Python in it."""
        return self.path / "bin" / "python"
