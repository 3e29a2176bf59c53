"""What the tests of misbehaving models share."""

from __future__ import annotations

from pathlib import Path

import findpython
import pytest

OLDEST_AND_NEWEST = ((3, 6), (3, 13))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for ``oldest_and_newest`` runs in both, where they are here."""
    if "oldest_and_newest" in metafunc.fixturenames:
        found = [findpython.find(*version) for version in OLDEST_AND_NEWEST]
        pythons = [Path(python.executable) for python in found if python is not None]
        metafunc.parametrize("oldest_and_newest", pythons, ids=[python.name for python in pythons])
