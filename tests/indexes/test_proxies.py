"""An index that is reached through a proxy alone, which wants a login of its own."""

from __future__ import annotations

import base64
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from kit import Kit, run_python, versions
from local_index import LocalIndex
from tiny import wheel

MakeModel = Callable[..., Path]
USER, CANARY = "canary-user", "canary-proxy-3d8b"


class _Proxy(BaseHTTPRequestHandler):
    """Passes on what is for ``index.invalid``, to those who log in."""

    real = ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        wanted = base64.b64encode(f"{USER}:{CANARY}".encode()).decode()
        if self.headers.get("Proxy-Authorization") != f"Basic {wanted}":
            self._answer(407, "text/plain", b"")
            return
        url = self.path.replace("http://index.invalid", self.real, 1)
        request = urllib.request.Request(url, headers={"Accept": self.headers.get("Accept", "*/*")})
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
                self._answer(answer.status, answer.headers["Content-Type"], answer.read())
        except urllib.error.HTTPError as error:
            with error:
                self._answer(error.code, "text/plain", b"")

    do_HEAD = do_GET  # noqa: N815 - the base class's name for it

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class has it
        """Say nothing."""


@pytest.fixture
def behind_a_proxy(local_index: LocalIndex, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The index's address, which nobody knows but the proxy."""
    real = local_index.root.rpartition("/")[0]
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Proxy", (_Proxy,), {"real": real}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("HTTP_PROXY", f"http://{USER}:{CANARY}@127.0.0.1:{server.server_port}")
    monkeypatch.setenv("http_proxy", f"http://{USER}:{CANARY}@127.0.0.1:{server.server_port}")
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield local_index.url.replace(real, "http://index.invalid")
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_proxy_that_wants_a_login_is_passed_by_both_engines(
    either: Kit, make_model: MakeModel, behind_a_proxy: str
) -> None:
    either.index.add(wheel("acme", "1.0"))
    either.more["index_url"] = behind_a_proxy
    built = either.build(make_model(pip=["acme"]))
    assert versions(built.locked) == {"acme": "1.0"}
    assert run_python(built.environment.path, "import acme; print(acme.version)") == "1.0"
    kept = [path for path in either.home.rglob("*") if path.is_file() and not path.is_symlink()]
    assert [path for path in kept if CANARY.encode() in path.read_bytes()] == []
