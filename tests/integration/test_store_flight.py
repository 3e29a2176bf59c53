"""Of all who want the same at once, one makes it; failures are remembered; nothing outlives its process."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kit import Kit, cli, cli_environ
from tiny import backend, own_sdist, wheel

from envbuild import pipeline
from envbuild.errors import BuildError, DownloadFailed, StoreError, Unresolvable
from envbuild.progress import Step
from envbuild.store import flock
from envbuild.store.failures import Failures

MakeModel = Callable[..., Path]


@pytest.fixture
def alpha(kit: Kit, make_model: MakeModel) -> Path:
    """A model with two wheels."""
    kit.index.add(wheel("alpha", "1.0", requires=["beta"]), wheel("beta", "1.0"))
    return make_model(pip=["alpha"])


def start(kit: Kit, *words: str | Path, **more: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "envbuild", *map(str, words)]
    environ = cli_environ(kit.home, kit.index.url, **more)
    return subprocess.Popen(
        argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def held(kit: Kit) -> list[str]:
    return [path.name for path in (kit.home / "store" / "v1" / "held").glob("*")]


def until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.mark.slow
def test_sixty_four_at_once_build_once(kit: Kit, alpha: Path) -> None:
    kit.index.open.clear()
    children = [start(kit, "build", alpha, "--json") for _ in range(64)]
    assert kit.index.waiting.wait(60)
    kit.index.open.set()
    answers = [child.communicate(timeout=300) for child in children]
    assert [child.returncode for child in children] == [0] * 64, answers
    results = [json.loads(out) for out, _ in answers]
    assert sum(result["built"] for result in results) == 1
    assert sum(result["lock_source"] == "resolved" for result in results) == 1
    assert len({result["path"] for result in results}) == 1
    assert cli("verify", alpha, environ=cli_environ(kit.home, kit.index.url)).returncode == 0
    assert held(kit) == []


def test_eight_predictions_at_once_are_right(kit: Kit, alpha: Path) -> None:
    (alpha / "in.json").write_text('{"inputs": [1, 2]}')
    children = [start(kit, "predict", alpha, alpha / "in.json") for _ in range(8)]
    answers = [child.communicate(timeout=120) for child in children]
    assert len({out for out, _ in answers}) == 1
    assert [child.returncode for child in children] == [0] * 8, answers


def test_who_waits_sees_how_far_it_is(kit: Kit, alpha: Path) -> None:
    kit.lock(alpha)
    kit.index.open.clear()
    first = start(kit, "build", alpha)
    assert kit.index.waiting.wait(30)
    second = start(kit, "build", alpha, "--json")
    assert second.stderr is not None
    said = ""
    while f"process {first.pid}: installing" not in said:
        line = second.stderr.readline()
        assert line, said
        said += line
    assert "waiting: another process builds the same environment" in said
    kit.index.open.set()
    assert first.wait(60) == 0
    out, _ = second.communicate(timeout=60)
    assert json.loads(out)["built"] is False
    first.communicate()


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", ["lock", "build"])
def test_if_the_builder_dies_one_who_waits_takes_over(kit: Kit, alpha: Path, kind: str) -> None:
    if kind == "build":
        kit.lock(alpha)
    kit.index.open.clear()
    first = start(kit, "build", alpha)
    assert kit.index.waiting.wait(30)
    others = [start(kit, "build", alpha, "--json") for _ in range(3)]
    for other in others:
        assert other.stderr is not None
        assert "waiting: another process" in other.stderr.readline()
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    kit.index.open.set()
    results = [json.loads(other.communicate(timeout=60)[0]) for other in others]
    assert sorted(result["built"] for result in results) == [False, False, True]
    assert len({result["path"] for result in results}) == 1


def test_different_locks_are_built_side_by_side_up_to_a_limit(kit: Kit, alpha: Path, make_model: MakeModel) -> None:
    other = make_model("other", pip=["beta"])
    kit.lock(alpha)
    kit.lock(other)
    kit.index.open.clear()
    first = start(kit, "build", alpha, ENVBUILD_PARALLEL="2")
    assert kit.index.waiting.wait(30)
    second = start(kit, "build", other, ENVBUILD_PARALLEL="2")
    assert second.stderr is not None
    assert "installing" in second.stderr.readline(), "the second has not waited for the first"
    second.kill()
    second.communicate()
    third = start(kit, "build", other, ENVBUILD_PARALLEL="1")
    assert third.stderr is not None
    assert "waiting: one of 1 places for a build" in third.stderr.readline()
    kit.index.open.set()
    for child in (first, third):
        assert child.wait(60) == 0
        child.communicate()
    # Who was killed leaves a file, and no lock.
    assert all(flock.is_free(kit.home / "store" / "v1" / "held" / name) for name in held(kit))


def test_an_interrupted_wait_ends_at_once_and_harms_nobody(kit: Kit, alpha: Path) -> None:
    kit.lock(alpha)
    kit.index.open.clear()
    first = start(kit, "build", alpha)
    assert kit.index.waiting.wait(30)
    second = start(kit, "build", alpha)
    assert second.stderr is not None
    second.stderr.readline()
    second.send_signal(signal.SIGTERM)
    _, err = second.communicate(timeout=20)
    assert second.returncode == 130, err
    kit.index.open.set()
    assert first.wait(60) == 0
    first.communicate()


def test_an_interrupted_build_leaves_nothing_half_made(kit: Kit, alpha: Path) -> None:
    kit.lock(alpha)
    for number in (signal.SIGINT, signal.SIGTERM):
        kit.index.open.clear()
        kit.index.waiting.clear()
        child = start(kit, "build", alpha)
        assert kit.index.waiting.wait(30)
        child.send_signal(number)
        _, err = child.communicate(timeout=30)
        assert child.returncode == 130, err
        kit.index.open.set()
        assert list((kit.home / "store" / "v1" / "environments").glob("*/*")) == []
        assert held(kit) == []


# Failures


def gone(kit: Kit, alpha: Path) -> Any:
    """A lock whose files are on the index no more."""
    locked = kit.lock(alpha)
    shutil.rmtree(kit.home / "uv")
    kit.index.files.clear()
    return locked


def test_a_failed_build_is_remembered_and_can_be_tried_again(kit: Kit, alpha: Path) -> None:
    files = list(kit.index.files)
    locked = gone(kit, alpha)
    with pytest.raises(DownloadFailed) as first:
        pipeline.build(locked, kit.settings())
    assert "--retry" not in (first.value.hint or "")
    asked = len(kit.index.requests)
    kit.index.add(*files)
    for _ in range(3):
        with pytest.raises(DownloadFailed) as again:
            pipeline.build(locked, kit.settings())
        assert (again.value.message, again.value.details) == (first.value.message, first.value.details)
        assert (again.value.hint or "").startswith(first.value.hint or "")
        assert "failed 0 s ago and was not tried again; --retry tries again" in (again.value.hint or "")
    assert len(kit.index.requests) == asked
    assert pipeline.build(locked, kit.settings(retry=True)).was_built


def test_a_failure_is_forgotten_after_a_while(kit: Kit, alpha: Path) -> None:
    files = list(kit.index.files)
    locked = gone(kit, alpha)
    with pytest.raises(DownloadFailed):
        pipeline.build(locked, kit.settings())
    kit.index.add(*files)
    time.sleep(0.3)
    assert pipeline.build(locked, kit.settings(failure_memory=0.2)).was_built


def test_a_failure_counts_for_the_same_attempt_alone(kit: Kit, alpha: Path, make_index: Callable[[], Any]) -> None:
    mirror = make_index().add(*kit.index.files)
    locked = gone(kit, alpha)
    with pytest.raises(DownloadFailed):
        pipeline.build(locked, kit.settings())
    assert pipeline.build(locked, kit.settings(index_url=mirror.url)).was_built


def test_a_lock_that_fails_is_not_resolved_by_each_who_waits(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("alpha", "1.0"))
    model = make_model(pip=["alpha==3.0"])
    kit.index.open.clear()
    children = [start(kit, "lock", model, "--json") for _ in range(4)]
    assert kit.index.waiting.wait(30)
    until(lambda: all(child.poll() is None for child in children), "they wait")
    time.sleep(1.0)
    kit.index.open.set()
    answers = [json.loads(child.communicate(timeout=60)[0])["error"] for child in children]
    assert {answer["code"] for answer in answers} == {"lock-unresolvable"}
    assert sum("was not tried again" not in (answer["hint"] or "") for answer in answers) == 1
    with pytest.raises(Unresolvable, match="alpha"):
        kit.lock(model, retry=True)


def test_a_full_disk_is_no_failure_to_remember(kit: Kit, alpha: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked = kit.lock(alpha)
    real = os.replace

    def full(source: str, target: str | Path) -> None:
        if str(target).endswith("envbuild.json"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreError, match="no space left"):
        pipeline.build(locked, kit.settings())
    monkeypatch.undo()
    assert pipeline.build(locked, kit.settings()).was_built


def test_damaged_and_future_memories_are_none(tmp_path: Path) -> None:
    failures = Failures(tmp_path, 30.0)
    failures.remember("one", DownloadFailed("gone", hint="look", details=["a", "b"]))
    found = failures.recall("one")
    assert found is not None
    assert isinstance(found.error, DownloadFailed)
    kept = json.loads((tmp_path / "one.json").read_text())
    for content in (
        "",
        "[]",
        json.dumps({**kept, "at": kept["at"] + 3600}),
        json.dumps({**kept, "at": kept["at"] - 31}),
        json.dumps({**kept, "error": {**kept["error"], "code": "no-such-code"}}),
    ):
        (tmp_path / "one.json").write_text(content)
        assert failures.recall("one") is None


# File locks


def test_a_lock_ends_with_its_holder_and_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    first = flock.take(path)
    assert first is not None
    assert flock.take(path) is None
    assert not flock.is_free(path)
    first.release()
    first.release()
    assert not path.exists()
    assert flock.is_free(path)
    second = flock.take(path)
    assert second is not None
    del second
    assert not path.exists()


def test_a_fork_does_not_hold_the_lock(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    marker.write_text("x")
    lease, making = flock.take_existing(marker, shared=True), flock.take(tmp_path / "lock")
    assert lease is not None
    assert making is not None
    child = os.fork()
    if child == 0:
        time.sleep(30)
        os._exit(0)
    # It closes what it must not hold before it does anything else.
    time.sleep(0.2)
    lease.release()
    again = flock.take_existing(marker, shared=False)
    assert flock.take(tmp_path / "lock") is None, "what the fork closed is still the parent's"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert again is not None


def test_one_who_waited_for_a_file_that_was_removed_does_not_lock_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two who each hold a lock of the same name would both build."""
    path = tmp_path / "lock"
    first = flock.take(path)
    assert first is not None
    real, others = flock._flock, []

    def late(descriptor: int, kind: int) -> bool:
        # Between our opening the file and locking it, its holder lets go, and another takes the new one.
        monkeypatch.setattr(flock, "_flock", real)
        first.release()
        others.append(flock.take(path))
        return real(descriptor, kind)

    monkeypatch.setattr(flock, "_flock", late)
    assert flock.take(path) is None
    assert others[0] is not None
    marker = tmp_path / "marker"
    marker.write_text("old")

    def replaced(descriptor: int, kind: int) -> bool:
        monkeypatch.setattr(flock, "_flock", real)
        marker.unlink()
        marker.write_text("new")
        return real(descriptor, kind)

    monkeypatch.setattr(flock, "_flock", replaced)
    with pytest.raises(FileNotFoundError):
        flock.take_existing(marker, shared=True)


