"""Batches: what is read, what is written, in which order, and what stands where."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from acted import Acting

from envbuild.errors import InputError, InputNotFound, UsageError

Twice = Callable[[int], str]


@pytest.mark.parametrize("rows", [1, 9, 10, 11, 95])
def test_each_row_has_its_answer_in_its_place(acting: Acting, twice: Twice, rows: int) -> None:
    done = acting.batch(acting.csv(rows))
    assert (acting.here / "out.csv").read_text() == twice(rows)
    assert (done.rows, done.skipped, done.nulled, done.nulls, done.resumed) == (rows, 0, 0, 0, False)
    assert [(file.path, file.rows) for file in done.files] == [(str(acting.here / "out.csv"), rows)]
    assert acting.names() == ["in.csv", "out.csv"]


def test_a_slow_worker_does_not_change_the_order(acting: Acting) -> None:
    acting.batch(acting.csv(100, r1="slow", r22="slow", r23="slow", r64="slow"), workers=2)
    answers = [float(line) for line in (acting.here / "out.csv").read_text().split()[1:]]
    slow = [n for n in range(1, 101) if answers[n - 1] != 2 * n]
    assert (len(answers), slow) == (100, [1, 22, 23, 64])
    assert len({answers[n - 1] for n in slow}) == 2, "there was one worker alone"


def test_every_format_in_gives_the_same_answers(acting: Acting, twice: Twice) -> None:
    rows = [{"id": n, "x": n} for n in range(1, 36)]
    plain = acting.csv(35)
    lines = acting.file("in.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    packed = acting.file("packed.csv.gz", gzip.compress(plain.read_bytes()))
    packed_lines = acting.file("packed.ndjson.gz", gzip.compress(lines.read_bytes()))
    pq.write_table(pa.Table.from_pylist(rows), acting.here / "in.parquet", row_group_size=13)
    for source in (plain, lines, packed, packed_lines, acting.here / "in.parquet"):
        assert acting.batch(source).rows == 35, source
        assert (acting.here / "out.csv").read_text() == twice(35), source


def test_every_format_out_has_the_same_answers(acting: Acting) -> None:
    source = acting.csv(25)
    expected = [{"prediction": 2.0 * n} for n in range(1, 26)]
    acting.batch(source, "out.jsonl")
    acting.batch(source, "out.parquet")
    assert [json.loads(line) for line in (acting.here / "out.jsonl").read_text().splitlines()] == expected
    table = pq.read_table(acting.here / "out.parquet")
    assert (table.to_pylist(), table.schema.types) == (expected, [pa.float64()])
    assert acting.names() == ["in.csv", "out.jsonl", "out.parquet"]


def test_parquet_has_one_schema_for_all_chunks(acting: Acting) -> None:
    source = acting.file("in.csv", "id,x\n" + "".join(f"{n},\n" for n in range(10)) + "10,4\n11,5\n")
    acting.batch(source, "out.parquet")
    table = pq.read_table(acting.here / "out.parquet")
    assert table.schema.types == [pa.float64()]
    assert table["prediction"].to_pylist() == [None] * 10 + [8.0, 10.0]


def test_what_the_files_of_a_csv_may_look_like(acting: Acting, twice: Twice) -> None:
    rows = [f'{n},"{n}"' if n % 3 else f'"a\r\nb "" {n}, ",{n}' for n in range(1, 36)]
    forms = {
        "plain": "id,x\n" + "\n".join(rows) + "\n",
        "no end": "id,x\n" + "\n".join(rows),
        "crlf": "id,x\r\n" + "\r\n".join(rows) + "\r\n",
        "bom": "\ufeffid,x\n" + "\n".join(rows),
        "blank": "\n\nid,x\n\n" + "\n\n".join(rows) + "\n\n",
    }
    for form, text in forms.items():
        assert acting.batch(acting.file("in.csv", text)).rows == 35, form
        assert (acting.here / "out.csv").read_text() == twice(35), form


def test_without_rows_there_is_an_empty_output(acting: Acting) -> None:
    for text in ("", "\n", "id,x", "id,x\n", "id,x\n\n\n"):
        assert acting.batch(acting.file("in.csv", text)).rows == 0
        assert (acting.here / "out.csv").read_bytes() == b""
    assert acting.batch(acting.file("in.jsonl", ""), "out.parquet").rows == 0
    assert pq.read_table(acting.here / "out.parquet").num_rows == 0


def test_several_files_become_one(acting: Acting, twice: Twice) -> None:
    whole = acting.csv(57).read_text().splitlines(keepends=True)
    for name, rows in {"b": whole[1:24], "a": whole[24:24], "c": whole[24:]}.items():
        acting.file(f"part-{name}.csv", "".join([whole[0], *rows]))
    assert acting.batch(str(acting.here / "part-*.csv")).rows == 57
    assert (acting.here / "out.csv").read_text() == twice(57)
    with pytest.raises(InputNotFound, match="no file matches"):
        acting.batch(str(acting.here / "none-*.csv"))


def test_a_folder_becomes_a_folder(acting: Acting, twice: Twice) -> None:
    (acting.here / "in").mkdir()
    for name, rows in {"a.csv": 12, "b.csv.gz": 31, "note.txt": 3}.items():
        text = acting.csv(rows, "some.csv").read_bytes()
        (acting.here / "in" / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    done = acting.batch(acting.here / "in", "out/", to="jsonl")
    assert sorted(path.name for path in (acting.here / "out").iterdir()) == ["a.jsonl", "b.jsonl"]
    assert [file.rows for file in done.files] == [12, 31]
    acting.batch(acting.here / "in", "out/")
    assert (acting.here / "out" / "b.csv").read_text() == twice(31)


def test_files_of_one_output_have_one_header(acting: Acting) -> None:
    acting.csv(5, "a.csv")
    acting.file("b.csv", "x,id\n1,2\n")
    with pytest.raises(InputError, match=r"b\.csv has another header line than .*a\.csv"):
        acting.batch([acting.here / "a.csv", acting.here / "b.csv"])
    assert acting.batch([acting.here / "a.csv", acting.here / "b.csv"], "out/").rows == 6


def test_columns_of_the_input_stand_before_the_answer(acting: Acting) -> None:
    acting.batch(acting.csv(12), keep=["id"])
    assert (acting.here / "out.csv").read_text().splitlines()[:3] == ["id,prediction", "1,2.0", "2,4.0"]
    with pytest.raises(InputError, match="the input has no column 'name' to keep"):
        acting.batch(acting.csv(12), "other.csv", keep=["name"])


def test_an_answer_of_several_columns_is_a_table(acting: Acting) -> None:
    source = acting.file("in.csv", 'x,table\n1,"a, b"\n2,\n,"c\n"\n')
    acting.batch(source)
    assert (acting.here / "out.csv").read_text() == 'twice,text\n2.0,"a, b"\n4.0,\n,"c\n"\n'
    acting.batch(source, "out.jsonl")
    answers = [json.loads(line) for line in (acting.here / "out.jsonl").read_text().splitlines()]
    assert answers[0] == {"twice": 2.0, "text": "a, b"}


def test_a_missing_answer_is_no_blank_line(acting: Acting) -> None:
    acting.batch(acting.file("in.csv", "id,x\n1,1\n2,\n3,3\n"))
    assert (acting.here / "out.csv").read_text() == 'prediction\n2.0\n""\n6.0\n'


def test_other_columns_than_before_are_an_error_that_names_the_rows(acting: Acting) -> None:
    rows = [f"{n},{'a' if n < 15 else 'b'}" for n in range(1, 31)]
    source = acting.file("in.csv", "\n".join(["x,columns", *rows]) + "\n")
    with pytest.raises(Exception, match=r"in\.csv:22: rows 21 to 30 .*: the answer has the columns b, .* had a"):
        acting.batch(source)


def test_a_record_with_more_fields_than_the_header_is_never_shifted(acting: Acting) -> None:
    rows = [f"{n},{n}" for n in range(1, 31)]
    rows[20] = "21,21,21"
    source = acting.file("in.csv", "\n".join(["id,x", *rows]) + "\n")
    with pytest.raises(InputError, match=r"in\.csv:22: the record has 3 fields, and the header 2"):
        acting.batch(source)


def test_a_quote_that_is_never_closed_is_an_error(acting: Acting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envbuild.batching.reading.LONGEST", 1000)
    monkeypatch.setattr("envbuild.batching.reading.BLOCK", 500)
    rows = [f"{n},{n}\n" for n in range(1, 1000)]
    with pytest.raises(InputError, match="longer than") as caught:
        acting.batch(acting.file("in.csv", "id,x\n" + "".join(rows[:50]) + '51,"51\n' + "".join(rows[51:])))
    assert "is a quote never closed" in str(caught.value.hint)


def test_what_cannot_be_read_or_written_is_said_before_anything_is_built(acting: Acting) -> None:
    source = acting.csv(3)
    wrong = {
        "no input": ([acting.here / "none.csv"], "out.csv", InputNotFound, "there is no input"),
        "no rows": ([acting.file("in.json", "{}")], "out.csv", InputError, "is not cut into rows"),
        "itself": ([source], "in.csv", UsageError, "is read and would be written"),
        "ending": ([source], "out.xlsx", UsageError, "none of .csv"),
        "folder": ([source], "no/such/out.csv", UsageError, "there is no directory"),
        "twice": ([source, acting.file("in.jsonl", "{}")], "out.csv/", None, ""),
    }
    for case, (sources, target, kind, message) in wrong.items():
        if kind is None:
            with pytest.raises(UsageError, match="would both be written"):
                acting.batch(sources, acting.here.name + "/../both/", to="csv")
            continue
        with pytest.raises(kind, match=message):
            acting.batch(sources, target)
        assert not (acting.here / target).exists() or target == "in.csv", case


def test_a_full_disk_is_said_and_can_be_gone_on_with(acting: Acting) -> None:
    import resource

    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    source = acting.csv(2000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8000, limit[1]))
    try:
        with pytest.raises(UsageError, match=r"out\.csv\.partial cannot be written: File too large"):
            acting.batch(source)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not (acting.here / "out.csv").exists()
    assert acting.batch(source, resume=True).rows == 2000
    assert (acting.here / "out.csv").read_text().splitlines()[1:] == [str(2.0 * n) for n in range(1, 2001)]


def test_an_input_that_changes_meanwhile_is_refused(acting: Acting) -> None:
    source = acting.csv(100)

    def lengthen(progress: object) -> None:
        with source.open("a") as file:
            file.write("0,0\n")

    with pytest.raises(InputError, match="has changed while it was read"):
        acting.batch(source, tell=lengthen)
    assert not (acting.here / "out.csv").exists()


def test_what_was_there_stays_until_the_batch_is_complete(acting: Acting) -> None:
    (acting.here / "out.csv").write_text("the last one\n")
    (acting.here / "out.csv").chmod(0o600)
    with pytest.raises(Exception, match="a bad row"):
        acting.batch(acting.csv(30, r25="bad"))
    assert (acting.here / "out.csv").read_text() == "the last one\n"
    acting.batch(acting.csv(30), restart=True)
    assert (acting.here / "out.csv").stat().st_mode & 0o777 == 0o600


def test_progress_counts_rows_and_bytes(acting: Acting) -> None:
    seen = []
    acting.batch(acting.csv(45), tell=seen.append)
    assert [progress.rows for progress in seen] == [10, 20, 30, 40, 45]
    assert seen[-1].fraction == 1.0


def test_a_model_that_cannot_be_loaded_leaves_nothing_behind_but_the_beginning(acting: Acting, tmp_path: Path) -> None:
    del tmp_path
    (acting.model / "broken").touch()
    try:
        with pytest.raises(Exception, match="cannot be loaded"):
            acting.batch(acting.csv(5))
    finally:
        (acting.model / "broken").unlink()
    assert not (acting.here / "out.csv").exists()
