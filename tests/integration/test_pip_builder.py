"""Lock to environment by the second engine: pip of the lock's own version, without an index."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kit import REPO, Kit, cli, cli_environ, run_python
from test_local_parts import commit, repository  # noqa: F401 - the second is a fixture
from tiny import (
    AFTER,
    File,
    backend,
    metadata,
    own_sdist,
    pyproject,
    sdist,
    setup_py,
    wheel,
)
from waiting import eventually, running_with

from envbuild import pipeline
from envbuild.errors import BuildError, BuildTimedOut, DownloadFailed, HashMismatch, SdistFailed
from envbuild.images import environment
from envbuild.pipeline import Built, Locked
from envbuild.pylock import write_lock
from envbuild.store import MARKER

# Real builds by pips of many years.
pytestmark = pytest.mark.slow

MakeModel = Callable[..., Path]
Fetched = Callable[..., list[File]]


def build(kit: Kit, locked: Locked, **changes: Any) -> Built:
    return pipeline.build(locked, kit.settings(engine="pip", **changes))


def file_in(built: Built, pattern: str) -> str:
    (found,) = built.environment.path.glob(f"lib/*/site-packages/{pattern}")
    return found.read_text()


def forget(kit: Kit, *, files: bool = False) -> None:
    """Remove what was built and, with ``files``, what was fetched."""
    shutil.rmtree(kit.home / "store" / "v1" / "environments", ignore_errors=True)
    if files:
        for name in ("files", "pip"):
            shutil.rmtree(kit.home / name, ignore_errors=True)


@pytest.fixture
def alpha(kit: Kit, make_model: MakeModel) -> Path:
    """A model with two wheels."""
    kit.index.add(wheel("alpha", "1.0", requires=["beta"]), wheel("beta", "1.0"))
    return make_model(pip=["alpha"])


# Its module says what it was built with.
TELLING = """
import setuptools
with open("gamma.py", "w") as file:
    file.write("built_with = %r\\n" % setuptools.__version__)
"""
QUICK = [("3.6", "9.0.3"), ("3.11", "24.3.1")]
OTHERS = [("3.8", "22.0.4")]
REST = [("3.6", "18.1"), ("3.11", "25.2"), ("3.6", "10.0.1"), ("3.6", "19.3.1"), ("3.6", "20.2.4")]


@pytest.mark.parametrize(
    ("python", "pip"), [*QUICK, *OTHERS, *(pytest.param(*one, marks=pytest.mark.soak) for one in REST)], ids=str
)
def test_the_locked_pip_installs_wheels_and_builds_an_sdist_with_its_locked_requirements(
    kit: Kit, make_model: MakeModel, released: Fetched, python: str, pip: str
) -> None:
    """The environment's own setuptools is another than the one that is locked to build with."""
    own, newer = ("40.8.0", "59.6.0") if python == "3.6" else ("65.5.1", "68.0.0")
    kit.index.add(*released(python, f"pip=={pip}", f"setuptools=={newer}", "wheel==0.37.1"))
    kit.index.add(*released(python, f"setuptools=={own}"))
    # A platform's name that pips before 20.3 cannot read.
    short = python.replace(".", "")
    tag = f"cp{short}-cp{short}{'m' if python == '3.6' else ''}-manylinux_2_17_x86_64.manylinux2014_x86_64"
    kit.index.add(wheel("alpha", "1.0", tag=tag), wheel("beta", "1.0"))
    kit.index.add(sdist("gamma", "1.0", {"setup.py": setup_py("gamma", "1.0", before=TELLING)}))
    pins = [f"pip=={pip}", f"setuptools=={own}", "wheel==0.37.1"]
    locked = kit.lock(make_model(python=python, pip=["alpha", "beta", "gamma", *pins]))
    built = build(kit, locked)
    assert built.environment.interpreter.version.startswith(python)
    seen = run_python(
        built.environment.path, "import alpha, beta, gamma, pip; print(pip.__version__, gamma.built_with)"
    )
    assert seen == f"{pip} {newer}"
    assert file_in(built, "gamma-1.0.dist-info/INSTALLER").strip() == "pip"
    assert list(built.environment.path.rglob("direct_url.json")) == []


