"""The description of any signature: valid for others' validators, and true of its own examples."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from described import HEART, KINDS, PARAMS, column, served, tensor, write_signed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from kit import REPO
from openapi_spec_validator import OpenAPIV2SpecValidator, OpenAPIV31SpecValidator

from envbuild.server.description import answers, forms, openapi, schemas, swagger
from envbuild.settings.serving import ServingSettings

sys.path.append(str(REPO / "tests" / "conformance"))
from eras import DATETIME, NESTED, OPTIONAL
from eras import PARAMS as HAS_PARAMS
from strategies import signatures, types

KNOWN = frozenset((DATETIME, OPTIONAL, HAS_PARAMS, NESTED))


def described(model: Path, **given: Any) -> dict[str, Any]:
    known = served(model)
    return openapi.document(known, forms.of(known), ServingSettings(**given))


def examples_of(document: dict[str, Any]) -> list[tuple[str, str, Any, Any]]:
    """Path, content type, example and schema of everything that can be posted."""
    return [
        (path, kind, example["value"], body["schema"])
        for path, methods in document["paths"].items()
        for operation in methods.values()
        for kind, body in operation.get("requestBody", {}).get("content", {}).items()
        for example in body.get("examples", {}).values()
    ]


def check(document: dict[str, Any], schema: Any, value: Any) -> None:
    Draft202012Validator({**schema, "components": document["components"]}).validate(value)


def check_whole(document: dict[str, Any]) -> None:
    """It is valid in both forms, so is each of its schemas, and its examples fit them."""
    document = json.loads(openapi.written(document))
    OpenAPIV31SpecValidator(document).validate()
    OpenAPIV2SpecValidator(json.loads(openapi.written(swagger.lowered(document)))).validate()
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for _, _, value, schema in examples_of(document):
        check(document, schema, value)


@pytest.mark.parametrize("kind", KINDS)
def test_the_description_of_each_kind_of_signature_is_valid(kind: str, tmp_path: Path) -> None:
    document = described(write_signed(tmp_path, KINDS[kind]))
    check_whole(document)
    assert examples_of(document)


def _models(*, default: bool) -> list[Any]:
    """The models of the newest era are looked at every time, all others in the slow tier."""
    found = [path.parent for path in sorted(HEART.parents[1].glob("py*_mlflow*/*/MLmodel"))]
    return [
        pytest.param(path, id=f"{path.parent.name}-{path.name}")
        for path in found
        if (path.parent == HEART.parent) == default
    ]


@pytest.mark.parametrize("model", _models(default=True))
def test_the_description_of_each_real_model_is_valid(model: Path) -> None:
    check_whole(described(model))


@pytest.mark.slow
@pytest.mark.parametrize("model", _models(default=False))
def test_the_description_of_each_older_model_is_valid(model: Path) -> None:
    check_whole(described(model))


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(signatures(KNOWN), st.lists(types(KNOWN), max_size=3), st.booleans())
def test_the_description_of_any_signature_is_valid(signature: Any, outputs: list[Any], named: bool) -> None:
    if signature is not None and outputs:
        specs = [{**one, "name": f"o{place}"} if named else one for place, one in enumerate(outputs)]
        signature = {**signature, "outputs": specs}
    with tempfile.TemporaryDirectory() as place:
        check_whole(described(write_signed(Path(place), signature)))


@pytest.mark.parametrize(
    "specs",
    [
        [column("sparkml_vector", "v")],
        [column("object", "v")],
        [column("object", "v", properties=3)],
        [{"type": "tensor"}],
        [{"type": "tensor", "tensor-spec": {"dtype": "void", "shape": ["x"]}}],
        [tensor("float32", [-1, 100_000, 100_000])],
        [column("double", "a"), column("double", "a")],
        [column("double", "a"), column("double")],
        [column("long", "</script>"), column("long", "\ud800"), column("long", "a\nb\x00")],
        [tensor("complex64", [-1]), tensor("U7", [2], "t")],
        [column("array", "a", items=None), column("map", "m")],
    ],
)
def test_what_no_mlflow_writes_is_described_as_far_as_it_is_understood(specs: Any, tmp_path: Path) -> None:
    check_whole(described(write_signed(tmp_path, {"inputs": specs, "outputs": specs, "params": PARAMS})))


def test_types_are_real(tmp_path: Path) -> None:
    document = described(write_signed(tmp_path, KINDS["every-type"]))
    records = document["components"]["schemas"]["DataframeRecords"]["properties"]["dataframe_records"]
    row = records["items"]
    types = {name: (one.get("type"), one.get("format")) for name, one in row["properties"].items()}
    assert types == {
        "boolean": ("boolean", None),
        "integer": ("integer", "int32"),
        "long": ("integer", "int64"),
        "float": ("number", "float"),
        "double": ("number", "double"),
        "string": ("string", None),
        "binary": ("string", "byte"),
        "datetime": ("string", "date-time-local"),
        "maybe": ("integer", "int64"),
        "list": ("array", None),
        "thing": ("object", None),
        "map": ("object", None),
    }
    assert row["properties"]["list"]["items"] == {"type": "number", "format": "double"}
    assert row["properties"]["thing"]["required"] == ["name"]
    assert row["properties"]["map"]["additionalProperties"]["type"] == "number"
    assert set(row["properties"]) - set(row["required"]) == {"maybe"}
    params = document["components"]["schemas"]["Params"]["properties"]
    assert {name: one["default"] for name, one in params.items()} == {
        "temperature": 0.5, "top": 3, "words": ["a", "b"], "on": True,
    }  # fmt: skip
    assert params["words"]["items"] == {"type": "string"}


def test_a_tensor_is_nested_arrays_of_its_sizes(tmp_path: Path) -> None:
    document = described(write_signed(tmp_path, KINDS["tensor"]))
    outer = document["components"]["schemas"]["Inputs"]["properties"]["inputs"]
    middle = outer["items"]
    assert (outer["minItems"], "maxItems" in outer) == (1, False)
    assert (middle["minItems"], middle["maxItems"]) == (2, 2)
    assert middle["items"]["items"] == {"type": "integer", "minimum": 0, "maximum": 255}
    answer = document["components"]["schemas"]["Predictions"]
    assert "minItems" not in answer
    assert answer["items"]["items"]["maxItems"] == 3


@pytest.mark.parametrize(
    ("kind", "keys", "content"),
    [
        ("every-type", {"dataframe_split", "dataframe_records"}, {"application/jsonl"}),
        ("plain", {"dataframe_split", "dataframe_records", "instances", "inputs"}, {"text/csv", "application/jsonl"}),
        ("flat", {"dataframe_split", "dataframe_records"}, {"text/csv", "application/jsonl"}),
        ("unnamed", {"dataframe_split"}, set()),
        ("tensor", {"instances", "inputs"}, set()),
        ("tensors", {"instances", "inputs"}, set()),
    ],
)
def test_the_forms_are_those_that_suit_the_signature(
    kind: str, keys: set[str], content: set[str], tmp_path: Path
) -> None:
    operation = described(write_signed(tmp_path, KINDS[kind]))["paths"]["/invocations"]["post"]
    bodies = operation["requestBody"]["content"]
    assert set(bodies["application/json"]["examples"]) == keys
    assert {"text/csv", "application/jsonl"} & set(bodies) == content


def test_a_model_of_type_hints_takes_a_list(tmp_path: Path) -> None:
    spec = column("object", properties={"question": {"type": "string"}})
    model = write_signed(tmp_path, {"inputs": [spec]}, more="is_signature_from_type_hint: true\n")
    document = described(model)
    check_whole(document)
    (example,) = document["paths"]["/invocations"]["post"]["requestBody"]["content"]["application/json"][
        "examples"
    ].values()
    assert [list(one) for one in example["value"]["inputs"]] == [["question"]] * 3


def test_the_models_own_example_is_put_into_the_signatures_order(tmp_path: Path) -> None:
    specs = [column("long", "a"), column("double", "b", required=False), column("datetime", "c")]
    own = {"dataframe_split": {"columns": ["c", "more", "a"], "data": [["2020-01-01T00:00:00.000Z", 1, 2]]}}
    document = described(write_signed(tmp_path, {"inputs": specs}, example=own))
    check_whole(document)
    bodies = document["paths"]["/invocations"]["post"]["requestBody"]["content"]
    shown = bodies["application/json"]["examples"]
    assert shown["dataframe_split"]["value"]["dataframe_split"]["data"] == [[2, None, "2020-01-01T00:00:00.000"]]
    assert shown["dataframe_records"]["value"]["dataframe_records"] == [{"a": 2, "c": "2020-01-01T00:00:00.000"}]
    assert bodies["text/csv"]["examples"]["example"]["value"] == "a,b,c\n2,,2020-01-01T00:00:00.000\n"


def test_an_integer_that_the_models_own_example_lacks_is_left_out_of_it(tmp_path: Path) -> None:
    specs = [column("long", "a", required=False), column("double", "b"), column("boolean", "c", required=False)]
    own = {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 1.5], [None, 2.5]]}}
    document = described(write_signed(tmp_path, {"inputs": specs}, example=own))
    check_whole(document)
    bodies = document["paths"]["/invocations"]["post"]["requestBody"]["content"]
    shown = bodies["application/json"]["examples"]["dataframe_split"]["value"]["dataframe_split"]
    assert shown == {"columns": ["b"], "data": [[1.5], [2.5]]}
    records = document["components"]["schemas"]["DataframeRecords"]["properties"]["dataframe_records"]["items"]
    assert (set(records["properties"]), records["required"]) == ({"a", "b", "c"}, ["b"])


def test_an_example_that_lacks_what_is_required_gives_way_to_one_that_is_made(tmp_path: Path) -> None:
    specs = [column("long", "a"), column("long", "b")]
    own = {"dataframe_split": {"columns": ["a"], "data": [[1]]}}
    document = described(write_signed(tmp_path, {"inputs": specs}, example=own))
    check_whole(document)
    assert len(examples_of(document)) > 3


def test_a_column_that_the_models_own_example_leaves_empty_may_be(tmp_path: Path) -> None:
    own = {"dataframe_split": {"columns": ["a"], "data": [[1.5], [None]]}}
    document = described(write_signed(tmp_path, {"inputs": [column("double", "a")]}, example=own))
    check_whole(document)
    rows = document["components"]["schemas"]["DataframeSplit"]["properties"]["dataframe_split"]["properties"]["data"]
    assert rows["items"]["prefixItems"][0]["type"] == ["number", "null"]


def test_the_body_of_a_language_model_is_bare(tmp_path: Path) -> None:
    message = {"type": "object", "properties": {"role": {"type": "string"}, "content": {"type": "string"}}}
    specs = [column("array", "messages", items=message), column("double", "temperature", required=False)]
    own = {"messages": [{"role": "user", "content": "why"}]}
    document = described(write_signed(tmp_path, {"inputs": specs}, example=own))
    check_whole(document)
    bodies = document["paths"]["/invocations"]["post"]["requestBody"]["content"]
    assert bodies["application/json"]["examples"]["bare"]["value"] == own
    assert document["components"]["schemas"]["Bare"]["required"] == ["messages"]


def test_every_status_that_can_come_is_described(tmp_path: Path) -> None:
    model = write_signed(tmp_path, KINDS["plain"])
    plain, guarded = described(model), described(model, token="canary")
    wanted = {"200", "400", "408", "413", "415", "429", "500", "503", "504"}
    for path, operations in plain["paths"].items():
        if "post" in operations:
            found = set(operations["post"]["responses"])
            assert (path, found) == (path, wanted)
            assert set(guarded["paths"][path]["post"]["responses"]) == {*wanted, "401"}
    assert guarded["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert "canary" not in json.dumps(guarded)
    assert guarded["paths"]["/ping"]["get"]["security"] == []
    check_whole(guarded)
    assert swagger.lowered(guarded)["securityDefinitions"]["token"]["in"] == "header"


def test_the_server_is_where_a_proxy_has_it(tmp_path: Path) -> None:
    document = described(write_signed(tmp_path, KINDS["tensor"]), root_path="/models/heart")
    check_whole(document)
    assert document["servers"] == [{"url": "/models/heart"}]
    assert swagger.lowered(document)["basePath"] == "/models/heart"


def test_swagger_has_the_properties_of_all_forms_in_one_object(tmp_path: Path) -> None:
    found = swagger.lowered(described(write_signed(tmp_path, KINDS["plain"])))
    (body,) = found["paths"]["/score"]["post"]["parameters"]
    assert {"input_data", "dataframe_split", "dataframe_records", "inputs", "instances", "params"} == set(
        body["schema"]["properties"]
    )
    assert "input_data" in body["schema"]["example"]
    row = found["definitions"]["DataframeRecords"]["properties"]["dataframe_records"]["items"]
    assert row["properties"]["maybe"] == {"type": "number", "format": "double", "x-nullable": True}


@pytest.mark.parametrize(
    ("outputs", "right", "wrong"),
    [
        ([tensor("int64", [-1])], [[1, 2], []], ["x", [1.5]]),
        ([tensor("float32", [-1, 2])], [[[1.5, None]]], [[[1.5]], [["x", 1]]]),
        ([tensor("str", [-1])], [["a", None]], [[1]]),
        ([tensor("float32", [-1], "a")], [{"a": [1.5]}], [[1.5]]),
        (
            [column("long", "a"), column("string", "b")],
            [[{"a": 1, "b": None}], {"a": [1], "b": ["x"]}],
            [[{"a": "x", "b": "y"}]],
        ),
        ([column("string")], [["a"], "a"], [1]),
        ([column("long", "a", required=False)], [[None], [{"a": None}]], [["x"]]),
    ],
)
def test_answers_fit_the_outputs(outputs: list[Any], right: list[Any], wrong: list[Any]) -> None:
    validator = Draft202012Validator(answers.of_outputs(outputs))
    assert all(validator.is_valid(value) for value in right)
    assert not any(validator.is_valid(value) for value in wrong)


def test_types_without_end_say_nothing() -> None:
    spec: dict[str, Any] = {"type": "double"}
    for _ in range(100):
        spec = {"type": "array", "items": spec}
    Draft202012Validator.check_schema(schemas.of_spec(spec))
