"""Servers that models lie on, each started once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from kit import REPO, cli, cli_environ
from servers import OF_ERAS, FileServer, MlflowServer, Run, S3Server

sys.path.append(str(REPO / "tests" / "conformance"))
from eras import ERAS, python_of


@pytest.fixture(scope="session")
def mlflow_server(
    shared_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], tuple[MlflowServer, Mapping[str, Mapping[str, str]]]]]:
    """MLflow's own server of a release, with a model of each of three eras registered in it."""
    known: dict[str, tuple[MlflowServer, Mapping[str, Mapping[str, str]]]] = {}

    def start(release: str) -> tuple[MlflowServer, Mapping[str, Mapping[str, str]]]:
        if release not in known:
            folder = tmp_path_factory.mktemp("mlflow")
            python = python_of(ERAS[release], folder / "asks", shared_home)
            server = MlflowServer(python, folder / "server")
            orders = [{"name": name, "folder": str(model)} for name, model in OF_ERAS.items()]
            known[release] = server, dict(zip(OF_ERAS, server.register(*orders), strict=True))
        return known[release]

    yield start
    for server, _ in known.values():
        server.close()


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    server = S3Server(tmp_path_factory.mktemp("s3") / "server")
    yield server
    server.close()


@pytest.fixture
def files() -> Iterator[FileServer]:
    server = FileServer()
    yield server
    server.close()


@pytest.fixture
def run(home: Path) -> Run:
    """A command with an empty store; variables by their names."""

    def call(*words: str | Path, **more: str) -> CompletedProcess[str]:
        return cli(*words, environ=cli_environ(home, **more))

    return call
