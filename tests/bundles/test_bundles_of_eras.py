"""Real models, born in their eras, from a bundle and an empty store to a prediction, without any network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from kit import REPO, cli, cli_environ
from made import answer_of, offline

MODELS = REPO / "tests" / "models"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("py38_mlflow1_30/heart", marks=pytest.mark.slow),
        pytest.param("py311_mlflow3_17/iris", marks=pytest.mark.soak),
    ],
)
def test_a_real_model_predicts_from_its_bundle_in_an_empty_store(name: str, shared_home: Path, tmp_path: Path) -> None:
    model, bundle, environ = tmp_path / "model", tmp_path / "model.bundle", cli_environ(shared_home)
    shutil.copytree(MODELS / name, model)
    made = answer_of(cli("bundle", "export", model, "-o", bundle, "--json", environ=environ))
    online = answer_of(cli("predict", model, _input(name), "--json", environ=environ))
    # Nothing but the bundle: neither the model nor a store is here any more.
    shutil.rmtree(model)
    bare = answer_of(offline(tmp_path / "empty", "predict", bundle, _input(name), "--json"))
    assert (bare["predictions"], bare["lock_hash"]) == (online["predictions"], online["lock_hash"])
    assert bare["built"] is True
    assert bare["lock_hash"] == made["manifest"]["locks"][0]["lock_hash"]
    expected = json.loads((MODELS / f"{name}.expected.json").read_text())
    assert bare["predictions"] == pytest.approx(expected["predictions"] if isinstance(expected, dict) else expected)


def _input(name: str) -> Path:
    return MODELS / f"{name}.input.json"
