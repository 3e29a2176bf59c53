"""An input to try a model with: its own example in every form that MLflow has written, or one from its signature."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kit import REPO
from tiny import write_model

from envbuild import sample
from envbuild.errors import UsageError
from envbuild.model import Model, read_model
from envbuild.review import check
from envbuild.sample import ROWS, request_for
from envbuild.settings import Settings

MakeModel = Callable[..., Path]
MODELS = REPO / "tests" / "models"


def with_example(make_model: MakeModel, content: Any, info: str, more: str = "", **files: Any) -> Model:
    text = content if isinstance(content, str) else json.dumps(content)
    saved = f"saved_input_example_info:\n  artifact_path: input_example.json\n{info}{more}"
    return read_model(make_model(more=saved, files={"input_example.json": text, **files}))


def sent(model: Model) -> Any:
    found = sample.of_example(model)
    assert found is not None
    assert (found.kind, found.content_type) == ("example", "application/json")
    return json.loads(found.payload)


SPLIT = {"columns": ["a"], "data": [[1], [2]]}
DATAFRAME = "  type: dataframe\n  pandas_orient: split\n"
NDARRAY = "  type: ndarray\n  format: tf-serving\n"
OBJECT = "  type: json_object\n"
PARAMS = '  params: "true"\n'


# As written by 1.22, 1.30, 2.2, 2.11 and 2.17, read off their own code.
@pytest.mark.parametrize(
    ("content", "info", "wanted"),
    [
        (SPLIT, DATAFRAME, {"dataframe_split": SPLIT}),
        ({"data": [[1], [2]]}, DATAFRAME, {"dataframe_split": {"data": [[1], [2]]}}),
        ({"data": [[1]]}, "  type: dataframe\n  pandas_orient: values\n", {"dataframe_split": {"data": [[1]]}}),
        ([{"a": 1}], "  type: dataframe\n  pandas_orient: records\n", {"dataframe_records": [{"a": 1}]}),
        ({"inputs": [[1.0]]}, NDARRAY, {"inputs": [[1.0]]}),
        ({"inputs": {"x": [1.0]}}, NDARRAY, {"inputs": {"x": [1.0]}}),
        ([[1.0]], "  type: ndarray\n", {"inputs": [[1.0]]}),
        ({"x": [1.0]}, "  type: ndarray\n", {"inputs": {"x": [1.0]}}),
        (["a", "b"], OBJECT, {"inputs": ["a", "b"]}),
        ({"question": "why"}, OBJECT, {"inputs": {"question": "why"}}),
        ({"messages": [{"role": "user"}]}, OBJECT, {"messages": [{"role": "user"}]}),
        ("text", OBJECT, None),
        (
            {"inputs": SPLIT, "params": {"k": 1}},
            DATAFRAME + PARAMS,
            {"dataframe_split": SPLIT, "params": {"k": 1}},
        ),
        (
            {"inputs": {"inputs": [[1.0]]}, "params": {"k": 1}},
            NDARRAY + PARAMS,
            {"inputs": [[1.0]], "params": {"k": 1}},
        ),
        (
            {"inputs": [[1.0]], "params": {"k": 1}},
            "  type: ndarray\n" + PARAMS,
            {"inputs": [[1.0]], "params": {"k": 1}},
        ),
    ],
)
def test_an_older_example_becomes_a_request(make_model: MakeModel, content: Any, info: str, wanted: Any) -> None:
    model = with_example(make_model, content, info)
    if wanted is None:
        # No JSON at all: whoever reads it says why.
        assert (sample.of_example(model) or sample.Sample).payload == b"text"
    else:
        assert sent(model) == wanted


def test_a_request_that_mlflow_wrote_is_sent_as_it_is(make_model: MakeModel) -> None:
    body = '{"dataframe_split":  {"columns": ["a"], "data": [[1]]}, "params": {"k": 2}}'
    info = DATAFRAME + PARAMS + "  serving_input_path: serving_input_example.json\n"
    model = with_example(make_model, SPLIT, info, **{"serving_input_example.json": body})
    found = sample.of_example(model)
    assert found is not None
    assert found.payload.decode() == body
    assert found.text == "the model's input example serving_input_example.json"


@pytest.mark.parametrize("era", ["py38_mlflow1_30", "py38_mlflow2_1", "py310_mlflow2_17", "py311_mlflow3_17"])
def test_the_example_of_each_era_is_one_request(era: str) -> None:
    body = sent(read_model(MODELS / era / "heart"))
    assert set(body) == {"dataframe_split"}
    assert len(body["dataframe_split"]["data"]) == len(
        json.loads((MODELS / era / "heart" / "input_example.json").read_text())["data"]
    )


def test_a_sparse_example_gives_way_to_the_signature(make_model: MakeModel) -> None:
    sparse = {"data": [1.0], "indices": [0], "indptr": [0, 1], "shape": [1, 4]}
    signature = f"signature:\n  inputs: '{json.dumps([tensor('float64', [-1, 4])])}'\n"
    model = with_example(make_model, sparse, "  type: sparse_matrix_csr\n", signature)
    assert sample.of(model).kind == "generated"
    plain = with_example(make_model, sparse, "  type: sparse_matrix_csr\n")
    with pytest.raises(UsageError, match="no input example that can be sent, and no signature") as caught:
        sample.of(plain)
    assert caught.value.hint == "give an input with --input"


def column(kind: str, name: str | None = None, **more: Any) -> dict[str, Any]:
    return {"type": kind, **({} if name is None else {"name": name}), "required": True, **more}


def tensor(dtype: str, shape: list[int], name: str | None = None) -> dict[str, Any]:
    return {
        "type": "tensor",
        **({} if name is None else {"name": name}),
        "tensor-spec": {"dtype": dtype, "shape": shape},
    }


PLAIN = ("boolean", "integer", "long", "float", "double", "string", "binary", "datetime")
DTYPES = [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]
DTYPES += ["bool", "float16", "float32", "float64", "str", "object", "bytes", "datetime64"]
NESTED = [
    column("array", "list", items={"type": "double"}),
    column("array", "lists", items={"type": "array", "items": {"type": "long"}}),
    column("object", "thing", properties={"name": {"type": "string"}, "size": {"type": "long", "required": False}}),
    column("map", "map", values={"type": "double"}),
    column("array", "things", items={"type": "object", "properties": {"on": {"type": "boolean"}}}),
]


def test_a_table_has_five_rows_in_every_type_and_is_the_same_each_time() -> None:
    specs = [column(kind, kind) for kind in PLAIN] + [column("long", "optional", required=False), column("any", "any")]
    body = request_for(specs)
    assert json.dumps(body) == json.dumps(request_for(specs))
    split = body["dataframe_split"]
    assert split["columns"] == [*PLAIN, "optional", "any"]
    assert len(split["data"]) == ROWS
    first = dict(zip(split["columns"], split["data"][0]))
    assert {name: type(value) for name, value in first.items()} == {
        "boolean": bool, "integer": int, "long": int, "float": float, "double": float, "string": str, "binary": str,
        "datetime": str, "optional": int, "any": str,
    }  # fmt: skip
    assert base64.b64decode(first["binary"], validate=True).isalpha()
    assert re.fullmatch(r"2020-01-\d\dT00:00:00", first["datetime"])
    for place in range(len(PLAIN)):
        assert len({row[place] for row in split["data"]}) == (2 if place == 0 else ROWS)


def test_columns_without_names_have_none() -> None:
    body = request_for([column("double"), column("string")])
    assert set(body["dataframe_split"]) == {"data"}


def test_nested_types_are_filled() -> None:
    (row, *_) = request_for(NESTED)["dataframe_split"]["data"]
    values = dict(zip((spec["name"] for spec in NESTED), row))
    assert all(isinstance(value, float) for value in values["list"])
    assert all(isinstance(value, int) for below in values["lists"] for value in below)
    assert set(values["thing"]) == {"name", "size"}
    assert all(isinstance(value, float) for value in values["map"].values())
    assert all(set(below) == {"on"} for below in values["things"])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_tensor_has_its_dtype_and_shape(dtype: str) -> None:
    body = request_for([tensor(dtype, [-1, 2, -1, 3])])
    array = np.array(body["inputs"])
    assert array.shape == (ROWS, 2, 8, 3)
    cast = array.astype(dtype)
    if cast.dtype.kind in "iufb":
        assert (cast == array).all(), "nothing is lost"
    assert len(np.unique(array)) > 1


def test_named_tensors_stand_under_their_names() -> None:
    body = request_for(
        [tensor("int64", [-1, 2], "ids"), tensor("float32", [3], "weights"), tensor("float32", [], "one")]
    )
    assert {name: np.array(value).shape for name, value in body["inputs"].items()} == {
        "ids": (ROWS, 2),
        "weights": (3,),
        "one": (),
    }


def test_a_model_of_type_hints_takes_a_list(make_model: MakeModel) -> None:
    spec = column("object", properties={"question": {"type": "string"}})
    more = f"is_signature_from_type_hint: true\nsignature:\n  inputs: '{json.dumps([spec])}'\n"
    body = json.loads(sample.of(read_model(make_model(more=more))).payload)
    assert [list(one) for one in body["inputs"]] == [["question"]] * ROWS


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (column("sparkml_vector", "v"), "the type sparkml_vector"),
        (column("object", "v"), "an object without properties"),
        (tensor("void", [-1]), "a tensor of void"),
        (tensor("float32", [-1, 4096, 4096]), "is too large"),
        ({"type": "tensor"}, "the shape of a tensor"),
    ],
)
def test_what_nothing_can_be_made_up_for_asks_for_an_input(make_model: MakeModel, spec: Any, said: str) -> None:
    model = read_model(make_model(more=f"signature:\n  inputs: '{json.dumps([spec])}'\n"))
    with pytest.raises(UsageError, match=re.escape(said)):
        sample.of(model)


def test_types_that_are_nested_without_end_are_refused() -> None:
    spec: dict[str, Any] = {"type": "double"}
    for _ in range(60):
        spec = {"type": "array", "items": spec}
    with pytest.raises(sample._NoForm, match="without end"):
        request_for([spec])


# Gives back what it was given, in words.
TELLER = """
def tell(value):
    if isinstance(value, dict):
        return {str(name): tell(below) for name, below in value.items()}
    if hasattr(value, "columns"):
        rows = len(value)
        return {str(name): [str(value[name].dtype), rows, tell_cell(value[name].iloc[0])] for name in value.columns}
    return [str(value.dtype), list(value.shape)]

