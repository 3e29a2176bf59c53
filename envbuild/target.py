"""What a lock is for: a Python minor version and the newest platform tag that its wheels may have (PEP 425, PEP 600)."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from packaging.markers import Environment, default_environment
from packaging.tags import Tag, compatible_tags, cpython_tags, platform_tags


@dataclass(frozen=True, slots=True)
class Target:
    """``cp38`` on ``manylinux_2_36_x86_64``; two machines of one kind have equal targets."""

    python: str
    platform: str

    def __str__(self) -> str:
        return f"{self.python}-{self.platform}"

    @property
    def version(self) -> tuple[int, int]:
        """``(3, 8)`` of ``cp38``."""
        return int(self.python[2]), int(self.python[3:])

    def tags(self) -> Sequence[Tag]:
        """The tags of wheels that can be installed, best first; for this machine's platform alone."""
        platforms = list(platform_tags())
        own = [self.platform]
        if self.platform in platforms:
            newest = platforms.index(self.platform)
            # What was built on this very machine may stand before the policies' tags.
            own = [tag for tag in platforms[:newest] if tag.startswith("linux_")] + platforms[newest:]
        interpreter = self.python
        return [*cpython_tags(self.version, platforms=own), *compatible_tags(self.version, interpreter, own)]

    def marker_environment(self, python: str) -> Environment:
        """What markers see: this machine with the Python demanded (``3.8.5``; ``3.8`` counts as its last patch)."""
        full = python if python.count(".") >= 2 else f"{python}.99"
        environment = default_environment()
        environment["python_version"] = ".".join(python.split(".")[:2])
        environment["python_full_version"] = environment["implementation_version"] = full
        environment["implementation_name"] = "cpython"
        environment["platform_python_implementation"] = "CPython"
        return environment


def here(python: str) -> Target:
    """The target of this machine for a Python version (``3.8.5`` or ``3.8``)."""
    major, minor = python.split(".")[:2]
    return Target(f"cp{major}{minor}", _platform())


@lru_cache(maxsize=1)
def _platform() -> str:
    tags = list(platform_tags())
    # ``linux_x86_64`` says nothing of the C library, and packaging's releases put it first or last.
    named = [tag for tag in tags if not tag.startswith("linux_")]
    return next(iter(named or tags), platform.machine())


def runs_here(target: Target) -> bool:
    """Whether what was chosen for a target can be installed on this machine."""
    return target.platform in platform_tags()
