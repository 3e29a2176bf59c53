"""Tables that the host handed over: what it parsed because this environment could not.

Each column comes with its type, in the shape of Arrow's own columns: nested ones as flat children and lengths. They
become what ``pyarrow.Table.to_pandas`` makes of them, without pyarrow.

==========  =====================================================================
type        beside it
==========  =====================================================================
a dtype     ``values``: numbers or booleans
text, null  ``values``
bytes       ``values`` in base64
decimal     ``values`` as text
date, time  ``values`` as days, or as microseconds of the day
timestamp   ``values`` as counts of ``unit`` since 1970; ``zone``
duration    ``values`` as counts of ``unit``
list        ``lengths``, ``items``: a column
map         ``lengths``, ``keys`` and ``items``: columns
struct      ``present``: booleans; ``names``; ``fields``: columns
dictionary  ``codes``, ``ordered``, ``categories``: a column
==========  =====================================================================

A value, length or code that is missing is null.
"""

import base64
import datetime as dt
import decimal
import json
import sys

from .casting import InputInvalid, module
from .columns import objects
from .misfits import first_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

DAY_ZERO = dt.date(1970, 1, 1)
ZERO = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
UNITS = {
    "s": dt.timedelta(seconds=1),
    "ms": dt.timedelta(milliseconds=1),
    "us": dt.timedelta(microseconds=1),
}


def frame(pandas: "Any", payload: bytes) -> "Any":
    """The table as a DataFrame.

    :raises InputInvalid: a column cannot be restored here.
    """
    table = json.loads(payload.decode("utf-8"))
    index = _index(pandas, table["index"], table["rows"])
    parts = [_series(pandas, column, index) for column in table["columns"]]
    if not parts:
        return pandas.DataFrame(index=index)
    made = pandas.concat(parts, axis=1)
    made.columns = _labels(pandas, [column["name"] for column in table["columns"]])
    return made


def mapping(payload: bytes) -> "dict[Any, Any]":
    """The table as one array a name, or one list where there is no numpy."""
    columns = json.loads(payload.decode("utf-8"))["columns"]
    names = [_hashable(column["name"]) for column in columns]
    if len(set(names)) < len(names):
        raise InputInvalid("without pandas a table has no two columns of one name")
    made = cells if module("numpy") is None else _plain_array
    return {name: made(column) for name, column in zip(names, columns)}


def _plain_array(column: "dict[str, Any]") -> "Any":
    # numpy has neither categories nor zones; a datetime has no nanoseconds, which count for more than the zone.
    zoned = column["type"] == "timestamp" and column["zone"] and column["unit"] != "ns"
    return objects(module("numpy"), cells(column)) if zoned or column["type"] == "dictionary" else array(column)


def _index(pandas: "Any", index: "Any", rows: int) -> "Any":
    if index is None:
        return pandas.RangeIndex(rows)
    if isinstance(index, dict):
        return pandas.RangeIndex(index["start"], index["stop"], index["step"], name=index["name"])
    levels = [_series(pandas, level, None) for level in index]
    names = [_hashable(level["name"]) for level in index]
    if len(levels) == 1:
        return pandas.Index(levels[0], name=names[0])
    return pandas.MultiIndex.from_arrays(levels, names=names)


def _labels(pandas: "Any", names: "list[Any]") -> "Any":
    if names and all(isinstance(name, list) for name in names):
        return pandas.MultiIndex.from_tuples([tuple(name) for name in names])
    return names


def _hashable(name: "Any") -> "Any":
    return tuple(name) if isinstance(name, list) else name


def _series(pandas: "Any", column: "dict[str, Any]", index: "Any") -> "Any":
    kind, name = column["type"], column["name"]
    try:
        if column.get("extension"):
            try:
                return pandas.Series(column["values"], dtype=column["extension"], index=index)
            except (TypeError, ValueError):  # this pandas does not know it yet
                pass
        if kind == "dictionary":
            return pandas.Series(_categorical(pandas, column), index=index)
        if kind == "timestamp" and column["zone"]:
            moments = pandas.Series(array(column), index=index)
            return moments.dt.tz_localize("UTC").dt.tz_convert(_zone(column["zone"]))
        if kind == "text" and int(pandas.__version__.partition(".")[0]) >= 3:
            return pandas.Series(column["values"], dtype="str", index=index)
        return pandas.Series(array(column), index=index)
    except (ValueError, OverflowError) as error:
        raise InputInvalid(
            f"column {name!r} is {kind} in the file, and cannot be that here: {first_line(error)}"
        ) from None


def _categorical(pandas: "Any", column: "dict[str, Any]") -> "Any":
    codes = [-1 if code is None else code for code in column["codes"]]
    categories = _series(pandas, dict(column["categories"], name=column["name"]), None)
    return pandas.Categorical.from_codes(codes, categories=pandas.Index(categories), ordered=column["ordered"])


def _zone(zone: str) -> "Any":
    if zone[:1] not in ("+", "-"):
        return zone
    minutes = int(zone[1:3]) * 60 + int(zone[-2:])
    return dt.timezone(dt.timedelta(minutes=-minutes if zone[0] == "-" else minutes))


