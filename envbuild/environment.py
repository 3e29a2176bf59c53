"""An environment: something that runs Python with exactly a lock in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from envbuild.interpreters import Interpreter


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A complete environment; ``path`` is its root, and nothing but byte code is written there after it was completed."""

    path: Path
    lock_hash: str
    interpreter: Interpreter
    """The Python that it was really built from."""
    manifest: str
    """sha256 over what is installed: each distribution with the digest of its RECORD."""

    @property
    def python(self) -> Path:
        """The program that runs Python in it."""
        return self.path / "bin" / "python"
