"""Python objects as request bodies."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from samples import MODELS

from envbuild.errors import InputError, InputNotFound
from envbuild.request import answer_of, body_of, content_type_of, decompressed, encoding_of, read_input


def strict(text: bytes) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def sent(data: object, **params: Any) -> Any:
    return strict(body_of(data, params or None))


def test_a_frame_is_split_with_its_columns_in_order() -> None:
    frame = pd.DataFrame({"b": [1, 2], "a": ["x", None], "c": [1.5, float("nan")], "d": [True, False]})
    assert sent(frame) == {
        "dataframe_split": {"columns": ["b", "a", "c", "d"], "data": [[1, "x", 1.5, True], [2, None, None, False]]}
    }


def test_a_frames_odd_columns_and_cells_are_sent_as_json_has_them() -> None:
    frame = pd.DataFrame(
        {
            0: pd.array([1, None], dtype="Int64"),
            1: pd.to_datetime(["2021-01-02 03:04:05", "NaT"]),
            2: [b"\x00\xff", b""],
            3: [np.array([1.0, np.nan]), [np.int64(3)]],
            4: pd.Categorical(["u", "v"]),
            5: pd.to_datetime(["2021-01-02", "2021-01-03"]).tz_localize("Europe/Berlin"),
        }
    )
    assert sent(frame)["dataframe_split"] == {
        "columns": [0, 1, 2, 3, 4, 5],
        "data": [
            [1, "2021-01-02T03:04:05", "AP8=", [1.0, None], "u", "2021-01-02T00:00:00+01:00"],
            [None, None, "", [3], "v", "2021-01-03T00:00:00+01:00"],
        ],
    }


def test_a_frame_may_have_two_columns_of_one_name_or_none_at_all() -> None:
    assert sent(pd.DataFrame([[1, 2]], columns=["a", "a"]))["dataframe_split"]["data"] == [[1, 2]]
    assert sent(pd.DataFrame(index=range(2)))["dataframe_split"] == {"columns": [], "data": [[], []]}
    assert sent(pd.DataFrame({"a": []}))["dataframe_split"] == {"columns": ["a"], "data": []}


def test_a_series_is_a_list() -> None:
    assert sent(pd.Series([1.0, np.nan])) == {"inputs": [1.0, None]}
    assert sent(pd.Series(pd.to_datetime(["2021-01-02"]))) == {"inputs": ["2021-01-02T00:00:00"]}


@pytest.mark.parametrize(
    ("array", "listed"),
    [
        (np.array([[1, 2], [3, 4]], dtype="uint8"), [[1, 2], [3, 4]]),
        (np.array([1.5, np.nan, np.inf], dtype="float32"), [1.5, None, None]),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array([b"\x00"], dtype=object), ["AA=="]),
        (np.array(["2021-01-02T03:04:05", "NaT"], dtype="datetime64[ns]"), ["2021-01-02T03:04:05", None]),
        (np.array(["2021-01-02"], dtype="datetime64[D]"), ["2021-01-02T00:00:00"]),
        (np.float64("nan"), None),
        (np.int64(3), 3),
        (np.zeros((0, 4)), []),
    ],
)
def test_an_array_is_nested_lists(array: Any, listed: object) -> None:
    assert sent(array) == {"inputs": listed}


def test_a_mapping_of_arrays_is_named_inputs() -> None:
    given = {"x": np.array([[1.0, np.nan]]), "y": np.array([1]), "z": pd.Series([1.0, np.nan]), "w": [1, "a"]}
    assert sent(given) == {"inputs": {"x": [[1.0, None]], "y": [1], "z": [1.0, None], "w": [1, "a"]}}


def test_records_are_sent_as_records() -> None:
    assert sent([{"a": 1, "b": np.float32(0.5)}, {"a": None}]) == {
        "dataframe_records": [{"a": 1, "b": 0.5}, {"a": None}]
    }


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["a"], "data": [[1]]}},
        {"instances": [1, 2]},
        {"inputs": {"x": [1]}, "params": {"k": 1}},
        {"columns": ["a"], "data": [[1]]},
        {"messages": [{"role": "user", "content": "hi"}]},
        {"prompt": "hi", "temperature": 0.5},
    ],
)
def test_a_body_is_taken_as_it_is(body: dict[str, Any]) -> None:
    assert sent(body) == body


def test_params_go_beside_the_data_and_over_those_in_a_body() -> None:
    assert sent([1], top=np.int64(3)) == {"inputs": [1], "params": {"top": 3}}
    assert sent({"inputs": [1], "params": {"top": 1}}, top=2)["params"] == {"top": 2}


@pytest.mark.parametrize(
    ("data", "listed"),
    [([1, 2.5, "a", None, True], [1, 2.5, "a", None, True]), ("text", "text"), (3, 3), ([], []), ((1, 2), [1, 2])],
)
def test_what_json_has_is_sent_as_inputs(data: object, listed: object) -> None:
    assert sent(data) == {"inputs": listed}


def test_dates_times_and_bytes_are_text() -> None:
    when = dt.datetime(2021, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc)
    assert sent([when, when.date(), dt.time(3, 4), b"\xff", bytearray(b"\x00")]) == {
        "inputs": ["2021-01-02T03:04:05+00:00", "2021-01-02", "03:04:00", "/w==", "AA=="]
    }


@pytest.mark.parametrize(
    "data", [{1, 2}, object(), [Decimal(1)], [1j], np.array([1j]), {"a": {(1, 2): 3}}, [float("nan")]]
)
def test_what_json_cannot_hold_is_an_input_error(data: object) -> None:
    with pytest.raises(InputError) as caught:
        body_of(data)
    assert caught.value.code == "input-invalid"


def test_what_holds_itself_is_an_input_error() -> None:
    data: list[Any] = []
    data.append(data)
    with pytest.raises(InputError):
        body_of(data)


def test_an_answer_is_freed_of_its_envelope_and_chat_answers_are_not() -> None:
    assert answer_of(b'{"predictions": [1, null]}') == [1, None]
    assert answer_of(b'{"predictions": [1], "usage": 3}') == {"predictions": [1], "usage": 3}
    assert answer_of(b'[{"a": 1}]') == [{"a": 1}]


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("a.json", "application/json"),
        ("a.CSV", "text/csv"),
        ("a.jsonl", "application/jsonl"),
        ("a.ndjson", "application/jsonl"),
        ("a.b.parquet", "application/vnd.apache.parquet"),
        ("a.arrow", "application/vnd.apache.arrow.file"),
        ("a.feather", "application/vnd.apache.arrow.file"),
        ("a.arrows", "application/vnd.apache.arrow.stream"),
        ("a.csv.gz", "text/csv"),
        ("a.JSON.GZ", "application/json"),
    ],
)
def test_a_files_ending_says_what_it_holds(name: str, content_type: str) -> None:
    assert content_type_of(Path(name)) == content_type


@pytest.mark.parametrize("name", ["a", "a.txt", ".json", "a.gz", "a.txt.gz"])
def test_an_ending_that_says_nothing_is_an_input_error(name: str) -> None:
    with pytest.raises(InputError, match="ending"):
        content_type_of(Path(name))


def test_an_ending_says_how_a_file_is_compressed() -> None:
    assert encoding_of(Path("a.csv.gz")) == encoding_of(Path("a.GZ")) == "gzip"
    assert encoding_of(Path("a.csv")) is None


def test_what_is_compressed_comes_out_whole() -> None:
    # Some tools write files of several members, such as bgzip, or cat of two files.
    assert decompressed(gzip.compress(b"ab") + gzip.compress(b"cd"), "gzip") == b"abcd"
    assert decompressed(b"ab", "identity") == decompressed(b"ab", None) == b"ab"
    for payload, encoding, says in [
        (b"ab", "gzip", "not gzip"),
        (gzip.compress(b"ab")[:-4], "gzip", "not gzip"),
        (b"ab", "br", "'br' is not gzip"),
    ]:
        with pytest.raises(InputError, match=says):
            decompressed(payload, encoding)


def test_an_input_that_cannot_be_read_is_not_found(tmp_path: Path) -> None:
    path = MODELS / "py38_mlflow2_1" / "heart.input.json"
    assert strict(read_input(path)) == json.loads(path.read_text())
    for missing in (tmp_path / "missing.json", tmp_path):
        with pytest.raises(InputNotFound) as caught:
            read_input(missing)
        assert caught.value.code == "input-not-found"
