"""Exact: columns whose values have the types of the signature already, made a table at once.

What a general way costs is looking at each value more than once: pandas guesses a type, the cast makes another, and what
came of it is compared. Where all values of a column are of the one type that the signature means, nothing can be lost
and nothing has to be guessed. A table with a column that is not so is made in the general way, whole; the two ways make
the same table.
"""

import weakref

from .casting import require

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .casting import Schema

NOTHING = type(None)
# By a signature's type: the dtype, and which types of Python's the values may have.
EXACT = {
    "long": ("int64", {int}),
    "integer": ("int32", {int}),
    "double": ("float64", {float, NOTHING}),
    "float": ("float32", {float, NOTHING}),
    "boolean": ("bool", {bool}),
    "string": ("object", {str, NOTHING}),
}  # type: dict[str, tuple[str, set[type]]]
# Of a column that the signature does not have, by the type of its values.
GUESSED = {int: "long", float: "double", bool: "boolean", str: "string"}


def table(pandas: "Any", names: "Any", columns: "list[Any]", index: "Any", schema: "Schema") -> "Any":
    """A table of one sequence a column, cast to the signature; ``None`` where the general way has to make it.

    :param names: of the columns; only texts and integers are looked at here.
    :param index: of the rows, or ``None``.
    """
    if not _are_plain(names) or (schema.specs and not schema.named) or len(set(names)) < len(names):
        return None
    rows = len(columns[0]) if columns else 0
    if not rows or len(columns) != len(names):
        return None
    if index is not None and not (_are_plain(index) and len(index) == rows):
        return None
    numpy, arrays = require("numpy", "a table"), []
    for name, values in zip(names, columns):
        spec = schema.named.get(name)
        array = _array(pandas, numpy, values, None if spec is None else spec.type)
        if array is None:
            return None
        arrays.append(array)
    made = _assembled(pandas, names, arrays, rows, index)
    if names == list(schema.named) and len(names) == len(schema.specs):
        schema.exact = weakref.ref(made)
    return made


def _are_plain(names: "Any") -> bool:
    return isinstance(names, list) and set(map(type, names)) in ({str}, {int})


def _array(pandas: "Any", numpy: "Any", values: "Any", wanted: "str | None") -> "Any":
    """The values in the dtype of a signature's type, ``None`` where that takes more than that."""
    kinds = set(map(type, values))
    if wanted is None:
        wanted = GUESSED.get(next(iter(kinds)), "") if len(kinds) == 1 else ""
    if wanted not in EXACT:
        return None
    dtype, exact = EXACT[wanted]
    if not kinds <= exact or kinds == {NOTHING}:
        return None
    try:
        return _texts(pandas, numpy, values) if dtype == "object" else _numbers(numpy, values, dtype)
    except (TypeError, ValueError, OverflowError):  # what is wrong with them, the general way finds out and says
        return None


def _numbers(numpy: "Any", values: "Any", dtype: str) -> "Any":
    if dtype != "int32":
        # A float32 by way of the float64 that JSON has.
        array = numpy.array(values, dtype="float64" if dtype == "float32" else dtype)
        return array.astype(dtype) if dtype == "float32" else array
    array = numpy.array(values, dtype="int64")
    limits = numpy.iinfo("int32")
    return array.astype("int32") if limits.min <= array.min() and array.max() <= limits.max else None


def _texts(pandas: "Any", numpy: "Any", values: "Any") -> "Any":
    if int(pandas.__version__.partition(".")[0]) >= 3:
        return pandas.array(values, dtype="str")  # text has a dtype of its own there
    array = numpy.empty(len(values), dtype=object)
    array[:] = values
    return array


def _assembled(pandas: "Any", names: "list[Any]", arrays: "list[Any]", rows: int, index: "Any") -> "Any":
    frame, labels = pandas.DataFrame, pandas.RangeIndex(rows) if index is None else pandas.Index(index)
    # What the constructor does beyond this takes five times as long; not every release has it.
    try:
        return frame._from_arrays(arrays, columns=_labels(pandas, names), index=labels, verify_integrity=False)
    except (AttributeError, TypeError):
        return frame(dict(zip(names, arrays)), index=labels, columns=names)


_KNOWN = {}  # type: dict[tuple[Any, ...], Any]


def _labels(pandas: "Any", names: "list[Any]") -> "Any":
    """The names as pandas has them: a view of its own for each table, with what pandas has found out about them."""
    key = tuple(names)
    if key not in _KNOWN:
        _KNOWN.clear()  # one model has the same columns nearly always
        _KNOWN[key] = pandas.Index(names)
    return _KNOWN[key].view()
