"""A refusal names the column, what was expected and what came, in every era and before the model is called."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from comparing import UNEXPLAINED, compare
from eras import DATETIME, ERAS, NESTED, PARAMS, TODAY
from sides import Case, Sides

# Environments of several eras are built for it.
pytestmark = pytest.mark.slow

LONG, DOUBLE = {"name": "age", "type": "long"}, {"name": "weight", "type": "double"}
IMAGE = {"name": "image", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}
NAMELESS = {"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1, 2]}}
LIST = {"name": "marks", "type": "array", "items": {"type": "long"}, "required": True}
THING = {
    "name": "thing",
    "type": "object",
    "required": True,
    "properties": {"p": {"type": "long", "required": True}},
}
PARAM = {"name": "limit", "type": "long", "default": 1, "shape": None}
MOMENT = {"name": "when", "type": "datetime"}

# What is wrong, the inputs, the body, and what the refusal must say.
TABLE: tuple[tuple[str, tuple[Any, ...], Any, tuple[str, ...]], ...] = (
    ("missing", (LONG, DOUBLE), {"dataframe_records": [{"weight": 1}]}, ("age",)),
    ("text", (LONG,), {"dataframe_records": [{"age": 1}, {"age": "x"}]}, ("'age'", "long", "row 1", "the string 'x'")),
    ("null", (LONG,), {"dataframe_records": [{"age": 1}, {"age": None}]}, ("'age'", "long", "row 1", "null")),
    ("fraction", (LONG,), {"dataframe_records": [{"age": 1.5}]}, ("'age'", "long", "row 0", "the number 1.5")),
    ("list", (DOUBLE,), {"dataframe_records": [{"weight": [1]}]}, ("'weight'", "double", "row 0", "a list")),
    (
        "text in inputs",
        (LONG, DOUBLE),
        {"inputs": {"age": [1, "x"], "weight": [1, 2]}},
        ("'age'", "long", "[1]", "'x'"),
    ),
    ("range", ({"name": "n", "type": "integer"},), {"inputs": {"n": [2**40]}}, ("'n'", "integer", str(2**40))),
    ("rows in a column", (LONG, DOUBLE), {"inputs": {"age": [[1]], "weight": [[1]]}}, ("'age'", "long", "[1, 1]")),
    ("lengths", (LONG, DOUBLE), {"inputs": {"age": [1, 2], "weight": [1]}}, ("'age' has 2", "'weight' has 1")),
    ("no base64", ({"name": "b", "type": "binary"},), {"dataframe_records": [{"b": "a"}]}, ("'b'", "binary", "'a'")),
    ("no datetime", (MOMENT,), {"dataframe_records": [{"when": "yesterday"}]}, ("'when'", "datetime", "'yesterday'")),
    ("too few", ({"type": "long"}, {"type": "long"}), {"dataframe_split": {"data": [[1]]}}, ("2", "1")),
    ("by its place", ({"type": "long"},), {"dataframe_split": {"data": [["x"]]}}, ("column 0", "long", "row 0", "'x'")),
    ("shape", (IMAGE,), {"inputs": {"image": [[1, 2, 3]]}}, ("'image'", "[-1, 2]", "[1, 3]")),
    ("shape without a name", (NAMELESS,), {"inputs": [1, 2]}, ("[-1, 2]", "[2]")),
    ("text in a tensor", (IMAGE,), {"inputs": {"image": [[1, "y"]]}}, ("'image'", "float32", "[0][1]", "'y'")),
    ("another tensor", (IMAGE,), {"inputs": {"other": [[1, 2]]}}, ("image", "other")),
    ("tensor in a table", (IMAGE,), {"dataframe_records": [{"image": [1, 2, 3]}]}, ("image", "float", "2")),
    ("names for one without", (NAMELESS,), {"inputs": {"a": [1, 2]}}, ("without names", "with names")),
    ("in a list", (LIST,), {"dataframe_records": [{"marks": [1, "x"]}]}, ("'marks'[1]", "long", "'x'")),
    ("no list", (LIST,), {"dataframe_records": [{"marks": 3}]}, ("'marks'", "an array", "the number 3")),
    ("property", (THING,), {"dataframe_records": [{"thing": {}}]}, ("'thing'", "requires: p")),
    ("unknown property", (THING,), {"dataframe_records": [{"thing": {"p": 1, "q": 1}}]}, ("'thing'", "q")),
)
DIFFERENT = ("fraction",)
"""What MLflow takes, and envbuild refuses."""


def _tried(era: str) -> list[tuple[Case, tuple[str, ...]]]:
    knows = ERAS[era].knows
    tried = []
    for why, inputs, body, says in TABLE:
        kinds = {spec["type"] for spec in inputs}
        if (kinds & {"array", "object"} and NESTED not in knows) or ("datetime" in kinds and DATETIME not in knows):
            continue
        tried.append((Case(signature={"inputs": list(inputs)}, body=json.dumps(body).encode(), why=why), says))
    return tried


@pytest.mark.parametrize(
    ("era", "changes"),
    [
        pytest.param("1.14", {}, marks=pytest.mark.slow),
        ("1.30", {}),
        pytest.param("2.9", {}, marks=pytest.mark.slow),
        pytest.param("2.22", {}, marks=pytest.mark.slow),
        (TODAY, {}),
        pytest.param(TODAY, {"direct": True}, id="without mlflow"),
    ],
)
def test_a_refusal_names_the_column_what_was_expected_and_what_came(
    era: str, changes: dict[str, Any], sides_of: Callable[[str], Sides]
) -> None:
    tried = _tried(era)
    done = compare(sides_of(era), [case for case, _ in tried], **changes)
    for (case, says), one in zip(tried, done, strict=True):
        assert one.ours.code == "input-mismatch", str(one)
        assert [part for part in says if part not in str(one.ours.refused)] == [], str(one)
        assert one.verdict != UNEXPLAINED, str(one)
        assert (one.theirs.refused is not None) != (case.why in DIFFERENT), str(one)


@pytest.mark.parametrize(
    ("era", "changes"), [(TODAY, {}), (TODAY, {"direct": True}), pytest.param("2.9", {}, marks=pytest.mark.slow)]
)
def test_a_refused_param_is_named(era: str, changes: dict[str, Any], sides_of: Callable[[str], Sides]) -> None:
    assert PARAMS in ERAS[era].knows
    signature = {"inputs": [LONG], "params": [PARAM]}
    body = {"inputs": [1], "params": {"limit": "many"}}
    (one,) = compare(sides_of(era), [Case(signature=signature, body=json.dumps(body).encode())], **changes)
    assert one.ours.code == "input-mismatch"
    came = "str" if era == "2.9" else "many"
    assert all(part in str(one.ours.refused) for part in ("limit", "long", came))


@pytest.mark.parametrize("era", ["1.30", TODAY])
def test_without_enforcing_the_model_gets_the_types_of_the_json_itself(
    era: str, sides_of: Callable[[str], Sides]
) -> None:
    sides = sides_of(era)
    bodies = (
        {"dataframe_records": [{"age": "1", "more": True}]},
        {"dataframe_records": [{"age": 1.5}]},
        {"inputs": {"age": [1, 2]}},
        {"dataframe_records": [{}]},
    )
    strict = {"inputs": [LONG, {"name": "other", "type": "double"}]}
    enforced = [Case(signature=strict, body=json.dumps(body).encode()) for body in bodies]
    bare = [Case(signature=None, body=case.body) for case in enforced]
    assert [one.answer for one in sides.ours(enforced, enforce=False)] == [one.answer for one in sides.theirs(bare)]
    assert all(one.refused for one in sides.ours(enforced))


def test_without_enforcing_params_are_passed_as_they_are(sides_of: Callable[[str], Sides]) -> None:
    signature = {"inputs": [LONG], "params": [PARAM]}
    case = Case(signature=signature, body=json.dumps({"inputs": [1], "params": {"limit": "many", "more": 1}}).encode())
    (one,) = sides_of(TODAY).ours([case], enforce=False)
    assert one.refused is None
    assert json.loads(one.answer)[1] == ["dict", [[["str", "limit"], ["str", "many"]], [["str", "more"], ["int", "1"]]]]
