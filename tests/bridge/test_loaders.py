"""What loads a model: our own loader where the list says that the answers are the same, and mlflow everywhere else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from envbuild.bridge import WorkerOptions
from envbuild.bridge.loaders import ALLOWED, decided, kinds_of
from envbuild.bridge.messages import load_order
from envbuild.errors import UsageError
from envbuild.lock import Lock, LockedPackage
from envbuild.model import read_model
from envbuild.target import here

LONG = {"type": "long", "name": "age", "required": True}
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a model of sklearn's, or one with other facts."""

    def written(
        *,
        pyfunc: dict[str, Any] | None = None,
        flavors: dict[str, Any] | None = None,
        saved_by: str | None = "3.17.2",
        content: bytes = b"\x80\x04N.",
        inputs: Any = None,
        params: Any = None,
        **root: Any,
    ) -> Path:
        path = tmp_path / "model"
        path.mkdir(exist_ok=True)
        entry = {"loader_module": "mlflow.sklearn", "model_path": "model.pkl", "predict_fn": "predict"}
        known = {"sklearn": {"pickled_model": "model.pkl", "serialization_format": "cloudpickle"}}
        document: dict[str, Any] = {
            "flavors": {"python_function": entry if pyfunc is None else pyfunc, **(flavors or known)}
        }
        if saved_by is not None:
            document["mlflow_version"] = saved_by
        if inputs or params:
            document["signature"] = {"inputs": json.dumps(inputs), "params": json.dumps(params)}
        (path / "MLmodel").write_text(json.dumps({**document, **root}))
        (path / "model.pkl").write_bytes(content)
        return path

    return written


def lock_with(*packages: str, kind: Any = "wheel") -> Lock:
    named = (package.partition("==") for package in packages)
    locked = tuple(LockedPackage(name=name, version=version, kind=kind, sha256="0" * 64) for name, _, version in named)
    return Lock(python="3.11", target=here("3.11"), packages=locked)


NOW = lock_with("mlflow==3.17.2", "scikit-learn==1.9.1")


def choice(path: Path, lock: Lock | None = NOW, **options: Any) -> tuple[str, str]:
    made = decided(WorkerOptions(**{"loader": "auto", **options}), read_model(path), lock)
    return made.loader, made.why


def test_what_is_on_the_list_is_loaded_directly(write: Write) -> None:
    loader, why = choice(write(inputs=[LONG]))
    assert loader == "direct"
    assert why == "loaded directly: sklearn (cloudpickle) is the same with mlflow 3.17"


def test_the_worker_is_told_of_the_flavor_and_the_mlflow_that_it_stands_in_for(write: Write) -> None:
    model = read_model(write())
    order = json.loads(load_order(model, decided(WorkerOptions(loader="auto"), model, NOW)))
    assert order["direct"] is True
    assert order["mlflow"] == "3.17"
    assert order["flavor"] == {
        "name": "sklearn",
        "file": "model.pkl",
        "serialization": "cloudpickle",
        "trusted": None,
    }
    order = json.loads(load_order(model, decided(WorkerOptions(loader="mlflow"), model, NOW)))
    assert (order["direct"], order["mlflow"], order["flavor"]) == (False, None, None)


def test_mlflow_is_never_replaced_where_it_is_demanded(write: Write) -> None:
    assert choice(write(), loader="mlflow") == ("mlflow", "loaded by mlflow, as was asked for")


def test_without_mlflow_in_the_lock_the_flavors_own_file_is_loaded(write: Write) -> None:
    loader, why = choice(write(), lock_with("scikit-learn==1.9.1"))
    assert (loader, why) == ("direct", "loaded directly: the environment has no mlflow")


def test_without_mlflow_in_the_lock_a_loader_of_the_models_own_loads(write: Write) -> None:
    loader, why = choice(write(pyfunc=CODE), lock_with("scikit-learn==1.9.1"))
    assert (loader, why) == ("mlflow", "loaded by its loader module: the environment has no mlflow")


