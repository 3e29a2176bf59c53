"""What is served: all of the indexes as one, without what is younger than the cut."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TypeVar
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from envbuild import projects
from envbuild.accelerator import PYTORCH_HOST
from envbuild.dated_index.pages import read_kept, to_keep
from envbuild.dated_index.places import at, in_page, is_package, is_sound, on_disk, path_of, project_of
from envbuild.dated_index.server import Server, key_of
from envbuild.downloads import Downloads, write_kept
from envbuild.errors import EnvbuildError, IndexUnreachable
from envbuild.indexes import Indexes
from envbuild.projects import File
from envbuild.redaction import without_userinfo
from envbuild.requirement import version_of

_Answer = TypeVar("_Answer")

_CONNECTIONS = 8


class DatedIndex:
    """A server that is all of the indexes as one, as of a cut; it runs while the context is entered.

    Hidden are files that were uploaded at or after the cut. Where there is a cut, files whose upload time an index does
    not say are hidden as well, and those of ``find_links`` never, whatever is known of them: that is what uv does with
    ``--exclude-newer``, so both engines see the same.
    """

    def __init__(
        self,
        indexes: Indexes,
        default: str,
        *,
        cut: datetime | None = None,
        cuts: Mapping[str, datetime] = {},
        home: Path,
        offline: bool = False,
        yanked: Collection[tuple[str, str]] | None = None,
    ) -> None:
        """
        :param default: the main index where ``indexes`` names none.
        :param cut: uploads from this moment on do not count.
        :param cuts: other cuts for some projects, by name.
        :param home: the store, where files and pages are kept.
        :param offline: serve what is kept, and ask nobody.
        :param yanked: the releases, by name and version, of which files are served that were taken back (PEP 592), since
            they are pinned; ``None``: all.
        """
        self._cut = cut
        self._yanked = None if yanked is None else {(name, version_of(version)) for name, version in yanked}
        self._cuts = {str(canonicalize_name(name)): moment for name, moment in cuts.items()}
        self._downloads = Downloads(indexes, home, offline=offline)
        known = self._downloads.indexes
        self._bases = known.chain(default)
        self._only_first = known.strategy == "first-index"
        self._beside, self._after = known.beside_all(), known.after_all()
        self._lock = threading.Lock()
        self._reading: dict[str, threading.Lock] = {}
        self._read: dict[str, tuple[File, ...]] = {}
        self._linking = threading.Lock()
        self._linked: dict[str, Sequence[File]] = {}
        self._by_key: dict[str, File] = {}
        self._refusals: dict[str, None] = {}
        self._word = secrets.token_urlsafe(24)
        self._server: Server | None = None

    @property
    def url(self) -> str:
        """What pip gets as its ``--index-url``."""
        if self._server is None:
            raise RuntimeError("the index is served only while it is entered")
        return f"http://127.0.0.1:{self._server.server_port}/{self._word}/simple"

    @property
    def refusals(self) -> tuple[str, ...]:
        """What upstream said when it refused or failed us, each once: pip only says that something is missing."""
        with self._lock:
            return tuple(self._refusals)

    def __enter__(self) -> DatedIndex:
        self._server = Server(self, self._word)
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.end()
        self._downloads.close()

    def read(self, names: Iterable[str]) -> None:
        """Ask for some projects side by side, so that they are known when pip asks for one after the other.

        What fails is said when it is asked for again.
        """
        with ThreadPoolExecutor(_CONNECTIONS) as pool:
            list(pool.map(self._tried, dict.fromkeys(names)))

    def _tried(self, name: str) -> None:
        with contextlib.suppress(EnvbuildError):
            self.files(name)

    def files(self, name: str) -> tuple[File, ...]:
        """What is served of a project, in the order of the indexes; empty where none has it.

        :raises IndexUnreachable: an index fails us, or offline, what it says is not kept.
        """
        name = str(canonicalize_name(name))
        with self._lock:
            reading = self._reading.setdefault(name, threading.Lock())
        with reading:
            if name not in self._read:
                found = self._remembering(lambda: self._served(name))
                with self._lock:
                    self._by_key.update({key_of(file): file for file in found})
                self._read[name] = found
            return self._read[name]

    def fetch(self, file: File) -> Path:
        """A file's own path in the store; the path's last part is the file's sha256.

        :raises DownloadFailed: it cannot be had.
        :raises HashMismatch: it is not what the index says.
        """
        return self._remembering(lambda: self._downloads.fetch(file.url, file.hashes))

    def fetch_metadata(self, file: File) -> Path:
        """The metadata that lies beside a file (PEP 658).

        :raises DownloadFailed: it cannot be had.
        :raises HashMismatch: it is not what the index says.
        """
        address = urlsplit(file.url)
        beside = address._replace(path=f"{address.path}.metadata").geturl()
        return self._remembering(lambda: self._downloads.fetch(beside, file.metadata or {}))

    def by_key(self, key: str) -> File | None:
        """A file that was served, by what names it in our addresses."""
        with self._lock:
            return self._by_key.get(key)

    def _remembering(self, ask: Callable[[], _Answer]) -> _Answer:
        try:
            return ask()
        except EnvbuildError as error:
            with self._lock:
                self._refusals[self._downloads.redacted(error.message)] = None
            raise

    def _served(self, name: str) -> tuple[File, ...]:
        cut = self._cuts.get(name, self._cut)
        found: dict[tuple[str, str | None], File] = {}
        is_known = False
        for base in self._bases:
            listed = self._listed(base, name)
            is_known = is_known or listed is not None
            for file in listed or ():
                if cut is None or (file.uploaded is not None and file.uploaded < cut):
                    _add(found, file)
            # As uv has it: even an index that has nothing but the name has it.
            if is_known and self._only_first:
                break
        for file in self._placed(self._beside if is_known else (*self._beside, *self._after)):
            if project_of(file.name, name):
                _add(found, file)
        return tuple(file for file in found.values() if self._may_be_had(file, name))

    def _may_be_had(self, file: File, name: str) -> bool:
        return file.yanked is None or self._yanked is None or (name, file.version) in self._yanked

    # Indexes

    def _listed(self, base: str, name: str) -> Sequence[File] | None:
        """What an index lists of a project, or listed when it was last asked; ``None``: it does not have it."""
        if base.startswith("file:"):
            page = Path(path_of(base)) / name / "index.html"
            return in_page(page) if page.is_file() else None
        kept = self._page(base, name)
        if self._downloads.offline:
            return read_kept(kept, without_userinfo(base), name)
        found = self._asked(base, name)
        with contextlib.suppress(OSError):
            write_kept(kept, to_keep(found))
        return found

    def _asked(self, base: str, name: str) -> Sequence[File] | None:
        try:
            found = projects.read_files(self._downloads.client(), base, name)
        except IndexUnreachable as error:
            # It refuses what it does not have, and uv takes it so too.
            if urlsplit(base).hostname == PYTORCH_HOST and " 403 " in error.message:
                return None
            raise
        return None if found is None else [file for file in found if is_sound(file, ("http", "https"))]

    def _page(self, base: str, name: str) -> Path:
        said = f"{without_userinfo(base).rstrip('/')} {name}"
        return self._downloads.home / "pip" / "pages" / f"{hashlib.sha256(said.encode()).hexdigest()}.json"

    # Places that hold files

    def files_after_all(self) -> list[File]:
        """The files of those places that count for what no index has.

        :raises IndexUnreachable: a place fails us.
        """
        return self._placed(self._after)

    def _placed(self, places: Iterable[str]) -> list[File]:
        with self._linking:
            for place in places:
                if place not in self._linked:
                    self._linked[place] = self._in_place(place)
            return [file for place in places for file in self._linked[place]]

    def _in_place(self, place: str) -> Sequence[File]:
        """As pip has it: a page or a file at an address; a directory of files, a page or a file on the disk."""
        if not place.startswith(("http:", "https:")):
            return on_disk(Path(path_of(place)), without_userinfo(place))
        if is_package(unquote(urlsplit(place).path)):
            return [at(without_userinfo(place))]
        kept = self._page(place, "")
        if self._downloads.offline:
            return read_kept(kept, without_userinfo(place), "files") or ()
        listed = projects.read_page(self._downloads.client(), place, "files", place)
        if listed is None:
            raise IndexUnreachable(f"{without_userinfo(place)} answers 404", hint="is it right (--find-links)?")
        found = [file for file in listed if is_package(file.name) and is_sound(file, ("http", "https"))]
        with contextlib.suppress(OSError):
            write_kept(kept, to_keep(found))
        return found


def _add(found: dict[tuple[str, str | None], File], file: File) -> None:
    found.setdefault((file.name, file.sha256), file)
