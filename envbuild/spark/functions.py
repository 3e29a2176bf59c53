"""Functions: a model as a function of columns, for ``withColumn``, ``select`` and SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from envbuild.errors import InputMismatch, UsageError
from envbuild.spark import types
from envbuild.spark.answers import nothing
from envbuild.spark.columns import input_names
from envbuild.spark.executor import Failed, joined, predicted, renamed, structs
from envbuild.spark.frames import recipe_of
from envbuild.spark.recipe import Recipe, Ship
from envbuild.spark.shipping import Order, shipped

# Whole numbers stay whole beside nulls, and maps are what Spark takes for such.
_AS_THEY_ARE: Final[dict[str, Any]] = {"integer_object_nulls": True, "maps_as_pydicts": "strict"}


class Udf:
    """A model as a function of columns; ``function`` is Spark's own, for ``spark.udf.register``.

    It takes names and columns: one struct (as a column, ``F.col("all")``), whose fields are the model's columns by their
    names; or the columns themselves, by their names where all are names that the signature has, and else in the signature's
    order. Without any it takes the signature's own names.
    """

    def __init__(self, function: Any, names: tuple[str, ...]) -> None:
        """:param names: those of the signature's inputs."""
        self.function = function
        self._names = names

    def __call__(self, *columns: Any) -> Any:
        """The answer's column.

        :raises InputMismatch: there are more columns than the signature has.
        :raises UsageError: there are none, and the signature names none.
        """
        from pyspark.sql import functions

        given = columns or self._names
        if not given:
            raise UsageError("the model's signature names no columns", hint="give them: predict('a', 'b')")
        if len(given) == 1 and (not isinstance(given[0], str) or (self._names and given[0] not in self._names)):
            return self.function(*given)
        by_name = all(isinstance(one, str) for one in given) and (not self._names or set(given) <= set(self._names))
        known = [functions.col(one) if isinstance(one, str) else one for one in given]
        if by_name or not self._names:
            return self.function(functions.struct(*known))
        if len(known) > len(self._names):
            raise InputMismatch(
                f"{len(known)} columns are given, and the model's signature has {len(self._names)}",
                hint=f"it has {', '.join(map(repr, self._names))}",
            )
        named = [column.alias(name) for column, name in zip(known, self._names)]
        return self.function(functions.struct(*named))


def udf(
    spark: Any,
    model: str | Path,
    result_type: Any = None,
    *,
    on_error: str = "stop",
    ship: Ship = "auto",
    platforms: tuple[str, ...] = (),
    with_python: bool = False,
    **settings: Any,
) -> Udf:
    """A model as a function of columns; each batch is predicted in the model's own environment.

    :param spark: the session.
    :param result_type: what the answer is, as for :func:`envbuild.spark.predict`; needed where the signature does not
        say it.
    :param on_error: what becomes of a row that fails: the job stops and says which (``stop``), or the answer is null
        (``null``).
    :param ship: as for :func:`envbuild.spark.predict`, and so are the others.
    :raises UsageError: what is asked for cannot be.
    :raises LockError: as :func:`envbuild.lock`.
    :raises BuildError: as :func:`envbuild.build`.
    """
    if on_error not in ("stop", "null"):
        raise UsageError(f"on_error={on_error!r} is neither stop nor null", hint="a function answers every row")
    order = Order(ship=ship, platforms=tuple(platforms), with_python=with_python, settings=settings)
    told = shipped(spark, model, order)
    answer = types.of_signature(told.model) if result_type is None else types.answer_of(result_type)
    if answer is None:
        raise UsageError(
            "the model has no signature that says what it answers",
            hint="result_type says what it is, such as double",
        )
    recipe = recipe_of(spark, told, answer, "null" if on_error == "null" else "stop", None)
    names = input_names(told.model)
    required = input_names(told.model, required=True)
    return Udf(_function(recipe, names, required, answer.value_type), names)


def _function(recipe: Recipe, names: tuple[str, ...], required: tuple[str, ...], kind: Any) -> Any:
    """Spark's own function: of Arrow's arrays where this Spark has such, else of pandas' Series."""
    from pyspark.sql import functions
    from pyspark.sql.types import StructType

    is_struct = isinstance(kind, StructType)
    asked = _Asked(recipe, names, required)
    if hasattr(functions, "arrow_udf"):
        import pyarrow as pa

        def of_arrays(batches: Iterator[Any]) -> Iterator[Any]:
            before = 0
            for batch in batches:
                yield asked.of_array(batch, before)
                before += len(batch)

        return functions.arrow_udf(_hinted(of_arrays, pa.Array, pa.Array), kind)

    import pandas as pd

    def of_series(batches: Iterator[Any]) -> Iterator[Any]:
        before = 0
        for batch in batches:
            yield asked.of_pandas(batch, before, is_struct=is_struct)
            before += len(batch)

    return functions.pandas_udf(_hinted(of_series, pd.Series, pd.DataFrame if is_struct else pd.Series), kind)


def _hinted(function: Any, given: type, back: type) -> Any:
    """A function with the hints by which Spark tells what it takes: of pyarrow and pandas, which are not imported here."""
    function.__annotations__ = {"batches": Iterator[given], "return": Iterator[back]}  # type: ignore[valid-type]
    return function


class _Asked:
    """The batches of one task."""

    def __init__(self, recipe: Recipe, names: tuple[str, ...], required: tuple[str, ...]) -> None:
        self._recipe = recipe
        self._names = names
        self._required = required

    def of_array(self, array: Any, before: int) -> Any:
        """The answer to an array: a struct's fields are the model's columns.

        :param before: how many rows the task has had before.
        """
        import pyarrow as pa

        if pa.types.is_struct(array.type):
            table = pa.table(array.flatten(), names=[field.name for field in array.type])
        else:
            table = pa.table({"0": array})
        return self._answered(_on_the_wall(table), before)

    def of_pandas(self, data: Any, before: int, *, is_struct: bool) -> Any:
        """The answer to a Series, or to a struct's DataFrame; as pandas has it, without a loss."""
        import pyarrow as pa

        columns = {str(name): data[name] for name in data.columns} if hasattr(data, "columns") else {"0": data}
        table = pa.table({name: pa.Array.from_pandas(column) for name, column in columns.items()})
        found = self._answered(table, before)
        if not is_struct:
            return found.to_pandas(**_AS_THEY_ARE)
        names = [name for name, _ in self._recipe.result.fields]
        return pa.table(found.flatten(), names=names).to_pandas(**_AS_THEY_ARE)

    def _answered(self, table: Any, before: int) -> Any:
        import pyarrow as pa

        if not table.num_rows:
            return self._joined(nothing(0, self._recipe.result))
        try:
            known = renamed(table, self._names, self._required)
        except InputMismatch as error:
            raise Failed(error, "") from None
        parts = predicted(self._recipe, known, before)
        return pa.concat_arrays([self._joined(answer) for _, answer in joined(self._recipe, (), parts)])

    def _joined(self, columns: Sequence[Any]) -> Any:
        return columns[0] if self._recipe.result.single else structs(columns, self._recipe)


def _on_the_wall(table: Any) -> Any:
    """Moments as the session's wall clock shows them."""
    import pyarrow as pa

    for at, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type) and field.type.tz is not None:
            table = table.set_column(at, field.name, pa.compute.local_timestamp(table.column(at)))
    return table
