"""Tables: files of a table that the model's environment cannot parse, parsed here and handed over as JSON.

What the JSON looks like stands in ``envbuild/worker/handed.py``, which makes of it what ``pyarrow.Table.to_pandas``
would have made. Needs pyarrow, which is the extra ``envbuild[arrow]``.
"""

from __future__ import annotations

import ast
import base64
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import pairwise
from typing import Any, Final

from envbuild.errors import InputError
from envbuild.request import ARROW_FILE, ARROW_STREAM, PARQUET, decompressed, kind_of

HANDED: Final = "application/vnd.envbuild.table+json"
TABLE_TYPES: Final = (PARQUET, ARROW_FILE, ARROW_STREAM)
_EXTRA: Final = "pip install 'envbuild[arrow]', and it is read outside the environment"
# What pandas writes about a column that it held in a nullable type of its own.
_EXTENSIONS: Final = frozenset(
    (*(f"{sign}Int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)), "boolean", "string", "Float32", "Float64")
)


def is_table(content_type: str) -> bool:
    """Whether it is a table that this end could parse."""
    return kind_of(content_type) in TABLE_TYPES


def as_json(payload: bytes, content_type: str, encoding: str | None) -> tuple[bytes, str, str | None]:
    """A table's payload, content type and encoding in a form that every worker reads.

    :raises InputError: it cannot be parsed, or not without the extra.
    """
    kind = kind_of(content_type)
    table = _parsed(decompressed(payload, encoding), kind)
    return json.dumps(_described(table)).encode(), HANDED, None


def _parsed(payload: bytes, kind: str) -> Any:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError(f"the model's environment cannot read {kind}", hint=_EXTRA) from None
    what = "Parquet file" if kind == PARQUET else "Arrow IPC data"
    buffer = pa.py_buffer(payload)
    try:
        if kind == PARQUET:
            return pq.ParquetFile(pa.BufferReader(buffer)).read()
        opened = pa.ipc.open_file if payload.startswith(b"ARROW1") else pa.ipc.open_stream
        table = opened(buffer).read_all()
        table.validate(full=True)  # what the offsets of a broken file point at is not ours
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"the {what} cannot be read: {_first_line(error)}") from None
    return table


def _described(table: Any) -> dict[str, Any]:
    said = _pandas_metadata(table)
    indexes = said.get("index_columns") or []
    fields = [index for index in indexes if isinstance(index, str) and index in table.column_names]
    ranges = [index for index in indexes if isinstance(index, dict) and index.get("kind") == "range"]
    levels = [_column(table, table.column_names.index(field), said) for field in fields]
    positions = [at for at, name in enumerate(table.column_names) if name not in fields]
    return {
        "rows": table.num_rows,
        "columns": [_column(table, at, said) for at in positions],
        "index": levels or (ranges[0] if len(ranges) == len(indexes) == 1 else None),
    }


def _pandas_metadata(table: Any) -> Mapping[str, Any]:
    """What pandas wrote into a file about its frame."""
    with suppress(ValueError, TypeError):
        said = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}"))
        if isinstance(said, dict):
            return said
    return {}


def _column(table: Any, position: int, said: Mapping[str, Any]) -> dict[str, Any]:
    field = table.schema.field(position)
    facts: Mapping[str, Any] = next(
        (c for c in said.get("columns") or [] if c.get("field_name", c.get("name")) == field.name), {}
    )
    try:
        described = _values(_whole(table.column(position)))
    except _NoForm as error:
        raise InputError(
            f"column {field.name!r} has the type {error}, which cannot be handed to the model",
            hint="leave the column out, or write it in another type",
        ) from None
    extension = facts.get("numpy_type") if facts.get("numpy_type") in _EXTENSIONS else None
    indexed = field.name in (said.get("index_columns") or [])
    name = facts.get("name") if indexed else _label(field.name, said.get("column_indexes") or [])
    return {"name": name, **described, **({"extension": extension} if extension and "values" in described else {})}


def _label(name: str, levels: list[dict[str, Any]]) -> Any:
    """A column's name as pandas had it: Arrow's names are text."""
    kinds = [str(level.get("pandas_type")) for level in levels]
    with suppress(ValueError, SyntaxError):
        if len(levels) > 1:
            return list(ast.literal_eval(name))
        if kinds and kinds[0].startswith(("int", "uint")):
            return int(name)
        if kinds and kinds[0].startswith("float"):
            return float(name)
    return name


class _NoForm(Exception):
    """A type of Arrow's that no worker can restore."""


