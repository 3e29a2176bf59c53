"""Together: the data of several requests as one call of ``predict``, and its answer given back to them row by row.

Only data that has rows, and is alike in all but them, is put together; where the answer does not have exactly as many
rows, or an index that says they are in another order, nobody knows whose they are, and each is to be asked alone.
"""

from json import dumps

from .casting import module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .parsing import Request


def alike(request: "Request") -> "str | None":
    """What requests must have in common to be put together; ``None``: this one is for itself."""
    kind = None if request.kept is not None else _kind_of(request.data)
    if kind is None:
        return None
    return dumps([kind, request.params, request.wrapped], default=_told, sort_keys=True)


def _told(value: "Any") -> "Any":
    """What JSON does not know; the text of a long array leaves values out."""
    return [str(type(value)), value.tolist() if hasattr(value, "tolist") else repr(value)]


def _kind_of(data: "Any") -> "Any":
    pandas, numpy = module("pandas"), module("numpy")
    if pandas is not None and isinstance(data, pandas.DataFrame):
        dtypes = [str(dtype) for dtype in data.dtypes]
        # Put together, categories that differ are none any more.
        if "category" in dtypes or not _counts_up(pandas, data.index, len(data)):
            return None
        return ["table", [[name, dtype] for name, dtype in zip(data.columns, dtypes)]]
    if isinstance(data, dict):
        kinds = [[name, _kind_of_column(numpy, column)] for name, column in data.items()]
        alike_in_length = len({len(column) for (_, kind), column in zip(kinds, data.values()) if kind}) == 1
        return ["columns", kinds] if alike_in_length and all(kind for _, kind in kinds) else None
    return _kind_of_column(numpy, data)


def _kind_of_column(numpy: "Any", column: "Any") -> "Any":
    if numpy is not None and isinstance(column, numpy.ndarray):
        # The width of text is that of the longest.
        dtype = column.dtype.kind if column.dtype.kind in "US" else column.dtype.str
        return ["array", dtype, column.shape[1:]] if column.ndim else None
    return "list" if isinstance(column, list) else None


def _counts_up(pandas: "Any", index: "Any", rows: int) -> bool:
    return bool(index.equals(pandas.RangeIndex(rows)))


def rows_of(data: "Any") -> int:
    """How many rows data has that is alike with some other."""
    return len(next(iter(data.values()))) if isinstance(data, dict) else len(data)


def put(several: "list[Any]") -> "Any":
    """The rows of data that is alike, one behind the other."""
    first = several[0]
    if hasattr(first, "columns"):
        return module("pandas").concat(several, ignore_index=True)
    if isinstance(first, dict):
        return {name: put([data[name] for data in several]) for name in first}
    if isinstance(first, list):
        return [row for data in several for row in data]
    return module("numpy").concatenate(several)


def given_back(answer: "Any", counts: "list[int]") -> "list[Any] | None":
    """An answer cut into parts of so many rows; ``None`` where its rows cannot be told."""
    total = sum(counts)
    if isinstance(answer, dict):
        columns = [given_back(column, counts) for column in answer.values()]
        if not columns or any(parts is None for parts in columns):
            return None
        return [dict(zip(answer, parts)) for parts in zip(*columns)]
    if not isinstance(answer, list) and not getattr(answer, "ndim", 0):
        return None
    if len(answer) != total:
        return None
    is_pandas = hasattr(answer, "iloc")
    if is_pandas and not _counts_up(module("pandas"), answer.index, total):
        return None
    parts, start = [], 0
    for count in counts:
        part = (answer.iloc if is_pandas else answer)[start : start + count]
        parts.append(part.reset_index(drop=True) if is_pandas else part)
        start += count
    return parts
