"""Resuming: a batch that was killed goes on, and what it writes is what it would have written."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from acted import Acting
from kit import REPO, cli, cli_environ
from waiting import eventually, is_gone

from envbuild.errors import UsageError

Twice = Callable[[int], str]
SEED = 20190605


def start(acting: Acting, source: Path, *words: str, pause: str = "0.02") -> subprocess.Popen[bytes]:
    """A batch of 10 rows a chunk as a process of its own, each chunk taking some time."""
    argv = [sys.executable, "-m", "envbuild", "batch", str(acting.model), str(source), str(acting.here / "out.csv")]
    options = ["--chunk-rows", "10", "--offline", "-q", "--set-env", f"PAUSE={pause}", *words]
    environ = cli_environ(acting.home)
    return subprocess.Popen([*argv, *options], env=environ, start_new_session=True, stderr=subprocess.DEVNULL)


def children_of(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task")
    found = []
    for task in path.iterdir() if path.exists() else ():
        try:
            found += [int(word) for word in (task / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def wait_for_rows(process: subprocess.Popen[bytes], partial: Path, before: int) -> None:
    eventually(lambda: process.poll() is not None or size_of(partial) > before, "another chunk")


def killed_and_resumed(acting: Acting, source: Path, kills: int, *words: str) -> None:
    chance, done = random.Random(SEED), 0
    resume: tuple[str, ...] = ()
    while done < kills:
        process = start(acting, source, *words, *resume)
        partial = acting.here / "out.csv.partial"
        wait_for_rows(process, partial, size_of(partial))
        time.sleep(chance.uniform(0.0, 1.2))
        workers = children_of(process.pid)
        if chance.random() < 0.5 or not workers:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            os.kill(chance.choice(workers), signal.SIGKILL)
            time.sleep(0.1)
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert not (acting.here / "out.csv").exists(), "it was done before it was killed often enough: give more rows"
        for worker in workers:
            eventually(lambda pid=worker: is_gone(pid), "the worker's end")  # type: ignore[misc]
        resume, done = ("--resume",), done + 1
    assert start(acting, source, *words, *resume, pause="0").wait() == 0


@pytest.mark.slow
def test_a_batch_that_is_killed_four_times_writes_what_an_uninterrupted_one_does(acting: Acting) -> None:
    # Long enough that what is written goes on to the file before it is noted.
    bad = {3, 999, 1000, 2500}
    rows = [f"{n}{'w' * 1000},{'bad' if n in bad else n}\n" for n in range(1, 6001)]
    source = acting.file("in.csv", "id,x\n" + "".join(rows))
    options: dict[str, object] = {"on_error": "skip", "keep": ["id"]}
    killed_and_resumed(acting, source, 4, "--on-error", "skip", "--keep", "id", "--workers", "2")
    names = ["out.csv", "out.errors.jsonl", "out.skipped.csv"]
    assert acting.names() == ["in.csv", *names]
    found = [digest_of(acting.here / name) for name in names]
    acting.batch(source, **options)
    assert [digest_of(acting.here / name) for name in names] == found


@pytest.mark.soak
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_batch_that_is_killed_twenty_times_writes_what_an_uninterrupted_one_does(
    acting: Acting, twice: Twice, workers: str
) -> None:
    source = acting.csv(40_000)
    killed_and_resumed(acting, source, 20, "--workers", workers)
    assert (acting.here / "out.csv").read_text() == twice(40_000)
    assert acting.names() == ["in.csv", "out.csv"]


POINTS = (
    "chunk written",
    "output synced",
    "chunk noted",
    "output made",
    "failures named",
    "output named",
    "target done",
)


@pytest.mark.parametrize(
    "target",
    ["out.csv", pytest.param("out.parquet", marks=pytest.mark.slow), pytest.param("out", marks=pytest.mark.slow)],
)
def test_a_kill_at_any_step_loses_and_repeats_nothing(acting: Acting, target: str) -> None:
    acting.csv(35, "a.csv", r7="bad")
    acting.csv(25, "b.csv")
    sources = [acting.here / "a.csv", acting.here / "b.csv"]
    if target == "out":
        (acting.here / "out").mkdir()
    acting.batch(sources, target, on_error="skip")
    expected = contents(acting.here)
    script = REPO / "tests" / "batch" / "killed_batch.py"
    words = ["--chunk-rows", "10", "--on-error", "skip", "--offline", "-q"]
    for point in POINTS:
        for nth in (1, 2):
            for name in expected.keys() - {"a.csv", "b.csv"}:
                (acting.here / name).unlink()
            argv = [sys.executable, str(script), point, str(nth), "batch", str(acting.model), *map(str, sources)]
            done = subprocess.run(
                [*argv, str(acting.here / target), *words],
                env=cli_environ(acting.home),
                start_new_session=True,
                capture_output=True,
                check=False,
            )
            if done.returncode != -signal.SIGKILL:
                assert (done.returncode, contents(acting.here)) == (0, expected), (point, nth, done.stderr)
                break
            assert acting.batch(sources, target, on_error="skip", resume=True).rows == 60
            assert contents(acting.here) == expected, (point, nth)


def contents(here: Path) -> dict[str, bytes]:
    return {str(path.relative_to(here)): path.read_bytes() for path in sorted(here.rglob("*")) if path.is_file()}


def interrupted(acting: Acting, source: Path, **options: object) -> None:
    """Leave a batch that has done 20 rows."""

    def stop(progress: object) -> None:
        if progress.rows >= 20:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        acting.batch(source, tell=stop, **options)
    assert {"out.csv.partial", "out.csv.partial.journal"} <= set(acting.names())


def test_what_is_left_is_neither_overwritten_nor_taken_for_granted(acting: Acting, twice: Twice) -> None:
    source = acting.csv(95)
    interrupted(acting, source)
    with pytest.raises(UsageError, match="did not come to its end") as caught:
        acting.batch(source)
    assert "--resume" in str(caught.value.hint)
    done = acting.batch(source, resume=True)
    assert (done.rows, done.resumed) == (95, True)
    assert (acting.here / "out.csv").read_text() == twice(95)
    interrupted(acting, acting.csv(95))
    assert acting.batch(source, restart=True).resumed is False
    assert (acting.here / "out.csv").read_text() == twice(95)


def test_resuming_where_there_is_nothing_begins(acting: Acting, twice: Twice) -> None:
    assert acting.batch(acting.csv(15), resume=True).resumed is False
    assert (acting.here / "out.csv").read_text() == twice(15)


def test_another_input_is_not_gone_on_with(acting: Acting) -> None:
    interrupted(acting, acting.csv(95))
    source = acting.csv(95, r50="51")
    with pytest.raises(UsageError, match="another input") as caught:
        acting.batch(source, resume=True)
    assert "--restart" in str(caught.value.hint)


@pytest.mark.parametrize("option", [{"chunk_rows": 11}, {"on_error": "skip"}, {"keep": ["id"]}, {"nan": "string"}])
def test_another_choice_of_options_is_not_gone_on_with(acting: Acting, option: dict[str, object]) -> None:
    source = acting.csv(95)
    interrupted(acting, source)
    with pytest.raises(UsageError, match="another choice of options"):
        acting.batch(source, resume=True, **option)


def test_another_model_is_not_gone_on_with(acting: Acting) -> None:
    source = acting.csv(95)
    interrupted(acting, source)
    (acting.model / "more.txt").write_text("another")
    try:
        with pytest.raises(UsageError, match="another model"):
            acting.batch(source, resume=True)
    finally:
        (acting.model / "more.txt").unlink()


def test_an_output_that_was_cut_meanwhile_is_not_gone_on_with(acting: Acting) -> None:
    source = acting.csv(95)
    interrupted(acting, source)
    partial = acting.here / "out.csv.partial"
    partial.write_bytes(partial.read_bytes()[:5])
    with pytest.raises(UsageError, match="shorter than what was written"):
        acting.batch(source, resume=True)


def test_two_batches_do_not_write_one_output(acting: Acting, twice: Twice) -> None:
    source = acting.csv(300)
    first = start(acting, source, pause="0.1")
    eventually((acting.here / "out.csv.partial").exists, "the first one's output")
    for option in ({}, {"resume": True}, {"restart": True}):
        with pytest.raises(UsageError, match="another batch is writing there now"):
            acting.batch(source, **option)
    assert first.wait() == 0
    assert (acting.here / "out.csv").read_text() == twice(300)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_batch_ends_at_once_and_can_be_gone_on_with(
    acting: Acting, twice: Twice, number: signal.Signals
) -> None:
    source = acting.csv(300, r250="sleep")
    process = start(acting, source, "--workers", "2", pause="0.1")
    eventually(lambda: size_of(acting.here / "out.csv.partial") > 100, "some rows")
    workers = children_of(process.pid)
    process.send_signal(number)
    assert process.wait(20) == 130
    for pid in workers:
        eventually(lambda worker=pid: is_gone(worker), "the worker's end")  # type: ignore[misc]
    facts = source.stat()
    text = acting.csv(300, r250="  250").read_text()
    source.write_text(text)
    os.utime(source, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    # Its size and time are the same, and its first 64 KiB are not.
    with pytest.raises(UsageError, match="another input"):
        acting.batch(source, resume=True)
    acting.batch(source, restart=True)
    assert (acting.here / "out.csv").read_text() == twice(300)


def test_standard_input_and_output_are_rows_as_they_come(acting: Acting, twice: Twice) -> None:
    words = ["--chunk-rows", "10", "--offline", "--content-type", "text/csv"]
    text = acting.csv(95).read_text()
    done = cli("batch", acting.model, "-", "-", *words, environ=cli_environ(acting.home), input=text)
    assert (done.returncode, done.stdout) == (0, twice(95)), done.stderr
    refused = cli("batch", acting.model, "-", "-", *words, "--resume", environ=cli_environ(acting.home), input=text)
    assert (refused.returncode, refused.stdout) == (2, "")
