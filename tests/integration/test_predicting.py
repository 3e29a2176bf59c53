"""From a model's directory to its answer, and what happens when the model misbehaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from kit import Kit, cli, cli_environ
from tiny import wheel, write_model
from waiting import is_gone

import envbuild
from envbuild.errors import ModelNotLoaded, ModelRaised, OutputInvalid, TimedOut, WorkerExited, WorkerKilled

MakeModel = Callable[..., Path]

LOADER = """
import os, signal, sys, time
print("imported")

class Acting:
    def predict(self, data):
        act = data["input"]
        print("print")
        os.system("echo system")
        os.write(1, b"descriptor\\n")
        sys.stdout.buffer.write(b"buffer\\n")
        if act == "raise":
            raise ValueError("no such luck")
        if act == "exit":
            sys.exit(3)
        if act == "hard exit":
            os._exit(3)
        if act == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if act == "nan":
            return [1.0, float("nan"), float("inf"), None]
        if act == "unwritable":
            return object()
        if act == "sleep":
            with open(data["mark"] + ".new", "w") as file:
                file.write(str(os.getpid()))
            os.rename(data["mark"] + ".new", data["mark"])
            time.sleep(600)
        if act == "environ":
            return {"environ": dict(os.environ), "path": sys.path, "home": os.listdir(os.path.expanduser("~"))}
        if act == "pid":
            return os.getpid()
        return act

def _load_pyfunc(path):
    print("loaded")
    if os.path.exists(os.path.join(path, "broken")):
        raise RuntimeError("cannot be loaded")
    return Acting()
"""


@pytest.fixture(scope="module")
def acting(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model that does what its input says, with its environment built; and its store."""
    folder = tmp_path_factory.mktemp("acting")
    model = write_model(folder / "model", loader=LOADER)
    # An empty environment needs no index at all.
    envbuild.build(model, home=folder / "home", offline=True)
    return model, folder / "home"


