"""A batch takes as much memory for a large input as for a small one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from acted import Acting
from kit import cli_environ

MARGIN = 64 << 20


def tree(pid: int) -> list[int]:
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [below for word in children.read_text().split() for below in tree(int(word))]
        except OSError:
            continue
    return found


def resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def peak_of(acting: Acting, megabytes: int, *words: str) -> int:
    """The most that a batch and its workers had at once."""
    line = b"%s,%d\n" % (b"w" * 990, 7)
    source = acting.file("in.csv", b"")
    with source.open("wb") as file:
        file.write(b"id,x\n")
        for _ in range(megabytes):
            file.write(line * 1000)
    argv = [sys.executable, "-m", "envbuild", "batch", str(acting.model), str(source), str(acting.here / "out.csv")]
    process = subprocess.Popen([*argv, "-q", "--offline", *words], env=cli_environ(acting.home))
    most = 0
    while process.poll() is None:
        most = max(most, sum(map(resident, tree(process.pid))))
        time.sleep(0.02)
    assert process.returncode == 0
    with (acting.here / "out.csv").open("rb") as out:
        assert sum(1 for _ in out) == megabytes * 1000 + 1
    return most


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("--workers", "2", "--keep", "id")])
def test_ten_times_the_input_takes_no_more_memory(acting: Acting, words: tuple[str, ...]) -> None:
    assert peak_of(acting, 400, *words) < peak_of(acting, 40, *words) + MARGIN
