"""Pythons that tests need beside their own: virtualenvs with this and that in it, made once and kept."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

from kit import REPO

from envbuild import uv


def python_with(shared_home: Path, name: str, *wanted: str, link_mode: str | None = None) -> Path:
    """The Python of a virtualenv with these requirements.

    The tests' own Python has none of it: they take it for a model's Python, too, which would then find it.
    """
    facts = ((REPO / "pyproject.toml").read_text(), *wanted, sys.version)
    key = hashlib.sha256(" ".join(facts).encode()).hexdigest()[:12]
    place = shared_home / f"with-{name}-{key}"
    # Several of pytest's processes may want it at once.
    with open(shared_home / f"{place.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "whole").exists():
            linking = () if link_mode is None else ("--link-mode", link_mode)
            for words in (
                ("venv", "--clear", "--python", sys.executable, str(place)),
                ("pip", "install", "--python", str(place / "bin" / "python"), *linking, *wanted),
            ):
                cache = ("--no-config", "--cache-dir", str(shared_home / "uv"))
                subprocess.run([uv.binary(), *words, *cache], check=True, capture_output=True)
            (place / "whole").touch()
    return place / "bin" / "python"
