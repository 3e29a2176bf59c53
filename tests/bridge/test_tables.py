"""Tables that the host parses: what a worker makes of them is what its own pandas and pyarrow would have made."""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import io
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.bridge import Worker, tables
from envbuild.errors import InputError

GetModule = Callable[[str], types.ModuleType]
MakeModel = Callable[..., Any]
FILE, STREAM = tables.ARROW_FILE, tables.ARROW_STREAM
DAY = dt.date(2020, 1, 2)

ECHO = """
class Model:
    def predict(self, data):
        return {name: [type(values).__name__ in ("list", "ndarray"), values] for name, values in data.items()}

def _load_pyfunc(path):
    return Model()
"""


def parquet(table: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file)
    return file.getvalue()


def ipc(table: Any, kind: str = "file") -> bytes:
    file = io.BytesIO()
    with getattr(pa.ipc, f"new_{kind}")(file, table.schema) as writer:
        writer.write_table(table)
    return file.getvalue()


def exact(value: Any) -> Any:
    """A value with all its types, down to the last cell."""
    if isinstance(value, pd.DataFrame):
        columns = [
            (name, str(dtype), exact(value.iloc[:, at])) for at, (name, dtype) in enumerate(value.dtypes.items())
        ]
        return columns, exact(value.index), list(value.index.names), value.columns.nlevels
    if isinstance(value, (pd.Series, pd.Index)):
        is_category = isinstance(value.dtype, pd.CategoricalDtype)
        categories = (value.dtype.ordered, exact(value.dtype.categories)) if is_category else None
        return str(value.dtype), [exact(item) for item in value.tolist()], categories
    if isinstance(value, np.ndarray):
        return str(value.dtype), [exact(item) for item in value]
    if isinstance(value, dict):
        return {name: exact(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [exact(item) for item in value]
    return type(value).__name__, str(value)


@pytest.fixture
def handed(worker_module: GetModule) -> Callable[..., Any]:
    """What a worker makes of a table that the host parsed."""
    parser = worker_module("parsing").Parser(None)

    def handed(payload: bytes, content_type: str = tables.PARQUET, encoding: str | None = None) -> Any:
        payload, content_type, encoding = tables.as_json(payload, content_type, encoding)
        assert encoding is None
        return parser.parse(payload, content_type).data

    return handed


STRUCT = pa.struct(
    [("i", pa.int64()), ("t", pa.timestamp("us")), ("l", pa.list_(pa.int8())), ("d", pa.decimal128(5, 2))]
)
COLUMNS = {
    **{name: pa.array([1, 0, 3], type=getattr(pa, name)()) for name in ("int8", "int16", "int32", "int64")},
    **{name: pa.array([1, 0, 3], type=getattr(pa, name)()) for name in ("uint8", "uint16", "uint32")},
    "uint64": pa.array([2**64 - 1, 0, 1], type=pa.uint64()),
    "big": pa.array([2**53 + 1, -(2**63), 2**63 - 1]),
    "integers with nulls": pa.array([1, None, 2**53 + 1]),
    "float16": pa.array(np.array([0.1, np.nan, np.inf], dtype="float16")),
    "float32": pa.array([0.1, None, float("nan")], type=pa.float32()),
    "float64": pa.array([0.1, None, -float("inf")]),
    "booleans": pa.array([True, False, True]),
    "booleans with nulls": pa.array([True, None, False]),
    "null": pa.nulls(3),
    "text": pa.array(["", None, "ä\U0001f600"]),
    "text of nulls": pa.array([None, None, None], type=pa.string()),
    "large text": pa.array(["a", None, "b"], type=pa.large_string()),
    "binary": pa.array([b"", None, b"\x00\xff"]),
    "decimal": pa.array([decimal.Decimal("1.10"), None, decimal.Decimal("-0.01")], type=pa.decimal128(5, 2)),
    "date": pa.array([DAY, None, dt.date(1, 1, 1)]),
    "date64": pa.array([DAY, None, DAY], type=pa.date64()),
    "time": pa.array([dt.time(1, 2, 3, 4), None, dt.time(0)], type=pa.time64("us")),
    "time32": pa.array([dt.time(1, 2, 3), None, dt.time(0)], type=pa.time32("s")),
    **{f"timestamp {unit}": pa.array([1, None, -3], type=pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")},
    "timestamp zoned": pa.array([1, None, 3], type=pa.timestamp("ns", "Europe/Paris")),
    "timestamp UTC": pa.array([1, None, 3], type=pa.timestamp("us", "UTC")),
    "timestamp offset": pa.array([1, None, 3], type=pa.timestamp("ms", "-03:30")),
    "duration": pa.array([1, None, -3], type=pa.duration("ms")),
    "dictionary": pa.array(["b", None, "a"]).dictionary_encode(),
    "list": pa.array([[1, 2], None, []]),
    "list with nulls": pa.array([[1, None], None, []]),
    "list of text": pa.array([["a", None], [], None]),
    "list of lists": pa.array([[[1], [2, 3]], None, [None]]),
    "list of booleans": pa.array([[True, None], [], [False]]),
    "list of moments": pa.array([[1, None], None, []], type=pa.list_(pa.timestamp("us", "UTC"))),
    "list of structs": pa.array([[{"a": 1}], None, [None]]),
    "fixed list": pa.array([[1, 2], [3, 4], [5, 6]], type=pa.list_(pa.int16(), 2)),
    "struct": pa.array(
        [{"i": 1, "t": dt.datetime(2020, 1, 2), "l": [1], "d": decimal.Decimal("1.10")}, None, dict.fromkeys("itld")],
        type=STRUCT,
    ),
    "struct of nanoseconds": pa.array([{"t": 1}, None, {"t": 3}], type=pa.struct([("t", pa.timestamp("ns"))])),
    "map": pa.array([[("a", 1), ("b", None)], None, []], type=pa.map_(pa.string(), pa.int64())),
}
FRAMES = {
    "index of text": pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="q")),
    "index of moments": pd.DataFrame({"a": [1, 2]}, index=pd.to_datetime(["2020-01-01", "2020-01-02"], utc=True)),
    "index of a range": pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(5, 9, 2)),
    "index of levels": pd.DataFrame(
        {"a": [1, 2]}, index=pd.MultiIndex.from_tuples([("x", 1), ("y", 2)], names=["p", None])
    ),
    "names that are numbers": pd.DataFrame([[1, 2]], columns=[3, 4]),
    "names of levels": pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")])),
    "names in other scripts": pd.DataFrame({"ä": [1], "日本": ["x"]}),
    "nullable": pd.DataFrame(
        {
            "i": pd.array([2**53 + 1, None], dtype="Int64"),
            "b": pd.array([True, None], dtype="boolean"),
            "s": pd.array(["a", None], dtype="string"),
            "f": pd.array([1.5, None], dtype="Float64"),
        }
    ),
    "categories": pd.DataFrame({"c": pd.Categorical(["b", "a", None], categories=["b", "a", "z"], ordered=True)}),
    "categories of numbers": pd.DataFrame({"c": pd.Categorical([3, 1, None])}),
    "no rows": pd.DataFrame({"a": pd.Series([], dtype="int64"), "s": pd.Series([], dtype="str")}),
    "no columns": pd.DataFrame(index=[1, 2]),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_every_type_of_parquet_is_what_pandas_reads(handed: Callable[..., Any], name: str) -> None:
    payload = parquet(pa.table({name: COLUMNS[name]}))
    assert exact(handed(payload)) == exact(pd.read_parquet(io.BytesIO(payload)))


@pytest.mark.parametrize("name", FRAMES)
def test_what_pandas_wrote_about_its_frame_counts(handed: Callable[..., Any], name: str) -> None:
    file = io.BytesIO()
    FRAMES[name].to_parquet(file)
    assert exact(handed(file.getvalue())) == exact(pd.read_parquet(io.BytesIO(file.getvalue())))


@pytest.mark.parametrize("content_type", [FILE, STREAM])
@pytest.mark.parametrize("kind", ["file", "stream"])
def test_arrow_is_what_pyarrow_reads_whichever_of_its_forms_it_has(
    handed: Callable[..., Any], worker_module: GetModule, content_type: str, kind: str
) -> None:
    table = pa.table(COLUMNS)
    wanted = exact(table.to_pandas())
    assert exact(handed(ipc(table, kind), content_type)) == wanted
    assert exact(worker_module("parsing").Parser(None).parse(ipc(table, kind), content_type).data) == wanted


def test_several_batches_are_one_table(handed: Callable[..., Any]) -> None:
    table = pa.concat_tables(
        [
            pa.table({"c": pa.array(["a"]).dictionary_encode(), "n": [1]}),
            pa.table({"c": pa.array(["b"]).dictionary_encode(), "n": [2]}),
        ]
    )
    frame = handed(ipc(table, "stream"), STREAM)
    assert (frame["c"].tolist(), frame["n"].tolist()) == (["a", "b"], [1, 2])


def test_two_columns_of_one_name_stay_two(handed: Callable[..., Any]) -> None:
    frame = handed(ipc(pa.table([[1], [2]], names=["a", "a"])), FILE)
    assert (list(frame.columns), frame.iloc[0].tolist()) == (["a", "a"], [1, 2])


def test_what_is_compressed_is_parsed(handed: Callable[..., Any]) -> None:
    assert handed(gzip.compress(parquet(pa.table({"a": [1]}))), encoding="gzip")["a"].tolist() == [1]


LEAVES = [
    pa.int8(),
    pa.int64(),
    pa.uint64(),
    pa.float32(),
    pa.float64(),
    pa.bool_(),
    pa.string(),
    pa.binary(),
    pa.timestamp("us"),
    pa.timestamp("ns"),
    pa.timestamp("ms", "Europe/Paris"),
    pa.duration("us"),
]


@st.composite
def columns(draw: st.DrawFn) -> pa.Array:
    kind = draw(st.sampled_from(LEAVES))
    values = {
        "int8": st.integers(-128, 127),
        "int64": st.integers(-(2**63), 2**63 - 1),
        "uint64": st.integers(0, 2**64 - 1),
        "float": st.floats(width=32),
        "double": st.floats(),
        "bool": st.booleans(),
        "string": st.text(),
        "binary": st.binary(),
        "duration[us]": st.timedeltas(dt.timedelta(-(10**6)), dt.timedelta(10**6)),
    }.get(str(kind), st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)))
    if draw(st.booleans()):
        kind, values = pa.list_(kind), st.lists(values | st.none(), max_size=3)
    if draw(st.booleans()):
        kind, values = pa.struct([("f", kind)]), st.fixed_dictionaries({"f": values | st.none()})
    return pa.array(draw(st.lists(values | st.none(), min_size=4, max_size=4)), type=kind)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(columns=st.lists(columns(), min_size=1, max_size=3), cut=st.integers(0, 3))
