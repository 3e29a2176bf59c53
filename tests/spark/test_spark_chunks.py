"""How many rows are predicted at once, of what Spark hands over."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pytest

from envbuild.batching.reading import BLOCK, MOST_ROWS
from envbuild.spark.chunks import chunks_of


def batch(start: int, rows: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"a": pa.array(range(start, start + rows), pa.int64())})


def values(chunks: Iterator[pa.RecordBatch]) -> list[list[int]]:
    return [chunk.column(0).to_pylist() for chunk in chunks]


def test_small_batches_are_put_together_and_keep_their_order() -> None:
    found = values(chunks_of(iter([batch(0, 3), batch(3, 0), batch(3, 4)]), None))
    assert found == [[0, 1, 2, 3, 4, 5, 6]]


def test_without_a_number_a_chunk_is_what_comes_to_4_mib() -> None:
    wide = pa.RecordBatch.from_pydict({"a": pa.array([b"x" * (BLOCK // 8)] * 3)})
    found = [chunk.num_rows for chunk in chunks_of(iter([wide] * 8), None)]
    assert found == [9, 9, 6]


def test_without_a_number_a_chunk_is_no_more_than_100_000_rows() -> None:
    small = pa.RecordBatch.from_pydict({"a": pa.array([True] * (MOST_ROWS // 4))})
    assert [chunk.num_rows for chunk in chunks_of(iter([small] * 6), None)] == [MOST_ROWS, MOST_ROWS // 2]


@pytest.mark.parametrize("sizes", [[7], [3, 3, 1], [1] * 7, [0, 7, 0], [2, 5]])
def test_chunks_of_so_many_rows_however_they_come(sizes: list[int]) -> None:
    batches, start = [], 0
    for size in sizes:
        batches.append(batch(start, size))
        start += size
    assert values(chunks_of(iter(batches), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert values(chunks_of(iter(batches), 7)) == [[0, 1, 2, 3, 4, 5, 6]]


def test_what_has_other_columns_stays_apart() -> None:
    other = pa.RecordBatch.from_pydict({"a": pa.array([0.5])})
    assert values(chunks_of(iter([batch(0, 2), other, batch(2, 1)]), None)) == [[0, 1], [0.5], [2]]
    assert values(chunks_of(iter([batch(0, 2), other, batch(2, 1)]), 5)) == [[0, 1], [0.5], [2]]


@pytest.mark.parametrize("rows", [None, 3])
def test_nothing_is_no_chunk(rows: int | None) -> None:
    assert values(chunks_of(iter([]), rows)) == []
    assert values(chunks_of(iter([batch(0, 0)]), rows)) == []