def predict(acting: tuple[Path, Path], act: str, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    body = json.dumps({"input": act, **more})
    return cli("predict", acting[0], "-", *words, environ=cli_environ(acting[1]), input=body)


def last_error(text: str) -> str:
    return [line for line in text.splitlines() if line.startswith("error[")][-1]


def test_whatever_a_model_prints_goes_to_stderr(acting: tuple[Path, Path]) -> None:
    done = predict(acting, "hello")
    assert (done.returncode, done.stdout) == (0, '"hello"\n')
    for word in ("imported", "loaded", "print", "system", "descriptor", "buffer"):
        assert f"{word}\n" in done.stderr


def test_a_pth_file_that_prints_cannot_corrupt_an_answer(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("alpha", "1.0", modules={"alpha.pth": "import sys; print('from a pth file')\n"}))
    model = make_model(pip=["alpha"], loader=LOADER)
    environ = cli_environ(kit.home, kit.index.url)
    done = cli("predict", model, "-", environ=environ, input='{"input": "hello"}')
    assert (done.returncode, done.stdout) == (0, '"hello"\n')
    assert "from a pth file" in done.stderr


def test_a_model_that_raises_shows_its_traceback_and_one_line_with_a_code(acting: tuple[Path, Path]) -> None:
    done = predict(acting, "raise")
    assert (done.returncode, done.stdout) == (7, "")
    assert 'raise ValueError("no such luck")' in done.stderr
    assert last_error(done.stderr).startswith("error[model-raised]: ")
    assert "ValueError: no such luck" in last_error(done.stderr)
    assert "envbuild/cli" not in done.stderr


def test_a_model_that_cannot_be_loaded_is_said(kit: Kit, make_model: MakeModel) -> None:
    model = make_model(loader=LOADER, files={"broken": ""})
    done = cli("predict", model, "-", environ=cli_environ(kit.home, kit.index.url), input='{"input": "hello"}')
    assert done.returncode == 7
    assert "RuntimeError: cannot be loaded" in last_error(done.stderr)
    assert last_error(done.stderr).startswith("error[model-not-loaded]: ")
    with pytest.raises(ModelNotLoaded):
        envbuild.load_model(model, home=kit.home)


@pytest.mark.parametrize(
    ("act", "code", "status", "said"),
    [
        ("exit", "model-raised", 7, "sys.exit(3)"),
        ("hard exit", "worker-exited", 7, "status 3"),
        ("kill", "worker-killed", 8, "SIGKILL"),
        ("unwritable", "output-invalid", 7, "object"),
    ],
)
def test_a_worker_that_ends_or_answers_nonsense_is_said(
    acting: tuple[Path, Path], act: str, code: str, status: int, said: str
) -> None:
    done = predict(acting, act)
    assert (done.returncode, done.stdout) == (status, "")
    assert last_error(done.stderr).startswith(f"error[{code}]: ")
    assert said in last_error(done.stderr)
    assert "Traceback" not in done.stderr


def test_nan_and_infinities_become_null_and_are_counted_in_one_warning(acting: tuple[Path, Path]) -> None:
    done = predict(acting, "nan")
    assert (done.returncode, done.stdout) == (0, "[1.0, null, null, null]\n")
    assert [line for line in done.stderr.splitlines() if "warning[" in line] == [
        "warning[nan-null]: 2 values of the answer were NaN or infinite and are null (--nan changes that)"
    ]
    assert json.loads(predict(acting, "nan", "--nan", "string").stdout) == [1.0, "NaN", "Infinity", None]
    refused = predict(acting, "nan", "--nan", "error")
    assert (refused.returncode, refused.stdout) == (7, "")
    assert last_error(refused.stderr).startswith("error[output-invalid]: ")


def test_a_prediction_has_a_time_limit(acting: tuple[Path, Path], tmp_path: Path) -> None:
    done = predict(acting, "sleep", "--predict-timeout", "2", mark=str(tmp_path / "mark"))
    assert done.returncode == 8
    assert last_error(done.stderr).startswith("error[timed-out]: ")
    assert is_gone(int((tmp_path / "mark").read_text()))


def test_a_model_sees_nothing_of_the_hosts_surroundings(acting: tuple[Path, Path]) -> None:
    body = '{"input": "environ"}'
    hidden = {"MY_TOKEN": "canary", "HTTPS_PROXY": "http://index.example", "PYTHONSTARTUP": "x", "OMP_NUM_THREADS": "3"}
    done = cli("predict", acting[0], "-", environ=cli_environ(acting[1], **hidden), input=body)
    seen = json.loads(done.stdout)
    assert not {"MY_TOKEN", "HTTPS_PROXY", "PYTHONPATH", "PYTHONSTARTUP", "ENVBUILD_HOME"} & set(seen["environ"])
    assert seen["environ"]["OMP_NUM_THREADS"] == "3"
    assert seen["home"] == []
    assert not [path for path in seen["path"] if path == "" or "envbuild/worker" in path]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_worker_is_gone_after_its_host_in_the_middle_of_a_prediction(
    acting: tuple[Path, Path], tmp_path: Path, number: signal.Signals
) -> None:
    mark = tmp_path / "mark"
    request = tmp_path / "in.json"
    request.write_text(json.dumps({"input": "sleep", "mark": str(mark)}))
    argv = [sys.executable, "-m", "envbuild", "predict", str(acting[0]), str(request)]
    with subprocess.Popen(argv, env=cli_environ(acting[1]), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert until(mark.exists)
        worker = int(mark.read_text())
        assert not is_gone(worker)
        child.send_signal(number)
        assert until(lambda: is_gone(worker))
        child.communicate(timeout=30)
    assert child.returncode == (-signal.SIGKILL if number == signal.SIGKILL else 130)


def until(true: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)
    return true()


@pytest.fixture
def loaded(acting: tuple[Path, Path], capfd: pytest.CaptureFixture[str]) -> Iterator[envbuild.LoadedModel]:
    with envbuild.load_model(acting[0], home=acting[1]) as model:
        yield model


def test_one_worker_answers_two_predictions(loaded: envbuild.LoadedModel) -> None:
    first, second = (loaded.predict({"input": "pid"}) for _ in range(2))
    assert first == second != os.getpid()
    loaded.close()
    assert is_gone(first)


def test_a_worker_goes_on_after_a_model_that_raised(loaded: envbuild.LoadedModel) -> None:
    pid = loaded.predict({"input": "pid"})
    with pytest.raises(ModelRaised, match="no such luck"):
        loaded.predict({"input": "raise"})
    with pytest.raises(ModelRaised, match=r"sys\.exit"):
        loaded.predict({"input": "exit"})
    with pytest.raises(OutputInvalid):
        loaded.predict({"input": "unwritable"})
    assert loaded.predict({"input": "pid"}) == pid


@pytest.mark.parametrize(("act", "error"), [("kill", WorkerKilled), ("hard exit", WorkerExited)])
def test_a_worker_that_is_gone_is_followed_by_another(
    loaded: envbuild.LoadedModel, act: str, error: type[Exception]
) -> None:
    before = loaded.predict({"input": "pid"})
    for _ in range(2):
        with pytest.raises(error):
            loaded.predict({"input": act})
    assert loaded.predict({"input": "pid"}) != before


def test_the_api_has_time_limits_too(acting: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(TimedOut):
        envbuild.predict(
            acting[0], {"input": "sleep", "mark": str(tmp_path / "mark")}, home=acting[1], predict_timeout=1.5
        )


TABLE_LOADER = """
import numpy as np, pandas as pd

class Adding:
    def predict(self, data):
        if isinstance(data, pd.DataFrame):
            return pd.DataFrame({"sum": data["a"] + data["b"], "kind": str(data["a"].dtype)})
        if isinstance(data, dict):
            return {name: np.asarray(values) * 2 for name, values in data.items()}
        return np.asarray(data) * 2

def _load_pyfunc(path):
    return Adding()
"""


@pytest.fixture(scope="module")
def adding(tmp_path_factory: pytest.TempPathFactory, shared_home: Path) -> Iterator[envbuild.LoadedModel]:
    """A model with the real numpy and pandas of its day."""
    place = tmp_path_factory.mktemp("adding") / "model"
    pins = ["numpy==1.24.1", "pandas==1.5.2"]
    model = write_model(place, pip=pins, loader=TABLE_LOADER, created="2023-01-05 10:00:00")
    with envbuild.load_model(model, home=shared_home) as found:
        yield found


def doubled(array: Any) -> Any:
    return (np.asarray(array) * 2).tolist()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (pd.DataFrame({"a": [1, 2], "b": [3, 4]}), [{"sum": 4, "kind": "int64"}, {"sum": 6, "kind": "int64"}]),
        (pd.DataFrame({"a": [1.5], "b": [3]}), [{"sum": 4.5, "kind": "float64"}]),
        (np.arange(6.0).reshape(2, 3), doubled(np.arange(6.0).reshape(2, 3))),
        ({"x": np.array([1, 2]), "y": np.array([0.5, 1.5])}, {"x": [2, 4], "y": [1.0, 3.0]}),
        ([1, 2, 3], [2, 4, 6]),
        ([{"a": 1, "b": 2}, {"a": 3, "b": 4}], [{"sum": 3, "kind": "int64"}, {"sum": 7, "kind": "int64"}]),
        ({"inputs": [[1, 2]]}, [[2, 4]]),
        ({"dataframe_split": {"columns": ["a", "b"], "data": [[1, 1]]}}, [{"sum": 2, "kind": "int64"}]),
        ({"instances": [1, 2]}, [2, 4]),
    ],
    ids=["frame", "mixed-frame", "array", "arrays", "list", "records", "inputs-body", "split-body", "instances-body"],
)
def test_every_kind_of_data_that_python_has(adding: envbuild.LoadedModel, data: Any, expected: Any) -> None:
    assert adding.predict(data) == expected


def test_predict_is_one_call(acting: tuple[Path, Path], capfd: pytest.CaptureFixture[str]) -> None:
    assert envbuild.predict(str(acting[0]), {"input": "hello"}, home=acting[1]) == "hello"
    out, err = capfd.readouterr()
    assert out == ""
    assert "imported" in err