def test_any_table_even_a_part_of_one_is_what_pyarrow_makes_of_it(
    worker_module: GetModule, columns: list[pa.Array], cut: int
) -> None:
    table = pa.table(columns, names=[f"c{at}" for at in range(len(columns))]).slice(cut)
    payload, kind, _ = tables.as_json(ipc(table), FILE, None)
    # A file's columns do not begin in the middle of a buffer, as a slice does.
    wanted = pa.ipc.open_file(ipc(table)).read_all().to_pandas()
    assert exact(worker_module("parsing").Parser(None).parse(payload, kind).data) == exact(wanted)


@pytest.mark.parametrize(
    ("payload", "kind", "says"),
    [
        (b"no", tables.PARQUET, "the Parquet file cannot be read"),
        (b"no", FILE, "the Arrow IPC data cannot be read"),
        (b"ARROW1\0\0", FILE, "the Arrow IPC data cannot be read"),
        (b"", STREAM, "the Arrow IPC data cannot be read"),
    ],
)
def test_what_is_no_table_is_an_input_error_on_either_side(
    handed: Callable[..., Any], worker_module: GetModule, payload: bytes, kind: str, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        handed(payload, kind)
    with pytest.raises(worker_module("casting").InputInvalid, match=says):
        worker_module("parsing").Parser(None).parse(payload, kind)


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (pa.array([None], type=pa.month_day_nano_interval()), "column 'c' has the type month_day_nano_interval"),
        (pa.array([1], type=pa.time64("ns")), r"column 'c' has the type time64\[ns\] with nanoseconds"),
    ],
)
def test_a_type_that_no_worker_can_restore_is_named(handed: Callable[..., Any], column: pa.Array, says: str) -> None:
    with pytest.raises(InputError, match=says):
        handed(ipc(pa.table({"c": column})), FILE)


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"cannot read application/vnd\.apache\.parquet") as caught:
        tables.as_json(b"PAR1", tables.PARQUET, None)
    assert "envbuild[arrow]" in str(caught.value.hint)


