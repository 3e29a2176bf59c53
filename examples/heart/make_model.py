"""Make the example: a pipeline that says from 13 measurements whether a heart is ill, saved as an MLflow model.

Run it in the environment that the model is to be born in::

    uv venv --python 3.10 born
    uv pip install --python born mlflow==2.17.2 scikit-learn==1.5.2 pandas==2.2.3 numpy==2.1.2 scipy==1.14.1
    born/bin/python make_model.py

The data is made up from a fixed seed; it is no medical data, and the model is of no use but to be run.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

HERE = Path(__file__).parent
ROWS = 400
RANGES = {
    "age": (29, 77),
    "sex": (0, 1),
    "cp": (0, 4),
    "trestbps": (94, 200),
    "chol": (126, 564),
    "fbs": (0, 1),
    "restecg": (0, 2),
    "thalach": (71, 202),
    "exang": (0, 1),
    "slope": (1, 3),
    "ca": (0, 3),
}


def measurements(random: np.random.Generator) -> pd.DataFrame:
    """Rows that look like those of the heart disease data set: eleven whole numbers, one decimal, one word."""
    frame = pd.DataFrame({name: random.integers(low, high + 1, ROWS) for name, (low, high) in RANGES.items()})
    frame.insert(9, "oldpeak", random.uniform(0, 6, ROWS).round(1))
    frame["thal"] = random.choice(["normal", "fixed", "reversible"], ROWS)
    return frame


def main() -> None:
    """Train, save the model beside this file, and write an input and the model's answer to it."""
    random = np.random.default_rng(2017)
    frame = measurements(random)
    risk = frame["age"] / 30 + frame["oldpeak"] + 2 * (frame["thal"] == "reversible") - frame["thalach"] / 60
    ill = (risk + random.normal(0, 0.5, ROWS) > risk.median()).astype(int)
    numbers = [name for name in frame.columns if name != "thal"]
    model = make_pipeline(
        ColumnTransformer([("numbers", StandardScaler(), numbers), ("words", OneHotEncoder(), ["thal"])]),
        LogisticRegression(),
    ).fit(frame, ill)
    example = frame.head(5)
    shutil.rmtree(HERE / "model", ignore_errors=True)
    mlflow.sklearn.save_model(
        model,
        HERE / "model",
        signature=mlflow.models.infer_signature(frame, model.predict(frame)),
        input_example=example,
    )
    body = {"dataframe_split": {"columns": list(example.columns), "data": example.to_numpy().tolist()}}
    (HERE / "input.json").write_text(json.dumps(body) + "\n")
    answer = {"predictions": model.predict(example).tolist()}
    (HERE / "expected.json").write_text(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
