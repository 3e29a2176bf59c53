"""How fast a prediction is: cold, with a resident worker, in a warm pool, in a batch; against MLflow in the same run.

The parts, each interleaved with its floor; medians, and the median of the ratios turn by turn::

    cold      a script with mlflow.pyfunc in the model's environment | envbuild predict, each loader
    resident  the same script                                        | envbuild predict, its worker left from before
    warm      benchmarks/warm.py: one row and 100,000 rows           | the same frame in-process
    batch     benchmarks/batch.py: a large CSV                       | chunked pandas in the model's environment

Run it with the Python that envbuild is installed in::

    python benchmarks/bridge.py tests/models/py311_mlflow3_17/heart [MODEL ...] [--parts cold,resident] [--runs 9]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from predict import BARE, checked, plain_environ, report, timed

CLI_PARTS = ("cold", "resident")
KEPT = "5m"


def main() -> None:
    """Measure every model given, part by part."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("models", nargs="+", type=Path, help="model directories; the input is NAME.input.json beside")
    parser.add_argument("--parts", default=",".join(CLI_PARTS), help="which parts, with commas (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=9, help="counted runs of each way")
    options = parser.parse_args()
    parts = options.parts.split(",")
    if unknown := sorted(set(parts) - set(CLI_PARTS)):
        sys.exit(f"no such part: {', '.join(unknown)} (warm.py and batch.py are run by themselves)")
    for model in options.models:
        for part in parts:
            print(f"{part}: ", end="")
            report(model.absolute(), measured(part, model.absolute(), options.runs))


def measured(part: str, model: Path, runs: int) -> dict[str, list[float]]:
    """Seconds of every counted run of a part's ways on one model; all must give the same answer."""
    body = model.parent / f"{model.name}.input.json"
    built = json.loads(envbuild("build", model, "--json"))
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "bare.py"
        script.write_text(BARE)
        python = f"{built['path']}/bin/python"
        ways: dict[str, Callable[[], str]] = {
            "bare": lambda: checked([python, str(script), str(model), str(body)], plain_environ())
        }
        try:
            ways.update(cold(model, body) if part == "cold" else resident(model, body))
            return timed(ways, dict.fromkeys(ways, runs))
        finally:
            if part == "resident":
                envbuild("workers", "stop", "--all")


def cold(model: Path, body: Path) -> dict[str, Callable[[], str]]:
    """A worker for one answer, with each loader."""
    return {
        "auto": lambda: envbuild("predict", model, body),
        "mlflow": lambda: envbuild("predict", model, body, "--loader", "mlflow"),
    }


def resident(model: Path, body: Path) -> dict[str, Callable[[], str]]:
    """A worker that the call before has left behind; the first call is not counted."""
    return {"resident": lambda: envbuild("predict", model, body, "--keep-warm", KEPT)}


def envbuild(*words: str | Path) -> str:
    """What a command of envbuild's prints."""
    program = Path(sys.executable).with_name("envbuild")
    return checked([str(program), *map(str, words), "-q"], {**plain_environ(), **_home()})


def _home() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("ENVBUILD_")}


if __name__ == "__main__":
    main()
