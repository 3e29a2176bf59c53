"""Upkeep: what those do who look after a store: list, verify, pin, remove, collect, clean the caches."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from envbuild import faults, uv
from envbuild.files import remove_tree
from envbuild.lock import Lock
from envbuild.progress import Report
from envbuild.store import Store, flock
from envbuild.store.collection import Collected, Collection, Hands, Kept, Limits, kept, listed
from envbuild.store.lockfile import kept_lock
from envbuild.store.making import cache_lock, environment_name, held_path, remove_idle, set_aside
from envbuild.store.manifest import Finding
from envbuild.store.marker import MARKER
from envbuild.store.models import Models
from envbuild.store.sizes import Sizes, inodes, sizes
from envbuild.store.verification import findings
from envbuild.store.writing import write_whole

__all__ = ["Collected", "Finding", "Kept", "Limits", "Sizes", "Upkeep"]


class Upkeep:
    """Looks after a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.home = store.home
        self.root = store.root

    def listed(self) -> Iterator[Kept]:
        """Every environment, complete or not.

        :raises StoreError: the store cannot be read.
        """
        with self._store.explained():
            yield from listed(self.root)

    def kept(self, environment: Path) -> Kept:
        """What is known of one environment."""
        return kept(self.root, environment)

    def lock_of(self, environment: Path) -> Lock | None:
        """What an environment was built from; ``None`` where that cannot be read any more."""
        return kept_lock(environment)

    def sizes(self, environment: Path) -> Sizes:
        """What an environment takes on the disk."""
        with self._store.explained():
            return sizes(environment)

    def parts(self) -> Mapping[str, int]:
        """What the home takes on the disk, in bytes, and its parts; a file that is in several counts in the first."""
        with self._store.explained():
            known: dict[tuple[int, int], int] = {}
            taken: dict[str, int] = {}
            for name, folder in (
                ("environments", self.root / "environments"),
                ("downloads", self.home / "uv"),
                ("downloads of pip", self.home / "pip"),
                ("conda packages", self.home / "conda"),
                ("byte code", self._store.bytecode),
                ("layers of images", self.home / "images"),
                ("models", self.home / "models"),
                ("everything else", self.home),
            ):
                new = {inode: size for inode, size in inodes(folder).items() if inode not in known}
                taken[name] = sum(new.values())
                known.update(new)
        return {**taken, "everything": sum(taken.values())}

    def findings(self, environment: Path) -> list[Finding]:
        """What of an environment is not as it was built, every file of it read.

        :raises StoreError: it cannot be read.
        """
        with self._store.explained():
            return findings(environment)

    def pin(self, one: Kept, *, pinned: bool) -> None:
        """Keep an environment from being collected, or no more.

        :raises StoreError: the store cannot be written.
        """
        with self._store.explained():
            path = self.root / "pins" / one.name
            self._store.make(path.parent)
            if pinned:
                write_whole(path, b"", self._store.file_mode)
            else:
                path.unlink(missing_ok=True)

    def remove(self, one: Kept) -> str | None:
        """Remove an environment; gives why, where it may not be.

        :raises StoreError: the store cannot be written.
        """
        with self._store.explained():
            self._store.make(self.root / "held")
            with contextlib.ExitStack() as stack:
                making = flock.take(
                    held_path(self.root, environment_name(one.lock_hash, one.path.name)), self._store.file_mode
                )
                if making is None:
                    return "it is in the making"
                stack.enter_context(making)
                with contextlib.suppress(FileNotFoundError):
                    lease = flock.take_existing(one.path / MARKER, shared=False)
                    if lease is None:
                        return "it is in use"
                    # Nobody can take one until it is renamed: who looks for it meanwhile waits.
                    stack.enter_context(lease)
                faults.point("environment taken")
                aside = set_aside(self._store, one.path)
                for folder in ("asked", "pins"):
                    (self.root / folder / one.name).unlink(missing_ok=True)
            if aside is not None:
                remove_idle(aside)
            with contextlib.suppress(OSError):
                one.path.parent.rmdir()
        return None

    def collect(self, limits: Limits, report: Report, *, dry_run: bool = False) -> Collected:
        """Remove what nobody needs (:mod:`envbuild.store.collection`).

        :param dry_run: only say what would be removed.
        :raises StoreError: something cannot be read or removed.
        """
        hands = Hands(remove=_would_remove, clean=lambda names: None)
        if not dry_run:
            hands = Hands(remove=self.remove, clean=lambda names: self.clean_caches(names, report))
            with self._store.explained():
                self._sweep()
            if limits.older_than is not None:
                Models(self._store).collect(report, limits.older_than)
        with self._store.explained():
            return Collection(self.home, self.root, hands, report).run(limits)

    def _sweep(self) -> None:
        """Remove what the dead left behind, and what is over."""
        for left in (self.root / "trash").glob("*"):
            remove_idle(left)
        shutil.rmtree(self.root / "failures", ignore_errors=True)
        with contextlib.suppress(FileNotFoundError):
            for path in list((self.root / "held").iterdir()):
                # Taking it and letting it go removes it.
                held = flock.take(path, self._store.file_mode)
                if held is not None:
                    held.release()

    def clean_caches(self, packages: Sequence[str], report: Report) -> str | None:
        """Take packages out of the download cache, or everything where none is named; gives why, if that may not be.

        Byte code that no environment shares goes as well.
        """
        with self._store.explained():
            held = flock.take_existing(cache_lock(self._store), shared=False)
            if held is None:
                return "the caches are in use by a build, and were left as they are"
            with held:
                uv.clean_cache(self.home, packages, report)
                faults.point("cache cleaned")
                self._clean_bytecode(everything=not packages)
                if not packages:
                    shutil.rmtree(self.home / "files", ignore_errors=True)
                    shutil.rmtree(self.home / "built", ignore_errors=True)
                    remove_tree(self.home / "bundles")
                    shutil.rmtree(self.home / "pip", ignore_errors=True)
                    shutil.rmtree(self.home / "conda", ignore_errors=True)
                    shutil.rmtree(self.home / "images" / "layers", ignore_errors=True)
                    Models(self._store).collect(report)
        return None

    def _clean_bytecode(self, *, everything: bool) -> None:
        """Remove the byte code that no environment has a link to, nor, unless everything goes, a wheel of."""
        locks = [] if everything else [kept_lock(one.path) for one in listed(self.root)]
        needed = {package.sha256 for lock in locks if lock is not None for package in lock.packages}
        for entry in self._store.bytecode.glob("*/*"):
            compiled = next(entry.rglob("*.pyc"), None)
            if entry.name not in needed and (compiled is None or compiled.stat().st_nlink == 1):
                shutil.rmtree(entry, ignore_errors=True)


def _would_remove(one: Kept) -> str | None:
    return "it is in use" if one.in_use else None
