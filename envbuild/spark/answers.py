"""Answers: what a model answered, as columns of the types that were promised to Spark."""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from zoneinfo import ZoneInfo

from envbuild.bridge import Prediction
from envbuild.errors import OutputInvalid
from envbuild.request import ARROW_STREAM, answer_of
from envbuild.spark.recipe import Result

_HINT: Final = "result_type says what the answer is to be"
_FLOATS: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arranged(Prediction):
    """An answer with its columns, as many rows as were asked for."""

    columns: tuple[Any, ...]


def arranged(answer: Prediction, rows: int, result: Result) -> Arranged:
    """An answer as the columns of a result.

    :param rows: how many were asked for.
    :raises OutputInvalid: it has not one value for each row, other columns, or values of other types.
    """
    found = _of_arrow(answer.payload, result) if answer.content_type == ARROW_STREAM else None
    if found is None:
        found = _of_objects(answer_of(answer.payload, answer.content_type), result)
    for column in found:
        if len(column) != rows:
            raise OutputInvalid(f"the model gave back {len(column)} values for {rows} rows")
    columns = tuple(_cast(column, name, kind, result) for column, (name, kind) in zip(found, result.fields))
    return Arranged(
        payload=b"", content_type=answer.content_type, nulls=answer.nulls, rows=answer.rows, columns=columns
    )


def nothing(rows: int, result: Result) -> tuple[Any, ...]:
    """Columns of nulls."""
    import pyarrow as pa

    return tuple(pa.nulls(rows, type=kind) for _, kind in result.fields)


def _of_arrow(payload: bytes, result: Result) -> list[Any] | None:
    """The columns of an answer that came as Arrow; ``None`` where they must be taken apart value by value."""
    import pyarrow as pa

    table = pa.ipc.open_stream(pa.py_buffer(payload)).read_all()
    said = json.loads(table.schema.metadata[b"envbuild"])
    if said["form"] == "records":
        return _by_name({name: table.column(name).combine_chunks() for name in table.column_names}, result)
    values, shape = table.column(0).combine_chunks(), said["shape"]
    if len(shape) == 1 and result.single:
        return [values]
    if len(shape) == 2 and not result.single and shape[1] == len(result.fields):
        return [values.take(pa.array(range(at, len(values), shape[1]))) for at in range(shape[1])]
    if len(shape) == 2 and shape[1] == 1 and result.single and not _is_list(result.fields[0][1]):
        return [values]
    return None


def _of_objects(answer: Any, result: Result) -> list[Any]:
    """The columns of an answer as JSON has it."""
    if isinstance(answer, Mapping) and all(isinstance(values, list) for values in answer.values()) and answer:
        return _by_name(answer, result)
    if not isinstance(answer, list):
        raise OutputInvalid(f"the model answers {type(answer).__name__}, and not a value for each row")
    if answer and all(isinstance(row, Mapping) for row in answer) and not (result.single and _is_of_fields(result)):
        names = dict.fromkeys(name for row in answer for name in row)
        return _by_name({name: [row.get(name) for row in answer] for name in names}, result)
    if result.single:
        return [answer]
    wanted = len(result.fields)
    if any(not isinstance(row, list) or len(row) != wanted for row in answer):
        raise OutputInvalid(f"the model's answer is no table of {wanted} columns", hint=_HINT)
    return [[row[at] for row in answer] for at in range(wanted)]


def _by_name(columns: Mapping[str, Any], result: Result) -> list[Any]:
    if result.single and len(columns) == 1:
        return list(columns.values())
    missing = [name for name, _ in result.fields if name not in columns]
    if missing:
        raise OutputInvalid(
            f"the model answers the columns {', '.join(map(repr, columns))}, and not {', '.join(map(repr, missing))}",
            hint=_HINT,
        )
    return [columns[name] for name, _ in result.fields]


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_of_fields(result: Result) -> bool:
    """Whether a value is itself made of named ones, or is to be text of whatever it is."""
    import pyarrow as pa

    kind = result.fields[0][1]
    return bool(pa.types.is_struct(kind) or pa.types.is_map(kind) or pa.types.is_string(kind))


