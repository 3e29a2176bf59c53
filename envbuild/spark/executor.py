"""Executors: a partition's batches, predicted by a worker in the model's own environment.

Each of Spark's Python processes keeps the workers of the models that it was asked for last, from task to task. They end with
it: when the executor goes, when Spark ends a process that idles, and when it kills the process of a task that was cancelled.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from envbuild import __version__, pipeline
from envbuild.batching import failing
from envbuild.batching.chunk import Chunk, TableRows, ipc
from envbuild.batching.failing import Bad, ChunkFailed
from envbuild.errors import EnvbuildError, InputMismatch, LockError, UsageError
from envbuild.lock import read_kept
from envbuild.override.merging import settings_from
from envbuild.pipeline import Built, Locked
from envbuild.progress import Step
from envbuild.request import ARROW_STREAM
from envbuild.settings import Settings
from envbuild.spark.answers import Arranged, arranged, nothing
from envbuild.spark.chunks import chunks_of
from envbuild.spark.recipe import Recipe

if TYPE_CHECKING:
    from envbuild.bridge import Pool, Prediction

# Of several models in one job each has a worker; beyond these the one that was asked longest ago is ended.
_MOST: Final = 4
_IDLE_SECONDS: Final = 300.0


class Failed(Exception):
    """What Spark is told: an error with its code and its hint, and no more of a trace than Spark adds."""

    def __init__(self, error: EnvbuildError, where: str) -> None:
        lines = [f"error[{error.code}]: {where}{error}", *(f"  {line}" for line in error.details)]
        lines += [f"  hint: {error.hint}"] if error.hint else []
        super().__init__("\n".join(lines))


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A part of a DataFrame."""

    recipe: Recipe
    inputs: tuple[tuple[int, str], ...]
    """The model's columns: the place of each in a batch, and its name."""
    kept: int
    """How many columns of a batch stand before the answer; they are its first."""
    names: tuple[str, ...]
    """Those of the columns that come out."""
    nested: bool = False
    """The answer's columns are to be the fields of one."""
    counted: Callable[[int, int], None] | None = None
    """Hears of each chunk's rows, and how many of them failed."""

    def batches(self, batches: Iterator[Any]) -> Iterator[Any]:
        """What comes out of what Spark hands over, batch by batch (``mapInArrow``)."""
        import pyarrow as pa

        before = 0
        for batch in chunks_of(batches, self.recipe.chunk_rows):
            parts = predicted(self.recipe, model_table(batch, self.inputs), before)
            kept = [batch.column(at) for at in range(self.kept)]
            for before_it, answer in joined(self.recipe, kept, parts):
                behind = [structs(answer, self.recipe)] if self.nested else list(answer)
                yield pa.RecordBatch.from_arrays([*before_it, *behind], names=list(self.names))
            if self.counted is not None:
                failed = sum(part.stop - part.start for part in parts if isinstance(part, Bad))
                self.counted(batch.num_rows, failed)
            before += batch.num_rows


def model_table(batch: Any, inputs: Sequence[tuple[int, str]]) -> Any:
    """The model's columns of a batch, by their places and names."""
    import pyarrow as pa

    return pa.table([batch.column(at) for at, _ in inputs], names=[name for _, name in inputs])


def predicted(recipe: Recipe, table: Any, before: int) -> tuple[failing.Part, ...]:
    """What came of some rows: answers with their columns, and rows that failed.

    :param before: how many rows of the partition stand before them.
    :raises Failed: the job is to stop; says which rows of which partition.
    """
    rows = TableRows(table)
    payload = ipc(table)
    chunk = Chunk(source=0, content_type=ARROW_STREAM, payload=payload, position=0, lines=0, read=0, rows=rows)
    try:
        pool = opened(recipe)
        return failing.predicted(chunk, partial(_asked, pool, recipe), recipe.on_error)
    except ChunkFailed as failed:
        message = failing.absolute(failed.bad.error, failed.bad, chunk, before)
        error = type(failed.bad.error)(message, hint=failed.bad.error.hint, details=failed.bad.error.details)
        raise Failed(error, _where(before + failed.bad.start + 1, before + failed.bad.stop)) from None
    except EnvbuildError as error:
        raise Failed(error, "") from None


def _asked(pool: Pool, recipe: Recipe, payload: bytes | memoryview, content_type: str) -> Prediction:
    answer = pool.predict(payload, content_type, accept=ARROW_STREAM)
    return arranged(answer, _rows_of(payload), recipe.result)


