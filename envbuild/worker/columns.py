"""Columns: tables for a model whose environment has no pandas.

They become ``{name: values}``: arrays where the environment has numpy, lists where it lacks that too.
"""

import base64
import binascii
import csv
import io
import re
import sys

from .casting import InputInvalid, Schema, Spec, module
from .loading import Mismatch
from .tables import check_rows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

# What pandas takes for a missing value in a CSV.
MISSING = frozenset(
    (
        "",
        "#N/A",
        "#N/A N/A",
        "#NA",
        "-1.#IND",
        "-1.#QNAN",
        "-NaN",
        "-nan",
        "1.#IND",
        "1.#QNAN",
        "<NA>",
        "N/A",
        "NA",
        "NULL",
        "NaN",
        "None",
        "n/a",
        "nan",
        "null",
    )
)
INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*")
NUMBER = re.compile(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*|[+-]?inf(inity)?", re.IGNORECASE)
BOOLEANS = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}


def of_lists(columns: "dict[str, list[Any]]", schema: Schema) -> "dict[str, Any]":
    """A table of one list a column, cast to the signature.

    :raises Mismatch: a column does not fit it.
    """
    return {name: _column(name, values, schema.named.get(name)) for name, values in columns.items()}


def of_rows(data: "Any", names: "Any", schema: Schema) -> "Any":
    """A table of rows; without names for the columns one array, or the rows themselves.

    :raises InputInvalid: the rows are no table.
    :raises Mismatch: it does not fit the signature.
    """
    if not isinstance(data, list) or not all(isinstance(row, list) for row in data):
        raise InputInvalid("dataframe_split is not a table: data must be a list of lists")
    if names is None:
        return schema.cast_inputs(data)
    check_rows(data, names)
    if not isinstance(names, list) or any(isinstance(name, list) for name in names):
        raise InputInvalid("dataframe_split is not a table: columns must be a list of names")
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        raise InputInvalid("without pandas a table has no two columns of one name: " + ", ".join(twice))
    return of_lists(
        {name: [row[at] if at < len(row) else None for row in data] for at, name in enumerate(names)}, schema
    )


def of_csv(text: str, schema: Schema) -> "dict[str, Any]":
    """A CSV with a header line, whose columns have the types that pandas would see in them.

    :raises InputInvalid: it cannot be read.
    :raises Mismatch: it does not fit the signature.
    """
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        names = _distinct(next((row for row in reader if row), []))
        rows = []
        for row in reader:
            if len(row) > len(names):
                raise InputInvalid(
                    f"the CSV cannot be read: line {reader.line_num} has {len(row)} fields, and the header {len(names)}"
                )
            if row:
                rows.append(row + [""] * (len(names) - len(row)))
    except csv.Error as error:
        raise InputInvalid(f"the CSV cannot be read: line {reader.line_num}: {error}") from None
    if not names:
        raise InputInvalid("the CSV cannot be read: there is no header line")
    as_written = set(schema.text_columns)
    fields = {name: [None if row[at] in MISSING else row[at] for row in rows] for at, name in enumerate(names)}
    return of_lists(
        {
            name: texts if name in as_written or at in as_written else _guessed(texts)
            for at, (name, texts) in enumerate(fields.items())
        },
        schema,
    )


def objects(numpy: "Any", values: "list[Any]") -> "Any":
    """An array of Python objects, one a value, whatever they are."""
    array = numpy.empty(len(values), dtype=object)
    for position, value in enumerate(values):  # at once, numpy would look into lists
        array[position] = value
    return array


def _distinct(names: "list[str]") -> "list[str]":
    """Names of which none is there twice, in the way of pandas."""
    seen = {}  # type: dict[str, int]
    distinct = []
    for position, written in enumerate(names):
        name = written or f"Unnamed: {position}"
        seen[name] = seen.get(name, -1) + 1
        distinct.append(f"{name}.{seen[name]}" if seen[name] else name)
    return distinct


def _guessed(texts: "list[str | None]") -> "list[Any]":
    known = [text for text in texts if text is not None]
    if not known:
        return [float("nan")] * len(texts)
    if all(map(INTEGER.fullmatch, known)):
        return _each(texts, int)
    if all(map(NUMBER.fullmatch, known)):
        return _each(texts, float)
    if all(text in BOOLEANS for text in known):
        return _each(texts, BOOLEANS.__getitem__)
    return list(texts)


def _each(texts: "list[str | None]", made: "Callable[[str], Any]") -> "list[Any]":
    return [None if text is None else made(text) for text in texts]


def _column(name: "Any", values: "list[Any]", spec: "Spec | None") -> "Any":
    numpy = module("numpy")
    kind = "" if spec is None else spec.type
    if kind == "binary":
        values = [_decoded(name, value) for value in values]
    if numpy is None:
        return values
    if spec is None or kind in ("object", "map", "any"):
        return _natural(numpy, values)
    if kind in ("string", "binary"):
        return objects(numpy, values)
    if kind == "datetime":
        values = ["NaT" if value is None else value for value in values]
    return spec.cast_value(values)


def _natural(numpy: "Any", values: "list[Any]") -> "Any":
    """An array of what the values are; a number that is missing is NaN."""
    kinds = set(map(type, values))
    if kinds <= {bool} or kinds <= {int} or kinds <= {int, float}:
        return numpy.array(values)
    if kinds <= {int, float, type(None)} and kinds != {type(None)}:
        return numpy.array([float("nan") if value is None else value for value in values])
    return objects(numpy, values)


def _decoded(name: "Any", value: "Any") -> "Any":
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value)
    except (ValueError, binascii.Error) as error:
        raise Mismatch(f"column {name!r} is binary in the signature, and the input is not base64: {error}") from None
