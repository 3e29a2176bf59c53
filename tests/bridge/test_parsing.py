"""Parsing: every form of input, with and without a signature, and every way of getting it wrong."""

from __future__ import annotations

import base64
import gzip
import io
import json
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
        ("long", 1.5, "column 'a' is long.* 1.5"),
        ("integer", 2**40, "column 'a' is integer.* 1099511627776"),
        ("long", "x", "column 'a' is long"),
        ("long", None, "column 'a' is long"),
        ("boolean", "false", "column 'a' is boolean.* 'false'"),
        ("boolean", 2, "column 'a' is boolean.* 2"),
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
    with pytest.raises(worker_module("loading").Mismatch, match=r"uint8 in the signature.* (300|1\.5|-1)"):
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
        (b"\xff", r"is not UTF-8: invalid start byte \(byte 0xff\)"),
        (b'{"inputs":\n"\xff"}', "is not UTF-8 at line 2"),
        (b"[" + b"9" * 5000 + b"]", "is not JSON: Exceeds the limit"),
        (b"[" * 100_000, "nested too deeply"),
        (b"7", "exactly one of .*; this is a number"),
        ({}, "this one has nothing"),
        ({"rows": []}, "this one has 'rows'"),
        ({"inputs": 1, "instances": 1}, "this one has instances, inputs"),
        ({"inputs": 1, "params": [1]}, "params must be an object, not a list"),
        ({"dataframe_split": [1]}, "must be an object with data"),
        ({"dataframe_split": {"data": [], "rows": 1}}, "unknown keys: rows"),
        ({"dataframe_split": {"columns": ["a"], "data": [[1], [1, 2]]}}, "row 1 has 2 values, and there are 1 columns"),
        ({"dataframe_split": {"columns": [{}], "data": [[1]]}}, r"columns\[0\] is an object"),
        ({"dataframe_split": {"columns": ["a"], "index": [1], "data": [[1], [2]]}}, "2 rows, and index 1 entries"),
        ({"dataframe_split": {"columns": ["a"], "index": 7, "data": [[1]]}}, "is not a table"),
        ({"dataframe_records": {"a": 1}}, "records must be a list of objects, not an object"),
        ([{}, 2], "record 1 is a number"),
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
        ("application/json; format=odd", b"{}", "'odd' in the content type is neither"),
        ("text/csv", b"", "CSV cannot be read"),
        ("text/csv", b"a\n1\n1,2,3\n", "CSV cannot be read: .* line 3"),
        ("text/csv", b"a\n\xff\n", "the CSV is not UTF-8 at line 2"),
        ("application/vnd.apache.arrow.file", b"no", "Arrow IPC data cannot be read"),
        ("application/vnd.apache.parquet", b"no", "Parquet file cannot be read"),
    ],
)
def test_what_is_not_of_its_type(parse: Parse, worker_module: GetModule, kind: str, body: bytes, says: str) -> None:
    with pytest.raises(worker_module("casting").InputInvalid, match=says):
        parse(body, kind=kind)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json; format=pandas-split", {"columns": ["a"], "data": [[1]]}),
        ("application/json; format=pandas-split", {"columns": ["a"], "index": [0], "data": [[1]]}),
        ("application/json;charset=utf-8;format=pandas-records", [{"a": 1}]),
        ("application/json-numpy-split", {"columns": ["a"], "data": [[1]]}),
    ],
)
def test_the_content_types_of_mlflow_1(parse: Parse, kind: str, body: Any) -> None:
    pd.testing.assert_frame_equal(parse(body, kind=kind).data, pd.DataFrame({"a": [1]}))


def test_columns_stand_in_the_order_of_their_first_appearance(parse: Parse) -> None:
    frame = parse({"dataframe_records": [{"b": 1, "a": 2}, {"c": 3}]}).data
    assert list(frame.columns) == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("names", "row"),
    [([1, 2.5, None, True], [1, 2, 3, 4]), (["ä", "日本"], [1, 2]), (["a", "a"], [1, 2]), (["", " "], [1, 2])],
)
def test_names_of_columns_stay_what_they_are(parse: Parse, names: list[Any], row: list[int]) -> None:
    frame = parse({"dataframe_split": {"columns": names, "data": [row]}}).data
    assert (list(frame.columns), frame.iloc[0].tolist()) == (names, row)


def test_a_column_that_is_there_twice_does_not_fit_a_signature(parse: Parse, worker_module: GetModule) -> None:
    body = {"dataframe_split": {"columns": ["a", "a", "b"], "data": [[1, 2, 3]]}}
    assert parse(body, columns(b="long")).data.shape == (1, 3)
    with pytest.raises(worker_module("loading").Mismatch, match="column 'a' is once in the signature, and 2 times"):
        parse(body, columns(a="long", b="long"))


