"""What a worker may take and give: memory, the length of an answer, variables."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from doing import LOADER, body, model_in
from waiting import is_gone

from envbuild.bridge import Worker, WorkerOptions, memory
from envbuild.bridge.environ import absent
from envbuild.errors import ModelRaised, OutOfMemory, OutputTooLarge, UsageError, WorkerKilled

HERE = Path(sys.executable)
LIMIT = 300 * 2**20
Start = Callable[..., Worker]
MUCH = f"len(b'x' * {2 * LIMIT})"
A_CHILD_TAKES_MUCH = f"subprocess.check_call([sys.executable, '-S', '-c', {MUCH!r}])"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    workers: list[Worker] = []

    def started(python: Path = HERE, source: str = LOADER, **options: Any) -> Worker:
        given = WorkerOptions(stderr=lambda line: None, **options)
        workers.append(Worker.start(python, model_in(tmp_path, source), given))
        return workers[-1]

    yield started
    for worker in workers:
        worker.close()


def ask(worker: Worker, question: str) -> Any:
    return json.loads(worker.predict(body(question)).payload)


@pytest.fixture(params=["what there is", "rlimit"])
def means(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What holds the limit; where no group can be made both are the same."""
    if request.param == "rlimit":
        monkeypatch.setattr(memory, "_places", lambda root: [])
    limit = memory.limited(LIMIT)
    limit.remove()
    return limit.means


def test_a_model_that_takes_too_much_memory_is_said_to(start: Start, means: str) -> None:
    worker = start(max_memory=LIMIT)
    assert f"memory: {LIMIT} bytes" in worker.restraints[0]
    assert ("control group" in worker.restraints[0].partition("(")[0]) == (means == "cgroup")
    assert ask(worker, "len(b'x' * 1000000)") == 1000000
    with pytest.raises(OutOfMemory, match=rf"the limit is {LIMIT} bytes") as caught:
        ask(worker, MUCH)
    assert "--max-memory" in str(caught.value.hint)
    assert ("the most in use was" in caught.value.message) == (means == "cgroup")
    # Who was killed is another one next time; who was refused goes on.
    assert worker.is_usable == (means == "rlimit")
    assert is_gone(worker.pid) == (means == "cgroup")


def test_loading_that_takes_too_much_memory_is_said_to(start: Start, means: str) -> None:
    with pytest.raises(OutOfMemory, match=rf"the limit is {LIMIT} bytes"):
        start(source=f"x = b'x' * {2 * LIMIT}", max_memory=LIMIT).wait_loaded()


def test_what_a_model_starts_counts_too(start: Start, means: str) -> None:
    worker = start(max_memory=LIMIT)
    # By RLIMIT_DATA the child is refused it, and says so itself.
    with pytest.raises(OutOfMemory if means == "cgroup" else ModelRaised, match=r"exit status|SIGKILL|killed"):
        ask(worker, A_CHILD_TAKES_MUCH)


def test_a_kill_that_is_not_for_memory_is_not_said_to_be(start: Start, means: str) -> None:
    with pytest.raises(WorkerKilled, match="SIGKILL"):
        ask(start(max_memory=LIMIT), "os.kill(os.getpid(), 9)")


def groups() -> set[Path]:
    own = [parent for parent, _ in memory._places(Path("/"))]
    return {group for parent in own for group in parent.glob("envbuild-*") if f"-{os.getpid()}-" in group.name}


def test_a_group_goes_with_its_worker(start: Start) -> None:
    worker = start(max_memory=LIMIT)
    worker.wait_loaded()
    assert len(groups()) == (1 if memory._places(Path("/")) else 0)
    worker.close()
    assert groups() == set()


def test_the_groups_of_hosts_that_were_killed_go_at_the_next_start() -> None:
    code = "import os, sys; from envbuild.bridge import memory; memory.limited(10**9); print(os.getpid()); sys.stdout.flush()"
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with subprocess.Popen(
        [HERE, "-c", f"{code}; os.kill(os.getpid(), 9)"], env=environ, stdout=subprocess.PIPE, text=True
    ) as host:
        assert host.stdout is not None
        pid = int(host.stdout.read())
    assert host.returncode == -signal.SIGKILL
    ours = [parent for parent, _ in memory._places(Path("/"))]
    left = [group for parent in ours for group in parent.glob(f"envbuild-*-{pid}-*")]
    assert len(left) == len(ours)
    memory.limited(10**9).remove()
    assert not any(group.exists() for group in left)


MOUNTS = "30 23 0:26 {top} /sys/fs/cgroup{below} rw,nosuid - {kind} cgroup rw{options}\n"


