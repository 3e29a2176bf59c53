"""How many rows a second Spark predicts with a model, in a session on two threads of this machine.

In one session, in turns, on the same Parquet files of as many rows and 13 columns, written nowhere (Spark's ``noop``)::

    envbuild   envbuild.spark.predict: each batch crosses to a worker in the model's own environment
    function   envbuild.spark.udf, the same as a function of columns
    mlflow     mlflow.pyfunc.spark_udf with env_manager="local", in a Python that happens to match
    floor      mapInArrow with the model loaded in Spark's own Python, and nothing else
    json       envbuild, of a model whose environment has no pyarrow (a tenth of the rows; only with --json)
    virtualenv mlflow.pyfunc.spark_udf with env_manager="virtualenv" (once; only with --virtualenv)

It makes a virtualenv with the packages of the model's lock, MLflow among them, and pyspark beside them, and runs itself in it::

    python benchmarks/spark.py tests/models/py311_mlflow3_17/heart [--rows 10000000] [--runs 3]
        [--json tests/models/py36_mlflow1_2/heart] [--virtualenv]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PYSPARK = "pyspark==4.1.4"
REPO = Path(__file__).resolve().parent.parent
_FILES = 20


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model", type=Path, help="its input is NAME.input.json beside it")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path, help="a model with the same columns and no pyarrow")
    parser.add_argument("--virtualenv", action="store_true")
    given = parser.parse_args()
    if importlib.util.find_spec("pyspark") is None or importlib.util.find_spec("mlflow") is None:
        run_in_a_python_that_matches(given.model)
        return
    with tempfile.TemporaryDirectory(prefix="envbuild-spark-bench-") as name:
        measure(given, Path(name))


def run_in_a_python_that_matches(model: Path) -> None:
    """The same command, where MLflow's own function finds what the model needs."""
    envbuild = [sys.executable, "-m", "envbuild"]
    locked = checked([*envbuild, "lock", str(model), "--format", "requirements", "-q"])
    built = json.loads(checked([*envbuild, "build", str(model), "--json", "-q"]))
    own = str(Path(built["path"], "bin", "python").resolve())
    with tempfile.TemporaryDirectory(prefix="envbuild-spark-bench-") as name:
        python = Path(name) / "python" / "bin" / "python"
        pins = [line.split(" ")[0] for line in locked.splitlines() if "==" in line and not line.startswith(("#", " "))]
        wanted = [*pins, PYSPARK, str(REPO)]
        checked([sys.executable, "-m", "uv", "venv", "-q", "--python", own, str(python.parent.parent)])
        checked([sys.executable, "-m", "uv", "pip", "install", "-q", "--python", str(python), *wanted])
        environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONUNBUFFERED")}
        environ |= {"PYSPARK_PYTHON": str(python), "PYTHONDONTWRITEBYTECODE": "", "SPARK_LOCAL_IP": "127.0.0.1"}
        subprocess.run([str(python), *sys.argv], env=environ, check=True)


