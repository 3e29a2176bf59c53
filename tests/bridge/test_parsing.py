"""Parsing: every form of input, with and without a signature, and every way of getting it wrong."""

from __future__ import annotations

import base64
import io
import json
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

GetModule = Callable[[str], types.ModuleType]
Parse = Callable[..., Any]


@pytest.fixture
def parse(worker_module: GetModule) -> Parse:
    parsing = worker_module("parsing")

    def parse(body: Any, inputs: Any = None, kind: str = "application/json", **options: Any) -> Any:
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        return parsing.Parser({"inputs": inputs, "params": options.pop("params", None)}, **options).parse(payload, kind)

    return parse


def columns(**types_: str) -> list[dict[str, Any]]:
    return [{"name": name, "type": kind} for name, kind in types_.items()]


def tensor(dtype: str, shape: list[int], **name: str) -> dict[str, Any]:
    return {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}, **name}


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, "x"], [2, None]]}},
        {"dataframe_records": [{"a": 1, "b": "x"}, {"a": 2, "b": None}]},
        {"columns": ["a", "b"], "data": [[1, "x"], [2, None]]},
        [{"a": 1, "b": "x"}, {"a": 2, "b": None}],
    ],
)
def test_tables(parse: Parse, body: Any) -> None:
    wanted = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    pd.testing.assert_frame_equal(parse(body).data, wanted)


def test_an_index_is_kept(parse: Parse) -> None:
    frame = parse({"dataframe_split": {"index": [5, 7], "columns": ["a"], "data": [[1], [2]]}}).data
    assert list(frame.index) == [5, 7]


def test_lines_and_csv_and_parquet(parse: Parse) -> None:
    wanted = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    lines = b'{"a": 1, "b": "x"}\n\n{"a": 2, "b": "y"}\r\n'
    for kind in ("application/jsonl", "application/x-ndjson"):
        pd.testing.assert_frame_equal(parse(lines, kind=kind).data, wanted)
    pd.testing.assert_frame_equal(parse(b"a,b\n1,x\n2,y\n", kind="text/csv; charset=UTF-8").data, wanted)
    file = io.BytesIO()
    wanted.to_parquet(file)
    pd.testing.assert_frame_equal(parse(file.getvalue(), kind="application/vnd.apache.parquet").data, wanted)


def test_csv_keeps_text_as_it_is_written(parse: Parse) -> None:
    frame = parse(
        b"zip,n,when\n00123,1,2020-01-02\n", columns(zip="string", n="double", when="datetime"), "text/csv"
    ).data
    assert frame["zip"].tolist() == ["00123"]
    assert (str(frame["n"].dtype), str(frame["when"].dtype)) == ("float64", "datetime64[ns]")


def test_columns_are_cast_to_the_signature(parse: Parse) -> None:
    kinds = {
        "boolean": "bool",
        "integer": "int32",
        "long": "int64",
        "float": "float32",
        "double": "float64",
        "datetime": "datetime64[ns]",
    }
    row = {"boolean": True, "integer": 1, "long": 2**62, "float": 1, "double": 1, "datetime": "2020-01-02T03:04:05"}
    frame = parse({"dataframe_records": [row]}, columns(**{kind: kind for kind in kinds})).data
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == kinds
    assert frame["long"][0] == 2**62
    assert frame["datetime"][0] == pd.Timestamp("2020-01-02T03:04:05")


def test_binary_is_base64_and_text_stays(parse: Parse) -> None:
    encoded = base64.b64encode(b"\x00\xff").decode()
    frame = parse([{"b": encoded, "s": "1"}, {"b": None, "s": None}], columns(b="binary", s="string")).data
    assert frame["b"][0] == b"\x00\xff"
    assert frame["s"][0] == "1"
    assert frame["s"].isna()[1]


def test_columns_without_names_are_cast_by_position(parse: Parse) -> None:
    frame = parse({"dataframe_split": {"data": [[1, 2]]}}, [{"type": "double"}, {"type": "long"}]).data
    assert [str(dtype) for dtype in frame.dtypes] == ["float64", "int64"]


