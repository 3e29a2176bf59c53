"""How long it takes from a URI ``models:/NAME/1`` to the first prediction, and what of it was done before.

A real ``mlflow server`` of 3.17.2 is started, and the model registered in it. Each line begins with an empty store, and is the
whole of it, from the first command's start to the answer of the last; the answers must be equal::

    nothing   envbuild predict models:/NAME/1, with nothing on this machine but the Python
    locked    the same, where the lock lies in a file (--lock): nothing is resolved
    pulled    envbuild pull models:/NAME/1 SHARE, from a folder that somebody else has pushed to, and then predict
    again     predict once more
    mlflow    mlflow models predict -m models:/NAME/1 --env-manager uv, with an empty cache as well (only with --mlflow)

Run it with the Python that envbuild is installed in; it makes a virtualenv of its own for MLflow::

    python benchmarks/locations.py tests/models/py311_mlflow3_17/heart [MODEL ...] [--runs 3] [--mlflow 1]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

MLFLOW = "3.17.2"
REPO = Path(__file__).resolve().parent.parent
REGISTER = """
import sys
from mlflow.tracking import MlflowClient

client = MlflowClient()
run = client.create_run("0")
client.log_artifacts(run.info.run_id, sys.argv[2], "model")
client.create_registered_model(sys.argv[1])
client.create_model_version(sys.argv[1], f"{run.info.artifact_uri}/model", run.info.run_id)
"""
_SECONDS = 120.0


@dataclass(frozen=True)
class Bench:
    """A model that is registered, and a folder for what comes of it."""

    uri: str
    given: Path
    python: Path
    folder: Path
    environ: dict[str, str]

    @property
    def home(self) -> Path:
        """The store."""
        return self.folder / "home"

    def said(self, *words: object, store: Path | None = None) -> str:
        """What a command of envbuild prints."""
        environ = {**self.environ, "ENVBUILD_HOME": str(store or self.home)}
        return checked([str(self.python), "-m", "envbuild", *map(str, words), "-q"], environ)

    def predicted(self, *options: object) -> str:
        """The answer."""
        return self.said("predict", self.uri, self.given, *options)

    def pulled(self) -> str:
        """The answer, of what was fetched from the share."""
        self.said("pull", self.uri, self.folder / "share")
        return self.predicted()

    def of_mlflow(self) -> str:
        """MLflow's own answer."""
        answer = self.folder / "answer.json"
        environ = {**self.environ, "UV_CACHE_DIR": str(self.home), "MLFLOW_ENV_ROOT": str(self.home / "envs")}
        command = [str(self.python), "-m", "mlflow", "models", "predict", "-m", self.uri, "-i", str(self.given)]
        checked([*command, "--content-type", "json", "--env-manager", "uv", "--output-path", str(answer)], environ)
        return answer.read_text()

    def prepare(self) -> None:
        """A lock and a share, by a store of their own."""
        other = self.folder / "other"
        self.said("lock", self.uri, "-o", self.folder / "pylock.toml", store=other)
        self.said("push", self.uri, self.folder / "share", store=other)


def seconds_of(bench: Bench, runs: int, mlflow_runs: int) -> Iterator[tuple[str, list[float]]]:
    """Each way, and how long it took each time."""
    ways: list[tuple[str, int, Callable[[], str]]] = [
        ("nothing", runs, bench.predicted),
        ("locked", runs, lambda: bench.predicted("--lock", bench.folder / "pylock.toml")),
        ("pulled", runs, bench.pulled),
        ("mlflow", mlflow_runs, bench.of_mlflow),
        ("again", runs, bench.predicted),
    ]
    expected = json.loads(bench.predicted())["predictions"]
    for name, count, way in ways:
        found: list[float] = []
        for _ in range(count):
            if name != "again":
                shutil.rmtree(bench.home, ignore_errors=True)
            elif not found:
                bench.predicted()
            began = time.perf_counter()
            answer = way()
            found.append(time.perf_counter() - began)
            if json.loads(answer)["predictions"] != expected:
                sys.exit(f"{name} answers otherwise: {answer[:1000]}")
        if found:
            yield name, found


@contextmanager
def server(python: Path, folder: Path, environ: dict[str, str]) -> Iterator[str]:
    """The address of a server that is there until this ends."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{one.getsockname()[1]}"
    words = ["server", "--backend-store-uri", f"sqlite:///{folder}/db.sqlite", "--workers", "1", "--serve-artifacts"]
    words += ["--artifacts-destination", str(folder / "artifacts"), "--port", url.rpartition(":")[2]]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [python, "-m", "mlflow", *words], env=environ, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        end = time.monotonic() + _SECONDS
        while not is_answered(f"{url}/health"):
            if time.monotonic() > end or process.poll() is not None:
                sys.exit((folder / "server.log").read_text())
            time.sleep(0.1)
        yield url
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def is_answered(url: str) -> bool:
    """Whether somebody is there."""
    try:
        return httpx.get(url, timeout=5, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def mlflow_python(folder: Path) -> Path:
    """A virtualenv with MLflow, and envbuild with its extra for it."""
    python = folder / "mlflow" / "bin" / "python"
    checked([sys.executable, "-m", "uv", "venv", "-q", "--python", sys.executable, str(folder / "mlflow")], os.environ)
    wanted = (f"{REPO}[mlflow]", f"mlflow=={MLFLOW}")
    checked([sys.executable, "-m", "uv", "pip", "install", "-q", "--python", str(python), *wanted], os.environ)
    return python


def plain_environ(python: Path) -> dict[str, str]:
    """The environment without what changes how Python starts, or what is installed."""
    dropped = ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONPATH", "PIP_FIND_LINKS")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    path = f"{python.parent}{os.pathsep}{kept['PATH']}"
    return {**kept, "PATH": path, "PIP_CONFIG_FILE": os.devnull, "MLFLOW_DISABLE_TELEMETRY": "true"}


def checked(command: list[str], environ: dict[str, str] | os._Environ[str]) -> str:
    """What a command prints; its own words where it fails."""
    done = subprocess.run(command, env=dict(environ), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("models", nargs="+", type=Path, help="model directories; the input is NAME.input.json beside")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--mlflow", type=int, default=0, metavar="RUNS", help="runs of mlflow, too")
    given = parser.parse_args()
    print("| model | what | median s | least | most | runs |\n| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory(prefix="envbuild-locations-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        python = mlflow_python(folder)
        environ = plain_environ(python)
        with server(python, folder, environ) as url:
            for number, model in enumerate(given.models):
                own = folder / str(number)
                own.mkdir()
                known = {**environ, "MLFLOW_TRACKING_URI": url}
                checked([str(python), "-W", "ignore", "-c", REGISTER, f"m{number}", str(model.absolute())], known)
                body = model.absolute().with_name(f"{model.name}.input.json")
                bench = Bench(f"models:/m{number}/1", body, python, own, known)
                bench.prepare()
                for way, found in seconds_of(bench, given.runs, given.mlflow):
                    figures = f"{statistics.median(found):.1f} | {min(found):.1f} | {max(found):.1f} | {len(found)}"
                    print(f"| {model.parent.name}/{model.name} | {way} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
