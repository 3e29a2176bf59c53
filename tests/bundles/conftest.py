"""One bundle for all tests that only use one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kit import cli
from local_index import LocalIndex
from made import CANARY, HERE, LOADER, USER, Made, answer_of
from tiny import BACKEND, File, own_sdist, wheel, write_model

# It says in what it builds which version of it that was.
_BACKEND = """
_build_wheel = build_wheel

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    with open("nut.py", "w") as file:
        file.write("version = 'built by {version}'")
    return _build_wheel(wheel_directory)
"""


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """A bundle of a model that wants a wheel and an sdist, from an index that one logs in to."""
    top, index = tmp_path_factory.mktemp("bundle"), LocalIndex()
    index.login = (USER, CANARY)
    index.add(wheel("fruit", "1.0"), own_sdist("nut", "1.0"), _backend("1.0"))
    model = write_model(top / "model", pip=("fruit", "nut"), loader=LOADER, python=HERE)
    (top / "in.json").write_text('{"inputs": [1]}')
    found = Made(bundle=top / "model.bundle", model=model, home=top / "home", index=index, lock_hash="")
    lock_hash = answer_of(cli("lock", model, "--json", environ=found.environ()))["lock_hash"]
    # Of the same day, and newer than what is locked: whoever asks for the newest gets it.
    index.add(_backend("2.0"))
    done = cli("bundle", "export", model, "-o", found.bundle, environ=found.environ())
    assert done.returncode == 0, done.stderr
    yield Made(bundle=found.bundle, model=model, home=found.home, index=index, lock_hash=lock_hash)
    index.close()


def _backend(version: str) -> File:
    return wheel("tiny-backend", version, modules={"tiny_backend.py": BACKEND + _BACKEND.format(version=version)})


@pytest.fixture
def copy(made: Made, tmp_path: Path) -> Path:
    """A copy of the bundle, to be spoilt."""
    path = tmp_path / "copy.bundle"
    path.write_bytes(made.bundle.read_bytes())
    return path
