"""How long a prediction takes once the model is loaded: in its own process, through the bridge, as JSON and as Arrow.

The ways take turns in one run; medians and ratios, one line a model and a size::

    in-process       mlflow.pyfunc.load_model in a script in the model's own environment: a DataFrame in, the answer out
    in-process JSON  likewise, as MLflow's own scoring server does it: the frame to a JSON body, parsed by mlflow's
                     functions, predicted, the answer written by mlflow's functions and read again
    envbuild         LoadedModel.predict of the same DataFrame, in whatever form it crosses
    envbuild JSON    the same with JSON alone

Run it with the Python that envbuild is installed in::

    python benchmarks/warm.py tests/models/py311_mlflow3_17/heart [MODEL ...] [--rows 1 100000] [--runs 30]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import envbuild

# Reads a way and a number of rows from each line, and prints the seconds that it took.
PEER = """
import json, random, sys, time
import mlflow.pyfunc, pandas
from io import StringIO
channel, sys.stdout = sys.stdout, sys.stderr
model = mlflow.pyfunc.load_model(sys.argv[1])
example = json.loads(sys.argv[2])
metadata = getattr(model, "metadata", None)
schema = metadata.get_input_schema() if hasattr(metadata, "get_input_schema") else None
try:
    from mlflow.pyfunc import scoring_server
except ImportError:
    scoring_server = None

def plain(frame):
    return model.predict(frame)

def over_json(frame):
    if hasattr(scoring_server, "infer_and_parse_data"):
        body = json.dumps({"dataframe_split": frame.to_dict(orient="split")})
        data = scoring_server.infer_and_parse_data(json.loads(body), schema)
    else:
        data = scoring_server.parse_json_input(frame.to_json(orient="split"), orient="split", schema=schema)
    out = StringIO()
    scoring_server.predictions_to_json(model.predict(data), out)
    return json.loads(out.getvalue())

ways = {"plain": plain, "json": over_json}
frames = {}
for line in sys.stdin:
    way, rows = line.split()
    rows = int(rows)
    if rows not in frames:
        chance = random.Random(rows)
        data = [chance.choice(example["data"]) for _ in range(rows)]
        frames[rows] = pandas.DataFrame(data, columns=example.get("columns"))
    began = time.perf_counter()
    ways[way](frames[rows])
    print(time.perf_counter() - began, file=channel, flush=True)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Seconds of each run, of each way, with one model and one number of rows."""

    model: Path
    rows: int
    seconds: dict[str, list[float]]

    def median(self, way: str) -> float:
        """The median of a way, in milliseconds."""
        return statistics.median(self.seconds[way]) * 1000

    def best(self, way: str) -> float:
        """The shortest run of a way, in milliseconds: what it takes on a machine that does nothing else."""
        return min(self.seconds[way]) * 1000

    def __str__(self) -> str:
        ways = "; ".join(f"{way} {self.median(way):.2f} (at best {self.best(way):.2f})" for way in self.seconds)
        ours, plain = self.median("envbuild"), self.median("in-process")
        over_json = self.median("envbuild JSON") / self.median("in-process JSON")
        return (
            f"{self.model.parent.name}/{self.model.name}, {self.rows} rows, ms: {ways}; over in-process "
            f"{ours - plain:+.2f} ms, {ours / plain:.2f} times (at best {self.best('envbuild') - self.best('in-process'):+.2f}"
            f" ms, {self.best('envbuild') / self.best('in-process'):.2f} times); JSON {over_json:.2f} times"
        )


def main() -> None:
    """Measure every model given, and print a line a model and a number of rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument(
        "models", nargs="+", type=Path, help="model directories; the input lies beside as NAME.input.json"
    )
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 100_000])
    parser.add_argument("--runs", type=int, default=15, help="counted runs of each way with many rows")
    options = parser.parse_args()
    for model in options.models:
        for measured in measure(model.absolute(), options.rows, options.runs):
            print(measured, flush=True)


def measure(model: Path, sizes: list[int], runs: int) -> Iterator[Measured]:
    """Time the four ways on one model, for each number of rows; few rows are asked for more often."""
    example = example_of(model)
    with envbuild.load_model(model) as loaded, peer(loaded.environment.python, model, example) as ask:
        for rows in sizes:
            ways = ways_of(loaded, ask, frame_of(example, rows))
            yield Measured(model=model, rows=rows, seconds=taking_turns(ways, runs, 1 if rows > 1000 else 20))


def ways_of(
    loaded: envbuild.LoadedModel, ask: Callable[[str, int], float], frame: Any
) -> dict[str, Callable[[], float]]:
    """The four ways to predict on a table, each of which gives its seconds."""
    return {
        "in-process": lambda: ask("plain", len(frame)),
        "in-process JSON": lambda: ask("json", len(frame)),
        "envbuild": lambda: timed(lambda: loaded.predict(frame)),
        "envbuild JSON": lambda: timed(lambda: over_json(loaded, frame)),
    }


def example_of(model: Path) -> dict[str, Any]:
    """The columns and rows of the input beside a model."""
    body = json.loads((model.parent / f"{model.name}.input.json").read_text())
    example = next(iter(body.values())) if len(body) == 1 else body
    if not isinstance(example, list):
        return dict(example)
    named = isinstance(example[0], dict)
    return {
        "columns": list(example[0]) if named else None,
        "data": [list(row.values()) for row in example] if named else example,
    }


def frame_of(example: dict[str, Any], rows: int) -> Any:
    """So many rows, drawn from the example's; the peer draws the same."""
    import pandas as pd

    chance = random.Random(rows)  # noqa: S311 - the same rows each time
    return pd.DataFrame([chance.choice(example["data"]) for _ in range(rows)], columns=example.get("columns"))


def over_json(loaded: envbuild.LoadedModel, frame: Any) -> Any:
    """A prediction that crosses as JSON both ways, as where one side has no pyarrow."""
    from envbuild import request

    # What predict itself does, without asking which types the worker reads
    asked = request.question_of(frame, kinds=loaded._kinds)  # noqa: SLF001 - see above
    answer = loaded._worker.predict(asked.payload, asked.content_type)  # noqa: SLF001 - see above
    return request.answer_of(answer.payload)


def taking_turns(ways: dict[str, Callable[[], float]], runs: int, at_once: int) -> dict[str, list[float]]:
    """Seconds of every counted run; the first three turns of each way are not counted.

    :param at_once: how often a way is run in its turn; short runs would else be timed with the other ways' data in the
        processor's caches.
    """
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(runs + 3):
        for way, run in ways.items():
            took = [run() for _ in range(at_once)]
            if turn >= 3:
                seconds[way] += took
    return seconds


def timed(call: Callable[[], Any]) -> float:
    """How many seconds it takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


@contextmanager
def peer(python: Path, model: Path, example: dict[str, Any]) -> Iterator[Callable[[str, int], float]]:
    """A process in the model's environment that has the model loaded by mlflow; asks it for the seconds of a way."""
    process = subprocess.Popen(
        [str(python), "-c", PEER, str(model), json.dumps(example)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={"PATH": f"{python.parent}:/usr/bin:/bin", "HOME": os.environ.get("HOME", "/"), "LC_ALL": "C.UTF-8"},
    )
    stdin, stdout = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)

    def ask(way: str, rows: int) -> float:
        stdin.write(f"{way} {rows}\n")
        stdin.flush()
        return float(stdout.readline())

    try:
        yield ask
    finally:
        stdin.close()
        process.wait()


if __name__ == "__main__":
    main()
