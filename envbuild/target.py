"""What a lock is for: a Python minor version and the newest platform tag that its wheels may have (PEP 425, PEP 600)."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from packaging.markers import Environment, default_environment
from packaging.tags import Tag, compatible_tags, cpython_tags, platform_tags

from envbuild.errors import UsageError


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

    @property
    def machine(self) -> str:
        """``x86_64`` of ``manylinux_2_36_x86_64``."""
        return re.sub(r"^(manylinux|musllinux)_\d+_\d+_|^[a-z]+_(\d+_\d+_)?", "", self.platform)

    @property
    def uv_platform(self) -> str | None:
        """What uv calls a platform that is not this machine's; ``None`` where it is, or where uv has no word for it."""
        match = re.fullmatch(r"manylinux_2_(\d+)_(x86_64|aarch64)", self.platform)
        if match is None or self.platform == _platform():
            return None
        known = max((minor for minor in _UV_KNOWS if minor <= int(match[1])), default=None)
        return None if known is None else f"{match[2]}-manylinux_2_{known}"

    def installs(self, platform_tag: str) -> bool:
        """Whether a machine of this target installs what was chosen for one whose newest platform tag that is."""
        return platform_tag == self.platform or platform_tag in _platforms_of(self.platform)

    def tags(self) -> Sequence[Tag]:
        """The tags of wheels that can be installed, best first."""
        platforms = list(platform_tags())
        own = list(_platforms_of(self.platform))
        if self.platform in platforms:
            newest = platforms.index(self.platform)
            # What was built on this very machine may stand before the policies' tags.
            own = [tag for tag in platforms[:newest] if tag.startswith("linux_")] + platforms[newest:]
        interpreter = self.python
        return [*cpython_tags(self.version, platforms=own), *compatible_tags(self.version, interpreter, own)]

    def marker_environment(self, python: str) -> Environment:
        """What markers see: the target's machine with the Python demanded (``3.8.5``; ``3.8`` counts as its last patch)."""
        full = python if python.count(".") >= 2 else f"{python}.99"
        environment = default_environment()
        environment["python_version"] = ".".join(python.split(".")[:2])
        environment["python_full_version"] = environment["implementation_version"] = full
        environment["platform_machine"] = self.machine
        environment["implementation_name"] = "cpython"
        environment["platform_python_implementation"] = "CPython"
        return environment


# The glibc releases (2.x) that uv has a platform for.
_UV_KNOWS = (17, 28, *range(31, 41))
# The older names of some policies (PEP 600).
_ALIASES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


# As Docker names a machine's kind, and as conda does.
_MACHINES = {
    "linux/amd64": "x86_64",
    "linux/arm64": "aarch64",
    "linux-64": "x86_64",
    "linux-aarch64": "aarch64",
}
# What is said where nothing is known of the machine but its kind: of the Linux releases that are still maintained, all
# have that glibc.
_USUAL_GLIBC = 28


def platform_tag(named: str) -> str:
    """The newest platform tag of a machine that is named by its kind (``linux/arm64``, ``linux-aarch64``) or by that tag.

    :raises UsageError: nothing can be locked for it from here: its wheels' tags must be those of glibc 2.17 or later.
    """
    if (machine := _MACHINES.get(named)) is not None:
        return f"manylinux_2_{_USUAL_GLIBC}_{machine}"
    match = re.fullmatch(r"manylinux_2_(\d{1,3})_(x86_64|aarch64)", named)
    if match is not None and int(match[1]) >= min(_UV_KNOWS):
        return named
    raise UsageError(
        f"--platform is {named!r}",
        hint="write linux/amd64, linux/arm64, or the newest platform tag that the machine installs, of glibc 2.17 or later: "
        "manylinux_2_28_aarch64",
    )


def _platforms_of(newest: str) -> Iterator[str]:
    """The platform tags that a machine installs whose newest one this is, best first."""
    match = re.fullmatch(r"manylinux_2_(\d+)_(\w+)", newest)
    if match is None:
        yield newest
        return
    machine = match[2]
    oldest = 5 if machine in ("x86_64", "i686") else 17
    for minor in range(int(match[1]), oldest - 1, -1):
        yield f"manylinux_2_{minor}_{machine}"
        if minor in _ALIASES:
            yield f"{_ALIASES[minor]}_{machine}"
    yield f"linux_{machine}"


def here(python: str) -> Target:
    """The target of this machine for a Python version (``3.8.5`` or ``3.8``)."""
    return of(python, None)


def of(python: str, platform_tag: str | None) -> Target:
    """The target of a Python version and a platform; ``None``: this machine's."""
    major, minor = python.split(".")[:2]
    return Target(f"cp{major}{minor}", platform_tag or _platform())


@lru_cache(maxsize=1)
def _platform() -> str:
    tags = list(platform_tags())
    # ``linux_x86_64`` says nothing of the C library, and packaging's releases put it first or last.
    named = [tag for tag in tags if not tag.startswith("linux_")]
    return next(iter(named or tags), platform.machine())


def runs_here(target: Target) -> bool:
    """Whether what was chosen for a target can be installed on this machine."""
    return target.platform in platform_tags()
