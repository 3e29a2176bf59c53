"""What the tests of bundles share: a bundle with a wheel and an sdist, and calls that have no network at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit import cli_environ
from local_index import LocalIndex

# A network of one's own has nothing in it, not even this machine.
NO_NETWORK = ("unshare", "--net") if os.geteuid() == 0 else ("unshare", "--map-root-user", "--net")
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
USER, CANARY = "deployer", "canary-51d07e"
ANSWER = {"predictions": ["1.0", "built by 1.0", [1]]}
LOADER = """
import fruit, nut

class Versions:
    def predict(self, data):
        return [fruit.version, nut.version, data]

def _load_pyfunc(path):
    return Versions()
"""


@dataclass(frozen=True)
class Made:
    """A bundle, and what it was made from."""

    bundle: Path
    model: Path
    home: Path
    index: LocalIndex
    lock_hash: str

    @property
    def input(self) -> Path:
        """A request's body."""
        return self.model.parent / "in.json"

    def environ(self, home: Path | None = None) -> dict[str, str]:
        """The variables of a call that may ask the index."""
        return cli_environ(home or self.home, self.index.with_login(USER, CANARY))


def offline(home: Path, *words: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run ``envbuild`` where there is no network, and no word of an index."""
    argv = [*NO_NETWORK, sys.executable, "-m", "envbuild", *map(str, words)]
    known = cli_environ(home, **environ)
    return subprocess.run(argv, env=known, capture_output=True, text=True, timeout=600, check=False)


def answer_of(done: subprocess.CompletedProcess[str]) -> Any:
    """What a call printed as JSON."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def code_of(done: subprocess.CompletedProcess[str]) -> str | None:
    """The stable code of the error that a call ended with."""
    assert "Traceback" not in done.stderr, done.stderr
    found = [line for line in done.stderr.splitlines() if line.startswith("error[")]
    return found[-1].removeprefix("error[").partition("]")[0] if found else None


def nothing_was_used(home: Path) -> bool:
    """Whether nothing of a bundle came into a store."""
    return not [path for name in ("bundles", "files", "store", "uv") for path in (home / name).rglob("*")]
