"""What a worker makes of an answer where a line a row is accepted."""

from __future__ import annotations

import datetime as dt
import io
import json
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

Module = Callable[[str], types.ModuleType]


@pytest.fixture
def rows(worker_module: Module) -> types.ModuleType:
    return worker_module("rows")


@pytest.fixture
def encoder(worker_module: Module) -> Any:
    return worker_module("encoding").Encoder("null")


DAY = dt.datetime(2020, 1, 2, 3, 4, 5)
ANSWERS: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "an array": (np.array([1, 2, 3]), [{"prediction": 1}, {"prediction": 2}, {"prediction": 3}]),
    "a series": (pd.Series([1.5, None, 2]), [{"prediction": 1.5}, {"prediction": None}, {"prediction": 2.0}]),
    "a list": (["a", None, "b\n"], [{"prediction": "a"}, {"prediction": None}, {"prediction": "b\n"}]),
    "columns of an array": (np.array([[1.0, 2.0], [3.0, np.inf]]), [{"0": 1.0, "1": 2.0}, {"0": 3.0, "1": None}]),
    "a table": (
        pd.DataFrame({"a": [1, 2], "%s": ["x", 'a "b", c'], "when": [DAY, None]}),
        [
            {"a": 1, "%s": "x", "when": "2020-01-02T03:04:05.000"},
            {"a": 2, "%s": 'a "b", c', "when": None},
        ],
    ),
    "records": ([{"a": 1}, {"b": [1, 2]}], [{"a": 1, "b": None}, {"a": None, "b": [1, 2]}]),
    "a mapping": ({"a": np.array([1, 2]), "b": [True, False]}, [{"a": 1, "b": True}, {"a": 2, "b": False}]),
    "nested": (np.ones((2, 1, 2)), [{"prediction": [[1.0, 1.0]]}, {"prediction": [[1.0, 1.0]]}]),
    "half a pair": (["\ud83d"], [{"prediction": "\ud83d"}]),
    "masked": (np.ma.array([[1, 2]], mask=[[True, False]]), [{"0": None, "1": 2}]),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_json_lines_have_an_object_a_row(rows: types.ModuleType, encoder: Any, name: str) -> None:
    answer, expected = ANSWERS[name]
    written = rows.json_lines(answer, encoder, len(expected))
    assert written.endswith(b"\n")
    assert [json.loads(line) for line in written.decode().splitlines()] == expected


@pytest.mark.parametrize("name", sorted(ANSWERS.keys() - {"half a pair"}))
def test_a_csv_reads_back_as_the_same_values(rows: types.ModuleType, encoder: Any, name: str) -> None:
    answer, expected = ANSWERS[name]
    written = rows.csv(answer, encoder, len(expected))
    found = pd.read_csv(io.BytesIO(written))
    assert list(found.columns) == list(expected[0])
    for column in found.columns:
        for cell, row in zip(found[column], expected):
            value = row[column]
            if isinstance(value, list):
                assert json.loads(cell) == value
            else:
                assert (cell != cell and value is None) or cell == value  # noqa: PLR0124 - NaN


def test_a_csv_tells_empty_text_from_none(rows: types.ModuleType, encoder: Any) -> None:
    frame = pd.DataFrame({"a": ["", None], "b": [1, 2]}, dtype=object)
    assert rows.csv(frame, encoder, 2) == b'a,b\n"",1\n,2\n'
    assert rows.csv(["", None, "x"], encoder, 3) == b'prediction\n""\n""\nx\n'


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (np.arange(3), "have 3 values, and the input has 2 rows"),
        (pd.DataFrame({"a": [1]}), "have 1 values, and the input has 2 rows"),
        ({"a": [1, 2], "b": 3}, "are no list of 'b'"),
        (7, "are no list"),
        ([{1, 2}, 3], "is a set"),
        (pd.DataFrame([[1, 2]] * 2, columns=["a", "a"]), "more than one column of the same name"),
    ],
)
def test_what_has_not_one_value_a_row_is_refused(
    rows: types.ModuleType, encoder: Any, answer: Any, reason: str, worker_module: Module
) -> None:
    for written in (rows.csv, rows.json_lines):
        with pytest.raises(worker_module("encoding").OutputInvalid, match=reason):
            written(answer, encoder, 2)


def test_columns_that_are_kept_stand_first(rows: types.ModuleType, encoder: Any, worker_module: Module) -> None:
    data = pd.DataFrame({"id": ["a", "b"], "x": [1, 2]})
    kept = rows.kept(data, ["id"])
    data["id"] = "changed by the model"
    assert rows.csv([3, 4], encoder, 2, kept) == b"id,prediction\na,3\nb,4\n"
    with pytest.raises(worker_module("encoding").OutputInvalid, match="a column 'id', which is kept"):
        rows.csv({"id": [3, 4]}, encoder, 2, kept)
    with pytest.raises(worker_module("casting").InputInvalid, match="no column 'y' to keep"):
        rows.kept(data, ["y"])
