"""Pulling: a model's environment from what others have pushed. Nothing of a share is believed that was not checked.

What a share has of a lock is a bundle in pieces: its beginning under the lock's hash, its files under theirs. Put
together again it is read, checked and used as any bundle is.
"""

from __future__ import annotations

import os
import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from envbuild import pipeline
from envbuild.bundles import writing
from envbuild.bundles.manifest import Entry, Manifest
from envbuild.bundles.reading import Bundle
from envbuild.downloads import kept_at
from envbuild.errors import BundleInvalid, ShareMissing, SharePoisoned, UsageError
from envbuild.files import sha256_of
from envbuild.pipeline import Asked, Built
from envbuild.progress import Report, Step, silent
from envbuild.settings import Settings
from envbuild.sharing import share as shares
from envbuild.sharing.share import Share
from envbuild.store import Store
from envbuild.store.making import Making


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """An environment that was made of what a share has."""

    share: str
    built: Built
    fetched: int
    """How many files were fetched, and how many were here."""
    here: int
    bytes_fetched: int


def pull(asked: Asked, name: str, settings: Settings, report: Report = silent) -> Pulled:
    """Build a model's environment from a share: by its lock, or by what its question led to where it was pushed.

    :param name: as :func:`envbuild.sharing.pushing.push` has it.
    :raises ShareMissing: nobody has pushed it.
    :raises ShareUnreachable: the share does not answer.
    :raises SharePoisoned: what is there is not what it says that it is; nothing of it is kept.
    :raises BundleUntrusted: it is not signed as the settings demand.
    :raises LockError: the lock that is there is none for this model.
    """
    if settings.bundle is not None:
        raise UsageError("--bundle brings all files, and there is nothing to pull", hint="leave one of them out")
    known, question = pipeline.known_lock(asked, settings), pipeline.question_key(asked, settings)
    store = Store(settings)
    with store.explained(), shares.opened(name, settings) as share:
        store.make(settings.home / "files")
        lock_hash = share.answer(question) if known is None else known.lock.hash
        if lock_hash is None or re.fullmatch(r"[0-9a-f]{64}", lock_hash) is None:
            raise ShareMissing(
                f"the share {share.said} has no lock for {asked.uri}",
                hint="envbuild push puts it there, with the same options on a machine like this one",
            )
        with tempfile.TemporaryDirectory(dir=settings.home, prefix=".pull-") as folder:
            pulling = _Pulling(share, lock_hash, Path(folder), settings, report)
            bundle = pulling.bundle()
            with_bundle = replace(settings, bundle=bundle, update=False, lock=None)
            locked = pipeline.lock(pipeline.ask(asked.model.path, with_bundle), with_bundle, report)
            if locked.lock.hash != lock_hash:
                raise SharePoisoned(f"the lock {lock_hash[:12]} of the share {share.said} is another one")
            built = pipeline.build(locked, with_bundle, report)
        if known is None:
            pipeline.keep_lock(question, locked.lock, settings)
        return Pulled(
            share=share.said,
            built=built,
            fetched=len(pulling.fetched),
            here=len(pulling.files) - len(pulling.fetched),
            bytes_fetched=sum(one.size for one in pulling.fetched),
        )


class _Pulling:
    """One lock of a share, on its way here."""

    def __init__(self, share: Share, lock_hash: str, folder: Path, settings: Settings, report: Report) -> None:
        self._share = share
        self._lock_hash = lock_hash
        self._folder = folder
        self._settings = settings
        self._report = report
        self._making = Making(Store(settings), settings)
        self.files: tuple[Entry, ...] = ()
        self.fetched: list[Entry] = []

    def bundle(self) -> Path:
        """The bundle that was taken apart."""
        head = self._share.head(self._lock_hash)
        if head is None:
            raise ShareMissing(
                f"the share {self._share.said} has no lock {self._lock_hash[:12]}",
                hint="envbuild push puts it there",
            )
        manifest = self._manifest(head)
        self.files = tuple({one.sha256: one for one in manifest.files}.values())
        sources: dict[str, Path | bytes] = {one.path: self._file(one) for one in manifest.files}
        target = self._folder / "pulled.bundle"
        writing.assemble(target, head, manifest, sources)
        return target

    def _manifest(self, head: bytes) -> Manifest:
        """What the lock's files are, by the word of whoever pushed it; who that was is checked here, before any use."""
        path = self._folder / "head"
        path.write_bytes(head)
        try:
            with Bundle(path, whole=False) as found:
                found.check_signature(self._settings.require_signature)
                manifest = found.manifest
        except BundleInvalid as error:
            raise self._poisoned(error.message.replace(str(path), self._lock_hash[:12])) from None
        if manifest.model is not None or [one.hash for one in manifest.locks] != [self._lock_hash]:
            raise self._poisoned("it is of another lock")
        return manifest

    def _file(self, file: Entry) -> Path:
        kept = kept_at(self._settings.home, file.sha256)
        with self._making.alone(f"pulled-{file.sha256}", self._report, "another process fetches the same file"):
            # A disk may have damaged it.
            return kept if kept.is_file() and sha256_of(kept) == file.sha256 else self._fetched(file, kept)

    def _fetched(self, file: Entry, kept: Path) -> Path:
        # Stays where this breaks off: the next one goes on with it.
        own = kept.with_name(f".pulled-{file.sha256}")
        self._report(Step("downloading", file.name))
        # What an earlier try has left may not be the beginning of it.
        if not (own.exists() and self._is_fetched(file, own)) and not self._is_fetched(file, own):
            raise self._poisoned(f"{file.name} is not the file with the sha256 {file.sha256}")
        os.replace(own, kept)
        self._report(Step("downloading", file.name, done=True, bytes=file.size))
        self.fetched.append(file)
        return kept

    def _is_fetched(self, file: Entry, own: Path) -> bool:
        if not own.exists() or own.stat().st_size < file.size:
            self._share.fetch(file, own)
        if own.stat().st_size == file.size and sha256_of(own) == file.sha256:
            return True
        own.unlink()
        return False

    def _poisoned(self, why: str) -> SharePoisoned:
        return SharePoisoned(
            f"what the share {self._share.said} has of the lock {self._lock_hash[:12]} is refused: {why}",
            hint="push it anew, and find out who can write there; --require-signature lets nobody's in but yours",
        )