def array(column: "dict[str, Any]") -> "Any":
    """A column as an array; it has Arrow's own rules for what is missing."""
    numpy, kind = module("numpy"), column["type"]
    if kind == "timestamp" and column.get("inside") and column["unit"] != "ns":
        return objects(numpy, cells(column))
    if kind in ("timestamp", "duration"):
        return _counts(numpy, column)
    if kind in _CELLS:
        return objects(numpy, cells(column))
    values = column["values"]
    if None not in values:
        return numpy.array(values, dtype=kind)
    if kind == "bool":
        return objects(numpy, values)
    dtype = kind if kind.startswith("float") else "float64"
    return numpy.array([float("nan") if value is None else value for value in values], dtype=dtype)


def _counts(numpy: "Any", column: "dict[str, Any]") -> "Any":
    never = -(2**63)  # NaT, in numpy's own counts
    values = numpy.array([never if value is None else value for value in column["values"]], dtype="int64")
    kind = "datetime64" if column["type"] == "timestamp" else "timedelta64"
    counts = values.view("{}[{}]".format(kind, column["unit"]))
    pandas = sys.modules.get("pandas")
    if pandas is None or int(pandas.__version__.partition(".")[0]) >= 2 or column["unit"] == "ns":
        return counts
    made = (pandas.to_datetime if kind == "datetime64" else pandas.to_timedelta)(counts)
    return made.values  # in nanoseconds, or refused for being out of their reach


def cells(column: "dict[str, Any]") -> "list[Any]":
    """A column as Python objects."""
    kind = column["type"]
    if kind in _CELLS:
        return _CELLS[kind](column)
    values = column["values"]
    if kind.startswith(("int", "uint")) and None in values:
        return [None if value is None else float(value) for value in values]
    return list(values)


def _each(made: "Callable[[Any], Any]") -> "Callable[[dict[str, Any]], list[Any]]":
    return lambda column: [None if value is None else made(value) for value in column["values"]]


def _moments(column: "dict[str, Any]") -> "list[Any]":
    if column["unit"] == "ns":
        return list(column["values"])  # so does pyarrow: a datetime could not hold them
    zone = _timezone(column["zone"]) if column["zone"] else None
    made = []
    for value in column["values"]:
        moment = None if value is None else ZERO + value * UNITS[column["unit"]]
        if moment is not None:
            moment = moment.replace(tzinfo=None) if zone is None else moment.astimezone(zone)
        made.append(moment)
    return made


def _timezone(zone: str) -> "Any":
    if zone[:1] in ("+", "-"):
        return _zone(zone)
    try:
        import zoneinfo
    except ImportError:
        pytz = module("pytz")
        return dt.timezone.utc if pytz is None else pytz.timezone(zone)
    return zoneinfo.ZoneInfo(zone)


def _durations(column: "dict[str, Any]") -> "list[Any]":
    if column["unit"] == "ns":
        return list(column["values"])  # as above
    return _each(lambda value: value * UNITS[column["unit"]])(column)


def _lists(column: "dict[str, Any]") -> "list[Any]":
    items = dict(column["items"], inside=column.get("inside"))
    return _sliced(cells(items) if module("numpy") is None else array(items), column["lengths"])


def _maps(column: "dict[str, Any]") -> "list[Any]":
    return _sliced(list(zip(_inside(column["keys"]), _inside(column["items"]))), column["lengths"])


def _sliced(items: "Any", lengths: "list[int | None]") -> "list[Any]":
    made, start = [], 0
    for length in lengths:
        made.append(None if length is None else items[start : start + length])
        start += length or 0
    return made


def _structs(column: "dict[str, Any]") -> "list[Any]":
    names, fields = column["names"], [_inside(field) for field in column["fields"]]
    rows = zip(*fields) if fields else [()] * len(column["present"])
    return [dict(zip(names, row)) if present else None for present, row in zip(column["present"], rows)]


def _inside(column: "dict[str, Any]") -> "list[Any]":
    """The cells of a part of a struct or a map, within which lists of moments are no arrays of moments."""
    return cells(dict(column, inside=True))


def _members(column: "dict[str, Any]") -> "list[Any]":
    categories = cells(column["categories"])
    return [None if code is None else categories[code] for code in column["codes"]]


def _time(microseconds: int) -> dt.time:
    return (ZERO + dt.timedelta(microseconds=microseconds)).time()


_CELLS = {
    "null": lambda column: list(column["values"]),
    "text": lambda column: list(column["values"]),
    "bytes": _each(base64.b64decode),
    "decimal": _each(decimal.Decimal),
    "date": _each(lambda days: DAY_ZERO + dt.timedelta(days=days)),
    "time": _each(_time),
    "timestamp": _moments,
    "duration": _durations,
    "list": _lists,
    "map": _maps,
    "struct": _structs,
    "dictionary": _members,
}  # type: dict[str, Callable[[dict[str, Any]], list[Any]]]
