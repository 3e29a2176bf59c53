"""Locks by the pip engine: real pip-tools under a real Python, with an index of our own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from folder_served import served
from kit import REPO, Kit, codes, versions
from local_index import LocalIndex
from tiny import AFTER, PYTHON, File, backend, metadata, own_sdist, pyproject, sdist, setup_py, wheel

from envbuild import interpreters, pipeline, uv
from envbuild.dated_index.index import DatedIndex
from envbuild.errors import IndexUnreachable, LockError, Unresolvable
from envbuild.indexes import Indexes
from envbuild.pip import making
from envbuild.settings import Settings
from envbuild.target import here

# Real builds by pips of many years.
pytestmark = pytest.mark.slow

MakeModel = Callable[..., Path]
PINS = {"pip": "22.3.1", "setuptools": "65.5.1", "wheel": "0.38.4"}
# The tools are made already: nothing of these is run.
NAMED = tuple(wheel(name, version) for name, version in PINS.items())


@pytest.fixture(scope="session")
def tools(shared_home: Path) -> Path:
    """The folder of a store that holds pip's tools, made from the real index once and kept."""
    known = Settings.from_environ({}, home=shared_home, python_downloads=False)
    found = interpreters.find(PYTHON, known)
    with DatedIndex(Indexes(), uv.default_index(shared_home), home=shared_home) as real:
        return making.make_tools(found, PINS, real.url, known, lambda step: None, with_pip_tools=True).python.parents[2]


