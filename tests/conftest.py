"""What the tests share: a clean environment, a store that lives on between runs, tiny models, indexes of our own."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import sys
import types
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import steady  # noqa: F401 - imported for its effect
from kit import REPO, Kit
from local_index import LocalIndex
from tiny import File, write_model

from envbuild import downloads, interpreters, uv
from envbuild.errors import InterpreterNotFound
from envbuild.indexes import Indexes
from envbuild.pylock import read_lock
from envbuild.settings import Settings
from envbuild.target import here

# What this machine's user set up for pip, uv or Python is not what is tested.
for _name in list(os.environ):
    if _name.startswith(("PIP_", "UV_", "ENVBUILD_")) and _name not in ("PIP_CERT", "ENVBUILD_TEST_HOME"):
        del os.environ[_name]
for _name in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONPATH"):
    os.environ.pop(_name, None)
os.environ["PIP_CONFIG_FILE"] = os.environ["NETRC"] = os.devnull
# No channel can be reached from most places where tests run; those of tests/conda make their own and say so.
os.environ["ENVBUILD_CONDA_PACKAGES"] = "map"


# What a test needs that a machine may lack, by where it stands; eras say their Python themselves (py36_mlflow1_2).
_NEEDS = {
    "tests/integration/": ("python3.8", "python3.9", "python3.10"),
    "test_the_documented_fastai": ("python3.8",),
    "test_a_git_requirement": ("git",),
    "test_second_predict.py": ("unshare",),
    "tests/indexes/": ("python3.8",),
    "tests/indexes/test_certificates.py": ("openssl",),
    "tests/images/test_registry.py": ("docker-registry", "skopeo", "openssl"),
    "tests/images/test_image_pushing.py": ("docker-registry", "skopeo"),
    "tests/images/test_image_": ("python3.8", "debootstrap"),
    "tests/server/": ("python3.11", "unshare", "setpriv"),
    "tests/server/test_operations.py": ("openssl",),
    "tests/server/test_guarding.py": ("curl",),
    "tests/server/test_page.py": ("chromium", "chromedriver", "curl"),
    "test_a_channel_s_certificate": ("openssl",),
    "tests/conda/": ("python3.6", "python3.8"),
    "tests/locations/test_mlflow.py": ("python3.6", "python3.8", "python3.10", "python3.11"),
    "tests/conformance/": ("python3.8", "python3.9", "python3.10", "python3.11"),
    "tests/flavors/": ("python3.8", "cc", "unshare"),
    "tests/flavors/test_every_flavor.py": ("python3.6", "python3.10", "java"),
    "tests/spark/": ("python3.6", "python3.11", "java"),
    "tests/bridge/test_confinement.py": ("bwrap", "unshare", "setpriv", "nsenter"),
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort cases into tiers, before pytest chooses by them; and report tests as not run whose needs are missing here.

    Where CI=true the latter are run, and fail.
    """
    for _, cases in groupby(items, key=lambda item: item.nodeid.partition("[")[0]):
        for at, item in enumerate(cases):
            sampled = item.get_closest_marker("sampled")
            if sampled is not None and at % sampled.args[0]:
                item.add_marker(pytest.mark.slow)
    if os.environ.get("CI") == "true":
        return
    for item in items:
        wanted = [name for part, names in _NEEDS.items() if part in item.nodeid for name in names]
        wanted += [f"python3.{minor}" for minor in re.findall(r"\[py3(\d+)_mlflow", item.nodeid)]
        missing = [name for name in dict.fromkeys(wanted) if not _is_here(name)]
        if missing:
            item.add_marker(pytest.mark.skip(reason=f"not run: {', '.join(missing)} is not here"))


@lru_cache(maxsize=32)
def _is_here(name: str) -> bool:
    if not name.startswith("python"):
        return shutil.which(name) is not None
    known = Settings.from_environ({}, home=REPO / ".cache" / "test-home", python_downloads=False)
    try:
        interpreters.find(name.removeprefix("python"), known)
    except InterpreterNotFound:
        return False
    return True


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
def make_model(tmp_path: Path) -> Callable[..., Path]:
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
def released(shared_home: Path) -> Callable[..., list[File]]:
    """Fetches real releases by their pins, for an index of our own; each once."""

    def fetch(python: str, *pins: str) -> list[File]:
        options = Settings.from_environ({}, home=shared_home)
        arguments = ["pip", "compile", "-", "--no-deps", "--format", "pylock.toml", "--no-header"]
        arguments += ["--python-version", python]
        done = uv.run(
            uv.Call(arguments=arguments, settings=options, stdin="\n".join(pins)),
            lambda step: None,
        )
        assert done.returncode == 0, done.stderr
        text = "\n".join(line for line in done.stdout.splitlines() if not line.startswith("requires-python"))
        found = []
        for package in read_lock(text, "released", python, here(python)).packages:
            path = downloads.fetch_locked(package.url or "", package.sha256, Indexes(), options)
            found.append(File(package.file_name or "", package.name, path.read_bytes()))
        return found

    return fetch


@pytest.fixture(scope="session")
def build_tools(released: Callable[..., list[File]]) -> tuple[File, ...]:
    """The real setuptools, wheel and pip, to be put on an index of our own; downloaded once."""
    return tuple(released("3.8", "setuptools==65.5.1", "wheel==0.38.4", "pip==22.3.1"))


@pytest.fixture
def kit(home: Path, local_index: LocalIndex) -> Kit:
    """The pipeline with the test's own store and index."""
    return Kit(home, local_index)


@pytest.fixture(scope="session")
def worker_module() -> Callable[[str], types.ModuleType]:
    """Imports a module of the worker's as the worker does: under its private name, not as ``envbuild.worker``."""
    package = types.ModuleType("_envbuild_worker")
    package.__path__ = [str(REPO / "envbuild" / "worker")]
    sys.modules["_envbuild_worker"] = package
    return lambda name: importlib.import_module("_envbuild_worker." + name)
