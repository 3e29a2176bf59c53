"""What the tests of resident workers share: a store with one environment, and models in a few lines."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit import Kit
from local_index import LocalIndex
from residing import LOADER, House, MakeModel
from tiny import wheel, write_model

HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture(scope="session")
def furnished() -> Iterator[tuple[Path, dict[str, str]]]:
    """A store in which the environment of all the models here is built; its path is short, as that of a socket must be."""
    index = LocalIndex().add(*(wheel(name, "1.0") for name in ("pip", "setuptools", "wheel")))
    top = Path(tempfile.mkdtemp(prefix="resident-"))
    model = write_model(top / "model", python=HERE, loader=LOADER, build_dependencies=None)
    Kit(top / "home", index).build(model)
    yield top / "home", {"ENVBUILD_INDEX_URL": index.url, "ENVBUILD_PYTHON_DOWNLOADS": "0"}
    index.close()
    shutil.rmtree(top)


@pytest.fixture
def house(furnished: tuple[Path, dict[str, str]], tmp_path: Path) -> Iterator[House]:
    """The store, with no worker in it; at the end all that still runs is ended."""
    home, more = furnished
    (tmp_path / "tmp").mkdir()
    one = House(home, tmp_path / "tmp", tmp_path, more)
    yield one
    for _ in range(100):
        running = one.running()
        for pid in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not running:
            break
        time.sleep(0.02)
    for left in home.glob("resident-*"):
        shutil.rmtree(left)


@pytest.fixture
def model_of(tmp_path: Path) -> MakeModel:
    """Makes models that have the environment of the store."""

    def make(name: str = "model", value: str = "one", loader: str = LOADER, more: str = "") -> Path:
        place = tmp_path / name
        write_model(place, python=HERE, loader=loader, build_dependencies=None, more=more, files={"value.txt": value})
        time.sleep(0.15)  # what was changed a moment ago is not kept warm
        return place

    return make


@pytest.fixture
def model(model_of: MakeModel) -> Path:
    """One of them."""
    return model_of()
