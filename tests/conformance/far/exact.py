"""Values described exactly, in JSON, and made again from their description in another environment.

A description is a list: a tag, then what belongs to it. Numbers are text (``float.hex``), so that no reader rounds them.
Runs in the models' environments, with their pandas and numpy.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
from typing import Any

import numpy as np
import pandas as pd

TEXT = "str"
_MODERN = int(pd.__version__.split(".")[0]) >= 3


def describe(value: Any) -> list[Any]:
    """A value's description."""
    for kinds, describe_it in _DESCRIBED:
        if isinstance(value, kinds):
            return describe_it(value)
    if value is None:
        return ["none"]
    if value is getattr(pd, "NA", value.__class__):
        return ["na"]
    return ["other", type(value).__name__, str(value)]


def _frame(frame: Any) -> list[Any]:
    columns = [frame.iloc[:, position] for position in range(len(frame.columns))]
    return [
        "frame",
        [[describe(name), *_column(column)] for name, column in zip(frame.columns, columns)],
        _index(frame),
    ]


def _index(frame: Any) -> list[Any]:
    # How an index's labels are kept is the affair of each pandas, and no model looks at it.
    return [describe(label) for label in frame.index.tolist()]


def _column(column: Any) -> list[Any]:
    if str(column.dtype) == TEXT:
        return [TEXT, [["none"] if missing else describe(cell) for cell, missing in zip(column, column.isna())]]
    return [str(column.dtype), [describe(cell) for cell in column.tolist()]]


def _array(array: Any) -> list[Any]:
    flat = array.reshape(-1)
    cells = [["text", str(cell)] for cell in flat] if array.dtype.kind == "M" else map(describe, flat.tolist())
    return ["array", str(array.dtype), list(array.shape), list(cells)]


def _scalar(scalar: Any) -> list[Any]:
    return ["scalar", *_array(np.asarray(scalar))[1::2]]


_DESCRIBED: list[tuple[Any, Any]] = [
    (pd.DataFrame, _frame),
    (pd.Series, lambda series: ["series", describe(series.name), *_column(series)]),
    (np.ndarray, _array),
    (np.generic, _scalar),
    (type(pd.NaT), lambda value: ["nat"]),
    (bool, lambda value: ["bool", value]),
    (int, lambda value: ["int", str(value)]),
    (float, lambda value: ["float", value.hex()]),
    (str, lambda value: ["str", value]),
    (bytes, lambda value: ["bytes", base64.b64encode(value).decode()]),
    ((dt.datetime, dt.date), lambda value: ["moment", value.isoformat()]),
    (list, lambda value: ["list", [describe(item) for item in value]]),
    (tuple, lambda value: ["tuple", [describe(item) for item in value]]),
    (dict, lambda value: ["dict", [[describe(key), describe(item)] for key, item in value.items()]]),
]


def rebuild(description: list[Any]) -> Any:
    """The value that was described."""
    return _REBUILT[description[0]](*description[1:])


def _frame_again(columns: list[Any], index: list[Any]) -> Any:
    labels = pd.Index([rebuild(label) for label in index], dtype=None if index else "int64")
    made = {position: _series(dtype, cells, labels) for position, (_, dtype, cells) in enumerate(columns)}
    frame = pd.DataFrame(made, index=labels)
    frame.columns = [rebuild(name) for name, _, _ in columns]
    return frame


def _series(dtype: str, cells: list[Any], index: Any) -> Any:
    # Text has a dtype of its own since pandas 3; before it was object, and still is for today's rules there.
    known = "object" if dtype == TEXT and not _MODERN else dtype
    array = np.empty(len(cells), dtype="object")
    array[:] = [rebuild(cell) for cell in cells] or None
    for position, cell in enumerate(cells):
        array[position] = rebuild(cell)
    return pd.Series(array, dtype="object", index=index).astype(known)


def _array_again(dtype: str, shape: list[int], cells: list[Any]) -> Any:
    array = np.empty(len(cells), dtype=dtype)
    for position, cell in enumerate(cells):
        array[position] = rebuild(cell)
    return array.reshape(shape)


_REBUILT: dict[str, Any] = {
    "none": lambda: None,
    "na": lambda: pd.NA,
    "nat": lambda: pd.NaT,
    "frame": _frame_again,
    "array": _array_again,
    "scalar": lambda dtype, cells: _array_again(dtype, [1], cells)[0],
    "text": np.datetime64,
    "bool": lambda value: value,
    "int": int,
    "float": float.fromhex,
    "str": lambda value: value,
    "bytes": base64.b64decode,
    "moment": pd.Timestamp,
    "list": lambda items: [rebuild(item) for item in items],
    "tuple": lambda items: tuple(rebuild(item) for item in items),
    "dict": lambda pairs: {rebuild(key): rebuild(item) for key, item in pairs},
}


def as_text(*values: Any) -> str:
    """The descriptions of several values as one text."""
    return json.dumps([describe(value) for value in values], ensure_ascii=True)
