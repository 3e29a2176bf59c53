"""What the conformance suite shares: the five eras' environments, and a process in each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from eras import ERAS, TODAY, python_of
from sides import Actor, Sides


@pytest.fixture(scope="session")
def python_of_era(shared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The Python of an era's environment."""
    pythons: dict[str, Path] = {}

    def find(name: str) -> Path:
        if name not in pythons:
            pythons[name] = python_of(ERAS[name], tmp_path_factory.mktemp("asks") / name, shared_home)
        return pythons[name]

    return find


@pytest.fixture(scope="session")
def sides_of(
    python_of_era: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Sides]]:
    """Both sides of an era."""
    folder, known, actors = tmp_path_factory.mktemp("conformance"), dict[str, Sides](), dict[str, Actor]()

    def actor(name: str) -> Actor:
        if name not in actors:
            actors[name] = Actor(python_of_era(name), folder / f"process {name}")
        return actors[name]

    def find(name: str) -> Sides:
        if name not in known:
            known[name] = Sides(ERAS[name], folder / name, today=actor(TODAY), then=actor(name))
        return known[name]

    yield find
    for one in actors.values():
        one.close()
