"""Models that misbehave under ``envbuild predict``: exit codes, words, strict JSON or nothing; and a host that is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import seeing
from kit import cli, cli_environ
from leftovers import adopting, no_process_left
from tiny import write_model
from waiting import eventually

import envbuild
from envbuild.override.merging import settings_from
from envbuild.store import Store
from envbuild.store.upkeep import Upkeep

# Does what the model of that name does, says so by a file, and then hangs if it is asked to.
LOADER = """
import importlib, os, time

def mark(name):
    open(os.path.join(os.environ["TMPDIR"], name), "w").close()

def _load_pyfunc(path):
    def predict(data):
        model = importlib.import_module(data["input"])._load_pyfunc(path)
        mark("begun")
        answer = model({"input": "misbehave"})
        if data.get("hang"):
            mark("done")
            time.sleep(1000)
        return answer
    return predict
"""
ANSWERS = {
    "prints_in_c": "printed",
    "closes_fds_0_1_and_2": "closed",
    "forks_a_daemon": "forked",
    "leaves_children_with_its_files": "left",
    "leaves_threads_that_never_end": "left",
    "removes_its_home_and_tmpdir": "removed",
    "replaces_functions_of_os": "replaced",
}
FAILS = {
    "closes_all_fds": (7, "worker-exited", "status 74"),
    "exits_at_once_with_0": (7, "worker-exited", "status 0"),
    "calls_sys_exit": (7, "model-raised", "sys.exit(3)"),
    "raises_what_cannot_be_printed": (7, "model-raised", "Silent: <cannot be shown>"),
    "raises_half_a_surrogate_pair": (7, "model-raised", "half \\ud83d of a face"),
    "raises_memory_error": (8, "out-of-memory", "MemoryError"),
    "answers_with_itself": (7, "output-invalid", "nested too deeply"),
    "writes_to_every_fd": (7, "worker-protocol", "is not JSON"),
    "segfaults": (8, "worker-killed", "SIGSEGV"),
    "kills_its_group": (8, "worker-killed", "SIGKILL"),
    "forks_daemons_and_dies": (7, "worker-exited", "status 9"),
    "blocks_in_c": (8, "timed-out", "within 2 seconds"),
}


@dataclass(frozen=True)
class Place:
    """A model with its environment built, and where its store and its workers' directories are."""

    model: Path
    home: Path
    temporary: Path

    def environ(self) -> dict[str, str]:
        return cli_environ(self.home, TMPDIR=str(self.temporary))

    def upkeep(self) -> Upkeep:
        return Upkeep(Store(settings_from({"home": self.home}, {})))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("misbehaving")
    files = {f"code/{path.name}": path.read_text() for path in seeing.MODELS.glob("*.py")}
    model = write_model(folder / "model", loader=LOADER, files=files)
    (folder / "tmp").mkdir()
    # An empty environment needs no index at all.
    envbuild.build(model, home=folder / "home", offline=True)
    return Place(model, folder / "home", folder / "tmp")


@pytest.fixture(autouse=True)
def _nothing_is_left(place: Place) -> Iterator[None]:
    with adopting(), no_process_left():
        yield
        eventually(lambda: list(place.temporary.iterdir()) == [], "no directory is left")


def predict(place: Place, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    return cli("predict", place.model, "-", *words, environ=place.environ(), input=json.dumps({"input": name}))


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_in_spite_of_it(place: Place, name: str) -> None:
    done = predict(place, name)
    assert (done.returncode, json.loads(done.stdout)) == (0, ANSWERS[name])


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", FAILS)
def test_an_error_that_says_what_happened(place: Place, name: str) -> None:
    done = predict(place, name, "--predict-timeout", "2" if name == "blocks_in_c" else "60")
    status, code, says = FAILS[name]
    assert (done.returncode, done.stdout) == (status, "")
    (said,) = (line for line in done.stderr.splitlines() if line.startswith("error["))
    assert said.startswith(f"error[{code}]")
    assert says in said


@pytest.mark.parametrize(
    ("name", "sign"),
    [
        ("forks_a_daemon", "done"),
        ("starts_a_daemon_without_an_environment", "done"),
        ("leaves_its_session", "done"),
        ("blocks_in_c", "begun"),
        ("ignores_signals_and_hangs", "begun"),
    ],
)
def test_a_host_that_is_killed_takes_everything_with_it(place: Place, name: str, sign: str) -> None:
    """Processes, directories, and the lease of the environment."""
    argv = [sys.executable, "-m", "envbuild", "predict", str(place.model), "-"]
    host = subprocess.Popen(argv, env=place.environ(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with host:
        try:
            assert host.stdin is not None
            host.stdin.write(json.dumps({"input": name, "hang": True}).encode())
            host.stdin.close()
            eventually(lambda: list(place.temporary.rglob(sign)), "the model misbehaves")
            (kept,) = place.upkeep().listed()
            assert kept.in_use
        finally:
            host.send_signal(signal.SIGKILL)
    eventually(lambda: not place.upkeep().kept(kept.path).in_use, "the lease is free")
