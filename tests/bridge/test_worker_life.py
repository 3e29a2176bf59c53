"""Workers in every Python found: what a model may do to its process, and what the host makes of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from acting import DEADLINE, order
from waiting import eventually, is_gone

from envbuild.bridge import Worker, WorkerOptions
from envbuild.errors import (
    CommandNotStarted,
    EnvbuildError,
    InputError,
    InputMismatch,
    ModelNotLoaded,
    ModelRaised,
    OutputInvalid,
    ProtocolError,
    TimedOut,
    UsageError,
    WorkerExited,
    WorkerKilled,
)

MakeModel = Callable[..., Any]
HERE = Path(sys.executable)
MAIN = str(Path(__file__).resolve().parents[2])


def answer(worker: Worker, do: str, **more: Any) -> Any:
    return json.loads(worker.predict(order(do, **more)).payload)


def start(python: Path, model: Any, **options: Any) -> tuple[Worker, list[bytes]]:
    lines: list[bytes] = []
    return Worker.start(python, model, WorkerOptions(stderr=lines.append, **options)), lines


def test_every_python_loads_and_predicts(every_python: Path, make_model: MakeModel) -> None:
    worker, _ = start(every_python, make_model())
    with worker:
        said = subprocess.check_output([every_python, "-c", "import platform; print(platform.python_version())"])
        assert worker.ready.python == said.decode().strip()
        assert (worker.ready.protocol, worker.ready.loader) == (4, "loader_module")
        worker.wait_loaded()
        assert answer(worker, "echo", value=[1, "ä", None, 2**70]) == [1, "ä", None, 2**70]
        assert answer(worker, "echo", value={"again": 0.1}) == {"again": 0.1}


def test_prints_do_not_reach_the_channel(every_python: Path, make_model: MakeModel) -> None:
    worker, lines = start(every_python, make_model())
    with worker:
        assert answer(worker, "noise") == "quiet"
        assert answer(worker, "echo", value=1) == 1
    said = b"".join(lines)
    for way in (b"print", b"__stdout__", b"fd", b"shell"):
        assert b"noise by " + way + b"\n" in said


def test_stdin_is_empty_for_the_model(every_python: Path, make_model: MakeModel) -> None:
    worker, _ = start(every_python, make_model())
    with worker:
        assert answer(worker, "read") == ["", ""]


def test_a_model_may_close_every_low_file(every_python: Path, make_model: MakeModel) -> None:
    worker, _ = start(every_python, make_model())
    with worker:
        assert answer(worker, "close") == "closed"
        with pytest.raises(ModelRaised):
            answer(worker, "fail")
        assert answer(worker, "echo", value=2) == 2


def test_a_pth_file_that_prints(every_python: Path, make_model: MakeModel, tmp_path: Path) -> None:
    subprocess.check_call([every_python, "-m", "venv", "--without-pip", str(tmp_path / "env")])
    python = tmp_path / "env" / "bin" / "python"
    site_packages = next((tmp_path / "env" / "lib").glob("python3*")) / "site-packages"
    (site_packages / "noise.pth").write_text("import sys; print('noise from site'); sys.stdout.flush()\n")
    (site_packages / "only_in_this_environment.py").write_text("")
    worker, lines = start(python, make_model())
    with worker:
        assert answer(worker, "importable", names=["only_in_this_environment"]) == ["only_in_this_environment"]
        assert answer(worker, "environ")["VIRTUAL_ENV"] == str(tmp_path / "env")
    assert b"noise from site\n" in b"".join(lines)


def test_nothing_of_ours_can_be_imported(every_python: Path, make_model: MakeModel, tmp_path: Path) -> None:
    names = ["envbuild", "channel", "casting", "encoding", "lifeline", "loading", "parsing", "serving", "worker"]
    worker, _ = start(every_python, make_model(utils="WHOSE = 'the model'"))
    with worker:
        assert answer(worker, "importable", names=names) == []
        assert answer(worker, "utils") == "the model"
        path = answer(worker, "path")
        assert path[0] == str(tmp_path / "model" / "code")
        assert not {"", str(Path.cwd()), MAIN, str(Path(MAIN, "envbuild", "worker"))} & set(path)
        assert answer(worker, "imported", names=["numpy", "pandas", "mlflow"]) == []
    assert not list(Path(MAIN, "envbuild", "worker").glob(f"__pycache__/*{worker.pid}*"))


def test_the_worker_leaves_no_bytecode_anywhere(make_model: MakeModel, tmp_path: Path) -> None:
    cache = Path(MAIN, "envbuild", "worker", "__pycache__")
    before = {path: path.stat().st_mtime_ns for path in cache.glob("*")} if cache.exists() else {}
    worker, _ = start(HERE, make_model())
    with worker:
        answer(worker, "echo", value=0)
    after = {path: path.stat().st_mtime_ns for path in cache.glob("*")} if cache.exists() else {}
    assert after == before
    assert list((tmp_path / "model").rglob("__pycache__")) == []


@pytest.mark.parametrize(
    ("do", "kind", "says"),
    [
        ("exit", ModelRaised, r"sys\.exit\(3\)"),
        ("fail", ModelRaised, "ValueError: two lines"),
        ("fail_unprintably", ModelRaised, "Unprintable: <cannot be shown>"),
        ("no_such_thing", ModelRaised, "AttributeError"),
    ],
)
def test_a_model_that_raises_goes_on(
    every_python: Path, make_model: MakeModel, do: str, kind: type[EnvbuildError], says: str
) -> None:
    worker, _ = start(every_python, make_model())
    with worker:
        with pytest.raises(kind, match=says):
            answer(worker, do)
        assert answer(worker, "echo", value="still here") == "still here"


def test_the_traceback_is_on_stderr(make_model: MakeModel) -> None:
    worker, lines = start(HERE, make_model())
    with worker, pytest.raises(ModelRaised):
        answer(worker, "fail")
    said = b"".join(lines)
    assert b"Traceback (most recent call last)" in said
    assert b"its_loader.py" in said


def test_an_interrupt_in_the_model_leaves_no_traceback(every_python: Path, make_model: MakeModel) -> None:
    worker, lines = start(every_python, make_model())
    with worker, pytest.raises(WorkerExited, match="status 130"):
        answer(worker, "interrupt")
    assert lines == []


def test_a_worker_that_exits(every_python: Path, make_model: MakeModel) -> None:
    worker, _ = start(every_python, make_model())
    with worker:
        with pytest.raises(WorkerExited, match="status 3") as caught:
            answer(worker, "hard_exit")
        assert caught.value.details == ("last words",)
        with pytest.raises(WorkerExited):  # and stays so
            answer(worker, "echo", value=1)


@pytest.mark.parametrize("do", ["kill", "kill_with_child"])
def test_a_worker_that_is_killed(every_python: Path, make_model: MakeModel, do: str) -> None:
    """Also when children of the model's hold the channel open."""
    worker, _ = start(every_python, make_model())
    with worker, pytest.raises(WorkerKilled, match="SIGKILL") as caught:
        answer(worker, do)
    assert "out of memory" in str(caught.value.hint)


