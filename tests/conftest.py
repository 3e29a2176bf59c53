"""What the tests share: a clean environment, a store that lives on between runs, tiny models, indexes of our own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from local_index import LocalIndex
from tiny import File, write_model

REPO = Path(__file__).resolve().parent.parent

# What this machine's user set up for pip, uv or Python is not what is tested.
for _name in list(os.environ):
    if _name.startswith(("PIP_", "UV_", "ENVBUILD_")) and _name not in ("PIP_CERT", "ENVBUILD_TEST_HOME"):
        del os.environ[_name]
for _name in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONPATH"):
    os.environ.pop(_name, None)
os.environ["PIP_CONFIG_FILE"] = os.devnull
os.environ["NETRC"] = os.devnull

from envbuild import pipeline, settings, sources, uv  # noqa: E402 - after the environment is clean
from envbuild.indexes import Indexes  # noqa: E402
from envbuild.pipeline import Built, Locked  # noqa: E402
from envbuild.settings import Settings  # noqa: E402
from envbuild.target import here  # noqa: E402

MakeModel = Callable[..., Path]


@pytest.fixture(scope="session")
def shared_home() -> Path:
    """A store and uv's download cache that live on between runs; for what comes from the real index."""
    home = Path(os.environ.get("ENVBUILD_TEST_HOME") or REPO / ".cache" / "test-home").absolute()
    home.mkdir(parents=True, exist_ok=True)
    return home


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty store of the test's own."""
    return tmp_path / "home"


@pytest.fixture
def home_with_downloads(home: Path, shared_home: Path) -> Path:
    """An empty store of the test's own whose uv finds what was downloaded before."""
    home.mkdir(mode=0o700)
    (shared_home / "uv").mkdir(exist_ok=True)
    (home / "uv").symlink_to(shared_home / "uv")
    return home


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Writes a model (:func:`tiny.write_model`) into ``tmp_path``; ``name`` is its directory."""

    def make(name: str = "model", **asked: Any) -> Path:
        return write_model(tmp_path / name, **asked)

    return make


@pytest.fixture
def make_index() -> Iterator[Callable[[], LocalIndex]]:
    """Starts empty indexes."""
    started: list[LocalIndex] = []

    def make() -> LocalIndex:
        started.append(LocalIndex())
        return started[-1]

    yield make
    for index in started:
        index.close()


@pytest.fixture
def local_index(make_index: Callable[[], LocalIndex]) -> LocalIndex:
    """An empty index of the test's own."""
    return make_index()


@pytest.fixture(scope="session")
def build_tools(shared_home: Path) -> tuple[File, ...]:
    """The real setuptools, wheel and pip, to be put on an index of our own; downloaded once."""
    wanted = "setuptools==65.5.1\nwheel==0.38.4\npip==22.3.1\n"
    options = Settings.from_environ({}, home=shared_home)
    arguments = ["pip", "compile", "-", "--format", "pylock.toml", "--no-header", "--python-version", "3.8"]
    done = uv.run(uv.Call(arguments=arguments, settings=options, stdin=wanted), lambda step: None)
    assert done.returncode == 0, done.stderr
    from envbuild.lock import read_lock

    text = "\n".join(line for line in done.stdout.splitlines() if not line.startswith("requires-python"))
    found = []
    for package in read_lock(text, "tools", "3.8", here("3.8")).packages:
        path = sources.fetch(package.url or "", package.sha256, shared_home, Indexes())
        found.append(File(package.file_name or "", package.name, path.read_bytes()))
    return tuple(found)


@dataclass
class Kit:
    """A model's way through the pipeline in a few letters, with one index and one store."""

    home: Path
    index: LocalIndex
    more: dict[str, Any] = field(default_factory=dict)

    def settings(self, **changes: Any) -> Settings:
        given = {"home": self.home, "index_url": self.index.url, "python_downloads": False, **self.more, **changes}
        return Settings.from_environ({}, **{name: value for name, value in given.items() if value is not None})

    def lock(self, model: Path, **changes: Any) -> Locked:
        known = self.settings(**changes)
        return pipeline.lock(pipeline.ask(model, known), known)

    def build(self, model: Path, **changes: Any) -> Built:
        known = self.settings(**changes)
        return pipeline.build(pipeline.lock(pipeline.ask(model, known), known), known)


@pytest.fixture
def kit(home: Path, local_index: LocalIndex) -> Kit:
    """The pipeline with the test's own store and index."""
    return Kit(home, local_index)


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


__all__ = ["Kit", "MakeModel", "cli", "cli_environ", "codes", "run_python", "settings", "versions"]
