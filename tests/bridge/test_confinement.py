"""What workers can be kept from: the network, and writing; as root, as another user, and where nobody can be confined."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import findpython
import pytest
from doing import LOADER, answers, body, model_in
from waiting import eventually, is_gone

from envbuild.bridge import Worker, WorkerOptions, confinement, memory
from envbuild.errors import CommandNotStarted, ConfinementUnavailable, ModelRaised, WorkerExited, WorkerKilled

HERE = Path(sys.executable)
PROGRAM = str(Path(__file__).parent / "doing.py")
REPO = Path(__file__).resolve().parents[2]
# Root with every right but the one that makes namespaces; a user without any.
WITHOUT_RIGHT = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all")
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all")
NO_NAMESPACES = (
    "unshare", "--user", "--map-root-user", "sh", "-c",
    'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"', "sh", *WITHOUT_RIGHT,
)  # fmt: skip
CONNECT = "socket.create_connection(('127.0.0.1', {}), 5).close()"
TO_ITSELF = "(lambda own: socket.create_connection(own.getsockname()).close())(socket.create_server(('127.0.0.1', 0)))"
CONFINED: dict[str, Any] = {"network": False, "read_only": True}
Start = Callable[..., Worker]


@pytest.fixture(params=confinement.MEANS)
def means(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(confinement, "MEANS", (request.param,))
    monkeypatch.setattr(confinement, "_FOUND", confinement._Found())
    return str(request.param)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    workers: list[Worker] = []

    def started(python: Path = HERE, source: str = LOADER, store: Path | None = None, **options: Any) -> Worker:
        given = WorkerOptions(stderr=lambda line: None, **options)
        workers.append(Worker.start(python, model_in(tmp_path, source), given, store=store))
        return workers[-1]

    yield started
    for worker in workers:
        worker.close()


@pytest.fixture
def listening() -> Iterator[int]:
    """The port of somebody who listens on this machine."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def ask(worker: Worker, question: str) -> Any:
    return json.loads(worker.predict(body(question)).payload)


def test_without_a_network_a_model_reaches_nothing_but_itself(start: Start, means: str, listening: int) -> None:
    assert ask(start(), CONNECT.format(listening)) is None
    worker = start(network=False)
    assert worker.restraints == (f"network: none, by {means}",)
    assert ask(worker, CONNECT.format(listening)) == "ECONNREFUSED"
    assert ask(worker, "socket.create_connection(('192.0.2.1', 80), 5)") == "ENETUNREACH"
    assert ask(worker, TO_ITSELF) is None
    assert ask(worker, "open('here', 'w').close() or os.remove('here')") is None


def test_a_model_can_change_neither_its_files_nor_its_packages(start: Start, means: str, tmp_path: Path) -> None:
    store = tmp_path / "store"
    python = store / "environment" / "bin" / "python"
    subprocess.check_call([HERE, "-m", "venv", "--without-pip", str(python.parent.parent)])
    worker = start(python, store=store, read_only=True)
    assert f", by {means}" in worker.restraints[0]
    for path in (tmp_path / "model", python.parent.parent, store, python.resolve().parent):
        assert ask(worker, f"open({str(path / 'written')!r}, 'w')") == "EROFS", path
    assert ask(worker, "open(os.__file__, 'a')") == "EROFS"
    assert ask(worker, f"os.chmod({str(tmp_path / 'model' / 'code' / 'its_loader.py')!r}, 0o777)") == "EROFS"
    assert ask(worker, "open(os.environ['TMPDIR'] + '/written', 'w').write('x')") == 1
    assert ask(worker, f"open({str(tmp_path / 'elsewhere')!r}, 'w').write('x')") == 1
    # Its own directories are its own, also where they lie in a place that is protected.
    worker.close()
    assert list(store.iterdir()) == [store / "environment"]