def tell_cell(cell):
    return type(cell).__name__

class Teller:
    def predict(self, data):
        return tell(data)

def _load_pyfunc(path):
    return Teller()
"""


def answered(place: Path, specs: list[dict[str, Any]], home: Path, **asked: Any) -> Any:
    """What a model with that signature says of the input that is made for it."""
    more = f"signature:\n  inputs: '{json.dumps(specs)}'\n"
    model = write_model(place, loader=TELLER, more=more, **asked)
    found = check.check(model, Settings.from_environ({}, home=home, python_downloads=False))
    (tried,) = found.tried
    assert tried.failure is None, str(tried.failure)
    assert found.sample.kind == "generated"
    return tried.answer


@pytest.mark.slow
def test_a_worker_with_pandas_takes_every_type(shared_home: Path, tmp_path: Path) -> None:
    asked = {"pip": ["pandas==1.3.5", "numpy==1.21.6"], "created": "2022-06-15 12:00:00"}
    specs = [column(kind, kind) for kind in PLAIN] + [column("any", "any"), *NESTED]
    told = answered(tmp_path / "table", specs, shared_home, **asked)
    assert {name: said[0] for name, said in told.items()} == {
        "boolean": "bool", "integer": "int32", "long": "int64", "float": "float32", "double": "float64",
        "string": "object", "binary": "object", "datetime": "datetime64[ns]", "any": "object",
        **{spec["name"]: "object" for spec in NESTED},
    }  # fmt: skip
    assert (told["binary"][2], told["list"][2], told["thing"][2]) == ("bytes", "list", "dict")
    assert {said[1] for said in told.values()} == {ROWS}
    named = [tensor(dtype, [-1, 2], dtype) for dtype in DTYPES]
    told = answered(tmp_path / "tensors", named, shared_home, **asked)
    wanted = {"str": "<U1", "bytes": "|S1", "datetime64": "datetime64[s]"}
    assert told == {dtype: [wanted.get(dtype, dtype), [ROWS, 2]] for dtype in DTYPES}
    assert answered(tmp_path / "one", [tensor("uint8", [-1, 4])], shared_home, **asked) == ["uint8", [ROWS, 4]]


@pytest.mark.parametrize(
    "era",
    [
        pytest.param("py38_mlflow1_30", marks=pytest.mark.slow),
        pytest.param("py310_mlflow2_17", marks=pytest.mark.soak),
        pytest.param("py311_mlflow3_17", marks=pytest.mark.slow),
    ],
)
def test_the_enforcement_of_an_era_takes_every_type_that_it_knows(shared_home: Path, tmp_path: Path, era: str) -> None:
    heart = MODELS / era / "heart"
    plain = [column(kind, kind) for kind in PLAIN]
    nested = NESTED[:3] if era == "py310_mlflow2_17" else NESTED if era == "py311_mlflow3_17" else []
    if not nested:
        plain = [{name: value for name, value in spec.items() if name != "required"} for spec in plain]
    for name, specs in (("table", plain + nested), ("tensor", [tensor("float32", [-1, 4])])):
        place = tmp_path / name
        shutil.copytree(heart, place)
        said = (heart / "MLmodel").read_text()
        (created,) = re.findall(r"^utc_time_created: '(.*)'", said, flags=re.MULTILINE)
        (mlflow,) = re.findall(r"^mlflow_version: (.*)", said, flags=re.MULTILINE)
        kept = {file: (place / file).read_bytes() for file in ("conda.yaml", "python_env.yaml")}
        told = answered(
            place, specs, shared_home, created=created, files=kept, flavors=f"mlflow_version: {mlflow}\nmodel_uuid: x\n"
        )
        assert told == ["float32", [ROWS, 4]] if name == "tensor" else len(told) == len(specs)
