"""DataFrames: a table of Python's as a worker takes it, as JSON of its columns or as an Arrow stream.

Both reach the model as the same table (docs/bridge.md, "Tables from Python"); an index is dropped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from envbuild import arrow

COLUMNS: Final = "application/vnd.envbuild.columns+json"
"""The content type of a table as JSON, column by column; every worker reads it."""
# Cells: smaller tables are faster as JSON (measured), and need no import of pyarrow on either side.
LARGE: Final = 10_000
# Up to so many cells all are taken at once, else column by column.
_SMALL: Final = 1_000
# What JSON brings to the model as it is.
_PLAIN: Final = frozenset(("int64", "float64", "bool", "object", "str"))

Default = Callable[[Any], Any]


def is_table(data: Any) -> bool:
    """Whether it is a DataFrame of pandas', or a table of a library that speaks Arrow."""
    speaks_arrow = hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__")
    return hasattr(data, "columns") and (hasattr(data, "iloc") or speaks_arrow)


def is_pandas(data: Any) -> bool:
    """Whether it is a DataFrame of pandas'."""
    return hasattr(data, "iloc") and hasattr(data, "columns")


def sent(
    data: Any,
    params: Mapping[str, Any] | None,
    kinds: Mapping[Any, str] | None,
    reads: frozenset[str],
    default: Default,
) -> tuple[bytes | memoryview, str]:
    """A table as a payload and its content type: as Arrow where it is large, or has types that JSON would lose.

    :param kinds: the types of the signature's columns; ``None`` where the model has no signature.
    :param reads: what the worker can read.
    :param default: makes of a value what JSON has, as in :func:`json.dumps`.
    :raises ImportError: it is a table of another library than pandas, and pyarrow is not here.
    :raises TypeError: there is a value that JSON cannot hold.
    :raises ValueError: likewise.
    """
    if not is_pandas(data):
        import pyarrow as pa

        data = pa.table(data)
    names, columns = _columns(data)
    by_arrow = arrow.FRAME in reads and arrow.is_here() and len(data) and names
    if by_arrow and (len(data) * len(names) >= LARGE or (kinds is None and not _is_plain(data))):
        stream = arrow.stream_of(_plain_names(names), columns(), params, kinds)
        if stream is not None:
            return stream, arrow.FRAME
    body = {"names": _plain_names(names), "rows": len(data), "params": params, "columns": _cells(data, columns)}
    # Infinities are numbers to both ends; NaN is null by now.
    return json.dumps(body, default=default).encode(), COLUMNS


def _columns(data: Any) -> tuple[list[Any], Callable[[], list[Any]]]:
    """The names, and how to get the columns, which takes its time."""
    if is_pandas(data):
        return list(data.columns), lambda: [column for _, column in data.items()]
    return data.column_names, lambda: list(data.columns)


def _is_plain(data: Any) -> bool:
    return is_pandas(data) and all(str(dtype) in _PLAIN for dtype in data.dtypes)


def _plain_names(names: list[Any]) -> list[Any]:
    return [name.item() if hasattr(name, "item") else name for name in names]


def _cells(data: Any, columns: Callable[[], list[Any]]) -> list[list[Any]]:
    """Each column's values; what is missing is null."""
    if not is_pandas(data):
        return [[None if value != value else value for value in column.to_pylist()] for column in columns()]  # noqa: PLR0124 - NaN
    if data.size > _SMALL:
        return [cells(column) for column in columns()]
    import pandas as pd

    values = data.to_numpy(dtype=object)
    missing = pd.isna(values)
    if missing.any():
        values = values.copy()
        values[missing] = None
    return list(values.T.tolist())


def cells(series: Any) -> list[Any]:
    """A column's values; what pandas counts as missing is null."""
    values, missing = series.tolist(), series.isna()
    if not missing.any():
        return list(values)
    return [None if gone is True else value for value, gone in zip(values, missing.tolist())]
