"""kill -9 at every named step of a lock, a build and a collection, and at random instants: the next call succeeds."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from kit import REPO, Kit, cli, cli_environ
from tiny import wheel

from envbuild.store import MARKER

MakeModel = Callable[..., Path]
KILLED = REPO / "tests" / "killed.py"
LOADER = """
import alpha, beta

class Model:
    def predict(self, data):
        return [alpha.version, beta.version]

def _load_pyfunc(path):
    return Model()
"""


@pytest.fixture
def model(kit: Kit, make_model: MakeModel) -> Path:
    """A model with two pure wheels and a loader of its own."""
    kit.index.add(wheel("alpha", "1.0", requires=["beta"]), wheel("beta", "2.0"))
    place = make_model(pip=["alpha"], loader=LOADER)
    (place / "in.json").write_text('{"inputs": [1]}')
    return place


def start(kit: Kit, name: str, nth: int, *words: str | Path, **more: str) -> subprocess.Popen[str]:
    argv = [sys.executable, str(KILLED), name, str(nth), *map(str, words)]
    environ = cli_environ(kit.home, kit.index.url, **more)
    return subprocess.Popen(
        argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def steps_of(kit: Kit, *words: str | Path) -> list[tuple[str, int]]:
    """The named steps of a call in their order, each with its number among those of its name."""
    child = start(kit, "?", 0, *words)
    _, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    seen: Counter[str] = Counter()
    found = []
    for name in re.findall(r"^step: (.*)$", err, flags=re.MULTILINE):
        seen[name] += 1
        found.append((name, seen[name]))
    return found


def right_again(kit: Kit, model: Path, **more: str) -> None:
    """The next build succeeds, verifies, and its prediction is right; nothing is left that nobody needs."""
    environ = cli_environ(kit.home, kit.index.url, **more)
    done = cli("build", model, "--json", environ=environ)
    assert done.returncode == 0, done.stderr
    assert cli("verify", model, environ=environ).returncode == 0
    answer = cli("predict", model, model / "in.json", environ=environ)
    assert (answer.returncode, answer.stdout) == (0, '{"predictions": ["1.0", "2.0"]}\n'), answer.stderr


def left_over(kit: Kit) -> list[str]:
    """What should not be in a store that nobody is working in."""
    root = kit.home / "store" / "v1"
    places = ("trash", "held", "failures")
    found = [str(path.relative_to(root)) for place in places for path in (root / place).glob("*")]
    found += [str(path.parent) for path in root.glob("environments/*/*") if not (path / MARKER).exists()]
    return found + [str(path) for path in kit.home.glob("bytecode/*/.new-*")]


BUILD_STEPS = [
    "held",
    "resolved",
    "written aside",
    "lock kept",
    "held",
    "cleared",
    "virtualenv made",
    "installed",
    "compiled",
    "byte code kept",
    "byte code linked",
    "written aside",
    "written aside",
    "manifest written",
    "synced",
    "written aside",
    "complete",
]


def test_the_steps_of_a_lock_and_a_build(kit: Kit, model: Path) -> None:
    """So that none is lost from the tests below."""
    assert [name for name, _ in steps_of(kit, "build", model)] == BUILD_STEPS


NUMBERED = [(name, BUILD_STEPS[: index + 1].count(name)) for index, name in enumerate(BUILD_STEPS)]


@pytest.mark.sampled(4)
@pytest.mark.parametrize(("name", "nth"), NUMBERED, ids=[f"{name} {nth}" for name, nth in NUMBERED])
def test_killed_at_a_step_of_a_lock_and_a_build(kit: Kit, model: Path, name: str, nth: int) -> None:
    child = start(kit, name, nth, "build", model)
    child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL
    right_again(kit, model)


COLLECTION_STEPS = ["environment taken", "renamed away", "removed", "cache cleaned"]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", COLLECTION_STEPS)
def test_killed_at_a_step_of_a_collection(kit: Kit, model: Path, name: str) -> None:
    right_again(kit, model)
    child = start(kit, name, 1, "envs", "gc", "--max-size", "1")
    _, err = child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL, err
    right_again(kit, model)
    assert cli("envs", "gc", environ=cli_environ(kit.home, kit.index.url)).returncode == 0
    assert left_over(kit) == []


def test_the_steps_of_a_collection(kit: Kit, model: Path) -> None:
    right_again(kit, model)
    steps = [name for name, _ in steps_of(kit, "envs", "gc", "--max-size", "1")]
    assert list(dict.fromkeys(steps)) == COLLECTION_STEPS


def test_a_collection_removes_what_dead_builds_left(kit: Kit, model: Path) -> None:
    for name, nth in (("compiled", 1), ("installed", 1), ("renamed away", 1)):
        child = start(kit, name, nth, "build", model)
        child.communicate(timeout=120)
    assert left_over(kit) != []
    assert cli("envs", "gc", environ=cli_environ(kit.home, kit.index.url)).returncode == 0
    # What was being compiled lies in the cache, and goes with it.
    assert cli("cache", "clean", environ=cli_environ(kit.home, kit.index.url)).returncode == 0
    assert left_over(kit) == []
    right_again(kit, model)


def kill_at_random(kit: Kit, models: Sequence[Path], chance: random.Random, times: int, most: float) -> tuple[int, int]:
    """Let calls run at once, kill one of them at a random instant each time, and see that all others are right.

    :return: how often a call was killed in the middle, and how many others answered rightly meanwhile.
    """
    killed = answered = 0
    commands: list[tuple[str, ...]] = [("build",), ("predict",), ("envs", "gc", "--older-than", "0s")]
    for _ in range(times):
        fresh = chance.random()
        if fresh < 0.3:
            shutil.rmtree(kit.home / "store", ignore_errors=True)
        elif fresh < 0.5:
            shutil.rmtree(kit.home / "bytecode", ignore_errors=True)
        words = chance.choice(commands)
        victims = [
            start(kit, "", 0, *words, *_arguments(words, chance.choice(models)))
            for _ in range(chance.choice((1, 2, 2)))
        ]
        other = chance.choice(models)
        witness = start(kit, "", 0, "predict", other, other / "in.json")
        time.sleep(chance.uniform(0.0, most))
        for victim in victims:
            if victim.poll() is None:
                os.killpg(victim.pid, signal.SIGKILL)
                killed += 1
            victim.communicate(timeout=60)
        out, err = witness.communicate(timeout=120)
        assert (witness.returncode, out) == (0, '{"predictions": ["1.0", "2.0"]}\n'), err
        answered += 1
    return killed, answered


def _arguments(words: tuple[str, ...], model: Path) -> list[Path]:
    return {"build": [model], "predict": [model, model / "in.json"]}.get(words[0], [])


@pytest.mark.slow
def test_killed_at_random_instants_under_concurrency(kit: Kit, model: Path, make_model: MakeModel) -> None:
    other = make_model("other", pip=["alpha", "beta"], loader=LOADER, python="3.10")
    (other / "in.json").write_text('{"inputs": [1]}')
    killed, answered = kill_at_random(kit, [model, other], random.Random(20261121), 20, 1.2)
    assert answered == 20
    assert killed > 0
    for one in (model, other):
        right_again(kit, one)
    assert cli("verify", "--all", environ=cli_environ(kit.home, kit.index.url)).returncode == 0


@pytest.mark.soak
def test_two_hundred_random_kills(
    kit: Kit, model: Path, make_model: MakeModel, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = int(os.environ.get("SOAK_SEED") or time.time())
    other = make_model("other", pip=["alpha", "beta"], loader=LOADER, python="3.10")
    (other / "in.json").write_text('{"inputs": [1]}')
    killed, answered = kill_at_random(kit, [model, other], random.Random(seed), 200, 1.2)
    for one in (model, other):
        right_again(kit, one)
    with capsys.disabled():
        print(f"\nseed {seed}: {killed} killed, {answered} of {answered} others right")


@pytest.mark.soak
def test_ten_random_kills_of_a_real_model(
    shared_home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of heart of MLflow 3.17, from a warm download cache; no index is asked by the last call."""
    seed = int(os.environ.get("SOAK_SEED") or time.time())
    chance = random.Random(seed)
    heart = REPO / "tests" / "models" / "py311_mlflow3_17" / "heart"
    environ = cli_environ(shared_home)
    assert cli("build", heart, environ=environ).returncode == 0
    killed = 0
    for turn in range(10):
        shutil.rmtree(shared_home / "store" / "v1" / "environments")
        if turn % 3 == 0:
            shutil.rmtree(shared_home / "bytecode")
        argv = [sys.executable, "-m", "envbuild", "build", str(heart)]
        child = subprocess.Popen(
            argv, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        time.sleep(chance.uniform(0.2, 12.0 if turn % 3 == 0 else 1.6))
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            killed += 1
        child.wait()
        assert cli("build", heart, environ=environ).returncode == 0
        assert cli("verify", heart, environ=environ).returncode == 0
        answer = cli("predict", heart, heart.with_name("heart.input.json"), environ=environ)
        expected = json.loads(heart.with_name("heart.expected.json").read_text())
        assert json.loads(answer.stdout)["predictions"] == expected, answer.stderr
    with capsys.disabled():
        print(f"\nseed {seed}: {killed} of 10 killed in the middle, 10 of 10 verified and right")
