"""The pip engine's reading: what pip-tools answers and how it fails, in the forms of several years."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from types import MappingProxyType

import pytest
from packaging.version import Version

from envbuild.dated_index.index import DatedIndex
from envbuild.indexes import Indexes
from envbuild.interpreters import Interpreter
from envbuild.lock import LockedPackage
from envbuild.pip.running import Tools
from envbuild.process import Completed
from envbuild.projects import Project
from envbuild.repairs.attempt import Attempt, not_built
from envbuild.resolvers import pip_words, piptools, standins
from envbuild.resolvers.pip import own_builds
from envbuild.resolvers.piptools import Account
from envbuild.resolvers.standins import Metadata
from envbuild.sources import BuildSystem

NOTHING = MappingProxyType[str, Project]({})
CUT = datetime(2021, 6, 1, tzinfo=timezone.utc)
LATER = datetime(2022, 1, 1, tzinfo=timezone.utc)

BESIDE = """\
--index-url https://index.example/simple

alpha[more]==1.0 ; python_version < "4"
beta==2.0                 # via alpha, Gamma.Ray
gamma-ray==3.0+cpu        # via -r requirements.in (line 2)
"""
BELOW = """\
alpha[more]==1.0 ; python_version < "4"
    # via -r requirements.in
beta==2.0
    # via
    #   -c constraints.in
    #   alpha
    #   gamma-ray
gamma-ray==3.0+cpu
    # via -r requirements.in

# The following packages are considered to be unsafe in a requirements file:
pip==21.0
    # via -r requirements.in
