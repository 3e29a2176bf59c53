"""Importing: what is in a bundle, in the store. Each part is complete or not there, and is unpacked once.

Every use checks every byte of the bundle first. The model and the locks are unpacked then; the files of packages when an
environment is really built.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from envbuild import faults, interpreters, system_errors
from envbuild.bundles import python
from envbuild.bundles.manifest import BundledLock, Entry, Manifest
from envbuild.bundles.reading import Bundle
from envbuild.downloads import kept_at
from envbuild.errors import BundleIncomplete, BundleInvalid, UsageError
from envbuild.files import remove_tree, sha256_of
from envbuild.indexes import Indexes
from envbuild.lock import Lock, LockedPackage
from envbuild.settings import Settings
from envbuild.store import Store, flock
from envbuild.target import Target

_STAGED = ".staged-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A bundle that was checked, and where its parts lie in the store."""

    file: Path
    manifest: Manifest
    home: Path

    @property
    def _place(self) -> Path:
        return _bundles(self.home) / self.manifest.digest

    @property
    def model(self) -> Path | None:
        """The model that it holds, read-only."""
        if self.manifest.model is None:
            return None
        return _bundles(self.home) / "models" / str(self.manifest.model_digest) / self.manifest.model

    def is_at(self, given: str | Path) -> bool:
        """Whether a call names the bundle itself where it names its model."""
        path = Path(given)
        return path.is_file() and path.samefile(self.file)

    def own_model(self) -> Path:
        """The model that it holds.

        :raises BundleIncomplete: it holds none.
        """
        if self.model is None:
            raise BundleIncomplete(
                f"the bundle {self.file} holds no model", hint="name the model beside it: MODEL --bundle FILE"
            )
        return self.model

    def lock_for(self, wanted: Target) -> Path:
        """The lock for a target: of those that it installs, the one for the newest.

        :raises BundleIncomplete: there is none.
        """
        fitting = [one for one in self.manifest.locks if wanted.installs(one.target.platform)]
        # A repair may have moved a lock to another Python than the model's; whether it did is in the lock.
        fitting = [one for one in fitting if one.target.python == wanted.python] or fitting
        if not fitting:
            has = ", ".join(str(one.target) for one in self.manifest.locks)
            raise BundleIncomplete(
                f"the bundle {self.file} has no lock for {wanted}; it has {has or 'none'}",
                hint="envbuild bundle export --platform makes one for other machines",
            )
        return self._place / max(fitting, key=_age).path

    @property
    def indexes(self) -> Indexes:
        """Where its wheels are looked for, and nowhere else."""
        return Indexes(find_links=(str(self._place / "wheels"),), alone=True)

    def ready(self, lock: Lock) -> Lock:
        """A lock to build from: the bundle's wheels in the place of what they were built from, its files where they lie.

        What is built is an environment of the lock that was given; this one is for nobody but the builder.

        :raises BundleIncomplete: the bundle lacks a file of it.
        :raises BundleInvalid: the bundle is not any more what it was.
        :raises StoreError: its files cannot be kept.
        """
        of_lock = next((one for one in self.manifest.locks if one.hash == lock.hash), None)
        if of_lock is None:
            raise BundleIncomplete(f"the bundle {self.file} was not made for this lock", hint="export it again")
        wheels = {one.sha256: one for one in self.manifest.of("wheels")}
        packages = tuple(self._ready(package, of_lock, wheels) for package in lock.packages)
        conda = lock.conda
        wanted = [wheels[package.sha256] for package in packages]
        if conda is not None:
            files = {one.sha256: one for one in self.manifest.of("conda")}
            lacking = [one.name for one in conda.packages if one.sha256 not in files]
            if lacking:
                raise self._lacks(", ".join(lacking))
            wanted += [files[one.sha256] for one in conda.packages]
            urls = {sha256: (self._place / one.path).as_uri() for sha256, one in files.items()}
            conda = replace(conda, packages=tuple(replace(one, url=urls[one.sha256]) for one in conda.packages))
        with _kept(self.home):
            self._unpack(wanted)
        return replace(lock, packages=packages, build=(), conda=conda)

    def bring_python(self) -> None:
        """Have the Python that it holds found, where none of that version is known in the store yet.

        :raises BundleInvalid: it is not what the bundle says.
        :raises StoreError: it cannot be kept.
        """
        said = self.manifest.python
        if said is None or interpreters.read_kept(known := interpreters.kept_at(self.home, said.demanded)) is not None:
            return
        entry = self.manifest.at(said.path)
        place = self.home / "python" / f"bundled-{entry.sha256[:16]}"
        with _kept(self.home), Bundle(self.file) as bundle:
            _check_same(bundle, self)
            if not place.is_dir():
                with _staged(place) as staged:
                    _write(bundle, entry, archive := staged / "installation.tar")
                    python.unpack(archive, staged, place)
                    archive.unlink()
        found = interpreters.probe(place / said.program)
        if found is None or found.key != said.key:
            raise BundleInvalid(
                f"the Python in the bundle {self.file} is not the {said.key} that it should be, or does not run here"
            )
        interpreters.keep(known, found)

    def _ready(self, package: LockedPackage, of_lock: BundledLock, wheels: dict[str, Entry]) -> LockedPackage:
        """A package as one of the bundle's wheels."""
        built = next(
            (
                one
                for one in of_lock.built
                if package.is_built and (one.name, one.source) == (package.name, package.sha256)
            ),
            None,
        )
        found = wheels.get(built.sha256 if built is not None else "" if package.is_built else package.sha256)
        if found is None:
            raise self._lacks(package.name)
        return LockedPackage(
            name=package.name,
            version=package.version or found.name.split("-")[1],
            kind="wheel",
            sha256=found.sha256,
            file_name=found.name,
            size=found.size,
            extras=package.extras,
        )

    def _lacks(self, name: str) -> BundleIncomplete:
        return BundleIncomplete(f"the bundle {self.file} lacks the files of {name}", hint="export it again")

    def _unpack(self, wanted: list[Entry]) -> None:
        """Put files into the store's, by their sha256, and name them where they are looked for."""
        missing = [one for one in wanted if not _is_whole(kept_at(self.home, one.sha256), one)]
        if missing:
            with Bundle(self.file) as bundle:
                _check_same(bundle, self)
                for one in missing:
                    _keep(bundle, one, kept_at(self.home, one.sha256))
                    faults.point("bundled file kept")
        for one in wanted:
            place, kept = self._place / one.path, kept_at(self.home, one.sha256)
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.is_symlink():
                with contextlib.suppress(FileExistsError):
                    place.symlink_to(os.path.relpath(kept, place.parent))


