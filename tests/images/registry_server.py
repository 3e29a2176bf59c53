"""Registries on this machine: Debian's docker-registry, and a toy that misbehaves as registries and proxies do."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from machine import free_port

USER, PASSWORD = "robot", "canary-9d41f6c2e7"
# htpasswd -nbBC 4 robot canary-9d41f6c2e7
HTPASSWD = "robot:$2y$04$6VyUs1SIu0xM33V7iWhSD.JTq.Wb8zDFF8gE3J/1T.XklkWdt4fmi\n"
CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


@contextmanager
def docker_registry(directory: Path, *, login: bool = False) -> Iterator[str]:
    """Debian's docker-registry with a storage of its own; its host and port."""
    directory.mkdir()
    port = free_port()
    text = CONFIG.format(root=directory / "storage", port=port)
    if login:
        (directory / "htpasswd").write_text(HTPASSWD)
        text += f"auth: {{htpasswd: {{realm: test, path: {directory / 'htpasswd'}}}}}\n"
    (directory / "config.yml").write_text(text)
    with open(directory / "log", "wb") as log:
        command = ["docker-registry", "serve", str(directory / "config.yml")]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_for(port, process, directory / "log")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass
class Seen:
    """A request that arrived."""

    method: str
    path: str
    authorization: str | None
    body: bytes


@dataclass
class Toy:
    """A registry in memory; what it does may be changed while it runs."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    login: str | None = None
    """``basic`` or ``bearer``."""
    realm: str | None = None
    """Where its tokens are to be had; its own ``/token`` where it is not set."""
    token: str = "canary-token-5a77"
    next_token: str | None = None
    """Takes the place of ``token`` when an upload begins."""
    identity_token: str = "canary-identity-31c9"
    faults: list[tuple[str, str, int]] = field(default_factory=list)
    """Method, a pattern in the path, and the status to answer once; 0 cuts the connection."""
    words: str = "no"
    elsewhere: str | None = None
    """Where uploads and downloads of blobs are led to."""
    referrers_api: bool = False
    hanging: threading.Event | None = None
    """Set when a blob arrives, which is then never answered."""
    address: str = ""

    @property
    def root(self) -> str:
        return f"http://{self.address}"

    def asked(self, method: str, part: str = "") -> list[Seen]:
        return [one for one in self.seen if one.method == method and part in one.path]


@contextmanager
def toy_registry(certificate: Path | None = None) -> Iterator[Toy]:
    """A toy, over TLS where it has a certificate (and its key, in one file)."""
    toy = Toy()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"toy": toy}))
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        # Its handshake is the handler's, or one client that is slow would keep all others waiting.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    toy.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield toy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    toy: Toy

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def __getattr__(self, name: str) -> Callable[[], None]:
        """One method for all of HTTP's: ``do_GET``, ``do_PUT``."""
        if name.startswith("do_"):
            return self.handle_any
        raise AttributeError(name)

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.toy.seen.append(Seen(self.command, self.path, self.headers.get("Authorization"), body))
        for fault in self.toy.faults:
            method, pattern, status = fault
            if method == self.command and re.search(pattern, self.path):
                self.toy.faults.remove(fault)
                self.fail(status)
                return
        if self.path.startswith("/token"):
            self.give_token(body)
        elif self.toy.login is not None and not self.is_logged_in():
            self.challenge()
        else:
            self.serve(body)

    def fail(self, status: int) -> None:
        if status == 0:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.answer(status, json.dumps({"errors": [{"code": "X", "message": self.toy.words}]}).encode())

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def is_logged_in(self) -> bool:
        wanted = basic(USER, PASSWORD) if self.toy.login == "basic" else f"Bearer {self.toy.token}"
        return self.headers.get("Authorization") == wanted

    def challenge(self) -> None:
        if self.toy.login == "basic":
            self.answer(401, WWW_Authenticate='Basic realm="toy"')
        else:
            realm = self.toy.realm or f"{self.toy.root}/token"
            self.answer(401, WWW_Authenticate=f'Bearer realm="{realm}",service="toy",scope="repository:x:pull"')

    def give_token(self, body: bytes) -> None:
        form = parse_qs(body.decode())
        known = self.headers.get("Authorization") == basic(USER, PASSWORD)
        if known or form.get("refresh_token") == [self.toy.identity_token]:
            self.answer(200, json.dumps({"access_token": self.toy.token}).encode())
        else:
            self.answer(401, json.dumps({"errors": [{"message": "incorrect username or password"}]}).encode())

    def serve(self, body: bytes) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        kind, key = path.split("/")[-2:]
        if path.endswith("/blobs/uploads/"):
            self.toy.token, self.toy.next_token = self.toy.next_token or self.toy.token, None
            self.answer(202, Location=f"{self.toy.elsewhere or ''}/v2/x/blobs/uploads/1?_state=a%2Fb%3D")
        elif kind == "uploads":
            self.take_blob(body, query)
        elif kind == "blobs":
            self.give_blob(key)
        elif kind == "manifests" and self.command == "PUT":
            self.take_manifest(key, body)
        elif kind == "manifests":
            self.give(self.toy.manifests.get(key))
        elif kind == "referrers" and self.toy.referrers_api:
            self.list_referrers(key, query)
        else:
            self.answer(404, b"404 page not found")

    def take_blob(self, body: bytes, query: dict[str, list[str]]) -> None:
        if self.toy.hanging is not None:
            self.toy.hanging.set()
            threading.Event().wait()
        digest = query["digest"][0]
        whole = digest_of(body) == digest and query["_state"] == ["a/b="]
        self.toy.blobs[digest] = body
        self.answer(201 if whole else 400)

    def give_blob(self, digest: str) -> None:
        if self.toy.elsewhere is not None and self.command == "GET":
            self.answer(307, Location=f"{self.toy.elsewhere}{self.path}")
        else:
            self.give(self.toy.blobs.get(digest))

    def give(self, content: bytes | None) -> None:
        if content is None:
            self.answer(404, json.dumps({"errors": [{"message": "unknown"}]}).encode())
        else:
            self.answer(200, content, Content_Type="application/json")

    def take_manifest(self, key: str, body: bytes) -> None:
        self.toy.manifests[key] = self.toy.manifests[digest_of(body)] = body
        subject = json.loads(body).get("subject")
        more = {"OCI_Subject": subject["digest"]} if subject and self.toy.referrers_api else {}
        self.answer(201, Docker_Content_Digest=digest_of(body), **more)

    def list_referrers(self, subject: str, query: dict[str, list[str]]) -> None:
        """One a page, which is allowed."""
        found = []
        for digest, content in sorted(self.toy.manifests.items()):
            manifest = json.loads(content)
            if digest.startswith("sha256:") and manifest.get("subject", {}).get("digest") == subject:
                entry = {"digest": digest, "size": len(content), "artifactType": manifest["artifactType"]}
                found.append({"mediaType": manifest["mediaType"], **entry})
        page = int(query.get("page", ["0"])[0])
        more = {"Link": f'</v2/x/referrers/{subject}?page={page + 1}>; rel="next"'} if page + 1 < len(found) else {}
        index = {"schemaVersion": 2, "manifests": found[page : page + 1]}
        self.answer(200, json.dumps(index).encode(), **more)
