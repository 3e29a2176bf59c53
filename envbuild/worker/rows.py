"""Rows: what ``predict`` gave back as lines of text, one for each row of the input: JSON Lines, or CSV with a header.

A DataFrame, a 2-D array, a mapping of columns and a list of records give their columns; everything else that has as
many values as the input has rows is one column, ``prediction``. The values are those of JSON.
"""

# By name and at once: a model may put something else in the modules' place.
import re
import sys
from json import dumps
from json.encoder import encode_basestring

from .casting import InputInvalid
from .encoding import Encoder, OutputInvalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable

ONLY = "prediction"
QUOTED = re.compile(r'[",\r\n]')
WORDS = {True: "true", False: "false", None: "null"}


def json_lines(predictions: "Any", encoder: Encoder, rows: "int | None", kept: "dict[str, Any] | None" = None) -> bytes:
    """An object a row.

    :raises OutputInvalid: it has not one value for each row, or one that JSON cannot hold.
    """
    table = _table(predictions, encoder, rows, kept)
    if not table:
        return b"{}\n" * (rows or 0)
    keys = (encode_basestring(name).replace("%", "%%") for name in table)
    line = "{" + ", ".join(f"{key}: %s" for key in keys) + "}"
    return _encoded(map(line.__mod__, zip(*map(_json, table.values()))))


def csv(predictions: "Any", encoder: Encoder, rows: "int | None", kept: "dict[str, Any] | None" = None) -> bytes:
    """A header line, and a record a row; what is nested is JSON, what is missing an empty field.

    :raises OutputInvalid: as :func:`json_lines`.
    """
    table = _table(predictions, encoder, rows, kept)
    if not table:
        raise OutputInvalid("have no columns, which no CSV can have")
    # The only field of a line is never empty: a blank line is no record.
    missing = "" if len(table) > 1 else '""'
    columns = [_fields(values, missing) for values in table.values()]
    lines = columns[0] if len(columns) == 1 else map(",".join, zip(*columns))
    return _encoded([",".join(_fields(list(table), '""'))]) + _encoded(lines)


def kept(data: "Any", names: "list[str]") -> "dict[str, Any]":
    """Columns of the input that are to stand before the answer; taken before the model, which may change them.

    :raises InputInvalid: the input has no such column, or more than one.
    """
    for name in names:
        count = list(data.columns if hasattr(data, "columns") else data if isinstance(data, dict) else ()).count(name)
        if count != 1:
            raise InputInvalid("the input has {} column {!r} to keep".format("more than one" if count else "no", name))
    if hasattr(data, "columns"):
        return {name: data[name].copy() for name in names}
    return {name: list(data[name]) for name in names}


def _table(
    predictions: "Any", encoder: Encoder, rows: "int | None", kept: "dict[str, Any] | None"
) -> "dict[str, list[Any]]":
    """The columns by their names, each of one value a row."""
    answered = _columns(predictions, encoder)
    table = {} if kept is None else {name: _listed(column, encoder) for name, column in kept.items()}
    for name, values in answered.items():
        if rows is not None and len(values) != rows:
            raise OutputInvalid(f"have {len(values)} values, and the input has {rows} rows")
        if name in table:
            raise OutputInvalid(f"have a column {name!r}, which is kept of the input as well")
        table[name] = values
    if len({len(values) for values in table.values()}) > 1:
        raise OutputInvalid("have columns of different lengths")
    return table


def _columns(predictions: "Any", encoder: Encoder) -> "dict[str, list[Any]]":
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(predictions, numpy.ndarray) and predictions.ndim == 2:
        # Not of a matrix: its columns are matrices again.
        plain = predictions if hasattr(predictions, "mask") else numpy.asarray(predictions)
        return {str(at): encoder.array(plain[:, at]) for at in range(plain.shape[1])}
    if hasattr(predictions, "iloc") and hasattr(predictions, "columns"):
        return _of_frame(predictions, encoder)
    encoded = _encode(predictions, encoder)
    if isinstance(encoded, dict):
        return {name: _list_of(values, name) for name, values in encoded.items()}
    values = _list_of(encoded, "")
    if values and all(isinstance(value, dict) for value in values):
        names = list(dict.fromkeys(name for record in values for name in record))
        return {name: [record.get(name) for record in values] for name in names}
    return {ONLY: values}


def _of_frame(frame: "Any", encoder: Encoder) -> "dict[str, list[Any]]":
    names = [encoder.key(name) for name in frame.columns]
    if len(set(names)) < len(names):
        raise OutputInvalid("has more than one column of the same name")
    columns = {}
    for position, name in enumerate(names):
        try:
            columns[name] = _listed(frame.iloc[:, position], encoder)
        except OutputInvalid as error:
            raise error.within(name) from None
    return columns


def _listed(column: "Any", encoder: Encoder) -> "list[Any]":
    return list(encoder.column(column)) if hasattr(column, "dtype") else list(encoder.encode(column))


def _list_of(values: "Any", name: str) -> "list[Any]":
    if isinstance(values, (list, tuple)):
        return list(values)
    of = f" of {name!r}" if name else ""
    raise OutputInvalid(f"are no list{of}, so they have not one value for each row")


def _encode(predictions: "Any", encoder: Encoder) -> "Any":
    try:
        return encoder.encode(predictions)
    except RecursionError:
        raise OutputInvalid("are nested too deeply, or hold themselves") from None


def _json(values: "list[Any]") -> "list[str]":
    kinds = set(map(type, values))
    if kinds <= {int} or kinds <= {float}:
        return list(map(repr, values))
    if kinds <= {str}:
        return list(map(encode_basestring, values))
    return [_json_text(value) for value in values]


def _json_text(value: "Any") -> str:
    if value is None or value is True or value is False:
        return WORDS[value]
    return dumps(value, ensure_ascii=False, allow_nan=False)


def _fields(values: "list[Any]", missing: str) -> "list[str]":
    kinds = set(map(type, values))
    if kinds <= {int} or kinds <= {float}:
        return list(map(repr, values))
    return [_field(value, missing) for value in values]


def _field(value: "Any", missing: str) -> str:
    if value is None:
        return missing
    text = value if isinstance(value, str) else _json_text(value)
    if text and QUOTED.search(text) is None:
        return text
    return '"{}"'.format(text.replace('"', '""'))


def _encoded(lines: "Iterable[str]") -> bytes:
    text = "\n".join(lines)
    # Half a surrogate pair becomes the escape that JSON has for it.
    return (text + "\n").encode("utf-8", "backslashreplace") if text else b""