def _whole(chunked: Any) -> Any:
    import pyarrow as pa

    chunks = chunked.chunks
    return pa.concat_arrays(chunks) if chunks else pa.array([], type=chunked.type)


def _values(array: Any) -> dict[str, Any]:
    """An array of Arrow's as a column of ours."""
    from pyarrow import types

    kind = array.type
    for matches, described in _forms(types):
        if matches(kind):
            return described(array)
    raise _NoForm(str(kind))


def _forms(types: Any) -> list[tuple[Callable[[Any], bool], Callable[[Any], dict[str, Any]]]]:
    def has(*names: str) -> Callable[[Any], bool]:
        tests = [getattr(types, name) for name in names if hasattr(types, name)]
        return lambda kind: any(test(kind) for test in tests)

    return [
        (has("is_null", "is_boolean", "is_integer"), _as_they_are),
        (has("is_floating"), _floats),
        (has("is_string", "is_large_string", "is_string_view"), lambda a: {"type": "text", "values": a.to_pylist()}),
        (has("is_binary", "is_large_binary", "is_fixed_size_binary", "is_binary_view"), _bytes),
        (has("is_decimal"), lambda a: {"type": "decimal", "values": _texts(a)}),
        (has("is_date"), lambda a: {"type": "date", "values": _integers(a, "date32", "int32")}),
        (has("is_time"), _times),
        (has("is_timestamp"), lambda a: {"type": "timestamp", **_counted(a), "zone": a.type.tz}),
        (has("is_duration"), lambda a: {"type": "duration", **_counted(a)}),
        (has("is_map"), _map),
        (has("is_list", "is_large_list", "is_fixed_size_list"), _list),
        (has("is_struct"), _struct),
        (has("is_dictionary"), _dictionary),
    ]


def _as_they_are(array: Any) -> dict[str, Any]:
    return {"type": str(array.type), "values": array.to_pylist()}


def _floats(array: Any) -> dict[str, Any]:
    import pyarrow as pa

    bits = array.type.bit_width
    return {"type": f"float{bits}", "values": (array.cast(pa.float32()) if bits == 16 else array).to_pylist()}


def _bytes(array: Any) -> dict[str, Any]:
    values = [None if value is None else base64.b64encode(value).decode() for value in array.to_pylist()]
    return {"type": "bytes", "values": values}


def _texts(array: Any) -> list[str | None]:
    return [None if value is None else str(value) for value in array.to_pylist()]


def _integers(array: Any, *kinds: str) -> Any:
    import pyarrow as pa

    for kind in kinds:
        array = array.cast(pa.type_for_alias(kind))
    return array.to_pylist()


def _times(array: Any) -> dict[str, Any]:
    import pyarrow as pa

    try:
        return {"type": "time", "values": _integers(array, "time64[us]", "int64")}
    except pa.ArrowInvalid:  # finer than Python's own times
        raise _NoForm(f"{array.type} with nanoseconds") from None


def _counted(array: Any) -> dict[str, Any]:
    return {"unit": array.type.unit, "values": _integers(array, "int64")}


def _list(array: Any) -> dict[str, Any]:
    lengths = array.value_lengths().to_pylist()
    return {"type": "list", "lengths": lengths, "items": _values(array.flatten())}


def _map(array: Any) -> dict[str, Any]:
    import pyarrow as pa

    pairs = pa.StructArray.from_arrays([array.keys, array.items], ["key", "item"])
    lists = pa.ListArray.from_arrays(array.offsets, pairs, mask=array.is_null() if array.offset == 0 else None)
    lengths = [None if null else length for null, length in zip(array.is_null().to_pylist(), _lengths(array))]
    keys, items = lists.flatten().flatten()
    return {"type": "map", "lengths": lengths, "keys": _values(keys), "items": _values(items)}


def _lengths(array: Any) -> list[int]:
    offsets = array.offsets.to_pylist()
    return [end - start for start, end in pairwise(offsets)]


def _struct(array: Any) -> dict[str, Any]:
    names = [array.type.field(at).name for at in range(array.type.num_fields)]
    if len(set(names)) < len(names):
        raise _NoForm(f"{array.type} with two fields of one name")
    present = array.is_valid().to_pylist()
    return {
        "type": "struct",
        "present": present,
        "names": names,
        "fields": [_values(array.field(at)) for at in range(len(names))],
    }


def _dictionary(array: Any) -> dict[str, Any]:
    codes = array.indices.to_pylist()
    categories = _values(array.dictionary)
    return {"type": "dictionary", "codes": codes, "ordered": array.type.ordered, "categories": categories}


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
