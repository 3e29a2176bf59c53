"""The server that pip sees in place of the indexes."""

from __future__ import annotations

import contextlib
import hashlib
import html
import json
import os
import secrets
import socket
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from packaging.utils import canonicalize_name

from envbuild.errors import EnvbuildError
from envbuild.projects import File

if TYPE_CHECKING:
    from envbuild.dated_index.index import DatedIndex

_POLL_SECONDS = 0.02
_JOIN_SECONDS = 3.0
_JSON = "application/vnd.pypi.simple.v1+json"


class Server(ThreadingHTTPServer):
    """Serves an index below a word that nobody can guess, from :meth:`start` to :meth:`end`."""

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
        """Whether it is our own user who asks."""
        del request
        return not _is_anothers(client_address[1], self.server_port)

    def server_bind(self) -> None:
        """Bind, and do not ask the resolver for our own name as the base class does: it may take seconds."""
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", int(self.server_address[1])

    def start(self) -> None:
        """Serve from now on, in a thread."""
        self._thread.start()

    def end(self) -> None:
        """Stop, and end what is still open."""
        self.shutdown()
        self.server_close()
        with self._lock:
            left = list(self._open)
        for connection in left:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(_JOIN_SECONDS)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer one connection."""
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

    def _file(self, file: File, name: str) -> None:
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


def key_of(file: File) -> str:
    """What names a file in our addresses."""
    said = f"{file.url} {sorted(file.hashes.items())}"
    return hashlib.sha256(said.encode()).hexdigest()[:32]


def _address(file: File, word: str) -> str:
    """Where a file lies, as seen from any page."""
    return f"/{word}/files/{key_of(file)}/{quote(file.name, safe='')}"


def _json(name: str, files: Iterable[File], word: str) -> bytes:
    listed: list[dict[str, Any]] = []
    for file in files:
        one: dict[str, Any] = {"filename": file.name, "url": _address(file, word), "hashes": dict(file.hashes)}
        if file.requires_python is not None:
            one["requires-python"] = file.requires_python
        if file.yanked is not None:
            one["yanked"] = file.yanked or True
        if file.metadata is not None:
            one["core-metadata"] = dict(file.metadata) or True
        listed.append(one)
    return json.dumps({"meta": {"api-version": "1.0"}, "name": name, "files": listed}).encode()


def _html(name: str, files: Iterable[File], word: str) -> bytes:
    links = "\n".join(_link(file, word) for file in files)
    title = html.escape(f"Links for {name}")
    return f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body>\n{links}\n</body></html>\n".encode()


def _link(file: File, word: str) -> str:
    # One digest has room in a link: the one that every pip knows, else the first.
    chosen = [(name, file.hashes[name]) for name in ("sha256", *file.hashes) if name in file.hashes][:1]
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
