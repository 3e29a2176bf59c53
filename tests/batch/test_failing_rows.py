"""Rows that fail: named, left out, or made null."""

from __future__ import annotations

import json
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from acted import Acting

from envbuild.errors import (
    InputError,
    ModelRaised,
    OutOfMemory,
    OutputInvalid,
    TimedOut,
    WorkerExited,
    WorkerKilled,
)

Twice = Callable[[int], str]


def errors_of(acting: Acting, name: str = "out.errors.jsonl") -> list[tuple[int, int, int | None, str]]:
    said = [json.loads(line) for line in (acting.here / name).read_text().splitlines()]
    return [(one["row"], one["to_row"], one["line"], one["code"]) for one in said]


def without(text: str, *rows: int) -> str:
    return "".join(line for at, line in enumerate(text.splitlines(keepends=True)) if at not in rows)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("row", [1, 10, 11, 37, 95])
def test_a_failing_row_stops_the_batch_and_is_named(acting: Acting, row: int, workers: int) -> None:
    with pytest.raises(ModelRaised, match="a bad row") as caught:
        acting.batch(acting.csv(95, **{f"r{row}": "bad"}), workers=workers)
    assert str(caught.value).startswith(f"{acting.here}/in.csv:{row + 1}: row {row}: the model's predict raised")
    assert not (acting.here / "out.csv").exists()


def test_of_several_failing_rows_the_first_is_named(acting: Acting) -> None:
    with pytest.raises(OutputInvalid, match=r"in\.csv:14: row 13: .*set"):
        acting.batch(acting.csv(60, r19="set", r13="set", r55="bad"), workers=2)


@pytest.mark.parametrize("workers", [1, 2])
def test_rows_that_fail_are_left_out_and_kept_elsewhere(acting: Acting, twice: Twice, workers: int) -> None:
    bad = {1, 2, 34, 60, 95}
    done = acting.batch(acting.csv(95, **{f"r{row}": "bad" for row in bad}), on_error="skip", workers=workers)
    assert (done.rows, done.skipped, done.nulled, done.files[0].rows) == (95, 5, 0, 90)
    assert (acting.here / "out.csv").read_text() == without(twice(95), *bad)
    assert (acting.here / "out.skipped.csv").read_text() == "id,x\n" + "".join(f"{row},bad\n" for row in sorted(bad))
    assert errors_of(acting) == [(row, row, row + 1, "model-raised") for row in sorted(bad)]
    assert acting.names() == ["in.csv", "out.csv", "out.errors.jsonl", "out.skipped.csv"]


def test_the_files_of_an_earlier_batch_s_failures_go(acting: Acting) -> None:
    acting.batch(acting.csv(5, r3="bad"), on_error="skip")
    acting.batch(acting.csv(5))
    assert acting.names() == ["in.csv", "out.csv"]


def test_rows_that_fail_become_nulls_in_their_places(acting: Acting, twice: Twice) -> None:
    done = acting.batch(acting.csv(45, r7="bad", r31="set"), on_error="null", keep=["id"])
    lines = (acting.here / "out.csv").read_text().splitlines()
    assert (done.rows, done.skipped, done.nulled, done.files[0].rows) == (45, 0, 2, 45)
    assert [line for line in lines if line.endswith(",")] == ["7,", "31,"]
    assert len(lines) == 46
    acting.batch(acting.csv(45, r7="bad"), "out.jsonl", on_error="null")
    answers = [json.loads(line) for line in (acting.here / "out.jsonl").read_text().splitlines()]
    assert (answers[6], answers[7]) == ({"prediction": None}, {"prediction": 16.0})
    acting.batch(acting.csv(45, r7="bad"), "alone.csv", on_error="null")
    assert (acting.here / "alone.csv").read_text() == twice(45).replace("\n14.0\n", '\n""\n')


def test_lines_are_those_of_the_file_whatever_stands_in_the_rows(acting: Acting) -> None:
    rows = [f'"a\n\n{n}",{n}' for n in range(1, 31)]
    rows[16] = '"17\n",bad'
    acting.batch(acting.file("in.csv", "\n\nid,x\n\n" + "\n\n".join(rows) + "\n"), on_error="skip")
    assert errors_of(acting) == [(17, 17, 5 + 16 * 4, "model-raised")]
    assert (acting.here / "out.skipped.csv").read_text() == 'id,x\n"17\n",bad\n'