@pytest.mark.parametrize("rows", [0, 1])
def test_tables_of_no_rows_and_of_one(parse: Parse, rows: int) -> None:
    kinds = {"b": "boolean", "i": "integer", "l": "long", "f": "float", "d": "double", "s": "string", "t": "datetime"}
    row = [True, 1, 2, 0.5, 1.5, "", "2020-01-02"]
    frame = parse({"dataframe_split": {"columns": list(kinds), "data": [row] * rows}}, columns(**kinds)).data
    assert frame.shape == (rows, 7)
    dtypes = [str(dtype) for dtype in frame.dtypes]
    assert dtypes[:5] == ["bool", "int32", "int64", "float32", "float64"]
    assert dtypes[6] == "datetime64[ns]"


def test_nothing_at_all_is_a_table_without_columns(parse: Parse) -> None:
    for body in ({"dataframe_records": []}, [], {"dataframe_split": {"data": []}}):
        assert parse(body).data.shape == (0, 0)
    assert parse({"dataframe_records": [{}, {}]}).data.shape == (2, 0)


def test_empty_text_is_not_null_except_in_csv(parse: Parse) -> None:
    assert parse([{"a": ""}, {"a": None}], columns(a="string")).data["a"].isna().tolist() == [False, True]
    csv = parse(b'a,b\n"",1\nNA,2\nx,3\n', columns(a="string"), "text/csv").data
    assert csv["a"].isna().tolist() == [True, True, False]


def test_csv_may_have_a_mark_of_byte_order_and_windows_lines(parse: Parse) -> None:
    frame = parse('\ufeffa,b\r\n"x\r\ny",ä\r\n'.encode(), kind="text/csv").data
    assert frame.to_dict("list") == {"a": ["x\r\ny"], "b": ["ä"]}


def test_csv_reads_numbers_exactly(parse: Parse) -> None:
    frame = parse(b"n,x\n9007199254740993,0.1234567890123456789\n", columns(n="long"), "text/csv").data
    assert (frame["n"][0], frame["x"][0]) == (2**53 + 1, 0.1234567890123456789)