def test_a_fork_that_comes_back_answers_once(every_python: Path, make_model: MakeModel) -> None:
    worker, _ = start(every_python, make_model())
    with worker:
        assert [answer(worker, "fork") for _ in range(5)] == ["once"] * 5
        assert answer(worker, "echo", value=1) == 1


def test_threads_that_the_model_left_do_not_hold_the_end_up(every_python: Path, make_model: MakeModel) -> None:
    worker, _ = start(every_python, make_model())
    with worker:
        assert answer(worker, "leave_thread") == "left"
    assert is_gone(worker.pid)
    assert worker._child.poll() == 0, "it ended by itself, it was not killed"


@pytest.mark.parametrize("holding_gil", [False, True])
def test_when_the_host_is_killed_the_whole_group_dies(
    every_python: Path, make_model: MakeModel, tmp_path: Path, holding_gil: bool
) -> None:
    make_model()
    host = subprocess.Popen([sys.executable, "-c", HOST, str(every_python), str(tmp_path), str(int(holding_gil))])
    pids = eventually(lambda: _pids(tmp_path / "pids"), "the model is predicting")
    host.kill()
    host.wait()
    eventually(lambda: all(map(is_gone, pids)), "the worker and its child are gone")


def test_an_interrupted_host_ends_its_worker(make_model: MakeModel, tmp_path: Path) -> None:
    make_model()
    host = subprocess.Popen([sys.executable, "-c", HOST, str(HERE), str(tmp_path), "0"], stdout=subprocess.PIPE)
    pids = eventually(lambda: _pids(tmp_path / "pids"), "the model is predicting")
    host.send_signal(signal.SIGINT)
    out, _ = host.communicate(timeout=DEADLINE)
    assert out == b"interrupted\n"
    eventually(lambda: all(map(is_gone, pids)), "the worker and its child are gone")
    assert not list((tmp_path / "private").iterdir()), "its private directories are removed"


