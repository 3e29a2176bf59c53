"""The machine that conda packages are solved for: its subdir and its virtual packages (conda's "Managing virtual packages")."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable, Iterator

from packaging.version import Version

from envbuild.conda.package import CondaPackage
from envbuild.conda.running import Machine
from envbuild.errors import LockError
from envbuild.target import Target

_SUBDIRS = {"x86_64": "linux-64", "aarch64": "linux-aarch64", "ppc64le": "linux-ppc64le", "s390x": "linux-s390x"}
_PLATFORM = re.compile(r"manylinux_(\d+)_(\d+)_(\w+)")
_NEEDED = re.compile(r"__glibc\s*>=\s*(\d+(?:\.\d+)*)")
# What is said where the machine is another one: no package of a channel asks for more of a kernel.
_LINUX = "5.10"


def machine_of(target: Target, said: Iterable[tuple[str, str]] = ()) -> Machine:
    """The machine of a target.

    :param said: virtual packages that count in place of what is known of it, or beside that: names and versions.
    :raises LockError: conda has no packages for it, or says nothing of its C library.
    """
    subdir, glibc = subdir_of(target), glibc_of(target)
    release = re.match(r"\d+(\.\d+)*", platform.release()) if platform.system() == "Linux" else None
    virtual = {
        "__glibc": (glibc or "0", "0"),
        "__linux": (_LINUX if release is None else release[0], "0"),
        "__unix": ("0", "0"),
        # The least of its kind: what is locked here runs on others of the kind, too.
        "__archspec": ("1", target.machine),
        **{name: (version, "0") for name, version in said},
    }
    packages = tuple((name, version, build) for name, (version, build) in sorted(virtual.items()))
    return Machine(subdir=subdir, virtual_packages=packages)


def subdir_of(target: Target) -> str:
    """conda's name for a target's platform: ``linux-64``.

    :raises LockError: conda has no packages for it, or says nothing of its C library.
    """
    subdir = None if (found := _PLATFORM.fullmatch(target.platform)) is None else _SUBDIRS.get(found[3])
    if subdir is None:
        raise LockError(
            f"conda packages are locked for Linux with glibc alone, and {target} is wanted",
            hint="--conda-packages map takes the same packages from the index",
        )
    return subdir


def needing_newer_glibc(packages: Iterable[CondaPackage], there: str) -> Iterator[tuple[CondaPackage, str]]:
    """The packages that need a newer C library than one of that release, each with the release that it needs."""
    for package in packages:
        for needed in (match[1] for need in package.depends if (match := _NEEDED.match(need))):
            if Version(needed) > Version(there):
                yield package, needed


def glibc_of(target: Target) -> str | None:
    """The release of the C library that a target has; ``None`` where it has another than glibc."""
    found = _PLATFORM.fullmatch(target.platform)
    return None if found is None else f"{found[1]}.{found[2]}"
