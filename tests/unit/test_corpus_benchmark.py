"""What the corpus benchmark says of a lock: its figures are quoted in the documentation."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType

import pytest
from samples import REPO

from envbuild.errors import Unresolvable
from envbuild.lock import Lock, LockedPackage, Origin
from envbuild.model import Notice, read_model
from envbuild.pipeline import Asked, Locked
from envbuild.spec import read_spec
from envbuild.target import Target


@pytest.fixture(scope="module")
def corpus() -> ModuleType:
    spec = importlib.util.spec_from_file_location("corpus_benchmark", REPO / "benchmarks" / "corpus.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def package(name: str, version: str, day: str | None) -> LockedPackage:
    uploaded = None if day is None else datetime.fromisoformat(day).replace(tzinfo=timezone.utc)
    return LockedPackage(name=name, version=version, kind="wheel", sha256=f"{name}-{version}", uploaded=uploaded)


@pytest.fixture
def locked(tmp_path: Path) -> Locked:
    (tmp_path / "MLmodel").write_text(
        "mlflow_version: 1.2.0\nutc_time_created: '2019-01-01 00:00:00'\n"
        "flavors: {python_function: {loader_module: mlflow.sklearn, python_version: 3.6.8}}\n"
    )
    model = read_model(tmp_path)
    packages = (package("mlflow", "1.2.0", "2018-12-31"), package("pip", "19.0", "2019-02-01"))
    notices = (Notice(code="build-tools-floor", message="setuptools, wheel and pip are taken as of 2019-03-01"),)
    origin = Origin(as_of="2019-01-02T00:00:00Z", notices=notices)
    lock = Lock(python="3.6.8", target=Target("cp36", "manylinux_2_31_x86_64"), packages=packages, origin=origin)
    asked = Asked(model=model, spec=read_spec(model), interpreter=None)
    return Locked(asked=asked, lock=lock, source="resolved", notices=notices)


def having(locked: Locked, *packages: LockedPackage, notice: Notice | None = None) -> Locked:
    notices = locked.notices if notice is None else (*locked.notices, notice)
    lock = replace(locked.lock, packages=packages, origin=replace(locked.lock.origin, notices=notices))
    return replace(locked, lock=lock, notices=notices)


def test_a_lock_of_its_time_is_era_correct(corpus, locked):
    assert corpus.era(locked) == ("yes", [])


def test_a_younger_package_offends_unless_it_was_let_in_by_name(corpus, locked):
    numpy = package("numpy", "1.17.0", "2019-07-26")
    assert corpus.era(having(locked, numpy)) == ("no: numpy 1.17.0 of 2019-07-26", ["numpy 1.17.0 of 2019-07-26"])
    notice = Notice(code="younger-pin", message="NumPy==1.17.0 was released on 2019-07-26; it is pinned, and let in")
    assert corpus.era(having(locked, numpy, notice=notice)) == ("yes", [])
    notice = Notice(code="younger-need", message="pandas, which was let in, needs a younger numpy; it is taken as of")
    assert corpus.era(having(locked, numpy, notice=notice)) == ("yes", [])
    pandas = package("pandas", "0.25.0", "2019-07-18")
    assert corpus.era(having(locked, pandas, notice=notice))[1] == ["pandas 0.25.0 of 2019-07-18"]


def test_build_tools_may_be_as_young_as_the_floor_and_no_younger(corpus, locked):
    assert corpus.era(having(locked, package("pip", "19.1", "2019-04-23")))[1] == ["pip 19.1 of 2019-04-23"]


def test_another_mlflow_than_the_one_stated_offends(corpus, locked):
    assert corpus.era(having(locked, package("mlflow", "1.1.0", "2018-12-01")))[1] == ["mlflow 1.1.0, made by 1.2.0"]


def test_files_without_upload_time_prove_nothing(corpus, locked):
    assert corpus.era(having(locked, package("six", "1.12.0", None))) == (
        "unknown: 1 files without upload time",
        ["six"],
    )


def test_the_compile_of_a_lock_is_not_that_of_its_build_requirements(corpus, locked, tmp_path):
    recorder = corpus.Recorder(tmp_path)
    answers = ("mlflow-1.2.0", "mlflow-1.2.0 pip-19.0", "pip-19.0")
    recorder.compiles = [corpus.Compile(argv=(), env={}, cwd=tmp_path, answer=answer) for answer in answers]
    assert recorder.compile_of(locked.lock) is recorder.compiles[1]


def test_failures_are_classed_by_what_they_are_about(corpus):
    error = Unresolvable("no set: Because there is no version of sklearn==0.24.1 and the model requires it")
    assert corpus.class_of(error) == "lock-unresolvable: no such release: sklearn==0.24.1"
    assert corpus.class_of(KeyError("x")) == "internal: KeyError"
