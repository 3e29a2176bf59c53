"""Tables: from records, rows, CSV, Parquet and Arrow to what ``predict`` takes.

That is a DataFrame where the environment has pandas. Where it has not, see :mod:`.columns`.
"""

import importlib
import io

from . import exact
from .casting import InputInvalid, Schema, module, require
from .loading import Mismatch
from .misfits import first_line
from .parsing import text_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def of_records(records: "list[dict[str, Any]]", schema: Schema) -> "Any":
    """A table of a list of objects; what an object lacks is missing in its row.

    :raises InputInvalid: it is no table.
    :raises Mismatch: it does not fit the signature.
    """
    # In the order of their first appearance; pandas before 0.25 would sort them.
    names = list(dict.fromkeys(name for record in records for name in record))
    pandas = module("pandas")
    if pandas is None:
        from . import columns

        return columns.of_lists({name: [record.get(name) for record in records] for name in names}, schema)
    if set(map(len, records)) == {len(names)}:  # none lacks anything
        made = exact.table(pandas, names, [[record[name] for record in records] for name in names], None, schema)
        if made is not None:
            return made
    return _cast(_frame(pandas, "dataframe_records", data=records, columns=names or None), schema)


def of_split(data: "Any", names: "Any", index: "Any", schema: Schema) -> "Any":
    """A table of rows, with names and an index where there are any.

    :raises InputInvalid: it is no table.
    :raises Mismatch: it does not fit the signature.
    """
    pandas = module("pandas")
    if pandas is None:
        from . import columns

        return columns.of_rows(data, names, schema)
    if isinstance(data, list) and isinstance(names, list) and set(map(type, data)) == {list}:
        made = exact.table(pandas, names, list(zip(*data)), index, schema) if _are_even(data, names) else None
        if made is not None:
            return made
    check_rows(data, names, index)
    return _cast(_frame(pandas, "dataframe_split", data=data, columns=names, index=index), schema)


def of_csv(payload: bytes, schema: Schema) -> "Any":
    """A table with a header line; what the signature calls a string is kept as it is written.

    :raises InputInvalid: it cannot be read.
    :raises Mismatch: it does not fit the signature.
    """
    text = text_of(payload, "the CSV")
    pandas = module("pandas")
    if pandas is None:
        from . import columns

        return columns.of_csv(text, schema)
    texts = dict.fromkeys(schema.text_columns, object)
    try:
        frame = pandas.read_csv(io.StringIO(text), dtype=texts, **_as_today(pandas))
    except Exception as error:  # pandas raises many kinds, all of them about the input
        raise InputInvalid(f"the CSV cannot be read: {first_line(error)}") from None
    return _cast(frame, schema)


def of_parquet(payload: bytes, schema: Schema) -> "Any":
    """A Parquet file, whose columns have their types already.

    :raises InputInvalid: it cannot be read.
    """
    pandas = require("pandas", "Parquet")
    try:
        return pandas.read_parquet(io.BytesIO(payload))
    except ImportError as error:
        raise InputInvalid(f"the model's environment cannot read Parquet: {first_line(error)}") from None
    except Exception as error:  # as above
        raise InputInvalid(f"the Parquet file cannot be read: {first_line(error)}") from None


def of_arrow(payload: bytes, schema: Schema) -> "Any":
    """A file or a stream of Arrow IPC, told by its first bytes; a feather file of version 2 is the former.

    :raises InputInvalid: it cannot be read.
    """
    require("pandas", "Arrow IPC")
    pyarrow = require("pyarrow", "Arrow IPC")
    ipc = importlib.import_module("pyarrow.ipc")
    opened = ipc.open_file if payload.startswith(b"ARROW1") else ipc.open_stream
    try:
        table = opened(pyarrow.py_buffer(payload)).read_all()
        _check(table)
        return table.to_pandas()
    except Exception as error:  # as above
        raise InputInvalid(f"the Arrow IPC data cannot be read: {first_line(error)}") from None


def _check(table: "Any") -> None:
    """What the offsets of a broken file point at is anybody's memory."""
    try:
        table.validate(full=True)
    except (TypeError, AttributeError):  # releases of before 2020 do not look so closely
        return


def of_handed(payload: bytes, schema: Schema) -> "Any":
    """A table that the host has parsed, as :func:`of_parquet` or :func:`of_arrow` would have given it.

    :raises InputInvalid: it cannot be restored here.
    """
    from . import handed

    pandas = module("pandas")
    return handed.mapping(payload) if pandas is None else handed.frame(pandas, payload)


def of_columns(described: "dict[str, Any]", schema: Schema) -> "Any":
    """A table of the host's, whose columns it wrote one by one; it means what ``dataframe_split`` would.

    :raises InputInvalid: it is no table.
    :raises Mismatch: it does not fit the signature.
    """
    names, columns, pandas = described["names"], described["columns"], module("pandas")
    made = None if pandas is None else exact.table(pandas, names, columns, None, schema)
    if made is not None:
        return made
    rows = list(map(list, zip(*columns))) if columns else [[] for _ in range(described["rows"])]
    return of_split(rows, names, None, schema)


def of_frame(payload: bytes, schema: Schema) -> "tuple[Any, Any]":
    """A table of the host's as an Arrow stream, and the params beside it; it means what :func:`of_columns` would.

    :raises InputInvalid: it cannot be read.
    :raises Mismatch: it does not fit the signature.
    """
    from . import arrow

    try:
        frame, params = arrow.frame_of(payload)
    except Exception as error:  # as above
        raise InputInvalid(f"the table cannot be read from Arrow: {first_line(error)}") from None
    return _cast(frame, schema), params


def _are_even(rows: "list[Any]", names: "list[Any]") -> bool:
    return set(map(len, rows)) == {len(names)}


def check_rows(data: "Any", names: "Any", index: "Any" = None) -> None:
    """Look for what is no row of these columns, and for what cannot be a column's name.

    :raises InputInvalid: there is one.
    """
    what = "dataframe_split is not a table:"
    rows = data if isinstance(data, list) else []
    if rows and isinstance(index, list) and len(index) != len(rows):
        raise InputInvalid(f"{what} data has {len(rows)} rows, and index {len(index)} entries")
    if not isinstance(names, list) or any(isinstance(name, list) for name in names):
        return  # names in levels, or none at all
    for at, name in enumerate(names):
        if isinstance(name, dict):
            raise InputInvalid(f"{what} columns[{at}] is an object, and must be a name")
    for number, row in enumerate(rows):
        if isinstance(row, list) and len(row) > len(names):
            raise InputInvalid(f"{what} row {number} has {len(row)} values, and there are {len(names)} columns")


def _as_today(pandas: "Any") -> "dict[str, Any]":
    """How a CSV is read since pandas 2.0 (``None`` is a missing value) and 3.1 (floats are exact)."""
    major, minor = (int(part) for part in pandas.__version__.split(".")[:2])
    known = {"na_values": ["<NA>", "None"]} if major < 2 else {}  # type: dict[str, Any]
    return dict(known, float_precision="round_trip") if (major, minor) < (3, 1) else known


def _frame(pandas: "Any", form: str, **parts: "Any") -> "Any":
    try:
        return pandas.DataFrame(**parts)
    except Exception as error:  # as above
        raise InputInvalid(f"{form} is not a table: {first_line(error)}") from None


def _cast(frame: "Any", schema: Schema) -> "Any":
    if not frame.columns.is_unique:
        names = list(frame.columns)
        for name in schema.named:
            if names.count(name) > 1:
                raise Mismatch(f"column {name!r} is once in the signature, and {names.count(name)} times in the input")
    return schema.cast_frame(frame)
