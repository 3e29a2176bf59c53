"""Spec to lock. Each engine is one module behind :class:`Resolver`."""

from __future__ import annotations

from typing import Protocol

from envbuild.lock import Lock
from envbuild.progress import Report
from envbuild.question import Question
from envbuild.settings import Engine


class Resolver(Protocol):
    """An engine that answers questions."""

    def resolve(self, question: Question, report: Report) -> Lock:
        """The lock.

        :raises LockError: there is none, or it took too long.
        """
        ...


def resolver_for(engine: Engine) -> Resolver:
    """The engine of that name."""
    if engine == "pip":
        from envbuild.resolvers.pip import PipResolver

        return PipResolver()
    if engine == "auto":
        from envbuild.resolvers.auto import AutoResolver

        return AutoResolver()
    from envbuild.resolvers.uv import UvResolver

    return UvResolver()
