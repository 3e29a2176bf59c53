"""The table: an example's rows in the order of the signature's columns, and the same rows in every form of a request."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envbuild.server.description.schemas import Spec, holds_null, is_required, name_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of values as JSON has them; without names where the signature has none."""

    specs: tuple[Spec, ...]
    rows: tuple[tuple[Any, ...], ...]

    def cut(self, most: int) -> Table:
        """The first rows of it."""
        return Table(specs=self.specs, rows=self.rows[:most])

    def split(self) -> dict[str, Any]:
        """As ``dataframe_split`` has it."""
        rows = [list(row) for row in self.rows]
        names = [spec.get("name") for spec in self.specs]
        return {"data": rows} if None in names else {"columns": names, "data": rows}

    def records(self) -> list[dict[str, Any]]:
        """As ``dataframe_records`` and ``instances`` have it; what is missing and need not be there is left out."""
        return [
            {name_of(spec): value for spec, value in zip(self.specs, row) if value is not None or is_required(spec)}
            for row in self.rows
        ]

    def columns(self) -> dict[str, list[Any]]:
        """As ``inputs`` has it."""
        return {name_of(spec): [row[place] for row in self.rows] for place, spec in enumerate(self.specs)}

    def csv(self) -> str:
        """As CSV with a header line; what is missing is an empty field."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([name_of(spec) for spec in self.specs])
        writer.writerows([[_cell(value) for value in row] for row in self.rows])
        return text.getvalue()

    def json_lines(self) -> str:
        """As JSON Lines, a record a line."""
        return "".join(f"{json.dumps(record, ensure_ascii=False)}\n" for record in self.records())


def of_body(specs: Sequence[Spec], body: Mapping[str, Any]) -> Table | None:
    """The table in a request; ``None`` where there is none, or where it lacks what the signature requires.

    A column that it lacks, or that it leaves empty somewhere though its type cannot, is left out where it may be.
    """
    records = _records(body, [spec.get("name") for spec in specs])
    if not records:
        return None
    known, keys = [], []
    for place, spec in enumerate(specs):
        key = place if spec.get("name") is None else spec["name"]
        if all(one.get(key) is not None for one in records):
            known.append(spec)
        elif all(key in one for one in records) and holds_null(spec):
            # What the model's own example leaves empty need not be filled.
            known.append({**spec, "required": False})
        elif is_required(spec):
            return None
        elif holds_null(spec):
            known.append(spec)
        else:
            continue
        keys.append(key)
    rows = tuple(tuple(_value(spec, one.get(key)) for spec, key in zip(known, keys)) for one in records)
    return Table(specs=tuple(known), rows=rows)


def _records(body: Mapping[str, Any], names: Sequence[Any]) -> list[Mapping[Any, Any]]:
    """The rows of a request, each by its columns' names or places; none where they are no table."""
    split = body.get("dataframe_split")
    if isinstance(split, Mapping) and isinstance(split.get("data"), list):
        keys = split.get("columns", list(range(len(names))))
        rows = split["data"]
        if not isinstance(keys, list) or not all(isinstance(row, list) and len(row) == len(keys) for row in rows):
            return []
        keys = list(range(len(keys))) if None in names else keys
        return [dict(zip(map(_hashable, keys), row)) for row in rows]
    records = body.get("dataframe_records", body.get("instances"))
    if isinstance(records, list):
        return records if all(isinstance(one, Mapping) for one in records) else []
    columns = body.get("inputs")
    if not isinstance(columns, Mapping) or not all(isinstance(column, list) for column in columns.values()):
        return []
    is_even = len({len(column) for column in columns.values()}) == 1
    return [dict(zip(columns, row)) for row in zip(*columns.values())] if is_even else []


def _hashable(key: Any) -> Any:
    return key if isinstance(key, (str, int)) else json.dumps(key)


def _value(spec: Spec, value: Any) -> Any:
    """Releases of pandas before 2.0 put a Z behind moments that have no zone."""
    is_moment = spec.get("type") == "datetime" and isinstance(value, str)
    return value.removesuffix("Z") if is_moment else value


def _cell(value: Any) -> Any:
    return {None: "", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else value
