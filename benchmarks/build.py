"""How long an environment takes: built already, from a warm cache, from an empty store to the first answer.

Against the floor, interleaved in one run, medians and ratios::

    no-op     python -c pass          envbuild build MODEL, the environment being there
    warm      uv venv, uv pip sync    envbuild build MODEL, from a warm cache and a kept lock
    first     the same, and a script  envbuild predict MODEL INPUT, the same; byte code is kept
    cold      the same, and a script  the same, and no byte code is kept
    mlflow    mlflow models prepare-env --env-manager uv, of MLflow 3.17.2 (only with --mlflow)

Run it with the Python that envbuild is installed in::

    python benchmarks/build.py tests/models/py311_mlflow3_17/heart [MODEL ...] [--runs 7] [--cold 3] [--mlflow 3]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from predict import BARE, MLFLOW, checked


@dataclass(frozen=True)
class Bench:
    """One model, with a store of its own that is warm."""

    model: Path
    body: Path
    folder: Path
    home: Path
    python: str
    requirements: Path

    @property
    def environ(self) -> dict[str, str]:
        """A clean environment, and the store of the benchmark."""
        return {**plain_environ(), "ENVBUILD_HOME": str(self.home)}

    def envbuild(self, *words: str | Path) -> str:
        """What a command of envbuild's prints."""
        return checked([str(Path(sys.executable).with_name("envbuild")), *map(str, words), "-q"], self.environ)

    def forget_environments(self) -> None:
        """Empty the store, but for its locks; the cache stays warm."""
        shutil.rmtree(self.home / "store" / "v1" / "environments")

    def bare(self) -> Path:
        """``uv venv`` and ``uv pip sync`` of the same files from the same cache."""
        place = self.folder / "bare"
        shutil.rmtree(place, ignore_errors=True)
        uv = [sys.executable, "-m", "uv", "--cache-dir", str(self.home / "uv"), "-q"]
        checked([*uv, "venv", "--python", self.python, str(place)], plain_environ())
        sync = ["pip", "sync", "--python", f"{place}/bin/python", "--require-hashes", str(self.requirements)]
        checked([*uv, *sync], plain_environ())
        return place

    def bare_first(self) -> None:
        """The same, and a script that predicts in it."""
        script = self.folder / "bare.py"
        script.write_text(BARE)
        checked([f"{self.bare()}/bin/python", str(script), str(self.model), str(self.body)], plain_environ())


def main() -> None:
    """Measure every model given, and print a line a way."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("models", nargs="+", type=Path, help="models; the input lies beside as NAME.input.json")
    parser.add_argument("--runs", type=int, default=7, help="counted runs")
    parser.add_argument("--cold", type=int, default=0, metavar="RUNS", help="counted runs without byte code")
    parser.add_argument("--mlflow", type=int, default=0, metavar="RUNS", help="counted runs of mlflow's prepare-env")
    options = parser.parse_args()
    for model in options.models:
        with tempfile.TemporaryDirectory(prefix="envbuild-bench-") as name:
            measure(prepared(model.absolute(), Path(name)), options)


def prepared(model: Path, folder: Path) -> Bench:
    """A warm store with the model's lock and environment in it, and its lock as uv reads it."""
    home = folder / "home"
    environ = {**plain_environ(), "ENVBUILD_HOME": str(home)}
    command = [sys.executable, "-m", "envbuild"]
    built = json.loads(checked([*command, "build", str(model), "--json", "-q"], environ))
    requirements = folder / "requirements.txt"
    checked([*command, "lock", str(model), "--format", "requirements", "-o", str(requirements), "-q"], environ)
    python = str(Path(built["path"], "bin", "python").resolve())
    return Bench(model, model.with_name(f"{model.name}.input.json"), folder, home, python, requirements)


def measure(bench: Bench, options: argparse.Namespace) -> None:
    """Time each pair on one model."""
    print(f"{bench.model.parent.name}/{bench.model.name}")
    nothing = lambda: None  # noqa: E731 - the floor has nothing to undo
    floor = lambda: checked([sys.executable, "-c", "pass"], plain_environ())  # noqa: E731
    pair("no-op", options.runs * 3, floor, nothing, lambda: bench.envbuild("build", bench.model), nothing)
    pair(
        "warm",
        options.runs,
        bench.bare,
        nothing,
        lambda: bench.envbuild("build", bench.model),
        bench.forget_environments,
    )
    bench.envbuild("build", bench.model)
    first = lambda: bench.envbuild("predict", bench.model, bench.body)  # noqa: E731
    pair("first", options.runs, bench.bare_first, nothing, first, bench.forget_environments)

    def forget_everything() -> None:
        bench.forget_environments()
        shutil.rmtree(bench.home / "bytecode")

    if options.cold:
        pair("cold", options.cold, bench.bare_first, nothing, first, forget_everything)
    if options.mlflow:
        run = mlflow_way(bench)
        pair(
            "mlflow",
            options.mlflow,
            run,
            nothing,
            lambda: bench.envbuild("build", bench.model),
            bench.forget_environments,
        )


def pair(
    name: str,
    runs: int,
    floor: Callable[[], object],
    before_floor: Callable[[], None],
    ours: Callable[[], object],
    before_ours: Callable[[], None],
) -> None:
    """Time two ways in turns, one run of each uncounted, and print both with the median of their ratios."""
    seconds: dict[str, list[float]] = {"floor": [], "ours": []}
    for turn in range(runs + 1):
        for way, before, call in (("floor", before_floor, floor), ("ours", before_ours, ours)):
            before()
            began = time.perf_counter()
            call()
            if turn:
                seconds[way].append(time.perf_counter() - began)
    both = list(zip(seconds["ours"], seconds["floor"]))
    ratio = statistics.median(mine / other for mine, other in both)
    more = statistics.median(mine - other for mine, other in both)
    print(
        f"  {name:<7} floor {spread(seconds['floor'])}   envbuild {spread(seconds['ours'])}"
        f"   {ratio:5.2f} times, {more * 1000:+7.0f} ms   {runs} runs",
        flush=True,
    )


def spread(values: list[float]) -> str:
    """The median, and the least and the most."""
    return f"{statistics.median(values):6.3f} s ({min(values):.3f} to {max(values):.3f})"


def mlflow_way(bench: Bench) -> Callable[[], object]:
    """``mlflow models prepare-env`` in a virtualenv of its own, with uv and a warm cache, each time anew."""
    place = bench.folder / "mlflow"
    checked([sys.executable, "-m", "uv", "venv", "-q", "--python", sys.executable, str(place)], plain_environ())
    install = [sys.executable, "-m", "uv", "pip", "install", "-q", "--python", str(place), MLFLOW, "uv", "virtualenv"]
    checked(install, plain_environ())
    root = bench.folder / "mlflow-envs"
    environ = {
        **plain_environ(),
        "PATH": f"{place}/bin:{os.environ['PATH']}",
        "MLFLOW_ENV_ROOT": str(root),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "UV_CACHE_DIR": str(bench.home / "uv"),
    }
    command = [f"{place}/bin/mlflow", "models", "prepare-env", "-m", str(bench.model), "--env-manager", "uv"]

    def run() -> object:
        shutil.rmtree(root, ignore_errors=True)
        return checked(command, environ)

    return run


def plain_environ() -> dict[str, str]:
    """The caller's variables, without those that change how Python, pip or uv work."""
    known = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_", "UV_", "ENVBUILD_"))
    }
    return {**known, "PIP_CONFIG_FILE": os.devnull, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}


if __name__ == "__main__":
    main()
