"""Lock to environment. Each kind of environment is one module behind :class:`Builder`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from envbuild.indexes import Indexes
from envbuild.interpreters import Interpreter
from envbuild.lock import Lock
from envbuild.progress import Report
from envbuild.settings import Engine, LinkMode, Settings
from envbuild.store.manifest import Manifest


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
    bytecode: Path
    """Where byte code is kept from one environment to the next."""
    channels: tuple[str, ...] = field(default=(), repr=False)
    """conda's channels that credentials are known of, by URL."""
    parts: frozenset[str] = frozenset()
    """What of the lock's local packages lies outside the model, by the deployer's own word: absolute paths."""
    python_build: str = ""
    """Which build of its version the interpreter is, where two must not share byte code."""
    link_mode: LinkMode = "copy"
    """How files are shared with the cache and other environments; never ``auto``."""


class Builder(Protocol):
    """Makes environments."""

    def build(self, order: Order, report: Report) -> Manifest:
        """Build, and give the manifest; marking it as complete is the store's business.

        :raises BuildError: it cannot be built; what is at the place is then worth nothing.
        """
        ...


def builder_for(engine: Engine, lock: Lock) -> Builder:
    """The builder of an engine; with ``auto`` it is that of the engine that made the lock."""
    if lock.conda is not None:
        from envbuild.builders.conda import CondaBuilder

        return CondaBuilder()
    if engine == "pip" or (engine == "auto" and lock.origin.engine == "pip"):
        from envbuild.builders.pip import PipBuilder

        return PipBuilder()
    from envbuild.builders.uv import UvBuilder

    return UvBuilder()
