"""The store: locks and environments on disk. The only code that knows the layout.

.. code-block:: text

    ENVBUILD_HOME/                       mode 0700
    ├── uv/                              uv's cache: on the same file system, so that files are linked
    ├── python/                          Pythons that uv fetched
    ├── sdists/<sha256>                  sdists that were read for what they are built with
    ├── default-index-<uv's version>     uv's own word for the index that it asks when none is given
    └── store/v1/
        ├── locks/<key>.toml             a lock, under the key of everything that went into it
        ├── environments/<lock hash>/<interpreter>/
        │   ├── bin/python …             the environment, built in place
        │   └── envbuild.json            the marker, written last: without it, nothing is there
        └── held/<name>.lock             file locks, one a lock or environment in the making

An environment without a marker is not there, whatever else its directory holds; whoever finds one builds it anew.
Existence of a directory proves nothing. ``docs/store.md`` states the promises.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from envbuild.environment import Environment
from envbuild.errors import StoreError
from envbuild.files import make_private
from envbuild.interpreters import Interpreter

LAYOUT = "v1"
MARKER = "envbuild.json"
_MARKER_VERSION = 1


class Store:
    """The store below a home directory; made when it is first written to."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._root = home / "store" / LAYOUT

    def kept_lock(self, key: str) -> str | None:
        """The text of the lock kept under a key.

        :raises StoreError: the store cannot be read.
        """
        with _explained(self.home), contextlib.suppress(FileNotFoundError, UnicodeDecodeError):
            return self._lock_path(key).read_text(encoding="utf-8")
        return None

    def keep_lock(self, key: str, text: str) -> None:
        """Keep a lock's text under a key, in place of what was there.

        :raises StoreError: the store cannot be written.
        """
        with _explained(self.home):
            path = self._lock_path(key)
            self._make(path.parent)
            _write_whole(path, text.encode())

    def _lock_path(self, key: str) -> Path:
        return self._root / "locks" / f"{key}.toml"

    def place(self, lock_hash: str, interpreter: Interpreter) -> Path:
        """Where the environment of a lock and an interpreter is built, and stays."""
        return self._root / "environments" / lock_hash / interpreter.key

    def environment(self, lock_hash: str, accepts: Callable[[Interpreter], bool]) -> Environment | None:
        """A complete environment of a lock whose interpreter is acceptable and still there; the newest Python first."""
        folder = self._root / "environments" / lock_hash
        with _explained(self.home), contextlib.suppress(FileNotFoundError):
            for place in sorted(folder.iterdir(), reverse=True):
                environment = _opened(place, lock_hash)
                if environment is not None and accepts(environment.interpreter):
                    return environment
        return None

    def clear(self, place: Path) -> None:
        """Make way for a build: what an unfinished one left is removed, its marker first.

        :raises StoreError: the store cannot be written.
        """
        with _explained(self.home):
            if place.is_dir() and not place.is_symlink():
                (place / MARKER).unlink(missing_ok=True)
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
            self._make(place.parent)

    def complete(self, place: Path, lock_hash: str, interpreter: Interpreter, manifest: str) -> Environment:
        """Mark an environment as complete: the last step of a build, durable when this returns.

        :raises StoreError: the marker cannot be written.
        """
        marker = {
            "version": _MARKER_VERSION,
            "lock_hash": lock_hash,
            "interpreter": interpreter.to_dict(),
            "manifest": manifest,
        }
        with _explained(self.home):
            _write_whole(place / MARKER, json.dumps(marker, indent=1).encode())
        return Environment(path=place, lock_hash=lock_hash, interpreter=interpreter, manifest=manifest)

    @contextlib.contextmanager
    def single_flight(self, name: str, on_wait: Callable[[], None]) -> Iterator[None]:
        """Hold the file lock of that name; the kernel frees it when its process ends, however that ends.

        :param on_wait: called once when somebody else holds it.
        :raises StoreError: the file system cannot lock, or the store cannot be written.
        """
        with _explained(self.home):
            self._make(self._root / "held")
        # Names may be long (a hash and an interpreter): what is held needs one of fixed length.
        lock = FileLock(self._root / "held" / f"{hashlib.sha256(name.encode()).hexdigest()[:40]}.lock")
        with _explained(self.home):
            try:
                lock.acquire(timeout=0)
            except Timeout:
                on_wait()
                lock.acquire(poll_interval=0.05)
        try:
            yield
        finally:
            lock.release()

    def _make(self, path: Path) -> None:
        make_private(self.home)
        path.mkdir(parents=True, exist_ok=True)


def _opened(place: Path, lock_hash: str) -> Environment | None:
    """The environment at a place, if its marker is whole and its Python still stands."""
    try:
        marker: dict[str, Any] = json.loads((place / MARKER).read_bytes())
        if marker["version"] != _MARKER_VERSION or marker["lock_hash"] != lock_hash:
            return None
        interpreter = Interpreter(**marker["interpreter"])
        environment = Environment(
            path=place, lock_hash=lock_hash, interpreter=interpreter, manifest=str(marker["manifest"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # A removed or replaced interpreter leaves the environment's link dangling.
    return environment if os.access(environment.python, os.X_OK) else None


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, and stays through a power cut."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def _explained(home: Path) -> Iterator[None]:
    """System errors as errors of ours, with what to do."""
    try:
        yield
    except NotImplementedError as error:
        raise StoreError(
            f"the file system of {home} cannot lock files", hint="set ENVBUILD_HOME to a local disk"
        ) from error
    except OSError as error:
        raise explained(error, home) from error


def explained(error: OSError, home: Path) -> StoreError:
    """What a system error in the store means to the one who runs us."""
    where = error.filename or home
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = shutil.disk_usage(home if home.exists() else home.anchor).free
        return StoreError(
            f"there is no space left for {where} ({free / 2**20:,.0f} MiB free)",
            hint="free some, or set ENVBUILD_HOME to a larger disk",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(
            f"{where} cannot be written: {error.strerror}",
            hint="set ENVBUILD_HOME to a directory that you can write",
        )
    if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
        return StoreError(f"the file system of {home} cannot lock files", hint="set ENVBUILD_HOME to a local disk")
    return StoreError(
        f"{where} cannot be used: {error.strerror or error}", hint="set ENVBUILD_HOME to a directory that you can write"
    )
