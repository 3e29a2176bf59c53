"""An index as of a date, on this machine, for pips that know no dates.

A pip of 2018 to 2024 takes the newest that it sees, brings its own idea of certificates, and hands its environment to
every ``setup.py`` that it runs. So it is given a server on 127.0.0.1 in place of the indexes: that asks them with our
certificates and credentials, hides what was uploaded since the cut, and passes files on after their digests were
checked. What pip is told holds no credentials, and an address that nobody can guess.

It speaks the simple API: HTML (PEP 503) to old pips, JSON (PEP 691) to those that ask for it, with
``data-requires-python``, ``data-yanked`` (PEP 592) and the metadata beside a file (PEP 658, PEP 714).
"""

from __future__ import annotations

import contextlib
import hashlib
import html
import json
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from envbuild import projects
from envbuild.accelerator import PYTORCH_HOST
from envbuild.downloads import Downloads, write_kept
from envbuild.errors import DownloadFailed, EnvbuildError, IndexUnreachable
from envbuild.indexes import Indexes
from envbuild.model import parse_instant
from envbuild.projects import File
from envbuild.redaction import without_userinfo

_Answer = TypeVar("_Answer")

_CONNECTIONS = 8
_POLL_SECONDS = 0.02
_JOIN_SECONDS = 3.0
_JSON = "application/vnd.pypi.simple.v1+json"
_SUFFIXES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tar", ".zip")


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFile:
    """A file that is served: what the index says of it, and where it really lies, without credentials."""

    name: str
    version: Version | None
    """``None`` where its name is not that of a wheel or an sdist of today; an old pip may take it all the same."""
    url: str
    sha256: str | None
    """``None`` where the index states none: :meth:`DatedIndex.fetch` gives the file under its own."""
    size: int | None
    uploaded: datetime | None
    requires_python: str | None
    yanked: str | None
    """Why it was taken back, maybe in no words; ``None``: it was not."""
    digests: Mapping[str, str]
    metadata: Mapping[str, str] | None
    """The digests of its metadata, which lies beside it; ``None``: it does not."""

    @property
    def key(self) -> str:
        """What names it in our addresses."""
        said = f"{self.url} {sorted(self.digests.items())}"
        return hashlib.sha256(said.encode()).hexdigest()[:32]


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
    ) -> None:
        """
        :param default: the main index where ``indexes`` names none.
        :param cut: uploads from this moment on do not count.
        :param cuts: other cuts for some projects, by name.
        :param home: where files and pages are kept, below ``pip``.
        :param offline: serve what is kept, and ask nobody.
        """
        self._cut = cut
        self._cuts = {str(canonicalize_name(name)): moment for name, moment in cuts.items()}
        self._downloads = Downloads(indexes, home, offline=offline)
        known = self._downloads.indexes
        self._bases = [] if known.alone else list(dict.fromkeys((known.main or default, *known.extra)))
        self._places = known.find_links
        self._lock = threading.Lock()
        self._reading: dict[str, threading.Lock] = {}
        self._read: dict[str, tuple[IndexFile, ...]] = {}
        self._linking = threading.Lock()
        self._linked: list[File] | None = None
        self._by_key: dict[str, IndexFile] = {}
        self._refusals: dict[str, None] = {}
        self._word = secrets.token_urlsafe(24)
        self._server: _Server | None = None

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
        self._server = _Server(self, self._word)
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

    def files(self, name: str) -> tuple[IndexFile, ...]:
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
                    self._by_key.update({file.key: file for file in found})
                self._read[name] = found
            return self._read[name]

    def fetch(self, file: IndexFile) -> Path:
        """A file's own path in the store; the path's last part is the file's sha256.

        :raises DownloadFailed: it cannot be had.
        :raises HashMismatch: it is not what the index says.
        """
        return self._remembering(lambda: self._downloads.fetch(file.url, file.digests))

    def fetch_metadata(self, file: IndexFile) -> Path:
        """The metadata that lies beside a file (PEP 658).

        :raises DownloadFailed: it cannot be had.
        :raises HashMismatch: it is not what the index says.
        """
        address = urlsplit(file.url)
        beside = address._replace(path=f"{address.path}.metadata").geturl()
        return self._remembering(lambda: self._downloads.fetch(beside, file.metadata or {}))

    def by_key(self, key: str) -> IndexFile | None:
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

    def _served(self, name: str) -> tuple[IndexFile, ...]:
        cut = self._cuts.get(name, self._cut)
        found: dict[tuple[str, str | None], IndexFile] = {}
        for base in self._bases:
            for file in self._listed(base, name):
                if cut is None or (file.uploaded is not None and file.uploaded < cut):
                    _add(found, file)
        for file in self._in_places():
            if _project_of(file.name, name):
                _add(found, file)
        return tuple(found.values())

    # Indexes

    def _listed(self, base: str, name: str) -> Sequence[File]:
        """What an index lists of a project, or listed when it was last asked."""
        if base.startswith("file:"):
            page = Path(_path_of(base)) / name / "index.html"
            return _in_page(page) if page.is_file() else ()
        kept = self._page(base, name)
        if self._downloads.offline:
            return _read_kept(kept, without_userinfo(base), name)
        found = self._asked(base, name)
        with contextlib.suppress(OSError):
            write_kept(kept, _to_keep(found))
        return found

    def _asked(self, base: str, name: str) -> Sequence[File]:
        try:
            found = projects.read_files(self._downloads.client(), base, name) or ()
        except IndexUnreachable as error:
            # It refuses what it does not have, and uv takes it so too.
            if urlsplit(base).hostname == PYTORCH_HOST and " 403 " in error.message:
                return ()
            raise
        return [file for file in found if _is_sound(file, ("http", "https"))]

    def _page(self, base: str, name: str) -> Path:
        said = f"{without_userinfo(base).rstrip('/')} {name}"
        return self._downloads.home / "pip" / "pages" / f"{hashlib.sha256(said.encode()).hexdigest()}.json"

    # Places that hold files

    def _in_places(self) -> Sequence[File]:
        with self._linking:
            if self._linked is None:
                self._linked = [file for place in self._places for file in self._in_place(place)]
            return self._linked

    def _in_place(self, place: str) -> Sequence[File]:
        """As pip has it: a page or a file at an address; a directory of files, a page or a file on the disk."""
        if not place.startswith(("http:", "https:")):
            return _on_disk(Path(_path_of(place)), without_userinfo(place))
        if _is_package(unquote(urlsplit(place).path)):
            return [_at(without_userinfo(place))]
        kept = self._page(place, "")
        if self._downloads.offline:
            return _read_kept(kept, without_userinfo(place), "files")
        listed = projects.read_page(self._downloads.client(), place, "files", place)
        if listed is None:
            raise IndexUnreachable(f"{without_userinfo(place)} answers 404", hint="is it right (--find-links)?")
        found = [file for file in listed if _is_package(file.name) and _is_sound(file, ("http", "https"))]
        with contextlib.suppress(OSError):
            write_kept(kept, _to_keep(found))
        return found


