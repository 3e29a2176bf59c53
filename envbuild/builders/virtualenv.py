"""Virtualenvs, made and filled by uv.

Everything is installed by name and hash, never from the lock's URLs: that works with any mirror and, from a warm
cache, without asking anybody. What must be built is built with exactly its locked build requirements.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.version import Version

from envbuild import faults, process, system_packages, uv
from envbuild.builders import Order
from envbuild.builders.bytecode import ByteCode, Contents, source_time
from envbuild.errors import (
    BuildError,
    BuildTimedOut,
    DownloadFailed,
    HashMismatch,
    SdistFailed,
)
from envbuild.files import copy_part
from envbuild.lock import BuildLock, LockedPackage, requirement_line, staged
from envbuild.progress import Report, Step
from envbuild.repairs.rules import Switch
from envbuild.spec import digest_of
from envbuild.store.manifest import Manifest, written


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Requirement lines that one run of uv installs, and what their builds are constrained to."""

    packages: tuple[LockedPackage, ...]
    local: Mapping[str, str]
    """Where the copies lie of those that lie inside the model."""
    hashed: bool
    build: BuildLock | None = None

    @property
    def lines(self) -> tuple[str, ...]:
        """The requirement lines."""
        return tuple(requirement_line(package, self.local[package.name]) for package in self.packages)


class VirtualenvBuilder:
    """Builds virtualenvs."""

    def build(self, order: Order, report: Report) -> Manifest:
        """See :class:`envbuild.builders.Builder`."""
        _refuse_builds(order)
        _create(order, report)
        faults.point("virtualenv made")
        with (
            tempfile.TemporaryDirectory(prefix="envbuild-build-") as name,
            ByteCode(order) as bytecode,
        ):
            scratch = Path(name)
            local = {package.name: _local_copy(package, order, scratch) for package in order.lock.packages}
            for batch in _batches(order.lock.packages, order.lock.build, local):
                try:
                    _install(batch, order, scratch, report)
                except SdistFailed as error:
                    if not (_lacks_module(error) and Switch.of(order.settings).allows("build-needs")):
                        raise
                    _install_apart(batch, order, scratch, report)
                faults.point("installed")
            contents = bytecode.completed(report)
        _check(order, contents.versions)
        return _manifest(order, contents)


def _refuse_builds(order: Order) -> None:
    built = [package.name for package in order.lock.packages if package.is_built]
    if built and order.settings.no_build:
        raise BuildError(
            f"the lock holds packages that must be built here: {', '.join(built)}",
            hint="allow it by leaving --no-build out, or lock with --no-build",
        )


def _create(order: Order, report: Report) -> None:
    report(Step("installing", f"a virtualenv of Python {order.interpreter.version}"))
    arguments = ["venv", str(order.place), "--python", order.interpreter.executable, "--no-project"]
    _run(arguments, order, order.place.parent, report)


def _local_copy(package: LockedPackage, order: Order, scratch: Path) -> str:
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


def _batches(packages: Sequence[LockedPackage], builds: Sequence[BuildLock], local: dict[str, str]) -> Iterable[_Batch]:
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


def _batch(
    packages: Iterable[LockedPackage], local: dict[str, str], *, hashed: bool, build: BuildLock | None
) -> _Batch:
    return _Batch(packages=tuple(packages), local=local, hashed=hashed, build=build)


def _lacks_module(error: SdistFailed) -> bool:
    return any(re.search(r"No module named|is not installed", line) for line in error.details)


def _install_apart(batch: _Batch, order: Order, scratch: Path, report: Report) -> None:
    """A batch with an sdist that imports what it does not say: it is built among the packages of the environment.

    Those who installed it when it was young had them there. What its build lock holds comes first all the same.
    """
    _install(replace(batch, packages=tuple(p for p in batch.packages if not p.is_built)), order, scratch, report)
    left = [package for package in batch.packages if package.is_built]
    overlay = _overlay(batch, order, scratch, report)
    while left:
        failed: list[LockedPackage] = []
        for package in left:
            try:
                _install(replace(batch, packages=(package,)), order, scratch, report, overlay)
            except SdistFailed:
                # It may import another that is still to come.
                failed.append(package)
                if len(failed) == len(left):
                    raise
        left = failed


