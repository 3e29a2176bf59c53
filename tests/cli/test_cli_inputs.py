"""What ``envbuild predict`` reads: every ending, compressed or not, for a model whose environment has no library."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from calling import Call, MakeTiny

TABLE = pa.table({"a": [1, 2], "b": ["x", None]})
WANTED = {"a": [1, 2], "b": ["x", None]}


def parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(TABLE, file)
    return file.getvalue()


def arrow(kind: str) -> bytes:
    file = io.BytesIO()
    with getattr(pa.ipc, f"new_{kind}")(file, TABLE.schema) as writer:
        writer.write_table(TABLE)
    return file.getvalue()


FILES = {
    "t.json": json.dumps({"dataframe_split": {"columns": ["a", "b"], "data": [[1, "x"], [2, None]]}}).encode(),
    "t.jsonl": b'{"a": 1, "b": "x"}\n{"a": 2}\n',
    "t.csv": b"\xef\xbb\xbfa,b\r\n1,x\r\n2,\r\n",
    "t.parquet": parquet(),
    "t.arrow": arrow("file"),
    "t.feather": arrow("file"),
    "t.arrows": arrow("stream"),
}


@pytest.mark.parametrize("name", FILES)
def test_every_ending_is_read(call: Call, tiny: MakeTiny, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(FILES[name]))
    model = tiny().path
    for file in (name, f"{name}.gz"):
        done = call("predict", model, file)
        assert done.code == 0, done.stderr
        assert done.json == {"predictions": WANTED}


def test_standard_input_is_read_as_one_says(call: Call, tiny: MakeTiny) -> None:
    kinds = ("--content-type", "text/csv", "--content-encoding", "gzip")
    done = call("predict", tiny().path, "-", *kinds, stdin=gzip.compress(FILES["t.csv"]))
    assert done.json == {"predictions": WANTED}, done.stderr


def test_what_one_says_counts_more_than_the_ending(call: Call, tiny: MakeTiny, tmp_path: Path) -> None:
    (tmp_path / "t.txt.gz").write_bytes(FILES["t.csv"])
    done = call("predict", tiny().path, "t.txt.gz", "--content-type", "text/csv", "--content-encoding", "identity")
    assert done.json == {"predictions": WANTED}, done.stderr


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv.gz", b"a,b\n", "not gzip"),
        ("t.parquet", b"a,b\n", "Parquet file cannot be read"),
        ("t.parquet.gz", b"a,b\n", "not gzip"),
        ("t.arrows", b"\xff\xff\xff\xff\x10\x00\x00\x00nothing", "Arrow IPC data cannot be read"),
        ("t.csv", b"a,b\n1,2,3\n", "line 2 has 3 fields, and the header 2"),
        ("t.csv", b"a,b\n1,\xff\n", "not UTF-8 at line 2"),
        ("t.jsonl", b'{"a": 1}\n[]\n', "line 2 is not a JSON object but a list"),
        ("t.txt.gz", b"", "the ending of t.txt.gz"),
    ],
)
def test_a_file_that_is_not_what_it_says(
    call: Call, tiny: MakeTiny, tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    done = call("predict", tiny().path, name)
    assert (done.code, done.error) == (6, "input-invalid"), done.stderr
    assert words in " ".join(done.stderr.split())


def test_without_the_extra_the_error_names_it(call: Call, tiny: MakeTiny, tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(FILES["t.parquet"])
    absent = tmp_path / "absent" / "pyarrow"
    absent.mkdir(parents=True)
    (absent / "__init__.py").write_text("raise ImportError('not here')\n")
    root = Path(__file__).resolve().parents[2]
    done = call("predict", tiny().path, "t.parquet", env={"PYTHONPATH": f"{absent.parent}:{root}"})
    assert (done.code, done.error) == (6, "input-invalid")
    assert "envbuild[arrow]" in done.stderr
