"""Misfits: casts that lose something, and the one value among many that does not fit."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable


class Lossy(ValueError):
    """A cast to an integer or a boolean type would lose something."""


# What numpy and pandas raise over a value that does not fit a dtype.
MISFITS = (TypeError, ValueError, OverflowError, AttributeError)


LONGEST = 60
"""Characters of a value in a message."""


def first_misfit(count: int, cast: "Callable[[slice], Any]") -> "int | None":
    """Which of many values alone does not fit, found by halves; ``None`` where it takes several."""
    start, end = 0, count
    while end - start > 1:
        middle = (start + end) // 2
        if _fits(cast, slice(start, middle)):
            start = middle
        else:
            end = middle
    return start if count and not _fits(cast, slice(start, end)) else None


def path_of_misfit(value: "Any", cast: "Callable[[Any], Any]") -> "tuple[str, Any] | None":
    """Where in nested lists the value stands that does not fit, and that value."""
    path = ""
    while isinstance(value, list):
        place = _first_in(value, cast)
        if place is None:
            return None
        value, path = value[place], f"{path}[{place}]"
    return (f"{path} is" if path else "the input has"), value


def _first_in(values: "list[Any]", cast: "Callable[[Any], Any]") -> "int | None":
    return first_misfit(len(values), lambda part: cast(values[part]))


def _fits(cast: "Callable[[slice], Any]", part: slice) -> bool:
    try:
        cast(part)
    except MISFITS:
        return False
    return True


def lost(error: BaseException, dtype: "str | None") -> str:
    """What is to be said where a cast would lose something."""
    return f", which is not a value of {dtype}" if isinstance(error, Lossy) else ""


def first_line(error: BaseException) -> str:
    """The first line of what an exception says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def check_loss(source: "Any", cast: "Any", dtype: str) -> None:
    """Look whether a cast to an integer or a boolean type lost something; arrays and columns alike.

    :raises Lossy: it did; says what.
    """
    kind = getattr(cast.dtype, "kind", "")
    if kind not in "iub" or not source.size or source.dtype.kind == "b":
        return
    if source.dtype.kind in "iuf":
        lost = cast != source
        if lost.any():
            raise Lossy(_no_value(source[lost].tolist()[0], dtype))
        if kind != "b":
            _check_range(source, cast.dtype.itemsize * 8, kind == "i", dtype)
        return
    for before, after in zip(_flat(source), _flat(cast)):
        if (kind == "b" or not isinstance(before, str)) and before != after:
            raise Lossy(_no_value(before, dtype))


def _check_range(source: "Any", bits: int, signed: bool, dtype: str) -> None:
    # By Python's integers: those of different types of numpy's are compared as floats.
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    for value in (source.min().item(), source.max().item()):
        if not low <= value <= high:
            raise Lossy(_no_value(value, dtype))


def _flat(array: "Any") -> "list[Any]":
    return (array if hasattr(array, "iloc") else array.reshape(-1)).tolist()  # type: ignore[no-any-return]  # numpy and pandas are untyped here


def _no_value(value: "Any", dtype: str) -> str:
    return f"{name_of(value)} is not a value of {dtype}"


def name_of(value: "Any") -> str:
    """What a value of JSON is, for messages; its own text only where it is short."""
    if value is None or (isinstance(value, float) and value != value):
        return "null"
    if getattr(value, "shape", None):
        return "an array"
    value = value.item() if hasattr(value, "item") else value
    kinds = {dict: "an object", list: "a list", str: "the string", bool: "the boolean"}
    kind = kinds.get(type(value), "the number")
    if isinstance(value, (dict, list)):
        return kind
    text = repr(value).lower() if isinstance(value, bool) else repr(value)
    return "{} {}".format(kind, text if len(text) <= LONGEST else text[:LONGEST] + "…")
