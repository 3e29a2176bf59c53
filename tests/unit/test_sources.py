"""Sources: what their builds ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

from envbuild import sources
from envbuild.errors import LockError


@pytest.mark.parametrize(
    ("text", "requires", "backend", "path"),
    [
        (None, ("setuptools>=40.8.0",), "setuptools.build_meta:__legacy__", ()),
        ("[project]\nname = 'own'\n", ("setuptools>=40.8.0",), "setuptools.build_meta:__legacy__", ()),
        (
            "[build-system]\nrequires = ['flit']\nbuild-backend = 'own:api'\nbackend-path = ['code']\n"
            "[project]\nname = 'own'\n",
            ("flit",),
            "own:api",
            ("code",),
        ),
    ],
    ids=["no file", "no build system", "a build system"],
)
def test_what_a_source_requires_too_stands_beside_what_it_says(
    tmp_path: Path, text: str | None, requires: tuple[str, ...], backend: str, path: tuple[str, ...]
) -> None:
    if text is not None:
        (tmp_path / "pyproject.toml").write_text(text)
    sources.have_it_require(tmp_path, ["numpy", "cython<3"])
    found = sources.build_system_of(tmp_path)
    assert (found.requires, found.backend, found.backend_path) == ((*requires, "numpy", "cython<3"), backend, path)
    assert ("own" in (tmp_path / "pyproject.toml").read_text().partition("[project]")[2]) == (text is not None)


def test_a_damaged_pyproject_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[build-system\n")
    with pytest.raises(LockError, match="damaged"):
        sources.have_it_require(tmp_path, ["numpy"])
    assert (tmp_path / "pyproject.toml").read_text() == "[build-system\n"
