"""The servers that models lie on: MLflow's own of two releases, one that speaks S3, one for files."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from kit import REPO
from machine import free_port
from virtualenvs import python_with

MLFLOW = "3.17.2"
"""What asks the servers, whatever their release is."""
MODELS = REPO / "tests" / "models"
OF_ERAS = {
    "first": MODELS / "py36_mlflow1_2" / "iris",
    "middle": MODELS / "py38_mlflow1_30" / "iris",
    "last": MODELS / "py311_mlflow3_17" / "iris",
}
Run = Callable[..., "subprocess.CompletedProcess[str]"]
REGISTRAR = Path(__file__).with_name("registrar.py")
_SECONDS = 120.0


def python_with_mlflow(shared_home: Path) -> Path:
    """A Python that has envbuild[mlflow]."""
    return python_with(shared_home, "mlflow", f"{REPO}[mlflow]", f"mlflow-skinny=={MLFLOW}", link_mode="copy")


def wait_until_answered(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"no answer from {url}: {log.read_text(errors='replace')[-2000:]}")


class MlflowServer:
    """A real ``mlflow server`` with its own database, which serves its artifacts itself."""

    def __init__(self, python: Path, folder: Path) -> None:
        self.python, self.folder = python, folder
        folder.mkdir(parents=True)
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log = folder / "log"
        words = ["server", "--backend-store-uri", f"sqlite:///{folder}/db.sqlite", "--workers", "1"]
        words += ["--artifacts-destination", str(folder / "artifacts"), "--serve-artifacts"]
        words += ["--host", "127.0.0.1", "--port", self.url.rpartition(":")[2]]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [python, "-m", "mlflow", *words],
                env=self.environ,
                stdout=log,
                stderr=log,
                cwd=folder,
                start_new_session=True,
            )
        wait_until_answered(f"{self.url}/health", self._process, self._log)

    @property
    def environ(self) -> dict[str, str]:
        # Its own programs come first: it starts others by their names.
        path = f"{self.python.parent}{os.pathsep}{os.environ['PATH']}"
        said = {"MLFLOW_TRACKING_URI": self.url, "MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"}
        return {**os.environ, "PATH": path, **said}

    def register(self, *orders: Mapping[str, object]) -> list[dict[str, str]]:
        """Have MLflow do it, as a training job does: log a model's files, register them, name a version."""
        done = subprocess.run(
            [self.python, "-W", "ignore", REGISTRAR],
            input=json.dumps(orders),
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.strip().splitlines()[-1])
        assert isinstance(found, list)
        return found

    def close(self) -> None:
        os.killpg(self._process.pid, 9)
        self._process.wait()


class S3Server:
    """moto's server: S3's own protocol, with ETags and ranges."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        log = folder / "log"
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        wait_until_answered(f"{self.url}/moto-api/", self._process, log)

    @property
    def environ(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "canary-key-id",
            "AWS_SECRET_ACCESS_KEY": "canary-secret-of-s3",
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def put(self, bucket: str, key: str, content: bytes) -> None:
        for path, data in ((bucket, None), (f"{bucket}/{key}", content)):
            request = urllib.request.Request(f"{self.url}/{path}", data=data, method="PUT")
            # Else it is taken for a form.
            request.add_header("Content-Type", "application/octet-stream")
            request.add_header("Authorization", "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/s3/aws4_request")
            with urllib.request.urlopen(request, timeout=30):
                pass

    def put_model(self, bucket: str, prefix: str, model: Path) -> None:
        for path in sorted(model.rglob("*")):
            if path.is_file():
                self.put(bucket, f"{prefix}/{path.relative_to(model)}", path.read_bytes())

    def close(self) -> None:
        os.killpg(self._process.pid, 9)
        self._process.wait()


@dataclass
class FileServer:
    """Files over HTTP, with ETags and ranges as real servers have them."""

    files: dict[str, bytes] = field(default_factory=dict)
    login: str | None = None
    """``user:password``, where it asks for one."""
    breaks_after: int | None = None
    """Of the next answer so many bytes are sent, and then the connection is gone."""
    asked: list[tuple[str, int, int]] = field(default_factory=list)
    """Path, status and bytes of every answer."""

    def __post_init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.host}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(files: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = self._answer()
            files.asked.append((self.path, status, len(body)))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            most, files.breaks_after = files.breaks_after, None
            self.wfile.write(body if most is None else body[:most])
            if most is not None:
                self.close_connection = True

        def _answer(self) -> tuple[int, dict[str, str], bytes]:
            wanted = None if files.login is None else f"Basic {base64.b64encode(files.login.encode()).decode()}"
            if wanted is not None and self.headers.get("Authorization") != wanted:
                return 401, {"WWW-Authenticate": 'Basic realm="models"'}, b"who are you?"
            content = files.files.get(self.path.partition("?")[0])
            if content is None:
                return 404, {}, b""
            etag = f'"{hashlib.sha256(content).hexdigest()[:12]}"'
            if self.headers.get("If-None-Match") == etag:
                return 304, {"ETag": etag}, b""
            since = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            if since is not None and self.headers.get("If-Range") == etag:
                return 206, {"ETag": etag}, content[int(since[1]) :]
            return 200, {"ETag": etag}, content

        def log_message(self, *words: object) -> None:
            pass

    return Handler
