"""An index server as companies run it, with a login; and a keyring, each as a program of its own."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from machine import free_port
from tiny import File
from virtualenvs import python_with
from waiting import eventually

PACKAGES = ("pypiserver==2.4.2", "passlib==1.7.4", "keyring==25.7.0", "keyrings.alt==5.0.2")


def programs(shared_home: Path) -> Path:
    """The folder of the programs ``pypi-server`` and ``keyring``."""
    return python_with(shared_home, "index-programs", *PACKAGES, link_mode="copy").parent


@contextmanager
def served_by_pypiserver(bin_: Path, folder: Path, files: Iterable[File], user: str, password: str) -> Iterator[str]:
    """The address of an index that demands a login for everything, meanwhile."""
    (folder / "packages").mkdir(parents=True)
    for file in files:
        (folder / "packages" / file.name).write_bytes(file.content)
    digest = base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()
    (folder / "htpasswd").write_text(f"{user}:{{SHA}}{digest}\n")
    port = free_port()
    words = ["run", "-i", "127.0.0.1", "-p", str(port), "-a", "update,download,list", "-P", "htpasswd"]
    argv = [str(bin_ / "pypi-server"), *words, "--disable-fallback", "packages"]
    with subprocess.Popen(argv, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            url = f"http://127.0.0.1:{port}/simple/"
            eventually(lambda: _demands_a_login(url), "the index answers")
            yield url
        finally:
            server.terminate()


def _demands_a_login(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        opener.open(url, timeout=5).close()
    except urllib.error.HTTPError as error:
        with error:
            return error.code == 401
    except OSError:
        return False
    return False