HOST = f"""
import json, sys, tempfile
from pathlib import Path
from types import SimpleNamespace
sys.path.insert(0, {MAIN!r})
from envbuild.bridge import Worker
python, home, holding_gil = sys.argv[1:]
tempfile.tempdir = home + "/private"
Path(tempfile.tempdir).mkdir()
pyfunc = SimpleNamespace(loader_module="its_loader", data=None, code="code", config=None, predict_fn="predict", data_of_flavor=None)
model = SimpleNamespace(path=Path(home, "model"), pyfunc=pyfunc, signature=None)
order = {{"do": "hang", "file": home + "/pids", "holding_gil": holding_gil == "1"}}
try:
    with Worker.start(Path(python), model) as worker:
        worker.predict(json.dumps({{"input": order}}).encode())
except KeyboardInterrupt:
    print("interrupted")
"""


def _pids(file: Path) -> list[int]:
    return [int(pid) for pid in file.read_text().split()] if file.exists() else []


def test_a_prediction_that_takes_too_long(make_model: MakeModel, tmp_path: Path) -> None:
    worker, _ = start(HERE, make_model(), predict_timeout=1.0)
    with worker:
        with pytest.raises(TimedOut, match="the model did not answer within 1 seconds"):
            answer(worker, "hang", file=str(tmp_path / "pids"))
        assert all(map(is_gone, _pids(tmp_path / "pids")))
        with pytest.raises(TimedOut):
            answer(worker, "echo", value=1)


def test_a_load_that_takes_too_long(make_model: MakeModel) -> None:
    worker, _ = start(HERE, make_model("import time\ntime.sleep(1000)"), load_timeout=1.0)
    with worker:
        assert worker.ready.protocol == 4
        with pytest.raises(TimedOut, match="the model was not loaded within 1 seconds"):
            worker.wait_loaded()
    assert is_gone(worker.pid)


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import no_such_module_anywhere", "No module named 'no_such_module_anywhere'"),
        ("raise SystemExit(4)", r"sys\.exit\(4\)"),
        ("", "has no _load_pyfunc"),
        ("def _load_pyfunc(path): return 7", "a int, which has no predict"),
        ("class E(Exception):\n    __str__ = None\nraise E", "<cannot be shown>"),
    ],
)
def test_a_model_that_cannot_be_loaded(every_python: Path, make_model: MakeModel, source: str, says: str) -> None:
    worker, _ = start(every_python, make_model(source))
    with worker:
        with pytest.raises(ModelNotLoaded, match=says):
            worker.wait_loaded()
        with pytest.raises(ModelNotLoaded):
            worker.predict(order("echo", value=1))
    assert is_gone(worker.pid)