def _overlay(batch: _Batch, order: Order, scratch: Path, report: Report) -> Path:
    """A directory with what a batch's build lock holds, for builds that are not isolated."""
    place = scratch / "overlay"
    if batch.build is not None:
        lines = [requirement_line(package, "") for package in batch.build.packages]
        (scratch / "overlay.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        arguments = ["pip", "install", "--python", str(order.place / "bin" / "python"), "--no-deps"]
        arguments += ["--target", str(place), "--requirements", str(scratch / "overlay.txt"), "--require-hashes"]
        _run(arguments, order, scratch, report)
    return place


def _install(batch: _Batch, order: Order, scratch: Path, report: Report, overlay: Path | None = None) -> None:
    """Install a batch.

    :param overlay: builds are not isolated then, but see the environment and this directory before it.
    """
    if not batch.lines:
        return
    report(Step("installing", f"{len(batch.lines)} packages", count=len(batch.lines)))
    requirements = scratch / "requirements.txt"
    requirements.write_text("\n".join(batch.lines) + "\n", encoding="utf-8")
    arguments = ["pip", "install", "--python", str(order.place / "bin" / "python"), "--no-deps", "--no-editable"]
    arguments += ["--requirements", str(requirements), "--link-mode", order.link_mode]
    if batch.hashed:
        arguments.append("--require-hashes")
    config: dict[str, object] = {}
    if batch.build is not None:
        constraints = scratch / "build.txt"
        lines = [requirement_line(package, "") for package in batch.build.packages]
        constraints.write_text("\n".join(lines) + "\n", encoding="utf-8")
        arguments += ["--build-constraints", str(constraints), "--require-build-hashes"]
        arguments += ["--preview-features", "build-dependency-hashes"]
        everything = [f"{package.name}=={package.version}" for package in batch.build.packages]
        config = {"extra-build-dependencies": dict.fromkeys(batch.build.undeclared, everything)}
    elif not batch.hashed and order.lock.origin.as_of not in ("", "now"):
        # A commit's build requirements are not locked; they come from the model's time all the same.
        arguments += ["--exclude-newer", order.lock.origin.as_of]
    environ: dict[str, str] = {}
    if overlay is not None:
        arguments.append("--no-build-isolation")
        environ["PYTHONPATH"] = str(overlay)
    _run(arguments, order, scratch, report, config, environ)


def _run(
    arguments: Sequence[str],
    order: Order,
    cwd: Path,
    report: Report,
    config: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
) -> None:
    call = uv.Call(
        arguments=arguments,
        settings=order.settings,
        indexes=order.indexes,
        cwd=cwd,
        timeout=order.settings.build_timeout,
        config=config or {},
        environ=environ or {},
        needed=order.lock.size,
    )
    try:
        # Resolving by name and hash is a formality here, and no step that anybody waits for.
        done = uv.run(call, lambda step: None if step.phase == "resolving" else report(step))
    except process.TimedOutWaiting:
        raise BuildTimedOut(
            f"the build took longer than {order.settings.build_timeout:g} seconds",
            hint="ENVBUILD_BUILD_TIMEOUT sets another limit",
        ) from None
    if done.returncode != 0:
        raise explain(done.stderr)


_SDIST_WORDS = r"Failed to (download and )?build|Build backend failed|setup\.py build"
_FAILURES: tuple[tuple[str, type[BuildError], str, str], ...] = (
    (
        "Hash mismatch",
        HashMismatch,
        "a file is not the one that was locked",
        "the index serves another file than it did; do not install it",
    ),
    (_SDIST_WORDS, SdistFailed, "", ""),
    (
        "network was disabled|network connectivity is disabled",
        DownloadFailed,
        "a locked file is not in the cache, and the network is not to be used",
        "run once with the network, or without --offline",
    ),
    (
        "Failed to fetch|Failed to download|error sending request|HTTP status",
        DownloadFailed,
        "a locked file cannot be fetched",
        "is there a network, and are the index's URL and credentials right (--index-url, netrc)?",
    ),
    (
        "unsatisfiable|not found in the package registry",
        DownloadFailed,
        "a locked package is not to be had",
        "is it still on the index that you use? envbuild lock --update resolves again",
    ),
    ("", BuildError, "uv failed", "envbuild build -v says more"),
)


def explain(words: str) -> BuildError:
    """uv's failure to install, by what failed."""
    lines = words.rstrip().splitlines()
    said = " ".join(re.sub(r"^\s*(error:|cause:)\s*", "", line) for line in lines if line.strip())[:400]
    _, kind, message, hint = next(failure for failure in _FAILURES if re.search(failure[0], words))
    if kind is SdistFailed:
        return _sdist_failed(words, lines)
    return kind(f"{message}: {said}", hint=hint, details=lines[-12:])


def _sdist_failed(words: str, lines: list[str]) -> SdistFailed:
    name = re.search(r"Failed to (?:download and )?build `([^`]+)`", words)
    return SdistFailed(
        f"the sdist of {name.group(1) if name else 'a package'} could not be built into a wheel",
        hint=system_packages.hint(words),
        details=lines[-25:],
    )


def _check(order: Order, installed: Mapping[str, str]) -> None:
    """Be sure that what is installed is exactly the lock.

    :raises BuildError: something else is there, or something is missing.
    """
    locked = {package.name: package.version for package in order.lock.packages}
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
