"""Virtualenvs: what of their making is the same whichever program fills them.

Everything is installed by name and hash, never from the lock's URLs: that works with any mirror and, from a warm
cache, without asking anybody. What must be built is built with exactly its locked build requirements.
"""

from __future__ import annotations

import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from packaging.version import Version

from envbuild import faults
from envbuild.builders import Order
from envbuild.builders.bytecode import ByteCode, Contents, source_time
from envbuild.errors import BuildError, BuildTimedOut, HashMismatch, SdistFailed
from envbuild.files import copy_part
from envbuild.lock import BuildLock, LockedPackage, staged
from envbuild.progress import Report
from envbuild.repairs.rules import Switch
from envbuild.settings import Settings
from envbuild.spec import digest_of
from envbuild.store.manifest import Manifest, written


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What is installed at once, and what its builds are constrained to."""

    packages: tuple[LockedPackage, ...]
    local: Mapping[str, str]
    """Where the copies lie of those that lie inside the model."""
    hashed: bool
    build: BuildLock | None = None


class Installer(Protocol):
    """A program that makes one virtualenv and fills it."""

    def create(self) -> Mapping[str, str]:
        """Make what the packages are installed into; gives the distributions that are in it already, by name.

        :raises BuildError: it cannot be made.
        """
        ...

    def install(self, batch: Batch, overlay: Path | None = None) -> None:
        """Install a batch.

        :param overlay: builds are not isolated then, but see the environment and this directory before it.
        :raises SdistFailed: something could not be built.
        :raises BuildError: it cannot be installed.
        """
        ...

    def unpack(self, build: BuildLock, place: Path) -> None:
        """Install what a build lock holds into a directory, for builds that are not isolated.

        :raises BuildError: it cannot be installed.
        """
        ...


class VirtualenvBuilder(ABC):
    """Builds virtualenvs with one installer or another."""

    @abstractmethod
    def installer(self, order: Order, scratch: Path, report: Report) -> Installer:
        """What makes and fills this environment.

        :param scratch: a directory for files that nobody needs afterwards.
        """

    def build(self, order: Order, report: Report) -> Manifest:
        """See :class:`envbuild.builders.Builder`."""
        _refuse_builds(order)
        with tempfile.TemporaryDirectory(prefix="envbuild-build-") as name:
            scratch = Path(name)
            installer = self.installer(order, scratch, report)
            local = {package.name: local_copy(package, order, scratch) for package in order.lock.packages}
            there = installer.create()
            faults.point("virtualenv made")
            with ByteCode(order) as bytecode:
                for batch in _batches(order.lock.packages, order.lock.build, local):
                    _install(installer, batch, order, scratch)
                    faults.point("installed")
                contents = bytecode.completed(report)
        _check(order, contents.versions, there)
        return _manifest(order, contents)


def _refuse_builds(order: Order) -> None:
    built = [package.name for package in order.lock.packages if package.is_built]
    if built and order.settings.no_build:
        raise BuildError(
            f"the lock holds packages that must be built here: {', '.join(built)}",
            hint="allow it by leaving --no-build out, or lock with --no-build",
        )


def local_copy(package: LockedPackage, order: Order, scratch: Path) -> str:
    """A copy of a package that lies inside the model, checked against the lock; empty for all others."""
    if package.path is None:
        return ""
    source, target = order.model / package.path, scratch / "model" / staged(package.path)
    if package.path not in order.parts and not source.resolve().is_relative_to(order.model.resolve()):
        raise BuildError(f"the lock names {package.path}, which lies outside the model", hint="lock the model again")
    if not source.exists():
        hint = "copy the model whole, or lock again what was moved"
        raise BuildError(f"the model has no {package.path}, which its lock names", hint=hint)
    copy_part(source, target)
    # The copy is what is checked and used: the original may change in between.
    if package.sha256 and (found := digest_of(target)) != package.sha256:
        raise HashMismatch(
            f"{package.path} in the model has the digest {found}; {package.sha256} is locked",
            hint="it was changed after the lock was made; envbuild lock --update locks it as it is",
        )
    return str(target)


def _batches(packages: Sequence[LockedPackage], builds: Sequence[BuildLock], local: dict[str, str]) -> Iterable[Batch]:
    """Wheels and what shares build requirements go together; hashes cannot be asked of commits and directories."""
    hashed = [package for package in packages if package.kind not in ("vcs", "directory")]
    apart = {name for build in builds[1:] for name in build.builds}
    first = [package for package in hashed if package.name not in apart]
    yield _batch(first, local, hashed=True, build=builds[0] if builds else None)
    for build in builds[1:]:
        yield _batch([package for package in hashed if package.name in build.builds], local, hashed=True, build=build)
    for package in packages:
        if package.kind in ("vcs", "directory"):
            own = next((build for build in builds if package.name in build.builds), None)
            yield _batch([package], local, hashed=False, build=own)


def _batch(packages: Iterable[LockedPackage], local: dict[str, str], *, hashed: bool, build: BuildLock | None) -> Batch:
    return Batch(packages=tuple(packages), local=local, hashed=hashed, build=build)


def lacks_module(error: SdistFailed) -> bool:
    """Whether a build failed for want of something that it imports."""
    return any(re.search(r"No module named|is not installed", line) for line in error.details)


def _install(installer: Installer, batch: Batch, order: Order, scratch: Path) -> None:
    if not batch.packages:
        return
    try:
        installer.install(batch)
    except SdistFailed as error:
        if not (lacks_module(error) and Switch.of(order.settings).allows("build-needs")):
            raise
        _install_apart(installer, batch, scratch)


def _install_apart(installer: Installer, batch: Batch, scratch: Path) -> None:
    """A batch with an sdist that imports what it does not say: it is built among the packages of the environment.

    Those who installed it when it was young had them there. What its build lock holds comes first all the same.
    """
    if ready := tuple(package for package in batch.packages if not package.is_built):
        installer.install(replace(batch, packages=ready))
    left = [package for package in batch.packages if package.is_built]
    overlay = scratch / "overlay"
    if batch.build is not None:
        installer.unpack(batch.build, overlay)
    while left:
        failed: list[LockedPackage] = []
        for package in left:
            try:
                installer.install(replace(batch, packages=(package,)), overlay)
            except SdistFailed:
                # It may import another that is still to come.
                failed.append(package)
                if len(failed) == len(left):
                    raise
        left = failed


def timed_out(settings: Settings) -> BuildTimedOut:
    """The build took longer than it may."""
    return BuildTimedOut(
        f"the build took longer than {settings.build_timeout:g} seconds",
        hint="ENVBUILD_BUILD_TIMEOUT sets another limit",
    )


def _check(order: Order, installed: Mapping[str, str], there: Mapping[str, str]) -> None:
    """Be sure that what is installed is exactly the lock.

    :param there: what was there before anything of the lock's packages was installed.
    :raises BuildError: something else is there, or something is missing.
    """
    locked = {**there, **{package.name: package.version for package in order.lock.packages}}
    wrong = sorted(installed.keys() ^ locked.keys())
    wrong += [
        name
        for name, version in locked.items()
        if version is not None and name in installed and Version(installed[name]) != Version(version)
    ]
    if wrong:
        raise BuildError(f"what was installed is not the lock: {', '.join(wrong)}", hint="please report this")


def _manifest(order: Order, contents: Contents) -> Manifest:
    """What is there now, all of it read-only.

    :raises BuildError: something is missing.
    """
    known = contents.files
    made = written(order.place, known.get, contents.differing, mtime=source_time(order.interpreter.version))
    missing = sorted(known.keys() - made.files.keys())
    if missing:
        raise BuildError(f"{len(missing)} files were not installed, {missing[0]} among them", hint="please report this")
    return made
