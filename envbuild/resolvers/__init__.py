"""Spec to lock. Each engine is one module behind :class:`Resolver`."""

from __future__ import annotations

from typing import Protocol

from envbuild.conda.part import CondaPart
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


def resolver_for(engine: Engine, conda: CondaPart | None = None) -> Resolver:
    """The engine of that name.

    :param conda: what is to come from channels: what stands on top of that is one engine's alone.
    """
    if conda is not None:
        from envbuild.resolvers.conda import CondaResolver

        return CondaResolver(conda)
    if engine == "pip":
        from envbuild.resolvers.pip import PipResolver

        return PipResolver()
    if engine == "auto":
        from envbuild.resolvers.auto import AutoResolver

        return AutoResolver()
    from envbuild.resolvers.uv import UvResolver

    return UvResolver()
