"""The store: locks and environments on disk. The only code that knows the layout.

.. code-block:: text

    ENVBUILD_HOME/                       mode 0700 (2770 where it is shared)
    ├── uv/                              uv's cache: on the same file system, so that files are linked
    ├── bytecode/<interpreter>-3/<wheel>/  byte code, compiled once a wheel, linked into every environment
    ├── pip/                             what the engine pip keeps (:mod:`envbuild.pip`)
    │   ├── wheels/<key>/<sha256>/         wheels that were built here of locked files (:mod:`envbuild.builders.pip`)
    │   ├── pages/, addresses/           what indexes last said, for ``--offline`` alone
    │   └── tools/<key>/                 virtualenvs with a pip and pip-tools
    ├── conda/                           conda packages, unpacked, and what channels last said (:mod:`envbuild.conda`)
    ├── models/                          models that were fetched (:mod:`envbuild.store.models`)
    ├── python/                          Pythons that uv fetched, and those of conda's channel
    ├── interpreters/<version>.json      where the Python of a version was found
    ├── files/<sha256>                   files of packages that we fetched ourselves (:mod:`envbuild.downloads`)
    ├── built/<key>.json                 which of them was built here of an sdist (:mod:`envbuild.builders.wheels`)
    ├── bundles/                         what came in bundles (:mod:`envbuild.bundles`)
    ├── environments/<sha256>.yaml       curated environments that were fetched (:mod:`envbuild.override.curated`)
    ├── images/                          layers of images, and what is known of bases (:mod:`envbuild.images.shelf`)
    ├── default-index-<uv's version>     uv's own word for the index that it asks when none is given
    └── store/v1/
        ├── locks/<key>.toml             a lock, under the key of everything that went into it
        ├── environments/<lock hash>/<interpreter>/
        │   ├── bin/python …             the environment, built in place
        │   ├── pylock.toml              its lock
        │   ├── envbuild-manifest.json   every file with size, sha256 and mode
        │   └── envbuild.json            the marker, written last: without it, nothing is there. Its flock is the lease.
        ├── asked/<lock hash>-<interpreter>  the models that asked for it, a line each
        ├── pins/<lock hash>-<interpreter>   it is not collected
        ├── failures/<name>.json         what failed a moment ago
        ├── held/<name>.lock             what is in the making, and the places for it: flocks, removed when released
        └── trash/                       what is being removed

``flock``         file locks
``making``        what those do who make something: one at a time, complete or not there
``flight``        single flight, and the limit of what is made at once
``failures``      what failed a moment ago
``manifest``      the files of an environment
``marker``        what makes it complete
``upkeep``        what those do who look after a store: list, verify, pin, remove, collect
``models``        models that were fetched
``verification``  whether an environment is still as it was built
``collection``    what is removed when
``sizes``         what it takes on the disk
``record``        what the wheels in an environment say of their files
``lockfile``      the lock in an environment
``writing``       whole or not at all

``docs/store.md`` states the promises.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from envbuild import interpreters
from envbuild.environment import Environment
from envbuild.errors import StoreUntrusted
from envbuild.interpreters import Fingerprint, Interpreter
from envbuild.settings import Settings
from envbuild.store import flock
from envbuild.store.marker import MARKER, Marker

__all__ = ["LAYOUT", "MARKER", "Handout", "Store"]

LAYOUT = "v1"
_GROUP_UMASK = 0o007


@dataclass(frozen=True, slots=True, kw_only=True)
class Handout:
    """A complete environment, and the lease that keeps it where it is."""

    environment: Environment
    lease: flock.Held


class Store:
    """The store of some settings' home, as one who only reads it sees it; it may not be there yet."""

    def __init__(self, settings: Settings) -> None:
        """:raises StoreUntrusted: it belongs to somebody else."""
        self.home = settings.home
        self.root = settings.home / "store" / LAYOUT
        self.bytecode = settings.home / "bytecode"
        self.shared = settings.shared
        self.file_mode = 0o660 if settings.shared else 0o600
        _check_owner(self.home, shared=settings.shared)

    @contextlib.contextmanager
    def explained(self, needed: int | None = None) -> Iterator[None]:
        """System errors in the store as errors of ours.

        :param needed: how many bytes are to be written at least.
        :raises StoreError: instead of an ``OSError``.
        """
        try:
            yield
        except OSError as error:
            from envbuild.system_errors import explanation

            raise explanation(error, self.home, needed) from error

    @contextlib.contextmanager
    def open_to_its_group(self) -> Iterator[None]:
        """While this lasts, what this process and those it starts make in a shared store is its group's as well.

        The umask is the whole process's: in a shared store, other threads make such files too meanwhile.
        """
        if not self.shared:
            yield
            return
        before = os.umask(_GROUP_UMASK)
        try:
            yield
        finally:
            os.umask(before)

    # Locks

    def kept_lock(self, key: str) -> str | None:
        """The text of the lock kept under a key.

        :raises StoreError: the store cannot be read.
        """
        with self.explained(), contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
            return self.lock_path(key).read_text(encoding="utf-8")
        return None

    def lock_path(self, key: str) -> Path:
        """Where the lock under a key is kept."""
        return self.root / "locks" / f"{key}.toml"

    # Environments

    def place(self, lock_hash: str, interpreter: Interpreter) -> Path:
        """Where the environment of a lock and an interpreter is built, and stays."""
        return self.root / "environments" / lock_hash / interpreter.key

    def hand_out(
        self, lock_hash: str, accepts: Callable[[Interpreter], bool], on_stale: Callable[[str], None] = lambda why: None
    ) -> Handout | None:
        """A complete environment of a lock whose interpreter is acceptable and still the same; the newest Python first.

        It is cheap: the marker is read, the interpreter looked at. What it costs does not grow with the store.

        :param on_stale: told why a complete environment is not handed out.
        """
        folder = self.root / "environments" / lock_hash
        with self.explained(), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for place in sorted(folder.iterdir(), reverse=True):
                found = _opened(place, lock_hash, accepts, on_stale)
                if found is not None:
                    return found
        return None

    def note_use(self, environment: Environment, model: Path) -> None:
        """Note which model asked for an environment; what cannot be noted is not."""
        path = self.root / "asked" / f"{environment.lock_hash}-{environment.interpreter.key}"
        line = f"{model}\n"
        with self.open_to_its_group(), contextlib.suppress(OSError, UnicodeError):
            if path.exists() and line in path.read_text(encoding="utf-8"):
                return
            self.make(path.parent)
            with open(path, "a", encoding="utf-8") as file:
                file.write(line)

    def make(self, path: Path) -> None:
        """Make a directory of the store, and the store above it."""
        if path.is_dir():
            return
        from envbuild.files import make_private

        make_private(self.home)
        if self.shared:
            _share(self.home)
        for folder in [*reversed(path.relative_to(self.home).parents[:-1]), path.relative_to(self.home)]:
            with contextlib.suppress(FileExistsError):
                (self.home / folder).mkdir()
                if self.shared:
                    _share(self.home / folder)
        if not path.is_dir():
            raise NotADirectoryError(20, "Not a directory", str(path))