def test_what_is_mounted_below_is_protected_too_and_its_own_directories_are_not(
    start: Start, means: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model" / "tmp").mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "model" / "tmp"))
    monkeypatch.chdir(tmp_path / "model")
    worker = start(read_only=True)
    assert ask(worker, "open('written', 'w')") == "EROFS", "not by the directory that it was started in"
    assert ask(worker, "open(os.environ['HOME'] + '/written', 'w').write('x')") == 1
    assert ask(worker, f"open({str(tmp_path / 'model' / 'tmp' / 'written')!r}, 'w')") == "EROFS"


def test_root_cannot_undo_it(start: Start, means: str, tmp_path: Path) -> None:
    worker = start(**CONFINED)
    model = str(tmp_path / "model")
    remount = f"['mount', '-o', 'remount,rw,bind', {model!r}]"
    for ways in ("[]", "['unshare', '--user', '--map-root-user', '--mount']"):
        assert ask(worker, f"subprocess.run({ways} + {remount}, stderr=subprocess.DEVNULL).returncode") != 0
    # The mounts of the host are behind the root of each of its processes.
    assert ask(worker, f"open('/proc/{os.getpid()}/root{model}/written', 'w')") in ("EACCES", "EPERM")
    assert ask(worker, f"subprocess.run(['nsenter', '-t', '{os.getpid()}', '-n', 'true'], stderr=-3).returncode") != 0
    assert ask(worker, f"open({model + '/written'!r}, 'w')") == "EROFS"


@pytest.mark.parametrize(
    ("question", "kind"), [("os.kill(os.getpid(), 11)", WorkerKilled), ("os._exit(9)", WorkerExited)]
)
def test_how_it_ended_is_told_as_ever(start: Start, means: str, question: str, kind: type[Exception]) -> None:
    worker = start(**CONFINED)
    with pytest.raises(kind, match=r"SIGSEGV|status 9"):
        ask(worker, question)
    assert is_gone(worker.pid)


def test_every_python_can_be_confined(every_python: Path, start: Start, listening: int) -> None:
    worker = start(every_python, max_memory=2**30, **CONFINED)
    assert ask(worker, CONNECT.format(listening)) == "ECONNREFUSED"
    with pytest.raises(ModelRaised):
        ask(worker, "1 / 0")
    assert ask(worker, "[1]") == [1]


def test_nothing_is_done_where_nothing_is_asked_for(monkeypatch: pytest.MonkeyPatch, start: Start) -> None:
    monkeypatch.setattr(confinement, "LAUNCHER", Path("/nonexistent"))
    worker = start()
    assert (ask(worker, "1"), worker.restraints) == (1, ())


def test_a_python_that_is_not_there_is_said_after_the_launcher_too(start: Start, tmp_path: Path) -> None:
    python = tmp_path / "environment" / "bin" / "python"
    python.parent.mkdir(parents=True)
    with pytest.raises(CommandNotStarted, match=r"environment/bin/python: No such file"):
        start(python, network=False).wait_loaded()


def test_a_path_that_cannot_be_protected_is_refused_and_the_model_not_started(
    start: Start, means: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(read_only=True).wait_loaded()  # so that nothing is tried beforehand
    monkeypatch.setattr(confinement, "protecting", lambda *given: (tmp_path / "gone",))
    source = f"open({str(tmp_path / 'started')!r}, 'w')\n{LOADER}"
    with pytest.raises((ConfinementUnavailable, WorkerExited), match=r"gone|exited"):
        start(source=source, read_only=True).wait_loaded()
    assert not (tmp_path / "started").exists()


def run(prefix: tuple[str, ...], python: Path, *words: str, repo: Path = REPO) -> Any:
    environ = {"PYTHONPATH": str(repo), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
    program = str(repo / "tests" / "bridge" / "doing.py")
    done = subprocess.run(
        [*prefix, str(python), program, *words], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_without_the_right_to_it_a_user_namespace_does(tmp_path: Path, listening: int) -> None:
    written = f"open({str(tmp_path / 'model' / 'written')!r}, 'w')"
    said = run(
        WITHOUT_RIGHT,
        HERE,
        str(tmp_path),
        str(HERE),
        json.dumps(CONFINED),
        "namespaces",
        CONNECT.format(listening),
        written,
    )
    assert said[1:] == ["ECONNREFUSED", "EROFS"]
    assert said[0][0] == "network: none, by namespaces"


@pytest.fixture
def nobodys() -> Iterator[Path]:
    """A place that another user can read and write, with envbuild in it."""
    folder = Path(tempfile.mkdtemp(prefix="envbuild-nobody-", dir="/tmp"))
    shutil.copytree(REPO / "envbuild", folder / "repo" / "envbuild", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "repo" / "tests" / "bridge").mkdir(parents=True)
    shutil.copy(PROGRAM, folder / "repo" / "tests" / "bridge")
    (folder / "own").mkdir()
    folder.chmod(0o755)
    os.chown(folder / "own", 65534, 65534)
    yield folder
    shutil.rmtree(folder)


def _pythons() -> Iterator[Path]:
    """The Pythons that anybody may run, and envbuild runs in."""
    for python in findpython.find_all(allow_prereleases=False):
        program = Path(python.executable).resolve()
        if python.version.release >= (3, 10) and _runs(
            [*NOBODY, str(program), "-c", "import os, sys; os.stat(sys.executable)"]
        ):
            yield program


def _runs(argv: list[str]) -> bool:
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


@pytest.mark.sampled(2)
@pytest.mark.parametrize("means", confinement.MEANS)
def test_a_user_without_any_right_can_confine_and_limit(nobodys: Path, listening: int, means: str) -> None:
    python, own = next(_pythons()), nobodys / "own"
    options = json.dumps({**CONFINED, "max_memory": 400_000_000})
    questions = [CONNECT.format(listening), f"open({str(own / 'model' / 'written')!r}, 'w')", "len(b'x' * 10**9)", "1"]
    said = run(NOBODY, python, str(own), str(python), options, means, *questions, repo=nobodys / "repo")
    assert said[0][0].startswith("memory: 400000000 bytes for each process, by RLIMIT_DATA")
    assert said[0][1] == f"network: none, by {means}"
    assert said[1:3] == ["ECONNREFUSED", "EROFS"]
    assert said[3][0] == "out-of-memory"
    assert "MemoryError (the limit is 400000000 bytes)" in said[3][1]
    assert said[4] == 1, "it was only refused the memory, and goes on"


@pytest.mark.parametrize("option", [{"network": False}, {"read_only": True}])
def test_where_it_cannot_be_had_the_model_is_not_started_and_the_reason_is_said(
    tmp_path: Path, option: dict[str, bool]
) -> None:
    said = run(NO_NAMESPACES, HERE, str(tmp_path), str(HERE), json.dumps(option), "", "1")
    assert (said["code"], said["exit_code"]) == ("confinement-unavailable", 7)
    assert "namespaces: namespaces are refused" in said["message"]
    assert "bubblewrap: " in said["message"]
    assert "install bubblewrap" in said["hint"]


def test_bubblewrap_that_is_missing_is_said(start: Start, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(confinement, "MEANS", ("bubblewrap",))
    monkeypatch.setattr(confinement, "_FOUND", confinement._Found())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfinementUnavailable, match="bubblewrap: it is not installed"):
        start(network=False)


HANG = (
    "[subprocess.Popen(['sleep', '1000']), open({0!r} + '.part', 'w').write('%d' % os.getpid()), "
    "os.rename({0!r} + '.part', {0!r}), time.sleep(1000)]"
)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("options", [{}, {"max_memory": 2**30}, CONFINED, {"max_memory": 2**30, **CONFINED}])
@pytest.mark.parametrize("means", confinement.MEANS)
def test_a_host_that_is_killed_leaves_nothing_behind(tmp_path: Path, options: dict[str, Any], means: str) -> None:
    mark = tmp_path / "mark"
    argv = [sys.executable, PROGRAM, str(tmp_path), str(HERE), json.dumps(options), means, HANG.format(str(mark))]
    host = subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": str(REPO)}, start_new_session=True)
    eventually(mark.exists, "the model is predicting")
    pids = _family(host.pid)
    assert len(pids) >= 3
    host.send_signal(signal.SIGKILL)
    host.wait()
    eventually(lambda: all(map(is_gone, pids)), "the worker and its child are gone")
    eventually(lambda: not list((tmp_path / "private").glob("*")), "its private directories are removed")
    memory.limited(2**30).remove()
    assert not [group for group in Path("/sys/fs/cgroup").rglob("envbuild-*") if f"-{host.pid}-" in group.name]


def _family(pid: int) -> list[int]:
    """Everything that a process started, and what that started."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]


def test_a_time_out_ends_a_confined_worker_with_all_it_started(start: Start, means: str, tmp_path: Path) -> None:
    worker = start(predict_timeout=1.0, **CONFINED)
    worker.wait_loaded()
    assert answers(worker, [HANG.format(str(tmp_path / "mark"))])[0][0] == "timed-out"
    assert is_gone(worker.pid)
    started = int((tmp_path / "mark").read_text())
    eventually(lambda: is_gone(started), "what the model started is gone")
