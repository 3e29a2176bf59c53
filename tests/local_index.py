"""A package index on this machine, in as many ways as indexes behave."""

from __future__ import annotations

import base64
import html
import json
import ssl
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from packaging.utils import canonicalize_name
from tiny import File


class LocalIndex:
    """A real HTTP server with packages; what it does may be changed while it runs."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """:param tls: speak TLS, on these terms."""
        self.files: list[File] = []
        self.upload_times = True
        """With them it speaks PEP 691 (JSON), without PEP 503 (HTML)."""
        self.login: tuple[str, str] | None = None
        self.served: dict[str, bytes] = {}
        """Other contents for some file names than those whose hashes the index states."""
        self.said: dict[str, dict[str, Any]] = {}
        """What it says of some file names besides, by the JSON form's keys."""
        self.open = threading.Event()
        """While it is not set, answers wait."""
        self.open.set()
        self.waiting = threading.Event()
        self.lasting = False
        """Whether a project's page may be kept, as the public index says of its own for a while."""
        self.requests: list[str] = []
        self.absent = 404
        """What it says of what it does not have."""
        self.folders = {"simple"}
        """Where its projects' pages lie."""
        self.status: int | None = None
        self._token = uuid.uuid4().hex
        handler = type("Handler", (_Handler,), {"index": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._scheme = "http"
        if tls is not None:
            self._scheme = "https"
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def root(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}/{self._token}"

    @property
    def url(self) -> str:
        return f"{self.root}/simple"

    def with_login(self, user: str, password: str) -> str:
        return self.url.replace("http://", f"http://{user}:{password}@")

    def add(self, *files: File) -> LocalIndex:
        self.files += files
        return self

    def close(self) -> None:
        self.open.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def page(self, project: str, *, as_json: bool) -> tuple[str, bytes] | None:
        found = [file for file in self.files if canonicalize_name(file.project) == project]
        if not found:
            return None
        if as_json and self.upload_times:
            return "application/vnd.pypi.simple.v1+json", json.dumps(self._project(project, found)).encode()
        links = [
            f'<a href="../../files/{file.name}#sha256={file.sha256}"{self._attributes(file)}>{html.escape(file.name)}</a>'
            for file in found
        ]
        return "text/html", f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()

    def _project(self, project: str, found: list[File]) -> dict[str, Any]:
        listed = [
            {
                "filename": file.name,
                "url": f"../../files/{file.name}",
                "hashes": {"sha256": file.sha256},
                "size": len(file.content),
                "upload-time": file.uploaded,
                **self.said.get(file.name, {}),
            }
            for file in found
        ]
        return {"meta": {"api-version": "1.1"}, "name": project, "versions": [], "files": listed}

    def _attributes(self, file: File) -> str:
        said = {name: value for name, value in self.said.get(file.name, {}).items() if isinstance(value, str)}
        return "".join(f' data-{name}="{html.escape(value)}"' for name, value in said.items())

    def file(self, name: str) -> bytes | None:
        return self.served.get(name) or next((file.content for file in self.files if file.name == name), None)

    def let_in(self, authorization: str | None) -> bool:
        if self.login is None:
            return True
        wanted = base64.b64encode(":".join(self.login).encode()).decode()
        return authorization == f"Basic {wanted}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed go away without a word."""


class _Handler(BaseHTTPRequestHandler):
    index: LocalIndex
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        index = self.index
        index.requests.append(self.path)
        if not index.open.is_set():
            index.waiting.set()
            index.open.wait(60)
        if not index.let_in(self.headers.get("Authorization")):
            self._answer(401, "text/plain", b"who are you?")
        elif index.status is not None:
            self._answer(index.status, "text/plain", b"not now")
        else:
            self._found(self.path.strip("/").split("/")[1:])

    do_HEAD = do_GET  # noqa: N815 - the base class's name for it

    def _found(self, parts: list[str]) -> None:
        answer: tuple[str, bytes] | None = None
        if len(parts) == 2 and parts[0] in self.index.folders:
            answer = self.index.page(parts[1], as_json="json" in self.headers.get("Accept", ""))
        elif len(parts) == 2 and parts[0] == "files":
            content = self.index.file(parts[1])
            answer = None if content is None else ("application/octet-stream", content)
        if answer is None:
            self._answer(self.index.absent, "text/plain", b"no")
        else:
            self._answer(200, *answer)

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        try:
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="index"')
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            # Files never change, as on the public index; a project's page does in these tests.
            lasting = status == 200 and (kind == "application/octet-stream" or self.index.lasting)
            self.send_header("Cache-Control", "public, max-age=31536000, immutable" if lasting else "no-store")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class has it
        """Say nothing."""
