"""A model's own pieces: its code, wheels and artifacts are those in its folder, wherever its MLmodel says they came from."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path

import pytest
from kit import REPO, cli, cli_environ

ERA = REPO / "tests" / "models" / "py311_mlflow3_17" / "heart"
MODEL = """
from pathlib import Path
import mlflow, own_words

class Weighing(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.weight = float(Path(context.artifacts["weight"]).read_text())

    def predict(self, context, model_input, params=None):
        return [own_words.said, *(model_input["x"] * self.weight).tolist()]

mlflow.models.set_model(Weighing())
"""
MLMODEL = """
flavors:
  python_function:
    artifacts:
      weight: {{path: artifacts/weight.txt, uri: "{uri}"}}
    code: code
    env: {{conda: conda.yaml, virtualenv: python_env.yaml}}
    loader_module: mlflow.pyfunc.model
    model_code_path: {elsewhere}/model.py
    python_version: 3.11.7
mlflow_version: 3.17.2
utc_time_created: '2026-11-20 07:45:52.702343'
"""


@pytest.mark.slow
def test_nothing_is_read_from_where_the_pieces_once_were(tmp_path: Path, shared_home: Path) -> None:
    """An artifact with a URI of its own, code that was logged from a path, and a folder of code."""
    model, elsewhere = tmp_path / "model", tmp_path / "elsewhere"
    with socket.create_server(("127.0.0.1", 0)) as server:
        uri = f"http://127.0.0.1:{server.getsockname()[1]}/weight.txt"
        for path, text in {
            model / "MLmodel": MLMODEL.format(uri=uri, elsewhere=elsewhere),
            model / "model.py": MODEL,
            model / "artifacts" / "weight.txt": "3",
            model / "code" / "own_words.py": "said = 'own'\n",
            elsewhere / "model.py": "raise SystemExit('read from elsewhere')\n",
            elsewhere / "own_words.py": "said = 'of elsewhere'\n",
            tmp_path / "in.json": json.dumps({"dataframe_split": {"columns": ["x"], "data": [[1.0], [2.0]]}}),
        }.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for name in ("conda.yaml", "python_env.yaml", "requirements.txt"):
            shutil.copy(ERA / name, model / name)
        done = cli("predict", model, tmp_path / "in.json", environ=cli_environ(shared_home), cwd=elsewhere)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"predictions": ["own", 3.0, 6.0]}
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()
