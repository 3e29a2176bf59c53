"""A model of mlflow's own flavor in an environment without mlflow: the flavor's own file is loaded."""

from __future__ import annotations

import json
from pathlib import Path

from flavor import write_flavor
from kit import Kit, cli, cli_environ
from tiny import wheel

# By protocol 0 of pickle: what `oldlearn.Twice()` gives.
PICKLE = b"coldlearn\nTwice\n(tR."
LIBRARY = "class Twice:\n    def predict(self, data):\n        return [2 * value for value in data]\n"


def test_an_override_without_mlflow_predicts_by_the_flavors_pickle(kit: Kit, tmp_path: Path) -> None:
    kit.index.add(
        wheel("oldlearn", "0.19.1", modules={"oldlearn.py": LIBRARY}),
        *(wheel(name, "1.0") for name in ("pip", "setuptools", "wheel", "mlflow", "scikit-learn")),
    )
    facts = {"pickled_model": "model.pkl", "sklearn_version": "1.0"}
    pip = ("mlflow", "scikit-learn", "oldlearn==0.19.1")
    model = write_flavor(
        tmp_path / "model", "mlflow.sklearn", facts=facts, pip=pip, data="model.pkl", model__pkl=PICKLE
    )
    words = ("predict", model, "-", "-v", "--remove", "mlflow")
    environ = cli_environ(kit.home, kit.index.url)
    done = cli(*words, environ=environ, input='{"instances": [1, 2]}')
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"predictions": [2, 4]}
    assert "loaded directly: the environment has no mlflow" in done.stderr
