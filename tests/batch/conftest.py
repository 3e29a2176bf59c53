"""What the batches' tests share: the acting model with its environment built."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from acted import LOADER, Acting
from tiny import write_model

import envbuild


@pytest.fixture(scope="session")
def acting_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The model with its environment built, and its store; an empty environment needs no index."""
    folder = tmp_path_factory.mktemp("batches")
    inputs = [{"name": "x", "type": "any"}]
    inputs += [{"name": name, "type": "string", "required": False} for name in ("table", "columns")]  # type: ignore[dict-item]
    model = write_model(folder / "model", loader=LOADER, more=f"signature:\n  inputs: '{json.dumps(inputs)}'\n")
    envbuild.build(model, home=folder / "home", offline=True)
    return model, folder / "home"


@pytest.fixture
def acting(acting_model: tuple[Path, Path], tmp_path: Path) -> Acting:
    here = tmp_path / "here"
    here.mkdir()
    return Acting(*acting_model, here)


@pytest.fixture
def twice() -> Callable[[int], str]:
    """The CSV that the model answers to so many rows."""
    return lambda rows: "prediction\n" + "".join(f"{2.0 * n}\n" for n in range(1, rows + 1))
