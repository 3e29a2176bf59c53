"""Columns: which of a DataFrame the model gets, and in which form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from envbuild.errors import InputMismatch, UsageError
from envbuild.model import Model
from envbuild.spark.types import quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The columns that are sent to executors, and what they are there for."""

    columns: tuple[Any, ...]
    """Expressions of Spark's: first those that are kept, then what only the model needs."""
    kept: tuple[Any, ...]
    """The fields (``StructField``) of those that stand before the answer."""
    inputs: tuple[tuple[int, str], ...]
    """The model's columns: their places, and their names."""


def chosen(frame: Any, model: Model, columns: Sequence[str] | None, keep: Sequence[str] | None) -> Chosen:
    """The columns of a DataFrame for a model.

    :param columns: those that the model gets; ``None``: those of its signature, or all where it names none.
    :param keep: those that stand before the answer; ``None``: all.
    :raises InputMismatch: one that the signature demands is not there.
    :raises UsageError: one that was named is not there, or cannot be sent.
    """
    fields = {field.name: field for field in frame.schema.fields}
    if len(fields) < len(frame.columns):
        raise UsageError("the DataFrame has several columns of one name", hint="rename them (toDF, withColumnRenamed)")
    kept = tuple(fields[_named(name, fields)] for name in keep) if keep is not None else tuple(fields.values())
    places = {field.name: at for at, field in enumerate(kept)}
    sent, inputs = [_column(field.name) for field in kept], list[tuple[int, str]]()
    for name, wanted in _wanted(fields, model, columns).items():
        field = fields[name]
        other = _as_the_model_has_it(field)
        if name in places and other is None:
            inputs.append((places[name], wanted))
            continue
        inputs.append((len(sent), wanted))
        column = _column(name) if other is None else _column(name).cast(other)
        sent.append(column.alias(f"__envbuild_{len(sent)}"))
    if not inputs:
        raise UsageError("the model would get no columns", hint="columns= names those that it is to get")
    return Chosen(columns=tuple(sent), kept=kept, inputs=tuple(inputs))


def input_names(model: Model, *, required: bool = False) -> tuple[str, ...]:
    """The names of a signature's inputs; none where it has none, or not for all."""
    inputs = () if model.signature is None else model.signature.inputs or ()
    if any(field.name is None for field in inputs):
        return ()
    return tuple(str(field.name) for field in inputs if field.required or not required)


def _wanted(fields: dict[str, Any], model: Model, columns: Sequence[str] | None) -> dict[str, str]:
    """The columns that the model gets, and the names that it knows them by."""
    if columns is not None:
        return {name: name for name in (_named(one, fields) for one in columns)}
    names = input_names(model)
    if not names:
        return {name: name for name in fields}
    known = {name: _found(name, fields) for name in names}
    missing = [name for name in input_names(model, required=True) if known[name] is None]
    if missing:
        raise InputMismatch(
            f"the DataFrame has no column {', '.join(map(repr, missing))}, which the model's signature demands",
            hint=f"it has {', '.join(map(repr, fields))}; columns= names others",
        )
    return {found: name for name, found in known.items() if found is not None}


def _named(name: str, fields: dict[str, Any]) -> str:
    found = _found(name, fields)
    if found is None:
        raise UsageError(f"the DataFrame has no column {name!r}", hint=f"it has {', '.join(map(repr, fields))}")
    return found


def _found(name: str, fields: dict[str, Any]) -> str | None:
    """A column by its name, to the letter or, as Spark has it, but for the case of the letters."""
    if name in fields:
        return name
    alike = [one for one in fields if one.casefold() == name.casefold()]
    return alike[0] if len(alike) == 1 else None


def _column(name: str) -> Any:
    from pyspark.sql import functions

    return functions.col(quoted(name))


def _as_the_model_has_it(field: Any) -> Any | None:
    """The type in which a column is sent, where that is another than its own: moments become the session's wall clock.

    :raises UsageError: no worker can read it.
    """
    from pyspark.sql import types

    wall = _walled(field.dataType)
    unsendable = _unsendable(field.dataType)
    if unsendable is not None:
        hint = "pyspark.ml.functions.vector_to_array makes an array of a vector" if "vector" in unsendable else None
        raise UsageError(
            f"the column {field.name!r} has the type {unsendable}, which cannot be sent to a model",
            hint=hint or "leave it out (columns=), or make another of it",
        )
    return wall if isinstance(wall, types.DataType) and wall != field.dataType else None


def _walled(kind: Any) -> Any:
    from pyspark.sql import types

    if isinstance(kind, types.TimestampType):
        return types.TimestampNTZType()
    if isinstance(kind, types.ArrayType):
        return types.ArrayType(_walled(kind.elementType), kind.containsNull)
    if isinstance(kind, types.StructType):
        fields = [types.StructField(one.name, _walled(one.dataType), one.nullable) for one in kind.fields]
        return types.StructType(fields)
    if isinstance(kind, types.MapType):
        return types.MapType(_walled(kind.keyType), _walled(kind.valueType), kind.valueContainsNull)
    return kind


def _unsendable(kind: Any) -> str | None:
    from pyspark.sql import types

    inner: tuple[Any, ...] = ()
    if isinstance(kind, types.ArrayType):
        inner = (kind.elementType,)
    elif isinstance(kind, types.StructType):
        inner = tuple(one.dataType for one in kind.fields)
    elif isinstance(kind, types.MapType):
        inner = (kind.keyType, kind.valueType)
    known = (
        types.BooleanType,
        types.NumericType,
        types.StringType,
        types.BinaryType,
        types.DateType,
        types.TimestampType,
        types.TimestampNTZType,
        types.DayTimeIntervalType,
        types.NullType,
        types.CharType,
        types.VarcharType,
    )
    if isinstance(kind, types.UserDefinedType):
        return str(kind.simpleString())
    if not inner:
        return None if isinstance(kind, known) else str(kind.simpleString())
    return next((found for found in map(_unsendable, inner) if found is not None), None)
