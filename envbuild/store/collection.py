"""Collection: which environments there are, and which of them go when there are too many."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envbuild.interpreters import Interpreter
from envbuild.progress import Report, Step
from envbuild.store import flock
from envbuild.store.lockfile import kept_lock
from envbuild.store.making import environment_name, held_path
from envbuild.store.marker import MARKER, read_marker
from envbuild.store.sizes import Inodes, cached_packages, inodes


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One environment in the store."""

    path: Path
    lock_hash: str
    interpreter: Interpreter | None
    """``None`` for what a build that died left behind."""
    size: int
    """The sizes of its files together in bytes, shared ones included, as they were when it was completed."""
    last_used: float
    """Seconds since the epoch."""
    in_use: bool
    """Somebody has a lease on it; or it is not complete, and in the making."""
    pinned: bool
    models: tuple[str, ...]
    """The models that asked for it."""

    @property
    def name(self) -> str:
        """What its pin and its models are kept under."""
        return f"{self.lock_hash}-{self.path.name}"

    def to_dict(self) -> dict[str, Any]:
        """The form that ``--json`` prints."""
        return {
            "lock_hash": self.lock_hash,
            "path": str(self.path),
            "python": None if self.interpreter is None else self.interpreter.version,
            "complete": self.interpreter is not None,
            "size": self.size,
            "last_used": self.last_used,
            "in_use": self.in_use,
            "pinned": self.pinned,
            "models": list(self.models),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What may stay: bytes of everything under the home together, and seconds since an environment was used."""

    max_size: int | None = None
    older_than: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What a collection did, or would do."""

    removed: tuple[Kept, ...]
    cleaned: tuple[str, ...]
    """The packages that were taken out of the download cache; ``*`` for all."""
    before: int | None
    """Bytes of everything under the home, each file once; only counted where a size was given."""
    after: int | None
    left: tuple[str, ...]
    """What could not be removed, and why."""


def listed(root: Path) -> Iterator[Kept]:
    """What environments there are, complete or not; quick, since none is walked through."""
    with contextlib.suppress(FileNotFoundError):
        for folder in sorted((root / "environments").iterdir()):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                for place in sorted(folder.iterdir()):
                    yield kept(root, place)


def kept(root: Path, place: Path) -> Kept:
    """What is known of the environment at a place."""
    marker = read_marker(place / MARKER)
    name = f"{place.parent.name}-{place.name}"
    try:
        used = os.stat(place / MARKER if marker else place).st_mtime
    except FileNotFoundError:
        used = 0.0
    return Kept(
        path=place,
        lock_hash=place.parent.name,
        interpreter=None if marker is None else marker.interpreter,
        size=0 if marker is None else marker.size,
        last_used=used,
        in_use=_is_made(root, place) if marker is None else not _is_idle(place / MARKER),
        pinned=(root / "pins" / name).exists(),
        models=_models(root / "asked" / name),
    )


def _is_made(root: Path, place: Path) -> bool:
    try:
        return not flock.is_free(held_path(root, environment_name(place.parent.name, place.name)))
    except OSError:
        return False


def _is_idle(marker: Path) -> bool:
    # Held for an instant: whoever asks for the environment meanwhile asks again.
    try:
        held = flock.take_existing(marker, shared=False)
    except OSError:
        return True
    if held is None:
        return False
    held.release()
    return True


def _models(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="utf-8", errors="replace").splitlines())
    except OSError:
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """What a collection does to the store: the store's own hands."""

    remove: Callable[[Kept], str | None]
    """Remove an environment; why not, if it may not be removed."""
    clean: Callable[[Sequence[str]], str | None]
    """Take packages out of the download cache, all of them where none is named; why not, if it may not be touched."""


