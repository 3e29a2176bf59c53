"""DataFrames: the rows of one, with a model's answers behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from envbuild import __version__, pipeline, request
from envbuild.batching.chunk import ipc
from envbuild.batching.result import OnError
from envbuild.errors import UsageError
from envbuild.progress import Report, silent
from envbuild.spark import types
from envbuild.spark.chunks import rows_of
from envbuild.spark.columns import Chosen, chosen
from envbuild.spark.executor import Partition, model_table
from envbuild.spark.recipe import Recipe, Ship, key_of
from envbuild.spark.shipping import Order, Shipped, shipped
from envbuild.spark.types import Answer

# So many rows show what an answer is, where nobody says it.
_FIRST: Final = 100


def predict(
    df: Any,
    model: str | Path,
    *,
    columns: Sequence[str] | None = None,
    keep: Sequence[str] | None = None,
    result_type: Any = None,
    output: str | None = None,
    on_error: Literal["stop", "skip", "null"] = "stop",
    chunk_rows: int | None = None,
    ship: Ship = "auto",
    platforms: Sequence[str] = (),
    with_python: bool = False,
    **settings: Any,
) -> Any:
    """The rows of a DataFrame with the model's answers: each partition is predicted in the model's own environment.

    The environment is locked now, and built once on each node, when the DataFrame is asked for its rows.

    :param df: a DataFrame of Spark's.
    :param columns: the columns that the model gets; by default those of its signature, or all.
    :param keep: the columns that stand before the answer; by default all.
    :param result_type: what the answer is, as a ``DataType`` or its name (``double``, ``label string, score double``);
        by default what the signature says, or else what the answer to the first rows shows, for which they are predicted
        now, on the driver.
    :param output: the name of the answer's column (``prediction``); an answer of several columns becomes a struct of
        that name, where otherwise each is a column.
    :param on_error: what becomes of a row that fails: the job stops and says which, the row is left out, or the answer is
        null.
    :param chunk_rows: how many rows are predicted at once; by default what
        ``spark.sql.execution.arrow.maxRecordsPerBatch`` says where somebody has set it, else as many as come to 4 MiB.
    :param ship: ``nothing``: executors have the driver's store and model at the same paths; ``model``: the model is sent,
        and each node builds the environment of the driver's lock from its index; ``bundle``: all of it is sent, and nodes
        need no network; ``auto``: nothing on a local master, else a bundle.
    :param platforms: the kinds of machines that executors are, where they are others than this one, for a bundle.
    :param with_python: send the Python, too (a bundle, of a Python that uv manages).
    :param settings: those of :class:`envbuild.settings.Settings`, as for :func:`envbuild.predict`.
    :raises InputMismatch: the DataFrame lacks a column of the signature.
    :raises UsageError: what is asked for cannot be.
    :raises LockError: as :func:`envbuild.lock`.
    :raises BuildError: as :func:`envbuild.build`.
    """
    order = Order(ship=ship, platforms=tuple(platforms), with_python=with_python, settings=settings)
    told = shipped(df.sparkSession, model, order)
    return predicted(
        df,
        told,
        columns=columns,
        keep=keep,
        result_type=result_type,
        output=output,
        on_error=on_error,
        chunk_rows=chunk_rows,
    )


def predicted(
    df: Any,
    told: Shipped,
    *,
    columns: Sequence[str] | None = None,
    keep: Sequence[str] | None = None,
    result_type: Any = None,
    output: str | None = None,
    on_error: OnError = "stop",
    chunk_rows: int | None = None,
    counted: Callable[[int, int], None] | None = None,
    report: Report = silent,
) -> Any:
    """As :func:`predict`, of a model that executors can have.

    :param counted: hears on executors of each chunk's rows, and how many failed.
    """
    if on_error not in ("stop", "skip", "null"):
        raise UsageError(f"on_error={on_error!r} is neither stop, skip nor null")
    if chunk_rows is not None and chunk_rows < 1:
        raise UsageError(f"a chunk of {chunk_rows} rows has none")
    using = chosen(df, told.model, columns, keep)
    answer = answer_type(df, told, using, result_type, report)
    recipe = recipe_of(df.sparkSession, told, answer, on_error, chunk_rows)
    fields = _fields(answer, using, output)
    told_to = Partition(
        recipe=recipe,
        inputs=using.inputs,
        kept=len(using.kept),
        names=tuple(field.name for field in fields.fields),
        nested=output is not None and not answer.single,
        counted=counted,
    )
    return df.select(*using.columns).mapInArrow(told_to.batches, fields)


def recipe_of(session: Any, told: Shipped, answer: Answer, on_error: OnError, chunk_rows: int | None) -> Recipe:
    """What executors are told."""
    running = told.running
    return Recipe(
        version=__version__,
        key=key_of(told.source, running),
        source=told.source,
        result=answer.result(str(session.conf.get("spark.sql.session.timeZone"))),
        settings=running,
        on_error=on_error,
        chunk_rows=chunk_rows or rows_of(session),
    )


def answer_type(df: Any, told: Shipped, using: Chosen, result_type: Any, report: Report = silent) -> Answer:
    """What the answer is: as it is said, as the signature has it, or as the first rows show.

    :raises UsageError: it is none of Spark's types, or there are no rows.
    """
    if result_type is not None:
        return types.answer_of(result_type)
    if (known := types.of_signature(told.model)) is not None:
        return known
    import pyarrow as pa

    first = df.select(*using.columns).limit(_FIRST)
    collected = first.toArrow() if hasattr(first, "toArrow") else pa.Table.from_batches(first._collect_as_arrow())  # noqa: SLF001 - Spark 3.5 has no other
    if not collected.num_rows:
        raise UsageError(
            "the model has no signature that says what it answers, and there are no rows that would show it",
            hint="result_type says what it is",
        )
    table = model_table(collected, using.inputs)
    built = pipeline.provide(told.asked, told.settings, report)
    with pipeline.start(built, told.settings) as worker:
        found = worker.predict(ipc(table), request.ARROW_STREAM)
    return types.of_answer(request.answer_of(found.payload, found.content_type), table.num_rows)


def _fields(answer: Answer, using: Chosen, output: str | None) -> Any:
    """The columns that come out.

    :raises UsageError: two of them would have one name.
    """
    from pyspark.sql.types import StructField, StructType

    own = [StructField(str(output), answer.value_type, nullable=True)]
    behind = list(answer.fields.fields) if output is None else own
    known = {field.name.casefold() for field in using.kept}
    twice = [field.name for field in behind if field.name.casefold() in known]
    if twice:
        raise UsageError(
            f"the DataFrame has a column {twice[0]!r} already, as the answer would have",
            hint="output= gives the answer's column another name; keep= says which of the DataFrame's stay",
        )
    return StructType([*using.kept, *behind])
