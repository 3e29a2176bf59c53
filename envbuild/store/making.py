"""Making: what those do who put something into the store. One of all makes it, and it is whole or not there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from envbuild import faults
from envbuild.errors import BuildError, EnvbuildError, InterpreterNotFound, LockError, StoreError
from envbuild.interpreters import Interpreter
from envbuild.lock import Lock
from envbuild.progress import Report
from envbuild.settings import Settings
from envbuild.store import Store, flock
from envbuild.store.completion import complete
from envbuild.store.failures import Failures
from envbuild.store.flight import Flight, single_flight, slot
from envbuild.store.manifest import READABLE, Manifest
from envbuild.store.marker import MARKER
from envbuild.store.writing import write_whole

_Answer = TypeVar("_Answer")


class Making:
    """Puts locks and environments into a store."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store = store
        self._parallel = settings.parallel
        self._retry = settings.retry
        self._failures = Failures(store.root / "failures", settings.failure_memory)

    def keep_lock(self, key: str, text: str) -> None:
        """Keep a lock's text under a key, in place of what was there.

        :raises StoreError: the store cannot be written.
        """
        with self._store.explained():
            path = self._store.lock_path(key)
            self._store.make(path.parent)
            write_whole(path, text.encode(), self._store.file_mode)

    def clear(self, place: Path) -> None:
        """Make way for a build: what is there is renamed away, then removed.

        :raises StoreError: the store cannot be written.
        """
        with self._store.explained():
            self._store.make(place.parent)
            take_away(self._store, place)

    def complete(self, place: Path, lock: Lock, interpreter: Interpreter, manifest: Manifest, *, linked: bool) -> None:
        """Mark an environment as complete: the last step of a build. All of it is on the disk when the marker is.

        :param linked: its files are shared by hard links.
        :raises StoreError: it cannot be written.
        """
        with self._store.explained():
            # In a shared store whoever uses it notes that, which the system allows to those who may write the file.
            mode = 0o664 if self._store.shared else READABLE
            complete(place, lock, interpreter, manifest, linked=linked, mode=mode)

    def once(
        self,
        name: str,
        ready: Callable[[], _Answer | None],
        make: Callable[[Report], _Answer],
        report: Report,
        *,
        kind: str,
        attempt: str,
    ) -> tuple[_Answer, bool]:
        """Make something unless it is there; of all who want it at once, one makes it. Also says whether it was made here.

        :param ready: gives it if it is there.
        :param make: makes it, so that ``ready`` would give it.
        :param kind: ``build``, ``lock`` or ``model``: what is made; so many of a kind at once as the settings say.
        :param attempt: what tells this attempt from another that may go better; a failure counts for the same alone.
        :raises EnvbuildError: what ``make`` raised, here or a moment ago in another process.
        """
        what = {
            "build": "another process builds the same environment",
            "lock": "another process locks the same model",
            "model": "another process fetches the same model",
        }
        failure_name = _short(f"{name} {attempt}")
        before = self._failures.recall(failure_name) if self._retry else None

        def known() -> _Answer | None:
            answer = ready()
            failure = self._failures.recall(failure_name) if answer is None else None
            if failure is not None and (before is None or failure.at != before.at):
                raise failure.to_raise()
            return answer

        with self._flight(name, known, report, what[kind]) as flight:
            if flight.answer is not None:
                return flight.answer, False
            faults.point("held")
            with self._slot(kind, report), self._store.open_to_its_group():
                try:
                    made = make(flight.relayed(report))
                except (BuildError, LockError) as error:
                    if _is_worth_remembering(error):
                        self._failures.remember(failure_name, error)
                    raise
                self._failures.forget(failure_name)
                return made, True

    @contextlib.contextmanager
    def alone(self, name: str, report: Report, what: str) -> Iterator[None]:
        """While this lasts, no other process is in it under the same name; waits until that is so.

        :param what: what another one does that is waited for.
        """

        def never() -> None:
            return None

        with self._flight(name, never, report, what):
            yield

    @contextlib.contextmanager
    def _flight(
        self, name: str, ready: Callable[[], _Answer | None], report: Report, what: str
    ) -> Iterator[Flight[_Answer]]:
        held = self._store.root / "held"
        with contextlib.ExitStack() as stack:
            with self._store.explained():
                self._store.make(held)
                path = held_path(self._store.root, name)
                flight = stack.enter_context(single_flight(path, ready, report, what, self._store.file_mode))
            yield flight

    @contextlib.contextmanager
    def _slot(self, kind: str, report: Report) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            with self._store.explained():
                stack.enter_context(
                    slot(self._store.root / "held", kind, self._parallel, report, self._store.file_mode)
                )
            yield

    @contextlib.contextmanager
    def cache_in_use(self) -> Iterator[None]:
        """While this lasts, nobody cleans the caches."""
        with contextlib.ExitStack() as stack:
            with self._store.explained():
                stack.enter_context(flock.wait_existing(cache_lock(self._store), shared=True))
            yield


def cache_lock(store: Store) -> Path:
    """The file whose lock those who use the caches share, and whoever cleans them has alone.

    :raises OSError: it cannot be made.
    """
    path = store.home / "cache.lock"
    store.make(store.home)
    with store.open_to_its_group():
        path.touch(store.file_mode)
    return path


def set_aside(store: Store, place: Path) -> Path | None:
    """Take whatever lies at a place away: gone at once under its name; gives where it is now, if there was anything.

    :raises OSError: it cannot be renamed.
    """
    trash = store.root / "trash"
    store.make(trash)
    aside = trash / secrets.token_hex(8)
    try:
        os.rename(place, aside)
    except (FileNotFoundError, NotADirectoryError):
        return None
    faults.point("renamed away")
    return aside


def take_away(store: Store, place: Path) -> None:
    """Remove whatever lies at a place, which is free at once.

    :raises OSError: it cannot be renamed.
    """
    if (aside := set_aside(store, place)) is not None:
        remove_idle(aside)


def remove_idle(place: Path) -> None:
    """Remove a directory or a file in the trash; an environment that is still in use is left to the next collection."""
    try:
        lease = flock.take_existing(place / MARKER, shared=False)
    except (FileNotFoundError, NotADirectoryError):
        pass
    else:
        if lease is None:
            return
        lease.release()
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)
    faults.point("removed")


def held_path(root: Path, name: str) -> Path:
    """The file that is locked while something of that name is made."""
    return root / "held" / f"{_short(name)}.lock"


def environment_name(lock_hash: str, interpreter_key: str) -> str:
    """What the making of an environment is called."""
    return f"environment-{lock_hash}-{interpreter_key}"


def _short(name: str) -> str:
    # Names may be long (a hash and an interpreter): what is held needs one of fixed length.
    return hashlib.sha256(name.encode()).hexdigest()[:40]


def _is_worth_remembering(error: EnvbuildError) -> bool:
    # The store's own troubles (a full disk) are not the attempt's; and to look for a Python again costs nothing.
    return not isinstance(error, (StoreError, InterpreterNotFound))
