"""``envbuild serve`` as one calls it: what it says, what it answers, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from asking import HERE, LOADER, Server, environ
from kit import REPO
from local_index import LocalIndex
from tiny import wheel, write_model
from waiting import eventually

HEART = REPO / "tests" / "models" / "py311_mlflow3_17" / "heart"
Start = Callable[..., Server]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A store in which there is an environment for small models already."""
    index = LocalIndex()
    index.add(*[wheel(name, "1.0") for name in ("pip", "setuptools", "wheel")])
    try:
        model = write_model(tmp_path_factory.mktemp("built"), python=HERE)
        known = {"ENVBUILD_HOME": str(tmp_path_factory.mktemp("store")), "ENVBUILD_INDEX_URL": index.url}
        done = run("build", model, variables=known)
        assert done.returncode == 0, done.stderr
        return known
    finally:
        index.close()


def run(*words: object, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A call of the command line that is to end by itself."""
    argv = [sys.executable, "-m", "envbuild", *map(str, words)]
    known = environ(HOME=os.environ.get("HOME", "/"), **variables)
    return subprocess.run(argv, env=known, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def started(start: Start, store: dict[str, str], tmp_path: Path) -> Callable[..., Server]:
    """Starts ``envbuild serve`` with the model that does what it is told; its stdout goes into a file."""

    def started(*words: object, **variables: str) -> Server:
        model = write_model(tmp_path / "fruit", python=HERE, loader=LOADER)
        argv = [sys.executable, "-m", "envbuild", "serve", model, "--port", 0, "--workers", 1, *words]
        with (tmp_path / "stdout").open("wb") as stdout:
            return start(argv, variables={**store, **variables}, stdout=stdout)

    return started


@pytest.mark.slow
def test_the_real_model_is_served_as_the_readme_shows(start: Start, shared_home: Path) -> None:
    argv = [sys.executable, "-m", "envbuild", "serve", HEART, "--port", 0]
    server = start(argv, variables={"ENVBUILD_HOME": str(shared_home)})
    payload = (HEART.parent / "heart.input.json").read_bytes()
    answer = server.ask("POST", "/invocations", payload, "application/json")
    expected = json.loads((HEART.parent / "heart.expected.json").read_text())
    assert answer.predictions == expected
    assert server.wait_loaded().ask("GET", "/version").body == b"3.17.2"
    server.process.terminate()
    assert server.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nothing_is_on_stdout_and_a_signal_ends_it_with_0(
    started: Callable[..., Server], tmp_path: Path, number: signal.Signals
) -> None:
    server = started().wait_loaded()
    assert server.predict("echo", 1).predictions == ["echo", 1]
    server.process.send_signal(number)
    assert server.wait() == 0
    assert (tmp_path / "stdout").read_bytes() == b""
    said = server.stderr.splitlines()
    assert re.fullmatch(r"listening at http://127\.0\.0\.1:\d+", next(line for line in said if "listening" in line))
    assert "loading the model" in said
    assert "Traceback" not in server.stderr


def documented() -> dict[str, Any]:
    """The example of docs/cli.md."""
    page = (REPO / "docs" / "cli.md").read_text()
    examples = (json.loads(text) for text in re.findall(r"```json\n(.*?)```", page, flags=re.DOTALL))
    return next(example for example in examples if example["command"] == "serve")


def test_with_json_one_line_says_where_it_listens(started: Callable[..., Server], tmp_path: Path) -> None:
    server = started("--json", "--name", "apple", "--batch-size", 4)
    (line,) = eventually(lambda: (tmp_path / "stdout").read_text().splitlines(), "it has said so")
    said = json.loads(line)
    assert said.keys() == documented().keys()
    assert (said["command"], said["ok"], said["name"]) == ("serve", True, "apple")
    assert (said["workers"], said["batch_size"]) == (1, 4)
    assert said["url"] == f"http://127.0.0.1:{server.port}"
    assert said["environment"].endswith("linux-gnu")
    assert server.predict("echo").predictions == ["echo"]
    server.process.terminate()
    assert server.wait() == 0
    assert (tmp_path / "stdout").read_text().splitlines() == [line]


def test_quietly_it_says_nothing_but_where_it_listens(started: Callable[..., Server]) -> None:
    server = started("-q").wait_loaded()
    assert not re.search(r"^(checking|resolv|install|warning)", server.stderr, re.MULTILINE)


def test_with_logs_as_json_what_comes_before_serving_is_in_objects_too(start: Start, tmp_path: Path) -> None:
    index = LocalIndex()
    index.add(*[wheel(name, "1.0") for name in ("pip", "setuptools", "wheel")])
    try:
        # Without a date there is something to warn of.
        model = write_model(tmp_path / "fruit", python=HERE, loader=LOADER, created=None)
        argv = [sys.executable, "-m", "envbuild", "serve", model, "--port", 0, "--workers", 1, "--log-format", "json"]
        variables = {"ENVBUILD_HOME": str(tmp_path / "store"), "ENVBUILD_INDEX_URL": index.url}
        server = start(argv, variables=variables).wait_loaded()
    finally:
        index.close()
    server.process.terminate()
    assert server.wait() == 0
    said = [json.loads(line) for line in server.stderr.splitlines()]
    assert any(one["message"].startswith("resolving ") for one in said)
    assert any(one["message"].startswith("installing ") for one in said)
    assert any(one["level"] == "warning" and one["code"] for one in said)


def test_with_logs_as_json_an_error_before_serving_is_an_object_too(store: dict[str, str], tmp_path: Path) -> None:
    model = write_model(tmp_path / "plum", python=HERE, loader=LOADER, pip=("fruit-salad==1",))
    done = run("serve", model, "--locked", "--log-format", "json", "--json", variables=store)
    *_, last = [json.loads(line) for line in done.stderr.splitlines()]
    assert (last["level"], last["code"]) == ("error", "lock-missing")
    assert json.loads(done.stdout)["error"]["code"] == "lock-missing"
    assert done.returncode != 0


def test_an_option_wins_over_its_variable(started: Callable[..., Server], tmp_path: Path) -> None:
    server = started("--json", "--name", "pear", ENVBUILD_NAME="plum", ENVBUILD_BATCH_SIZE="7")
    (line,) = eventually(lambda: (tmp_path / "stdout").read_text().splitlines(), "it has said so")
    assert (json.loads(line)["name"], json.loads(line)["batch_size"]) == ("pear", 7)
    assert server.predict("echo").status == 200


def test_a_port_that_is_taken_is_said(store: dict[str, str], tmp_path: Path) -> None:
    model = write_model(tmp_path / "fruit", python=HERE, loader=LOADER)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", model, "--port", port, "--json", variables=store)
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (2, "usage")
    assert f"cannot listen at 127.0.0.1, port {port}: Address already in use" in done.stdout
    assert "Traceback" not in done.stderr


WRONG: list[tuple[tuple[object, ...], int, str]] = [
    (("--workers", 0), 2, "workers"),
    (("--queue", -1), 2, "queue"),
    (("--batch-wait", -1), 2, "batch_wait"),
    (("--request-timeout", 0), 2, "request_timeout"),
    (("--port", 65536), 2, "port"),
    (("--certfile", "cert.pem"), 2, "TLS takes a certificate and its key"),
    (("--token", "two words"), 2, "characters that no header can carry"),
]


@pytest.mark.parametrize(("words", "status", "said"), WRONG, ids=str)
def test_what_cannot_be_is_refused_before_anything_is_built(
    store: dict[str, str], tmp_path: Path, words: tuple[object, ...], status: int, said: str
) -> None:
    model = write_model(tmp_path / "fruit", python=HERE, loader=LOADER)
    done = run("serve", model, *words, variables=store)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert "two words" not in done.stderr
    assert "Traceback" not in done.stderr


def test_no_model_is_said(store: dict[str, str], tmp_path: Path) -> None:
    done = run("serve", tmp_path / "nothing", variables=store)
    assert done.returncode == 3
    assert done.stderr.startswith("error[model-not-found]")


def test_without_the_extra_it_says_what_to_install(store: dict[str, str], tmp_path: Path) -> None:
    model = write_model(tmp_path / "fruit", python=HERE, loader=LOADER)
    # A Python that has all of envbuild but what the extra brings.
    hiding = (
        "import importlib.abc, sys\n"
        "class Hidden(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name.partition('.')[0] in ('starlette', 'uvicorn', 'httptools'):\n"
        "            raise ModuleNotFoundError(name=name)\n"
        "class Lacking:\n"
        "    pass\n"
        "import importlib.util\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name in ('starlette', 'uvicorn', 'httptools')"
        " else real(name, *more)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "from envbuild.cli import program\n"
        "sys.argv = ['envbuild', *sys.argv[1:]]\n"
        "program()\n"
    )
    argv = [sys.executable, "-c", hiding, "serve", str(model)]
    done = subprocess.run(argv, env=environ(**store), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "serving needs starlette, uvicorn, httptools" in done.stderr
    assert "pip install 'envbuild[serve]'" in done.stderr