@pytest.mark.parametrize("members", [1, 2])
def test_a_compressed_payload_of_any_number_of_members(worker_module: GetModule, members: int) -> None:
    decompressed = worker_module("parsing").decompressed
    assert decompressed(gzip.compress(b"ab") * members, "gzip") == b"ab" * members
    for payload, encoding, says in [(b"ab", "gzip", "not gzip"), (b"ab", "br", "'br' is not gzip")]:
        with pytest.raises(worker_module("casting").InputInvalid, match=says):
            decompressed(payload, encoding)


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes as if the environment had not these modules."""

    def without(*names: str) -> None:
        for name in names:
            monkeypatch.setitem(sys.modules, name, None)

    return without


SAME_TABLE = [
    ("application/json", b'{"dataframe_records": [{"n": 1, "x": 0.5, "t": "a"}, {"n": 2, "x": null, "t": null}]}'),
    ("application/json", b'{"columns": ["n", "x", "t"], "data": [[1, 0.5, "a"], [2]]}'),
    ("application/jsonl", b'{"n": 1, "x": 0.5, "t": "a"}\n{"n": 2}\n'),
    ("text/csv", b"n,x,t\n1,0.5,a\n\n2,NA,\n"),
]


@pytest.mark.parametrize(("kind", "body"), SAME_TABLE)
def test_without_pandas_a_table_is_arrays_by_name(
    parse: Parse, without: Callable[..., None], kind: str, body: bytes
) -> None:
    without("pandas")
    data = parse(body, kind=kind).data
    assert {name: str(array.dtype) for name, array in data.items()} == {"n": "int64", "x": "float64", "t": "object"}
    assert data["n"].tolist() == [1, 2]
    np.testing.assert_array_equal(data["x"], [0.5, np.nan])
    assert data["t"].tolist() == ["a", None]


@pytest.mark.parametrize(("kind", "body"), SAME_TABLE)
def test_without_numpy_a_table_is_lists_by_name(
    parse: Parse, without: Callable[..., None], kind: str, body: bytes
) -> None:
    without("pandas", "numpy")
    data = parse(body, kind=kind).data
    assert data == {"n": [1, 2], "x": [0.5, None], "t": ["a", None]}
    assert parse({"inputs": [1, [2]]}).data == [1, [2]]
    assert parse({"instances": [{"a": 1}]}).data == [{"a": 1}]


def test_without_pandas_columns_are_cast_to_the_signature(parse: Parse, without: Callable[..., None]) -> None:
    without("pandas")
    kinds = {"i": "integer", "f": "float", "s": "string", "b": "binary", "t": "datetime", "o": "boolean"}
    rows = [
        {"i": 1, "f": None, "s": None, "b": "AP8=", "t": "2020-01-02T03:04:05", "o": True},
        {"i": 2, "f": 0.5, "s": "1", "b": None, "t": None, "o": False},
    ]
    data = parse({"dataframe_records": rows}, columns(**kinds)).data
    assert {name: str(array.dtype) for name, array in data.items()} == {
        "i": "int32",
        "f": "float32",
        "s": "object",
        "b": "object",
        "t": "datetime64[ns]",
        "o": "bool",
    }
    assert (data["b"].tolist(), data["s"].tolist()) == ([b"\x00\xff", None], [None, "1"])
    assert str(data["t"].tolist()[1]) == str(np.datetime64("NaT", "ns").item())


@pytest.mark.parametrize(
    "text",
    [
        "a,b,a\n1,2,3\n",
        "a,\n1,2\n",
        "n\n+1\n -2 \n",
        "x\n1\n.5\n1e3\n",
        "x\ninf\n1\n",
        "x\n1\nNA\n",
        "x\nTrue\nfalse\n",
        "x\ntrue\n1\n",
        "x\n1_000\n2\n",
        "x\n\u0661\n",
        'x\n"a ""b"", c"\n',
        "x,y\n1\n,2\n",
        "x,y\n,\n,\n",
        "x\n9007199254740993\n",
    ],
)
def test_csv_without_pandas_is_what_pandas_reads(parse: Parse, without: Callable[..., None], text: str) -> None:
    wanted = parse(text.encode(), kind="text/csv").data
    without("pandas")
    data = parse(text.encode(), kind="text/csv").data
    assert list(data) == list(wanted.columns)
    for name, array in data.items():
        column = wanted[name]
        assert array.dtype.kind == (column.dtype.kind if isinstance(column.dtype, np.dtype) else "O")
        missing = column.isna().tolist()
        assert pd.isna(array).tolist() == missing
        assert [v for v, gone in zip(array.tolist(), missing) if not gone] == column.dropna().tolist()


@pytest.mark.parametrize(
    ("kind", "body", "says"),
    [
        ("text/csv", b"a,b\n1,2,3\n", "line 2 has 3 fields, and the header 2"),
        ("text/csv", b'a\n"x\n', "the CSV cannot be read: line 2: unexpected end"),
        ("text/csv", b"", "there is no header line"),
        ("application/json", b'{"dataframe_split": {"columns": ["a"], "data": [1]}}', "a list of lists"),
        ("application/json", b'{"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}', "row 0 has 2 values"),
        ("application/json", b'{"dataframe_split": {"columns": ["a", "a"], "data": []}}', "two columns of one name: a"),
        ("application/json", b'{"dataframe_split": {"columns": "a", "data": []}}', "columns must be a list"),
        ("application/vnd.apache.parquet", b"", "Parquet needs pandas"),
        ("application/vnd.apache.arrow.file", b"", "Arrow IPC needs pandas"),
    ],
)
def test_what_is_no_table_without_pandas(
    parse: Parse, worker_module: GetModule, without: Callable[..., None], kind: str, body: bytes, says: str
) -> None:
    without("pandas")
    with pytest.raises(worker_module("casting").InputInvalid, match=says):
        parse(body, kind=kind)


@pytest.mark.parametrize(("kind", "value"), [("binary", "x"), ("long", "x"), ("long", None), ("datetime", "x")])
def test_what_does_not_fit_a_column_without_pandas(
    parse: Parse, worker_module: GetModule, without: Callable[..., None], kind: str, value: Any
) -> None:
    without("pandas")
    with pytest.raises(worker_module("loading").Mismatch, match=f"'a' is {kind} in the signature"):
        parse({"dataframe_records": [{"a": value}]}, columns(a=kind))


BODIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abx") | st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("absent", [(), ("pandas",), ("pandas", "numpy")], ids=["all", "no pandas", "no numpy"])
@pytest.mark.filterwarnings("ignore:overflow encountered in cast", "ignore:Could not infer format")
@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    form=st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs", "params"]),
    body=BODIES,
    rows=st.lists(st.dictionaries(st.sampled_from("abx"), BODIES, max_size=3), max_size=3),
    choice=st.sampled_from(["body", "rows", "split"]),
    kind=st.sampled_from(["boolean", "integer", "double", "string", "binary", "datetime", "any"]),
)
def test_whatever_comes_is_parsed_or_refused(
    parse: Parse,
    worker_module: GetModule,
    without: Callable[..., None],
    absent: tuple[str, ...],
    form: str,
    body: Any,
    rows: Any,
    choice: str,
    kind: str,
) -> None:
    without(*absent)
    split = {"columns": ["a", "b"], "data": [list(row.values()) for row in rows]}
    value = {"body": body, "rows": rows, "split": split}[choice]
    payload = json.dumps({form: value}).encode("utf-8", "surrogatepass")
    try:
        parse(payload, columns(a=kind))
    except (worker_module("casting").InputInvalid, worker_module("loading").Mismatch) as error:
        assert "cannot be parsed" not in str(error)  # noqa: PT017 - that is for what nobody has thought of
