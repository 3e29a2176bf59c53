"""Containers of images under test, and what is asked of them."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from machine import free_port
from stand_ins import run_docker

# With `--network host` every container shares the machine's ports.
PORT = "18080"
HARDENED = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


@contextmanager
def served(
    image: str, *options: str, command: tuple[str, ...] = (), environ: dict[str, str] | None = None
) -> Iterator[str]:
    """A container that serves; gives its name once the model answers its health check."""
    name = f"envbuild-test-{free_port()}"
    port = free_port()
    variables = [word for key, value in (environ or {}).items() for word in ("--env", f"{key}={value}")]
    arguments = command or ("serve", "--port", str(port))
    run_docker(
        "run", "--detach", "--name", name, "--network", "host", *HARDENED, *variables, *options, image, *arguments
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(url, name)
        yield f"{name} {url}"
    finally:
        run_docker("rm", "--force", "--volumes", name)


def _wait(url: str, name: str) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            if get(f"{url}/ping")[0] == 200:
                return
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.05)
    raise AssertionError(run_docker("logs", name, check=False).stderr.decode())


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def post(url: str, body: bytes, content_type: str = "application/json") -> tuple[int, Any]:
    request = urllib.request.Request(url, data=body, headers={"content-type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def predicted(image: str, body: bytes, *options: str) -> Any:
    """What a container answers on standard output."""
    done = run_docker(
        "run", "--rm", "--interactive", "--network", "none", *HARDENED, *options, image, "predict", stdin=body
    )
    return json.loads(done.stdout)


def shell(image: str, script: str, *options: str) -> str:
    """What a shell in an image says."""
    done = run_docker("run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", *options, image, "-c", script)
    return done.stdout.decode()
