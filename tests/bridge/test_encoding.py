"""Encoding: every kind of answer as strict JSON."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import json
import pathlib
import sys
import types
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import sparse

GetModule = Callable[[str], types.ModuleType]
MOMENT = "2020-01-02T03:04:05"


@pytest.fixture
def encoding(worker_module: GetModule) -> types.ModuleType:
    return worker_module("encoding")


def strict(text: bytes) -> Any:
    def refuse(constant: str) -> None:
        pytest.fail(f"not JSON: {constant}")

    return json.loads(text, parse_constant=refuse)


class Color(enum.Enum):
    RED = "red"


class Shade(str, enum.Enum):  # what models of older Pythons have
    DARK = "dark"


class Loud(str):  # noqa: SLOT000 - as a model may have it
    def __str__(self) -> str:
        return self.upper()


@dataclasses.dataclass
class Point:
    x: Any
    y: Any


class Unreadable(collections.abc.Mapping):
    def __getitem__(self, key):
        raise KeyError(key)

    def __len__(self):
        return 1

    def __iter__(self):
        return iter([1 // 0])


FRAME = pd.DataFrame({"n": [1, 2], "x": [0.5, np.nan], "t": ["a", None], "c": pd.Categorical(["u", "v"])})
ZONED = pd.Series(pd.to_datetime([MOMENT + "+02:00", None]))


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (None, None),
        ((1, "a", True), [1, "a", True]),
        (2**70, 2**70),
        ({"a": np.arange(3), 1: (2.5,), None: 0}, {"a": [0, 1, 2], "1": [2.5], "null": 0}),
        ({np.int64(4): 1, np.str_("s"): 2}, {"4": 1, "s": 2}),
        (np.array([[1, 2], [3, 4]], dtype="uint8"), [[1, 2], [3, 4]]),
        (np.array(7), 7),
        (np.float32(0.1), 0.10000000149011612),
        ([np.float32(0.1)], [0.10000000149011612]),
        ([np.int64(1), 2, np.bool_(True)], [1, 2, True]),
        ([np.int64(1), np.int64(2)], [1, 2]),
        (np.array([0.1], dtype="float16"), [0.0999755859375]),
        (np.array([0.5], dtype="longdouble"), [0.5]),
        (np.array(["a", "ä"]), ["a", "ä"]),
        (np.array([b"\x00\xff", b"a"]), ["AP8=", "YQ=="]),
        (np.array([1, "a", None, [np.int8(2)]], dtype=object), [1, "a", None, [2]]),
        (np.ma.masked_array([1, 2], mask=[False, True]), [1, None]),
        (np.zeros((2, 0)), [[], []]),
        (b"\x00\xff", "AP8="),
        (decimal.Decimal("1.10"), "1.10"),
        (dt.date(2020, 1, 2), "2020-01-02"),
        (dt.datetime(2020, 1, 2, 3, 4, 5), MOMENT + ".000"),
        (dt.datetime(2020, 1, 2, 3, 4, 5, 120_000), MOMENT + ".120"),
        (dt.datetime(2020, 1, 2, 3, 4, 5, 7), MOMENT + ".000007"),
        (dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc), MOMENT + ".000+00:00"),
        (pd.Timestamp(MOMENT + ".000000001"), MOMENT + ".000000001"),
        (pd.Timestamp(MOMENT + ".5", tz="Asia/Kolkata"), MOMENT + ".500+05:30"),
        (np.datetime64("2020-01-02"), "2020-01-02T00:00:00.000"),
        (np.array([MOMENT, "NaT", MOMENT + ".000001"], "M8[ns]"), [MOMENT + ".000", None, MOMENT + ".000001"]),
        (np.array([[MOMENT + ".123456789"]], "M8[ns]"), [[MOMENT + ".123456789"]]),
        (pd.NaT, None),
        ([pd.NA, pd.NaT], [None, None]),
        (pd.Series([1, 2]), [1, 2]),
        (pd.Series([1, None], dtype="Int64"), [1, None]),
        (pd.Series([True, None], dtype="boolean"), [True, None]),
        (pd.Series(["a", None], dtype="string"), ["a", None]),
        (ZONED, [MOMENT + ".000+02:00", None]),
        (pd.Index(ZONED), [MOMENT + ".000+02:00", None]),
        (pd.Series(pd.arrays.SparseArray([0, 0, 3])), [0, 0, 3]),
        (FRAME, [{"n": 1, "x": 0.5, "t": "a", "c": "u"}, {"n": 2, "x": None, "t": None, "c": "v"}]),
        (pd.DataFrame({3: [1]}), [{"3": 1}]),
        (pd.DataFrame(index=[0, 1]), [{}, {}]),
        (pd.DataFrame({"a": []}), []),
        ("\ud800", "\ud800"),
        (memoryview(b"a"), "YQ=="),
        (dt.timedelta(days=-1, microseconds=1), "-P0DT23H59M59.999999S"),
        (pd.Timedelta("1 days 00:00:00.000000001"), "P1DT0H0M0.000000001S"),
        (pd.Series(pd.to_timedelta(["1s", None])), ["P0DT0H0M1S", None]),
        (np.array([90061, "NaT"], "m8[s]"), ["P1DT1H1M1S", None]),
        (np.array(["NaT"], "M8"), [None]),
        (np.array([1, 2], ">M8[s]"), ["1970-01-01T00:00:01.000", "1970-01-01T00:00:02.000"]),
        (np.array([1], "M8[as]"), ["1970-01-01T00:00:00.000000000000000001"]),
        (np.array([50], "M8[Y]"), ["2020-01-01T00:00:00.000"]),
        (np.ma.masked_array(np.array([0, 1], "M8[ns]"), [False, True]), ["1970-01-01T00:00:00.000", None]),
        (np.array([2**64 - 1], dtype="uint64"), [2**64 - 1]),
        (np.matrix([[1, 2]]), [[1, 2]]),
        (np.array(None, dtype=object), None),
        (pd.Series(pd.Categorical([1, None, 2])), [1, None, 2]),
        (pd.Categorical(["b", None]), ["b", None]),
        (pd.CategoricalIndex(["a"]), ["a"]),
        (pd.array([2**53 + 1, None], dtype="Int64"), [2**53 + 1, None]),
        (pd.arrays.SparseArray([0.0, 1.5]), [0.0, 1.5]),
        (pd.Series([[1], None], dtype=pd.ArrowDtype(pa.list_(pa.int64()))), [[1], None]),
        (pd.MultiIndex.from_tuples([("a", 1)]), [["a", 1]]),
        (pa.table({"x": [1, None]}), [{"x": 1}, {"x": None}]),
        (pa.chunked_array([["a"], [None]]), ["a", None]),
        (pa.scalar(1), 1),
        ([Color.RED, Shade.DARK, {Shade.DARK: 1}], ["red", "dark", {"dark": 1}]),
        ([Loud("a"), {Loud("a"): 1}], ["a", {"a": 1}]),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (pathlib.PurePosixPath("/a"), "/a"),
        (range(2), [0, 1]),
        (collections.deque([1]), [1]),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (Point(x=np.float32(0.5), y=[dt.date(2020, 1, 2)]), {"x": 0.5, "y": ["2020-01-02"]}),
    ],
)
def test_answers(encoding: types.ModuleType, value: Any, wanted: Any) -> None:
    assert strict(encoding.Encoder().dump(value)) == {"predictions": wanted}
    assert strict(encoding.Encoder().dump([value], wrapped=False)) == [wanted]


NAN = float("nan")
NOT_FINITE = [
    [NAN, float("inf"), -float("inf"), 1.5],
    np.array([NAN, np.inf, -np.inf, 1.5]),
    np.array([NAN, np.inf, -np.inf, 1.5], dtype="float32"),
    np.array([NAN, np.inf, -np.inf, 1.5], dtype=object),
    [np.float64(NAN), np.float64(np.inf), np.float64(-np.inf), np.float64(1.5)],
    pd.Series([NAN, np.inf, -np.inf, 1.5]),
]


@pytest.mark.parametrize("value", NOT_FINITE, ids=range(len(NOT_FINITE)))
def test_what_json_has_no_number_for(encoding: types.ModuleType, value: Any) -> None:
    encoder = encoding.Encoder("null")
    assert strict(encoder.dump(value, wrapped=False)) == [None, None, None, 1.5]
    assert encoder.nulls == 3
    encoder = encoding.Encoder("string")
    assert strict(encoder.dump(value, wrapped=False)) == ["NaN", "Infinity", "-Infinity", 1.5]
    assert encoder.nulls == 0
    with pytest.raises(encoding.OutputInvalid, match=r"^predictions\[0\] is NaN"):
        encoding.Encoder("error").dump(value)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"a": [1, {2}]}, r"predictions\.a\[1\] is a set"),
        (object(), "predictions is a object"),
        ([1j], r"predictions\[0\] is a complex"),
        (np.array([1j]), "predictions is an array of complex128"),
        (np.zeros(1, dtype=[("a", "i4")]), "predictions is an array of"),
        (np.array([1], "m8[M]"), "an array of timedelta64.*: its unit has no fixed length"),
        (np.ma.masked_array(np.zeros(1, dtype=[("a", "i4")])), "predictions is an array of"),
        (frozenset(), "predictions is a frozenset"),
        (pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])), "a column's name that is a tuple"),
        (pa.table([[1], [2]], names=["a", "a"]), "more than one column"),
        ([10**5000], "cannot be made JSON: Exceeds the limit"),
        (Unreadable(), "looking into them raised ZeroDivisionError"),
        (pd.DataFrame({"a": [pd.Period("2020")]}), r"predictions\.a\[0\] is a pandas\..*Period"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "more than one column named 'a'"),
        ({1: 0, "1": 0}, "two keys that are both '1'"),
        ({(1, 2): 0}, "has a key or a column's name that is a tuple"),
        (iter([1]), "is a list_iterator"),
    ],
)
def test_what_has_no_form(encoding: types.ModuleType, value: Any, says: str) -> None:
    with pytest.raises(encoding.OutputInvalid, match=says):
        encoding.Encoder().dump(value)


def test_what_holds_itself(encoding: types.ModuleType) -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(encoding.OutputInvalid, match="hold themselves"):
        encoding.Encoder().dump(value)


@pytest.mark.parametrize("form", ["bsr", "coo", "csc", "csr", "dia", "dok", "lil"])
@pytest.mark.parametrize("kind", ["array", "matrix"])
def test_every_sparse_form(encoding: types.ModuleType, form: str, kind: str) -> None:
    value = getattr(sparse, f"{form}_{kind}")(np.array([[0, 1.5], [2, 0]]))
    assert strict(encoding.Encoder().dump(value)) == {"predictions": [[0, 1.5], [2, 0]]}


def test_pydantic_models_of_either_generation(encoding: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    class BaseModel:  # what both have in common with the real ones: the class's name, its module and one method
        def __init__(self, **fields: Any) -> None:
            self.fields = fields

    class Second(BaseModel):
        def model_dump(self) -> dict[str, Any]:
            return self.fields

    class First(BaseModel):
        def dict(self) -> Any:
            return self.fields

    monkeypatch.setitem(sys.modules, "pydantic", types.SimpleNamespace(BaseModel=BaseModel))
    for made in (First, Second):
        assert strict(encoding.Encoder().dump([made(a=Color.RED)], wrapped=False)) == [{"a": "red"}]


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters()),  # with halves of surrogate pairs
    st.binary(max_size=8),
    st.decimals(),
    st.datetimes(timezones=st.none() | st.timezones()),
    st.dates(),
    st.times(),
    st.timedeltas(),
    st.uuids(),
    st.sampled_from([pd.NA, pd.NaT, np.float32(0.1), np.int8(3), np.datetime64("NaT"), np.ma.masked, Color.RED]),
)
ARRAYS = arrays.arrays(
    arrays.scalar_dtypes().filter(lambda dtype: dtype.kind != "c"),
    arrays.array_shapes(max_dims=3, max_side=3, min_dims=0),
)
ANYTHING = st.recursive(
    SCALARS | ARRAYS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.text() | st.integers() | st.floats() | st.none() | st.booleans(), inner, max_size=3),
        st.lists(inner, min_size=1, max_size=3).map(lambda values: pd.Series(values, dtype=object)),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda values: pd.DataFrame({"a": pd.Series(values, dtype=object)})
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(value=ANYTHING, nan=st.sampled_from(["null", "string", "error"]), wrapped=st.booleans())
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
def test_whatever_comes_the_answer_is_strict_json_or_a_refusal_that_says_where(
    worker_module: GetModule, value: Any, nan: str, wrapped: bool
) -> None:
    encoding = worker_module("encoding")
    try:
        text = encoding.Encoder(nan).dump(value, wrapped)
    except encoding.OutputInvalid as error:
        assert str(error).startswith("predictions")  # noqa: PT017 - a refusal is one of two good ends
        assert "looking into" not in str(error)  # noqa: PT017 - that is for classes that are not ours to know
    else:
        strict(text)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(value=arrays.arrays(arrays.integer_dtypes() | arrays.unsigned_integer_dtypes(), 3))
def test_integers_come_out_as_they_are(worker_module: GetModule, value: Any) -> None:
    assert strict(worker_module("encoding").Encoder().dump(value, wrapped=False)) == value.tolist()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(value=arrays.arrays(arrays.datetime64_dtypes(max_period="s", endianness="<"), 3))
def test_moments_come_out_as_text_that_reads_as_the_same_moment(worker_module: GetModule, value: Any) -> None:
    texts = strict(worker_module("encoding").Encoder().dump(value, wrapped=False))
    for text, moment in zip(texts, value):
        if text is None or abs(moment.astype("M8[D]").astype(int)) > 10**6:  # numpy reads no year of five digits
            continue
        assert np.datetime64(text) == moment
