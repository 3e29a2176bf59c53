"""Chunks: of the batches that Spark hands over, as many rows as are predicted at once.

Spark's own batches are small (10,000 rows); most models spend more on a call than on its rows, so several are put together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from envbuild.batching.reading import BLOCK, MOST_ROWS

_SETTING: Final = "spark.sql.execution.arrow.maxRecordsPerBatch"
_USUAL: Final = 10_000


def rows_of(session: Any) -> int | None:
    """How many rows Spark itself was told to hand over at once; ``None`` where nobody has changed that."""
    said = int(session.conf.get(_SETTING))
    return said if said > 0 and said != _USUAL else None


def chunks_of(batches: Iterator[Any], rows: int | None) -> Iterator[Any]:
    """Batches of so many rows; where nothing is said, of so many as come to 4 MiB, or 100,000.

    A batch without rows is none, and batches of different columns stay apart.
    """
    waiting, count, size = list[Any](), 0, 0
    for batch in batches:
        if not batch.num_rows:
            continue
        if waiting and batch.schema != waiting[0].schema:
            yield _together(waiting)
            waiting, count, size = [], 0, 0
        waiting.append(batch)
        count, size = count + batch.num_rows, size + batch.nbytes
        if count >= rows if rows is not None else count >= MOST_ROWS or size >= BLOCK:
            whole, step = _together(waiting), rows or count
            over = count % step
            yield from (whole.slice(start, step) for start in range(0, count - over, step))
            waiting, count, size = [whole.slice(count - over)] if over else [], over, 0
    if waiting:
        yield _together(waiting)


def _together(batches: list[Any]) -> Any:
    import pyarrow as pa

    if len(batches) == 1:
        return batches[0]
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
