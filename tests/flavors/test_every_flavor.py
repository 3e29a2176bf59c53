"""Every flavor predicts rightly from its own environment: cold, warm, left behind for the next call, and directly.

What fits into some hundred megabytes is tried with the slow tests; what brings gigabytes (keras, torch, Spark) with
``sh tests/run.sh --flavors``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from flavor import MODELS, question, wrong_in
from kit import cli, cli_environ
from waiting import eventually, is_gone

import envbuild
from envbuild.bridge import Worker
from envbuild.model import read_model

SMALL = ("documented/sklearn2018", "flavors_mlflow2_17/onnx")
LARGE = (
    "documented/fastai",
    "flavors_mlflow1_21/fastai",
    "flavors_mlflow1_21/pytorch",
    "flavors_mlflow2_17/keras",
    "flavors_mlflow2_17/spark",
)
SPARK = MODELS / "flavors_mlflow2_17" / "spark"
SCRIPT = """
import json, sys
import mlflow.pyfunc, pandas
from io import StringIO
from mlflow.pyfunc import scoring_server
asked = json.load(open(sys.argv[2]))["dataframe_split"]
answer = mlflow.pyfunc.load_model(sys.argv[1]).predict(pandas.DataFrame(asked["data"], columns=asked["columns"]))
out = StringIO()
scoring_server.predictions_to_json(answer, out)
print("answer " + out.getvalue())
"""

every_model = pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) for name in SMALL]
    + [pytest.param(name, marks=pytest.mark.flavors) for name in LARGE],
)
direct_ones = pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in SMALL])


def predicted(model: Path, home: Path, *words: str, **more: Any) -> tuple[Any, str]:
    """The answer of the command line, and what it said beside it."""
    environ = cli_environ(home, **more.pop("environ", {}))
    done = cli("predict", model, question(model), *words, environ=environ, **more)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["predictions"], done.stderr


def asked_of(model: Path) -> Any:
    return json.loads(question(model).read_text())


def one_each(rows: Any) -> Any:
    """Lists of one number as the number."""
    return [{name: value[0] if isinstance(value, list) else value for name, value in row.items()} for row in rows]


def wrong(name: str, answer: Any) -> list[str]:
    # The model has no date, and the mlflow of spring 2022 puts each number into a list: test_fastai_… below. The answer
    # that is expected is of the mlflow of the year before.
    return wrong_in(MODELS / name, one_each(answer) if name == "documented/fastai" else answer)


@every_model
def test_a_model_answers_as_its_own_mlflow_did(name: str, shared_home: Path) -> None:
    answer, _ = predicted(MODELS / name, shared_home)
    assert wrong(name, answer) == []


@every_model
def test_a_warm_worker_answers_the_same_again_and_again(name: str, shared_home: Path) -> None:
    model = MODELS / name
    with envbuild.load_model(model, home=shared_home, python_downloads=False) as loaded:
        answers = [loaded.predict(asked_of(model)) for _ in range(3)]
    assert wrong(name, answers[0]) == []
    assert answers[1:] == answers[:1] * 2


@every_model
def test_a_worker_left_behind_answers_the_next_call(name: str, shared_home: Path) -> None:
    model = MODELS / name
    # Short, as the path of a socket must be.
    place = {"TMPDIR": tempfile.mkdtemp(prefix="f-"), "XDG_RUNTIME_DIR": ""}
    try:
        answers = [predicted(model, shared_home, "--keep-warm", "5m", "-v", environ=place) for _ in range(2)]
    finally:
        cli("workers", "stop", "--all", environ=cli_environ(shared_home, **place))
        shutil.rmtree(place["TMPDIR"], ignore_errors=True)
    assert [wrong(name, answer) for answer, _ in answers] == [[], []]
    resident = [re.search(r"resident worker \S+, process \d+", said) for _, said in answers]
    assert resident[0] is not None
    assert resident[1] is not None
    assert resident[0][0] == resident[1][0], "it is the same process"


@direct_ones
def test_without_mlflow_loading_it_the_answer_is_the_same(name: str, shared_home: Path) -> None:
    by_mlflow, _ = predicted(MODELS / name, shared_home, "--loader", "mlflow")
    direct, said = predicted(MODELS / name, shared_home, "--loader", "direct", "-v")
    assert "loaded directly" in said
    assert direct == by_mlflow


@pytest.mark.slow
def test_a_model_of_the_first_mlflow_is_loaded_by_a_loader_of_another_name(shared_home: Path) -> None:
    """In the environment of a model of its weeks, which has the same mlflow, scikit-learn and Python."""
    with envbuild.load_model(MODELS / "documented" / "sklearn2018", home=shared_home, python_downloads=False) as other:
        python = other.environment.python
    packages = subprocess.run(
        [python, "-c", "import mlflow.pyfunc as m; print(hasattr(m, 'load_pyfunc'), hasattr(m, 'load_model'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert packages.stdout.split() == ["True", "False"]
    model = MODELS / "py36_mlflow0_1" / "iris"
    with Worker.start(python, read_model(model)) as worker:
        answer = worker.predict(question(model).read_bytes()).payload
    assert wrong_in(model, json.loads(answer)["predictions"]) == []


@pytest.mark.flavors
@pytest.mark.parametrize("name", ["documented/fastai", "flavors_mlflow1_21/fastai"])
def test_fastai_answers_in_the_shape_that_the_environments_own_mlflow_gives_it(name: str, shared_home: Path) -> None:
    model = MODELS / name
    built = envbuild.build(model, home=shared_home, python_downloads=False)
    done = subprocess.run(
        [built.python, "-I", "-c", SCRIPT, model, question(model)],
        capture_output=True,
        text=True,
        check=True,
    )
    answer, _ = predicted(model, shared_home)
    assert answer == json.loads(done.stdout.rpartition("answer ")[2])


@pytest.fixture
def caller(tmp_path: Path) -> Iterator[Path]:
    """An empty directory to call from, which must be empty afterwards."""
    folder = tmp_path / "caller"
    folder.mkdir()
    yield folder
    assert list(folder.iterdir()) == []


@pytest.mark.flavors
def test_spark_leaves_nothing_where_it_was_called(caller: Path, shared_home: Path, tmp_path: Path) -> None:
    before = set(Path("/tmp").iterdir())
    environ = {"TMPDIR": str(tmp_path), "SPARK_HOME": "/nowhere", "HADOOP_CONF_DIR": "/nowhere"}
    answer, _ = predicted(SPARK, shared_home, cwd=caller, environ=environ)
    assert wrong_in(SPARK, answer) == []
    left = sorted(place.name for place in set(Path("/tmp").iterdir()) - before)
    assert [name for name in left if any(word in name for word in ("spark", "derby", "mlflow", "blockmgr"))] == []


@pytest.mark.flavors
def test_two_sparks_side_by_side_both_answer(shared_home: Path) -> None:
    with envbuild.load_model(SPARK, home=shared_home, python_downloads=False, workers=2) as loaded:
        with ThreadPoolExecutor(2) as callers:
            answers = list(callers.map(lambda _: loaded.predict(asked_of(SPARK)), range(4)))
        assert len(loaded.pids) == 2
    assert [wrong_in(SPARK, answer) for answer in answers] == [[]] * 4


@pytest.mark.flavors
@pytest.mark.parametrize("how", ["closed", "killed"])
def test_sparks_java_ends_with_the_worker(how: str, shared_home: Path) -> None:
    with envbuild.load_model(SPARK, home=shared_home, python_downloads=False) as loaded:
        loaded.predict(asked_of(SPARK))
        javas = [pid for pid in below(loaded.pids[0]) if program_of(pid) == "java"]
        assert len(javas) == 1
        if how == "killed":
            for pid in [pid for pid in below(loaded.pids[0]) if program_of(pid).startswith("python")]:
                os.kill(pid, signal.SIGKILL)
            eventually(lambda: is_gone(javas[0]), "Java is gone with the worker")
    eventually(lambda: is_gone(javas[0]), "Java is gone with the worker")


@pytest.mark.flavors
def test_spark_predicts_without_a_network_and_with_its_files_protected(shared_home: Path) -> None:
    answer, _ = predicted(SPARK, shared_home, "--no-network", "--read-only")
    assert wrong_in(SPARK, answer) == []


def below(pid: int) -> list[int]:
    """A process, and all that descend from it."""
    children: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        children.setdefault(int(fields[1]), []).append(int(place.parent.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def program_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""
