"""What a model brings itself, and what comes from a repository: wheels, directories, `-e`, git."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from folder_served import served
from kit import Kit, run_python, versions
from tiny import File, backend, metadata, own_sdist, pyproject, setup_py, wheel

from envbuild.errors import BuildError, HashMismatch
from envbuild.spec import digest_of

MakeModel = Callable[..., Path]


def listing(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Everything below a folder, with time and content."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
    }


def directory_files(name: str, at: str) -> dict[str, str]:
    """A directory that the tiny backend builds."""
    return {
        f"{at}/pyproject.toml": pyproject("tiny-backend"),
        f"{at}/PKG-INFO": metadata(name, "1.0"),
        f"{at}/{name}.py": "version = '1.0'\n",
    }


def test_a_wheel_inside_the_model_is_locked_by_its_hash_and_installed(kit: Kit, make_model: MakeModel) -> None:
    alpha = wheel("alpha", "1.0", requires=["beta"])
    kit.index.add(wheel("beta", "1.0"))
    model = make_model(pip=[f"./wheels/{alpha.name}"], files={f"wheels/{alpha.name}": alpha.content})
    before = listing(model)
    built = kit.build(model)
    (package, _) = built.locked.lock.packages
    assert (package.name, package.sha256, package.path) == ("alpha", alpha.sha256, f"wheels/{alpha.name}")
    assert run_python(built.environment.path, "import alpha, beta; print(alpha.version)") == "1.0"
    assert listing(model) == before


def test_an_sdist_inside_the_model_is_built(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(backend())
    alpha = own_sdist("alpha", "1.0")
    model = make_model(pip=[f"./{alpha.name}"], files={alpha.name: alpha.content})
    before = listing(model)
    built = kit.build(model)
    assert run_python(built.environment.path, "import alpha; print(alpha.version)") == "1.0"
    assert listing(model) == before


@pytest.mark.parametrize("option", ["", "-e "])
def test_a_directory_inside_the_model_is_built_once_without_writing_there(
    kit: Kit, make_model: MakeModel, option: str
) -> None:
    kit.index.add(backend())
    model = make_model(pip=[f"{option}./code/own"], files=directory_files("own", "code/own"))
    before = listing(model)
    built = kit.build(model)
    (package,) = built.locked.lock.packages
    assert (package.name, package.sha256) == ("own", digest_of(model / "code" / "own"))
    where = run_python(built.environment.path, "import own; print(own.__file__)")
    assert Path(where).is_relative_to(built.environment.path)
    assert listing(model) == before
    assert kit.build(model).was_built is False


def test_a_directory_with_a_setup_py_is_built_without_writing_there(
    kit: Kit, make_model: MakeModel, build_tools: tuple[File, ...]
) -> None:
    kit.index.add(*build_tools)
    model = make_model(pip=["./own"], files={"own/setup.py": setup_py("own", "1.0"), "own/own.py": "value = 3\n"})
    before = listing(model)
    built = kit.build(model)
    assert run_python(built.environment.path, "import own; print(own.value)") == "3"
    assert listing(model) == before


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", ["wheel", "directory"])
def test_what_was_changed_after_locking_is_refused(kit: Kit, make_model: MakeModel, kind: str) -> None:
    kit.index.add(backend())
    alpha = wheel("alpha", "1.0")
    files = {alpha.name: alpha.content} if kind == "wheel" else directory_files("alpha", "alpha")
    model = make_model(pip=[f"./{alpha.name}" if kind == "wheel" else "./alpha"], files=files)
    locked = kit.lock(model)
    if kind == "wheel":
        (model / alpha.name).write_bytes(wheel("alpha", "1.0", modules={"alpha.py": "more = 1\n"}).content)
    else:
        (model / "alpha" / "alpha.py").write_text("more = 1\n")
    from envbuild import pipeline

    with pytest.raises(HashMismatch, match="is locked") as failure:
        pipeline.build(locked, kit.settings())
    assert "--update" in (failure.value.hint or "")
    assert kit.build(model, update=True).was_built


def test_what_was_removed_after_locking_is_said(kit: Kit, make_model: MakeModel) -> None:
    alpha = wheel("alpha", "1.0")
    model = make_model(pip=[f"./{alpha.name}"], files={alpha.name: alpha.content})
    locked = kit.lock(model)
    (model / alpha.name).unlink()
    from envbuild import pipeline

    with pytest.raises(BuildError, match="has no alpha"):
        pipeline.build(locked, kit.settings())


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A git repository with one package that plain HTTP serves, and its URL."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "pyproject.toml").write_text(pyproject("tiny-backend"))
    (work / "PKG-INFO").write_text(metadata("alpha", "1.0"))
    (work / "alpha.py").write_text("value = 1\n")
    git(work, "init", "-q", "-b", "main")
    commit(work)
    with served(tmp_path) as url:
        yield work, f"git+{url}/work/.git"


def git(work: Path, *words: str) -> str:
    identity = {
        f"GIT_{who}_{what}": "tiny@index.example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    environ = {"PATH": os.environ["PATH"], "HOME": str(work), "GIT_CONFIG_NOSYSTEM": "1", **identity}
    done = subprocess.run(["git", *words], cwd=work, env=environ, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(work: Path) -> str:
    git(work, "add", ".")
    git(work, "commit", "-q", "-m", "more")
    git(work, "update-server-info")
    return git(work, "rev-parse", "HEAD")


@pytest.mark.sampled(3)
@pytest.mark.parametrize("written", ["alpha @ {}@main", "{}@main", "-e {}@main#egg=alpha"])
def test_a_git_requirement_is_locked_by_its_commit_and_built_from_it(
    kit: Kit, make_model: MakeModel, repository: tuple[Path, str], written: str
) -> None:
    work, url = repository
    kit.index.add(backend())
    first = git(work, "rev-parse", "HEAD")
    model = make_model(pip=[written.format(url)])
    locked = kit.lock(model)
    (package,) = locked.lock.packages
    assert (package.kind, package.commit) == ("vcs", first)
    (work / "alpha.py").write_text("value = 2\n")
    second = commit(work)
    built = kit.build(model)
    assert run_python(built.environment.path, "import alpha; print(alpha.value)") == "1"
    again = kit.build(model, update=True)
    assert again.locked.lock.packages[0].commit == second
    assert again.locked.lock.hash != locked.lock.hash
    assert run_python(again.environment.path, "import alpha; print(alpha.value)") == "2"


def test_a_package_by_url_is_locked_by_its_hash(kit: Kit, make_model: MakeModel) -> None:
    alpha = wheel("alpha", "1.0")
    kit.index.add(alpha)
    built = kit.build(make_model(pip=[f"alpha @ {kit.index.root}/files/{alpha.name}"]))
    (package,) = built.locked.lock.packages
    assert (package.kind, package.sha256) == ("archive", alpha.sha256)
    assert versions(built.locked) == {"alpha": "1.0"}
    assert run_python(built.environment.path, "import alpha; print(alpha.version)") == "1.0"
