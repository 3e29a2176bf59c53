"""Lock to environment: once, whole, and again after whatever went wrong."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kit import Kit, cli, cli_environ, run_python
from tiny import AFTER, File, backend, own_sdist, sdist, setup_py, wheel
from waiting import running_with

from envbuild import pipeline
from envbuild.errors import BuildError, BuildTimedOut, DownloadFailed, HashMismatch, SdistFailed, StoreError
from envbuild.store import MARKER

MakeModel = Callable[..., Path]


def installed(environment: Path) -> dict[str, str]:
    """What an environment says it holds."""
    found = (path.name.removesuffix(".dist-info").split("-") for path in environment.glob("lib/*/*/*.dist-info"))
    return {stem[0]: stem[1] for stem in found}


@pytest.fixture
def alpha(kit: Kit, make_model: MakeModel) -> Path:
    """A model with two wheels."""
    kit.index.add(wheel("alpha", "1.0", requires=["beta"]), wheel("beta", "1.0"))
    return make_model(pip=["alpha"])


def test_an_environment_lies_under_lock_hash_and_interpreter_and_holds_the_lock_alone(kit: Kit, alpha: Path) -> None:
    built = kit.build(alpha)
    environment = built.environment
    assert built.was_built
    assert environment.path.parent.name == environment.lock_hash == built.locked.lock.hash
    assert environment.path.name == f"{environment.interpreter.version}-{environment.interpreter.abi}"
    assert environment.path.is_relative_to(kit.home)
    assert installed(environment.path) == {"alpha": "1.0", "beta": "1.0"}
    assert run_python(environment.path, "import alpha; print(alpha.__file__)").startswith(str(environment.path))


def test_nothing_of_the_host_is_seen_from_inside(kit: Kit, alpha: Path) -> None:
    environment = kit.build(alpha).environment
    outside = run_python(
        environment.path,
        "import importlib.util as u; print([n for n in ('pip', 'setuptools', 'envbuild', 'pytest') if u.find_spec(n)])",
    )
    assert outside == "[]"
    config = (environment.path / "pyvenv.cfg").read_text()
    assert "include-system-site-packages = false" in config


def test_a_pin_that_was_let_in_is_built_too(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("alpha", "1.0"), wheel("beta", "2.0", uploaded=AFTER))
    assert installed(kit.build(make_model(pip=["alpha", "beta==2.0"])).environment.path) == {
        "alpha": "1.0",
        "beta": "2.0",
    }


# Imports another package, which it does not declare, when its wheel is made: saying what it needs does not show it.
GREEDY = """
import sys
if "bdist_wheel" in sys.argv:
    import beta