def test_integers_beyond_a_double_are_not_rounded(parse: Parse) -> None:
    big = 2**53 + 1
    assert parse({"dataframe_records": [{"a": big}]}, columns(a="long")).data["a"][0] == big
    assert parse({"inputs": [big]}).data.tolist() == [big]


@pytest.mark.parametrize(
    ("kind", "value", "says"),
    [
        ("long", 1.5, "1.5 is not a value of int64"),
        ("integer", 2**40, "1099511627776 is not a value of int32"),
        ("long", "x", "column 'a' is long"),
        ("long", None, "column 'a' is long"),
        ("boolean", "false", "'false' is not a boolean"),
        ("boolean", 2, "2 is not a boolean"),
        ("double", "x", "column 'a' is double"),
        ("datetime", "x", "column 'a' is datetime"),
        ("binary", "x", "column 'a' is binary"),
    ],
)
def test_what_does_not_fit_a_column(parse: Parse, worker_module: GetModule, kind: str, value: Any, says: str) -> None:
    with pytest.raises(worker_module("loading").Mismatch, match=says):
        parse({"dataframe_records": [{"a": value}]}, columns(a=kind))


def test_a_nan_in_a_table_stays_one(parse: Parse) -> None:
    frame = parse(b'{"dataframe_records": [{"a": NaN}, {"a": null}]}').data
    assert str(frame["a"].dtype) == "float64"
    assert frame["a"].isna().all()


@pytest.mark.parametrize("form", ["instances", "inputs"])
def test_arrays(parse: Parse, form: str) -> None:
    array = parse({form: [[1, 2], [3, 4]]}).data
    np.testing.assert_array_equal(array, np.array([[1, 2], [3, 4]]))
    array = parse({form: [[1, 2], [3, 4]]}, [tensor("uint8", [-1, 2])]).data
    assert (array.dtype, array.shape) == (np.uint8, (2, 2))


def test_named_arrays(parse: Parse) -> None:
    signature = [tensor("float32", [-1], name="x"), tensor("int64", [-1], name="y")]
    by_column = parse({"inputs": {"x": [1, 2], "y": [3, 4]}}, signature).data
    by_row = parse({"instances": [{"x": 1, "y": 3}, {"x": 2, "y": 4}]}, signature).data
    for data in (by_column, by_row):
        assert {name: (str(a.dtype), a.tolist()) for name, a in data.items()} == {
            "x": ("float32", [1.0, 2.0]),
            "y": ("int64", [3, 4]),
        }
    np.testing.assert_array_equal(parse({"inputs": [1, 2]}, columns(only="double")).data["only"], [1.0, 2.0])
    assert parse({"inputs": {"q": "text"}}, columns(q="string")).data["q"] == np.str_("text")


@pytest.mark.parametrize("value", [[[300]], [[1.5]], [[-1]]])
def test_what_does_not_fit_a_tensor(parse: Parse, worker_module: GetModule, value: Any) -> None:
    with pytest.raises(worker_module("loading").Mismatch, match="not a value of uint8"):
        parse({"inputs": value}, [tensor("uint8", [-1, 1])])


def test_nested_types_are_passed_on(parse: Parse) -> None:
    signature = [
        {"name": "o", "type": "object", "properties": {"k": {"type": "long"}}},
        {"name": "l", "type": "array", "items": {"type": "string"}},
    ]
    data = parse({"inputs": {"o": {"k": 1}, "l": ["a", "b"]}}, signature).data
    assert (data["o"], data["l"].tolist()) == ({"k": 1}, ["a", "b"])
    frame = parse({"dataframe_records": [{"o": {"k": 1}, "l": ["a"]}]}, signature).data
    assert frame.iloc[0].tolist() == [{"k": 1}, ["a"]]


def test_bodies_for_language_models_are_passed_bare(parse: Parse) -> None:
    params = [{"name": "temperature", "type": "double", "default": 1.0}]
    request = parse({"messages": [{"role": "user"}], "temperature": 0.5, "n": 1}, params=params)
    assert request.data == {"messages": [{"role": "user"}], "n": 1}
    assert (request.params, request.wrapped) == ({"temperature": 0.5}, False)
    assert parse({"prompt": "p"}).data == {"prompt": "p"}
    assert parse({"inputs": 1, "params": {"k": 2}}).params == {"k": 2}


