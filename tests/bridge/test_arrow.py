"""Tables and answers as Arrow: held against their JSON, which says what they mean."""

from __future__ import annotations

import decimal
import json
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tables_drawn import FLOATS, KNOWN, MISSING, MOMENTS, SMALL, TEXTS, series, tables

from envbuild import arrow, dataframe, request
from envbuild.errors import InputError, ProtocolError

GetModule = Callable[[str], types.ModuleType]
READS = frozenset((arrow.FRAME, request.ARROW_STREAM))
QUIET = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every table counts as large."""
    monkeypatch.setattr(dataframe, "LARGE", 1)


@pytest.fixture
def parser_of(worker_module: GetModule) -> Callable[[Any], Any]:
    parsing = worker_module("parsing")
    return lambda kinds: parsing.Parser({"inputs": [{"name": n, "type": k} for n, k in (kinds or {}).items()]})


def said(parse: Callable[[], Any]) -> Any:
    """A table, or of what kind its refusal is."""
    try:
        return parse()
    except Exception as error:  # noqa: BLE001 - whatever the worker refuses it with
        return type(error).__name__


def same(one: Any, other: Any) -> None:
    if isinstance(one, str) or isinstance(other, str):
        assert one == other if isinstance(one, str) and isinstance(other, str) else (one, other) == ()
    else:
        pd.testing.assert_frame_equal(one.data, other.data, check_exact=True, check_freq=False)
        # Which takes None and NaN for the same.
        assert repr(one.data.to_numpy(dtype=object).tolist()) == repr(other.data.to_numpy(dtype=object).tolist())
        assert one.params == other.params


@QUIET
@given(tables(), KNOWN, st.none() | st.just({"p": [1, "x"]}))
@example(pd.DataFrame({"a": [1e300]}), {"a": "float"}, None)
@example(pd.DataFrame({"a": [float("inf"), float("nan")]}), {"a": "double"}, None)
@example(pd.DataFrame({"a": [float("nan")]}), {"a": "string"}, None)
@example(pd.DataFrame({"a": [2**31]}), {"a": "integer"}, None)
@example(pd.DataFrame({"a": [2**31 - 1, -(2**31)]}), {"a": "integer"}, None)
@example(pd.DataFrame({"a": [2**53 + 1]}), {"a": "double"}, None)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_with_a_signature_a_table_reaches_the_model_the_same_by_arrow_by_columns_and_by_rows(
    large: None, parser_of: Callable[[Any], Any], frame: Any, kinds: dict[str, str], params: Any
) -> None:
    parser = parser_of(kinds)
    try:
        plain = request.question_of(frame, params, kinds=kinds)
    except InputError:
        with pytest.raises(InputError):
            request.question_of(frame, params, kinds=kinds, reads=READS)
        return
    asked = request.question_of(frame, params, kinds=kinds, reads=READS)
    body = json.loads(plain.payload)
    rows = {"columns": body["names"], "data": [list(row) for row in zip(*body["columns"])]}
    split = json.dumps({"dataframe_split": rows, "params": params}).encode()
    by_rows = said(lambda: parser.parse(split, request.JSON))
    same(said(lambda: parser.parse(plain.payload, plain.content_type)), by_rows)
    same(said(lambda: parser.parse(bytes(asked.payload), asked.content_type)), by_rows)


@pytest.mark.slow
@QUIET
@given(tables(), KNOWN | st.none())
@example(pd.DataFrame({"a": [2**31]}), {"a": "integer"})
@example(pd.DataFrame({"a": [2**63]}), {"a": "long"})
@example(pd.DataFrame({"a": [2**63]}), None)
@example(pd.DataFrame({"a": [1.5, None]}), None)
@example(pd.DataFrame({"a": [None, None]}), {"a": "double"})
@example(pd.DataFrame({"a": ["x", None]}), None)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_a_table_made_at_once_is_the_table_made_in_the_general_way(
    worker_module: GetModule, parser_of: Callable[[Any], Any], frame: Any, kinds: dict[str, str] | None
) -> None:
    exact, parser = worker_module("exact"), parser_of(kinds)
    try:
        body = json.loads(request.question_of(frame).payload)
    except InputError:
        return
    rows = [list(row) for row in zip(*body["columns"])]
    bodies = [
        {"dataframe_split": {"columns": body["names"], "data": rows, "index": index}}
        for index in (None, [7] * len(rows))
    ]
    if len(set(map(str, body["names"]))) == 2:
        bodies.append({"dataframe_records": [dict(zip(map(str, body["names"]), row)) for row in rows]})
    for one in bodies:
        payload = json.dumps(one).encode()
        at_once = said(lambda: parser.parse(payload, request.JSON))  # noqa: B023 - called at once
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exact, "table", lambda *_: None)
            same(said(lambda: parser.parse(payload, request.JSON)), at_once)  # noqa: B023


def test_the_common_types_go_by_arrow(large: None) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [1.5, None], "c": ["x", None], "d": [True, False]})
    moments = frame.assign(e=pd.to_datetime(["2020-01-01", None]))
    for data, kinds in ((frame, {"a": "long"}), (frame, None), (moments, {"e": "datetime"})):
        assert request.question_of(data, kinds=kinds, reads=READS).content_type == arrow.FRAME
    assert request.question_of(moments, kinds={"a": "long"}, reads=READS).content_type == dataframe.COLUMNS
    assert request.question_of(frame, reads=frozenset()).content_type == dataframe.COLUMNS


def test_small_tables_go_as_json_and_large_ones_by_arrow() -> None:
    kinds = {"a": "long"}
    small, great = (pd.DataFrame({"a": np.arange(rows)}) for rows in (dataframe.LARGE - 1, dataframe.LARGE))
    assert request.question_of(small, kinds=kinds, reads=READS).content_type == dataframe.COLUMNS
    assert request.question_of(great, kinds=kinds, reads=READS).content_type == arrow.FRAME


def test_without_a_signature_types_that_json_would_lose_are_kept_at_any_size(parser_of: Callable[[Any], Any]) -> None:
    frame = pd.DataFrame(
        {
            "narrow": np.array([1, 2], dtype="int32"),
            "small": np.array([1.5, np.nan], dtype="float32"),
            "large": np.array([1, 2**64 - 1], dtype="uint64"),
            "kind": pd.Categorical(["b", None], categories=["b", "a"], ordered=True),
            "moment": pd.to_datetime(["2020-01-01T00:00:00.000000001", None]),
            "there": pd.to_datetime(["2020-01-01", "2021-01-01"]).tz_localize("Europe/Berlin"),
            "span": pd.to_timedelta(["1s", None]),
            "text": ["x", None],
        }
    )
    asked = request.question_of(frame.set_index(pd.Index([5, 7])), reads=READS)
    assert asked.content_type == arrow.FRAME
    pd.testing.assert_frame_equal(parser_of(None).parse(bytes(asked.payload), asked.content_type).data, frame)


@pytest.mark.parametrize(
    "column",
    [
        [1, "x"],
        [b"x", None],
        [[1], [2]],
        [{"a": 1}, None],
        [decimal.Decimal(1), 2],
        [True, None],
        [1, None, "\ud83d"][1:],
    ],
)
def test_what_arrow_might_take_for_something_else_goes_as_json(large: None, column: list[Any]) -> None:
    frame = pd.DataFrame({"a": pd.Series(column, dtype=object)})
    try:
        assert request.question_of(frame, reads=READS).content_type == dataframe.COLUMNS
    except InputError:
        assert any(isinstance(value, decimal.Decimal) for value in column)


def test_tables_of_other_libraries_go_by_arrow_or_as_json(large: None, parser_of: Callable[[Any], Any]) -> None:
    table = pa.table({"a": pa.array([1, 2], pa.int32()), "b": ["x", None], "c": [1.5, float("nan")]})

    class Foreign:
        columns = ("a", "b", "c")

        def __arrow_c_stream__(self, schema: Any = None) -> Any:
            return table.__arrow_c_stream__(schema)

    kinds = {"a": "long", "b": "string", "c": "double"}
    wanted = pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": [1.5, None]})
    for data in (table, table.to_batches()[0], Foreign()):
        for reads, kind in ((READS, arrow.FRAME), (frozenset[str](), dataframe.COLUMNS)):
            asked = request.question_of(data, kinds=kinds, reads=reads)
            assert asked.content_type == kind
            found = parser_of(kinds).parse(bytes(asked.payload), kind).data
            pd.testing.assert_frame_equal(found, wanted)


def test_a_model_whose_signature_comes_from_type_hints_takes_no_table(worker_module: GetModule, large: None) -> None:
    parsing = worker_module("parsing")
    parser = parsing.Parser({"inputs": []}, takes_raw_inputs=True)
    for reads in (READS, frozenset[str]()):
        asked = request.question_of(pd.DataFrame({"a": [1, 2]}), reads=reads)
        with pytest.raises(Exception, match="it takes 'inputs' only"):
            parser.parse(bytes(asked.payload), asked.content_type)


@pytest.mark.parametrize("payload", [b"", b"ARROW1", b"\xff\xff\xff\xff\x10\x00\x00\x00", pa.ipc.new_stream])
def test_a_stream_that_is_none_is_refused_on_both_sides(parser_of: Callable[[Any], Any], payload: Any) -> None:
    if callable(payload):  # a stream, but without what has to stand beside it
        sink = pa.BufferOutputStream()
        table = pa.table({"a": [1]})
        with payload(sink, table.schema) as writer:
            writer.write_table(table)
        payload = sink.getvalue().to_pybytes()
    with pytest.raises(Exception, match="the table cannot be read from Arrow"):
        parser_of(None).parse(payload, arrow.FRAME)
    with pytest.raises(ProtocolError, match="not the Arrow stream"):
        request.answer_of(payload, request.ARROW_STREAM)


# Answers.

NUMBERS = st.sampled_from(("int8", "int64", "uint8", "uint64", "float16", "float32", "float64", "bool", ">i4", ">f8"))


@st.composite
def answers(draw: st.DrawFn) -> Any:
    rows = draw(st.integers(1, 4))

    def column() -> Any:
        kind = draw(st.sampled_from(("numbers", "series", "odd")))
        if kind == "series":
            return draw(series(rows))
        if kind == "odd":
            return pd.Series(
                draw(st.lists(TEXTS | FLOATS | MOMENTS | MISSING, min_size=rows, max_size=rows)), dtype=object
            )
        values = draw(
            st.lists(st.floats() if draw(st.booleans()) else st.integers(0, 100), min_size=rows, max_size=rows)
        )
        with np.errstate(all="ignore"):
            return pd.Series(np.array(values).astype(draw(NUMBERS)))

    def shaped() -> Any:
        shape = draw(st.sampled_from(((rows,), (rows, 1), (rows, 2), (2, 1, rows), (1, rows, 3))))
        values = draw(st.lists(FLOATS | SMALL, min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
        with np.errstate(all="ignore"):
            return np.array(values).astype(draw(NUMBERS)).reshape(shape)

    def table() -> Any:
        frame = pd.concat([column(), column()], axis=1)
        frame.columns = pd.Index(draw(st.sampled_from((["a", "b"], ["a", "a"], [0, 1], ["b", 1]))))
        return frame

    return draw(
        st.sampled_from(
            (
                table,
                column,
                lambda: column().to_numpy(),
                shaped,
                lambda: shaped().T,
                lambda: np.ma.masked_array(shaped(), mask=False),
                lambda: column().tolist(),
                lambda: {"a": shaped()},
                lambda: np.array(draw(st.lists(TEXTS, min_size=rows, max_size=rows))),
                lambda: np.array(draw(st.lists(TEXTS, min_size=rows, max_size=rows)), dtype=object),
            )
        )
    )()


def python_of(answer: Any) -> Any:
    return [answer.nulls, json.dumps(request.answer_of(bytes(answer.payload), answer.content_type), sort_keys=False)]


@QUIET
@given(answers(), st.sampled_from(("null", "string", "error")))
@example(np.array([1.5, np.nan, np.inf, -0.0]), "null")
@example(np.array([1.5, np.nan], dtype="float32"), "string")
@example(np.arange(6).reshape(3, 2), "null")
@example(np.arange(6.0).reshape(3, 2).T, "null")
@example(np.arange(12).reshape(2, 3, 2), "null")
def test_an_answer_is_the_same_python_objects_by_arrow_and_as_json(
    worker_module: GetModule, predictions: Any, nan: str
) -> None:
    answering, by_arrow = worker_module("answering"), worker_module("arrow")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_arrow, "FEWEST", 1)
        try:
            wanted = python_of(answering.answered(predictions, nan, None, None, True))
        except worker_module("encoding").OutputInvalid as error:
            with pytest.raises(type(error)):
                answering.answered(predictions, nan, request.ARROW_STREAM, None, True)
            return
        assert python_of(answering.answered(predictions, nan, request.ARROW_STREAM, None, True)) == wanted


@pytest.mark.parametrize(
    ("predictions", "kind"),
    [
        (np.arange(3000), request.ARROW_STREAM),
        (np.zeros((1500, 2)), request.ARROW_STREAM),
        (pd.DataFrame({"a": np.zeros(3000), "b": np.arange(3000)}), request.ARROW_STREAM),
        (pd.Series(np.zeros(3000)), request.ARROW_STREAM),
        (np.array(["x"] * 3000, dtype=object), request.ARROW_STREAM),
        (np.arange(1999), request.JSON),
        (np.zeros(3000, dtype="datetime64[s]"), request.JSON),
        ([1.5] * 3000, request.JSON),
    ],
)
def test_large_answers_of_plain_types_come_by_arrow(worker_module: GetModule, predictions: Any, kind: str) -> None:
    answered = worker_module("answering").answered
    assert answered(predictions, "null", request.ARROW_STREAM, None, True).content_type == kind
    assert answered(predictions, "null", None, None, True).content_type == request.JSON
    assert answered(predictions, "null", request.ARROW_STREAM, None, False).content_type == request.JSON, "bare"


@pytest.mark.parametrize(
    ("described", "columns"),
    [
        ({"form": "array", "shape": [3]}, {"a": [1, 2]}),
        ({"form": "array", "shape": [-1, -2]}, {"a": [1, 2]}),
        ({"form": "array", "shape": [1 << 62, 0]}, {"a": [1, 2]}),
        ({"form": "array", "shape": "2"}, {"a": [1, 2]}),
        ({"form": "array", "shape": [2]}, {"a": [[1], [2]]}),
        ({"form": "array"}, {"a": [1, 2]}),
        ({"form": "array", "shape": [0]}, {}),
        ({}, {"a": [1]}),
        ([], {"a": [1]}),
    ],
)
def test_what_an_answer_says_of_itself_is_checked(described: Any, columns: dict[str, Any]) -> None:
    table = pa.table(columns).replace_schema_metadata({"envbuild": json.dumps(described)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(ProtocolError, match="not the Arrow stream"):
        request.answer_of(sink.getvalue().to_pybytes(), request.ARROW_STREAM)
