"""The files that a lock names, fetched before anything is built: from the indexes in use, by name and hash.

The lock's URLs are information alone, but for archives that the model itself asks for by URL. What is kept already is
not asked for again; it is read once more all the same, since a disk may have damaged it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import unquote, urlsplit

from envbuild import uv
from envbuild.builders.virtualenv import timed_out
from envbuild.dated_index.index import DatedIndex
from envbuild.downloads import Downloads, kept_at
from envbuild.errors import DownloadFailed, EnvbuildError, HashMismatch
from envbuild.files import sha256_of
from envbuild.indexes import Indexes
from envbuild.lock import LockedPackage
from envbuild.progress import Report, Step
from envbuild.projects import File
from envbuild.settings import Settings

_AT_ONCE = 8


class LockedFiles:
    """The files of packages of a lock, by the packages that they are of."""

    def __init__(self, indexes: Indexes, settings: Settings, report: Report, until: float) -> None:
        """:param until: when the build's time is over (:func:`time.monotonic`)."""
        self._indexes = indexes
        self._settings = settings
        self._report = report
        self._until = until

    def fetch(self, packages: Iterable[LockedPackage]) -> Mapping[str, Path]:
        """Where the file of each package lies, by its sha256; what is not kept is fetched, side by side.

        :raises DownloadFailed: one cannot be had.
        :raises HashMismatch: one is not what was locked.
        :raises BuildTimedOut: it took too long.
        """
        wanted = {package.sha256: package for package in packages}
        kept = {sha256: self._place(sha256) for sha256 in wanted if self._is_whole(sha256)}
        missing = [package for sha256, package in wanted.items() if sha256 not in kept]
        if missing:
            kept.update(self._fetched(missing))
        return kept

    def _place(self, sha256: str) -> Path:
        return kept_at(self._settings.home, sha256)

    def _is_whole(self, sha256: str) -> bool:
        place = self._place(sha256)
        if not place.is_file():
            return False
        if sha256_of(place) == sha256:
            return True
        place.unlink(missing_ok=True)
        return False

    def _fetched(self, packages: Sequence[LockedPackage]) -> dict[str, Path]:
        settings, indexes = self._settings, self._indexes
        default = "" if indexes.main else uv.default_index(settings.home)
        opened = ExitStack()
        index, everywhere = (
            opened.enter_context(DatedIndex(one, default, home=settings.home, offline=settings.offline))
            for one in (indexes, indexes.of_locked_files())
        )
        downloads = opened.enter_context(Downloads(indexes, settings.home, offline=settings.offline))
        work = _Work(packages, lambda package: self._one(package, (index, everywhere), downloads), opened.close)
        found: dict[str, Path] = {}
        try:
            for _ in packages:
                sha256, answer = work.answers.get(timeout=max(0.0, self._until - time.monotonic()))
                if isinstance(answer, BaseException):
                    raise answer
                found[sha256] = answer
        except queue.Empty:
            raise timed_out(self._settings) from None
        finally:
            work.end()
        return found

    def _one(self, package: LockedPackage, indexes: Sequence[DatedIndex], downloads: Downloads) -> Path:
        """:param indexes: the one that is asked first, and the one that is asked for what that does not have."""
        if package.kind == "archive":
            return self._download(package, package.url or "", package.size, downloads)
        try:
            chosen = next((found for index in indexes if (found := _chosen(package, index)) is not None), None)
        except HashMismatch:
            raise
        except EnvbuildError as error:
            # To resolve is another's business: here an index that does not answer is a file that cannot be had.
            message = f"the file of {package.name} cannot be fetched: {error.message}"
            raise DownloadFailed(message, hint=error.hint, details=error.details) from error
        if chosen is None:
            raise DownloadFailed(
                f"the locked file of {package.name} {package.version} is not to be had: no index has "
                f"{file_name(package)}",
                hint="is it still on the index that you use? envbuild lock --update resolves again",
            )
        return self._download(package, chosen.url, chosen.size or package.size, downloads)

    def _download(self, package: LockedPackage, url: str, size: int | None, downloads: Downloads) -> Path:
        self._report(Step("downloading", file_name(package), bytes=size))
        path = downloads.fetch(url, {"sha256": package.sha256})
        self._report(Step("downloading", file_name(package), bytes=path.stat().st_size, done=True))
        return path


def _chosen(package: LockedPackage, index: DatedIndex) -> File | None:
    """The locked file as an index lists it; ``None``: it does not.

    :raises HashMismatch: it lists another under its name.
    """
    listed = index.files(package.name)
    # What an index states no sha256 of is told by its name, and read for its sha256.
    same = next((file for file in listed if file.sha256 == package.sha256), None)
    named = next((file for file in listed if file.name == file_name(package)), None)
    if same is None and named is not None and named.sha256 is not None:
        raise HashMismatch(
            f"the index has {named.name} with sha256 {named.sha256}; {package.sha256} is locked",
            hint="the index serves another file than it did; do not install it",
        )
    return same or named


class _Work:
    """Fetching in threads that nobody waits for: a build that is interrupted, or has no more time, ends at once."""

    def __init__(
        self,
        packages: Sequence[LockedPackage],
        fetch: Callable[[LockedPackage], Path],
        at_end: Callable[[], None],
    ) -> None:
        """:param at_end: called when the last thread is done: connections that are in use cannot be closed."""
        self.answers: queue.SimpleQueue[tuple[str, Path | BaseException]] = queue.SimpleQueue()
        self._fetch = fetch
        self._left = list(reversed(packages))
        self._at_end = at_end
        self._lock = threading.Lock()
        self._running = min(_AT_ONCE, len(packages))
        for number in range(self._running):
            threading.Thread(target=self._work, name=f"envbuild-fetch-{number}", daemon=True).start()

    def end(self) -> None:
        """Begin no more."""
        with self._lock:
            self._left.clear()

    def _work(self) -> None:
        while (package := self._next()) is not None:
            try:
                self.answers.put((package.sha256, self._fetch(package)))
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                self.answers.put((package.sha256, error))
        with self._lock:
            self._running -= 1
            is_last = self._running == 0
        if is_last:
            self._at_end()

    def _next(self) -> LockedPackage | None:
        with self._lock:
            return self._left.pop() if self._left else None


def file_name(package: LockedPackage) -> str:
    """What a locked file is called, by the lock's word or by its address."""
    return package.file_name or unquote(urlsplit(package.url or "").path.rpartition("/")[2])
