"""Sessions of two releases of Spark, each started once, and models that act as they are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from acting_model import PANDAS, acting_model
from sparks import RELEASES, Cluster, Driver, cluster, environ_of, python_with_spark

OLDEST, NEWEST = RELEASES


@pytest.fixture(scope="session")
def python_of(shared_home: Path) -> Callable[[str], Path]:
    return lambda release: python_with_spark(shared_home, release)


@pytest.fixture(scope="session")
def driver_of(shared_home: Path, python_of: Callable[[str], Path]) -> Iterator[Callable[[str], Driver]]:
    """A session of a release on two threads of this machine, with the tests' own store."""
    known: dict[str, Driver] = {}

    def start(release: str) -> Driver:
        if release not in known:
            python = python_of(release)
            known[release] = Driver(python, environ_of(python, shared_home), spark__master="local[2]")
        return known[release]

    yield start
    for driver in known.values():
        driver.close()


@pytest.fixture(params=RELEASES)
def driver(request: pytest.FixtureRequest, driver_of: Callable[[str], Driver]) -> Driver:
    return driver_of(request.param)


@pytest.fixture
def newest(driver_of: Callable[[str], Driver]) -> Driver:
    """What does not depend on the release is tried with one."""
    return driver_of(NEWEST)


@pytest.fixture(scope="session")
def acting(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """The acting models, by what their environments can read."""
    folder = tmp_path_factory.mktemp("acting")
    return {kind: acting_model(folder / kind, kind) for kind in PANDAS}


@pytest.fixture(scope="session")
def spark_cluster(python_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(python_of(NEWEST), tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture
def on_cluster(
    spark_cluster: Cluster, python_of: Callable[[str], Path], shared_home: Path
) -> Iterator[Callable[..., Driver]]:
    """Sessions on the cluster, each an application with executors of its own."""
    started: list[Driver] = []

    def start(**conf: Any) -> Driver:
        # One that has the cores keeps them from the next.
        while started:
            started.pop().close()
        python = python_of(NEWEST)
        known = {"spark__master": spark_cluster.url, "spark__executor__memory": "512m", "spark__executor__cores": "2"}
        started.append(Driver(python, environ_of(python, shared_home), **{**known, **conf}))
        return started[-1]

    yield start
    for driver in started:
        driver.close()