class Collection:
    """One collection: what stays, and what that takes.

    Least recently used first; never what has a lease or a pin, or is in the making. Where a size is the limit, the
    caches give up what no environment has before any environment goes, and what went with an environment after it.
    """

    def __init__(self, home: Path, root: Path, hands: Hands, report: Report) -> None:
        self._home = home
        self._hands = hands
        self._report = report
        self._all = list(listed(root))
        self._stays = sorted((one for one in self._all if one.interpreter), key=lambda one: one.last_used)
        self._removed: list[Kept] = []
        self._cleaned: list[str] = []
        self._left: list[str] = []

    def run(self, limits: Limits) -> Collected:
        """Collect, as far as the limits demand.

        :raises OSError: something cannot be read or removed.
        """
        for one in self._all:
            if one.interpreter is None:
                self._remove(one)
        if limits.older_than is not None:
            since = time.time() - limits.older_than
            for one in [one for one in self._stays if one.last_used < since]:
                self._remove(one)
        before = after = None
        if limits.max_size is not None:
            before, after = self._shrink(limits.max_size)
        return Collected(
            removed=tuple(self._removed),
            cleaned=tuple(self._cleaned),
            before=before,
            after=after,
            left=tuple(self._left),
        )

    def _remove(self, one: Kept) -> bool:
        why = "it is pinned" if one.pinned else self._hands.remove(one)
        if why is not None:
            self._left.append(f"{one.lock_hash[:12]} ({one.path.name}): {why}")
            return False
        self._report(Step("removing", f"the environment {one.lock_hash[:12]}", done=True))
        self._removed.append(one)
        if one in self._stays:
            self._stays.remove(one)
        return True

    def _shrink(self, most: int) -> tuple[int, int]:
        """Remove until everything takes at most so many bytes; gives those before and after."""
        self._report(Step("removing", "what is too much: counting"))
        taken = _Taken(self._home, self._all)
        for one in self._removed:
            taken.remove(one)
        before = taken.bytes
        cleaned = taken.clean_unneeded() if before > most else []
        for one in list(self._stays):
            if taken.bytes <= most:
                break
            if self._remove(one):
                taken.remove(one)
                cleaned += taken.clean_unneeded()
        everything = taken.bytes > most
        if everything:
            taken.clean_all()
        if (everything or cleaned) and not self._clean([] if everything else cleaned):
            return before, _Taken(self._home, self._stays).bytes
        return before, taken.bytes

    def _clean(self, packages: Sequence[str]) -> bool:
        """Clean the download cache of packages, or of all where none is named; whether that could be done."""
        why = self._hands.clean(packages)
        if why is not None:
            self._left.append(why)
            return False
        self._cleaned += packages or ["*"]
        return True


class _Taken:
    """What the home takes: the environments, the unpacked packages in the cache, the rest of the caches, the rest.

    It is counted once and then followed: each file has as many holders as it is in of these.
    """

    def __init__(self, home: Path, environments: Iterable[Kept]) -> None:
        self.bytes = 0
        self._holders: Counter[tuple[int, int]] = Counter()
        self._environments: dict[Path, Inodes] = {}
        self._packages: dict[Path, frozenset[str]] = {}
        self._held: Counter[tuple[int, int]] = Counter()
        """How many environments hold a file."""
        for one in environments:
            self._environments[one.path] = self._add(inodes(one.path))
            self._packages[one.path] = _package_names(one.path)
            self._held.update(self._environments[one.path].keys())
        self._cached = {name: self._add(found) for name, found in cached_packages(home / "uv").items()}
        caches = (inodes(home / name) for name in ("uv", "bytecode", "files", "pip", "conda", "models"))
        self._caches = self._add(self._unknown({inode: size for one in caches for inode, size in one.items()}))
        self._add(self._unknown(inodes(home)))

    def _unknown(self, found: Inodes) -> Inodes:
        return {inode: size for inode, size in found.items() if inode not in self._holders}

    def _add(self, found: Inodes) -> Inodes:
        self.bytes += sum(size for inode, size in found.items() if inode not in self._holders)
        self._holders.update(found.keys())
        return found

    def _drop(self, found: Inodes) -> None:
        self._holders.subtract(found.keys())
        self.bytes -= sum(size for inode, size in found.items() if self._holders[inode] == 0)

    def remove(self, environment: Kept) -> None:
        """Without an environment."""
        found = self._environments.pop(environment.path)
        del self._packages[environment.path]
        self._held.subtract(found.keys())
        self._drop(found)

    def clean_unneeded(self) -> list[str]:
        """Without the cached packages that no environment has; gives their names."""
        needed = {name for names in self._packages.values() for name in names}
        names = [
            name
            for name, found in self._cached.items()
            if name not in needed and not any(self._held[inode] > 0 for inode in found)
        ]
        for name in names:
            self._drop(self._cached.pop(name))
        return sorted(names)

    def clean_all(self) -> None:
        """Without the caches."""
        for found in (*self._cached.values(), self._caches):
            self._drop(found)
        self._cached, self._caches = {}, {}


def _package_names(place: Path) -> frozenset[str]:
    """The packages that an environment was built from."""
    lock = kept_lock(place)
    return frozenset() if lock is None else frozenset(package.name for package in lock.packages)
