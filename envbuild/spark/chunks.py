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
    waiting: list[Any] = []
    for batch in batches:
        if not batch.num_rows:
            continue
        if waiting and batch.schema != waiting[0].schema:
            yield _together(waiting)
            waiting = []
        waiting.append(batch)
        count = sum(one.num_rows for one in waiting)
        if rows is None and (count >= MOST_ROWS or sum(one.nbytes for one in waiting) >= BLOCK):
            yield _together(waiting)
            waiting = []
        elif rows is not None and count >= rows:
            whole, end = _together(waiting), count - count % rows
            yield from (whole.slice(start, rows) for start in range(0, end, rows))
            waiting = [whole.slice(end)] if end < count else []
    if waiting:
        yield _together(waiting)


def _together(batches: list[Any]) -> Any:
    import pyarrow as pa

    if len(batches) == 1:
        return batches[0]
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
