"""``envbuild batch --engine spark``: the files of the local engine, by Spark; and what it says where it cannot."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from kit import REPO, cli, cli_environ
from sparks import environ_of

# Spark is installed for them.
slow, soak = pytest.mark.slow, pytest.mark.soak
HEART = REPO / "tests" / "models" / "py311_mlflow3_17" / "heart"
Batch = Callable[..., "subprocess.CompletedProcess[str]"]


def by_spark(python: Path, home: Path, *words: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
    argv = [str(python), "-m", "envbuild", *map(str, words), "--engine", "spark"]
    environ = environ_of(python, home, **more)
    return subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture
def batch(python_of: Callable[[str], Path], shared_home: Path) -> Batch:
    def call(*words: str | Path, release: str = "4.1", **more: str) -> subprocess.CompletedProcess[str]:
        return by_spark(python_of(release), shared_home, "batch", *words, "--master", "local[2]", **more)

    return call


def hearts(path: Path, rows: int) -> Path:
    body = json.loads((HEART.parent / "heart.input.json").read_text())
    table = body.get("dataframe_split") or body
    text = io.StringIO()
    written = csv.writer(text)
    written.writerow(["id", *table["columns"]])
    written.writerows([f"{number:03}r", *table["data"][number % len(table["data"])]] for number in range(rows))
    path.write_text(text.getvalue())
    return path


def lines(folder: Path) -> list[str]:
    """The lines of all parts, with the header once."""
    parts = [path.read_text().splitlines() for path in sorted(folder.glob("part-*")) if path.stat().st_size]
    return [*parts[0][:1], *(line for part in parts for line in part[1:])]


@slow
@pytest.mark.parametrize("release", [pytest.param("3.5", marks=soak), "4.1"])
def test_a_csv_becomes_what_the_local_engine_makes_of_it(
    batch: Batch, shared_home: Path, tmp_path: Path, release: str
) -> None:
    source = hearts(tmp_path / "rows.csv", 300)
    done = batch(HEART, source, tmp_path / "spark.csv", "--keep", "id", "--json", release=release)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["rows"], said["failed"], said["engine"]) == (300, 0, "spark")
    local = cli("batch", HEART, source, tmp_path / "local.csv", "--keep", "id", environ=cli_environ(shared_home))
    assert local.returncode == 0, local.stderr
    assert lines(tmp_path / "spark.csv") == (tmp_path / "local.csv").read_text().splitlines()


@slow
def test_parquet_and_json_lines_are_read_and_written(batch: Batch, acting: Mapping[str, Path], tmp_path: Path) -> None:
    rows = [{"x": x, "tags": ["a", None], "when": "2020-01-01"} for x in range(1, 50)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table, act = ("--result-type", "label string, score double"), ("--set-env", "ACT=table")
    once = batch(acting["arrow"], tmp_path / "in.jsonl", tmp_path / "one.parquet", "--keep", "x", *table, *act)
    assert once.returncode == 0, once.stderr
    again = batch(acting["arrow"], tmp_path / "one.parquet", tmp_path / "two.jsonl", "--keep", "label", "--set-env",
                  "ACT=doubled", "--json")  # fmt: skip
    assert again.returncode == 0, again.stderr
    parts = sorted((tmp_path / "two.jsonl").glob("part-*"))
    found = [json.loads(line) for path in parts for line in path.read_text().splitlines()]
    # What it answers is seen by its first rows.
    assert found == [{"label": "a" if x % 2 else "b", "prediction": 2.0 * x} for x in range(1, 50)]


@slow
def test_rows_that_fail_stop_it_or_are_counted(batch: Batch, acting: Mapping[str, Path], tmp_path: Path) -> None:
    source = tmp_path / "rows.csv"
    source.write_text("x\n" + "".join(f"{x}\n" for x in range(40)))
    words = (acting["arrow"], source, tmp_path / "out.csv", "--result-type", "double", "--set-env", "ACT=picky")
    stopped = batch(*words)
    assert stopped.returncode == 7, stopped.stderr
    assert (
        "error[model-raised]: partition 0, row 14: the model's predict raised an exception: ValueError: 13 brings bad luck"
        in stopped.stderr
    )
    assert "org.apache.spark" not in stopped.stderr
    assert not (tmp_path / "out.csv").exists()
    skipped = batch(*words, "--on-error", "skip", "--json")
    assert (skipped.returncode, json.loads(skipped.stdout)["rows"]) == (0, 39), skipped.stderr
    assert json.loads(skipped.stdout)["failed"] == 1
    there = batch(*words, "--on-error", "null")
    assert (there.returncode, "is there already" in there.stderr) == (2, True)
    nulled = batch(*words, "--on-error", "null", "--restart")
    assert nulled.returncode == 0, nulled.stderr
    assert sum(line in ("", '""') for line in lines(tmp_path / "out.csv")) == 1


@slow
@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("nowhere.csv", "out.csv"), 6, "error[input-invalid]"),
        (("rows.csv", "out.csv", "--conf", "nonsense"), 2, "--conf nonsense is not NAME=VALUE"),
        pytest.param(("rows.csv", "out.xls"), 6, "does not say what it holds", marks=soak),
        (("rows.csv", "-"), 2, "no streams"),
        (("rows.csv", "out.csv", "--resume"), 2, "--restart"),
        (("bad.csv", "out.csv"), 6, "malformed"),
        pytest.param(("rows.csv", "out.csv", "--result-type", "nonsense"), 2, "none of Spark's", marks=soak),
        pytest.param(("rows.csv", "out.csv", "--keep", "y"), 2, "no column 'y'", marks=soak),
    ],
)
def test_what_cannot_be_done_is_said(
    batch: Batch, acting: Mapping[str, Path], tmp_path: Path, words: tuple[str, ...], status: int, said: str
) -> None:
    (tmp_path / "rows.csv").write_text("x\n1\n")
    bad = hearts(tmp_path / "bad.csv", 3)
    bad.write_text(bad.read_text().replace("002r,", "002r,no number and too much,"))
    model = HEART if "bad.csv" in words else acting["json"]
    paths = [tmp_path / word if word.endswith((".csv", ".xls")) else word for word in words]
    done = batch(model, *paths)
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.csv").exists()


@slow
def test_a_master_that_is_not_there_and_a_java_that_is_not_are_said(
    python_of: Callable[[str], Path], shared_home: Path, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text("x\n1\n")
    words: tuple[Any, ...] = ("batch", HEART, tmp_path / "rows.csv", tmp_path / "out.csv")
    nobody = by_spark(python_of("4.1"), shared_home, *words, "--master", "nonsense://127.0.0.1:9")
    assert (nobody.returncode, "error[spark-unavailable]" in nobody.stderr) == (5, True), nobody.stderr
    path = tmp_path / "bin"
    path.mkdir()
    (path / "bash").symlink_to("/bin/bash")
    (path / "dirname").symlink_to("/usr/bin/dirname")
    no_java = by_spark(python_of("4.1"), shared_home, *words, PATH=str(path), JAVA_HOME="")
    assert (no_java.returncode, "error[spark-unavailable]" in no_java.stderr) == (5, True), no_java.stderr
    assert "Java" in no_java.stderr


# Without Spark


def test_without_its_extra_spark_is_named(home: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("x\n1\n")
    done = cli(
        "batch", HEART, tmp_path / "rows.csv", tmp_path / "out.csv", "--engine", "spark", environ=cli_environ(home)
    )
    assert (done.returncode, "error[spark-unavailable]" in done.stderr) == (5, True), done.stderr
    assert "pip install 'envbuild[spark]'" in done.stderr


@pytest.mark.parametrize("words", [("--master", "local[2]"), ("--ship", "bundle"), ("--multi-line",)])
def test_what_is_for_spark_is_for_it_alone(home: Path, tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "rows.csv").write_text("x\n1\n")
    done = cli("batch", HEART, tmp_path / "rows.csv", tmp_path / "out.csv", *words, environ=cli_environ(home))
    assert (done.returncode, f"{words[0]} is for --engine spark" in done.stderr) == (2, True), done.stderr
