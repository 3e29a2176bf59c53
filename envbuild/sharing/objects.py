"""An object store, laid out as :mod:`envbuild.sharing.folder` is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from envbuild import process
from envbuild.bundles.manifest import MOST_BYTES, Entry
from envbuild.errors import SharePoisoned, ShareUnreachable, UsageError
from envbuild.locations.asking import Questions
from envbuild.locations.naming import OBJECTS
from envbuild.redaction import redacted
from envbuild.settings import Settings
from envbuild.sharing.share import Publication

_MOST_OF_A_HASH = 200


class ObjectShare(AbstractContextManager["ObjectShare"]):
    """See :class:`envbuild.sharing.share.Share`."""

    def __init__(self, uri: str, settings: Settings) -> None:
        self.said = redacted(uri).partition("?")[0]
        self._uri = uri
        self._seconds = settings.lock_timeout
        self._questions = Questions(lambda there: None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._questions.close()

    def head(self, lock_hash: str) -> bytes | None:
        """See :class:`envbuild.sharing.share.Share`."""
        return self._read(f"locks/{lock_hash}", 2 * MOST_BYTES)

    def answer(self, question: str) -> str | None:
        """See :class:`envbuild.sharing.share.Share`."""
        found = self._read(f"questions/{question}", _MOST_OF_A_HASH)
        return None if found is None else found.decode("ascii", "replace").strip()

    def lacking(self, files: Iterable[Entry]) -> set[str]:
        """See :class:`envbuild.sharing.share.Share`."""
        wanted = {f"files/{one.sha256}": one for one in files}
        sizes = self._asked({"action": "sizes", "paths": list(wanted)})["sizes"]
        return {one.sha256 for path, one in wanted.items() if sizes.get(path) != one.size}

    def put(self, file: Entry, source: Path) -> None:
        """See :class:`envbuild.sharing.share.Share`."""
        self._put(f"files/{file.sha256}", source)

    def publish(self, publication: Publication) -> None:
        """See :class:`envbuild.sharing.share.Share`."""
        with tempfile.TemporaryDirectory(prefix="envbuild-share-") as name:
            own = Path(name) / "content"
            own.write_bytes(publication.head)
            self._put(f"locks/{publication.lock_hash}", own)
            own.write_text(publication.lock_hash, encoding="ascii")
            self._put(f"questions/{publication.question}", own)

    def fetch(self, file: Entry, target: Path) -> None:
        """See :class:`envbuild.sharing.share.Share`."""
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as name:
            own = Path(name) / "files" / file.sha256
            own.parent.mkdir()
            if target.exists():
                target.rename(own)
            try:
                self._asked(
                    {"action": "fetch", "files": [[f"files/{file.sha256}", file.size]], "into": name}, long=True
                )
            finally:
                if own.exists():
                    own.rename(target)

    def _read(self, path: str, most: int) -> bytes | None:
        size = self._asked({"action": "sizes", "paths": [path]})["sizes"].get(path)
        if size is None:
            return None
        if size > most:
            raise SharePoisoned(f"{path} of the share {self.said} has {size} bytes, which is too many for what it is")
        with tempfile.TemporaryDirectory(prefix="envbuild-share-") as name:
            self._asked({"action": "fetch", "files": [[path, size]], "into": name})
            return (Path(name) / path).read_bytes()

    def _put(self, path: str, file: Path) -> None:
        self._asked({"action": "put", "path": path, "file": str(file)}, long=True)

    def _asked(self, request: Mapping[str, Any], *, long: bool = False) -> dict[str, Any]:
        try:
            answer = self._questions.ask({**request, "source": self._uri}, None if long else self._seconds)
        except process.TimedOutWaiting:
            raise ShareUnreachable(f"the share {self.said} has not answered for {self._seconds:g} seconds") from None
        if "error" not in answer:
            return answer
        words = answer["message"]
        if answer["error"] in ("ModuleNotFoundError", "ImportError"):
            extra = OBJECTS[self._uri.partition(":")[0].lower()]
            raise UsageError(
                f"{self.said} cannot be used: what asks it is not installed ({words})",
                hint=f"pip install 'envbuild[{extra}]'",
            )
        hint = "is it there, and are the credentials those that the store's own tools take?"
        raise ShareUnreachable(f"the share {self.said} cannot be used: {words}", hint=hint)
