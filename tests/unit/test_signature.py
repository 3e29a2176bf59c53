"""Signatures, as MLflow writes them into MLmodel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from samples import ERA_MODELS, MODELS, PLAIN, model_of

from envbuild.errors import ModelError
from envbuild.model import read_model
from envbuild.signature import Signature


def signature_of(folder: Path, **parts: object) -> Signature:
    lines = "".join(f"  {part}: '{json.dumps(specs)}'\n" for part, specs in parts.items())
    signature = model_of(folder, f"{PLAIN}signature:\n{lines}").signature
    assert signature is not None
    return signature


def test_columns_wrapped_over_several_lines_are_read_from_a_real_model() -> None:
    signature = read_model(MODELS / "py38_mlflow2_1" / "heart").signature
    assert signature is not None
    assert signature.inputs is not None
    assert [column.name for column in signature.inputs][-3:] == ["slope", "ca", "thal"]
    assert signature.params is None


@pytest.mark.parametrize("path", ERA_MODELS, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_the_worker_is_given_is_what_mlmodel_says(path: Path) -> None:
    signature = read_model(path).signature
    if signature is None:
        assert path.parent.name == "py36_mlflow1_2" or path.name == "codepath"
        return
    given = signature.to_dict()
    for part in ("inputs", "outputs"):
        specs, fields = given[part], getattr(signature, part)
        assert specs is not None
        assert [spec.get("name") for spec in specs] == [field.name for field in fields]


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"type": "long", "name": "a"}, "long"),
        ({"type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1, 4, 4, 3]}}, "tensor(uint8, [-1, 4, 4, 3])"),
        ({"type": "array", "items": {"type": "double"}}, "array[double]"),
        ({"type": "map", "values": {"type": "string"}}, "map[string]"),
        ({"type": "object", "properties": {"k": {"type": "long"}, "v": {"type": "any"}}}, "object{k: long, v: any}"),
        ({"type": "array", "items": {"type": "array", "items": {"type": "binary"}}}, "array[array[binary]]"),
        ({"type": "tensor"}, "tensor(None, None)"),
    ],
)
def test_types_are_written_in_full(tmp_path: Path, spec: dict[str, object], text: str) -> None:
    inputs = signature_of(tmp_path, inputs=[spec]).inputs
    assert inputs is not None
    assert inputs[0].type == text


def test_required_and_the_older_optional_are_read(tmp_path: Path) -> None:
    specs = [
        {"type": "long", "name": "a"},
        {"type": "long", "name": "b", "required": False},
        {"type": "long", "name": "c", "optional": True},
    ]
    inputs = signature_of(tmp_path, inputs=specs).inputs
    assert inputs is not None
    assert [column.required for column in inputs] == [True, False, False]


def test_params_have_defaults_and_shapes(tmp_path: Path) -> None:
    params = signature_of(
        tmp_path,
        params=[
            {"name": "top", "type": "long", "default": 3, "shape": None},
            {"name": "stop", "type": "string", "default": ["a"], "shape": [-1]},
        ],
    ).params
    assert params is not None
    assert [(field.name, field.type, field.default) for field in params] == [
        ("top", "long", 3),
        ("stop", "string[-1]", ["a"]),
    ]


def test_a_yaml_list_written_by_hand_is_read_too(tmp_path: Path) -> None:
    model = model_of(tmp_path, PLAIN + "signature:\n  inputs:\n  - {name: a, type: long}\n")
    assert model.signature is not None
    assert model.signature.to_dict() == {"inputs": [{"name": "a", "type": "long"}], "outputs": None, "params": None}


@pytest.mark.parametrize("written", ["signature: null\n", "signature: {}\n", "signature:\n  inputs: null\n", ""])
def test_a_signature_of_nothing_is_none(tmp_path: Path, written: str) -> None:
    assert model_of(tmp_path, PLAIN + written).signature is None


@pytest.mark.parametrize(
    "written",
    [
        "'not json'",
        "'{\"a\": 1}'",
        "'[1]'",
        '\'[{"name": "a"}]\'',
        "'[{\"type\": 3}]'",
        "3",
        "{a: 1}",
        f"'{'[' * 3000}'",
        "'[" + '{"type": "array", "items": ' * 900 + "{}" + "}" * 900 + "]'",
        f"'[{'9' * 5000}]'",
    ],
)
def test_what_is_no_signature_is_a_model_error_with_its_line(tmp_path: Path, written: str) -> None:
    with pytest.raises(ModelError) as caught:
        model_of(tmp_path, f"{PLAIN}signature:\n  inputs: {written}\n")
    assert caught.value.code == "model-invalid"
    assert caught.value.place is not None
    assert caught.value.place.line in (5, 6)
