"""Shares of every kind, each empty, on real servers; and a model of a wheel and an sdist, on an index of our own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kit import REPO
from local_index import LocalIndex
from tiny import backend, own_sdist, wheel, write_model

sys.path += [str(REPO / "tests" / "locations"), str(REPO / "tests" / "images")]
from registry_server import docker_registry
from servers import S3Server
from shared import LOADER, Place

NAMES = iter(range(10**6))


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("share-s3") / "server")
    yield server
    server.close()


@pytest.fixture
def oci_server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A registry of the test's own: its host, and where its storage lies."""
    with docker_registry(tmp_path / "registry") as host:
        yield host, tmp_path / "registry"


@pytest.fixture(params=["folder", "oci", pytest.param("s3", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty share."""
    if request.param == "folder":
        (tmp_path / "share").mkdir()
        return Place(kind="folder", name=str(tmp_path / "share"), storage=tmp_path / "share")
    name = f"share{next(NAMES)}"
    if request.param == "s3":
        server = request.getfixturevalue("s3_server")
        server.put(name, "about", b"a share")
        return Place(kind="s3", name=f"s3://{name}/built", environ=server.environ, server=server)
    host, folder = request.getfixturevalue("oci_server")
    return Place(kind="oci", name=f"oci://{host}/team/{name}", storage=folder)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that asks for a wheel and an sdist."""
    return write_model(tmp_path / "model", pip=("fruit", "nut"), loader=LOADER)


@pytest.fixture
def index(make_index: Callable[[], LocalIndex]) -> LocalIndex:
    found = make_index()
    found.add(wheel("fruit", "1.0"), own_sdist("nut", "1.0"), backend())
    return found