CODE = {"loader_module": "own", "code": "code", "data": "model.pkl"}
SKOPS = {"pickled_model": "model.pkl", "serialization_format": "skops", "skops_trusted_types": ["mlflow.pyfunc.X"]}
FITTED = {"loader_module": "mlflow.xgboost", "data": "model.pkl"}
ONNX = {"loader_module": "mlflow.onnx", "data": "model.pkl"}
UNPROVEN = {
    "a release that is not on the list": ({}, lock_with("mlflow==0.9.1"), {}, "for mlflow 0.9"),
    "a release to come": ({}, lock_with("mlflow==99.1.0"), {}, "for mlflow 99.1"),
    "saved by one that is not on the list": ({"saved_by": "99.1.0"}, NOW, {}, "for mlflow 99.1"),
    "a pre-release": ({}, lock_with("mlflow==3.17.0rc1"), {}, "no release of its own project"),
    "a directory": ({}, lock_with("mlflow==3.17.2", kind="directory"), {}, "no release of its own project"),
    "a lock that cannot be read": ({}, None, {}, "nobody knows"),
    "a pickle with mlflow in it": ({"content": b"\x80\x04cmlflow.pyfunc\nPythonModel\n."}, NOW, {}, "mentions mlflow"),
    "a predict of another name": (
        {"pyfunc": {"loader_module": "mlflow.sklearn", "model_path": "model.pkl", "predict_fn": "predict_proba"}},
        NOW,
        {},
        "predict_proba",
    ),
    "params": ({"params": [{"name": "t", "type": "long", "default": 1}]}, NOW, {}, "has params"),
    "type hints": ({"is_signature_from_type_hint": True}, NOW, {}, "type hints"),
    "a type hint of an example": ({"type_hint_from_example": True}, NOW, {}, "type hints"),
    "a kind of input that differs": (
        {"inputs": [{"type": "array", "items": {"type": "string"}, "name": "a"}]},
        NOW,
        {},
        "has array",
    ),
    "another flavor": ({"pyfunc": {"loader_module": "mlflow.pyfunc.model"}}, NOW, {}, "mlflow's own code"),
    "a serialization that nobody knows": (
        {"flavors": {"sklearn": {"serialization_format": "dill"}}},
        NOW,
        {},
        "serialization is 'dill'",
    ),
    "a variable of mlflow's": ({}, NOW, {"set_env": {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}}, "MLFLOW_ALLOW"),
    "a variable of mlflow's that is passed": ({}, NOW, {"pass_env": ("MLFLOW_TRACKING_URI",)}, "MLFLOW_TRACKING"),
    "trust in mlflow's types": ({"flavors": {"sklearn": SKOPS}}, NOW, {}, "trusts types of mlflow's"),
    "no file": ({"pyfunc": {"loader_module": "mlflow.sklearn", "model_path": "gone"}}, NOW, {}, "no file"),
    "two files": ({"pyfunc": FITTED, "flavors": {"xgboost": {"data": "other"}}}, NOW, {}, "two files"),
    "a class of its own": (
        {"pyfunc": FITTED, "flavors": {"xgboost": {"data": "model.pkl", "model_class": "mine.Model"}}},
        NOW,
        {},
        "mine.Model",
    ),
    "a config": (
        {"pyfunc": {"loader_module": "mlflow.sklearn", "model_path": "model.pkl", "config": {"a": 1}}},
        NOW,
        {},
        "config",
    ),
    "onnx of another release": (
        {"pyfunc": ONNX, "flavors": {"onnx": {"data": "model.pkl"}}, "saved_by": "1.30.1"},
        NOW,
        {},
        "loads onnx in another way",
    ),
    "onnx on an accelerator": (
        {"pyfunc": ONNX, "flavors": {"onnx": {"data": "model.pkl"}}},
        lock_with("mlflow==3.17.2", "onnxruntime-gpu==1.26.0"),
        {},
        "accelerators",
    ),
    "a loader that is not its own": ({"pyfunc": CODE}, NOW, {}, "not among its own code"),
}


@pytest.mark.parametrize("what", UNPROVEN)
def test_what_is_not_shown_to_be_the_same_goes_to_mlflow_and_says_why(what: str, write: Write) -> None:
    facts, lock, options, says = UNPROVEN[what]
    loader, why = choice(write(**facts), lock, **options)
    assert loader == "mlflow"
    assert why.startswith("loaded by mlflow")
    assert says in why


def test_what_is_taken_off_the_list_goes_to_mlflow(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = json.loads(ALLOWED.read_text())
    known["mlflow"]["3.17"]["flavors"]["sklearn"].remove("cloudpickle")
    (tmp_path / "list.json").write_text(json.dumps(known))
    monkeypatch.setattr("envbuild.bridge.loaders.ALLOWED", tmp_path / "list.json")
    monkeypatch.setattr("envbuild.bridge.loaders._list", lambda: known["mlflow"])
    assert choice(write())[0] == "mlflow"


def test_a_loader_of_the_models_own_is_loaded_directly(write: Write) -> None:
    path = write(pyfunc=CODE)
    (path / "code").mkdir()
    (path / "code" / "own.py").write_text("")
    assert choice(path)[0] == "direct"
    assert choice(write(pyfunc={**CODE, "predict_fn": "other"}))[0] == "mlflow"


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"pyfunc": {"loader_module": "mlflow.pyfunc.model"}}, "its loader, mlflow.pyfunc.model, is mlflow's own code"),
        ({"params": [{"name": "t", "type": "long", "default": 1}]}, "its signature has params"),
    ],
)
def test_a_direct_load_that_cannot_be_is_refused_with_the_reason(
    facts: dict[str, Any], says: str, write: Write
) -> None:
    with pytest.raises(UsageError, match=says) as refused:
        choice(write(**facts), loader="direct")
    assert "--loader direct" in str(refused.value.hint)


def test_a_direct_load_that_is_asked_for_needs_no_list(write: Write) -> None:
    path = write(content=b"\x80\x04cmlflow.pyfunc\nPythonModel\n.")
    assert choice(path, lock_with("mlflow==99.1.0"), loader="direct") == (
        "direct",
        "loaded directly: as was asked for",
    )
    assert choice(path, lock_with(), loader="direct")[0] == "direct"


def test_a_signature_has_the_kinds_that_the_list_names() -> None:
    number = {"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1]}}
    inputs = [
        LONG,
        {"type": "string"},
        {"type": "double", "name": "b", "optional": True},
        number,
        {**number, "name": "t"},
        {"type": "tensor", "tensor-spec": {"dtype": "str", "shape": [-1]}},
    ]
    assert list(kinds_of({"inputs": inputs})) == [
        "long",
        "string",
        "columns without names",
        "double",
        "optional",
        "tensor",
        "tensors with names",
        "tensor: str",
    ]
    assert list(kinds_of({"inputs": None})) == []