@pytest.mark.parametrize("python", ["3.8", pytest.param("3.13", marks=pytest.mark.slow)])
def test_a_lock_without_pip_is_installed_and_leaves_none(kit: Kit, make_model: MakeModel, python: str) -> None:
    kit.index.add(wheel("alpha", "1.0", requires=["beta"]), wheel("beta", "1.0"))
    built = build(kit, kit.lock(make_model(pip=["alpha"], python=python)))
    found = "import importlib.util as u; print([n for n in ('alpha', 'pip', 'setuptools', 'wheel') if u.find_spec(n)])"
    assert run_python(built.environment.path, found) == "['alpha']"
    assert "include-system-site-packages = false" in (built.environment.path / "pyvenv.cfg").read_text()


def test_what_one_engine_built_is_handed_out_to_both(kit: Kit, alpha: Path) -> None:
    locked = kit.lock(alpha)
    assert build(kit, locked).was_built
    assert not pipeline.build(locked, kit.settings()).was_built
    forget(kit)
    assert pipeline.build(locked, kit.settings()).was_built
    assert not build(kit, locked).was_built


def test_both_engines_install_the_same_files(kit: Kit, make_model: MakeModel, tmp_path: Path) -> None:
    kit.index.add(backend(), own_sdist("beta", "1.0"), wheel("alpha", "1.0", requires=["beta"]))
    locked = kit.lock(make_model(pip=["alpha"]))
    by_pip = contents(build(kit, locked).environment.path)
    forget(kit)
    by_uv = contents(pipeline.build(locked, kit.settings()).environment.path)
    assert {path for path in by_pip.keys() | by_uv.keys() if by_pip.get(path) != by_uv.get(path)} == set()
    assert "alpha.py" in by_uv


# Of these each installer, or each way to make a virtualenv, has its own.
OWN = re.compile(r"(INSTALLER|RECORD|uv_build\.json|direct_url\.json)$|^_virtualenv\.|^__pycache__/_virtualenv\.")


def contents(environment: Path) -> dict[str, bytes]:
    """The files in site-packages, but those that are an installer's own."""
    (site,) = environment.glob("lib/*/site-packages")
    files = {path.relative_to(site).as_posix(): path for path in site.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if OWN.search(name) is None}


