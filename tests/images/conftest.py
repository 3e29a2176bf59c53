"""A real daemon, bases that stand in for the official ones, and a shelf that is filled once."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kit import cli_environ
from local_index import LocalIndex
from stand_ins import python, run_docker

from envbuild.images.base import BaseOptions, resolve
from envbuild.images.daemon import Daemon
from envbuild.images.ground import Demanded, found_out, ground
from envbuild.images.server_layer import server_layer
from envbuild.images.shelf import Shelf
from envbuild.images.workshop import Workshop
from envbuild.settings import Settings


def _answers() -> bool:
    # The SDK leaves a socket open where nobody answers, and some test or other would be blamed for it.
    program = shutil.which("docker")
    return program is not None and subprocess.run([program, "info"], capture_output=True, check=False).returncode == 0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a daemon its tests are not run; where one is required they are run, and fail."""
    if os.environ.get("ENVBUILD_REQUIRE_DOCKER") == "1" or _answers():
        return
    for item in items:
        if "/images/test_image_" in item.nodeid:
            item.add_marker(pytest.mark.skip(reason="not run: no Docker daemon answers"))


@pytest.fixture(scope="session")
def base() -> str:
    """A base with Python 3.8."""
    return python("3.8")


@pytest.fixture(scope="session")
def filled_shelf(shared_home: Path, base: str) -> list[Path]:
    """A shelf with the layer of the HTTP side, which comes from the real index, and what is in the base; filled once."""
    settings = Settings.from_environ({}, home=shared_home, python_downloads=False)
    with Daemon.connect() as daemon:
        return _filled(Workshop(daemon, Shelf(shared_home), settings, lambda step: None), base)


def _filled(workshop: Workshop, base: str) -> list[Path]:
    settings = workshop.settings
    server = server_layer(workshop.shelf, settings, workshop.report)
    known = resolve(workshop.daemon, workshop.shelf, base, "tests", settings, BaseOptions(update=True), workshop.report)
    facts = found_out(workshop, known, server, "3.8")
    demanded = Demanded(python="3.8", interpreter=None, packages=())
    under = ground(workshop, known, facts, server, demanded)
    # With an image that stays, the daemon keeps these layers from one test to the next.
    workshop.load(under.config(), ["envbuild-tests/ground:1"], under.parts, known)
    shelf = workshop.shelf.home / "images"
    patterns = (f"layers/server-{server.key}.*", "layers/users-*", "notes/server-python-*", "notes/facts-*")
    return [path for pattern in patterns for path in shelf.glob(pattern)]


@pytest.fixture
def make_home(filled_shelf: list[Path], tmp_path: Path) -> Callable[[str], Path]:
    """Makes homes of a test's own whose shelf has the HTTP side already."""

    def make(name: str = "home") -> Path:
        home = tmp_path / name
        for part in ("layers", "notes"):
            (home / "images" / part).mkdir(parents=True)
        for path in filled_shelf:
            shutil.copyfile(path, home / "images" / path.parent.name / path.name)
        home.chmod(0o700)
        return home

    return make


@pytest.fixture
def image_environ(make_home: Callable[[str], Path], local_index: LocalIndex, base: str) -> dict[str, str]:
    """What ``envbuild image`` is called with: a home and an index of the test's own, and the base with Python 3.8."""
    return cli_environ(make_home("home"), local_index.url, ENVBUILD_BASE_IMAGE=base, ENVBUILD_BUILD_NETWORK="host")


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test leaves neither containers nor nameless images behind; the images that it made are removed."""
    if "test_image_" not in request.node.nodeid:
        yield
        return
    before = _state()
    yield
    after = _state()
    # Models of one era share the images of their environments, and remove them when they are through.
    kept = ("envbuild-tests/", "env:") if "test_image_eras" in request.node.nodeid else ("envbuild-tests/",)
    for name in sorted(after["tags"] - before["tags"]):
        if not name.startswith(kept):
            run_docker("rmi", "--force", name, check=False)
    assert after["containers"] == before["containers"]
    assert after["nameless"] <= before["nameless"]
    assert not any("envbuild-stage" in name for name in after["tags"])


def _state() -> dict[str, set[str]]:
    """What there is of ours; others may use the daemon meanwhile."""

    def lines(*words: str) -> set[str]:
        return set(run_docker(*words).stdout.decode().split())

    nameless = ("images", "--quiet", "--filter", "dangling=true", "--filter")
    return {
        "containers": lines("ps", "--all", "--quiet", "--filter", "label=envbuild.working"),
        "nameless": lines(*nameless, "label=envbuild.lock-hash") | lines(*nameless, "label=envbuild.working"),
        "tags": lines("images", "--format", "{{.Repository}}:{{.Tag}}"),
    }


@pytest.fixture
def skopeo() -> Callable[..., str]:
    """Another tool's view of a registry."""
    assert shutil.which("skopeo") is not None

    def call(*words: str) -> str:
        done = subprocess.run(["skopeo", *words], capture_output=True, text=True, check=True, timeout=120)
        return done.stdout

    return call