def test_rows_of_json_lines_and_parquet_are_kept_too(acting: Acting) -> None:
    rows = [{"id": n, "x": "bad" if n == 17 else str(n)} for n in range(1, 31)]
    lines = acting.file("in.jsonl", "\n".join(json.dumps(row) for row in rows))
    acting.batch(lines, on_error="skip")
    assert errors_of(acting) == [(17, 17, 17, "model-raised")]
    assert (acting.here / "out.skipped.jsonl").read_text() == '{"id": 17, "x": "bad"}\n'
    pq.write_table(pa.Table.from_pylist(rows), acting.here / "in.parquet", row_group_size=12)
    acting.batch(acting.here / "in.parquet", on_error="skip")
    assert errors_of(acting) == [(17, 17, None, "model-raised")]
    assert (acting.here / "out.skipped.jsonl").read_text() == '{"id": 17, "x": "bad"}\n'


def test_what_is_no_json_is_named_by_its_line(acting: Acting) -> None:
    rows = [json.dumps({"x": n}) for n in range(1, 31)]
    rows[16] = "{"
    source = acting.file("in.jsonl", "\n".join(rows) + "\n")
    with pytest.raises(InputError, match=r"in\.jsonl:17: row 17: line 17 is not JSON"):
        acting.batch(source)
    assert acting.batch(source, on_error="skip", restart=True).skipped == 1


def test_text_that_is_no_utf_8_is_one_bad_row(acting: Acting) -> None:
    source = acting.csv(30)
    source.write_bytes(source.read_bytes().replace(b"17,17\n", b"17,\xff\n"))
    with pytest.raises(InputError, match=r"in\.csv:18: row 17: the CSV is not UTF-8 at line 18"):
        acting.batch(source)
    assert acting.batch(source, on_error="skip", restart=True).skipped == 1
    assert (acting.here / "out.skipped.csv").read_bytes() == b"id,x\n17,\xff\n"


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("act", "kind", "options"),
    [
        ("exit", WorkerExited, {}),
        ("kill", WorkerKilled, {}),
        ("memory", OutOfMemory, {}),
        ("sleep", TimedOut, {"predict_timeout": 2.0}),
    ],
)
def test_what_ends_a_worker_takes_its_chunk_and_no_other(
    acting: Acting, twice: Twice, act: str, kind: type[Exception], options: dict[str, float]
) -> None:
    source = acting.csv(45, r17=act)
    with pytest.raises(kind, match=r"in\.csv:12: rows 11 to 20 \(lines 12 to 21\)"):
        acting.batch(source, **options)
    done = acting.batch(source, on_error="skip", restart=True, **options)
    assert (done.rows, done.skipped) == (45, 10)
    assert (acting.here / "out.csv").read_text() == without(twice(45), *range(11, 21))


def test_other_numbers_of_values_than_rows_are_refused(acting: Acting) -> None:
    with pytest.raises(OutputInvalid, match="row 17: predictions have 0 values, and the input has 1 rows"):
        acting.batch(acting.csv(45, r17="short"))


def test_where_nothing_goes_well_the_batch_stops(acting: Acting) -> None:
    source = acting.csv(1000, **{f"r{row}": "bad" for row in range(1, 1001)})
    with pytest.raises(ModelRaised, match="rows 1 to 1000"):
        acting.batch(source, on_error="skip", chunk_rows=1000)


def test_without_an_answer_nobody_knows_the_columns_of_nulls(acting: Acting) -> None:
    with pytest.raises(ModelRaised, match="row 1: "):
        acting.batch(acting.csv(3, r1="bad", r2="bad", r3="bad"), on_error="null")
    done = acting.batch(acting.csv(3, r1="bad"), on_error="null", restart=True)
    assert (done.rows, done.nulled) == (3, 1)
    assert (acting.here / "out.csv").read_text() == 'prediction\n""\n4.0\n6.0\n'