def test_the_loaders_of_2018_and_plain_functions(every_python: Path, make_model: MakeModel) -> None:
    worker, _ = start(every_python, make_model("def load_pyfunc(path): return lambda data: path[-5:]"))
    with worker:
        assert json.loads(worker.predict(b'{"inputs": [1]}').payload) == {"predictions": "model"}


def test_params_go_only_to_a_predict_that_takes_them(every_python: Path, make_model: MakeModel) -> None:
    source = "def _load_pyfunc(path):\n    def predict(data, params=None): return params\n    return predict"
    worker, _ = start(every_python, make_model(source))
    with worker:
        body = b'{"inputs": [1], "params": {"k": 2}}'
        assert json.loads(worker.predict(body).payload) == {"predictions": {"k": 2}}
    worker, _ = start(every_python, make_model("def _load_pyfunc(path): return lambda data: 1"))
    with worker, pytest.raises(InputError, match="takes none") as caught:
        worker.predict(body)
    assert caught.value.code == "input-mismatch"


MLFLOW = {
    "__init__": "",
    "pyfunc": """
class _Model:
    metadata = type("Metadata", (), {"get_input_schema": None})
    def predict(self, data):
        try:
            _enforce_schema(data)
        except TypeError as error:  # as 2.10 says it in other words
            raise RuntimeError("Failed to enforce schema of data 'secret'. Error: " + str(error))
        return _of_the_model(data)
def _enforce_schema(data):
    if data["input"] == "bad":
        raise ValueError("Failed to enforce schema of data 'secret'. Error: it is bad")
    if data["input"] == "worse":
        raise TypeError("it is worse")
def load_model(path):
    exec(compile(open(path + "/code/its_loader.py").read(), path, "exec"), globals())
    return _Model()
""",
}


def test_what_the_eras_mlflow_refuses_is_a_mismatch(make_model: MakeModel, tmp_path: Path) -> None:
    """Told from what the model raises, also when the model asks another mlflow model."""
    subprocess.check_call([HERE, "-m", "venv", "--without-pip", str(tmp_path / "env")])
    package = next((tmp_path / "env" / "lib").glob("python3*")) / "site-packages" / "mlflow"
    package.mkdir()
    for name, text in MLFLOW.items():
        (package / f"{name}.py").write_text(text)
    source = """
def _of_the_model(data):
    if data['input'] == 'ask':
        return _enforce_schema({'input': 'bad'})
    try:
        return _enforce_schema({'input': data.get('inner')})
    except TypeError:
        raise KeyError('ours')
"""
    worker, _ = start(tmp_path / "env" / "bin" / "python", make_model(source))
    with worker:
        assert worker.ready.loader == "mlflow"
        assert json.loads(worker.predict(b'{"input": "good"}').payload) is None
        with pytest.raises(InputMismatch, match=r"^it is bad$"):
            worker.predict(b'{"input": "bad"}')
        with pytest.raises(InputMismatch, match=r"^it is worse$"):
            worker.predict(b'{"input": "worse"}')
        with pytest.raises(ModelRaised):
            worker.predict(b'{"input": "ask"}')
        with pytest.raises(ModelRaised):
            worker.predict(b'{"input": "good", "inner": "worse"}')


