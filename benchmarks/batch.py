"""How fast a batch is, and how much memory it takes, beside pandas in chunks in the model's own environment.

Three ways over the same CSV, interleaved, medians and ratios; the answers of all must be the same::

    pandas      in the model's environment: read_csv(chunksize), pyfunc predict, to_csv(mode="a")
    batch       envbuild batch MODEL IN OUT
    batch of 2  the same with --workers 2

Each is a whole process, loading the model included. The memory is the most that the process and all below it had at
once (resident, shared pages counted in each). Run it with the Python that envbuild is installed in::

    python benchmarks/batch.py tests/models/py311_mlflow3_17/heart [--size 5GB] [--runs 3] [--workers 2]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from envbuild.settings import size_of

PANDAS = """
import sys
import mlflow.pyfunc, pandas
model = mlflow.pyfunc.load_model(sys.argv[1])
begun = False
for chunk in pandas.read_csv(sys.argv[2], chunksize=int(sys.argv[4])):
    answer = model.predict(chunk)
    if not hasattr(answer, "to_csv"):
        answer = pandas.DataFrame(answer)
        answer.columns = ["prediction"] if len(answer.columns) == 1 else [str(name) for name in answer.columns]
    answer.to_csv(sys.argv[3], mode="a", header=not begun, index=False)
    begun = True
"""
POOL = 20_000


@dataclass(frozen=True)
class Run:
    """One way, once."""

    seconds: float
    peak: int
    """Bytes."""


def main() -> None:
    """Make the input, run every way in turn, and print a line a way."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", maxsplit=1)[0])
    parser.add_argument("model", type=Path, help="a model's directory; its input lies beside it as NAME.input.json")
    parser.add_argument("--size", default="5GB", help="of the CSV")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="of the last way")
    parser.add_argument("--chunk-rows", type=int, default=100_000, help="of pandas; batch has its own default")
    parser.add_argument("--folder", type=Path, help="where the files lie; removed at the end unless it is given")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="batch-"))
    try:
        measure(options.model.absolute(), folder, options)
    finally:
        if options.folder is None:
            shutil.rmtree(folder)


def measure(model: Path, folder: Path, options: argparse.Namespace) -> None:
    source = folder / f"{model.name}-{options.size}.csv"
    rows = write_input(model.with_name(f"{model.name}.input.json"), source, size_of(options.size, "--size"))
    print(f"{model.parent.name}/{model.name}: {rows:,} rows, {source.stat().st_size / 1e9:.2f} GB", flush=True)
    ways = {
        "pandas": [python_of(model), "-c", PANDAS, model, source, folder / "pandas.csv", options.chunk_rows],
        "batch": batch(model, source, folder / "batch.csv", 1),
        f"batch of {options.workers}": batch(model, source, folder / "several.csv", options.workers),
    }
    outputs = [folder / name for name in ("pandas.csv", "batch.csv", "several.csv")]
    runs: dict[str, list[Run]] = {way: [] for way in ways}
    for number in range(options.runs):
        for path in outputs:
            path.unlink(missing_ok=True)
        for way, argv in ways.items():
            runs[way].append(timed([str(word) for word in argv]))
            last = runs[way][-1]
            print(f"  run {number + 1}  {way:12} {last.seconds:8.1f} s  {last.peak / 2**20:6.0f} MiB", flush=True)
        check_same(outputs)
    report(runs, rows)


def report(runs: dict[str, list[Run]], rows: int) -> None:
    for way, each in runs.items():
        ratios = [before.seconds / run.seconds for before, run in zip(runs["pandas"], each)]
        seconds = statistics.median(run.seconds for run in each)
        print(
            f"{way:12} {seconds:8.1f} s  {rows / seconds:10,.0f} rows/s  "
            f"{statistics.median(ratios):5.2f} times pandas ({min(ratios):.2f} to {max(ratios):.2f})  "
            f"at most {max(run.peak for run in each) / 2**20:,.0f} MiB"
        )


def write_input(example: Path, source: Path, size: int) -> int:
    """Rows of values that the example has in each column; the same for the same size."""
    body = json.loads(example.read_text())["dataframe_split"]
    chance = random.Random(20191105)  # noqa: S311 - the same rows every time
    values = [[str(row[at]) for row in body["data"]] for at in range(len(body["columns"]))]
    pool = [",".join(chance.choice(column) for column in values) + "\n" for _ in range(POOL)]
    blocks = ["".join(chance.sample(pool, len(pool))) for _ in range(8)]
    written = rows = 0
    with source.open("w") as file:
        written += file.write(",".join(body["columns"]) + "\n")
        while written < size:
            written += file.write(chance.choice(blocks))
            rows += POOL
    return rows


def python_of(model: Path) -> Path:
    built = subprocess.run(
        [sys.executable, "-m", "envbuild", "build", str(model), "-q"], env=environ(), check=True, capture_output=True
    )
    return Path(built.stdout.decode().strip(), "bin", "python")


def batch(model: Path, source: Path, target: Path, workers: int) -> list[object]:
    return [sys.executable, "-m", "envbuild", "batch", model, source, target, "-q", "--workers", workers]


def environ() -> dict[str, str]:
    dropped = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
    return {name: value for name, value in os.environ.items() if name not in dropped}


def timed(argv: Sequence[str]) -> Run:
    """Run a command and watch how much memory it and all below it have."""
    began = time.perf_counter()
    known = environ() if "envbuild" in argv else {k: v for k, v in environ().items() if k != "PYTHONPATH"}
    with subprocess.Popen(argv, env=known, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        peak = watching(process.pid)
        status = process.wait()
        seconds = time.perf_counter() - began
    if status:
        sys.exit(f"{' '.join(argv[:4])}... ended with {status}")
    return Run(seconds=seconds, peak=peak())


def watching(pid: int) -> Callable[[], int]:
    """Look at the memory from a thread; what is given back stops it and says the most there was."""
    over, seen = threading.Event(), [0]

    def look() -> None:
        while not over.wait(0.2):
            seen.append(sum(resident(one) for one in (pid, *below(pid))))

    thread = threading.Thread(target=look)
    thread.start()

    def stop() -> int:
        over.set()
        thread.join()
        return max(seen)

    return stop


def below(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(word) for word in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *below(child)]
    return found


def resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def check_same(outputs: Sequence[Path]) -> None:
    """Every line the same, numbers by their value."""
    with outputs[0].open() as expected, outputs[1].open() as one, outputs[2].open() as several:
        for number, lines in enumerate(zip(expected, one, several), 1):
            if len(set(lines)) > 1 and len({tuple(map(float, line.split(","))) for line in lines}) > 1:
                sys.exit(f"line {number} differs: {lines}")
        if any(file.readline() for file in (expected, one, several)):
            sys.exit("one output is longer than another")


if __name__ == "__main__":
    main()