def _rows_of(payload: bytes | memoryview) -> int:
    import pyarrow as pa

    with pa.ipc.open_stream(pa.py_buffer(payload)) as stream:
        return sum(batch.num_rows for batch in stream)


def _where(first: int, last: int) -> str:
    from pyspark import TaskContext

    context = TaskContext.get()
    place = "" if context is None else f"partition {context.partitionId()}, "
    return f"{place}row {first}: " if first == last else f"{place}rows {first} to {last}: "


def structs(columns: Sequence[Any], recipe: Recipe) -> Any:
    """An answer's columns as one column of structs."""
    import pyarrow as pa

    fields = [pa.field(name, kind) for name, kind in recipe.result.fields]
    return pa.StructArray.from_arrays(list(columns), fields=fields)


def joined(
    recipe: Recipe, kept: Sequence[Any], parts: Sequence[failing.Part]
) -> Iterator[tuple[list[Any], Sequence[Any]]]:
    """The columns that are kept and those of the answer, part by part."""
    for part in parts:
        if isinstance(part, Bad):
            if recipe.on_error == "null":
                count = part.stop - part.start
                yield [column.slice(part.start, count) for column in kept], nothing(count, recipe.result)
        elif isinstance(part.answer, Arranged):
            count = len(part.answer.columns[0])
            yield [column.slice(part.start, count) for column in kept], part.answer.columns


# The models of this process


_OPEN: OrderedDict[str, Pool] = OrderedDict()


def opened(recipe: Recipe) -> Pool:
    """The workers of a recipe's model; started where this process has none yet.

    :raises EnvbuildError: the environment or the model cannot be had here.
    """
    if recipe.key in _OPEN:
        _OPEN.move_to_end(recipe.key)
        return _OPEN[recipe.key]
    if recipe.version != __version__:
        raise UsageError(
            f"the driver has envbuild {recipe.version}, this executor has {__version__}",
            hint="install the same version on both",
        )
    while len(_OPEN) >= _MOST:
        _OPEN.popitem(last=False)[1].close()
    told = {"idle_timeout": _IDLE_SECONDS, **recipe.settings, "home": recipe.source.home, "workers": 1}
    settings = settings_from(told).without_override()
    pool = _OPEN[recipe.key] = pipeline.keep(_built(recipe, settings), settings)
    return pool


def _built(recipe: Recipe, settings: Settings) -> Built:
    source = recipe.source
    if source.ship == "bundle":
        bundle = _sent(source.model)
        settings = settings.having(bundle=bundle, offline=True)
        asked = pipeline.ask(bundle, settings, _say)
        locked = pipeline.lock(asked, settings, _say)
    else:
        model = _sent(source.model) if source.ship == "model" else Path(source.model)
        asked = pipeline.ask(model, settings, _say)
        locked = Locked(
            asked=asked, lock=read_kept(source.lock or "", "the driver's lock"), source="driver", notices=()
        )
    if locked.lock.hash not in source.lock_hashes:
        raise LockError(f"the lock here is {locked.lock.hash[:12]}, and not the driver's {source.lock_hashes[0][:12]}")
    built = pipeline.build(locked, settings, _say)
    for notice in built.notices:
        sys.stderr.write(f"warning[{notice.code}]: {notice.message}\n")
    return built


def _sent(name: str) -> Path:
    """Where a file lies here that the driver has sent."""
    from pyspark import SparkFiles

    return Path(SparkFiles.get(name))


def _say(step: Step) -> None:
    """What takes long stands in the executor's log."""
    if step.done:
        sys.stderr.write(f"envbuild: {step.phase}: {step.text}\n")


def renamed(table: Any, names: Sequence[str], required: Sequence[str]) -> Any:
    """A table with the model's columns alone, by their names, or by their order where there is one and it has no name.

    :param names: those of the signature; none: whatever there is.
    :param required: those that must be there.
    :raises InputMismatch: one is missing.
    """
    if not names:
        return table
    if table.num_columns == 1 and len(names) == 1:
        return table.rename_columns(list(names))
    known = {name.casefold(): name for name in reversed(table.column_names)} | {one: one for one in table.column_names}
    missing = [name for name in required if name not in known and name.casefold() not in known]
    if missing:
        raise InputMismatch(
            f"the columns {', '.join(map(repr, missing))} of the model's signature are not among those that are given",
            hint=f"these are: {', '.join(map(repr, table.column_names))}",
        )
    found = {name: known.get(name) or known.get(name.casefold()) for name in names}
    return table.select([one for one in found.values() if one]).rename_columns([name for name in names if found[name]])
