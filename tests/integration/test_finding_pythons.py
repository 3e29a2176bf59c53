"""Which Python is taken, and what is said when none is."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from kit import Kit, cli, cli_environ, codes, run_python
from tiny import PYTHON, wheel

from envbuild import interpreters, uv
from envbuild.errors import InterpreterNotFound, UsageError
from envbuild.interpreters import Interpreter

MakeModel = Callable[..., Path]


@pytest.fixture
def here(kit: Kit) -> Interpreter:
    """The interpreter that the tiny models use."""
    return interpreters.find(PYTHON, kit.settings())


@pytest.mark.parametrize("policy", ["exact", "minor"])
def test_the_exact_version_is_taken_without_a_word(
    kit: Kit, make_model: MakeModel, here: Interpreter, policy: str
) -> None:
    built = kit.build(make_model(python=here.version), python_policy=policy)
    assert built.environment.interpreter == here
    assert codes(built) == []


def test_another_patch_release_stands_in_with_a_note(kit: Kit, make_model: MakeModel, here: Interpreter) -> None:
    built = kit.build(make_model(python=f"{PYTHON}.0"))
    assert built.environment.interpreter.minor == PYTHON
    assert codes(built) == ["python-patch"]
    assert f"Python {PYTHON}.0 is not here; {built.environment.interpreter.version}" in built.notices[-1].message
    assert built.locked.lock.python == f"{PYTHON}.0"


def test_a_minor_version_takes_the_newest_patch_release(kit: Kit, make_model: MakeModel) -> None:
    built = kit.build(make_model(python=PYTHON))
    assert built.environment.interpreter.minor == PYTHON
    assert codes(built) == []


def test_policy_exact_refuses_a_neighbour_and_says_where_it_looked(
    kit: Kit, make_model: MakeModel, here: Interpreter
) -> None:
    with pytest.raises(InterpreterNotFound) as failure:
        kit.build(make_model(python=f"{PYTHON}.0"), python_policy="exact")
    error = failure.value
    assert f"found {here.executable}: Python {here.version}" in error.details
    assert any("looked in: PATH, pyenv" in line for line in error.details)
    for hint in ("--python-policy minor", f"pyenv install {PYTHON}.0", "uv python install", "--python"):
        assert hint in (error.hint or "")


def test_a_version_that_nobody_has_is_not_found(kit: Kit, make_model: MakeModel) -> None:
    with pytest.raises(InterpreterNotFound, match=r"no Python 3\.99 here"):
        kit.build(make_model(), python="3.99")


def test_offline_downloads_no_python(kit: Kit, make_model: MakeModel) -> None:
    with pytest.raises(InterpreterNotFound) as failure:
        kit.build(make_model(), python="3.99", offline=True, python_downloads=True)
    assert any("switched off" in line for line in failure.value.details)


def test_a_path_is_taken(kit: Kit, make_model: MakeModel, here: Interpreter) -> None:
    built = kit.build(make_model(python="3.6"), python=here.executable)
    assert built.environment.interpreter == here
    assert run_python(built.environment.path, "import platform; print(platform.python_version())") == here.version


@pytest.mark.parametrize(
    ("path", "said"),
    [("/bin/ls", "no CPython"), ("/nowhere/python3", "no file /nowhere"), ("./python", r"no file \./python")],
)
def test_a_path_that_is_no_python_is_said(kit: Kit, make_model: MakeModel, path: str, said: str) -> None:
    with pytest.raises(InterpreterNotFound, match=said):
        kit.build(make_model(), python=path)


def test_a_word_that_is_neither_version_nor_path_is_a_usage_error(kit: Kit, make_model: MakeModel) -> None:
    with pytest.raises(UsageError):
        kit.build(make_model(), python="newest")


@pytest.mark.parametrize("how", ["links", "copies"])
def test_a_virtualenvs_python_stands_for_the_one_it_was_made_from(
    kit: Kit, make_model: MakeModel, here: Interpreter, tmp_path: Path, how: str
) -> None:
    virtual = tmp_path / "virtual"
    options = ["--without-pip", *(["--copies"] if how == "copies" else [])]
    subprocess.run([here.executable, "-m", "venv", *options, virtual], check=True)
    built = kit.build(make_model(), python=str(virtual / "bin" / "python"))
    assert built.environment.interpreter == here
    shutil.rmtree(virtual)
    assert run_python(built.environment.path, "print(1)") == "1"


def test_a_virtualenv_on_the_path_is_not_what_environments_are_made_from(
    kit: Kit, make_model: MakeModel, here: Interpreter, tmp_path: Path
) -> None:
    virtual = tmp_path / "virtual"
    subprocess.run([uv.binary(), "venv", "-q", virtual, "--python", here.executable, "--no-config"], check=True)
    path = f"{virtual}/bin{os.pathsep}{os.environ['PATH']}"
    done = cli("build", make_model(python=here.version), environ=cli_environ(kit.home, kit.index.url, PATH=path))
    assert done.returncode == 0, done.stderr
    home = dict(line.split(" = ", 1) for line in (Path(done.stdout.strip()) / "pyvenv.cfg").read_text().splitlines())[
        "home"
    ]
    assert not Path(home).is_relative_to(virtual)


def test_shims_on_the_path_are_not_taken(kit: Kit, make_model: MakeModel, tmp_path: Path) -> None:
    shims = tmp_path / "shims"
    shims.mkdir()
    mark = tmp_path / "mark"
    for name in ("python", "python3", f"python{PYTHON}"):
        (shims / name).write_text(f"#!/bin/sh\necho {name} >> {mark}\nexit 1\n")
        (shims / name).chmod(0o755)
    path = f"{shims}{os.pathsep}{os.environ['PATH']}"
    done = cli("build", make_model(), environ=cli_environ(kit.home, kit.index.url, PATH=path))
    assert done.returncode == 0, done.stderr
    assert not mark.exists()


def test_a_broken_python_on_the_path_is_passed_over(kit: Kit, make_model: MakeModel, tmp_path: Path) -> None:
    broken = tmp_path / "bin"
    broken.mkdir()
    (broken / f"python{PYTHON}").write_text("#!/bin/sh\nexit 1\n")
    (broken / f"python{PYTHON}").chmod(0o755)
    path = f"{broken}{os.pathsep}{os.environ['PATH']}"
    done = cli("build", make_model(), environ=cli_environ(kit.home, kit.index.url, PATH=path))
    assert done.returncode == 0, done.stderr


def test_another_python_is_another_environment(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("alpha", "1.0"))
    model = make_model(pip=["alpha"])
    first = kit.build(model)
    second = kit.build(model, python="3.10")
    assert second.was_built
    assert second.environment.interpreter.minor == "3.10"
    assert first.environment.lock_hash != second.environment.lock_hash
    assert kit.build(model).was_built is False