@pytest.fixture
def kit(home: Path, local_index: LocalIndex, tools: Path) -> Kit:
    (home / "pip").mkdir(parents=True)
    (home / "pip" / "tools").symlink_to(tools)
    local_index.add(*NAMED)
    return Kit(home, local_index, {"engine": "pip"})


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder that plain HTTP serves, and its URL."""
    folder = tmp_path / "web"
    folder.mkdir()
    with served(folder) as url:
        yield folder, url


def repository(place: Path) -> str:
    """A git repository with one package, and its commit."""
    place.mkdir()
    (place / "pyproject.toml").write_text(pyproject("tiny-backend"))
    (place / "PKG-INFO").write_text(metadata("versioned", "1.0", requires=["beta"]))
    (place / "versioned.py").write_text("value = 1\n")
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    for words in (
        ("init", "-q", "-b", "main"),
        ("add", "-A"),
        (*who, "commit", "-q", "-m", "first"),
        ("update-server-info",),
    ):
        subprocess.run(["git", *words], cwd=place, check=True)
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=place, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_the_file_that_is_locked_is_the_one_that_pip_would_take(kit: Kit, make_model: MakeModel) -> None:
    target = here(PYTHON)
    own_tag = f"{target.python}-{target.python}-{target.platform}"
    local = wheel("local", "1.0", requires=["beta"], extras={"x": ["delta"]})
    kit.index.add(
        wheel("alpha", "1.0", requires=["Beta>=1"]),
        wheel("alpha", "2.0", uploaded=AFTER),
        wheel("beta", "1.0"),
        wheel("beta", "1.0", tag=own_tag),
        wheel("beta", "1.0", tag="cp38-cp38-win_amd64"),
        wheel("delta", "0.1"),
    )
    model = make_model(
        pip=["alpha", "absent==1.0; python_version < '3'", f"./{local.name}[x]"], files={local.name: local.content}
    )
    lock = kit.lock(model).lock
    assert (lock.origin.engine, lock.origin.as_of) == ("pip", "2021-06-16T12:00:00Z")
    assert {one.name: (one.version, one.dependencies) for one in lock.packages} == {
        "alpha": ("1.0", ("beta",)),
        "beta": ("1.0", ()),
        "delta": ("0.1", ()),
        "local": ("1.0", ("beta", "delta")),
    }
    (beta,) = (one for one in lock.packages if one.name == "beta")
    assert (beta.kind, beta.file_name, beta.uploaded is not None) == ("wheel", f"beta-1.0-{own_tag}.whl", True)
    (found,) = (one for one in lock.packages if one.name == "local")
    assert (found.kind, found.path, found.sha256) == ("archive", local.name, local.sha256)


def test_of_two_builds_of_a_wheel_the_later_one_is_locked(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(*(wheel("alpha", "1.0", tag=f"{number}-py3-none-any") for number in ("1", "10", "2")))
    (alpha,) = kit.lock(make_model(pip=["alpha"])).lock.packages
    assert alpha.file_name == "alpha-1.0-10-py3-none-any.whl"


def test_both_engines_lock_the_same_of_every_kind(kit: Kit, make_model: MakeModel, web: tuple[Path, str]) -> None:
    target = here(PYTHON)
    own_tag = f"{target.python}-{target.python}-{target.platform}"
    kit.index.add(
        backend(),
        wheel("alpha", "1.0", requires=["Beta>=1", 'delta; extra == "more"'], extras={"more": ["delta"]}),
        wheel("alpha", "2.0", uploaded=AFTER),
        wheel("beta", "1.0"),
        wheel("beta", "1.0", tag=own_tag),
        wheel("beta", "1.0", tag="cp38-cp38-win_amd64"),
        own_sdist("beta", "1.0"),
        wheel("delta", "0.1"),
        own_sdist("epsilon", "3.0"),
    )
    folder, url = web
    commit = repository(folder / "work")
    archived, sourced = wheel("archived", "1.0", requires=["delta"]), own_sdist("sourced", "2.0")
    for file in (archived, sourced):
        (folder / file.name).write_bytes(file.content)
    local, packed = wheel("local", "1.0", extras={"x": ["epsilon"]}), own_sdist("packed", "4.0")
    model = make_model(
        pip=[
            "alpha[more]",
            "absent==1.0; python_version < '3'",
            f"git+{url}/work/.git@main",
            f"{url}/{archived.name}",
            f"sourced @ {url}/{sourced.name}",
            f"./wheels/{local.name}[x]",
            f"./{packed.name}",
            "./code/own",
        ],
        files={
            f"wheels/{local.name}": local.content,
            packed.name: packed.content,
            "code/own/pyproject.toml": pyproject("tiny-backend"),
            "code/own/PKG-INFO": metadata("own", "1.0", requires=["beta"]),
            "code/own/own.py": "value = 3\n",
        },
    )
    by_pip, by_uv = kit.lock(model).lock, kit.lock(model, engine="uv").lock
    assert (by_pip.origin.engine, by_uv.origin.engine) == ("pip", "uv")
    assert by_pip.packages == by_uv.packages
    assert by_pip.hash == by_uv.hash
    assert [one.file_name for one in by_pip.packages if one.name == "beta"] == [f"beta-1.0-{own_tag}.whl"]
    assert [one.commit for one in by_pip.packages if one.name == "versioned"] == [commit]
    assert {one.name: one.dependencies for one in by_pip.packages}["alpha"] == ("beta", "delta")


@pytest.mark.parametrize(
    ("code", "files", "asked", "found"),
    [
        (
            "younger-pin",
            [wheel("alpha", "1.0"), wheel("alpha", "2.0", uploaded=AFTER)],
            ["alpha==2.0"],
            {"alpha": "2.0"},
        ),
        (
            "pins-as-they-are",
            [
                wheel("alpha", "1.0", requires=["beta>=2", "gamma"]),
                wheel("beta", "1.0"),
                wheel("beta", "2.0"),
                wheel("gamma", "1.0"),
            ],
            ["alpha==1.0", "beta==1.0"],
            {"alpha": "1.0", "beta": "1.0", "gamma": "1.0"},
        ),
        ("wheels-first", [own_sdist("numpy", "1.0")], ["numpy"], {"numpy": "1.0"}),
    ],
    ids=["younger-pin", "pins-as-they-are", "wheels-first"],
)
def test_repairs_answer_what_pip_says(
    kit: Kit, make_model: MakeModel, code: str, files: list[File], asked: list[str], found: dict[str, str]
) -> None:
    kit.index.add(backend(), *files)
    locked = kit.lock(make_model(pip=asked))
    assert code in codes(locked)
    assert versions(locked) == found
    assert not any("envbuild.x" in notice.message for notice in locked.notices)


def test_what_cannot_be_met_is_said_with_its_place(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("alpha", "1.0", requires=["beta>=2"]), wheel("beta", "1.0"))
    model = make_model(pip=["alpha==1.0"])
    with pytest.raises(Unresolvable, match=r"alpha==1\.0 depends on beta>=2") as failure:
        kit.lock(model)
    assert any(str(model / "conda.yaml") in line and "alpha==1.0" in line for line in failure.value.details)


def test_an_sdist_that_says_nothing_of_itself_is_said_with_its_words(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(sdist("broken", "1.0", {"setup.py": "raise SystemExit('pg_config executable not found')\n"}))
    with pytest.raises(LockError, match=r"broken==1\.0") as failure:
        kit.lock(make_model(pip=["broken"]))
    assert "libpq-dev" in (failure.value.hint or "")
    assert any("pg_config" in line for line in failure.value.details)


def test_an_sdist_that_says_nothing_is_known_by_a_wheel_for_other_machines(kit: Kit, make_model: MakeModel) -> None:
    script = {"setup.py": "raise SystemExit('no compiler')\n"}
    other = wheel("alpha", "1.0", tag="cp38-cp38-win_amd64", requires=["beta"])
    kit.index.add(sdist("alpha", "1.0", script), other, wheel("beta", "1.0"), wheel("beta", "2.0", uploaded=AFTER))
    locked = kit.lock(make_model(pip=["alpha==1.0"]))
    assert versions(locked) == {"alpha": "1.0", "beta": "1.0"}
    (alpha,) = (one for one in locked.lock.packages if one.name == "alpha")
    assert (alpha.kind, alpha.file_name) == ("sdist", "alpha-1.0.tar.gz")


def test_a_setup_script_that_fails_by_itself_is_asked_through_its_backend(
    kit: Kit, make_model: MakeModel, build_tools: tuple[File, ...]
) -> None:
    before = "import sys\nif 'setuptools.build_meta' not in sys.modules:\n    raise SystemExit('not like this')\n"
    script = setup_py("alpha", "1.0", "install_requires=['beta']", before=before)
    kit.index.files = [file for file in kit.index.files if file not in NAMED]
    kit.index.add(*build_tools, sdist("alpha", "1.0", {"setup.py": script, "alpha.py": ""}), wheel("beta", "1.0"))
    assert versions(kit.lock(make_model(pip=["alpha==1.0"]))) == {"alpha": "1.0", "beta": "1.0"}


def test_an_sdist_that_does_not_say_what_it_is_built_with_is_asked_with_it(
    kit: Kit, make_model: MakeModel, build_tools: tuple[File, ...]
) -> None:
    script = setup_py("alpha", "1.0", "install_requires=['beta']", before="import helper")
    kit.index.files = [file for file in kit.index.files if file not in NAMED]
    kit.index.add(*build_tools, sdist("alpha", "1.0", {"setup.py": script, "alpha.py": ""}))
    kit.index.add(wheel("beta", "1.0"), wheel("helper", "1.0"))
    locked = kit.lock(make_model(pip=["alpha==1.0"]))
    assert codes(locked) == ["build-needs"]
    assert versions(locked) == {"alpha": "1.0", "beta": "1.0"}
    (build,) = locked.lock.build
    assert "helper" in {package.name for package in build.packages}
    with pytest.raises(LockError, match="could not be"):
        kit.lock(make_model(pip=["alpha==1.0"]), deny_repair=("build-needs",))


def test_what_is_overridden_is_asked_for_anew_by_a_resolver_that_remembers(
    kit: Kit, make_model: MakeModel, shared_home: Path
) -> None:
    # pip-tools 5.5 resolves by itself, and keeps what it learned of a release from run to run.
    pins = {"pip": "20.2.4", "setuptools": "40.8.0", "wheel": "0.33.1"}
    known = Settings.from_environ({}, home=shared_home, python_downloads=False)
    with DatedIndex(Indexes(), uv.default_index(shared_home), home=shared_home) as real:
        making.make_tools(
            interpreters.find("3.6", known), pins, real.url, known, lambda step: None, with_pip_tools=True
        )
    kit.index.files = [file for file in kit.index.files if file not in NAMED]
    kit.index.add(
        *(wheel(name, version) for name, version in pins.items()),
        wheel("alpha", "1.0", requires=["beta>=2"]),
        wheel("gamma", "1.0", requires=["delta>=2"]),
        *(wheel(name, version) for name in ("beta", "delta") for version in ("1.0", "2.0")),
    )
    locked = kit.lock(make_model(python="3.6", pip=["alpha==1.0", "beta==1.0", "gamma==1.0", "delta==1.0"]))
    assert "pins-as-they-are" in codes(locked)
    assert versions(locked) == {"alpha": "1.0", "beta": "1.0", "gamma": "1.0", "delta": "1.0"}


def test_an_index_that_fails_is_no_contradiction(kit: Kit, make_model: MakeModel) -> None:
    kit.index.status = 503
    with pytest.raises(IndexUnreachable, match="503"):
        kit.lock(make_model(pip=["alpha"]))


def test_pip_locks_for_this_machine_alone(kit: Kit, make_model: MakeModel) -> None:
    known = kit.settings()
    asked = pipeline.ask(make_model(pip=["alpha"]), known)
    with pytest.raises(LockError, match="alone") as failure:
        pipeline.lock(asked, known, platform="manylinux_2_17_aarch64")
    assert "--engine uv" in (failure.value.hint or "")


def test_what_is_removed_goes_with_what_it_alone_asked_for(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(
        wheel("alpha", "1.0", requires=["beta", "delta"]),
        wheel("beta", "1.0", requires=["gamma", "delta"]),
        wheel("gamma", "1.0"),
        wheel("delta", "1.0"),
    )
    locked = kit.lock(make_model(pip=["alpha"]), remove=("beta",))
    assert versions(locked) == {"alpha": "1.0", "delta": "1.0"}
    assert [one.message for one in locked.notices if one.code == "override-removed-need"] == [
        "--remove beta: alpha asks for it, and goes without"
    ]


def with_broken_needs() -> File:
    """A wheel as they were made in 2018: what it needs is no requirement of today's."""
    return wheel("alpha", "1.0", requires=["beta (>=2011k)"])


