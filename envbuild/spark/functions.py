"""Functions: a model as a function of columns, for ``withColumn``, ``select`` and SQL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from envbuild.errors import InputMismatch, UsageError
from envbuild.spark import types
from envbuild.spark.chunks import chunks_of
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
            yield from asked.answers(map(_columns_of, batches))

        return functions.arrow_udf(_hinted(of_arrays, pa.Array, pa.Array), kind)

    import pandas as pd

    def of_series(batches: Iterator[Any]) -> Iterator[Any]:
        for answer in asked.answers(map(_columns_of_pandas, batches)):
            yield _as_pandas(answer) if is_struct else answer.to_pandas(**_AS_THEY_ARE)

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

    def answers(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The answers to batches of the model's columns, as many rows as these."""
        before = 0
        for batch in chunks_of(batches, self._recipe.chunk_rows):
            yield self._answered(batch, before)
            before += batch.num_rows

    def _answered(self, batch: Any, before: int) -> Any:
        import pyarrow as pa

        try:
            known = renamed(pa.Table.from_batches([batch]), self._names, self._required)
        except InputMismatch as error:
            raise Failed(error, "") from None
        parts = predicted(self._recipe, known, before)
        return pa.concat_arrays([self._joined(answer) for _, answer in joined(self._recipe, (), parts)])

    def _joined(self, columns: Sequence[Any]) -> Any:
        return columns[0] if self._recipe.result.single else structs(columns, self._recipe)


def _columns_of(array: Any) -> Any:
    """An array's columns: a struct's fields are the model's columns by their names."""
    import pyarrow as pa

    if not pa.types.is_struct(array.type):
        return pa.RecordBatch.from_arrays([_on_the_wall(array)], names=["0"])
    columns = [_on_the_wall(column) for column in array.flatten()]
    return pa.RecordBatch.from_arrays(columns, names=[field.name for field in array.type])


def _columns_of_pandas(data: Any) -> Any:
    """The columns of a Series, or of a struct's DataFrame; as pandas has them, without a loss."""
    import pyarrow as pa

    columns = {str(name): data[name] for name in data.columns} if hasattr(data, "columns") else {"0": data}
    return pa.RecordBatch.from_pydict({name: pa.Array.from_pandas(column) for name, column in columns.items()})


def _as_pandas(structs: Any) -> Any:
    """An array of structs as a DataFrame."""
    import pyarrow as pa

    names = [field.name for field in structs.type]
    return pa.table(structs.flatten(), names=names).to_pandas(**_AS_THEY_ARE)


def _on_the_wall(array: Any) -> Any:
    """Moments as the session's wall clock shows them."""
    import pyarrow as pa

    if pa.types.is_timestamp(array.type) and array.type.tz is not None:
        return pa.compute.local_timestamp(array)
    return array
