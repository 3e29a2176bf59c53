"""Spec to lock. Each engine is one module behind :class:`Resolver`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from envbuild.asof import AsOf
from envbuild.indexes import Indexes
from envbuild.interpreters import Interpreter
from envbuild.lock import Lock
from envbuild.progress import Report
from envbuild.settings import Engine, Settings
from envbuild.spec import EnvironmentSpec
from envbuild.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Everything that a lock depends on."""

    spec: EnvironmentSpec
    target: Target
    interpreter: Interpreter
    """Runs what sdists must run to say what they need; its patch release does not show in the lock."""
    as_of: AsOf
    indexes: Indexes
    settings: Settings


class Resolver(Protocol):
    """An engine that answers questions."""

    def resolve(self, question: Question, report: Report) -> Lock:
        """The lock.

        :raises LockError: there is none, or it took too long.
        """
        ...


def resolver_for(engine: Engine) -> Resolver:
    """The engine of that name."""
    from envbuild.resolvers.uv import UvResolver

    engines: dict[Engine, type[Resolver]] = {"uv": UvResolver}
    return engines[engine]()
