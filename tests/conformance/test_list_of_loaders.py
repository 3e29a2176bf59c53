"""The list of what is loaded directly is what comes out when it is made again, and what is on it answers alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kit import REPO
from loaders import entry_of, table, written
from releases import RELEASES

from envbuild import pipeline
from envbuild.bridge.loaders import ALLOWED
from envbuild.settings import Settings

LISTED = json.loads(ALLOWED.read_text(encoding="utf-8"))["mlflow"]
# Each takes an environment with the libraries of all flavors, and two minutes.
TIERS = {
    "3.17": pytest.mark.slow,
    **dict.fromkeys(("1.2", "1.14", "1.30", "2.1", "2.9", "2.17", "2.22"), pytest.mark.soak),
}


@pytest.mark.parametrize("minor", [pytest.param(minor, marks=mark) for minor, mark in TIERS.items()])
def test_the_entry_of_a_release_is_what_comes_out_when_it_is_made_again(
    minor: str, tmp_path: Path, shared_home: Path
) -> None:
    assert entry_of(minor, tmp_path, shared_home) == LISTED[minor]


def test_the_list_is_as_its_generator_writes_it() -> None:
    assert ALLOWED.read_text(encoding="utf-8") == written(LISTED)
    assert all(RELEASES[minor].mlflow == entry["release"] for minor, entry in LISTED.items())


def test_the_page_has_the_list_as_it_is() -> None:
    assert table(LISTED) in (REPO / "docs" / "loaders.md").read_text(encoding="utf-8")


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "model",
    [
        pytest.param("py36_mlflow1_2/heart", marks=pytest.mark.slow),
        pytest.param("py38_mlflow2_1/xgb", marks=pytest.mark.slow),
        "py311_mlflow3_17/heart",
    ],
)
def test_a_model_of_an_era_is_loaded_directly_and_answers_as_with_mlflow(model: str, shared_home: Path) -> None:
    path = REPO / "tests" / "models" / model
    body = path.with_name(f"{path.name}.input.json").read_bytes()
    answers = {loader: _answer(path, body, shared_home, loader=loader) for loader in ("auto", "mlflow")}
    assert answers["auto"][0].startswith("loaded directly")
    assert answers["mlflow"][0].startswith("loaded by mlflow")
    assert answers["auto"][1] == answers["mlflow"][1]


@pytest.mark.slow
def test_a_model_that_is_not_on_the_list_is_loaded_by_mlflow(shared_home: Path) -> None:
    path = REPO / "tests" / "models" / "py38_mlflow2_1" / "tensor"
    said, _ = _answer(path, path.with_name("tensor.input.json").read_bytes(), shared_home)
    assert said == "loaded by mlflow 2.1: its loader, mlflow.pyfunc.model, is mlflow's own code"


def _answer(path: Path, body: bytes, home: Path, **options: Any) -> tuple[str, Any]:
    settings = Settings.from_environ({}, home=home, python_downloads=False, conda_packages="map", **options)
    built = pipeline.build(pipeline.lock(pipeline.ask(path, settings), settings), settings)
    with pipeline.start(built, settings) as worker:
        return worker.loading, json.loads(worker.predict(body).payload)
