"""The shelf: what images are made from and is kept between calls, in the store's home.

.. code-block:: text

    ENVBUILD_HOME/images/
    ├── layers/<name>.tar, <name>.json    layers, and their digests
    ├── notes/<name>.json                 what was found out: digests of bases, what is in them, versions of packages
    └── held/<name>.lock                  what is in the making
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envbuild.files import make_private
from envbuild.images.layer import Layer
from envbuild.progress import Report
from envbuild.store.flight import single_flight
from envbuild.store.writing import write_whole
from envbuild.system_errors import explanation

_MODE = 0o600


@dataclass(frozen=True, slots=True)
class Note:
    """A small thing that is kept under a name; one that cannot be read is as good as none."""

    path: Path

    def read(self) -> dict[str, Any] | None:
        """What was written."""
        try:
            content = json.loads(self.path.read_bytes())
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def write(self, content: dict[str, Any]) -> None:
        """Keep something in place of what was there.

        :raises OSError: it cannot be written.
        """
        write_whole(self.path, json.dumps(content, indent=1, sort_keys=True).encode(), _MODE)


def short_digest(content: Any) -> str:
    """What tells contents (of JSON) apart in a name."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:40]


class Shelf:
    """The shelf of a home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._root = home / "images"
        make_private(home)
        with self.explained():
            for name in ("layers", "notes", "held"):
                (self._root / name).mkdir(parents=True, exist_ok=True)

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """System errors on the shelf as errors of ours.

        :raises StoreError: instead of an ``OSError``.
        """
        try:
            yield
        except OSError as error:
            raise explanation(error, self.home) from error

    def note(self, name: str) -> Note:
        """What is kept under a name."""
        return Note(self._root / "notes" / f"{name}.json")

    @contextlib.contextmanager
    def alone(self, name: str, report: Report, what: str) -> Iterator[None]:
        """While this lasts, nobody else makes what has this name; who comes second waits, and looks again."""
        with self.explained():
            path = self._root / "held" / f"{name}.lock"
            with single_flight(path, _nothing, report, what, _MODE):
                yield

    def layer(self, name: str, make: Callable[[Path], Layer], report: Report) -> Layer:
        """A layer that is kept, or made now."""
        if (kept := self.kept_layer(name)) is not None:
            return kept
        with self.alone(name, report, name.partition("-")[0]):
            return self.kept_layer(name) or self.keep_layer(name, make)

    def kept_layer(self, name: str) -> Layer | None:
        """A layer that is kept."""
        known, path = self._facts(name).read(), self._tar(name)
        if known is None or not path.is_file() or path.stat().st_size != known["size"]:
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return Layer(path=path, diff_id=known["diff_id"], size=known["size"], content=known["content"])

    def keep_layer(self, name: str, make: Callable[[Path], Layer]) -> Layer:
        """Make a layer and keep it: whole or not at all."""
        with self.explained():
            descriptor, new = tempfile.mkstemp(dir=self._root / "layers", prefix=".new-")
            os.close(descriptor)
            try:
                layer = make(Path(new))
                os.replace(new, self._tar(name))
            finally:
                Path(new).unlink(missing_ok=True)
            facts = {"diff_id": layer.diff_id, "size": layer.size, "content": layer.content}
            self._facts(name).write(facts)
        return Layer(path=self._tar(name), diff_id=layer.diff_id, size=layer.size, content=layer.content)

    def _tar(self, name: str) -> Path:
        return self._root / "layers" / f"{name}.tar"

    def _facts(self, name: str) -> Note:
        return Note(self._root / "layers" / f"{name}.json")


def _nothing() -> None:
    """Nothing is there before it was looked for."""
