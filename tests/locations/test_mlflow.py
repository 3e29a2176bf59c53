"""MLflow's own servers of two releases: every URI that its users write, and models of three eras behind them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from kit import cli, cli_environ
from servers import OF_ERAS, MlflowServer, Run, python_with_mlflow

# MLflow's servers are installed for it.
pytestmark = pytest.mark.slow

Registry = tuple[MlflowServer, Mapping[str, Mapping[str, str]]]
Servers = Callable[[str], Registry]


@pytest.fixture
def run(shared_home: Path, home: Path) -> Run:
    """A command of an envbuild that has its extra for MLflow, with an empty store unless another is named."""
    python = python_with_mlflow(shared_home)

    def call(*words: str | Path, store: Path = home, **more: str) -> subprocess.CompletedProcess[str]:
        argv = [python, "-m", "envbuild", *map(str, words)]
        environ = cli_environ(store, **more)
        return subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=600, check=False)

    return call


@pytest.fixture(params=[pytest.param("2.22", marks=pytest.mark.slow), "3.17"])
def registry(request: pytest.FixtureRequest, mlflow_server: Servers) -> Registry:
    return mlflow_server(request.param)


def test_every_uri_leads_to_the_model(registry: Registry, run: Run, home: Path) -> None:
    server, models = registry
    middle, last = models["middle"], models["last"]
    uris = {
        "models:/middle/1": "middle",
        "models:/middle@prod": "middle",
        "models:/middle/latest": "middle",
        "models:/last/1": "last",
        f"runs:/{middle['run']}/model": "middle",
        str(last["source"]): "last",
    }
    if "model_id" in last:
        uris |= {f"models:/{last['model_id']}": "last", f"runs:/{last['run']}/own-last": "last"}
    for uri, era in uris.items():
        done = run("inspect", uri, "--json", MLFLOW_TRACKING_URI=server.url)
        assert done.returncode == 0, f"{uri}: {done.stderr}"
        found = Path(json.loads(done.stdout)["model"]["path"])
        for name in ("MLmodel", "conda.yaml", "requirements.txt"):
            if (OF_ERAS[era] / name).exists():
                assert (found / name).read_bytes() == (OF_ERAS[era] / name).read_bytes(), uri
    # To look at them, the few small files are enough.
    assert not [path for path in home.rglob("*.pkl") if path.is_file()]


@pytest.mark.parametrize("era", OF_ERAS)
def test_a_registered_model_of_any_era_predicts(registry: Registry, run: Run, shared_home: Path, era: str) -> None:
    server, _ = registry
    model = OF_ERAS[era]
    given, expected = (model.with_name(f"{model.name}.{what}.json") for what in ("input", "expected"))
    done = run("predict", f"models:/{era}@prod", given, store=shared_home, MLFLOW_TRACKING_URI=server.url)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["predictions"] == json.loads(expected.read_text())


def test_an_alias_that_has_moved_is_said(registry: Registry, run: Run) -> None:
    server, _ = registry
    name = "moving"
    server.register(*({"name": name, "folder": str(OF_ERAS[era])} for era in ("middle", "last")))
    server.register({"name": name, "move": "prod", "version": "1"})
    first = run("run", f"models:/{name}@prod", "--locked", "--", "true", MLFLOW_TRACKING_URI=server.url)
    assert "model-changed" not in first.stderr
    server.register({"name": name, "move": "prod", "version": "2"})
    second = run("run", f"models:/{name}@prod", "--locked", "--", "true", MLFLOW_TRACKING_URI=server.url)
    assert f": version 1 of {name} then, version 2 of {name} now" in second.stderr, second.stderr
    # What was fetched is not fetched again, and is there without the server.
    offline = run("run", f"models:/{name}@prod", "--locked", "--offline", "--", "true")
    assert "error[lock-missing]" in offline.stderr


@pytest.mark.parametrize("uri", ["models:/none/1", "models:/middle/99", "models:/middle@none", "runs:/0123/model"])
def test_what_is_not_there_is_said(registry: Registry, run: Run, uri: str) -> None:
    server, _ = registry
    done = run("inspect", uri, MLFLOW_TRACKING_URI=server.url)
    assert (done.returncode, "error[model-not-found]" in done.stderr) == (3, True), done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_not_there_is_said_without_its_login(run: Run, home: Path) -> None:
    environ = {
        "MLFLOW_TRACKING_URI": "http://reader:canary-in-url@127.0.0.1:9",
        "MLFLOW_TRACKING_PASSWORD": "canary-password",
        "MLFLOW_TRACKING_USERNAME": "reader",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }
    done = run("inspect", "models:/middle/1", "-v", **environ)
    assert (done.returncode, "error[model-unreachable]" in done.stderr) == (3, True), done.stderr
    assert "MLFLOW_TRACKING_URI" in done.stderr
    assert "canary" not in done.stdout + done.stderr
    assert not [path for path in home.rglob("*") if path.is_file() and b"canary" in path.read_bytes()]


def test_without_its_extra_a_registry_is_not_asked(home: Path) -> None:
    done = cli("inspect", "models:/middle/1", environ=cli_environ(home))
    assert (done.returncode, "error[usage]" in done.stderr) == (2, True), done.stderr
    assert "pip install 'envbuild[mlflow]'" in done.stderr
