"""What tests of indexes share: the pipeline by either engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from kit import Kit
from local_index import LocalIndex
from tiny import PYTHON, wheel

from envbuild import interpreters, uv
from envbuild.dated_index.index import DatedIndex
from envbuild.indexes import Indexes
from envbuild.pip import making
from envbuild.settings import Settings

PINS = {"pip": "22.3.1", "setuptools": "65.5.1", "wheel": "0.38.4"}


@pytest.fixture(scope="session")
def tools(shared_home: Path) -> Path:
    """The folder of a store that holds pip's tools, made from the real index once and kept."""
    known = Settings.from_environ({}, home=shared_home, python_downloads=False)
    found = interpreters.find(PYTHON, known)
    with DatedIndex(Indexes(), uv.default_index(shared_home), home=shared_home) as real:
        return making.make_tools(found, PINS, real.url, known, lambda step: None, with_pip_tools=True).python.parents[2]


@pytest.fixture(params=["uv", pytest.param("pip", marks=pytest.mark.slow)])
def either(request: pytest.FixtureRequest, home: Path, local_index: LocalIndex) -> Kit:
    """The pipeline by one engine, and with the slow tests by the other."""
    if request.param == "pip":
        (home / "pip").mkdir(parents=True)
        (home / "pip" / "tools").symlink_to(request.getfixturevalue("tools"))
        # The tools are made already: nothing of these is run.
        local_index.add(*(wheel(name, version) for name, version in PINS.items()))
    return Kit(home, local_index, {"engine": request.param})
