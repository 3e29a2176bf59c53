"""Batches of real models give what one prediction on the whole gives."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from kit import REPO, cli, cli_environ

import envbuild

# Environments of several eras are built for it.
pytestmark = pytest.mark.slow

MODELS = REPO / "tests" / "models"
ERAS = ("py36_mlflow1_2", "py38_mlflow1_30", "py311_mlflow3_17")


def write_rows(model: Path, target: Path, count: int) -> None:
    body = json.loads(model.with_name(f"{model.name}.input.json").read_text())["dataframe_split"]
    chance = random.Random(5)
    rows = [[chance.choice(body["data"])[at] for at in range(len(body["columns"]))] for _ in range(count)]
    with target.open("w") as file:
        file.write(",".join(map(str, body["columns"])) + "\n")
        file.writelines(",".join(map(str, row)) + "\n" for row in rows)


@pytest.mark.filterwarnings("ignore:the model has no signature")
@pytest.mark.parametrize("era", ERAS)
def test_a_batch_answers_what_predict_answers(era: str, tmp_path: Path, shared_home: Path) -> None:
    model = MODELS / era / "heart"
    write_rows(model, tmp_path / "in.csv", 1000)
    done = envbuild.batch(
        model, tmp_path / "in.csv", tmp_path / "out.csv", home=shared_home, chunk_rows=300, workers=2, keep=["thal"]
    )
    lines = [line.split(",") for line in (tmp_path / "out.csv").read_text().splitlines()]
    whole = cli("predict", model, tmp_path / "in.csv", environ=cli_environ(shared_home))
    assert whole.returncode == 0, whole.stderr
    assert done.rows == 1000
    assert lines[0] == ["thal", "prediction"]
    assert [json.loads(line[1]) for line in lines[1:]] == json.loads(whole.stdout)["predictions"]
    texts = [line.rpartition(",")[2] for line in (tmp_path / "in.csv").read_text().splitlines()]
    assert [line[0] for line in lines] == texts


@pytest.mark.filterwarnings("ignore:the model has no signature")
@pytest.mark.parametrize("era", ERAS)
def test_parquet_in_and_out(era: str, tmp_path: Path, shared_home: Path) -> None:
    import pandas as pd

    model = MODELS / era / "heart"
    write_rows(model, tmp_path / "in.csv", 1000)
    pd.read_csv(tmp_path / "in.csv").to_parquet(tmp_path / "in.parquet", row_group_size=170)
    options = {"home": shared_home, "chunk_rows": 100}
    envbuild.batch(model, tmp_path / "in.csv", tmp_path / "out.jsonl", **options)
    envbuild.batch(model, tmp_path / "in.parquet", tmp_path / "out.parquet", **options)
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert pd.read_parquet(tmp_path / "out.parquet").to_dict("records") == lines
