"""Models of mlflow's flavors in a few lines, and what a model of the repository is asked and answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kit import REPO
from test_era_models import differences

MODELS = REPO / "tests" / "models"


def write_flavor(
    place: Path,
    loader: str,
    *,
    facts: dict[str, Any],
    data: str | None = None,
    pip: tuple[str, ...] = (),
    **files: bytes,
) -> Path:
    """A model of one of mlflow's own flavors, as its releases write them; what it needs is on the test's own index."""
    flavor = loader.removeprefix("mlflow.")
    pyfunc = {"loader_module": loader, "env": "conda.yaml", "python_version": "3.8", **({"data": data} if data else {})}
    place.mkdir(parents=True)
    # JSON is YAML.
    model = {"flavors": {"python_function": pyfunc, flavor: facts}, "utc_time_created": "2021-06-15 12:00:00.000000"}
    (place / "MLmodel").write_text(json.dumps(model))
    (place / "conda.yaml").write_text(json.dumps({"dependencies": ["python=3.8", "pip", {"pip": list(pip)}]}))
    for name, content in files.items():
        (place / name.replace("__", ".")).write_bytes(content)
    return place


def question(model: Path) -> Path:
    """The file with what a model is asked."""
    return model.with_name(f"{model.name}.input.json")


def wrong_in(model: Path, answer: Any) -> list[str]:
    """Where an answer is not what the model's own mlflow said when it was saved, to 1e-5."""
    expected = json.loads(model.with_name(f"{model.name}.expected.json").read_text())
    return list(differences(answer, expected, 1e-5, "predictions"))