def test_without_pandas_a_table_is_arrays(
    worker_module: GetModule, monkeypatch: pytest.MonkeyPatch, handed: Callable[..., Any]
) -> None:
    table = pa.table(
        {name: COLUMNS[name] for name in ("int8", "float32", "text", "dictionary", "list", "timestamp ns")}
    )
    monkeypatch.setitem(sys.modules, "pandas", None)
    made = handed(ipc(table), FILE)
    assert {name: str(array.dtype) for name, array in made.items()} == {
        "int8": "int8",
        "float32": "float32",
        "text": "object",
        "dictionary": "object",
        "list": "object",
        "timestamp ns": "datetime64[ns]",
    }
    assert made["dictionary"].tolist() == ["b", None, "a"]
    with pytest.raises(worker_module("casting").InputInvalid, match="no two columns of one name"):
        handed(ipc(pa.table([[1], [2]], names=["a", "a"])), FILE)


def test_an_environment_without_any_library_predicts_on_parquet_and_arrow(
    make_model: MakeModel, every_python: Path
) -> None:
    moment = dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc)
    table = pa.table({"n": [2**53 + 1, None], "t": ["ä", None], "w": [moment, None], "l": [[1, 2], None]})
    with Worker.start(every_python, make_model(ECHO)) as worker:
        for payload, kind in ((parquet(table), tables.PARQUET), (ipc(table), FILE), (ipc(table, "stream"), STREAM)):
            answer = json.loads(worker.predict(payload, kind).payload)["predictions"]
            assert answer == {
                "n": [True, [float(2**53), None]],
                "t": [True, ["ä", None]],
                "w": [True, ["2020-01-02T03:04:05.000+00:00", None]],
                "l": [True, [[1, 2], None]],
            }
        with pytest.raises(InputError, match="Parquet file cannot be read"):
            worker.predict(b"no", tables.PARQUET)
        assert json.loads(worker.predict(b"a\n1\n", "text/csv").payload) == {"predictions": {"a": [True, [1]]}}


def test_what_an_environment_reads_is_told_without_importing_it(worker_module: GetModule) -> None:
    read = set(worker_module("parsing").readable_types())
    assert {tables.PARQUET, FILE, STREAM, tables.HANDED, "text/csv", "application/json"} <= read


@pytest.mark.parametrize(
    ("folders", "parquet_too", "arrow_too"),
    [
        ([], False, False),
        (["pandas"], False, False),
        (["pandas", "fastparquet"], True, False),
        (["pandas", "pyarrow", "pyarrow-0.15.1.dist-info"], True, False),
        (["pandas", "pyarrow", "pyarrow-5.0.0.dist-info"], True, True),
        (["pandas", "pyarrow"], True, True),
        (["pyarrow", "pyarrow-5.0.0.dist-info"], False, False),
    ],
)
def test_what_an_environment_reads_depends_on_what_is_in_it(
    worker_module: GetModule,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    folders: list[str],
    parquet_too: bool,
    arrow_too: bool,
) -> None:
    for name in folders:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    parsing = worker_module("parsing")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    for name in ("pandas", "pyarrow", "fastparquet"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    read = parsing.readable_types()
    assert (tables.PARQUET in read, FILE in read, STREAM in read) == (parquet_too, arrow_too, arrow_too)
