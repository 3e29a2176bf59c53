"""The Java of a Spark model: found before its worker is started, or asked for."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flavor import write_flavor
from kit import Kit, cli_environ
from tiny import wheel

from envbuild.bridge import WorkerOptions
from envbuild.bridge.java import found
from envbuild.bridge.spark import need_of
from envbuild.errors import SystemPackageMissing

# What a real one says, as far as it is looked at.
JAVA = """#!/bin/sh
cat >&2 <<END
Property settings:
    java.home = {home}
    java.specification.version = {version}
    java.version = {version}.0.1

openjdk version "{version}.0.1" 2026-01-20
END
exit {status}
"""
Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Puts a Java of some version somewhere, and gives back its home."""

    def installed(version: str, name: str = "", *, status: int = 0, program: Path | None = None) -> Path:
        home = tmp_path / (name or f"java-{version}")
        program = program or home / "bin" / "java"
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(JAVA.format(home=home, version=version, status=status))
        program.chmod(0o755)
        return home

    return installed


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Gives this process the variables by which a Java is found."""

    def named(*, java_home: Path | None = None, path: Path | None = None) -> None:
        monkeypatch.delenv("JAVA_HOME", raising=False)
        if java_home is not None:
            monkeypatch.setenv("JAVA_HOME", str(java_home))
        if path is not None:
            monkeypatch.setenv("PATH", f"{path}{os.pathsep}{os.environ['PATH']}")

    return named


@pytest.mark.parametrize(
    ("version", "fits", "does_not"),
    [
        ("2.4.8", [8], [7, 11, 17]),
        ("3.0.0", [8, 11], [17]),
        ("3.2.4", [8, 11], [17, 21]),
        ("3.3.0", [8, 11, 17], [7, 18, 21]),
        ("3.5.3", [8, 11, 17, 21, 22], [23, 25]),
        ("4.0.0", [17, 21], [8, 11, 25]),
        ("4.1.0", [17, 21, 25], [11]),
        ("4.2.0.dev3", [17, 25], [11]),
        ("3.4.1+amzn.2", [17], [21]),
        ("", [8, 25], []),
        ("of our own", [8, 25], []),
    ],
)
def test_each_release_of_spark_has_its_javas(version: str, fits: list[int], does_not: list[int]) -> None:
    need = need_of(version)
    assert [major for major in fits if not need.fits(major)] == []
    assert [major for major in does_not if need.fits(major)] == []


def test_the_one_that_java_home_names_is_taken(install: Install, known: Any) -> None:
    known(java_home=install("17"))
    java = found(need_of("3.5.3"), WorkerOptions())
    assert (java.major, java.named, java.home.name) == (17, "JAVA_HOME", "java-17")


def test_java_8_calls_itself_1_8(install: Install, known: Any) -> None:
    known(java_home=install("1.8"))
    assert found(need_of("3.5.3"), WorkerOptions()).major == 8


def test_one_on_path_stands_in_for_a_java_home_that_does_not_fit(install: Install, known: Any) -> None:
    path = install("17").joinpath("bin")
    known(java_home=install("25"), path=path)
    java = found(need_of("3.5.3"), WorkerOptions())
    assert (java.major, java.named) == (17, "PATH")


def test_a_documented_one_goes_before_one_that_works(install: Install, known: Any) -> None:
    known(java_home=install("21"), path=install("11").joinpath("bin"))
    assert found(need_of("3.5.3"), WorkerOptions()).major == 11


def test_the_home_of_a_script_on_path_is_what_java_says_it_is(install: Install, known: Any, tmp_path: Path) -> None:
    home = install("17", program=tmp_path / "shims" / "java")
    known(path=tmp_path / "shims")
    assert found(need_of("3.5.3"), WorkerOptions()).home == home


def test_one_that_does_not_run_is_none(install: Install, known: Any) -> None:
    known(java_home=install("17", "broken", status=1), path=install("11").joinpath("bin"))
    assert found(need_of("3.5.3"), WorkerOptions()).major == 11


@pytest.mark.parametrize("by", ["set", "pass"])
def test_one_that_the_deployer_names_is_taken_as_it_is(install: Install, known: Any, by: str) -> None:
    known(java_home=install("25"), path=install("17").joinpath("bin"))
    given: dict[str, Any] = (
        {"set_env": {"JAVA_HOME": str(install("25"))}} if by == "set" else {"pass_env": ("JAVA_HOME",)}
    )
    assert found(need_of("3.5.3"), WorkerOptions(**given)).major == 25


def test_one_that_the_deployer_names_must_be_there(install: Install, known: Any, tmp_path: Path) -> None:
    known(java_home=install("17"))
    with pytest.raises(SystemPackageMissing, match=r"none that runs in the JAVA_HOME given, /.*nowhere"):
        found(need_of("3.5.3"), WorkerOptions(set_env={"JAVA_HOME": str(tmp_path / "nowhere")}))


NO_JAVA = """
set -e
for place in /usr/lib/jvm /opt/java; do
    [ ! -d "$place" ] || mount -t tmpfs tmpfs "$place"
done
PATH=/usr/bin:/bin
export PATH
exec "$@"
"""


@pytest.fixture
def spark(kit: Kit, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A model of Spark's with a pyspark that is never reached, built; and the variables of the command line."""
    kit.index.add(wheel("pyspark", "3.5.3"), *(wheel(name, "1.0") for name in ("pip", "setuptools", "wheel", "mlflow")))
    facts = {"model_data": "sparkml", "pyspark_version": "3.5.3"}
    model = write_flavor(tmp_path / "model", "mlflow.spark", facts=facts, data="sparkml", pip=("pyspark==3.5.3",))
    kit.build(model)
    environ = cli_environ(kit.home, kit.index.url)
    environ.pop("JAVA_HOME", None)
    return model, environ


def predict(
    spark: tuple[Path, dict[str, str]], repo_python: list[str], *words: str, script: str = NO_JAVA, **more: str
) -> dict[str, Any]:
    argv = ["unshare", "-m", "sh", "-c", script, "sh", *repo_python, "predict", str(spark[0]), "-", "--json", *words]
    done = subprocess.run(
        argv, env={**spark[1], **more}, input='{"instances": [[1]]}', capture_output=True, text=True, check=False
    )
    assert done.returncode == 7, done.stderr
    error: dict[str, Any] = json.loads(done.stdout or done.stderr)["error"]
    return error


def test_without_any_java_the_model_is_not_started(spark: tuple[Path, dict[str, str]], repo_python: list[str]) -> None:
    error = predict(spark, repo_python)
    assert error["code"] == "system-package-missing"
    assert error["message"].startswith("pyspark 3.5.3 needs a Java, and none that runs is here: neither by JAVA_HOME")
    assert "openjdk-11-jre-headless, openjdk-17-jre-headless" in error["hint"]
    assert "JAVA_HOME" in error["hint"]


def test_with_a_java_that_spark_does_not_know_it_is_not_started(
    spark: tuple[Path, dict[str, str]], repo_python: list[str], install: Install
) -> None:
    home = install("25")
    error = predict(spark, repo_python, JAVA_HOME=str(home))
    assert error["message"] == "pyspark 3.5.3 runs on Java 8 or 11 or 17, and what is here is Java 25 (JAVA_HOME)"
