"""Two answers held against each other, value by value, within a tolerance.

Both are what JSON has. Numbers are equal where they lie within the tolerance of each other, two whole numbers only where
they are the same; NaN and null are the same; everything else (text, dates, booleans) must be exactly the same, and of
the same kind. Rows are the elements of an answer that is a list; any other answer is one row.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from envbuild.errors import UsageError

Kind = Literal["value", "type", "length", "missing", "added"]

# Float32 has a little over seven digits: ten times its last one is what another build of the same code may change.
RELATIVE = 1e-6
# Near zero digits say nothing: what is left of a sum that should be zero.
ABSOLUTE = 1e-9
ROWS_SHOWN = 10
_SHOWN_OF_A_ROW = 5
_LONGEST = 80
_Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far apart two numbers may be and count as equal: by either of the two."""

    relative: float = RELATIVE
    """As a part of the larger one."""
    absolute: float = ABSOLUTE

    def __post_init__(self) -> None:
        """:raises UsageError: one of them is negative, or no number."""
        for name, value in (("tolerance", self.relative), ("absolute tolerance", self.absolute)):
            if not (value >= 0 and math.isfinite(value)):
                raise UsageError(f"the {name} is {value}, which is not a number of 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One place where two answers differ; ``before`` and ``after`` are JSON, shortened."""

    where: str
    """Within its row: ``.probability[1]``; empty for the row itself."""
    kind: Kind
    before: str | None
    after: str | None
    absolute: float | None = None
    """For two numbers: how far they are apart, and that as a part of the larger one."""
    relative: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row that differs, with the first of its differences."""

    number: int
    """Counted from 0."""
    differences: tuple[Difference, ...]
    more: int
    """How many differences there are beyond these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What differs between two answers."""

    listed: bool
    """Whether both are lists, so that their elements are the rows."""
    rows_before: int
    rows_after: int
    differing: tuple[int, ...]
    """The numbers of the rows that differ."""
    values: int
    """How many values were compared, and how many of them differ."""
    values_differing: int
    largest_absolute: float
    """The largest distance of two numbers, within the tolerance or not, and the largest as a part of the larger one."""
    largest_relative: float
    shown: tuple[Row, ...]
    """The first rows that differ."""

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.differing


def compare(before: Any, after: Any, tolerance: Tolerance, shown: int = ROWS_SHOWN) -> Comparison:
    """What differs between two answers; the same the other way round.

    :param shown: how many of the rows that differ are kept with what differs in them.
    """
    listed = isinstance(before, list) and isinstance(after, list)
    first, second = (before, after) if listed else ([before], [after])
    walk, numbers, rows = _Walk(tolerance), list[int](), list[Row]()
    for number in range(max(len(first), len(second))):
        found = walk.row(first[number : number + 1], second[number : number + 1])
        kept = tuple(itertools.islice(found, _SHOWN_OF_A_ROW))
        if kept:
            numbers.append(number)
            more = sum(1 for _ in found)
            if len(rows) < shown:
                rows.append(Row(number=number, differences=kept, more=more))
    return Comparison(
        listed=listed,
        rows_before=len(first),
        rows_after=len(second),
        differing=tuple(numbers),
        values=walk.values,
        values_differing=walk.differing,
        largest_absolute=walk.absolute,
        largest_relative=walk.relative,
        shown=tuple(rows),
    )


class _Walk:
    """Goes through two values side by side, and keeps count."""

    def __init__(self, tolerance: Tolerance) -> None:
        self._tolerance = tolerance
        self.values = 0
        self.differing = 0
        self.absolute = 0.0
        self.relative = 0.0

    def row(self, first: Sequence[Any], second: Sequence[Any]) -> Iterator[Difference]:
        """What differs in a row, of which one may not be there."""
        if len(first) != len(second):
            yield self._one_sided((), first[0] if first else None, second[0] if second else None, added=not first)
            return
        # Not by recursion: an answer may be nested as deep as the parser of JSON goes.
        waiting: list[tuple[_Path, Any, Any]] = [((), first[0], second[0])]
        while waiting:
            path, one, other = waiting.pop()
            kind, other_kind = _kind(one), _kind(other)
            if kind == other_kind == "object":
                yield from self._keys(path, one, other)
                waiting += reversed([((*path, key), one[key], other[key]) for key in one if key in other])
            elif kind == other_kind == "list" and len(one) == len(other):
                waiting += reversed([((*path, place), one[place], other[place]) for place in range(len(one))])
            elif (found := self._leaf(path, one, other)) is not None:
                yield found

    def _keys(self, path: _Path, one: dict[str, Any], other: dict[str, Any]) -> Iterator[Difference]:
        for key, value in one.items():
            if key not in other:
                yield self._one_sided((*path, key), value, None, added=False)
        for key, value in other.items():
            if key not in one:
                yield self._one_sided((*path, key), None, value, added=True)

    def _one_sided(self, path: _Path, one: Any, other: Any, *, added: bool) -> Difference:
        self.values += 1
        self.differing += 1
        before, after = (None, _json(other)) if added else (_json(one), None)
        return Difference(where=_where(path), kind="added" if added else "missing", before=before, after=after)

    def _leaf(self, path: _Path, one: Any, other: Any) -> Difference | None:
        self.values += 1
        kind, other_kind = _kind(one), _kind(other)
        absolute, relative = None, None
        if kind == other_kind == "number":
            absolute, relative = self._distance(one, other)
            equal = self._is_near(one, other)
        else:
            equal = kind == other_kind and (kind == "null" or one == other)
        if equal:
            return None
        self.differing += 1
        return Difference(
            where=_where(path),
            kind="type" if kind != other_kind else "length" if kind == "list" else "value",
            before=_json(one),
            after=_json(other),
            absolute=absolute,
            relative=relative,
        )

    def _distance(self, one: float, other: float) -> tuple[float, float]:
        try:
            absolute = min(abs(float(one - other)), sys.float_info.max)
            relative = absolute / max(abs(one), abs(other)) if absolute else 0.0
        except OverflowError:
            # Whole numbers of hundreds of digits.
            absolute, relative = sys.float_info.max, 1.0
        self.absolute = max(self.absolute, absolute)
        self.relative = max(self.relative, relative)
        return absolute, relative

    def _is_near(self, one: float, other: float) -> bool:
        if isinstance(one, int) and isinstance(other, int):
            return one == other
        try:
            return math.isclose(one, other, rel_tol=self._tolerance.relative, abs_tol=self._tolerance.absolute)
        except OverflowError:
            return one == other


def _kind(value: Any) -> str:
    """What JSON calls a value; NaN, in either form that an answer may have, is null."""
    if value is None or value == "NaN" or (isinstance(value, float) and math.isnan(value)):
        return "null"
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "list", dict: "object"}
    return names.get(type(value), type(value).__name__)


def _where(path: _Path) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
