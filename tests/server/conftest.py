"""A real environment for a model without libraries, and servers that are gone when their test is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import HERE, LOADER, SERVE, Server, environ, here
from kit import Kit
from local_index import LocalIndex
from tiny import write_model

MLFLOW = "mlflow_version: 2.17.2\n"


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete environment with nothing in it."""
    index = LocalIndex()
    try:
        kit = Kit(tmp_path_factory.mktemp("server-store"), index)
        built = kit.build(write_model(tmp_path_factory.mktemp("server-model"), python=HERE))
        built.lease.release()
        return built.environment.path
    finally:
        index.close()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model that does what it is told."""
    return write_model(tmp_path / "served" / "model", python=HERE, loader=LOADER, more=MLFLOW)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts an argv as a server."""
    started: list[Server] = []

    def start(argv: list[object], *, variables: dict[str, str] | None = None, **options: Any) -> Server:
        log = tmp_path / f"stderr-{len(started)}"
        started.append(Server(argv, log, environ(**{"TMPDIR": str(tmp_path), **(variables or {})}), **options))
        return started[-1]

    yield start
    for server in started:
        server.remove()


@pytest.fixture
def serve(start: Callable[..., Server], environment: Path, model: Path) -> Callable[..., Server]:
    """Serves the model."""

    def serve(*, mounted: Path | None = None, **variables: str) -> Server:
        return start(
            here(environment, model, *SERVE, mounted=mounted), variables={"ENVBUILD_WORKERS": "1", **variables}
        )

    return serve