"""


@pytest.mark.slow
def test_an_sdist_that_imports_what_it_does_not_say_is_built_among_the_packages_of_the_environment(
    kit: Kit, make_model: MakeModel, build_tools: tuple[File, ...]
) -> None:
    greedy = {"setup.py": setup_py("alpha", "1.0", before=GREEDY), "alpha.py": "import beta\n"}
    kit.index.add(*build_tools, sdist("alpha", "1.0", greedy), wheel("beta", "1.0"))
    model = make_model(pip=["alpha", "beta"])
    with pytest.raises(SdistFailed, match="alpha"):
        kit.build(model, deny_repair=("build-needs",))
    assert installed(kit.build(model).environment.path) == {"alpha": "1.0", "beta": "1.0"}


def test_the_second_build_hands_out_what_the_first_made(kit: Kit, alpha: Path) -> None:
    first = kit.build(alpha)
    kit.index.close()
    second = kit.build(alpha)
    assert (first.was_built, second.was_built) == (True, False)
    assert second.environment == first.environment


def test_another_model_with_the_same_lock_shares_the_environment(kit: Kit, alpha: Path, make_model: MakeModel) -> None:
    first = kit.build(alpha)
    again = kit.build(make_model("other", pip=["beta", "alpha>=0.1"]))
    assert again.locked.source == "resolved"
    assert (again.was_built, again.environment.path) == (False, first.environment.path)


def _spoil(how: str, environment: Path) -> None:
    marker = environment / MARKER
    if how == "no marker":
        marker.unlink()
    elif how == "empty marker":
        marker.write_text("")
    elif how == "cut marker":
        marker.write_text(marker.read_text()[:-20])
    elif how == "another lock's marker":
        marker.write_text(json.dumps({**json.loads(marker.read_text()), "lock_hash": "0" * 64}))
    elif how == "another layout":
        marker.write_text(json.dumps({**json.loads(marker.read_text()), "version": 99}))
    elif how == "no list at all":
        marker.write_text("[]")
    elif how == "python gone":
        (environment / "bin" / "python").unlink()
        (environment / "bin" / "python").symlink_to("/nowhere/python")
    elif how == "a file in its place":
        shutil.rmtree(environment)
        environment.write_text("not a directory")


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "how",
    [
        "no marker",
        "empty marker",
        "cut marker",
        "another lock's marker",
        "another layout",
        "no list at all",
        "python gone",
        "a file in its place",
    ],
)
def test_what_is_not_whole_is_built_anew(kit: Kit, alpha: Path, how: str) -> None:
    first = kit.build(alpha)
    (first.environment.path / "left-over").write_text("from before")
    _spoil(how, first.environment.path)
    again = kit.build(alpha)
    assert again.was_built
    assert again.environment == first.environment
    assert not (again.environment.path / "left-over").exists()
    assert run_python(again.environment.path, "import alpha, beta; print(alpha.version)") == "1.0"
    assert kit.build(alpha).was_built is False


def test_a_kept_lock_that_is_damaged_is_resolved_anew(kit: Kit, alpha: Path) -> None:
    kit.lock(alpha)
    (kept,) = (kit.home / "store").rglob("locks/*.toml")
    kept.write_text(kept.read_text()[:100])
    assert kit.lock(alpha).source == "resolved"
    assert kit.lock(alpha).source == "kept"


def test_four_at_once_build_once_and_are_all_right(kit: Kit, alpha: Path, tmp_path: Path) -> None:
    (alpha / "in.json").write_text('{"inputs": [1]}')
    argv = [sys.executable, "-m", "envbuild", "build", str(alpha), "--json"]
    environ = cli_environ(kit.home, kit.index.url)
    # The index lets nobody through until all four are there.
    kit.index.open.clear()
    children = [
        subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)
    ]
    assert kit.index.waiting.wait(30)
    kit.index.open.set()
    answers = [child.communicate(timeout=120) for child in children]
    assert [child.returncode for child in children] == [0] * 4, answers
    results = [json.loads(out) for out, _ in answers]
    assert sorted(result["built"] for result in results) == [False, False, False, True]
    assert len({result["path"] for result in results}) == 1
    assert run_python(Path(results[0]["path"]), "import alpha; print(alpha.version)") == "1.0"


@pytest.mark.slow
def test_killed_at_any_moment_the_next_build_is_right(
    kit: Kit, make_model: MakeModel, build_tools: tuple[File, ...]
) -> None:
    """kill -9 of the whole group, at moments from the first look at the index to the last file."""
    chance = random.Random(20190915)
    kit.index.add(*build_tools, *(wheel(f"w{n}", "1.0") for n in range(8)), backend(), own_sdist("beta", "1.0"))
    kit.index.add(sdist("gamma", "1.0", {"setup.py": setup_py("gamma", "1.0"), "gamma.py": "version = '1.0'\n"}))
    model = make_model(pip=[*(f"w{n}" for n in range(8)), "beta", "gamma"])
    kit.lock(model)
    argv = [sys.executable, "-m", "envbuild", "build", str(model)]
    began = time.monotonic()
    subprocess.run(argv, env=cli_environ(kit.home, kit.index.url), check=True, capture_output=True)
    whole = time.monotonic() - began
    for _ in range(6):
        shutil.rmtree(next((kit.home / "store").glob("*/environments")))
        shutil.rmtree(kit.home / "uv")
        child = subprocess.Popen(
            argv,
            env=cli_environ(kit.home, kit.index.url),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(chance.uniform(0.1, 1.0) * whole)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        done = cli("build", model, "--json", environ=cli_environ(kit.home, kit.index.url))
        assert done.returncode == 0, done.stderr
        path = Path(json.loads(done.stdout)["path"])
        assert installed(path) == {**{f"w{n}": "1.0" for n in range(8)}, "beta": "1.0", "gamma": "1.0"}
        assert run_python(path, "import w0, w7, beta, gamma; print(gamma.version)") == "1.0"


def test_what_a_killed_build_had_started_does_not_work_on(kit: Kit, alpha: Path) -> None:
    """uv is in a session of its own: it must end with us, or it would write into what the next build makes."""
    kit.lock(alpha)
    kit.index.open.clear()
    argv = [sys.executable, "-m", "envbuild", "build", str(alpha)]
    child = subprocess.Popen(
        argv, env=cli_environ(kit.home, kit.index.url), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert kit.index.waiting.wait(30)
    assert running_with(str(kit.home)) - {child.pid}
    child.kill()
    child.wait()
    deadline = time.monotonic() + 10
    while running_with(str(kit.home)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert running_with(str(kit.home)) == set()


def test_an_interrupted_build_ends_with_130_and_leaves_nothing_complete(kit: Kit, alpha: Path) -> None:
    kit.lock(alpha)
    kit.index.open.clear()
    argv = [sys.executable, "-m", "envbuild", "build", str(alpha)]
    child = subprocess.Popen(
        argv, env=cli_environ(kit.home, kit.index.url), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert kit.index.waiting.wait(30)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "Traceback" not in err
    assert list((kit.home / "store").rglob(MARKER)) == []
    kit.index.open.set()
    assert kit.build(alpha).was_built


def test_an_sdist_that_does_not_build_ends_with_its_last_lines_and_the_system_package(
    kit: Kit, make_model: MakeModel, build_tools: tuple[File, ...]
) -> None:
    failing = setup_py(
        "alpha",
        "1.0",
        before="import sys\nif 'bdist_wheel' in sys.argv:\n    print('x.c:1:10: fatal error: Python.h: No such file or "
        "directory', file=sys.stderr)\n    raise SystemExit(1)\n",
    )
    kit.index.add(*build_tools, sdist("alpha", "1.0", {"setup.py": failing, "alpha.py": ""}))
    with pytest.raises(SdistFailed) as failure:
        kit.build(make_model(pip=["alpha"]))
    error = failure.value
    assert "alpha==1.0" in error.message
    assert any("Python.h: No such file" in line for line in error.details)
    assert "python3-dev" in (error.hint or "")
    assert list((kit.home / "store").rglob(MARKER)) == []


def test_sdists_are_built_with_their_locked_build_requirements(kit: Kit, make_model: MakeModel) -> None:
    """A backend that was uploaded after locking is not used, although its version is higher."""
    kit.index.add(backend(version="1.0"), own_sdist("alpha", "1.0"))
    model = make_model(pip=["alpha"])
    locked = kit.lock(model)
    broken = wheel("tiny-backend", "1.1", modules={"tiny_backend.py": "raise SystemExit('not this one')\n"})
    kit.index.add(broken)
    built = pipeline.build(locked, kit.settings())
    assert run_python(built.environment.path, "import alpha; print(alpha.version)") == "1.0"


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", ["wheel", "sdist", "backend"])
def test_a_file_that_is_not_the_locked_one_is_refused(kit: Kit, make_model: MakeModel, kind: str) -> None:
    tiny, other = backend(), wheel("tiny-backend", "1.0", modules={"tiny_backend.py": "evil = True\n"})
    alpha = wheel("alpha", "1.0") if kind == "wheel" else own_sdist("alpha", "1.0")
    kit.index.add(tiny, alpha)
    model = make_model(pip=["alpha"])
    locked = kit.lock(model)
    shutil.rmtree(kit.home / "uv")
    changed = {
        "wheel": (alpha, wheel("alpha", "1.0", modules={"alpha.py": "evil = True\n"})),
        "sdist": (alpha, own_sdist("alpha", "1.0", other__py="evil = True\n")),
        "backend": (tiny, other),
    }
    old, new = changed[kind]
    kit.index.files = [new if file is old else file for file in kit.index.files]
    with pytest.raises(HashMismatch):
        pipeline.build(locked, kit.settings())
    kit.index.files = [old if file is new else file for file in kit.index.files]
    shutil.rmtree(kit.home / "uv")
    kit.index.served[old.name] = new.content
    with pytest.raises(HashMismatch) as failure:
        pipeline.build(locked, kit.settings())
    assert "do not install it" in (failure.value.hint or "")
    # Which file, what was locked and what came instead.
    assert old.project in failure.value.message
    assert (old.sha256 in failure.value.message, new.sha256 in failure.value.message) == (True, True)
    assert list((kit.home / "store").rglob(MARKER)) == []


def test_a_locked_file_that_is_gone_is_said(kit: Kit, alpha: Path) -> None:
    locked = kit.lock(alpha)
    shutil.rmtree(kit.home / "uv")
    kit.index.files.clear()
    with pytest.raises(DownloadFailed):
        pipeline.build(locked, kit.settings())


@pytest.mark.slow
def test_an_index_that_is_gone_is_a_download_that_failed(kit: Kit, alpha: Path) -> None:
    locked, settings = kit.lock(alpha), kit.settings()
    shutil.rmtree(kit.home / "uv")
    kit.index.close()
    with pytest.raises(DownloadFailed):
        pipeline.build(locked, settings)


def test_a_mirror_serves_the_same_lock(kit: Kit, alpha: Path, make_index: Callable[[], Any]) -> None:
    locked = kit.lock(alpha)
    mirror = make_index().add(*kit.index.files)
    kit.index.close()
    shutil.rmtree(kit.home / "uv")
    assert pipeline.build(locked, kit.settings(index_url=mirror.url)).was_built


def test_building_has_a_time_limit(kit: Kit, alpha: Path) -> None:
    locked = kit.lock(alpha)
    shutil.rmtree(kit.home / "uv")
    kit.index.open.clear()
    with pytest.raises(BuildTimedOut):
        pipeline.build(locked, kit.settings(build_timeout=0.7))


def test_no_build_refuses_a_lock_with_sdists(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(backend(), own_sdist("alpha", "1.0"))
    locked = kit.lock(make_model(pip=["alpha"]))
    with pytest.raises(BuildError, match="must be built here: alpha"):
        pipeline.build(locked, kit.settings(no_build=True))


def test_a_file_where_the_store_should_be_is_said(kit: Kit, alpha: Path) -> None:
    kit.home.write_text("in the way")
    with pytest.raises(StoreError) as failure:
        kit.build(alpha)
    assert str(kit.home) in failure.value.message
