"""The commands beside serve: predict over standard input, and the health check."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from asking import REPO, Server, body, environ, here
from waiting import eventually

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def run(environment: Path, model: Path, tmp_path: Path) -> Run:
    """Runs a command to its end."""

    def run(*command: object, stdin: bytes = b"", **variables: str) -> subprocess.CompletedProcess[bytes]:
        argv = list(map(str, here(environment, model, *command)))
        known = environ(TMPDIR=str(tmp_path), **variables)
        return subprocess.run(argv, input=stdin, env=known, capture_output=True, timeout=60, check=False)

    return run


def test_predict_reads_a_request_and_writes_the_answer_alone(run: Run) -> None:
    done = run("predict", stdin=body("echo", 2))
    assert (done.returncode, done.stdout, done.stderr) == (0, b'{"predictions": ["echo", 2]}\n', b"")


def test_predict_says_how_many_values_became_null(run: Run) -> None:
    done = run("predict", stdin=body("nan"))
    assert json.loads(done.stdout) == {"predictions": [None]}
    assert done.stderr.startswith(b"warning[nan-null]: 1 values")


@pytest.mark.parametrize(
    ("stdin", "options", "code", "said"),
    [
        (b"{", (), 6, "error[input-invalid]: the input is not JSON"),
        (b"", ("--content-type", "text/csv"), 6, "error[input-invalid]: "),
        (body("echo"), ("--content-type", "text/html"), 6, "is none of"),
        (body("raise"), (), 7, "error[model-raised]: "),
        (body("kill"), (), 8, "error[worker-killed]: the worker was killed by SIGKILL"),
    ],
)
def test_predict_fails_as_the_command_line_does(
    run: Run, stdin: bytes, options: tuple[str, ...], code: int, said: str
) -> None:
    done = run("predict", *options, stdin=stdin)
    assert (done.returncode, done.stdout) == (code, b"")
    assert said in done.stderr.decode()


def test_an_error_has_its_hint_on_a_line_of_its_own(run: Run) -> None:
    lines = run("predict", stdin=body("raise")).stderr.decode().splitlines()
    assert lines[-1] == "  hint: The traceback is on the worker's stderr."


def test_a_model_that_cannot_be_loaded_fails_the_prediction(run: Run, model: Path) -> None:
    (model / "fails").touch()
    done = run("predict", stdin=body("echo"))
    assert done.returncode == 7
    assert b"error[model-not-loaded]" in done.stderr


@pytest.mark.parametrize(
    "words", [("fly",), ("serve", "--port", "80000"), ("serve", "--port", "http"), ("predict", "--gpu")]
)
def test_what_cannot_be_understood_is_a_usage_error(run: Run, words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error[usage]: ")
    assert b"Traceback" not in done.stderr


def test_a_setting_that_cannot_be_understood_is_a_usage_error(run: Run) -> None:
    done = run("predict", stdin=body("echo"), ENVBUILD_PREDICT_TIMEOUT="soon")
    assert done.returncode == 2
    assert b"ENVBUILD_PREDICT_TIMEOUT" in done.stderr


def test_help_is_an_answer(run: Run) -> None:
    done = run("--help")
    assert done.returncode == 0
    assert b"predict" in done.stdout


def test_an_answer_that_cannot_be_written_is_said(environment: Path, model: Path) -> None:
    argv = list(map(str, here(environment, model, "predict")))
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            argv, input=body("echo"), env=environ(), stdout=full, stderr=subprocess.PIPE, timeout=60, check=False
        )
    assert b"error[usage]: the answer cannot be written to standard output: No space left" in done.stderr
    assert done.returncode == 2


def test_a_reader_that_has_gone_is_no_error_of_ours(environment: Path, model: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    argv = list(map(str, here(environment, model, "predict")))
    done = subprocess.run(
        argv, input=body("echo"), env=environ(), stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


def test_sigterm_interrupts_a_prediction(environment: Path, model: Path, tmp_path: Path) -> None:
    argv, gate = list(map(str, here(environment, model, "predict"))), tmp_path / "gate"
    with subprocess.Popen(argv, env=environ(), stdin=-1, stdout=-1, stderr=-1) as process:
        assert process.stdin is not None
        process.stdin.write(body("wait", str(gate)))
        process.stdin.close()
        process.stdin = None
        eventually(Path(f"{gate}.begun").exists, "the prediction has begun")
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"error[interrupted]" in stderr


def test_the_health_check_tells_a_server_that_can_predict_from_others(
    run: Run, serve: Callable[..., Server], model: Path
) -> None:
    (model / "waits").touch()
    server = serve()
    done = run("health", "--port", server.port)
    assert done.returncode == 1
    assert b"the model is being loaded" in done.stdout
    (model / "go").touch()
    server.wait_loaded()
    done = run("health", "--port", server.port)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    server.process.terminate()
    assert server.wait() == 0
    done = run("health", "--port", server.port)
    assert done.returncode == 1
    assert b"nothing answers" in done.stdout


def test_the_health_check_imports_next_to_nothing() -> None:
    code = (
        "import sys; from envbuild.server.container.commands import main; main(['health', '--port', '1']);"
        "print(*sorted(name for name in sys.modules if name.startswith('envbuild')))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environ(), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == [
        "envbuild",
        "envbuild.server",
        "envbuild.server.container",
        "envbuild.server.container.commands",
        "envbuild.server.container.health",
    ]


def test_the_server_never_imports_the_command_line_nor_anything_of_building() -> None:
    code = (
        "import sys, envbuild.server.serving, envbuild.server.application, envbuild.server.answering, envbuild.staleness;"
        "print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ(), cwd=REPO, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "envbuild.server.application" in loaded
    wrong = ("envbuild.cli", "envbuild.builders", "envbuild.resolvers", "envbuild.uv", "envbuild.pipeline", "httpx")
    assert loaded & {*wrong, "rich", "findpython", "truststore"} == set()