def test_a_signature_from_type_hints_takes_inputs_as_they_are(parse: Parse, worker_module: GetModule) -> None:
    assert parse({"inputs": [{"a": 1}]}, columns(a="long"), takes_raw_inputs=True).data == [{"a": 1}]
    with pytest.raises(worker_module("casting").InputInvalid, match="'inputs' only"):
        parse({"instances": [1]}, takes_raw_inputs=True)


def test_conforming_where_mlflow_does_not(parse: Parse, worker_module: GetModule) -> None:
    mismatch = worker_module("loading").Mismatch
    signature = [*columns(a="long", b="long"), {"name": "c", "type": "long", "required": False}]
    frame = parse([{"x": 0, "b": 2, "a": 1}], signature, conforms=True).data
    assert list(frame.columns) == ["a", "b"]
    with pytest.raises(mismatch, match="lacks what the signature requires: b"):
        parse([{"a": 1}], signature, conforms=True)
    with pytest.raises(mismatch, match=r"has the shape \[1, 3\]"):
        parse({"inputs": [[1, 2, 3]]}, [tensor("int64", [-1, 2])], conforms=True)
    assert parse({"inputs": [[1, 2]]}, [tensor("int64", [-1, 2])], conforms=True).data.shape == (1, 2)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "is not JSON"),
        (b"\xff", "is not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"7", "exactly one of .*; this is a number"),
        ({}, "this one has nothing"),
        ({"rows": []}, "this one has 'rows'"),
        ({"inputs": 1, "instances": 1}, "this one has instances, inputs"),
        ({"inputs": 1, "params": [1]}, "params must be an object, not a list"),
        ({"dataframe_split": [1]}, "must be an object with data"),
        ({"dataframe_split": {"data": [], "rows": 1}}, "unknown keys: rows"),
        ({"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}, "is not a table"),
        ({"dataframe_records": {"a": 1}}, "records must be a list of objects"),
        ([1, 2], "records must be a list of objects"),
        ({"instances": [{"a": 1}, 2]}, "side by side"),
        ({"instances": [{"a": 1}, {"a": 2, "b": 3}]}, "differ in length: 1, 2"),
        ({"inputs": [[1], [2, 3]]}, "cannot be made an array"),
        ({"inputs": 1, "signature_name": "s"}, "signature_name"),
    ],
)
def test_what_cannot_be_understood(parse: Parse, worker_module: GetModule, body: Any, says: str) -> None:
    with pytest.raises(worker_module("casting").InputInvalid, match=says):
        parse(body)


@pytest.mark.parametrize(
    ("kind", "body", "says"),
    [
        ("text/html", b"", "none of application/json"),
        ("application/json; charset=latin-1", b"{}", "must be UTF-8, not latin-1"),
        ("application/jsonl", b'{"a": 1}\n2\n', "line 2 is not a JSON object but a number"),
        ("application/jsonl", b"\n{]", "line 2 is not JSON"),
        ("text/csv", b"", "CSV cannot be read"),
        ("application/vnd.apache.parquet", b"no", "Parquet file cannot be read"),
    ],
)
def test_what_is_not_of_its_type(parse: Parse, worker_module: GetModule, kind: str, body: bytes, says: str) -> None:
    with pytest.raises(worker_module("casting").InputInvalid, match=says):
        parse(body, kind=kind)


def test_without_pandas_or_numpy(parse: Parse, worker_module: GetModule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    monkeypatch.setitem(__import__("sys").modules, "numpy", None)
    with pytest.raises(worker_module("casting").InputInvalid, match="dataframe_records needs pandas"):
        parse([{"a": 1}])
    assert parse({"inputs": [1, [2]]}).data == [1, [2]]
    assert parse({"instances": [{"a": 1}]}).data == [{"a": 1}]
