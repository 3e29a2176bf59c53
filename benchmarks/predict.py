"""How long a prediction takes from the shell, on an environment that is built already.

Three ways, interleaved in one run, medians and ratios::

    bare      a script in the same environment: import mlflow.pyfunc, load, predict, print
    envbuild  envbuild predict MODEL INPUT
    mlflow    mlflow models predict --env-manager uv, of MLflow 3.17.2 (only with --mlflow; it builds anew every time)

Run it with the Python that envbuild is installed in::

    python benchmarks/predict.py tests/models/py311_mlflow3_17/heart [MODEL ...] [--runs 9] [--mlflow 3]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

MLFLOW = "mlflow==3.17.2"
BARE = """
import json, sys
import mlflow.pyfunc, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
with open(sys.argv[2]) as file:
    body = json.load(file)
frame = pandas.DataFrame(**body["dataframe_split"])
print(json.dumps({"predictions": model.predict(frame).tolist()}))
"""


def main() -> None:
    """Measure every model given, and print a line a way."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "models", nargs="+", type=Path, help="model directories; the input lies beside as NAME.input.json"
    )
    parser.add_argument("--runs", type=int, default=9, help="counted runs of bare and envbuild")
    parser.add_argument(
        "--mlflow", type=int, default=0, metavar="RUNS", help="counted runs of mlflow (tens of seconds each)"
    )
    options = parser.parse_args()
    for model in options.models:
        measure(model.absolute(), options.runs, options.mlflow)


def measure(model: Path, runs: int, mlflow_runs: int) -> None:
    """Time the three ways on one model; each must give the same answer."""
    body = (
        model.parent / f"{model.name}.input.json"
        if not (model.parent / "input.json").exists()
        else model.parent / "input.json"
    )
    built = json.loads(checked([sys.executable, "-m", "envbuild", "build", str(model), "--json", "-q"], os.environ))
    python = f"{built['path']}/bin/python"
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "bare.py"
        script.write_text(BARE)
        ways: dict[str, Callable[[], str]] = {
            "bare": lambda: checked([python, str(script), str(model), str(body)], plain_environ()),
            "envbuild": lambda: checked(
                [sys.executable, "-m", "envbuild", "predict", str(model), str(body), "-q"], plain_environ()
            ),
        }
        counts = {"bare": runs, "envbuild": runs}
        if mlflow_runs:
            ways["mlflow"] = mlflow_way(Path(folder), model, body)
            counts["mlflow"] = mlflow_runs
        report(model, timed(ways, counts))


def timed(ways: dict[str, Callable[[], str]], counts: dict[str, int]) -> dict[str, list[float]]:
    """Seconds of every counted run; one run of each is not counted, and they take turns."""
    answers = {name: json.loads(way())["predictions"] for name, way in ways.items()}
    if any(answer != answers["bare"] for answer in answers.values()):
        sys.exit(f"the answers differ: {answers}")
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(max(counts.values())):
        for name, way in ways.items():
            if turn < counts[name]:
                began = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - began)
    return seconds


def report(model: Path, seconds: dict[str, list[float]]) -> None:
    """A line a way: median, least, most, and the median of the ratios to the bare script of the same turn."""
    print(f"{model.parent.name}/{model.name}")
    for name, values in seconds.items():
        ratio = statistics.median(mine / bare for mine, bare in zip(values, seconds["bare"]))
        print(
            f"  {name:<9} median {statistics.median(values):6.2f} s   {min(values):6.2f} to {max(values):6.2f} s"
            f"   {ratio:5.2f} times bare   {len(values)} runs"
        )


def mlflow_way(folder: Path, model: Path, body: Path) -> Callable[[], str]:
    """``mlflow models predict`` in a virtualenv of its own, with uv beside it as it wants."""
    place = folder / "mlflow"
    checked([sys.executable, "-m", "uv", "venv", "-q", "--python", sys.executable, str(place)], os.environ)
    checked([sys.executable, "-m", "uv", "pip", "install", "-q", "--python", str(place), MLFLOW, "uv"], os.environ)
    environ = {**plain_environ(), "PATH": f"{place}/bin:{os.environ['PATH']}", "MLFLOW_DISABLE_TELEMETRY": "true"}
    answer = folder / "answer.json"
    command = [f"{place}/bin/mlflow", "models", "predict", "-m", str(model), "-i", str(body)]
    command += ["--content-type", "json", "--env-manager", "uv", "--output-path", str(answer)]

    def run() -> str:
        checked(command, environ)
        return answer.read_text()

    return run


def plain_environ() -> dict[str, str]:
    """The environment without what changes how Python starts."""
    dropped = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if name not in dropped}


def checked(command: list[str], environ: dict[str, str] | os._Environ[str]) -> str:
    """What a command prints; its own words where it fails."""
    done = subprocess.run(command, env=dict(environ), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
