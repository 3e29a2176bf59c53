"""Shares: where locks and files lie that others have made. Files are addressed by their sha256, locks by their hash."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from envbuild.bundles.manifest import Entry
from envbuild.errors import UsageError
from envbuild.locations.naming import OBJECTS
from envbuild.redaction import redacted
from envbuild.settings import Settings

_SCHEME = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]+)://", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A lock, as it is put into a share when all of its files are there."""

    lock_hash: str
    question: str
    """What the lock is the answer to: the key that a store keeps it under."""
    head: bytes
    """What stands before the files in a bundle of it: the manifest, and its signature."""
    files: tuple[Entry, ...]


class Share(Protocol):
    """Reads and writes a share; whatever it gives is checked by whoever asks."""

    said: str
    """Its name, without credentials."""

    def head(self, lock_hash: str) -> bytes | None:
        """What stands before the files in the bundle of a lock; ``None`` where the lock is not there."""

    def answer(self, question: str) -> str | None:
        """The hash of the lock that a question has led to elsewhere."""

    def lacking(self, files: Iterable[Entry]) -> set[str]:
        """Of some files, the sha256 of those that are not there."""

    def put(self, file: Entry, source: Path) -> None:
        """Put a file there, whole or not at all."""

    def publish(self, publication: Publication) -> None:
        """Put a lock there: from now on it is found, and all its files with it."""

    def fetch(self, file: Entry, target: Path) -> None:
        """Fetch a file; what the target holds already is its beginning."""


def opened(name: str, settings: Settings) -> AbstractContextManager[Share]:
    """The share of a name: a folder, ``s3://bucket/path`` and the like, ``oci://registry/repository``.

    :raises UsageError: it is none.
    """
    scheme = _SCHEME.match(name)
    kind = "" if scheme is None else scheme["scheme"].lower()
    if kind in ("", "file"):
        from envbuild.sharing.folder import FolderShare

        return FolderShare(Path(name.removeprefix("file://")).expanduser().absolute())
    if kind in OBJECTS:
        from envbuild.sharing.objects import ObjectShare

        return ObjectShare(name.rstrip("/"), settings)
    if kind == "oci":
        from envbuild.sharing.registry import RegistryShare

        return RegistryShare(name[len("oci://") :])
    raise UsageError(
        f"{redacted(name)!r} is no place to share what was built",
        hint=f"a folder, oci://REGISTRY/REPOSITORY, or {', '.join(f'{one}://' for one in OBJECTS)}",
    )