def test_auto_takes_pip_where_uv_refuses_what_a_file_says(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(with_broken_needs(), wheel("beta", "2020.1"))
    model = make_model(pip=["alpha==1.0"])
    with pytest.raises(LockError) as refused:
        kit.lock(model, engine="uv")
    assert "--engine pip" in (refused.value.hint or "")
    locked = kit.lock(model, engine="auto")
    assert versions(locked) == {"alpha": "1.0", "beta": "2020.1"}
    assert locked.lock.origin.engine == "pip"
    assert next(one.message for one in locked.notices if one.code == "engine-pip").startswith("pip is used, since uv")


def test_where_both_fail_it_is_uv_that_is_heard(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(with_broken_needs())
    with pytest.raises(LockError, match="alpha") as failure:
        kit.lock(make_model(pip=["alpha==1.0"]), engine="auto")
    assert any(line.startswith("with pip: ") and "beta" in line for line in failure.value.details)
    assert "--engine" not in (failure.value.hint or "")


def test_auto_leaves_what_nobody_can_resolve_to_uv(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("alpha", "1.0"))
    with pytest.raises(Unresolvable) as failure:
        kit.lock(make_model(pip=["alpha>=2"]), engine="auto")
    assert not any("with pip" in line for line in failure.value.details)


def test_the_first_mlflow_is_locked_by_both_engines_alike(shared_home: Path) -> None:
    known = Settings.from_environ({}, home=shared_home, python_downloads=False, update=True)
    asked = pipeline.ask(REPO / "tests" / "models" / "py36_mlflow0_1" / "iris", known)
    by_pip = pipeline.lock(asked, replace(known, engine="pip")).lock
    by_uv = pipeline.lock(asked, known).lock
    assert by_pip.hash == by_uv.hash


def test_setup_scripts_are_built_with_what_old_pips_have(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(sdist("scripted", "1.0", {"setup.py": setup_py("scripted", "1.0"), "scripted.py": ""}))
    (build,) = kit.lock(make_model(pip=["scripted"])).lock.build
    assert {one.name: one.version for one in build.packages} == {"setuptools": "65.5.1", "wheel": "0.38.4"}