def _add(found: dict[tuple[str, str | None], IndexFile], file: File) -> None:
    served = _index_file(file)
    found.setdefault((served.name, served.sha256), served)


def _index_file(file: File) -> IndexFile:
    digests = dict(file.hashes)
    return IndexFile(
        name=file.name,
        version=file.version,
        url=file.url,
        sha256=digests.get("sha256"),
        size=file.size,
        uploaded=file.uploaded,
        requires_python=file.requires_python,
        yanked=file.yanked,
        digests=digests,
        metadata=file.metadata,
    )


def _is_sound(file: File, schemes: Sequence[str]) -> bool:
    """Whether a file has a name that is one, and lies where its kind of index may have it: never on our own disk."""
    named = bool(file.name) and not file.name.startswith(".") and not {"/", "\\", "\0"} & set(file.name)
    return named and urlsplit(file.url).scheme in schemes


def _is_package(name: str) -> bool:
    return name.endswith((".whl", *_SUFFIXES))


def _project_of(file_name: str, project: str) -> bool:
    """Whether a file's name says that it is of a project (by its normalised name)."""
    if file_name.endswith(".whl"):
        return canonicalize_name(file_name.partition("-")[0]) == project
    stem = next((file_name.removesuffix(suffix) for suffix in _SUFFIXES if file_name.endswith(suffix)), file_name)
    # Both a project's name and a version may hold hyphens.
    parts = stem.split("-")
    return any(
        canonicalize_name("-".join(parts[:count])) == project and _is_version("-".join(parts[count:]))
        for count in range(1, len(parts))
    )