def imported(settings: Settings) -> Imported:
    """The bundle that settings name, checked to its last byte, with its model and its locks in the store.

    :raises BundleInvalid: it is damaged, or holds what no bundle may hold.
    :raises BundleUntrusted: it is not signed as the settings demand.
    :raises UsageError: the settings name something else as well that it decides.
    :raises StoreError: it cannot be kept.
    """
    if settings.bundle is None:
        raise UsageError("no bundle is named")
    for name, value in (("--lock", settings.lock), ("--update", settings.update)):
        if value:
            raise UsageError(
                f"{name} and --bundle contradict each other: a bundle brings its locks", hint="leave one out"
            )
    with Bundle(settings.bundle) as bundle:
        bundle.check_signature(settings.require_signature)
        bundle.check()
        found = Imported(file=settings.bundle, manifest=bundle.manifest, home=settings.home)
        store = Store(settings)
        with store.open_to_its_group(), _kept(settings.home):
            store.make(_bundles(settings.home))
            _complete(found, bundle)
    return found


@contextlib.contextmanager
def _kept(home: Path) -> Iterator[None]:
    """System errors in the store as errors of ours."""
    try:
        yield
    except OSError as error:
        raise system_errors.explanation(error, home) from error


def _complete(found: Imported, bundle: Bundle) -> None:
    """Unpack the locks and the model, unless they are there."""
    place, model = found._place, found.model  # noqa: SLF001 - the same module's
    if not place.is_dir():
        _make(place, [(one.path, one) for one in found.manifest.of("locks")], bundle)
    if model is not None and not model.parent.is_dir():
        files = [(f"{model.name}/{one.inside}", one) for one in found.manifest.of("model")]
        _make(model.parent, files, bundle, read_only=True)


def _make(place: Path, files: list[tuple[str, Entry]], bundle: Bundle, *, read_only: bool = False) -> None:
    """Make a directory of a bundle's files, complete or not there."""
    with _staged(place) as staged:
        for path, entry in files:
            target = staged / path
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(bundle, entry, target)
            faults.point("bundled file unpacked")
        if read_only:
            _close_to_writers(staged)
    faults.point("bundle unpacked")


@contextlib.contextmanager
def _staged(place: Path) -> Iterator[Path]:
    """A directory that comes to its place when all is in it; what those have left who were killed is removed."""
    place.parent.mkdir(parents=True, exist_ok=True)
    _sweep(place.parent)
    staged = place.parent / f"{_STAGED}{os.getpid()}-{secrets.token_hex(4)}"
    staged.mkdir()
    held = flock.take_existing(staged, shared=True)
    try:
        yield staged
        # Another one may have been faster: what it made is the same.
        with contextlib.suppress(OSError):
            staged.rename(place)
    finally:
        if held is not None:
            held.release()
        if staged.exists():
            remove_tree(staged)


def _sweep(folder: Path) -> None:
    """Remove what was left half-made by those who were killed: nobody holds it."""
    for path in folder.glob(f"{_STAGED}*"):
        with contextlib.suppress(OSError):
            held = flock.take_existing(path, shared=False)
            if held is not None:
                with held:
                    remove_tree(path)


def _close_to_writers(folder: Path) -> None:
    for path, folders, files in os.walk(folder):
        for name in files:
            os.chmod(f"{path}/{name}", 0o444)  # noqa: PTH101 - as above
        for name in folders:
            os.chmod(f"{path}/{name}", 0o555)  # noqa: PTH101, S103 - everybody may look


def _write(bundle: Bundle, entry: Entry, target: Path) -> None:
    with open(target, "xb") as file:
        file.writelines(bundle.content(entry))
        file.flush()
        os.fsync(file.fileno())


def _keep(bundle: Bundle, entry: Entry, place: Path) -> None:
    """Keep a file under its sha256, whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    own = place.parent / f".{secrets.token_hex(8)}"
    try:
        _write(bundle, entry, own)
        os.replace(own, place)
    finally:
        own.unlink(missing_ok=True)


def _is_whole(path: Path, entry: Entry) -> bool:
    # A disk may have damaged it.
    return path.is_file() and path.stat().st_size == entry.size and sha256_of(path) == entry.sha256


def _check_same(bundle: Bundle, found: Imported) -> None:
    if bundle.manifest.digest != found.manifest.digest:
        raise BundleInvalid(f"the bundle {bundle.path} was changed while it was used", hint="try again")


def _bundles(home: Path) -> Path:
    return home / "bundles"


def _age(lock: BundledLock) -> int:
    """How new a target's C library is."""
    found = re.match(r"manylinux_2_(\d+)_", lock.target.platform)
    return 0 if found is None else int(found[1])
