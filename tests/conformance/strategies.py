"""Signatures that an era can say, and bodies for them: right ones, and ones that are wrong in one place."""

from __future__ import annotations

import base64
import csv
import io
import json
from typing import Any

from eras import DATETIME, NESTED, OPTIONAL, PARAMS
from hypothesis import strategies as st
from sides import CSV, Case

Draw = st.DrawFn
SCALARS = ("boolean", "integer", "long", "float", "double", "string", "binary")
TENSORS = (
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
    "str",
)
NAMES = ("a", "b", "größe", "two words", "d")
_TEXT = st.one_of(st.sampled_from(["", "NaN", "None", "1", "2020-01-02", "true", "🎈"]), st.text(max_size=4))
_MOMENTS = st.sampled_from(
    ["2020-01-02", "2020-01-02T03:04:05", "2021-12-31T23:59:59.123456", "1969-07-20 20:17:40", "2038-01-19T03:14:08.5"]
)
_BITS = {"integer": 32, "long": 64, "int8": 8, "int16": 16, "int32": 32, "int64": 64}
_UNSIGNED = {"uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64}
_WIDTH = {"float": 32, "double": 64, "float16": 16, "float32": 32, "float64": 64}
WRONG = st.sampled_from(
    [
        None,
        True,
        0,
        1,
        -1,
        2,
        1.5,
        -0.0,
        1e300,
        2**31,
        2**53 + 1,
        2**63,
        2**70,
        "",
        "x",
        "12",
        "1.5",
        "false",
        [],
        [1],
        [[]],
        {},
    ]
)
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(-2, 2, width=16), _TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("pq"), inner, max_size=2)),
    max_leaves=4,
)


def scalar(kind: str) -> st.SearchStrategy[Any]:
    """A JSON value that fits a type of a column, a tensor or a parameter."""
    if kind in _BITS or kind in _UNSIGNED:
        low, high = (
            (-(2 ** (_BITS[kind] - 1)), 2 ** (_BITS[kind] - 1) - 1) if kind in _BITS else (0, 2 ** _UNSIGNED[kind] - 1)
        )
        return st.one_of(st.integers(max(low, -3), 3), st.integers(low, high), st.sampled_from([low, high]))
    if kind in _WIDTH:
        floats = st.floats(width=_WIDTH[kind], allow_nan=False, allow_infinity=False)
        return st.one_of(floats, st.integers(-5, 5), st.sampled_from([0.1, 0.5]))
    others = {"boolean": st.booleans(), "bool": st.booleans(), "datetime": _MOMENTS}
    if kind == "binary":
        return st.binary(max_size=6).map(lambda data: base64.b64encode(data).decode())
    return others.get(kind, _TEXT)


def value(spec: dict[str, Any]) -> st.SearchStrategy[Any]:
    """A JSON value that fits a column."""
    kind = spec["type"]
    if kind == "array":
        items = value(spec["items"])
        return st.lists(st.one_of(items, items, items, items, st.none()), max_size=3)
    if kind == "map":
        return st.dictionaries(st.sampled_from("kl"), value(spec["values"]), max_size=2)
    if kind == "object":
        must = {name: value(one) for name, one in spec["properties"].items() if one.get("required", True)}
        may = {name: value(one) for name, one in spec["properties"].items() if not one.get("required", True)}
        return st.fixed_dictionaries(must, optional=may)
    return ANYTHING if kind == "any" else scalar(kind)