def _is_version(text: str) -> bool:
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def _path_of(place: str) -> str:
    return unquote(urlsplit(place).path) if place.startswith("file:") else place


def _on_disk(path: Path, place: str) -> Sequence[File]:
    path = path.expanduser().absolute()
    if path.is_dir():
        return [_local(entry) for entry in sorted(path.iterdir()) if _is_package(entry.name) and entry.is_file()]
    if _is_package(path.name) and path.is_file():
        return [_local(path)]
    if path.is_file():
        return _in_page(path)
    raise IndexUnreachable(f"there is nothing at {place}", hint="is it right (--find-links)?")


def _in_page(path: Path) -> Sequence[File]:
    """The files that a page on our own disk links to, which may lie there as well."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise IndexUnreachable(f"{path} cannot be read: {error.strerror}") from error
    found = projects.files_in_html(text, path.as_uri())
    return [file for file in found if _is_package(file.name) and _is_sound(file, ("http", "https", "file"))]


def _local(path: Path) -> File:
    try:
        with open(path, "rb") as file:
            digest = _digest(file)
        return replace(_at(path.as_uri()), hashes={"sha256": digest}, size=path.stat().st_size)
    except OSError as error:
        raise DownloadFailed(f"{path} cannot be read: {error.strerror}") from error


def _digest(file: Any) -> str:
    total = hashlib.sha256()
    while chunk := file.read(2**20):
        total.update(chunk)
    return total.hexdigest()


def _at(url: str) -> File:
    address, _, fragment = url.partition("#")
    algorithm, _, digest = fragment.partition("=")
    return File(
        name=unquote(urlsplit(address).path.rpartition("/")[2]),
        url=address,
        hashes={algorithm: digest.lower()} if digest else {},
    )


# Pages that are kept


def _to_keep(files: Iterable[File]) -> bytes:
    listed = [
        {
            "filename": file.name,
            "url": file.url,
            "hashes": dict(file.hashes),
            "requires-python": file.requires_python,
            "size": file.size,
            "upload-time": None if file.uploaded is None else file.uploaded.isoformat(),
            "yanked": file.yanked,
            "core-metadata": None if file.metadata is None else dict(file.metadata),
        }
        for file in files
    ]
    return json.dumps(listed).encode()


def _read_kept(path: Path, place: str, name: str) -> Sequence[File]:
    try:
        return [
            File(
                name=one["filename"],
                url=one["url"],
                hashes=one["hashes"],
                requires_python=one["requires-python"],
                size=one["size"],
                uploaded=None if one["upload-time"] is None else parse_instant(one["upload-time"]),
                yanked=one["yanked"],
                metadata=one["core-metadata"],
            )
            for one in json.loads(path.read_bytes())
        ]
    except (OSError, ValueError, KeyError, TypeError):
        raise IndexUnreachable(
            f"what {place} says of {name} is not kept, and the network is not to be used",
            hint="run once without --offline",
        ) from None


# The server


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, index: DatedIndex, word: str) -> None:
        super().__init__(("127.0.0.1", 0), type("Handler", (_Handler,), {"index": index, "word": word}))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(
            target=self.serve_forever, args=(_POLL_SECONDS,), name="envbuild-index", daemon=True
        )

    def verify_request(self, request: Any, client_address: Any) -> bool:
        del request
        return not _is_anothers(client_address[1], self.server_port)

    def server_bind(self) -> None:
        # The base class asks the resolver for our own name, which may take seconds and is not needed.
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", int(self.server_address[1])

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self.shutdown()
        self.server_close()
        with self._lock:
            left = list(self._open)
        for connection in left:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(_JOIN_SECONDS)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._open.discard(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A pip that is stopped goes away without a word."""


def _is_anothers(port: int, own_port: int) -> bool:
    """Whether the process at the other end is known to be another user's.

    pip gives the index's address to the pips that it starts by their arguments, which every user may read. The kernel
    (Linux) says whose a connection is: its local and its remote address, and in the eighth field the user.
    """
    try:
        lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return False
    for fields in map(str.split, lines):
        if fields[1].endswith(f":{port:04X}") and fields[2].endswith(f":{own_port:04X}"):
            return int(fields[7]) not in (os.geteuid(), 0)
    return False


