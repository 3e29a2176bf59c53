"""Bundling: a model, its locks for one or more targets and all the files that they name, put into one bundle."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from envbuild import interpreters, lock_files, pipeline, target
from envbuild.builders import Order
from envbuild.builders.locked_files import LockedFiles, file_name
from envbuild.builders.wheels import wheel_of
from envbuild.bundles import python, writing
from envbuild.bundles.manifest import BuiltWheel, BundledLock, BundledPython, Entry, Manifest, manifest_of, ordered
from envbuild.conda.channels import mirrored
from envbuild.conda.package import file_name as conda_file_name
from envbuild.downloads import Downloads
from envbuild.errors import BundleIncomplete, UsageError
from envbuild.files import check_target, sha256_of
from envbuild.indexes import Indexes
from envbuild.lock import LockedPackage
from envbuild.pipeline import Asked, Locked
from envbuild.progress import Report, Step, silent
from envbuild.settings import Settings
from envbuild.store import Store

# Byte code that a run of the model leaves there.
_LEFT_OUT = ("__pycache__",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What goes into a bundle."""

    platforms: tuple[str, ...] = ()
    """The newest platform tags of the machines that it is for; none: this machine."""
    with_model: bool = True
    with_python: bool = False
    sign_key: Path | None = None
    """The private key that signs it (PEM)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A bundle that was written."""

    path: Path
    sha256: str
    manifest: Manifest
    locked: tuple[Locked, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a bundle holds."""

    manifest: Manifest
    sources: Mapping[str, Path | bytes]
    """Where the content of each file is had, by its path."""
    locked: tuple[Locked, ...]


@dataclass(slots=True)
class _Gathered:
    """What was found for a bundle so far."""

    sources: dict[str, Path | bytes] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)

    def put(self, path: str, source: Path | bytes) -> Entry:
        """Put a file into the bundle; the same one may come twice.

        :raises BundleIncomplete: another one of that name is in it.
        """
        if isinstance(source, bytes):
            size, sha256 = len(source), hashlib.sha256(source).hexdigest()
        else:
            size, sha256 = source.stat().st_size, sha256_of(source)
        entry = Entry(path=path, size=size, sha256=sha256)
        if self.entries.setdefault(path, entry) != entry:
            raise BundleIncomplete(
                f"two targets have different files called {path}", hint="export a bundle for each of them"
            )
        self.sources[path] = source
        return entry


def export(asked: Asked, path: Path, options: Options, settings: Settings, report: Report = silent) -> Exported:
    """Put a model, its locks and their files into a bundle: the same input gives the same bytes.

    :raises UsageError: it cannot be written or signed.
    :raises LockError: the model cannot be locked for a target.
    :raises BuildError: a file cannot be had, or a wheel cannot be built.
    :raises BundleIncomplete: what would have to be in it cannot be put into one.
    """
    if asked.bundle is not None:
        raise UsageError("a bundle is made of a model, not of another bundle", hint="copy the bundle as it is")
    check_target(path)
    with gathered(asked, options, settings, report) as found:
        report(Step("packing", path.name, count=len(found.manifest.files)))
        writing.write(path, found.manifest, found.sources, options.sign_key)
    report(Step("packing", path.name, bytes=path.stat().st_size, done=True))
    return Exported(path=path, sha256=sha256_of(path), manifest=found.manifest, locked=found.locked)


@contextlib.contextmanager
def gathered(asked: Asked, options: Options, settings: Settings, report: Report = silent) -> Iterator[Contents]:
    """What a bundle of a model holds; the files are there until this is left.

    :raises LockError: the model cannot be locked for a target.
    :raises BuildError: a file cannot be had, or a wheel cannot be built.
    :raises BundleIncomplete: what would have to be in it cannot be put into one.
    """
    gathered, locks, lockeds = _Gathered(), list[BundledLock](), list[Locked]()
    for platform in dict.fromkeys(options.platforms or (None,)):
        locked = pipeline.lock(asked, settings, report, platform)
        lockeds.append(locked)
        if locked.lock.hash not in {one.hash for one in locks}:
            locks.append(_with_lock(locked, gathered, settings, report))
    if options.with_model:
        for inside, file in _model_files(asked.model.path):
            gathered.put(f"model/{inside}", file)
    with tempfile.TemporaryDirectory(prefix="envbuild-bundle-") as scratch:
        brought = None
        if options.with_python:
            brought = _with_python(lockeds, gathered, settings, Path(scratch), report)
        manifest = Manifest(
            files=ordered(gathered.entries.values()),
            locks=tuple(sorted(locks, key=lambda one: one.path)),
            model=asked.model.name if options.with_model else None,
            python=brought,
        )
        _check(manifest)
        yield Contents(manifest=manifest, sources=gathered.sources, locked=tuple(lockeds))


def _check(manifest: Manifest) -> None:
    """Write no bundle that nobody would read."""
    try:
        manifest_of(manifest.to_bytes())
    except ValueError as error:
        raise BundleIncomplete(f"no bundle can hold this: {error}", hint="rename what has that name") from error


def _with_lock(locked: Locked, gathered: _Gathered, settings: Settings, report: Report) -> BundledLock:
    """Put a lock and all files that it names into a bundle."""
    lock = locked.lock
    form = lock_files.form_of(lock)
    name = f"pylock.{lock.target}.toml" if form == "pylock" else f"{lock.target}-lock.yml"
    path = f"locks/{name}"
    gathered.put(path, lock_files.text_of(lock, form).encode())
    ready = [package for package in lock.packages if not package.is_built]
    built = [package for package in lock.packages if package.is_built]
    if built and lock.target != target.here(lock.python):
        raise BundleIncomplete(
            f"there are no wheels for {lock.target} of {', '.join(package.name for package in built)}, and this machine"
            f" builds for {target.here(lock.python)} alone",
            hint="export there, or choose versions that have wheels (--no-build, --set NAME==VERSION)",
        )
    made = _with_built(locked, built, gathered, settings, report)
    _with_wheels(locked, ready, gathered, settings, report)
    _with_conda(locked, gathered, settings, report)
    return BundledLock(path=path, target=lock.target, hash=lock.hash, built=made)


def _with_wheels(
    locked: Locked, packages: Sequence[LockedPackage], gathered: _Gathered, settings: Settings, report: Report
) -> None:
    inside = [package for package in packages if package.path is not None]
    for package in inside:
        file = locked.asked.model.path / str(package.path)
        gathered.put(f"wheels/{file.name}", file)
    fetched = [package for package in packages if package.path is None]
    files = LockedFiles(
        pipeline.indexes_of(locked, settings), settings, report, time.monotonic() + settings.build_timeout
    ).fetch(fetched)
    for package in fetched:
        gathered.put(f"wheels/{file_name(package)}", files[package.sha256])


def _with_built(
    locked: Locked, packages: Sequence[LockedPackage], gathered: _Gathered, settings: Settings, report: Report
) -> tuple[BuiltWheel, ...]:
    """Put wheels of what must be built into a bundle: built here, with what the lock has them built with."""
    if not packages:
        return ()
    built = pipeline.build(locked, settings, report)
    with built.lease:
        order = Order(
            lock=locked.lock,
            interpreter=built.environment.interpreter,
            place=built.environment.path,
            model=locked.asked.model.path,
            parts=locked.asked.spec.parts,
            indexes=pipeline.indexes_of(locked, settings),
            settings=settings,
            bytecode=Store(settings).bytecode,
        )
        made = []
        for package in packages:
            wheel = wheel_of(package, order, report)
            gathered.put(f"wheels/{wheel.name}", wheel.path)
            version = package.version or wheel.name.split("-")[1]
            made.append(BuiltWheel(name=package.name, version=version, source=package.sha256, sha256=wheel.sha256))
        return tuple(made)


def _with_conda(locked: Locked, gathered: _Gathered, settings: Settings, report: Report) -> None:
    """Put the conda packages of a lock into a bundle."""
    half = locked.lock.conda
    if half is None:
        return
    mirrors = dict(settings.conda_mirror)
    channels = Indexes(extra=pipeline.channels_of(locked, settings))
    with Downloads(channels, settings.home, offline=settings.offline) as downloads:
        for package in half.packages:
            url = mirrored(package.url, mirrors)
            file = downloads.fetch(url, {"sha256": package.sha256}, report)
            gathered.put(f"conda/{package.subdir}/{conda_file_name(package.url)}", file)


def _with_python(
    lockeds: Sequence[Locked], gathered: _Gathered, settings: Settings, scratch: Path, report: Report
) -> BundledPython:
    """Put the Python of this machine's lock into a bundle.

    :raises BundleIncomplete: there is no lock for this machine, or its Python cannot be put into one.
    """
    own = next((one for one in lockeds if one.lock.target == target.here(one.lock.python)), None)
    if own is None or own.lock.conda is not None:
        why = "its conda packages bring it" if own is not None else "no lock of the bundle is for this machine"
        raise BundleIncomplete(
            f"no Python of this machine can be put into the bundle: {why}", hint="leave --with-python out"
        )
    found = own.asked.interpreter or interpreters.find(own.lock.python, settings, report)
    prefix = python.prefix_of(found)
    report(Step("packing", f"Python {found.version}"))
    archive = scratch / "python.tar"
    python.pack(prefix, archive)
    path = f"python/{found.key}.tar"
    gathered.put(path, archive)
    program = Path(found.executable).relative_to(prefix).as_posix()
    return BundledPython(path=path, demanded=own.lock.python, key=found.key, program=program)


def _model_files(model: Path) -> Iterator[tuple[str, Path]]:
    """The files of a model by their paths in it; a link to a file inside it counts as what it leads to.

    :raises BundleIncomplete: a link leads out of it, or something in it is no file.
    """
    top = model.resolve()
    for folder, folders, files in os.walk(model):
        folders[:] = [name for name in folders if name not in _LEFT_OUT]
        linked = [name for name in folders if Path(folder, name).is_symlink()]
        for name in (*files, *linked):
            file = Path(folder, name)
            if not file.is_file() or not file.resolve().is_relative_to(top):
                raise BundleIncomplete(
                    f"{file} cannot be put into a bundle: it is no file inside the model",
                    hint="put a copy in place of the link, or leave it out of the model",
                )
            yield file.relative_to(model).as_posix(), file
