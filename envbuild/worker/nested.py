"""Nested types: the values of arrays, objects and maps held against the signature, as MLflow 3 does it.

A list is judged as a whole, by the type that pandas would see in it: ``[1, null]`` is a list of doubles and not of
longs. Nothing here needs pandas, but moments do.
"""

from .casting import DTYPES, module
from .loading import Mismatch
from .misfits import first_line, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The types of a list's values, as pandas would see them: by the types of Python's that are in it.
_SEEN = (
    ({bool}, "boolean"),
    ({int}, "long"),
    ({int, float}, "double"),
    ({int, float, type(None)}, "double"),
    ({str}, "string"),
    ({str, type(None)}, "string"),
)
_NUMPY = {"boolean": "bool_", "long": "int64", "float": "float32", "double": "float64"}
_NAMES = {"bool": "boolean", "int64": "long", "float32": "float", "float64": "double"}


def enforced(value: "Any", spec: "dict[str, Any]", required: bool, path: str) -> "Any":
    """A value of the type that the signature says.

    :param path: names the value in messages.
    :raises Mismatch: it is of another type.
    """
    kind = str(spec.get("type", "any")).lower()
    if kind == "array":
        return _array(value, spec["items"], required, path)
    if kind == "object":
        return _object(value, spec["properties"], required, path)
    if kind == "map":
        return _map(value, spec["values"], required, path)
    return value if kind not in DTYPES else _scalar(value, kind, required, path)


def _array(value: "Any", items: "dict[str, Any]", required: bool, path: str) -> "Any":
    kind = str(items.get("type", "any")).lower()
    if (not required or kind == "any") and (value is None or value == []):
        return value
    if not isinstance(value, list):
        raise Mismatch(f"{path} is an array in the signature, and is {name_of(value)} in the input")
    if kind in DTYPES:
        return _list(value, kind, path) if value else value
    return [enforced(item, items, required, f"{path}[{place}]") for place, item in enumerate(value)]


def _object(value: "Any", properties: "dict[str, Any]", required: bool, path: str) -> "Any":
    if not required and (value is None or value == {}):
        return value
    if not isinstance(value, dict):
        raise Mismatch(f"{path} is an object in the signature, and is {name_of(value)} in the input")
    missing = [name for name, spec in properties.items() if spec.get("required", True) and name not in value]
    if missing:
        raise Mismatch(f"{path} lacks properties that the signature requires: " + ", ".join(missing))
    unknown = [name for name in value if name not in properties]
    if unknown:
        raise Mismatch(f"{path} has properties that the signature does not: " + ", ".join(unknown))
    return {
        name: enforced(item, properties[name], properties[name].get("required", True), f"{path}.{name}")
        for name, item in value.items()
    }


def _map(value: "Any", values: "dict[str, Any]", required: bool, path: str) -> "Any":
    if (not required or values.get("type") == "any") and (value is None or value == {}):
        return value
    if not isinstance(value, dict):
        raise Mismatch(f"{path} is a map in the signature, and is {name_of(value)} in the input")
    return {name: enforced(item, values, required, f"{path}.{name}") for name, item in value.items()}


def _scalar(value: "Any", kind: str, required: bool, path: str) -> "Any":
    if _NAMES.get(str(getattr(value, "dtype", ""))) == kind:
        return value  # made by an earlier look at it
    if not required and (value is None or value != value):
        return None
    if value is None or isinstance(value, (list, dict)):
        raise Mismatch(f"{path} is {kind} in the signature, and is {name_of(value)} in the input")
    _check([value], kind, path)
    numpy = module("numpy")
    if kind == "datetime":
        return _moments([value], path)[0]
    if kind == "boolean":
        _check_boolean(value, path)
    return value if numpy is None or kind not in _NUMPY else getattr(numpy, _NUMPY[kind])(value)


def _list(values: "list[Any]", kind: str, path: str) -> "list[Any]":
    _check(values, kind, path)
    if kind == "boolean":
        for place, value in enumerate(values):
            _check_boolean(value, f"{path}[{place}]")
        return [bool(value) for value in values]
    if kind in ("float", "double"):
        return [_number(value, f"{path}[{place}]") for place, value in enumerate(values)]
    if kind in ("string", "binary") and any(isinstance(value, list) for value in values):
        raise Mismatch(f"{path} is an array of {kind} in the signature, and has lists in it in the input")
    if kind == "string":
        # What is missing is the era's to name: "None" or "nan".
        return values if None in values else [str(value) for value in values]
    if kind == "binary":
        return [value if isinstance(value, bytes) else _ascii(value, path) for value in values]
    if kind == "datetime":
        # MLflow gives moments in a list as nanoseconds.
        return [None if moment != moment else int(moment.value) for moment in _moments(values, path)]
    return values


def _number(value: "Any", path: str) -> float:
    try:
        return float("nan") if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        raise Mismatch(f"{path} is double in the signature, and is {name_of(value)} in the input") from None


def _check_boolean(value: "Any", path: str) -> None:
    if value not in (0, 1):
        raise Mismatch(f"{path} is boolean in the signature, and {name_of(value)} is not a value of bool")


def _ascii(value: "Any", path: str) -> bytes:
    try:
        return str(value).encode("ascii")
    except UnicodeEncodeError:
        raise Mismatch(f"{path} is binary in the signature, and has other characters than ASCII's") from None


def _check(values: "list[Any]", kind: str, path: str) -> None:
    if _fits(values, kind):
        return
    wrong = [place for place, value in enumerate(values) if len(values) > 1 and not _fits([value], kind)]
    said = (
        name_of(values[wrong[0]] if wrong else values[0]) if wrong or len(values) == 1 else f"a list of {_seen(values)}"
    )
    raise Mismatch(
        "{}{} is {} in the signature, and is {} in the input".format(path, f"[{wrong[0]}]" if wrong else "", kind, said)
    )


def _fits(values: "list[Any]", kind: str) -> bool:
    seen = _seen(values)
    if kind in ("string", "binary", "datetime"):
        return seen in ("string", "mixed")
    if kind in ("float", "double") and _is_bits(seen, values):
        return True
    # MLflow takes what has no one type for decimals, which it makes doubles.
    return seen == kind or (kind in ("boolean", "double") and seen == "mixed")


def _is_bits(seen: str, values: "list[Any]") -> bool:
    """MLflow takes integers for floats where they are 0 and 1 only."""
    return seen == "long" and all(value in (0, 1) for value in values)


def _seen(values: "list[Any]") -> str:
    kinds = set(map(type, values))
    for known, name in _SEEN:
        if kinds == known or (name == "double" and kinds <= known and float in kinds):
            whole = name != "long" or all(-(1 << 63) <= value < 1 << 63 for value in values)
            return name if whole else "mixed" if min(values) < 0 or max(values) >= 1 << 64 else "unsigned"
    return "double" if kinds == {int, type(None)} else "mixed"


def _moments(values: "list[Any]", path: str) -> "list[Any]":
    pandas = module("pandas")
    if pandas is None:
        return values
    try:
        return list(pandas.Series(values, dtype="object").astype("datetime64[ns]"))
    except (TypeError, ValueError, OverflowError) as error:
        raise Mismatch(f"{path} is datetime in the signature, and cannot be read as one: {first_line(error)}") from None