class _Handler(BaseHTTPRequestHandler):
    index: DatedIndex
    word: str
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = [unquote(part) for part in urlsplit(self.path).path.strip("/").split("/")]
        if not secrets.compare_digest(parts[0].encode(), self.word.encode()):
            self._say(404, "there is nothing here")
            return
        try:
            self._answer(parts[1:])
        except EnvbuildError as error:
            self._say(502, error.message)

    do_HEAD = do_GET  # noqa: N815 - the base class's name for it

    def _answer(self, parts: list[str]) -> None:
        if parts == ["simple"]:
            # setuptools looks here for names that it does not find as they are written.
            self._send(200, "text/html; charset=utf-8", _html("", (), self.word))
        elif len(parts) == 2 and parts[0] == "simple":
            self._project(str(canonicalize_name(parts[1])))
        elif len(parts) == 3 and parts[0] == "files" and (file := self.index.by_key(parts[1])) is not None:
            self._file(file, parts[2])
        else:
            self._say(404, "there is nothing here")

    def _project(self, name: str) -> None:
        files = self.index.files(name)
        if not files:
            self._say(404, f"no index has {name}, as of the date that is asked for")
        elif _JSON in self.headers.get("Accept", ""):
            self._send(200, _JSON, _json(name, files, self.word))
        else:
            self._send(200, "text/html; charset=utf-8", _html(name, files, self.word))

    def _file(self, file: IndexFile, name: str) -> None:
        if name == file.name:
            self._send_file(self.index.fetch(file))
        elif name == f"{file.name}.metadata" and file.metadata is not None:
            self._send_file(self.index.fetch_metadata(file))
        else:
            self._say(404, "there is nothing here")

    def _send_file(self, path: Path) -> None:
        with open(path, "rb") as content:
            self._head(200, "application/octet-stream", path.stat().st_size)
            if self.command == "GET":
                self.wfile.flush()
                self.connection.sendfile(content)

    def _say(self, status: int, sentence: str) -> None:
        self._send(status, "text/plain; charset=utf-8", f"{sentence}\n".encode())

    def _send(self, status: int, kind: str, content: bytes) -> None:
        self._head(status, kind, len(content))
        if self.command == "GET":
            self.wfile.write(content)

    def _head(self, status: int, kind: str, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        # Our addresses are others the next time: what pip kept by them nobody would find.
        self.send_header("Cache-Control", "no-store")
        self.end_headers()

    def version_string(self) -> str:
        return "envbuild"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class has it
        """Say nothing."""


def _address(file: IndexFile, word: str) -> str:
    """Where a file lies, as seen from any page."""
    return f"/{word}/files/{file.key}/{quote(file.name, safe='')}"


def _json(name: str, files: Iterable[IndexFile], word: str) -> bytes:
    listed: list[dict[str, Any]] = []
    for file in files:
        one: dict[str, Any] = {"filename": file.name, "url": _address(file, word), "hashes": dict(file.digests)}
        if file.requires_python is not None:
            one["requires-python"] = file.requires_python
        if file.yanked is not None:
            one["yanked"] = file.yanked or True
        if file.metadata is not None:
            one["core-metadata"] = dict(file.metadata) or True
        listed.append(one)
    return json.dumps({"meta": {"api-version": "1.0"}, "name": name, "files": listed}).encode()


def _html(name: str, files: Iterable[IndexFile], word: str) -> bytes:
    links = "\n".join(_link(file, word) for file in files)
    title = html.escape(f"Links for {name}")
    return f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body>\n{links}\n</body></html>\n".encode()


def _link(file: IndexFile, word: str) -> str:
    # One digest has room in a link: the one that every pip knows, else the first.
    chosen = [(name, file.digests[name]) for name in ("sha256", *file.digests) if name in file.digests][:1]
    fragment = "".join(f"#{name}={digest}" for name, digest in chosen)
    attributes = {"href": f"{_address(file, word)}{fragment}"}
    if file.requires_python is not None:
        attributes["data-requires-python"] = file.requires_python
    if file.yanked is not None:
        attributes["data-yanked"] = file.yanked
    if file.metadata is not None:
        attributes["data-core-metadata"] = next((f"{n}={d}" for n, d in file.metadata.items()), "true")
    said = " ".join(f'{name}="{html.escape(value)}"' for name, value in attributes.items())
    return f"<a {said}>{html.escape(file.name)}</a><br>"
