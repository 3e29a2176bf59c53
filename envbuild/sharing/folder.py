"""A folder that all can reach.

.. code-block:: text

    files/<sha256>        a wheel, a conda package, a lock
    locks/<lock hash>     what stands before the files in the bundle of a lock
    questions/<key>       the hash of the lock that a question has led to
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType

from envbuild.bundles.manifest import Entry
from envbuild.errors import ShareUnreachable
from envbuild.sharing.share import Publication

_BLOCK = 2**20


class FolderShare(AbstractContextManager["FolderShare"]):
    """See :class:`envbuild.sharing.share.Share`."""

    def __init__(self, root: Path) -> None:
        self.said = str(root)
        self._root = root

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """A folder has nothing to close."""

    def head(self, lock_hash: str) -> bytes | None:
        """See :class:`envbuild.sharing.share.Share`."""
        return self._read(f"locks/{lock_hash}")

    def answer(self, question: str) -> str | None:
        """See :class:`envbuild.sharing.share.Share`."""
        found = self._read(f"questions/{question}")
        return None if found is None else found.decode("ascii", "replace").strip()

    def lacking(self, files: Iterable[Entry]) -> set[str]:
        """See :class:`envbuild.sharing.share.Share`."""
        return {one.sha256 for one in files if not self._has(one)}

    def put(self, file: Entry, source: Path) -> None:
        """See :class:`envbuild.sharing.share.Share`."""
        with self._written(f"files/{file.sha256}") as target:
            shutil.copyfile(source, target)

    def publish(self, publication: Publication) -> None:
        """See :class:`envbuild.sharing.share.Share`."""
        for name, content in (
            (f"locks/{publication.lock_hash}", publication.head),
            (f"questions/{publication.question}", publication.lock_hash.encode()),
        ):
            with self._written(name) as target:
                target.write_bytes(content)

    def fetch(self, file: Entry, target: Path) -> None:
        """See :class:`envbuild.sharing.share.Share`."""
        with self._explained(), open(self._root / "files" / file.sha256, "rb") as source, open(target, "ab") as own:
            source.seek(own.tell())
            shutil.copyfileobj(source, own, _BLOCK)

    def _has(self, file: Entry) -> bool:
        with self._explained():
            try:
                return (self._root / "files" / file.sha256).stat().st_size == file.size
            except FileNotFoundError:
                return False

    def _read(self, name: str) -> bytes | None:
        with self._explained():
            if not self._root.is_dir():
                raise ShareUnreachable(f"there is no folder {self.said}", hint="is it mounted?")
            try:
                return (self._root / name).read_bytes()
            except FileNotFoundError:
                return None

    @contextmanager
    def _written(self, name: str) -> Iterator[Path]:
        """A file that comes to its name when it is whole."""
        place = self._root / name
        own = place.with_name(f".{secrets.token_hex(8)}")
        with self._explained():
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                yield own
                descriptor = os.open(own, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                os.replace(own, place)
            finally:
                own.unlink(missing_ok=True)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            hint = "is there room?" if full else "is it mounted, and may you read and write there?"
            raise ShareUnreachable(
                f"the share {self.said} cannot be used: {error.strerror or error}", hint=hint
            ) from error
