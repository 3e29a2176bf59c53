"""What each flavor takes: to lock, to build, to predict cold and warm, and how large its environment is.

A model a line; its input and the answer that its own mlflow gave lie beside it, as NAME.input.json and
NAME.expected.json::

    lock    resolved anew, whatever is kept
    build   with what the download cache has; empty where the environment was there already
    cold    the command line, from its start to its end, in a built environment
    warm    a prediction by a worker that has answered before, the median of ten
    MB      the environment's files, also those that it shares with others

Run it with the Python that envbuild is installed in; Markdown goes to stdout. An empty ``--home`` gives the times of a
machine that has nothing yet::

    python benchmarks/flavors.py [MODEL ...] [--home DIR]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import envbuild
from envbuild import pipeline
from envbuild.errors import EnvbuildError
from envbuild.override.merging import settings_from
from envbuild.settings import Settings

MODELS = Path(__file__).resolve().parent.parent / "tests" / "models"
NAMES = (
    "py311_mlflow3_17/iris",
    "py310_mlflow2_17/xgb",
    "py311_mlflow3_17/lgbm",
    "py311_mlflow3_17/codepath",
    "py311_mlflow3_17/tensor",
    "flavors_mlflow2_17/onnx",
    "flavors_mlflow2_17/keras",
    "flavors_mlflow2_17/spark",
    "flavors_mlflow1_21/fastai",
    "flavors_mlflow1_21/pytorch",
    "documented/fastai",
    "documented/sklearn2018",
    "py36_mlflow0_1/iris",
)
WARM_RUNS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Seconds and megabytes of one model."""

    flavor: str
    lock: float
    build: float | None
    cold: float
    warm: float
    megabytes: float
    packages: int
    is_right: bool

    def cells(self) -> tuple[str, ...]:
        """The cells of its line."""
        build = "" if self.build is None else f"{self.build:.1f}"
        times = (f"{self.lock:.1f}", build, f"{self.cold:.1f}", f"{self.warm:.3f}")
        return (self.flavor, *times, f"{self.megabytes:.0f}", str(self.packages), "yes" if self.is_right else "no")


def main() -> None:
    """Measure every model given, by default one of each flavor, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("models", nargs="*", type=Path, help="model directories")
    parser.add_argument("--home", type=Path, help="the store; by default ENVBUILD_HOME")
    options = parser.parse_args()
    if options.home is not None:
        os.environ["ENVBUILD_HOME"] = str(options.home.absolute())
    columns = ("model", "flavor", "lock s", "build s", "cold s", "warm s", "MB", "packages", "as expected")
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}", flush=True)
    for model in options.models or [MODELS / name for name in NAMES]:
        name = f"{model.absolute().parent.name}/{model.name}"
        try:
            cells = measure(model.absolute()).cells()
        except EnvbuildError as error:
            cells = (f"{error.code}: {error.message}", *[""] * (len(columns) - 2))
        print(f"| {' | '.join((name, *cells))} |", flush=True)


def measure(model: Path) -> Measured:
    settings = settings_from({"update": True}, os.environ)
    began = time.perf_counter()
    asked = pipeline.ask(model, settings)
    locked = pipeline.lock(asked, settings)
    lock_seconds = time.perf_counter() - began
    built = pipeline.build(locked, settings)
    built.lease.release()
    cold, answer = predicted(model)
    expected = json.loads(beside(model, "expected").read_text())
    return Measured(
        flavor=flavor_of(asked.model.pyfunc.loader_module),
        lock=lock_seconds,
        build=built.seconds if built.was_built else None,
        cold=cold,
        warm=warm_seconds(model, settings),
        megabytes=size_of(built.environment.python.parent.parent) / 1e6,
        packages=len(locked.lock.packages),
        is_right=is_same(answer, expected),
    )


def flavor_of(loader: str) -> str:
    return loader.removeprefix("mlflow.").replace("pyfunc.model", "python model")


def predicted(model: Path) -> tuple[float, Any]:
    """The seconds of a command line of its own, and what it answered."""
    argv = [sys.executable, "-m", "envbuild", "predict", str(model), str(beside(model, "input")), "--quiet"]
    began = time.perf_counter()
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        sys.exit(f"{model}: {done.stderr}")
    return seconds, json.loads(done.stdout)["predictions"]


def warm_seconds(model: Path, settings: Settings) -> float:
    asked, seconds = json.loads(beside(model, "input").read_text()), []
    with envbuild.load_model(model, home=settings.home) as loaded:
        loaded.predict(asked)
        for _ in range(WARM_RUNS):
            began = time.perf_counter()
            loaded.predict(asked)
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def beside(model: Path, what: str) -> Path:
    return model.with_name(f"{model.name}.{what}.json")


def size_of(folder: Path) -> int:
    """Bytes of all files, each once."""
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(os.path.join(place, name))  # noqa: PTH118 - tens of thousands of them
            found[status.st_dev, status.st_ino] = status.st_size
    return sum(found.values())


def is_same(found: Any, expected: Any) -> bool:
    """Whether two answers are the same, numbers to 1e-5."""
    if isinstance(found, dict) and isinstance(expected, dict):
        return found.keys() == expected.keys() and all(is_same(found[key], expected[key]) for key in found)
    if isinstance(found, list) and isinstance(expected, list):
        return len(found) == len(expected) and all(map(is_same, found, expected))
    if isinstance(found, float) and isinstance(expected, (int, float)):
        return math.isclose(found, expected, rel_tol=1e-5)
    return bool(found == expected)


if __name__ == "__main__":
    main()
