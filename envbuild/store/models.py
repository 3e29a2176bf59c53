"""Models that were fetched, each under a key that its content decides: whole or not there.

.. code-block:: text

    ENVBUILD_HOME/models/
    ├── <key>/<name>/…            a model's files; the directory has the model's name
    ├── <key>/envbuild-model.json the marker, which is there as long as the directory is; its flock is the lease
    ├── partial/<key>/<name>/…    what is being fetched: what is there already is not fetched again
    └── names/<sha256>.json       what a URI last led to
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from envbuild import faults
from envbuild.errors import StoreError
from envbuild.progress import Report, Step
from envbuild.store import Store, flock
from envbuild.store.making import Making, held_path, set_aside, take_away
from envbuild.store.writing import sync_file_system, write_whole

MODELS, MARKER = "models", "envbuild-model.json"
_PARTIAL, _NAMES = "partial", "names"

# While a process uses a model's files nobody collects them; it holds this until it ends.
_LEASES: dict[Path, flock.Held] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a URI led to when it was last asked."""

    key: str
    """What its files are kept under."""
    said: str = ""
    """Which one it was: ``version 3 of heart``."""
    state: str = ""
    """What a server, or the file system, called the state that an archive was in."""


class Models:
    """The models in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._root = store.home / MODELS

    def known(self, uri: str) -> Known | None:
        """What a URI last led to."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            return Known(**json.loads(self._name(uri).read_bytes()))
        return None

    def note(self, uri: str, known: Known) -> None:
        """Remember what a URI leads to.

        :raises StoreError: the store cannot be written.
        """
        if self.known(uri) == known:
            return
        with self._store.explained():
            path = self._name(uri)
            self._store.make(path.parent)
            write_whole(path, json.dumps(asdict(known)).encode(), self._store.file_mode)

    def place(self, key: str, name: str) -> Path | None:
        """Where the model of a key lies, which then stays while this process lives; ``None`` where it is not kept.

        :raises StoreError: the store cannot be read.
        """
        path = self._root / key
        with self._store.explained(), contextlib.suppress(FileNotFoundError):
            held = flock.take_existing(path / MARKER, shared=True)
            if held is None:
                return None
            _LEASES[path] = held
            with contextlib.suppress(PermissionError):
                os.utime(path / MARKER)
            return path / name
        return None

    def hold(self, path: Path) -> None:
        """Where a path is a model of the store, keep it from being collected while this process lives."""
        if path.parent.parent == self._root:
            self.place(path.parent.name, path.name)

    def made(self, key: str, name: str, fill: Callable[[Path, Report], None], making: Making, report: Report) -> Path:
        """The model of a key, from the store or filled now; of all who want it at once, one fills it.

        :param fill: puts the model's files into a directory, which holds what an earlier try has left.
        :raises StoreError: the store cannot be written.
        """

        def ready() -> Path | None:
            return self.place(key, name)

        def make(relayed: Report) -> Path:
            with making.cache_in_use():
                self._fill(key, name, fill, relayed)
                found = ready()
            if found is None:
                raise StoreError("the model went away as soon as it was fetched", hint="try again")
            return found

        return making.once(_made_as(key), ready, make, report, kind="model", attempt=key)[0]

    def _fill(self, key: str, name: str, fill: Callable[[Path, Report], None], report: Report) -> None:
        partial = self._root / _PARTIAL / key
        with self._store.explained():
            self._store.make(partial / name)
        fill(partial / name, report)
        faults.point("model fetched")
        with self._store.explained():
            write_whole(partial / MARKER, json.dumps({"name": name}).encode(), self._store.file_mode)
            sync_file_system(partial)
            # Without a marker it is nothing: somebody has taken it apart by hand.
            set_aside(self._store, self._root / key)
            os.rename(partial, self._root / key)
        faults.point("model kept")

    @contextlib.contextmanager
    def downloading(self, uri: str, making: Making, report: Report) -> Iterator[Path]:
        """The folder that an archive is fetched into, which holds what an earlier try has left; for one at a time.

        When this is left without an error it is gone.

        :raises StoreError: the store cannot be written.
        """
        name = f"web-{hashlib.sha256(uri.encode()).hexdigest()[:40]}"
        folder = self._root / _PARTIAL / name
        with making.alone(_made_as(name), report, "another process fetches the same model"):
            with self._store.explained():
                self._store.make(folder)
            yield folder
            take_away(self._store, folder)

    def collect(self, report: Report, older_than: float | None = None) -> None:
        """Remove the models that nobody uses now, and what is left of fetches that nobody goes on with.

        :param older_than: those alone that were not used for so many seconds.
        :raises StoreError: the store cannot be written.
        """
        since = None if older_than is None else time.time() - older_than
        with self._store.explained():
            for path in self._listed():
                marker = path / MARKER
                with contextlib.suppress(FileNotFoundError):
                    if since is not None and (marker if marker.exists() else path).stat().st_mtime >= since:
                        continue
                    self._remove(path, report)

    def _listed(self) -> Iterator[Path]:
        for folder in (self._root, self._root / _PARTIAL):
            with contextlib.suppress(FileNotFoundError):
                yield from (path for path in sorted(folder.iterdir()) if path.name not in (_PARTIAL, _NAMES))

    def _remove(self, path: Path, report: Report) -> None:
        self._store.make(self._store.root / "held")
        making = flock.take(held_path(self._store.root, _made_as(path.name)), self._store.file_mode)
        if making is None:
            return
        with making, contextlib.ExitStack() as stack:
            if (path / MARKER).exists():
                lease = flock.take_existing(path / MARKER, shared=False)
                if lease is None:
                    return
                stack.enter_context(lease)
            take_away(self._store, path)
            report(Step("removing", f"the model {path.name[:12]}", done=True))

    def _name(self, uri: str) -> Path:
        # A URI may hold secrets behind its question mark, which may decide all the same which file it is.
        return self._root / _NAMES / f"{hashlib.sha256(uri.encode()).hexdigest()}.json"


def _made_as(key: str) -> str:
    return f"model-{key}"
