"""kill -9 at every step of an export and an import: the next call succeeds, and nothing half-made is left."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from kit import REPO, cli_environ
from made import ANSWER, NO_NETWORK, Made, answer_of, offline

KILLED = REPO / "tests" / "killed.py"


def run(
    home: Path, name: str, nth: int, *words: str | Path, index: str | None = None
) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(KILLED), name, str(nth), *map(str, words)]
    argv = argv if index is not None else [*NO_NETWORK, *argv]
    known = cli_environ(home, index)
    return subprocess.run(
        argv, env=known, capture_output=True, text=True, start_new_session=True, timeout=120, check=False
    )


def steps_of(done: subprocess.CompletedProcess[str]) -> list[tuple[str, int]]:
    assert done.returncode == 0, done.stderr
    seen: Counter[str] = Counter()
    found = []
    for name in re.findall(r"^step: (.*)$", done.stderr, flags=re.MULTILINE):
        seen[name] += 1
        found.append((name, seen[name]))
    return found


def half_made(home: Path) -> list[Path]:
    return [path for path in home.rglob("*") if path.name.startswith(".staged-")]


@pytest.mark.slow
def test_an_import_that_is_killed_at_any_step_is_done_by_the_next_call(made: Made, tmp_path: Path) -> None:
    words = ("predict", made.bundle, made.input)
    steps = [one for one in steps_of(run(tmp_path / "none", "?", 0, *words)) if "bundle" in one[0]]
    assert Counter(name for name, _ in steps) == {
        "bundled file unpacked": 5,
        "bundle unpacked": 2,
        "bundled file kept": 2,
    }
    was_left = False
    for number, (name, nth) in enumerate(steps):
        home = tmp_path / f"home-{number}"
        assert run(home, name, nth, *words).returncode == -signal.SIGKILL
        was_left = was_left or bool(half_made(home))
        assert answer_of(offline(home, *words)) == ANSWER
        assert half_made(home) == []
    assert was_left


def test_an_export_that_is_killed_leaves_what_was_there(made: Made, tmp_path: Path) -> None:
    target = tmp_path / "there.bundle"
    target.write_bytes(b"something")
    words = ("bundle", "export", made.model, "-o", target)
    index = made.environ()["ENVBUILD_INDEX_URL"]
    assert run(made.home, "bundle written aside", 1, *words, index=index).returncode == -signal.SIGKILL
    assert target.read_bytes() == b"something"
    assert run(made.home, "no such step", 1, *words, index=index).returncode == 0
    assert target.read_bytes() == made.bundle.read_bytes()
