"""Lock to environment. Each kind of environment is one module behind :class:`Builder`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from envbuild.indexes import Indexes
from envbuild.interpreters import Interpreter
from envbuild.lock import Lock
from envbuild.progress import Report
from envbuild.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be built, from what, and where."""

    lock: Lock
    interpreter: Interpreter
    place: Path
    """The environment's final path; empty when the builder begins."""
    model: Path
    """Where the lock's local packages lie."""
    indexes: Indexes
    settings: Settings


class Builder(Protocol):
    """Makes environments."""

    def build(self, order: Order, report: Report) -> str:
        """Build, and give the manifest's digest; marking it as complete is the store's business.

        :raises BuildError: it cannot be built; what is at the place is then worth nothing.
        """
        ...