def measure(given: argparse.Namespace, folder: Path) -> None:
    """A line for each way; they take turns."""
    session = made_session()
    body = json.loads(given.model.with_name(f"{given.model.name}.input.json").read_text())
    frame = written(session, body.get("dataframe_split") or body, given.rows, folder / "rows")
    ways = dict(ways_of(session, frame, str(given.model.absolute())))
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(given.runs + 1):
        for name, way in ways.items():
            taken = timed(way)
            if turn:
                seconds[name].append(taken)
    print(f"{given.rows:,} rows, Spark {session.version}, medians of {given.runs}\n")
    print("| what | seconds | rows/s | against mlflow | against the floor |\n| --- | --- | --- | --- | --- |")
    for name, values in seconds.items():
        median = statistics.median(values)
        ratios = [
            statistics.median(other / own for other, own in zip(seconds[one], values)) for one in ("mlflow", "floor")
        ]
        print(f"| {name} | {median:.1f} | {given.rows / median:,.0f} | {ratios[0]:.2f} | {ratios[1]:.2f} |", flush=True)
    if given.json is not None:
        less = frame.limit(given.rows // 10).repartition(_FILES)
        taken = timed(lambda: drain(predicted(less, str(given.json.absolute()))))
        print(f"| json ({given.json.parent.name}) | {taken:.1f} | {given.rows / 10 / taken:,.0f} | | |", flush=True)
    if given.virtualenv:
        first, taken = restored(session, frame, str(given.model))
        print(f"| mlflow, virtualenv: first row {first:.1f} s | {taken:.1f} | {given.rows / taken:,.0f} | | |")
    session.stop()


def ways_of(session: Any, frame: Any, model: str) -> Iterator[tuple[str, Callable[[], None]]]:
    """The ways, each as what does all of it."""
    import mlflow.pyfunc

    import envbuild.spark

    function = envbuild.spark.udf(session, model, "bigint", ship="nothing")
    of_mlflow = mlflow.pyfunc.spark_udf(session, model, result_type="long", env_manager="local")
    yield "envbuild", lambda: drain(predicted(frame, model))
    yield "function", lambda: drain(frame.select(function(*frame.columns)))
    yield "mlflow", lambda: drain(frame.select(of_mlflow(*frame.columns)))
    yield "floor", lambda: drain(frame.mapInArrow(bare(model), "prediction bigint"))


def predicted(frame: Any, model: str) -> Any:
    """By envbuild, answers alone."""
    import envbuild.spark

    return envbuild.spark.predict(frame, model, keep=[], result_type="bigint", ship="nothing")


def restored(session: Any, frame: Any, model: str) -> tuple[float, float]:
    """Seconds to the first row and to the last where MLflow makes the environment for it."""
    import mlflow.pyfunc

    began = time.perf_counter()
    function = mlflow.pyfunc.spark_udf(session, model, result_type="long", env_manager="virtualenv")
    struct = function(*frame.columns)
    frame.limit(1).select(struct).collect()
    first = time.perf_counter() - began
    drain(frame.select(struct))
    return first, time.perf_counter() - began


def bare(model: str) -> Callable[[Iterator[Any]], Iterator[Any]]:
    """What one would write who has the model's packages in Spark's own Python."""

    def call(batches: Iterator[Any]) -> Iterator[Any]:
        import mlflow.pyfunc
        import pyarrow as pa

        loaded = mlflow.pyfunc.load_model(model)
        for batch in batches:
            answers = loaded.predict(batch.to_pandas())
            yield pa.RecordBatch.from_arrays([pa.array(answers)], names=["prediction"])

    return call


def written(session: Any, table: dict[str, Any], rows: int, folder: Path) -> Any:
    """So many rows of the example's columns, in files of their own."""
    from pyspark.sql import functions

    columns = []
    for at, name in enumerate(table["columns"]):
        values = [row[at] for row in table["data"]]
        known = functions.array(*[functions.lit(value) for value in values])
        columns.append(functions.get(known, (functions.rand(at) * len(values)).cast("int")).alias(name))
    session.range(0, rows, 1, _FILES).select(*columns).write.parquet(str(folder))
    return session.read.parquet(str(folder))


def made_session() -> Any:
    """On two threads."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").appName("benchmark")
    for name, value in (("spark.ui.enabled", "false"), ("spark.log.level", "ERROR"), ("spark.driver.memory", "2g")):
        builder = builder.config(name, value)
    return builder.config("spark.ui.showConsoleProgress", "false").getOrCreate()


def drain(frame: Any) -> None:
    """Have all of it made, and nothing kept."""
    frame.write.format("noop").mode("overwrite").save()


def timed(way: Callable[[], None]) -> float:
    """Seconds."""
    began = time.perf_counter()
    way()
    return time.perf_counter() - began


def checked(command: list[str]) -> str:
    """What a command prints; its own words where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