def _share(folder: Path) -> None:
    """Let the group write, and what is made in it belong to the same group."""
    with contextlib.suppress(PermissionError):
        folder.chmod(0o2770)


def _check_owner(home: Path, *, shared: bool) -> None:
    """Refuse a store that others may have filled.

    :raises StoreUntrusted: it is somebody else's, and not shared with us on purpose; or anybody may write into it.
    """
    try:
        facts = os.stat(home)
    except OSError:
        return
    if not stat.S_ISDIR(facts.st_mode):
        return
    if facts.st_mode & stat.S_IWOTH:
        raise StoreUntrusted(
            f"anybody may write into the store {home}", hint=f"chmod o-w {home}, if you trust what is in it"
        )
    ours = facts.st_uid in (os.geteuid(), 0)
    group = shared and facts.st_mode & stat.S_IWGRP and facts.st_gid in (os.getegid(), *os.getgroups())
    if not ours and not group:
        raise StoreUntrusted(
            f"the store {home} belongs to another user (uid {facts.st_uid})",
            hint="set ENVBUILD_HOME to a directory of your own; ENVBUILD_SHARED=1 is for one that your group shares",
        )


def _opened(
    place: Path, lock_hash: str, accepts: Callable[[Interpreter], bool], on_stale: Callable[[str], None]
) -> Handout | None:
    """The environment at a place with a lease on it, if its marker is whole and its Python is still the same."""
    try:
        # Whoever has the exclusive one looks at it for an instant, or takes it away.
        lease = flock.wait_existing(place / MARKER, shared=True)
    except (FileNotFoundError, NotADirectoryError):
        return None
    found = _environment(place, lock_hash, lease.fileno(), on_stale)
    if found is None or not accepts(found.interpreter):
        lease.release()
        return None
    # When it was last used; whoever may not note that still uses it.
    with contextlib.suppress(OSError):
        os.utime(lease.fileno())
    return Handout(environment=found, lease=lease)


def _environment(place: Path, lock_hash: str, descriptor: int, on_stale: Callable[[str], None]) -> Environment | None:
    facts = os.fstat(descriptor)
    marker = Marker.from_bytes(os.pread(descriptor, facts.st_size, 0))
    if marker is None or marker.lock_hash != lock_hash:
        return None
    environment = Environment(
        path=place,
        lock_hash=lock_hash,
        interpreter=marker.interpreter,
        manifest=marker.manifest,
        linked=marker.linked,
    )
    why = _gone(marker)
    if why is None and not os.access(environment.python, os.X_OK, effective_ids=True):
        why = f"{environment.python} is gone"
    if why is not None:
        on_stale(why)
        return None
    return environment


def _gone(marker: Marker) -> str | None:
    """Why an environment's interpreter is not the one that it was built from; ``None`` where it is."""
    executable = marker.interpreter.executable
    there = Fingerprint.of(executable)
    if there is None:
        return f"its Python, {executable}, is gone"
    if there == marker.fingerprint:
        return None
    # Another file need not be another Python: images are unpacked with other times.
    found = interpreters.probe(Path(executable))
    if found is not None and found.key == marker.interpreter.key:
        return None
    version = "no Python any more" if found is None else f"Python {found.version} now"
    return f"{executable} was Python {marker.interpreter.version} and is {version}"
