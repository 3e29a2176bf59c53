"""Collection: which environments there are, and which of them go when there are too many."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envbuild.interpreters import Interpreter
from envbuild.progress import Report, Step
from envbuild.store import flock
from envbuild.store.lockfile import kept_lock
from envbuild.store.marker import MARKER, read_marker
from envbuild.store.sizes import Inodes, bytes_of, cached_packages, inodes, overlap


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
        in_use=marker is not None and not _is_idle(place / MARKER),
        pinned=(root / "pins" / name).exists(),
        models=_models(root / "asked" / name),
    )


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
        taken.forget(self._removed)
        before = taken.bytes()
        if before > most:
            self._clean(taken)
        for one in list(self._stays):
            if taken.bytes() <= most:
                break
            if self._remove(one):
                taken.forget([one])
                self._clean(taken)
        if taken.bytes() > most:
            self._clean(taken, everything=True)
        return before, taken.bytes()

    def _clean(self, taken: _Taken, *, everything: bool = False) -> None:
        """Clean the download cache of what no environment has; of all, where that is not enough."""
        names = ["*"] if everything else taken.unneeded()
        if not names:
            return
        why = self._hands.clean([] if everything else names)
        if why is not None:
            if why not in self._left:
                self._left.append(why)
            return
        self._cleaned += names
        taken.clean(names)


class _Taken:
    """What the home takes: the environments, the unpacked packages in the cache, and the rest."""

    def __init__(self, home: Path, environments: Iterable[Kept]) -> None:
        self._environments: dict[Path, Inodes] = {one.path: inodes(one.path) for one in environments}
        self._packages = {one.path: _package_names(one.path) for one in environments}
        self._cached: dict[str, Inodes] = dict(cached_packages(home / "uv"))
        everything = inodes(home)
        known = {inode for one in (*self._environments.values(), *self._cached.values()) for inode in one}
        self._rest: Inodes = {inode: size for inode, size in everything.items() if inode not in known}
        self._misc = inodes(home / "uv").keys() | inodes(home / "bytecode").keys() | inodes(home / "sdists").keys()

    def bytes(self) -> int:
        return bytes_of(self._rest, *self._environments.values(), *self._cached.values())

    def forget(self, removed: Iterable[Kept]) -> None:
        for one in removed:
            self._environments.pop(one.path, None)
            self._packages.pop(one.path, None)

    def unneeded(self) -> list[str]:
        """The cached packages that no environment has."""
        needed = {name for names in self._packages.values() for name in names}
        return sorted(
            name
            for name, found in self._cached.items()
            if name not in needed and not overlap(found, self._environments.values())
        )

    def clean(self, names: Sequence[str]) -> None:
        if list(names) == ["*"]:
            self._cached.clear()
            self._rest = {inode: size for inode, size in self._rest.items() if inode not in self._misc}
        for name in names:
            self._cached.pop(name, None)


def _package_names(place: Path) -> frozenset[str]:
    """The packages that an environment was built from."""
    lock = kept_lock(place)
    return frozenset() if lock is None else frozenset(package.name for package in lock.packages)
