"""What activating a prefix sets: found out once, kept in it, given to workers and to what runs in it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from envbuild.bridge.environ import PrivateDirectories, worker_environ
from envbuild.conda import activation
from envbuild.errors import BuildError, BuildTimedOut

Write = Callable[[str, str], None]


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    (tmp_path / "prefix" / "conda-meta").mkdir(parents=True)
    return tmp_path / "prefix"


@pytest.fixture
def write(prefix: Path) -> Write:
    """Writes a file of the prefix."""

    def to(path: str, text: str) -> None:
        (prefix / path).parent.mkdir(parents=True, exist_ok=True)
        (prefix / path).write_text(text)

    return to


def found(prefix: Path, *variables: tuple[str, str]) -> dict[str, str]:
    said = dict(activation.computed(prefix, variables, 30).variables)
    assert said.pop("CONDA_PREFIX") == said.pop("CONDA_DEFAULT_ENV") == str(prefix)
    return said


def test_scripts_run_in_the_order_of_their_names_and_see_the_prefix(prefix: Path, write: Write) -> None:
    write("etc/conda/activate.d/b.sh", 'export SECOND="$FIRST/more"')
    write("etc/conda/activate.d/a.sh", 'export FIRST="$CONDA_PREFIX/share"\nlocal_to_it=1')
    write("etc/conda/activate.d/c.fish", "set -x THIRD 3")
    assert found(prefix) == {"FIRST": f"{prefix}/share", "SECOND": f"{prefix}/share/more"}


def test_scripts_see_what_packages_and_conda_yaml_name_and_the_latter_goes_first(prefix: Path, write: Write) -> None:
    write("etc/conda/env_vars.d/one.json", json.dumps({"OF_PACKAGE": "1", "BOTH": "package", "GONE": "***unset***"}))
    write("etc/conda/activate.d/a.sh", 'export SEEN="$OF_PACKAGE $BOTH $OF_MODEL"; unset OF_MODEL')
    variables = [("BOTH", "model"), ("OF_MODEL", "a b")]
    assert found(prefix, *variables) == {"OF_PACKAGE": "1", "BOTH": "model", "SEEN": "1 model a b"}


def test_variables_are_there_without_any_script(prefix: Path) -> None:
    assert found(prefix, ("A", "1")) == {"A": "1"}


def test_what_goes_before_path_is_kept_apart(prefix: Path, write: Write) -> None:
    write("etc/conda/activate.d/a.sh", 'export PATH="$CONDA_PREFIX/lib/tool/bin:$PATH"')
    kept = activation.computed(prefix, [], 30)
    assert kept.path == (f"{prefix}/lib/tool/bin",)
    assert "PATH" not in kept.variables


def test_the_home_directory_is_whoever_runs_its_own(prefix: Path, write: Write) -> None:
    write("etc/conda/activate.d/a.sh", 'export CACHE_OF_IT="$HOME/.cache/it"')
    activation.keep(prefix, activation.computed(prefix, [], 30))
    read = activation.kept(prefix)
    assert read is not None
    assert read.at_home("/home/me")["CACHE_OF_IT"] == "/home/me/.cache/it"


@pytest.mark.parametrize("ending", ["exit 3", "false\nset -e\nfalse", "kill -KILL $$", "}}}"])
def test_what_was_set_counts_whatever_a_script_ends_with(prefix: Path, write: Write, ending: str) -> None:
    write("etc/conda/activate.d/a.sh", "export BEFORE=1")
    write("etc/conda/activate.d/b.sh", ending)
    if ending.startswith("kill"):
        with pytest.raises(BuildError, match="end their shell"):
            activation.computed(prefix, [], 30)
    else:
        assert found(prefix)["BEFORE"] == "1"


def test_a_script_that_does_not_end_is_ended(prefix: Path, write: Write) -> None:
    write("etc/conda/activate.d/a.sh", "while :; do sleep 1; done")
    with pytest.raises(BuildTimedOut, match=r"0\.5 seconds"):
        activation.computed(prefix, [], 0.5)


def test_a_file_of_variables_that_cannot_be_read_is_named(prefix: Path, write: Write) -> None:
    write("etc/conda/env_vars.d/bad.json", "[1]")
    with pytest.raises(BuildError, match=r"etc/conda/env_vars\.d/bad\.json"):
        activation.computed(prefix, [], 30)


def test_nothing_of_ours_reaches_a_script(prefix: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_TOKEN", "canary")
    write("etc/conda/activate.d/a.sh", 'export SAID="$A_TOKEN$HOME"')
    assert "canary" not in json.dumps(found(prefix))


def test_a_worker_gets_what_was_kept_below_what_the_deployer_says(prefix: Path, write: Write) -> None:
    write("etc/conda/activate.d/a.sh", 'export PATH="$CONDA_PREFIX/tool:$PATH" OMP_NUM_THREADS=3 SET=1 H="$HOME/x"')
    activation.keep(prefix, activation.computed(prefix, [("OTHER", "2")], 30))
    private = PrivateDirectories()
    try:
        said = worker_environ(
            prefix / "bin" / "python", private, {"OMP_NUM_THREADS": "1"}, set_env={"SET": "deployer's"}
        )
    finally:
        private.remove()
    assert (said["OMP_NUM_THREADS"], said["SET"], said["OTHER"]) == ("3", "deployer's", "2")
    assert said["H"] == f"{private.home}/x"
    assert said["PATH"].split(":")[:2] == [f"{prefix}/bin", f"{prefix}/tool"]
    assert said["CONDA_PREFIX"] == str(prefix)
    assert "VIRTUAL_ENV" not in said


def test_the_shell_that_conda_has_says_the_same(prefix: Path, write: Write) -> None:
    """The same scripts sourced by bash, as conda does."""
    write("etc/conda/activate.d/a.sh", 'export A="${CONDA_PREFIX:?}" B="a  b" C="$(printf "x\\ny")"')
    sourced = subprocess.run(
        ["bash", "-c", f'. {prefix}/etc/conda/activate.d/a.sh; printf "%s|" "$A" "$B" "$C"'],
        env={"CONDA_PREFIX": str(prefix), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    said = found(prefix)
    assert f"{said['A']}|{said['B']}|{said['C']}|" == sourced
