"""Pushing: a model's lock and all files that it names, from here to a share."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from envbuild import bundling, pipeline
from envbuild.bundles import writing
from envbuild.bundles.manifest import Entry
from envbuild.pipeline import Asked, Locked
from envbuild.progress import Report, Step, silent
from envbuild.settings import Settings
from envbuild.sharing import share as shares
from envbuild.sharing.share import Publication, Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """A lock that is in a share, with all its files."""

    share: str
    locked: Locked
    sent: int
    """How many files were sent, and how many were there."""
    there: int
    bytes_sent: int


def push(
    asked: Asked, name: str, settings: Settings, report: Report = silent, *, sign_key: Path | None = None
) -> Pushed:
    """Put a model's lock and the files that it names into a share; sdists go as wheels that are built here.

    :param name: a folder, ``s3://bucket/path`` and the like, or ``oci://registry/repository``.
    :param sign_key: the private key (PEM) that signs what is pushed.
    :raises UsageError: it is no share, or nothing can be signed by the key.
    :raises LockError: the model cannot be locked.
    :raises BuildError: a file cannot be had, or a wheel cannot be built.
    :raises ShareUnreachable: the share does not answer, or does not let us.
    """
    options = bundling.Options(with_model=False)
    with shares.opened(name, settings) as share, bundling.gathered(asked, options, settings, report) as contents:
        (lock,) = contents.manifest.locks
        files = {one.sha256: one for one in contents.manifest.files}
        lacking = share.lacking(files.values())
        for sha256 in sorted(lacking, key=lambda one: files[one].path):
            _put(share, files[sha256], contents.sources[files[sha256].path])
            report(Step("pushing", files[sha256].name, done=True, bytes=files[sha256].size))
        # Last: who finds the lock finds all of its files.
        share.publish(
            Publication(
                lock_hash=lock.hash,
                question=pipeline.question_key(asked, settings),
                head=writing.head_of(contents.manifest, sign_key),
                files=tuple(files.values()),
            )
        )
        return Pushed(
            share=share.said,
            locked=contents.locked[0],
            sent=len(lacking),
            there=len(files) - len(lacking),
            bytes_sent=sum(files[one].size for one in lacking),
        )


def _put(share: Share, file: Entry, source: Path | bytes) -> None:
    if isinstance(source, Path):
        share.put(file, source)
        return
    with tempfile.TemporaryDirectory(prefix="envbuild-share-") as name:
        own = Path(name) / "content"
        own.write_bytes(source)
        share.put(file, own)
