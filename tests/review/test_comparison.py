"""Two answers held against each other."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envbuild.errors import UsageError
from envbuild.review.comparison import Comparison, Tolerance, compare

EXACT = Tolerance(relative=0.0, absolute=0.0)


def differs(before: Any, after: Any, tolerance: Tolerance | None = None) -> Comparison:
    return compare(before, after, tolerance or Tolerance())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([1.0], [1.0000001]),
        ([1e-12], [-1e-12]),
        ([0.0], [-0.0]),
        ([2], [2.0]),
        ([2], [2.0000001]),
        ([None], [float("nan")]),
        (["NaN"], [None]),
        ([10**400], [10**400]),
        ([{"a": 1.0, "b": "x"}], [{"b": "x", "a": 1.0}]),
        ([[1.0, [2.0]]], [[1.0, [2.0]]]),
        ({"a": [True, "2020-01-01T00:00:00.000"]}, {"a": [True, "2020-01-01T00:00:00.000"]}),
        ([], []),
        (None, None),
        ("text", "text"),
    ],
)
def test_what_counts_as_equal(before: Any, after: Any) -> None:
    found = differs(before, after)
    assert found.same
    assert (found.differing, found.values_differing, found.shown) == ((), 0, ())


@pytest.mark.parametrize(
    ("before", "after", "kind", "where"),
    [
        ([1.0], [1.00001], "value", ""),
        ([1e-8], [3e-8], "value", ""),
        ([1000000], [1000001], "value", ""),
        ([10**400], [10**400 + 1], "value", ""),
        ([10**400], [1.5], "value", ""),
        ([True], [1], "type", ""),
        ([True], [False], "value", ""),
        (["1"], [1], "type", ""),
        ([None], [0.0], "type", ""),
        (["Infinity"], ["-Infinity"], "value", ""),
        (["Infinity"], ["NaN"], "type", ""),
        (["a"], ["A"], "value", ""),
        (["2020-01-01T00:00:00.000"], ["2020-01-01T00:00:00.001"], "value", ""),
        ([{"p": [1.0, 2.0]}], [{"p": [1.0, 2.5]}], "value", ".p[1]"),
        ([{"p": [1.0, 2.0]}], [{"p": [1.0]}], "length", ".p"),
        ([{"p": 1.0}], [{}], "missing", ".p"),
        ([{}], [{"p": 1.0}], "added", ".p"),
        ([[1.0]], [1.0], "type", ""),
        ([1.0], [], "missing", ""),
        ([], [1.0], "added", ""),
        ([1.0], {"p": 1.0}, "type", ""),
        ({"p": 1.0}, {"p": 2.0}, "value", ".p"),
    ],
)
def test_what_counts_as_a_difference(before: Any, after: Any, kind: str, where: str) -> None:
    found = differs(before, after)
    assert not found.same
    assert found.differing == (0,)
    (row,) = found.shown
    (difference,) = row.differences
    assert (difference.kind, difference.where, row.number, row.more) == (kind, where, 0, 0)
    assert (difference.before is None) == (kind == "added")
    assert (difference.after is None) == (kind == "missing")
    assert (difference.absolute is None) == (
        kind != "value" or isinstance(before[0] if where == "" else 1.0, (bool, str))
    )


def test_either_tolerance_lets_numbers_be_equal() -> None:
    assert differs([100.0], [101.0], Tolerance(relative=0.01, absolute=0.0)).same
    assert differs([100.0], [101.0], Tolerance(relative=0.0, absolute=1.0)).same
    assert not differs([100.0], [101.0], Tolerance(relative=0.009, absolute=0.9)).same
    assert not differs([100], [101], Tolerance(relative=1.0, absolute=100.0)).same


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
def test_a_tolerance_is_a_number_of_0_or_more(wrong: float) -> None:
    with pytest.raises(UsageError, match="the tolerance is"):
        Tolerance(relative=wrong)
    with pytest.raises(UsageError, match="the absolute tolerance is"):
        Tolerance(absolute=wrong)


def test_which_rows_how_many_and_how_much() -> None:
    before = [[0.0, 1.0] for _ in range(100)]
    after = copy.deepcopy(before)
    for number in range(20, 60):
        after[number] = [0.5, 1.25]
    after[70][1] += 1e-9
    found = differs(before, after)
    assert (found.rows_before, found.rows_after, found.listed) == (100, 100, True)
    assert found.differing == tuple(range(20, 60))
    assert (found.values, found.values_differing) == (200, 80)
    assert (found.largest_absolute, found.largest_relative) == (0.5, 1.0)
    assert [row.number for row in found.shown] == list(range(20, 30))
    assert len(compare(before, after, Tolerance(), shown=3).shown) == 3


def test_the_largest_difference_counts_what_the_tolerance_lets_pass() -> None:
    found = differs([1.0, 2.0], [1.0 + 1e-8, 2.0])
    assert found.same
    assert found.largest_absolute == pytest.approx(1e-8)


def test_of_a_row_the_first_differences_are_kept_and_the_rest_counted() -> None:
    (row,) = differs([list(range(20))], [list(range(1, 21))]).shown
    assert [one.where for one in row.differences] == ["[0]", "[1]", "[2]", "[3]", "[4]"]
    assert row.more == 15


def test_rows_that_only_one_answer_has_differ() -> None:
    found = differs([1, 2, 3], [1, 2, 3, 4, 5])
    assert (found.rows_before, found.rows_after, found.differing) == (3, 5, (3, 4))
    assert [row.differences[0].kind for row in found.shown] == ["added", "added"]


def test_an_answer_that_is_no_list_is_one_row() -> None:
    found = differs({"a": [1, 2], "b": [3, 4]}, {"a": [1, 5], "b": [3, 4]})
    assert (found.listed, found.rows_before, found.differing) == (False, 1, (0,))
    assert [one.where for one in found.shown[0].differences] == [".a[1]"]


def test_long_values_are_shortened_and_deep_ones_are_walked() -> None:
    (row,) = differs(["a" * 500], ["b" * 500]).shown
    assert len(row.differences[0].before or "") == 80
    deep: Any = 1.0
    other: Any = 2.0
    for _ in range(900):
        deep, other = [deep], [other]
    (row,) = differs([deep], [other]).shown
    assert row.differences[0].where == "[0]" * 900


NUMBERS = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(max_size=5)
ANSWERS = st.recursive(
    LEAVES,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=3), below, max_size=4),
    max_leaves=20,
)


@settings(max_examples=60)
@given(ANSWERS)
def test_an_answer_is_equal_to_itself(answer: Any) -> None:
    found = compare(answer, copy.deepcopy(answer), EXACT)
    assert found.same
    assert (found.largest_absolute, found.largest_relative) == (0.0, 0.0)


@settings(max_examples=60)
@given(ANSWERS, ANSWERS)
def test_a_comparison_is_the_same_the_other_way_round(one: Any, other: Any) -> None:
    there, back = compare(one, other, Tolerance()), compare(other, one, Tolerance())
    assert there.differing == back.differing
    assert (there.values, there.values_differing) == (back.values, back.values_differing)
    assert (there.largest_absolute, there.largest_relative) == (back.largest_absolute, back.largest_relative)


def places(answer: Any) -> list[tuple[Any, ...]]:
    """The ways to every leaf."""
    below = enumerate(answer) if isinstance(answer, list) else answer.items() if isinstance(answer, dict) else None
    if below is None:
        return [()]
    return [(step, *rest) for step, value in below for rest in places(value)]


@settings(max_examples=60)
@given(st.lists(ANSWERS, min_size=1, max_size=4), st.data())
def test_a_leaf_that_changes_is_found_in_its_row(rows: list[Any], data: st.DataObject) -> None:
    found = places(rows)
    if not found:
        return
    way = data.draw(st.sampled_from(found))
    changed: Any = copy.deepcopy(rows)
    holder = changed
    for step in way[:-1]:
        holder = holder[step]
    # Another kind, and not one that counts as null.
    holder[way[-1]] = "changed" if not isinstance(holder[way[-1]], str) else 1
    compared = compare(rows, changed, Tolerance())
    assert compared.differing == (way[0],)
    assert compared.values_differing == 1