def test_shared_locks_are_shared(tmp_path: Path) -> None:
    path = tmp_path / "marker"
    path.write_text("x")
    one, two = (flock.take_existing(path, shared=True) for _ in range(2))
    assert one is not None
    assert two is not None
    assert flock.take_existing(path, shared=False) is None
    one.release()
    two.release()
    alone = flock.take_existing(path, shared=False)
    assert alone is not None
    assert flock.take_existing(path, shared=True) is None
    alone.release()
    assert path.exists()


def test_many_threads_take_turns(tmp_path: Path) -> None:
    inside, most, done = [0], [0], [0]
    guard = threading.Lock()

    def work() -> None:
        for _ in range(20):
            while (taken := flock.take(tmp_path / "lock")) is None:
                time.sleep(0.001)
            with guard:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            with guard:
                inside[0] -= 1
                done[0] += 1
            taken.release()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most[0], done[0]) == (1, 160)


def test_a_file_system_that_cannot_lock_is_refused(kit: Kit, alpha: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is none here, so that the system's answer is put in its mouth."""

    def no_locks(descriptor: int, kind: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(StoreError, match="cannot lock files") as failure:
        kit.build(alpha)
    assert "local disk" in (failure.value.hint or "")


def test_steps_are_relayed_as_they_are(kit: Kit, alpha: Path) -> None:
    seen: list[Step] = []
    known = kit.settings()
    pipeline.build(pipeline.lock(pipeline.ask(alpha, known), known, seen.append), known, seen.append)
    phases = [step.phase for step in seen]
    assert {"resolving", "installing", "compiling"} <= set(phases)


def test_an_sdist_that_fails_is_remembered(kit: Kit, make_model: MakeModel) -> None:
    broken = backend()
    kit.index.add(broken, own_sdist("alpha", "1.0"))
    locked = kit.lock(make_model(pip=["alpha"]))
    kit.index.served[broken.name] = b"not a wheel"
    shutil.rmtree(kit.home / "uv")
    failures = []
    for _ in range(2):
        with pytest.raises(BuildError) as failure:
            pipeline.build(locked, kit.settings())
        failures.append(failure.value)
    assert failures[0].code == failures[1].code
    assert "was not tried again" in (failures[1].hint or "")
