"""Arrow: a DataFrame as an Arrow stream that means what its JSON would, and an answer's stream as Python objects.

What stands beside the columns is said in ``envbuild/worker/arrow.py``. Needs pyarrow and numpy; everything here that
finds no exact form says so, and JSON carries it.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from envbuild.errors import ProtocolError

FRAME: Final = "application/vnd.envbuild.frame+arrow"
"""The content type of a DataFrame as a stream; a worker that can read it says so."""
_KEY: Final = b"envbuild"
# The dtypes that a signature's types mean; what has them already needs no cast.
_DTYPES: Final = {"integer": "int32", "long": "int64", "float": "float32", "double": "float64", "boolean": "bool"}
# What the values of an untyped column may be, as pandas names it: each has one type of Arrow's.
_INFERRED: Final = frozenset(("string", "integer", "floating", "mixed-integer-float", "boolean", "empty"))


@functools.cache
def is_here() -> bool:
    """Whether this Python can read and write it, found without importing anything."""
    return all(importlib.util.find_spec(name) is not None for name in ("pyarrow", "numpy"))


def stream_of(
    names: Sequence[Any],
    columns: Sequence[Any],
    params: Mapping[str, Any] | None,
    kinds: Mapping[Any, str] | None,
) -> memoryview | None:
    """A table as a stream; ``None`` where a column has no form that reaches the model as its JSON would.

    :param columns: pandas' Series, or columns of Arrow's.
    :param kinds: the types of the signature's columns, to which the worker casts; ``None``: there is no signature, and
        columns keep types that JSON would lose.
    """
    import pyarrow as pa

    arrays = []
    for name, column in zip(names, columns):
        array = _column(pa, column, None if kinds is None else kinds.get(name, ""))
        if array is None:
            return None
        arrays.append(array)
    try:
        said = json.dumps({"names": list(names), "params": None if params is None else dict(params)})
    except (TypeError, ValueError):
        return None
    fields = [pa.field(str(at), array.type) for at, array in enumerate(arrays)]
    table = pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata={_KEY: said.encode()}))
    # A buffer that grew would be copied as it does, which takes longer than all the rest; this one only counts.
    counted = pa.MockOutputStream()
    _write(pa, counted, table)
    buffer = pa.allocate_buffer(counted.size())
    _write(pa, pa.FixedSizeBufferWriter(buffer), table)
    return memoryview(buffer)


def _write(pa: Any, sink: Any, table: Any) -> None:
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def _column(pa: Any, column: Any, kind: str | None) -> Any:
    try:
        array = _array(pa, column)
        return None if array is None else _exact(pa, array, kind)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):  # what it holds is of several types, or too large
        return None


def _array(pa: Any, column: Any) -> Any:
    """A column as Arrow has it; ``None`` where Arrow's guess at it might not be ours."""
    if isinstance(column, (pa.Array, pa.ChunkedArray)):
        return column
    if column.dtype == object:
        from pandas.api.types import infer_dtype

        if infer_dtype(column, skipna=True) not in _INFERRED:
            return None
    # NaN stays a number where it is one: what is missing is NaN there in any case.
    return pa.array(column, from_pandas=getattr(column.dtype, "kind", "O") != "f")


def _exact(pa: Any, array: Any, kind: str | None) -> Any:
    """A column in the type that JSON would have given it in the worker, or the signature's own; ``None`` for no such."""
    if getattr(pa.types, "is_string_view", lambda _: False)(array.type):
        array = array.cast(pa.large_string())
    for names, exact in _FORMS:
        if any(getattr(pa.types, name)(array.type) for name in names):
            return exact(pa, array, kind)
    return None


def _texts(pa: Any, array: Any, kind: str | None) -> Any:  # noqa: ARG001 - any kind is cast from text
    return array.cast(pa.null()) if array.null_count == len(array) else array


def _finer(pa: Any, array: Any, kind: str | None) -> Any:  # noqa: ARG001
    """What JSON would make text of."""
    return array if kind is None else None


def _whole(pa: Any, array: Any, kind: str | None) -> Any:
    if array.null_count:
        return None
    if kind is None or pa.types.is_boolean(array.type) or _DTYPES.get(kind) == str(array.type):
        return array
    return array.cast(pa.int64())


def _floats(pa: Any, array: Any, kind: str | None) -> Any:
    if pa.types.is_float16(array.type):
        return None
    missing = array.null_count or pa.compute.sum(pa.compute.is_nan(array)).as_py()
    if missing == len(array) and kind not in _DTYPES:  # of which JSON says nothing but that all are missing
        return pa.nulls(len(array))
    if kind is None or kind == "float":
        return array
    return array.cast(pa.float64())


def _moments(pa: Any, array: Any, kind: str | None) -> Any:
    if kind not in (None, "datetime") or (kind == "datetime" and array.type.tz is not None):
        return None
    array.cast(pa.timestamp("ns", array.type.tz))  # pandas before 2 has nothing else
    return array


def _categories(pa: Any, array: Any, kind: str | None) -> Any:
    if not pa.types.is_string(array.type.value_type) and not pa.types.is_large_string(array.type.value_type):
        return None
    if kind is None:
        return array
    return _exact(pa, pa.compute.cast(array, array.type.value_type), kind)


_FORMS: Final = (
    (("is_dictionary",), _categories),
    (("is_integer", "is_boolean"), _whole),
    (("is_floating",), _floats),
    (("is_null",), lambda pa, array, kind: array),
    (("is_string", "is_large_string"), _texts),
    (("is_timestamp",), _moments),
    (("is_duration", "is_date32", "is_decimal"), _finer),
)


def objects_of(payload: bytes) -> Any:
    """An answer's stream as what its JSON would have been: lists, and dicts for rows.

    :raises ProtocolError: it is no such stream.
    """
    import pyarrow as pa

    try:
        table = pa.ipc.open_stream(pa.py_buffer(payload)).read_all()
        table.validate(full=True)  # what the offsets of a broken stream point at is not ours
        said = json.loads((table.schema.metadata or {})[_KEY])
        columns = [_listed(pa, column) for column in table.columns]
        if said["form"] == "records":
            names = table.schema.names
            return [dict(zip(names, row)) for row in zip(*columns)]
        return _shaped(columns[0], said["shape"])
    except (pa.ArrowException, ValueError, KeyError, TypeError, IndexError, OSError) as error:
        raise ProtocolError(f"the answer is not the Arrow stream that it should be: {type(error).__name__}") from None


def _listed(pa: Any, column: Any) -> list[Any]:
    kind = column.type
    if not (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_string(kind)
    ):
        raise TypeError(str(kind))
    if not column.null_count:
        return list(column.to_numpy().tolist())
    if not pa.types.is_floating(kind):
        return list(column.to_pylist())
    values = column.to_numpy()
    made = values.astype(object)
    made[values != values] = None  # noqa: PLR0124 - NaN, which is what is null
    return list(made.tolist())


def _shaped(values: list[Any], shape: Sequence[int]) -> list[Any]:
    """A flat list as nested lists."""
    if not all(type(length) is int and length >= 0 for length in shape) or math.prod(shape) != len(values):
        raise ValueError("the shape is not that of the values")
    for length in reversed(shape[1:]):
        values = [values[at : at + length] for at in range(0, len(values), length)]
    return values