def _cast(values: Any, name: str, kind: Any, result: Result) -> Any:
    """A column in its type.

    :raises OutputInvalid: a value is none of it.
    """
    import pyarrow as pa

    try:
        if isinstance(values, pa.Array):
            if _is_cast_exactly(values.type, kind):
                return values.cast(kind)
            values = values.to_pylist()
        if _is_plain(kind):
            try:
                return pa.array(values, type=kind)
            except (pa.ArrowException, TypeError, ValueError, OverflowError):
                pass  # value by value it may be
        made = _maker(kind, result.zone)
        return pa.array([None if value is None else made(value) for value in values], type=kind)
    except (
        pa.ArrowException,
        TypeError,
        ValueError,
        OverflowError,
        KeyError,
        AttributeError,
        InvalidOperation,
    ) as error:
        words = str(error).strip().splitlines() or [type(error).__name__]
        raise OutputInvalid(f"the answer's column {name!r} is not all {kind}: {words[0][:200]}", hint=_HINT) from None


def _is_plain(kind: Any) -> bool:
    """Whether Arrow takes from Python exactly what has this type."""
    import pyarrow as pa

    known = ("is_integer", "is_floating", "is_boolean", "is_string")
    if _is_list(kind):
        return _is_plain(kind.value_type)
    return any(getattr(pa.types, name)(kind) for name in known)


def _is_cast_exactly(source: Any, kind: Any) -> bool:
    import pyarrow as pa

    numbers = (pa.types.is_integer, pa.types.is_floating)
    if any(test(source) for test in numbers):
        return any(test(kind) for test in numbers)
    return bool(source == kind)


def _maker(kind: Any, zone: str) -> Callable[[Any], Any]:
    """What makes of a value of JSON's one that Arrow takes for a type."""
    import pyarrow as pa

    types = pa.types
    if _is_list(kind):
        inner = _maker(kind.value_type, zone)
        return lambda value: [None if one is None else inner(one) for one in _sequence(value)]
    if types.is_struct(kind):
        inners = {field.name: _maker(field.type, zone) for field in kind}
        return lambda value: {
            name: None if (one := _mapping(value).get(name)) is None else inner(one) for name, inner in inners.items()
        }
    if types.is_map(kind):
        inner = _maker(kind.item_type, zone)
        return lambda value: [(key, None if one is None else inner(one)) for key, one in _mapping(value).items()]
    if types.is_timestamp(kind):
        own = ZoneInfo(zone)
        return lambda value: _moment(value, own, aware=kind.tz is not None)
    if types.is_decimal(kind):
        step = Decimal(1).scaleb(-kind.scale)
        return lambda value: Decimal(str(_alone(value))).quantize(step)
    return next(made for test, made in _MAKERS if getattr(types, test)(kind))


def _sequence(value: Any) -> Sequence[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return value


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r} has no fields")
    return value


def _alone(value: Any) -> Any:
    """A value, or the only one of a row of one: what networks answer."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _moment(value: Any, zone: ZoneInfo, *, aware: bool) -> dt.datetime:
    """A moment; where the type has a time zone and the text none, it is meant in the session's."""
    moment = dt.datetime.fromisoformat(str(_alone(value)).replace("Z", "+00:00"))
    if aware:
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
    return moment if moment.tzinfo is None else moment.astimezone(zone).replace(tzinfo=None)


def _number(value: Any) -> float:
    value = _alone(value)
    if isinstance(value, str) and value not in _FLOATS:
        raise TypeError(f"{value!r} is no number")
    return _FLOATS[value] if isinstance(value, str) else float(value)


def _whole(value: Any) -> int:
    value = _alone(value)
    if isinstance(value, str) or value != int(value):
        raise ValueError(f"{value!r} is no whole number")
    return int(value)


def _truth(value: Any) -> bool:
    value = _alone(value)
    if value not in (0, 1):
        raise ValueError(f"{value!r} is neither true nor false")
    return bool(value)


def _text(value: Any) -> str:
    value = _alone(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


_MAKERS: Final[tuple[tuple[str, Callable[[Any], Any]], ...]] = (
    ("is_floating", _number),
    ("is_integer", _whole),
    ("is_boolean", _truth),
    ("is_string", _text),
    ("is_binary", lambda value: base64.b64decode(_alone(value), validate=True)),
    ("is_date", lambda value: dt.date.fromisoformat(str(_alone(value))[:10])),
    ("is_null", lambda value: None),
)
