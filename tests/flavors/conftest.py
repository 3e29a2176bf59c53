"""What the tests of flavors share."""

from __future__ import annotations

import sys

import pytest


@pytest.fixture
def repo_python() -> list[str]:
    """The words that start the command line, for a program that starts it in its turn."""
    return [sys.executable, "-m", "envbuild"]
