"""Limits from the command line and the API: what is in force is said, what is secret is nowhere, leases are held and freed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kit import cli, cli_environ
from tiny import write_model
from waiting import eventually, is_gone

import envbuild
from envbuild.errors import ConfinementUnavailable, OutputTooLarge, TimedOut
from envbuild.settings import Settings
from envbuild.store import Store
from envbuild.store.upkeep import Upkeep

LOADER = """
import errno, os, socket, time

class Model:
    def predict(self, data):
        try:
            return eval(data["input"])
        except OSError as error:
            return errno.errorcode[error.errno]

def _load_pyfunc(path):
    return Model()
"""
PID, HANG = {"input": "os.getpid()"}, "[open({0!r}, 'w').write(str(os.getpid())), time.sleep(1000)]"
Loaded = Callable[..., envbuild.LoadedModel]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model that evaluates its input, with its environment built; and its store."""
    folder = tmp_path_factory.mktemp("kept")
    made = write_model(folder / "model", loader=LOADER)
    envbuild.build(made, home=folder / "home", offline=True)
    return made, folder / "home"


def in_use(model: tuple[Path, Path]) -> bool:
    (one,) = Upkeep(Store(Settings(home=model[1]))).listed()
    return one.in_use


def predict(model: tuple[Path, Path], question: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    body = json.dumps({"input": question})
    return cli("predict", model[0], "-", *words, environ=cli_environ(model[1], **more), input=body)


def test_an_environment_is_held_while_another_worker_can_come(model: tuple[Path, Path]) -> None:
    with envbuild.load_model(model[0], home=model[1], idle_timeout=0.2, predict_timeout=1) as loaded:
        first = loaded.predict(PID)
        eventually(lambda: is_gone(first), "it was ended")
        assert in_use(model)
        with pytest.raises(TimedOut):
            loaded.predict({"input": "time.sleep(1000)"})
        assert in_use(model)
        assert loaded.predict(PID) != first
    assert not in_use(model)


@pytest.mark.parametrize(
    "words", [(), ("--max-memory", "1GiB"), ("--no-network", "--read-only", "--max-memory", "1GiB")]
)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_host_that_ends_in_the_middle_frees_the_environment(
    model: tuple[Path, Path], tmp_path: Path, words: tuple[str, ...], number: signal.Signals
) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "body.json").write_text(json.dumps({"input": HANG.format(str(mark))}))
    argv = [sys.executable, "-m", "envbuild", "predict", str(model[0]), str(tmp_path / "body.json"), *words]
    with subprocess.Popen(argv, env=cli_environ(model[1]), stderr=subprocess.DEVNULL) as host:
        try:
            eventually(lambda: mark.exists() and mark.read_text(), "the model is predicting")
            assert in_use(model)
            host.send_signal(number)
            assert host.wait() == (-9 if number == signal.SIGKILL else 130)
        finally:
            host.kill()
    assert not in_use(model)
    eventually(lambda: is_gone(int(mark.read_text())), "the worker is gone")


def test_what_is_in_force_is_said_with_v(model: tuple[Path, Path]) -> None:
    question = "socket.create_connection(('192.0.2.1', 80), 5)"
    done = predict(model, question, "-v", "--no-network", "--read-only", "--max-memory", "1GiB")
    assert (done.returncode, done.stdout) == (0, '"ENETUNREACH"\n'), done.stderr
    for words in ("memory: 1073741824 bytes for", "network: none, by ", f"read-only: {model[0]}"):
        assert words in done.stderr
    assert "network: none" not in predict(model, "1", "--no-network").stderr


def test_neither_the_store_nor_the_model_can_be_written(model: tuple[Path, Path]) -> None:
    for place in (model[0], model[1], Path(envbuild.build(model[0], home=model[1]).path)):
        question = f"open({str(place / 'written')!r}, 'w')"
        assert predict(model, question, "--read-only").stdout == '"EROFS"\n', place


def test_what_cannot_be_confined_is_refused(model: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from envbuild.bridge import confinement

    monkeypatch.setattr(confinement, "MEANS", ())
    monkeypatch.setattr(confinement, "_FOUND", confinement._Found())
    with pytest.raises(ConfinementUnavailable):
        envbuild.predict(model[0], PID, home=model[1], no_network=True)
    assert not in_use(model)


def test_an_answer_that_is_too_long_is_an_error_of_its_own(model: tuple[Path, Path]) -> None:
    done = predict(model, "'x' * 2000", "--max-output", "1kB")
    assert (done.returncode, done.stdout) == (7, "")
    assert "error[output-too-large]: the answer has 2002 bytes, and may have 1000" in done.stderr
    with pytest.raises(OutputTooLarge):
        envbuild.predict(model[0], {"input": "'x' * 2000"}, home=model[1], max_output="1kB")


def test_a_secret_of_the_models_is_in_no_file_and_no_message(model: tuple[Path, Path], tmp_path: Path) -> None:
    log = tmp_path / "log"
    words = ("-v", "--json", "--log-file", str(log), "--pass-env", "A_TOKEN", "--pass-env", "IS_ABSENT")
    more = {"A_TOKEN": "canary-8f", "ENVBUILD_SET_ENV": "B_TOKEN=canary-9a"}
    question = "os.environ['A_TOKEN'][::-1] + os.environ['B_TOKEN'][::-1]"
    done = predict(model, question, *words, **more)
    answer = json.loads(done.stdout)
    assert answer["answer"] == "canary-8f"[::-1] + "canary-9a"[::-1]
    assert [one["code"] for one in answer["notices"]] == ["variable-absent"]
    assert "IS_ABSENT" in done.stderr
    failed = predict(model, "1 / 0", *words, **more)
    assert failed.returncode == 7
    kept = [path for path in model[1].rglob("*") if path.is_file() and not path.is_symlink()]
    everything: list[Any] = [done.stdout, done.stderr, failed.stdout, failed.stderr, log.read_text()]
    assert not [text for text in everything if "canary" in text]
    assert not [path for path in kept if b"canary" in path.read_bytes()]


def test_variables_change_no_lock(model: tuple[Path, Path]) -> None:
    def locked(**settings: Any) -> tuple[str, set[str]]:
        lock = envbuild.lock(model[0], home=model[1], offline=True, **settings)
        return lock.hash, {path.name for path in (model[1] / "store").rglob("locks/*")}

    more = {"set_env": {"A": "canary"}, "pass_env": ["PATH"], "max_memory": "1GB", "no_network": True}
    assert locked(**more) == locked()


def test_an_absent_variable_is_a_warning_of_the_api(model: tuple[Path, Path]) -> None:
    assert "IS_ABSENT" not in os.environ
    with pytest.warns(UserWarning, match="IS_ABSENT is to be passed on"):
        assert envbuild.predict(model[0], {"input": "1"}, home=model[1], pass_env=["IS_ABSENT"]) == 1


def test_check_takes_the_same_limits(model: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text(json.dumps({"input": "'x' * 2000"}))
    words = ["--input", str(tmp_path / "body.json"), "--max-output", "1kB", "--no-network", "--json"]
    done = cli("check", model[0], *words, environ=cli_environ(model[1]))
    assert done.returncode == 11, done.stderr
    (tried,) = json.loads(done.stdout)["environments"]
    assert tried["failure"]["error"]["code"] == "output-too-large"
