"""Several requests as one call of the model, and each with what is its own."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envbuild.bridge import Prediction, Worker, WorkerOptions
from envbuild.bridge.frames import Frame
from envbuild.bridge.messages import parts_of
from envbuild.errors import InputError, ModelRaised, OutputInvalid, OutputTooLarge, ProtocolError, WorkerExited
from envbuild.request import Question

MakeModel = Callable[..., Any]
# Twice each row; says how many rows a call had. There is no numpy where it runs.
TWICE = """
import os

class Model:
    def predict(self, data):
        if "bad" in data:
            raise ValueError("a bad row")
        if "exit" in data:
            os._exit(4)
        if "fewer" in data:
            return data[1:]
        if "one" in data:
            return {"whole": len(data)}
        if "set" in data:
            return [{1, 2} if row == "set" else row for row in data]
        if "size" in data:
            return [len(data)] * len(data)
        return [2 * row for row in data]

def _load_pyfunc(path):
    return Model()
"""


def rows(*values: Any, **more: Any) -> Question:
    return Question(payload=json.dumps({"inputs": list(values), **more}).encode())


def told(answers: list[Any]) -> list[Any]:
    """Predictions as they are, errors by their class."""
    return [json.loads(one.payload)["predictions"] if isinstance(one, Prediction) else type(one) for one in answers]


@pytest.fixture
def worker(make_model: MakeModel) -> Any:
    with Worker.start(Path(sys.executable), make_model(TWICE), WorkerOptions()) as started:
        yield started


def test_rows_of_several_requests_are_one_call(make_model: MakeModel, every_python: Path) -> None:
    with Worker.start(every_python, make_model(TWICE), WorkerOptions()) as worker:
        assert told(worker.predict_each([rows(1), rows(2, 3), rows(4)])) == [[2], [4, 6], [8]]
        assert told(worker.predict_each([rows("size"), rows("size", 2)])) == [[3], [3, 3]]
        assert [one.rows for one in worker.predict_each([rows(1), rows(2, 3)])] == [1, 2]  # type: ignore[union-attr]


def test_what_cannot_be_put_together_is_to_be_asked_alone(worker: Worker) -> None:
    nothing = type(None)
    assert told(worker.predict_each([rows("x"), rows("bad")])) == [nothing, nothing]
    assert told(worker.predict_each([rows("fewer"), rows("x")])) == [nothing, nothing]
    assert told(worker.predict_each([rows("one"), rows("x")])) == [nothing, nothing]
    mapping = Question(payload=b'{"inputs": {"a": 1}}')
    assert told(worker.predict_each([rows(1), mapping, rows(2)])) == [[2], nothing, [4]]
    with_params = rows(1, params={"a": 1})
    assert told(worker.predict_each([rows(1), with_params])) == [[2], nothing]
    assert told(worker.predict_each([mapping, rows(1), rows(2)])) == [nothing, [2], [4]]
    assert told(worker.predict_each([mapping, mapping])) == [["aa"], nothing]


def test_each_has_its_own_fault(worker: Worker) -> None:
    broken, gzip = Question(payload=b"{"), Question(payload=b"no", encoding="gzip")
    assert told(worker.predict_each([broken, rows(1), gzip, rows(2)])) == [InputError, [2], InputError, [4]]
    assert told(worker.predict_each([broken, gzip])) == [InputError, InputError]
    assert told(worker.predict_each([rows("set"), rows("x")])) == [OutputInvalid, ["x"]]
    assert told(worker.predict_each([broken, rows("bad")])) == [InputError, ModelRaised]
    assert told(worker.predict_each([rows(1), rows(2)])) == [[2], [4]]


def test_an_answer_that_is_too_long_is_its_own(make_model: MakeModel) -> None:
    with Worker.start(Path(sys.executable), make_model(TWICE), WorkerOptions(max_output=40)) as worker:
        assert told(worker.predict_each([rows("x" * 100), rows("y")])) == [OutputTooLarge, ["yy"]]


def test_a_worker_that_ends_is_the_error_of_all(worker: Worker) -> None:
    with pytest.raises(WorkerExited):
        worker.predict_each([rows("x"), rows("exit")])


@pytest.mark.parametrize(
    "parts",
    [
        None,
        [],
        [{"verb": "predicted", "length": 3}],
        [{"verb": "sung", "length": 2}],
        [{"verb": "predicted", "length": -2}],
        [{"verb": "predicted", "length": "2"}],
        [{"verb": "predicted", "length": 2, "nulls": "1"}],
        [{"verb": "predicted", "length": 1}],
        [{"verb": "predicted", "length": 1}, {"verb": "predicted", "length": 1}],
    ],
)
def test_answers_that_are_not_as_many_or_as_long_are_refused(parts: Any) -> None:
    frame = Frame(id=1, verb="predicted_each", payload=b"{}", more={"parts": parts})
    with pytest.raises(ProtocolError):
        parts_of(frame, 1)


@pytest.fixture(scope="module")
def together(worker_module: Callable[[str], types.ModuleType]) -> types.ModuleType:
    return worker_module("together")


@pytest.fixture(scope="module")
def request_class(worker_module: Callable[[str], types.ModuleType]) -> Any:
    return worker_module("parsing").Request


FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
UNLIKE = [
    FRAME,
    FRAME.astype({"a": "float64"}),
    FRAME.rename(columns={"a": "c"}),
    FRAME[["b", "a"]],
    np.zeros((2, 3)),
    np.zeros((2, 4)),
    np.zeros((2, 3), dtype="float32"),
    np.array(["a", "b"]),
    [1, 2],
    {"a": np.zeros(2)},
    {"a": np.zeros(2), "b": np.zeros(2)},
    {"b": np.zeros(2)},
]


def test_only_what_has_the_same_form_is_alike(together: types.ModuleType, request_class: Any) -> None:
    kinds = [together.alike(request_class(data)) for data in UNLIKE]
    assert None not in kinds
    assert len(set(kinds)) == len(UNLIKE)
    assert kinds == [together.alike(request_class(data)) for data in UNLIKE]
    assert together.alike(request_class(FRAME, {"x": 1})) != kinds[0]
    assert together.alike(request_class(FRAME, wrapped=False)) != kinds[0]
    assert together.alike(request_class(np.array(["longer", "b"]))) == kinds[7]


def test_params_that_differ_in_one_of_many_values_are_not_alike(together: types.ModuleType, request_class: Any) -> None:
    many, others = np.zeros(5000), np.zeros(5000)
    others[2500] = 1
    kinds = [together.alike(request_class([1], {"x": value})) for value in (many, others, many.copy())]
    assert kinds[0] == kinds[2] != kinds[1]


@pytest.mark.parametrize(
    "data",
    [
        FRAME.set_index("b"),
        FRAME[::-1],
        FRAME.astype({"b": "category"}),
        np.float64(1),
        1.5,
        "x",
        {"a": np.zeros(2), "b": np.zeros(3)},
        {},
    ],
)
def test_what_has_no_rows_of_its_own_is_for_itself(together: types.ModuleType, request_class: Any, data: Any) -> None:
    assert together.alike(request_class(data)) is None


def test_rows_whose_order_is_another_cannot_be_told(together: types.ModuleType) -> None:
    answer = pd.DataFrame({"p": [1.0, 2.0, 3.0]})
    assert together.given_back(answer, [1, 2]) is not None
    assert together.given_back(answer.sort_values("p", ascending=False), [1, 2]) is None
    assert together.given_back(answer.set_index("p"), [1, 2]) is None
    for other in (answer[:2], np.zeros(2), np.float64(3), [1, 2], {}, {"a": [1, 2, 3], "b": 3}, "abc", None):
        assert together.given_back(other, [1, 2]) is None


@given(st.lists(st.integers(1, 4), min_size=2, max_size=5))
def test_what_is_put_together_is_given_back(together: types.ModuleType, counts: list[int]) -> None:
    total = sum(counts)
    frame = pd.DataFrame({"a": range(total), "b": [str(n) for n in range(total)]})
    starts = np.cumsum([0, *counts[:-1]])
    pieces = [frame[start : start + count].reset_index(drop=True) for start, count in zip(starts, counts)]
    whole = together.put(pieces)
    pd.testing.assert_frame_equal(whole, frame)
    assert sum(map(together.rows_of, pieces)) == total
    for made, piece in zip(together.given_back(whole, counts), pieces):
        pd.testing.assert_frame_equal(made, piece)
    arrays = {"x": np.arange(total * 2).reshape(total, 2), "y": list(range(total))}
    cut = together.given_back(arrays, counts)
    again = together.put(cut)
    np.testing.assert_array_equal(again["x"], arrays["x"])
    assert again["y"] == arrays["y"]