def test_from_what_is_kept_it_is_built_without_any_index(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(backend(), own_sdist("alpha", "1.0"), wheel("beta", "1.0"))
    locked = kit.lock(make_model(pip=["alpha", "beta"]))
    build(kit, locked)
    forget(kit)
    kit.index.requests.clear()
    assert build(kit, locked, offline=True).was_built
    assert kit.index.requests == []
    forget(kit, files=True)
    with pytest.raises(DownloadFailed, match="kept"):
        build(kit, locked, offline=True)


def test_a_mirror_serves_the_same_lock(kit: Kit, alpha: Path, make_index: Callable[[], Any]) -> None:
    locked = kit.lock(alpha)
    mirror = make_index().add(*kit.index.files)
    mirror.upload_times = False
    kit.index.close()
    assert build(kit, locked, index_url=mirror.url).was_built


def test_a_file_that_was_damaged_where_it_is_kept_is_fetched_again(kit: Kit, alpha: Path) -> None:
    locked = kit.lock(alpha)
    build(kit, locked)
    forget(kit)
    for path in (kit.home / "files").iterdir():
        path.write_bytes(path.read_bytes()[:-1])
    assert build(kit, locked).was_built


# Each build of it is another one.
CHANCE = "import secrets\nwith open('alpha.py', 'w') as file:\n    file.write('number = %d' % secrets.randbits(60))\n"


def test_a_wheel_that_was_built_is_used_again_unless_it_is_damaged(
    kit: Kit, make_model: MakeModel, build_tools: tuple[File, ...]
) -> None:
    kit.index.add(*build_tools, sdist("alpha", "1.0", {"setup.py": setup_py("alpha", "1.0", before=CHANCE)}))
    locked = kit.lock(make_model(pip=["alpha"]))
    first = file_in(build(kit, locked), "alpha.py")
    forget(kit)
    assert file_in(build(kit, locked), "alpha.py") == first
    forget(kit)
    (kept,) = (kit.home / "pip" / "wheels").glob("*/*/*.whl")
    with zipfile.ZipFile(kept, "a") as archive:
        archive.writestr("alpha_too.py", "")
    assert file_in(build(kit, locked), "alpha.py") != first


def test_a_wheel_that_was_built_is_used_again_only_where_it_was_built_with_the_same(
    kit: Kit, make_model: MakeModel, build_tools: tuple[File, ...]
) -> None:
    asked = '[build-system]\nrequires = ["setuptools", "wheel", "helper"]\nbuild-backend = "setuptools.build_meta"\n'
    files = {"setup.py": setup_py("alpha", "1.0", before=CHANCE), "pyproject.toml": asked}
    kit.index.add(*build_tools, wheel("helper", "1.0"), sdist("alpha", "1.0", files))
    model = make_model(pip=["alpha"])
    first = file_in(build(kit, kit.lock(model)), "alpha.py")
    kit.index.add(wheel("helper", "2.0"))
    locked = kit.lock(model, update=True)
    assert "2.0" in {package.version for one in locked.lock.build for package in one.packages}
    assert file_in(build(kit, locked), "alpha.py") != first


@pytest.mark.parametrize("kind", ["wheel", "sdist", "backend"])
def test_a_file_that_is_not_the_locked_one_is_refused(kit: Kit, make_model: MakeModel, kind: str) -> None:
    tiny, other = backend(), wheel("tiny-backend", "1.0", modules={"tiny_backend.py": "evil = True\n"})
    one = wheel("alpha", "1.0") if kind == "wheel" else own_sdist("alpha", "1.0")
    kit.index.add(tiny, one)
    locked = kit.lock(make_model(pip=["alpha"]))
    changed = {
        "wheel": (one, wheel("alpha", "1.0", modules={"alpha.py": "evil = True\n"})),
        "sdist": (one, own_sdist("alpha", "1.0", other__py="evil = True\n")),
        "backend": (tiny, other),
    }
    old, new = changed[kind]
    # What was read when it was locked is kept.
    shutil.rmtree(kit.home / "files", ignore_errors=True)
    kit.index.files = [new if file is old else file for file in kit.index.files]
    with pytest.raises(HashMismatch, match="is locked"):
        build(kit, locked)
    kit.index.files = [old if file is new else file for file in kit.index.files]
    kit.index.served[old.name] = new.content
    with pytest.raises(HashMismatch) as failure:
        build(kit, locked)
    assert "do not install it" in (failure.value.hint or "")
    assert list((kit.home / "store").rglob(MARKER)) == []


def test_a_locked_file_that_is_gone_and_an_index_that_is_are_said(kit: Kit, alpha: Path) -> None:
    locked = kit.lock(alpha)
    files, kit.index.files = kit.index.files, []
    with pytest.raises(DownloadFailed, match="no index has"):
        build(kit, locked)
    kit.index.files = files
    kit.index.status = 503
    with pytest.raises(DownloadFailed, match="503"):
        build(kit, locked, retry=True)


def test_a_failure_of_one_engine_is_not_the_others(kit: Kit, alpha: Path) -> None:
    locked = kit.lock(alpha)
    shutil.rmtree(kit.home / "uv")
    kit.index.status = 503
    with pytest.raises(DownloadFailed):
        build(kit, locked)
    kit.index.status = None
    assert pipeline.build(locked, kit.settings()).was_built


def test_credentials_are_ours_and_reach_no_build(
    kit: Kit, make_model: MakeModel, build_tools: tuple[File, ...], tmp_path: Path
) -> None:
    """A setup script writes down every environment and every argument of all processes that it may see."""
    spying = (
        "import glob\nwith open('alpha.py', 'w') as file:\n    file.write('seen = %r' % b''.join(open(path, 'rb').read()"
        " for path in glob.glob('/proc/self/environ') + glob.glob('/proc/[0-9]*/cmdline')))\n"
    )
    kit.index.add(*build_tools, sdist("alpha", "1.0", {"setup.py": setup_py("alpha", "1.0", before=spying)}))
    kit.index.login = ("someone", "s3cret-word")
    url = kit.index.with_login("someone", "s3cret-word")
    kit.more["index_url"] = url
    built = build(kit, kit.lock(make_model(pip=["alpha"])))
    seen = file_in(built, "alpha.py")
    assert "PATH=" in seen
    assert "s3cret-word" not in seen


def test_an_sdist_that_imports_what_it_does_not_say_is_built_among_the_packages_of_the_environment(
    kit: Kit, make_model: MakeModel, build_tools: tuple[File, ...]
) -> None:
    greedy = setup_py("alpha", "1.0", before='import sys\nif "bdist_wheel" in sys.argv:\n    import beta\n')
    kit.index.add(*build_tools, sdist("alpha", "1.0", {"setup.py": greedy, "alpha.py": ""}), wheel("beta", "1.0"))
    locked = kit.lock(make_model(pip=["alpha", "beta"]))
    with pytest.raises(SdistFailed, match="alpha"):
        build(kit, locked, deny_repair=("build-needs",))
    built = build(kit, locked)
    assert run_python(built.environment.path, "import alpha, beta; print(beta.version)") == "1.0"


@pytest.mark.parametrize(("python", "pip"), [("3.6", "9.0.3"), pytest.param("3.11", "24.3.1", marks=pytest.mark.slow)])
def test_an_sdist_that_does_not_build_ends_with_its_last_lines_and_the_system_package(
    kit: Kit, make_model: MakeModel, released: Fetched, python: str, pip: str
) -> None:
    failing = (
        "import sys\nif 'bdist_wheel' in sys.argv:\n    print('x.c:1:10: fatal error: Python.h: No such file or "
        "directory', file=sys.stderr)\n    raise SystemExit(1)\n"
    )
    kit.index.add(*released(python, f"pip=={pip}", "setuptools==59.6.0", "wheel==0.37.1"))
    kit.index.add(sdist("alpha", "1.0", {"setup.py": setup_py("alpha", "1.0", before=failing), "alpha.py": ""}))
    with pytest.raises(SdistFailed) as failure:
        build(kit, kit.lock(make_model(pip=["alpha", f"pip=={pip}"], python=python)))
    error = failure.value
    assert "alpha==1.0" in error.message
    assert any("Python.h: No such file" in line for line in error.details)
    assert "python3-dev" in (error.hint or "")
    assert list((kit.home / "store").rglob(MARKER)) == []


def test_a_pip_that_does_not_work_under_its_python_is_said(kit: Kit, make_model: MakeModel, released: Fetched) -> None:
    kit.index.add(*released("3.6", "pip==9.0.3"))
    with pytest.raises(BuildError, match=r"pip 9\.0\.3 does not work under Python 3\.11") as failure:
        build(kit, kit.lock(make_model(pip=["pip==9.0.3"], python="3.11")))
    assert "--engine uv" in (failure.value.hint or "")


def test_no_build_refuses_a_lock_with_sdists(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(backend(), own_sdist("alpha", "1.0"))
    locked = kit.lock(make_model(pip=["alpha"]))
    with pytest.raises(BuildError, match="must be built here: alpha"):
        build(kit, locked, no_build=True)


def test_a_wheel_an_sdist_and_a_directory_inside_the_model_are_installed_without_their_paths(
    kit: Kit, make_model: MakeModel
) -> None:
    kit.index.add(backend())
    ready, source = wheel("alpha", "1.0"), own_sdist("beta", "1.0")
    files: dict[str, str | bytes] = {
        f"wheels/{ready.name}": ready.content,
        source.name: source.content,
        "code/own/pyproject.toml": pyproject("tiny-backend"),
        "code/own/PKG-INFO": metadata("own", "1.0"),
        "code/own/own.py": "version = '1.0'\n",
    }
    model = make_model(pip=[f"./wheels/{ready.name}", f"./{source.name}", "-e ./code/own"], files=files)
    before = {path: path.stat().st_mtime_ns for path in model.rglob("*")}
    built = build(kit, kit.lock(model))
    assert run_python(built.environment.path, "import alpha, beta, own; print(own.version)") == "1.0"
    assert list(built.environment.path.rglob("direct_url.json")) == []
    assert {path: path.stat().st_mtime_ns for path in model.rglob("*")} == before


def test_a_commit_and_an_archive_by_its_url_are_installed(
    kit: Kit,
    make_model: MakeModel,
    repository: tuple[Path, str],  # noqa: F811 - the fixture
) -> None:
    """The commit's build requirement comes from the index, as of the lock's time."""
    work, url = repository
    later = wheel("tiny-backend", "2.0", modules={"tiny_backend.py": "raise SystemExit('too young')\n"}, uploaded=AFTER)
    beta = wheel("beta", "1.0")
    kit.index.add(backend(), later, beta)
    locked = kit.lock(make_model(pip=[f"alpha @ {url}@main", f"beta @ {kit.index.root}/files/{beta.name}"]))
    (work / "alpha.py").write_text("value = 2\n")
    commit(work)
    built = build(kit, locked)
    assert run_python(built.environment.path, "import alpha, beta; print(alpha.value, beta.version)") == "1 1.0"


@pytest.mark.soak
@pytest.mark.parametrize("era", ["py311_mlflow3_17", "py38_mlflow1_30"])
def test_a_real_model_locked_by_uv_and_built_by_pip_has_the_same_files_and_predicts_rightly(
    shared_home: Path, home: Path, tmp_path: Path, era: str
) -> None:
    model, lock = REPO / "tests" / "models" / era / "iris", tmp_path / "pylock.toml"
    # The store is new; the files come from the index once.
    home.mkdir(mode=0o700)
    (shared_home / "pip").mkdir(exist_ok=True)
    (home / "pip").symlink_to(shared_home / "pip")
    by_uv, by_pip = cli_environ(shared_home), cli_environ(home, ENVBUILD_ENGINE="pip")
    assert cli("lock", model, "-o", lock, environ=by_uv).returncode == 0
    paths = []
    for environ in (by_uv, by_pip):
        done = cli("build", model, "--lock", lock, "--json", environ=environ)
        assert done.returncode == 0, done.stderr
        paths.append(Path(json.loads(done.stdout)["path"]))
    first, second = map(contents, paths)
    assert {path for path in first.keys() | second.keys() if first.get(path) != second.get(path)} == set()
    answer = cli("predict", model, model.with_name("iris.input.json"), "--lock", lock, environ=by_pip)
    assert json.loads(answer.stdout)["predictions"] == json.loads(model.with_name("iris.expected.json").read_text())


def start(kit: Kit, name: str, nth: int, *words: str | Path) -> subprocess.Popen[str]:
    argv = [sys.executable, str(REPO / "tests" / "killed.py"), name, str(nth), *map(str, words)]
    environ = cli_environ(kit.home, kit.index.url, ENVBUILD_ENGINE="pip")
    return subprocess.Popen(
        argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


STEPS = [
    "held",
    "cleared",
    "fetched",
    "virtualenv made",
    "wheel built",
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


@pytest.fixture
def sealed(kit: Kit, make_model: MakeModel) -> Path:
    """A model with a wheel and an sdist, and its lock beside it."""
    kit.index.add(backend(), own_sdist("alpha", "1.0"), wheel("beta", "2.0"))
    model = make_model(pip=["alpha", "beta"])
    (model / "pylock.toml").write_text(write_lock(kit.lock(model).lock))
    return model


def test_the_steps_of_a_build(kit: Kit, sealed: Path) -> None:
    """So that none is lost from the test below."""
    child = start(kit, "?", 0, "build", sealed)
    _, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    assert re.findall(r"^step: (.*)$", err, flags=re.MULTILINE) == STEPS


def left_over(kit: Kit) -> list[str]:
    """What should not be in a store that nobody is working in."""
    root = kit.home / "store" / "v1"
    found = [str(path) for place in ("trash", "held", "failures") for path in (root / place).glob("*")]
    return found + [str(path.parent) for path in root.glob("environments/*/*") if not (path / MARKER).exists()]


def killed_and_built_again(kit: Kit, model: Path, steps: Sequence[tuple[str, int]], *, files: bool) -> None:
    environ = cli_environ(kit.home, kit.index.url, ENVBUILD_ENGINE="pip")
    for name, nth in steps:
        forget(kit, files=files)
        shutil.rmtree(kit.home / "bytecode", ignore_errors=True)
        child = start(kit, name, nth, "build", model)
        _, err = child.communicate(timeout=120)
        assert child.returncode == -signal.SIGKILL, (name, nth, err)
        done = cli("build", model, "--json", environ=environ)
        assert done.returncode == 0, (name, nth, done.stderr)
        path = Path(json.loads(done.stdout)["path"])
        assert run_python(path, "import alpha, beta; print(alpha.version, beta.version)") == "1.0 2.0"
        assert cli("verify", model, environ=environ).returncode == 0
    assert cli("envs", "gc", environ=environ).returncode == 0
    assert left_over(kit) == []


def numbered(steps: Sequence[str]) -> list[tuple[str, int]]:
    seen: Counter[str] = Counter()
    found = []
    for name in steps:
        seen[name] += 1
        found.append((name, seen[name]))
    return found


def test_killed_when_a_wheel_was_built(kit: Kit, sealed: Path) -> None:
    killed_and_built_again(kit, sealed, [("wheel built", 1)], files=True)


@pytest.mark.soak
def test_killed_at_any_other_step(kit: Kit, sealed: Path) -> None:
    steps = [step for step in numbered(STEPS) if step[0] != "wheel built"]
    killed_and_built_again(kit, sealed, steps, files=False)


WAITING = "import os, time\nopen(os.path.join({place!r}, 'here'), 'w').close()\ntime.sleep(600)\n"


def test_what_a_killed_build_had_started_does_not_work_on(
    kit: Kit, make_model: MakeModel, build_tools: tuple[File, ...], tmp_path: Path
) -> None:
    """The setup script waits, below pip, until it is ended with the rest."""
    waiting = "import sys\nif 'bdist_wheel' in sys.argv:\n" + "".join(
        f"    {line}\n" for line in WAITING.format(place=str(tmp_path)).splitlines()
    )
    kit.index.add(*build_tools, sdist("alpha", "1.0", {"setup.py": setup_py("alpha", "1.0", before=waiting)}))
    model = make_model(pip=["alpha"])
    (model / "pylock.toml").write_text(write_lock(kit.lock(model).lock))
    child = start(kit, "", 0, "build", model)
    eventually((tmp_path / "here").exists, "the setup script runs")
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "Traceback" not in err
    eventually(lambda: running_with(str(kit.home)) == set(), "all has ended")
    assert list((kit.home / "store").rglob(MARKER)) == []


def test_a_build_that_waits_for_files_has_a_time_limit_and_can_be_interrupted(kit: Kit, alpha: Path) -> None:
    locked = kit.lock(alpha)
    (alpha / "pylock.toml").write_text(write_lock(locked.lock))
    kit.index.open.clear()
    with pytest.raises(BuildTimedOut):
        build(kit, locked, build_timeout=0.5)
    kit.index.waiting.clear()
    child = start(kit, "", 0, "build", alpha)
    assert kit.index.waiting.wait(30)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 130, err
    assert "Traceback" not in err
    kit.index.open.set()
    assert build(kit, locked).was_built


def test_the_first_mlflow_answers_from_an_environment_that_pip_locked_and_built(home: Path, shared_home: Path) -> None:
    # Tools and files as they are kept for all tests, and a store that has no environment of uv's.
    (home / "pip").mkdir(parents=True)
    for name in ("pip/tools", "files"):
        (shared_home / name).mkdir(parents=True, exist_ok=True)
        (home / name).symlink_to(shared_home / name)
    model = REPO / "tests" / "models" / "py36_mlflow0_1" / "iris"
    done = cli("predict", model, model.with_name("iris.input.json"), "--engine", "pip", environ=cli_environ(home))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["predictions"] == json.loads(model.with_name("iris.expected.json").read_text())
    told = {path.read_text().strip() for path in home.glob("store/v1/environments/*/*/lib/*/*/*.dist-info/INSTALLER")}
    assert told == {"pip"}


@pytest.mark.parametrize(("engine", "is_said"), [("pip", True), ("uv", False)])
def test_an_image_that_uv_cannot_build_of_pips_lock_says_so(
    kit: Kit, alpha: Path, monkeypatch: pytest.MonkeyPatch, engine: str, *, is_said: bool
) -> None:
    def fails(*_: object) -> None:
        raise BuildError("uv reads no such metadata", hint="first")

    monkeypatch.setattr(environment, "_built", fails)
    lock = kit.lock(alpha).lock
    lock = replace(lock, origin=replace(lock.origin, engine=engine))
    order = cast("environment.EnvironmentOrder", SimpleNamespace(lock=lock))
    with pytest.raises(BuildError) as failure:
        environment._built_by_uv(cast("Any", None), order, cast("Any", None), (), kit.home)
    hint = failure.value.hint or ""
    assert hint.startswith("first")
    assert ("--engine uv" in hint) == is_said
