"""Short ways through the pipeline and the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local_index import LocalIndex

from envbuild import pipeline
from envbuild.override.merging import settings_from
from envbuild.pipeline import Built, Locked
from envbuild.settings import Settings

REPO = Path(__file__).resolve().parent.parent
# Another user, who may read what root's home holds (the Pythons of the tests), and not write it.
AS_NOBODY = (
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=-all,+dac_read_search",
    "--ambient-caps=-all,+dac_read_search",
    "--bounding-set=-all,+dac_read_search",
)


@dataclass
class Kit:
    """A model's way through the pipeline in a few letters, with one index and one store."""

    home: Path
    index: LocalIndex
    more: dict[str, Any] = field(default_factory=dict)

    def settings(self, **changes: Any) -> Settings:
        given = {"home": self.home, "index_url": self.index.url, "python_downloads": False, "conda_packages": "map"}
        given |= {**self.more, **changes}
        return settings_from(given, {})

    def lock(self, model: Path, **changes: Any) -> Locked:
        known = self.settings(**changes)
        return pipeline.lock(pipeline.ask(model, known), known)

    def build(self, model: Path, **changes: Any) -> Built:
        known = self.settings(**changes)
        return pipeline.build(pipeline.lock(pipeline.ask(model, known), known), known)


def codes(locked: Locked | Built) -> list[str]:
    """The codes of the notices."""
    return [notice.code for notice in locked.notices]


def versions(locked: Locked) -> dict[str, str | None]:
    """What is locked."""
    return {package.name: package.version for package in locked.lock.packages}


def run_python(environment: Path, code: str) -> str:
    """What a line of Python prints inside an environment."""
    done = subprocess.run(
        [environment / "bin" / "python", "-I", "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def cli_environ(home: Path, index: str | None = None, **more: str) -> dict[str, str]:
    """The variables of a command line that knows this repository."""
    known = {**os.environ, "PYTHONPATH": str(REPO), "ENVBUILD_HOME": str(home), "ENVBUILD_PYTHON_DOWNLOADS": "0"}
    if index is not None:
        known["ENVBUILD_INDEX_URL"] = index
    return {**known, **more}


def cli(*words: str | Path, environ: dict[str, str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Run ``envbuild`` as a process of its own."""
    argv = [sys.executable, "-m", "envbuild", *map(str, words)]
    return subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=600, check=False, **options)