def test_a_large_payload_and_a_loud_model(make_model: MakeModel) -> None:
    worker, lines = start(HERE, make_model())
    value = "0123456789abcdef" * (50 * 1024 * 1024 // 16)
    with worker:
        assert answer(worker, "much_noise", size=5_000_000, value=value) == value
    assert sum(map(len, lines)) == 5_000_000


def test_threads_take_turns(make_model: MakeModel) -> None:
    worker, _ = start(HERE, make_model())
    answers: dict[int, Any] = {}

    def ask(number: int) -> None:
        for _ in range(20):
            answers[number] = answer(worker, "echo", value=[number] * 1000)
            assert answers[number] == [number] * 1000

    with worker:
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {number: [number] * 1000 for number in range(8)}


def test_the_model_sees_only_the_allowed_environment(
    every_python: Path, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_TOKEN", "canary-5f1b")
    monkeypatch.setenv("PYTHONPATH", MAIN)
    monkeypatch.setenv("HTTPS_PROXY", "http://canary-5f1b@proxy")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    worker, _ = start(every_python, make_model())
    with worker:
        seen = answer(worker, "environ")
        assert "canary-5f1b" not in str(seen)
        assert not [name for name in seen if name.startswith("PYTHON")]
        assert (seen["OMP_NUM_THREADS"], seen["LC_ALL"]) == ("3", "C.UTF-8")
        assert seen["PATH"].split(":")[0] == str(every_python.parent)
        private = [Path(seen["HOME"]), Path(seen["TMPDIR"])]
        assert [list(path.iterdir()) for path in private] == [[], []]
    assert not any(path.exists() for path in private)


def test_closing_twice_and_asking_afterwards(make_model: MakeModel) -> None:
    worker, _ = start(HERE, make_model())
    worker.close()
    worker.close()
    assert is_gone(worker.pid)
    with pytest.raises(UsageError, match="closed"):
        worker.predict(order("echo", value=1))


@pytest.mark.parametrize(("nan", "wanted", "nulls"), [("null", None, 2), ("string", "NaN", 0)])
def test_nan_policies(every_python: Path, make_model: MakeModel, nan: Any, wanted: Any, nulls: int) -> None:
    source = "def _load_pyfunc(path): return lambda data: [1.5, float('nan'), float('-inf')]"
    worker, _ = start(every_python, make_model(source), nan=nan)
    with worker:
        prediction = worker.predict(b'{"inputs": 1}')
    values = json.loads(prediction.payload)["predictions"]
    assert (values[:2], prediction.nulls, prediction.content_type) == ([1.5, wanted], nulls, "application/json")


def test_nan_as_an_error(every_python: Path, make_model: MakeModel) -> None:
    source = "def _load_pyfunc(path): return lambda data: {'a': [0.5, float('nan')]}"
    worker, _ = start(every_python, make_model(source), nan="error")
    with worker, pytest.raises(OutputInvalid, match=r"predictions\.a\[1\] is NaN"):
        worker.predict(b'{"inputs": 1}')


def _fake_python(tmp_path: Path, script: str) -> Path:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\n" + script)
    python.chmod(0o755)
    return python


def test_a_worker_of_another_version(make_model: MakeModel, tmp_path: Path) -> None:
    script = """echo '{"protocol": 1, "id": 0, "verb": "ready", "content_type": "", "length": 0}'; cat > /dev/null"""
    worker, _ = start(_fake_python(tmp_path, script), make_model())
    with worker, pytest.raises(ProtocolError, match="speaks protocol 1, and this envbuild speaks 4"):
        worker.wait_loaded()
    assert is_gone(worker.pid)


def test_a_python_that_is_none(make_model: MakeModel, tmp_path: Path) -> None:
    worker, _ = start(_fake_python(tmp_path, "echo hello; cat > /dev/null"), make_model())
    with worker, pytest.raises(ProtocolError, match="is not JSON") as caught:
        worker.wait_loaded()
    assert caught.value.details == ("hello",)


def test_a_python_that_does_not_start(make_model: MakeModel, tmp_path: Path) -> None:
    worker, _ = start(_fake_python(tmp_path, "echo broken >&2; exit 1"), make_model())
    with worker, pytest.raises(WorkerExited, match="status 1") as caught:
        worker.wait_loaded()
    assert caught.value.details == ("broken",)
    with pytest.raises(CommandNotStarted, match="no-python"):
        Worker.start(tmp_path / "no-python", make_model())