@pytest.mark.parametrize(
    ("group", "own_limit", "own", "above", "place"),
    [
        ("0::/user/app.scope", "max", "", "cpu memory", "user"),
        ("0::/user/app.scope", "max", "cpu memory", "", "user/app.scope"),
        ("0::/user/app.scope", "1000", "", "cpu memory", None),  # beside it, its limit would not count
        ("0::/user/app.scope", "max", "cpu", "cpu", None),
        ("4:memory:/user/app.scope\n0::/", "", "", "", "user/app.scope"),
        ("4:memory:/../elsewhere\n1:cpu:/user", "", "", "", None),
    ],
)
def test_where_a_group_can_be_made(
    tmp_path: Path, group: str, own_limit: str, own: str, above: str, place: str | None
) -> None:
    v1 = ":memory:" in group
    root = tmp_path / "sys/fs/cgroup"
    scope = root / "user" / "app.scope"
    scope.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(group + "\n")
    mount = MOUNTS.format(
        top="/", below="", kind="cgroup" if v1 else "cgroup2", options=",memory" if v1 else ",nsdelegate"
    )
    (tmp_path / "proc/self/mountinfo").write_text(mount)
    if not v1:
        (scope / "memory.max").write_text(f"{own_limit}\n")
        (scope / "cgroup.subtree_control").write_text(f"{own}\n")
        (scope.parent / "cgroup.subtree_control").write_text(f"{above}\n")
        (scope.parent / "cgroup.procs").write_text("")
    found = [path for path, _ in memory._places(tmp_path)]
    assert found == ([] if place is None else [root / place])
    if place is not None:
        # A directory that is no group has none of a group's files, and nothing is left of the try.
        assert memory.limited(1000, tmp_path).means == "rlimit"


def test_an_answer_that_is_too_long_is_refused_and_the_worker_goes_on(start: Start) -> None:
    worker = start(max_output=100)
    with pytest.raises(OutputTooLarge, match="102 bytes, and may have 100"):
        ask(worker, "'x' * 100")
    assert ask(worker, "'x' * 98") == "x" * 98
    assert worker.is_usable


LIAR = """#!/bin/sh
echo '{"protocol": 4, "id": 0, "verb": "ready", "content_type": "", "length": 15}'; printf '{"protocol": 4}'
echo '{"protocol": 4, "id": 1, "verb": "loaded", "content_type": "", "length": 13}'; printf '{"reads": []}'
echo '{"protocol": 4, "id": 2, "verb": "predicted", "content_type": "", "length": 1000000000}'; exec cat /dev/zero
"""


def test_a_worker_that_answers_more_than_it_may_is_killed(start: Start, tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(LIAR)
    python.chmod(0o755)
    worker = start(python, max_output=1000)
    for _ in range(2):
        with pytest.raises(OutputTooLarge, match="1000000000 bytes, and may have 1000"):
            worker.predict(b"{}")
    assert is_gone(worker.pid)


@pytest.mark.parametrize("more", [{}, {"network": False, "max_memory": LIMIT}])
def test_variables_reach_the_model_and_nobody_else(
    start: Start, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    monkeypatch.setenv("A_TOKEN", "canary-1d")
    monkeypatch.setenv("NOT_NAMED", "x")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    variables = {"B_TOKEN": "canary-2 e", "PATH": "/opt/tools", "OMP_NUM_THREADS": "7"}
    options = {"pass_env": ("A_TOKEN", "LANG", "IS_ABSENT"), "set_env": variables, **more}
    assert "canary" not in repr(WorkerOptions(**{**options, "pass_env": ()}))
    worker = start(**options)
    seen = ask(worker, "dict(os.environ)")
    assert (seen["A_TOKEN"], seen["B_TOKEN"]) == ("canary-1d", "canary-2 e")
    assert (seen["LANG"], seen["OMP_NUM_THREADS"]) == ("de_DE.UTF-8", "7")
    assert seen["PATH"] == f"{HERE.parent}:/opt/tools"
    assert "NOT_NAMED" not in seen
    assert "IS_ABSENT" not in seen
    assert absent(options["pass_env"]) == ("IS_ABSENT",)
    for pid in (worker.pid, ask(worker, "os.getpid()"), os.getpid()):
        assert b"canary" not in Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.parametrize("name", ["HOME", "TMPDIR", "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONPATH"])
def test_variables_that_are_the_workers_own_are_refused(start: Start, name: str) -> None:
    for options in ({"pass_env": (name,)}, {"set_env": {name: "canary-1d"}}):
        with pytest.raises(UsageError, match=name) as caught:
            start(**options)
        assert "canary" not in str(caught.value.to_dict())
