"""Small models of every flavor, saved by this environment's own mlflow, and inputs for them.

Run as ``PYTHON flavors.py FOLDER``: what is saved is a folder each, and one line of JSON says their names, or why a
model could not be made.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

NAMES = ["a", "b", "c"]
_ROWS = np.array(
    [[0.5, 1.0, -2.0], [1.5, -1.0, 0.25], [2.5, 3.0, 4.0], [-3.5, 0.0, 1.0], [0.1, 0.2, 0.3], [9.0, 8.0, 7.0]]
)
_LABELS = np.array([0, 1, 0, 1, 1, 0])


def _frame(rows: Any = _ROWS) -> Any:
    return pd.DataFrame(rows, columns=NAMES)


def inputs() -> dict[str, Any]:
    """What a model may be asked, by name; made anew, since a model may change it."""
    frame = _frame()
    return {
        "doubles": frame,
        "floats": frame.astype("float32"),
        "integers": (frame * 2).round().astype("int64"),
        "small integers": (frame * 2).round().astype("int32"),
        "booleans": frame > 0,
        "objects": frame.astype(object),
        "text": frame.astype(str),
        "one row": frame.iloc[:1],
        "no rows": frame.iloc[:0],
        "missing values": frame.where(frame > 0),
        "another order": frame[["c", "a", "b"]],
        "a column too few": frame[["a", "b"]],
        "a column too many": frame.assign(d=1.0),
        "no names": pd.DataFrame(_ROWS),
        "an index": frame.set_index(pd.Index(list("uvwxyz"))),
        "mixed": frame.assign(b=["x", "y", "x", "y", "x", "z"]),
        "moments": frame.assign(c=pd.Timestamp("2020-01-02")),
        "array": _ROWS.copy(),
        "array of floats": _ROWS.astype("float32"),
        "array of integers": _ROWS.astype("int64"),
        "array of objects": _ROWS.astype(object),
        "a row": _ROWS[0].copy(),
        "a cube": _ROWS.reshape(2, 3, 3).copy(),
        "dict of arrays": {name: _ROWS[:, place].copy() for place, name in enumerate(NAMES)},
        "dict of floats": {name: _ROWS[:, place].astype("float32") for place, name in enumerate(NAMES)},
        "dict of lists": {name: _ROWS[:, place].tolist() for place, name in enumerate(NAMES)},
        "dict of columns": {name: _ROWS[:, [place]].copy() for place, name in enumerate(NAMES)},
        "the input by its name": {"rows": _ROWS.copy()},
        "the input by its name, floats": {"rows": _ROWS.astype("float32")},
        "lists": _ROWS.tolist(),
        "records": frame.to_dict("records"),
        "series": frame["a"],
        "number": 1.5,
        "nothing": None,
        "word": "word",
    }


def _sklearn_models() -> dict[str, Any]:
    from sklearn.cluster import KMeans
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    mixed, targets = inputs()["mixed"], np.column_stack([_ROWS[:, 0], -_ROWS[:, 1]])
    columns = ColumnTransformer([("text", OneHotEncoder(handle_unknown="ignore"), ["b"])], remainder="passthrough")
    return {
        "classes": LogisticRegression().fit(_ROWS, np.array(["no", "yes"])[_LABELS]),
        "names": make_pipeline(StandardScaler(), LogisticRegression()).fit(_frame(), _LABELS),
        "mixed": make_pipeline(columns, LinearRegression()).fit(mixed, _LABELS),
        "targets": LinearRegression().fit(_ROWS, targets),
        "clusters": KMeans(2, random_state=0, n_init=2).fit(_ROWS),
    }


def _sklearn(serialization: str) -> Callable[[str], list[str]]:
    def save(folder: str) -> list[str]:
        import mlflow.sklearn

        return [
            _saved(mlflow.sklearn, model, folder, f"sklearn {serialization} {name}", serialization_format=serialization)
            for name, model in _sklearn_models().items()
        ]

    return save


def _xgboost_models(kind: str) -> dict[str, Any]:
    import xgboost

    given = {"n_estimators": 3, "max_depth": 2}
    if kind == "estimator":
        return {
            "classes": xgboost.XGBClassifier(**given).fit(_frame(), _LABELS),
            "numbers": xgboost.XGBRegressor(**given).fit(_ROWS, _ROWS[:, 0]),
        }
    trained = {
        "classes": ({"objective": "multi:softprob", "num_class": 2}, xgboost.DMatrix(_frame(), _LABELS)),
        "numbers": ({}, xgboost.DMatrix(_ROWS, _ROWS[:, 0])),
    }
    return {name: xgboost.train(options, data, 3) for name, (options, data) in trained.items()}


def _xgboost(kind: str, form: str) -> Callable[[str], list[str]]:
    def save(folder: str) -> list[str]:
        import mlflow.xgboost

        # The first releases had one form, and no name for it.
        with_form = _takes(mlflow.xgboost, "model_format")
        if not with_form and form != "xgb":
            raise ValueError("there is one form only")
        more = {"model_format": form} if with_form else {}
        models = _xgboost_models(kind).items()
        return [
            _saved(mlflow.xgboost, model, folder, f"xgboost {kind} {form} {name}", **more) for name, model in models
        ]

    return save


def _lightgbm_models(kind: str) -> dict[str, Any]:
    import lightgbm

    given = {"n_estimators": 3, "min_child_samples": 1, "min_data_in_bin": 1, "verbose": -1}
    if kind == "estimator":
        return {
            "classes": lightgbm.LGBMClassifier(**given).fit(_frame(), _LABELS),
            "numbers": lightgbm.LGBMRegressor(**given).fit(_ROWS, _ROWS[:, 0]),
        }
    options = {"min_data_in_leaf": 1, "min_data_in_bin": 1, "verbose": -1}
    return {
        "classes": lightgbm.train({**options, "objective": "binary"}, lightgbm.Dataset(_frame(), _LABELS), 3),
        "numbers": lightgbm.train(options, lightgbm.Dataset(_ROWS, _ROWS[:, 0]), 3),
    }


def _lightgbm(kind: str, serialization: str | None = None) -> Callable[[str], list[str]]:
    def save(folder: str) -> list[str]:
        import mlflow.lightgbm

        more = {} if serialization is None else {"serialization_format": serialization}
        if not _takes(mlflow.lightgbm, "serialization_format"):
            if serialization == "skops":
                raise ValueError("it knows no skops")
            more = {}
        models = _lightgbm_models(kind).items()
        named = f"lightgbm {kind} {serialization or 'text'}"
        return [_saved(mlflow.lightgbm, model, folder, f"{named} {name}", **more) for name, model in models]

    return save


def _onnx(folder: str) -> list[str]:
    import mlflow.onnx

    return [_saved(mlflow.onnx, model, folder, f"onnx {name}") for name, model in _onnx_models().items()]


def _onnx_models() -> dict[str, Any]:
    from onnx import TensorProto, helper

    def tensor(name: str, kind: int, *shape: Any) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    def weights(kind: int) -> Any:
        return helper.make_tensor("weights", kind, [3, 2], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0])

    def model(nodes: Any, given: Any, answers: Any, *constants: Any) -> Any:
        made = helper.make_model(
            helper.make_graph(nodes, "small", given, answers, list(constants)),
            opset_imports=[helper.make_opsetid("", 9), helper.make_opsetid("ai.onnx.ml", 1)],
        )
        made.ir_version = 4
        return made

    product = helper.make_node("MatMul", ["rows", "weights"], ["scores"])
    single, double, long = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64
    scores, rows = tensor("scores", single, None, 2), tensor("rows", single, None, 3)
    columns = [tensor(name, single, None) for name in NAMES]
    sums = [helper.make_node("Add", ["a", "b"], ["ab"]), helper.make_node("Add", ["ab", "c"], ["sum"])]
    chances = helper.make_node(
        "ZipMap", ["scores"], ["chances"], domain="ai.onnx.ml", classlabels_strings=["no", "yes"]
    )
    maps = (
        helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(single, []))
        if hasattr(helper, "make_map_type_proto")
        else None
    )
    made = {
        "floats": model([product], [rows, tensor("weights", single, 3, 2)], [scores], weights(single)),
        "doubles": model(
            [product],
            [tensor("rows", double, None, 3), tensor("weights", double, 3, 2)],
            [tensor("scores", double, None, 2)],
            weights(double),
        ),
        "columns": model(sums, columns, [tensor("sum", single, None), tensor("ab", single, None)]),
        "integers": model(
            [helper.make_node("Identity", ["rows"], ["same"])],
            [tensor("rows", long, None, 3)],
            [tensor("same", long, None, 3)],
        ),
    }
    if maps is not None:
        listed = helper.make_value_info("chances", helper.make_sequence_type_proto(maps))
        made["maps"] = model(
            [product, chances], [rows, tensor("weights", single, 3, 2)], [scores, listed], weights(single)
        )
    return made


MAKERS: dict[str, Callable[[str], list[str]]] = {
    "sklearn pickle": _sklearn("pickle"),
    "sklearn cloudpickle": _sklearn("cloudpickle"),
    "sklearn skops": _sklearn("skops"),
    "xgboost booster/xgb": _xgboost("booster", "xgb"),
    "xgboost booster/json": _xgboost("booster", "json"),
    "xgboost booster/ubj": _xgboost("booster", "ubj"),
    "xgboost estimator/xgb": _xgboost("estimator", "xgb"),
    "xgboost estimator/json": _xgboost("estimator", "json"),
    "xgboost estimator/ubj": _xgboost("estimator", "ubj"),
    "lightgbm booster/text": _lightgbm("booster"),
    "lightgbm estimator/pickle": _lightgbm("estimator", "pickle"),
    "lightgbm estimator/cloudpickle": _lightgbm("estimator", "cloudpickle"),
    "lightgbm estimator/skops": _lightgbm("estimator", "skops"),
    "onnx onnx": _onnx,
}


def _saved(flavor: Any, model: Any, folder: str, name: str, **more: Any) -> str:
    path = f"{folder}/{name}"
    if more.get("serialization_format") == "skops":
        more["skops_trusted_types"] = _untrusted(model)
    if _takes(flavor, "pip_requirements"):  # else it would start a process for each, which looks for them
        more["pip_requirements"] = ["mlflow"]
    flavor.save_model(model, path, **more)
    return path


def _takes(flavor: Any, argument: str) -> bool:
    return argument in inspect.signature(flavor.save_model).parameters


def _untrusted(model: Any) -> list[str]:
    """The types that skops wants to be trusted by name."""
    import skops.io

    return list(skops.io.get_untrusted_types(data=skops.io.dumps(model)))


def main(folder: str) -> None:
    """Save what can be saved."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    made: dict[str, Any] = {}
    for name, make in MAKERS.items():
        try:
            made[name] = make(folder)
        except Exception as error:  # noqa: BLE001 - a library or a form that this release does not have
            made[name] = f"{type(error).__name__}: {error}"
    answers.write(json.dumps(made))
    answers.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