"""


@pytest.mark.parametrize("text", [BESIDE, BELOW], ids=["beside", "below"])
def test_who_asked_is_read_in_both_forms(text: str) -> None:
    resolved, parents = piptools._read(text)
    resolved.pop("pip", None)
    assert resolved == {"alpha": "1.0", "beta": "2.0", "gamma-ray": "3.0+cpu"}
    assert parents["beta"] == {"alpha", "gamma-ray"}
    assert parents["alpha"] == parents["gamma-ray"] == frozenset()


def test_what_pip_tools_learned_of_other_releases_does_not_count() -> None:
    known = {"Alpha": {"1.0[more]": ["Beta>=1"], "0.9": ["gamma"]}, "beta": {"2.0": []}}
    assert piptools._learned(known, {"alpha": "1.0", "beta": "2.0", "gamma": "1"}) == {"beta": {"alpha"}}


def words_of(
    tmp_path: Path,
    attempt: Attempt,
    projects: dict[str, Project] | None = None,
    stderr: str = "the last words\n",
    **account: object,
) -> str:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "beta-1.0-py3-none-any.whl").write_bytes(b"")
    (tmp_path / "files" / "numpy-1.0.tar.gz").write_bytes(b"")
    done = Completed(argv=(), returncode=1, stdout="", stderr=stderr, seconds=0.0)
    indexes = Indexes(find_links=(str(tmp_path / "files"),), alone=True)
    index = DatedIndex(indexes, "", home=tmp_path)
    known = NOTHING if projects is None else projects
    return pip_words.in_uvs_form(Account(done=done, **account), attempt, index, lambda names: known)  # type: ignore[arg-type] # a test's own


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        (("alpha==5", None), "there is no version of alpha==5"),
        (("beta>=2", "alpha==1.0+envbuild.x0123456789ab"), "alpha==1.0 depends on beta>=2"),
        (("zeta", None), "zeta was not found in the package registry"),
        (("numpy", None), "Wheels are required for `numpy`"),
        (
            ("late==2.0", None),
            "`late` was filtered by `exclude-newer`. The requested version, v2.0, was published at 2022",
        ),
    ],
)
def test_what_is_missing_is_said_as_the_rules_read_it(
    tmp_path: Path, lacking: tuple[str, str | None], said: str
) -> None:
    attempt = Attempt(demands=(), cut=CUT, wheels_only=frozenset(["numpy"]))
    projects = {
        "alpha": Project("alpha", {Version("1.0"): None}),
        "late": Project("late", {Version("2.0"): LATER}),
    }
    assert said in words_of(tmp_path, attempt, projects, lacking=(lacking,))


@pytest.mark.parametrize(
    "words",
    [
        "No matching distribution found for beta>=2 (from alpha==1.0->-r requirements.in (line 1))",
        "Could not find a version that matches beta>=2 (from alpha==1.0->-r requirements.in (line 1))",
    ],
)
def test_where_the_exception_says_nothing_its_words_do(tmp_path: Path, words: str) -> None:
    attempt = Attempt(demands=(), cut=None)
    assert "alpha==1.0 depends on beta>=2" in words_of(tmp_path, attempt, errors=[["DistributionNotFound", words]])


def test_a_build_that_failed_names_its_release(tmp_path: Path) -> None:
    attempt = Attempt(demands=(), cut=None)
    errors = [["MetadataGenerationFailed", "metadata generation failed"]]
    said = words_of(tmp_path, attempt, errors=errors, building=("Py_Thing", "py-thing-1.2.tar.gz"))
    assert not_built(said) == "py-thing"
    assert "Failed to build `py-thing==1.2`" in said
    assert "the last words" in said


@pytest.mark.parametrize(
    ("asked", "is_built"), [("Py-Thing==1.2", True), ("py-thing>=1", True), ("py-thing>=2", False)]
)
def test_an_sdist_that_pip_passes_over_since_it_was_not_built_is_what_failed(
    tmp_path: Path, asked: str, *, is_built: bool
) -> None:
    words = (
        "  WARNING: Discarding index:/files/0123/py_thing-1.2.tar.gz#sha256=00 (from index:/simple/py-thing/) "
        "(requires-python:>=3.6). Command errored out with exit status 1: python setup.py egg_info\n"
    )
    said = words_of(tmp_path, Attempt(demands=(), cut=None), stderr=words, lacking=(("wheel", None), (asked, None)))
    assert not_built(said) == ("py-thing" if is_built else None)
    done = Completed(argv=(), returncode=1, stdout="", stderr=words, seconds=0.0)
    failed = pip_words.not_built(Account(done=done, lacking=((asked, None),)))
    assert failed == (("py-thing", "1.2") if is_built else None)


def test_a_stand_in_is_the_release_that_it_stands_for(tmp_path: Path) -> None:
    own = Metadata(name="own", version="1.0+cpu", requires=("beta>=2", 'Gamma; extra == "x"'), extras=("x",))
    version = standins.write(own.without({"beta"}), tmp_path)
    assert standins.without_mark(version) == "1.0+cpu"
    (path,) = tmp_path.iterdir()
    read = standins.read_wheel(path)
    assert (read.name, read.version, read.requires) == ("own", version, ('Gamma; extra == "x"',))
    assert standins.is_stand_in(version)
    assert not standins.is_stand_in("1.0+cpu")
    assert standins.without_mark(f"own=={version} is in the way") == "own==1.0+cpu is in the way"


def tools_with(pip: str) -> Tools:
    found = Interpreter(executable="python", version="3.6.15", abi="", platform="")
    versions = {"pip": pip, "setuptools": "39.2.0", "wheel": "0.31.1"}
    return Tools(python=Path("python"), interpreter=found, versions=versions, pip_tools="3.9.0")


@pytest.mark.parametrize(
    ("pip", "is_declared", "lines"),
    [
        ("9.0.3", True, ("setuptools==38.0", "wheel==0.31.1")),
        ("18.1", True, ("cython",)),
        ("18.1", False, ("setuptools==38.0", "wheel==0.31.1")),
        ("19.0.3", False, None),
    ],
)
def test_a_pip_without_pep_517_builds_with_its_environments_own_tools(
    pip: str, is_declared: bool, lines: tuple[str, ...] | None
) -> None:
    own = LockedPackage(name="setuptools", version="38.0", kind="wheel", sha256="")
    system = BuildSystem(requires=("cython",), backend="setuptools.build_meta", is_declared=is_declared)
    assert own_builds(tools_with(pip), [own])(system) == lines
