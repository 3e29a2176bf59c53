"""Encoding: every kind of answer as strict JSON."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
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
        (sparse.csr_matrix([[0, 1], [2, 0]]), [[0, 1], [2, 0]]),
        ("\ud800", "\ud800"),
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
        (np.array([1], "m8[s]"), "predictions is an array of timedelta64"),
        (pd.DataFrame({"a": [pd.Period("2020")]}), r"predictions\.a\[0\] is a pandas\..*Period"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "more than one column named 'a'"),
        ({1: 0, "1": 0}, "two keys that are both '1'"),
        ({(1, 2): 0}, "has a key that is a tuple"),
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
