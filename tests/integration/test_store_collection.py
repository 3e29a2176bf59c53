"""What stays and what goes: leases, pins, collection, sizes, the caches."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kit import Kit, cli, cli_environ, run_python
from tiny import wheel, write_model

import envbuild
from envbuild import pipeline
from envbuild.pipeline import Built
from envbuild.progress import silent
from envbuild.store import MARKER, Store
from envbuild.store.making import Making
from envbuild.store.sizes import inodes, sizes
from envbuild.store.upkeep import Collected, Kept, Limits, Upkeep

MakeModel = Callable[..., Path]
NAMES = ("alpha", "beta", "gamma")
MEGABYTE = "noise = '" + "x" * 1_000_000 + "'\n"


@pytest.fixture
def models(kit: Kit, make_model: MakeModel) -> dict[str, Path]:
    """Three models with a wheel of their own and one that they share, a megabyte each."""
    kit.index.add(
        *(wheel(name, "1.0", modules={f"{name}.py": f"who = '{name}'\n{MEGABYTE}"}) for name in (*NAMES, "common"))
    )
    return {name: make_model(name, pip=[name, "common"]) for name in NAMES}


def build(kit: Kit, model: Path, used: float = 0.0, **changes: Any) -> Built:
    """Build, and let go of it as if it had been used so many seconds ago."""
    built = kit.build(model, **changes)
    built.lease.release()
    then = time.time() - used
    os.utime(built.environment.path / MARKER, (then, then))
    return built


def upkeep(kit: Kit) -> Upkeep:
    return Upkeep(Store(kit.settings()))


def collect(kit: Kit, **limits: Any) -> Collected:
    return upkeep(kit).collect(Limits(**limits), silent)


def there(kit: Kit) -> set[str]:
    """The models whose environments are there."""
    return {Path(one.models[0]).name for one in upkeep(kit).listed()}


@pytest.mark.slow
def test_the_least_recently_used_goes_first(kit: Kit, models: dict[str, Path]) -> None:
    for number, name in enumerate(NAMES):
        build(kit, models[name], used=1000 - number)
    everything = sum(inodes(kit.home).values())
    done = collect(kit, max_size=everything - 500_000)
    assert there(kit) == {"beta", "gamma"}
    assert [Path(one.models[0]).name for one in done.removed] == ["alpha"]
    assert done.before == pytest.approx(everything, rel=0.02)
    assert done.after is not None
    assert done.after <= everything - 500_000
    assert sum(inodes(kit.home).values()) <= everything - 500_000
    # What it shared with the others is still in the cache, and what it had alone is not.
    assert done.cleaned == ("alpha",)
    kit.build(models["beta"])
    assert collect(kit, max_size=everything).removed == ()


def test_using_an_environment_makes_it_recent(kit: Kit, models: dict[str, Path]) -> None:
    for number, name in enumerate(NAMES):
        build(kit, models[name], used=1000 - number)
    kit.build(models["alpha"]).lease.release()
    collect(kit, older_than=500.0)
    assert there(kit) == {"alpha"}


def test_an_environment_in_use_or_pinned_stays(kit: Kit, models: dict[str, Path]) -> None:
    for name in NAMES:
        build(kit, models[name], used=1000)
    held = kit.build(models["alpha"])
    os.utime(held.environment.path / MARKER, (0, 0))
    known = upkeep(kit)
    (beta,) = (one for one in known.listed() if one.models[0].endswith("beta"))
    known.pin(beta, pinned=True)
    assert {(one.in_use, one.pinned) for one in known.listed()} == {(True, False), (False, True), (False, False)}
    for limits in ({"older_than": 1.0}, {"max_size": 1}):
        done = collect(kit, **limits)
        assert there(kit) == {"alpha", "beta"}
        assert sorted(text.partition(": ")[2] for text in done.left if "it is" in text) == [
            "it is in use",
            "it is pinned",
        ]
    run_python(held.environment.path, "import alpha, common")
    held.lease.release()
    known.pin(beta, pinned=False)
    collect(kit, older_than=1.0)
    assert there(kit) == set()


def test_a_worker_holds_its_environment_until_it_ends(kit: Kit, models: dict[str, Path]) -> None:
    known = kit.settings()
    asked = pipeline.ask(models["alpha"], known)
    worker = pipeline.start(pipeline.build(pipeline.lock(asked, known), known), known)
    worker.wait_loaded()
    (one,) = upkeep(kit).listed()
    assert one.in_use
    assert upkeep(kit).remove(one) == "it is in use"
    os.kill(worker.pid, 9)
    deadline = time.monotonic() + 20
    while upkeep(kit).kept(one.path).in_use:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert upkeep(kit).remove(one) is None
    worker.close()


def test_a_lease_dies_with_its_process(kit: Kit, models: dict[str, Path]) -> None:
    build(kit, models["alpha"])
    argv = [sys.executable, "-m", "envbuild", "run", str(models["alpha"]), "--", "sleep", "60"]
    child = subprocess.Popen(argv, env=cli_environ(kit.home, kit.index.url), start_new_session=True)
    deadline = time.monotonic() + 30
    (one,) = upkeep(kit).listed()
    command = Path(f"/proc/{child.pid}/cmdline")
    while not upkeep(kit).kept(one.path).in_use or not command.read_bytes().split(b"\0")[0].endswith(b"/sleep"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    # It has become the command, and holds the lease as such.
    assert upkeep(kit).remove(one) == "it is in use"
    child.kill()
    child.wait()
    assert not upkeep(kit).kept(one.path).in_use


def test_the_loaded_model_of_python_holds_a_lease(kit: Kit, models: dict[str, Path]) -> None:
    with envbuild.load_model(models["alpha"], home=kit.home, index_url=kit.index.url, python_downloads=False) as loaded:
        assert loaded.predict([1]) is not None
        assert [one.in_use for one in upkeep(kit).listed()] == [True]
    assert [one.in_use for one in upkeep(kit).listed()] == [False]
    envbuild.build(models["alpha"], home=kit.home, index_url=kit.index.url, python_downloads=False)
    assert [one.in_use for one in upkeep(kit).listed()] == [False]


def test_a_dry_run_removes_nothing_and_says_the_same(kit: Kit, models: dict[str, Path]) -> None:
    for number, name in enumerate(NAMES):
        build(kit, models[name], used=1000 - number)
    before = set(kit.home.rglob("*"))
    dry = upkeep(kit).collect(Limits(older_than=998.5), silent, dry_run=True)
    assert set(kit.home.rglob("*")) == before
    wet = collect(kit, older_than=998.5)
    assert [one.path for one in dry.removed] == [one.path for one in wet.removed]
    assert len(wet.removed) == 2


def test_a_build_collects_where_a_size_is_set(kit: Kit, models: dict[str, Path]) -> None:
    build(kit, models["alpha"], used=1000)
    built = kit.build(models["beta"], max_size=1)
    # The one just built is in use by who built it.
    assert there(kit) == {"beta"}
    assert run_python(built.environment.path, "import beta; print(beta.who)") == "beta"


def test_sizes_are_honest_about_links(kit: Kit, models: dict[str, Path]) -> None:
    one = build(kit, models["alpha"], link_mode="hardlink").environment.path
    two = build(kit, models["beta"], link_mode="hardlink").environment.path
    for place in (one, two):
        taken = sizes(place)
        # Both wheels and their byte code have other names, in the caches at least.
        assert taken.shared > 2_000_000
        assert taken.own < 1_000_000
    everything = inodes(kit.home)
    known = upkeep(kit)
    parts = known.parts()
    assert parts["everything"] == sum(everything.values())
    assert sum(size for name, size in parts.items() if name != "everything") == parts["everything"]
    known.clean_caches((), silent)
    freed = known.parts()
    assert freed["downloads"] + freed["byte code"] < 200_000
    alone = sizes(one)
    assert alone.own > 1_000_000
    assert alone.shared < alone.own + 2_000_000
    assert run_python(one, "import alpha, common; print(alpha.who)") == "alpha"
    assert known.findings(one) == []


@pytest.mark.slow
def test_the_caches_are_left_while_a_build_uses_them(kit: Kit, models: dict[str, Path]) -> None:
    build(kit, models["alpha"])
    kit.lock(models["beta"])
    kit.index.open.clear()
    kit.index.waiting.clear()
    child = subprocess.Popen(
        [sys.executable, "-m", "envbuild", "build", str(models["beta"])],
        env=cli_environ(kit.home, kit.index.url),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert kit.index.waiting.wait(30)
    done = cli("cache", "clean", "--json", environ=cli_environ(kit.home, kit.index.url))
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (5, "environment-in-use")
    assert any("in use by a build" in text for text in collect(kit, max_size=1).left)
    kit.index.open.set()
    assert child.wait(60) == 0


@pytest.mark.slow
def test_an_environment_that_is_built_again_stays_for_those_who_are_in_it(kit: Kit, models: dict[str, Path]) -> None:
    """Its interpreter went away, say: a new one takes its place, and what a worker has open is removed after it."""
    held = kit.build(models["alpha"])
    store = Store(kit.settings())
    Making(store, kit.settings()).clear(held.environment.path)
    assert not held.environment.path.exists()
    (left,) = (kit.home / "store" / "v1" / "trash").iterdir()
    assert (left / MARKER).exists()
    again = kit.build(models["alpha"])
    assert again.was_built
    collect(kit)
    assert (left / MARKER).exists()
    held.lease.release()
    collect(kit)
    assert not left.exists()
    assert again.environment.path.exists()


def test_what_is_in_the_making_stays(kit: Kit, models: dict[str, Path]) -> None:
    kit.lock(models["alpha"])
    kit.index.open.clear()
    environ = cli_environ(kit.home, kit.index.url)
    child = subprocess.Popen(
        [sys.executable, "-m", "envbuild", "build", str(models["alpha"]), "--json"],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert kit.index.waiting.wait(30)
    (one,) = upkeep(kit).listed()
    assert (one.interpreter, one.in_use) == (None, True)
    assert "in the making" in cli("envs", "list", environ=environ).stdout
    for limits in ({"older_than": 0.001}, {"max_size": 1}):
        done = collect(kit, **limits)
        assert done.removed == ()
        assert any("it is in the making" in text for text in done.left)
    kit.index.open.set()
    out, _ = child.communicate(timeout=60)
    assert json.loads(out)["built"] is True


@pytest.mark.slow
def test_predictions_are_right_while_all_is_collected_again_and_again(kit: Kit, models: dict[str, Path]) -> None:
    """Some find their environment gone and build it again; none finds half of it."""
    failures: list[str] = []
    stop = threading.Event()
    for model in models.values():
        (model / "in.json").write_text('{"inputs": [1]}')
        kit.lock(model)

    def sweep() -> None:
        while not stop.is_set():
            collect(kit, older_than=0.001)

    def predict(model: Path) -> None:
        for _ in range(6):
            done = cli("predict", model, model / "in.json", environ=cli_environ(kit.home, kit.index.url))
            if done.returncode != 0:
                failures.append(done.stderr)

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    callers = [threading.Thread(target=predict, args=(model,)) for model in models.values()]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    stop.set()
    sweeper.join()
    assert failures == []


# The commands


def test_envs_list_show_pin_and_rm(kit: Kit, models: dict[str, Path]) -> None:
    environ = cli_environ(kit.home, kit.index.url)
    assert cli("envs", "list", environ=environ).stdout == "there are no environments\n"
    alpha = build(kit, models["alpha"], used=200000).environment
    build(kit, models["beta"])
    lines = cli("envs", "list", environ=environ).stdout.splitlines()
    assert lines[0].split() == ["HASH", "PYTHON", "SIZE", "LAST", "USED", "STATE", "ASKED", "BY"]
    assert [line.split()[-1] for line in lines[1:]] == [str(models["beta"]), str(models["alpha"])]
    assert "2 days ago" in lines[2]
    shown = cli("envs", "show", models["alpha"], environ=environ).stdout
    for text in (alpha.lock_hash, str(alpha.path), "alpha==1.0 common==1.0", "of its own", "idle"):
        assert text in shown
    short = alpha.lock_hash[:8]
    assert "is pinned" in cli("envs", "pin", short, environ=environ).stdout
    assert "pinned" in cli("envs", "show", short, environ=environ).stdout
    refused = cli("envs", "rm", short, environ=environ)
    assert refused.returncode == 5
    assert "error[environment-in-use]" in refused.stderr
    assert f"envbuild envs pin --remove {alpha.lock_hash[:12]}" in refused.stderr
    assert "not pinned any more" in cli("envs", "pin", "--remove", short, environ=environ).stdout
    assert cli("envs", "rm", short, environ=environ).stdout == f"removed {alpha.path}\n"
    assert not alpha.path.parent.exists()
    assert there(kit) == {"beta"}
    unknown = cli("envs", "rm", short, environ=environ)
    assert (unknown.returncode, "error[usage]" in unknown.stderr) == (2, True)


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--older-than", "1000000s"], "there is nothing to remove"),
        (["--older-than", "1d"], "removed"),
        (["--older-than", "1d", "--dry-run"], "would remove"),
        (["--max-size", "1kB"], "from the download cache"),
        (["--max-size", "20GB"], "before"),
    ],
)
def test_envs_gc(kit: Kit, models: dict[str, Path], words: list[str], says: str) -> None:
    build(kit, models["alpha"], used=200000)
    done = cli("envs", "gc", *words, environ=cli_environ(kit.home, kit.index.url))
    assert done.returncode == 0, done.stderr
    assert says in done.stdout


@pytest.mark.parametrize(
    "words", [["--older-than", "soon"], ["--older-than", "d"], ["--max-size", "a lot"], ["--max-size", "1i"]]
)
def test_limits_that_are_none_are_refused(kit: Kit, words: list[str]) -> None:
    done = cli("envs", "gc", *words, environ=cli_environ(kit.home))
    assert done.returncode == 2
    assert "error[usage]" in done.stderr


def test_cache_dir_and_size(kit: Kit, models: dict[str, Path]) -> None:
    environ = cli_environ(kit.home, kit.index.url)
    assert cli("cache", "dir", environ=environ).stdout == f"{kit.home}\n"
    assert not kit.home.exists()
    assert "everything" in cli("cache", "size", environ=environ).stdout
    build(kit, models["alpha"])
    answer = json.loads(cli("cache", "size", "--json", environ=environ).stdout)
    assert answer["bytes"]["everything"] > 2_000_000


# A store with many environments


@pytest.mark.soak
def test_a_thousand_environments(kit: Kit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A hand-out must not grow with their number."""
    kit.index.add(wheel("alpha", "1.0"), *(wheel("beta", f"{n}.0") for n in range(1000)))
    model = write_model(tmp_path / "one", pip=["alpha", "beta==0.0"])
    first = build(kit, model)
    said = [f"1 environment: hand-out {hand_out_seconds(kit, model) * 1000:.2f} ms"]
    place = first.environment.path
    for number in range(1, 1000):
        lock_hash = f"{number:064x}"
        copy = place.parent.parent / lock_hash / place.name
        shutil.copytree(place, copy, symlinks=True)
        marker = json.loads((copy / MARKER).read_text())
        (copy / MARKER).unlink()
        (copy / MARKER).write_text(json.dumps({**marker, "lock_hash": lock_hash}))
        then = time.time() - 10 * number
        os.utime(copy / MARKER, (then, then))
    said.append(f"1000 environments: hand-out {hand_out_seconds(kit, model) * 1000:.2f} ms")
    began = time.perf_counter()
    found: list[Kept] = list(upkeep(kit).listed())
    said.append(f"list {time.perf_counter() - began:.2f} s")
    assert len(found) == 1000
    began = time.perf_counter()
    assert len(collect(kit, older_than=5000.0).removed) == 500
    said.append(f"gc --older-than, 500 of 1000 removed: {time.perf_counter() - began:.2f} s")
    began = time.perf_counter()
    half = sum(inodes(kit.home).values()) // 2
    done = collect(kit, max_size=half)
    said.append(f"gc --max-size, {len(done.removed)} of 500 removed: {time.perf_counter() - began:.2f} s")
    with capsys.disabled():
        print("\n" + "\n".join(said))


def hand_out_seconds(kit: Kit, model: Path) -> float:
    store, known = Store(kit.settings()), kit.settings()
    locked = pipeline.lock(pipeline.ask(model, known), known)
    taken = []
    for _ in range(50):
        began = time.perf_counter()
        handout = store.hand_out(locked.lock.hash, lambda interpreter: True)
        taken.append(time.perf_counter() - began)
        assert handout is not None
    return sorted(taken)[25]
