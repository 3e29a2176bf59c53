"""A server of channels on this machine: with a login, with a token in the path, broken in many ways."""

from __future__ import annotations

import base64
import email.utils
import hashlib
import re
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote


class ChannelServer:
    """A real HTTP server of the channels in a folder; what it does may be changed while it runs."""

    def __init__(self, folder: Path, tls: ssl.SSLContext | None = None) -> None:
        self.folder = folder
        self.scheme = "http" if tls is None else "https"
        self.login: tuple[str, str] | None = None
        """Basic authentication."""
        self.token: str | None = None
        """What must stand in the path: ``/t/TOKEN/CHANNEL/…``."""
        self.refusal = 401
        """What who does not log in is told."""
        self.status: int | None = None
        """What everybody is told instead of an answer."""
        self.served: dict[str, bytes] = {}
        """Other contents, by the ends of paths."""
        self.cut: str | None = None
        """The end of paths whose answers break off in the middle."""
        self.ranges = True
        """Whether parts of files may be asked for."""
        self.open = threading.Event()
        """While it is not set, answers wait."""
        self.open.set()
        self.waiting = threading.Event()
        self.requests: list[str] = []
        """The paths asked for, with the token if there was one."""
        self.answers: list[tuple[int, str]] = []
        """What they were told: the status and the path."""
        self.authorizations: list[str | None] = []
        handler = type("Handler", (_Handler,), {"channels": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def url(self, name: str) -> str:
        """The address of a channel, with nothing secret in it."""
        return f"{self.scheme}://{self.host}/{name}"

    def url_with_login(self, name: str) -> str:
        """The same with user and password."""
        assert self.login is not None
        return f"{self.scheme}://{':'.join(self.login)}@{self.host}/{name}"

    def url_with_token(self, name: str) -> str:
        """The same with the token, in conda's way."""
        return f"{self.scheme}://{self.host}/t/{self.token}/{name}"

    def fetched(self) -> list[str]:
        """The names of the files that were given out whole or in parts, each once."""
        return list(dict.fromkeys(path.rpartition("/")[2] for status, path in self.answers if status in (200, 206)))

    def close(self) -> None:
        self.open.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def let_in(self, authorization: str | None, path: str) -> str | None:
        """The path without the token; ``None`` where who asks may not."""
        if self.login is not None:
            wanted = base64.b64encode(":".join(self.login).encode()).decode()
            if authorization != f"Basic {wanted}":
                return None
        if self.token is None:
            return path
        start = f"/t/{self.token}/"
        return "/" + path.removeprefix(start) if path.startswith(start) else None

    def content(self, path: str) -> tuple[bytes, float] | None:
        """A file and when it was changed."""
        for end, content in self.served.items():
            if path.endswith(end):
                return content, 0.0
        place = self.folder / path.lstrip("/")
        if not place.is_file() or ".." in place.parts:
            return None
        return place.read_bytes(), place.stat().st_mtime


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed go away without a word."""


class _Handler(BaseHTTPRequestHandler):
    channels: ChannelServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        channels = self.channels
        channels.requests.append(self.path)
        channels.authorizations.append(self.headers.get("Authorization"))
        if not channels.open.is_set():
            channels.waiting.set()
            channels.open.wait(60)
        path = channels.let_in(self.headers.get("Authorization"), unquote(self.path))
        if path is None:
            self._answer(channels.refusal, b"who are you?", {"WWW-Authenticate": 'Basic realm="channels"'})
        elif channels.status is not None:
            self._answer(channels.status, b"not now")
        elif (found := channels.content(path)) is None:
            self._answer(404, b"no")
        else:
            self._found(*found)

    do_HEAD = do_GET  # noqa: N815 - the base class's name for it

    def _found(self, content: bytes, changed: float) -> None:
        kept = {
            "Last-Modified": email.utils.formatdate(changed, usegmt=True),
            "ETag": f'"{hashlib.sha256(content).hexdigest()[:16]}"',
            "Cache-Control": "public, max-age=0",
        }
        if self.headers.get("If-None-Match") == kept["ETag"]:
            self._answer(304, b"", kept)
            return
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked is None or not self.channels.ranges:
            self._answer(200, content, kept | ({"Accept-Ranges": "bytes"} if self.channels.ranges else {}))
            return
        first = int(asked[1]) if asked[1] else max(0, len(content) - int(asked[2]))
        last = min(int(asked[2]), len(content) - 1) if asked[1] and asked[2] else len(content) - 1
        kept["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        self._answer(206, content[first : last + 1], kept)

    def _answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.channels.answers.append((status, self.path))
        try:
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/octet-stream")
            if status != 304:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                breaks_off = self.channels.cut is not None and self.path.endswith(self.channels.cut)
                self.wfile.write(content[: len(content) // 2] if breaks_off else content)
                self.close_connection = self.close_connection or breaks_off
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class has it
        """Say nothing."""