def nested(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """The nested types around others."""
    properties = st.dictionaries(
        st.sampled_from("pqr"),
        st.tuples(inner, st.booleans()).map(lambda both: {**both[0], "required": both[1]}),
        min_size=1,
        max_size=2,
    )
    return st.one_of(
        inner.map(lambda items: {"type": "array", "items": items}),
        properties.map(lambda some: {"type": "object", "properties": some}),
        inner.map(lambda values: {"type": "map", "values": values}),
    )


def types(knows: frozenset[str]) -> st.SearchStrategy[dict[str, Any]]:
    """A column's type, as MLmodel writes it."""
    known = (*SCALARS, "datetime") if DATETIME in knows else SCALARS
    flat = st.sampled_from(known).map(lambda kind: {"type": kind})
    if NESTED not in knows:
        return flat
    below = st.recursive(flat, nested, max_leaves=3)
    return st.one_of(flat, flat, below, st.just({"type": "any"}))


@st.composite
def inputs(draw: Draw, knows: frozenset[str]) -> list[dict[str, Any]]:
    """The inputs of a signature: columns or tensors, with names or without."""
    if draw(st.integers(0, 3)) == 0:
        return draw(tensors())
    count, named = draw(st.integers(1, 3)), draw(st.integers(0, 4)) > 0
    columns = [draw(types(knows)) for _ in range(count)]
    if not named:
        return [column if column["type"] in (*SCALARS, "datetime") else {"type": "string"} for column in columns]
    names = draw(st.permutations(NAMES))
    columns = [{**column, "name": name} for column, name in zip(columns, names)]
    if OPTIONAL in knows:
        columns = [{**column, "required": draw(st.integers(0, 3)) > 0} for column in columns]
    return columns


@st.composite
def tensors(draw: Draw) -> list[dict[str, Any]]:
    """One tensor without a name, or some with names."""
    count = draw(st.integers(0, 2))
    specs = []
    for name in NAMES[:count] or (None,):
        shape = [draw(st.sampled_from([-1, -1, -1, 2])), *draw(st.lists(st.sampled_from([1, 2, 3, -1]), max_size=2))]
        spec = {"type": "tensor", "tensor-spec": {"dtype": draw(st.sampled_from(TENSORS)), "shape": shape}}
        specs.append({**spec, "name": name} if name else spec)
    return specs


@st.composite
def params(draw: Draw) -> list[dict[str, Any]]:
    """The params of a signature."""
    specs = []
    for name in draw(st.sampled_from([("t",), ("t", "u")])):
        kind = draw(st.sampled_from(["boolean", "integer", "long", "float", "double", "string"]))
        one = draw(scalar(kind).filter(lambda value: not isinstance(value, float) or abs(value) < 1e30))
        one = float(one) if kind in ("float", "double") else one
        many = draw(st.booleans())
        specs.append({"name": name, "type": kind, "default": [one] if many else one, "shape": [-1] if many else None})
    return specs


@st.composite
def signatures(draw: Draw, knows: frozenset[str]) -> Any:
    """A signature, or none."""
    if draw(st.integers(0, 11)) == 0:
        return None
    made = {"inputs": draw(inputs(knows))}
    if PARAMS in knows and draw(st.integers(0, 2)) == 0:
        made["params"] = draw(params())
    return made


def filled(shape: list[int], rows: int, one: st.SearchStrategy[Any], draw: Draw) -> Any:
    """Nested lists of a shape, in which -1 is as many as there are rows."""
    if not shape:
        return draw(one)
    return [filled(shape[1:], rows, one, draw) for _ in range(rows if shape[0] == -1 else shape[0])]


@st.composite
def columns_of(draw: Draw, specs: list[dict[str, Any]], rows: int) -> dict[Any, list[Any]]:
    """Values for every input, by name or place."""
    table = {}
    for place, spec in enumerate(specs):
        if spec["type"] == "tensor":
            one = scalar(spec["tensor-spec"]["dtype"])
            table[spec.get("name", place)] = filled(spec["tensor-spec"]["shape"], rows, one, draw)
        elif spec.get("required", True) or draw(st.booleans()):
            null = st.none() if not spec.get("required", True) and draw(st.integers(0, 3)) == 0 else st.nothing()
            table[spec.get("name", place)] = [draw(st.one_of(value(spec), null)) for _ in range(rows)]
    return table


@st.composite
def spoiled(draw: Draw, table: dict[Any, list[Any]]) -> tuple[dict[Any, list[Any]], str]:
    """A table that is wrong in one place, or not at all."""
    how = draw(
        st.sampled_from(["", "", "", "", "value", "value", "value", "missing", "extra", "null", "shape", "length"])
    )
    if not table or how == "":
        return table, ""
    name = draw(st.sampled_from(sorted(table, key=str)))
    cells = table[name]
    if how == "missing":
        table = {key: cells for key, cells in table.items() if key != name}
    elif how == "extra":
        table = {"extra": [1] * len(cells), **table}
    elif how == "length":
        table = {**table, name: cells[:-1] if draw(st.booleans()) else [*cells, *cells[:1]]}
    elif how == "shape":
        table = {**table, name: [[cell] for cell in cells]}
    elif cells:
        changed = list(cells)
        changed[draw(st.integers(0, len(cells) - 1))] = None if how == "null" else draw(WRONG)
        table = {**table, name: changed}
    return table, f"{how} {name}"


@st.composite
def bodies(draw: Draw, signature: Any) -> Case:
    """A case: a body for a signature."""
    specs = (signature or {}).get("inputs") or [{"type": "any", "name": "a"}, {"type": "double", "name": "b"}]
    rows = draw(st.sampled_from([1, 1, 2, 2, 3, 0]))
    table, why = draw(spoiled(draw(columns_of(specs, rows))))
    named, is_flat = (
        all("name" in spec for spec in specs),
        all(spec["type"] in (*SCALARS, "datetime") for spec in specs),
    )
    if is_flat and named and draw(st.integers(0, 9)) == 0:
        return Case(signature=signature, body=_as_csv(table), content_type=CSV, why=f"csv {why}")
    form = draw(st.sampled_from(_FORMS if named else _FORMS[:1] + _FORMS[4:]))
    body = {**_FORMED[form](table), **draw(_params_of(signature))}
    return Case(signature=signature, body=json.dumps(body).encode(), why=f"{form} {why}".strip())


@st.composite
def _params_of(draw: Draw, signature: Any) -> dict[str, Any]:
    specs = (signature or {}).get("params")
    if not specs or draw(st.booleans()):
        return {}
    given = {}
    for spec in specs:
        how = draw(st.integers(0, 5))
        if how:
            one = draw(scalar(spec["type"]) if how > 1 else WRONG)
            given[spec["name"]] = [one] if (spec["shape"] is not None) == (how != 2) else one
    if draw(st.integers(0, 5)) == 0:
        given["unknown"] = 1
    return {"params": given}


def _rows(table: dict[Any, list[Any]]) -> list[list[Any]]:
    longest = max(map(len, table.values()), default=0)
    return [[cells[row] for cells in table.values() if row < len(cells)] for row in range(longest)]


def _records(table: dict[Any, list[Any]]) -> list[dict[Any, Any]]:
    longest = max(map(len, table.values()), default=0)
    return [{name: cells[row] for name, cells in table.items() if row < len(cells)} for row in range(longest)]


def _one(table: dict[Any, list[Any]]) -> Any:
    """The values of the first input alone: what an input without a name is given."""
    return next(iter(table.values()), [])


_FORMED = {
    "dataframe_split": lambda table: {
        "dataframe_split": {"columns": list(table), "data": _rows(table)}
        if not all(isinstance(name, int) for name in table)
        else {"data": _rows(table)}
    },
    "dataframe_records": lambda table: {"dataframe_records": _records(table)},
    "instances of objects": lambda table: {"instances": _records(table)},
    "inputs of lists": lambda table: {"inputs": table},
    "instances": lambda table: {"instances": _one(table)},
    "inputs": lambda table: {"inputs": _one(table)},
    "inputs of rows": lambda table: {"inputs": _rows(table)},
    "inputs of one object": lambda table: {"inputs": _records(table)[0] if _records(table) else {}},
    "inputs of objects": lambda table: {"inputs": _records(table)},
}
_FORMS = tuple(_FORMED)


def _as_csv(table: dict[Any, list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([list(table), *_rows(table)])
    return text.getvalue().encode()


def batches(knows: frozenset[str], size: int) -> st.SearchStrategy[list[Case]]:
    """Several bodies for one signature."""
    return signatures(knows).flatmap(lambda known: st.lists(bodies(known), min_size=size, max_size=size))


def _rare(kind: str, cells: list[Any]) -> Case:
    spec = {"name": "a", "type": "array", "items": {"type": kind}, "required": True}
    body = json.dumps({"dataframe_records": [{"a": cells}]}).encode()
    return Case(signature={"inputs": [spec]}, body=body, why=f"{cells} for {kind}")


_TEXT_AND_NUMBER = {"inputs": [{"name": "a", "type": "string"}, {"name": "b", "type": "long"}]}
# What the strategies come upon too seldom.
RARE = (
    _rare("double", [[]]),
    _rare("double", [{}, 1]),
    _rare("string", [None, "a"]),
    Case(signature=_TEXT_AND_NUMBER, body=b"a,b\r\nx,1\r\n\0y,2\r\n", content_type=CSV, why="NUL in a CSV"),
    Case(
        signature={"inputs": [{**_TEXT_AND_NUMBER["inputs"][0], "required": False}, _TEXT_AND_NUMBER["inputs"][1]]},
        body=b'{"dataframe_records": [{"a": null, "b": 1}, {"b": 2}, {"a": "x", "b": 3}]}',
        why="missing and null text",
    ),
)
_TENSOR = {"name": "a", "type": "tensor", "tensor-spec": {"dtype": "uint16", "shape": [-1]}}
RARE_OF_1 = (
    Case(signature={"inputs": [_TENSOR]}, body=b'{"dataframe_split": {"columns": ["a"], "data": []}}', why="no rows"),
)
RARE_OF_SERVERS_OF_1 = (
    Case(
        signature={"inputs": [{"name": "a", "type": "datetime"}]},
        body=b'{"inputs": {"a": ["2020-01-02", -1]}}',
        why="a number among datetimes",
    ),
    Case(
        signature={"inputs": [{"type": "tensor", "tensor-spec": {"dtype": "bool", "shape": [-1, 1]}}]},
        body=b'[{"c0": [false]}]',
        why="a list for a boolean",
    ),
    Case(signature=None, body=b'{"instances": [[1], [2, 3]]}', why="ragged"),
)
