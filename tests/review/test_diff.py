"""`envbuild diff`: what differs between two models, locks, environments and override files."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kit import Kit, cli, cli_environ
from tiny import PYTHON, backend, own_sdist, wheel

import envbuild
from envbuild import interpreters
from envbuild.errors import BuildError, LockInvalid, OverrideInvalid, UsageError
from envbuild.lock import Lock, LockedPackage
from envbuild.pylock import write_lock
from envbuild.review import difference
from envbuild.review.difference import Difference
from envbuild.target import Target

MakeModel = Callable[..., Path]


@pytest.fixture
def index(kit: Kit) -> None:
    kit.index.add(
        *(wheel("fruit", version) for version in ("1.0", "2.0")),
        wheel("cake", "1.0", requires=["fruit"]),
        wheel("tea", "1.0"),
        wheel("milk", "1.0"),
    )


@pytest.fixture
def one(make_model: MakeModel, index: None) -> Path:
    return make_model("one", pip=["cake", "fruit==1.0", "tea"])


@pytest.fixture
def other(make_model: MakeModel, index: None) -> Path:
    return make_model("other", pip=["cake", "fruit==2.0", "milk"])


def diff(kit: Kit, a: str | Path, b: str | Path, **settings: Any) -> Difference:
    return envbuild.diff(a, b, home=kit.home, index_url=kit.index.url, python_downloads=False, **settings)


def names(found: Difference) -> list[str]:
    return [f"{one.sign}{one.name}" for one in found.packages]


def run(kit: Kit, *words: str | Path, code: int) -> str:
    done = cli("diff", *words, environ=cli_environ(kit.home, kit.index.url))
    assert done.returncode == code, done.stderr
    return done.stdout if code in (0, 10) else done.stderr


def test_two_models_and_the_exit_code_of_a_pipeline(kit: Kit, one: Path, other: Path) -> None:
    a, b = kit.lock(one).lock.hash[:12], kit.lock(other).lock.hash[:12]
    assert run(kit, one, other, code=10).splitlines() == [
        f"a  {one}: 3 packages, Python 3.8, lock {a}",
        f"b  {other}: 3 packages, Python 3.8, lock {b}",
        "",
        "~ fruit  1.0 -> 2.0",
        "+ milk   1.0",
        "- tea    1.0",
        "",
        "1 added, 1 removed, 1 changed, 1 the same",
    ]
    assert run(kit, one, one, code=0) == f"no difference: 3 packages, Python 3.8, lock {a}\n"


def test_json_and_python_say_the_same(kit: Kit, one: Path, other: Path) -> None:
    answer = json.loads(run(kit, one, other, "--json", code=10))
    found = diff(kit, one, other)
    assert answer == {"schema_version": 1, "command": "diff", "ok": True, "notices": [], **found.to_dict()}
    assert (answer["equal"], answer["same"]) == (False, 1)
    assert [entry["name"] for entry in answer["added"]] == ["milk"]
    assert answer["changed"][0]["before"]["version"] == "1.0"
    assert answer["changed"][0]["after"]["file"] == "fruit-2.0-py3-none-any.whl"
    assert answer["a"]["kind"] == "model"


def test_another_python_is_a_difference(kit: Kit, make_model: MakeModel, index: None) -> None:
    found = diff(kit, make_model("a", pip=["tea"]), make_model("b", pip=["tea"], python="3.9"))
    assert (found.python, names(found), found.equal) == (("3.8", "3.9"), [], 1)
    assert found.target is not None
    assert found.target[0].startswith("cp38-")
    assert not found.is_equal


def test_a_lock_file_of_ours_is_read_whatever_python_it_is_for(kit: Kit, one: Path, tmp_path: Path) -> None:
    lock = kit.lock(one).lock
    (same := tmp_path / "pylock.toml").write_text(write_lock(lock))
    strange = Lock(python="3.6", target=Target("cp36", "macosx_11_0_arm64"), packages=lock.packages)
    (foreign := tmp_path / "pylock.mac.toml").write_text(write_lock(strange))
    assert diff(kit, one, same).is_equal
    found = diff(kit, same, foreign)
    assert (names(found), found.python) == ([], ("3.8", "3.6"))
    assert found.target is not None
    assert found.target[1] == "cp36-macosx_11_0_arm64"


def test_a_lock_of_another_tool_is_read_for_the_python_of_the_other_side(
    kit: Kit, make_model: MakeModel, tmp_path: Path
) -> None:
    kit.index.add(wheel("tea", "1.0", tag="cp38-none-any"), wheel("tea", "1.0", tag="cp311-none-any"))
    model = make_model(pip=["tea"])
    file = tmp_path / "pylock.uv.toml"
    (tmp_path / "in.txt").write_text("tea\n")
    words = ["pip", "compile", "in.txt", "--universal", "--format", "pylock.toml", "--no-config", "-q", "-o", str(file)]
    words += ["--python", interpreters.find(PYTHON, kit.settings()).executable, "--index-url", kit.index.url]
    subprocess.run([sys.executable, "-m", "uv", *words, "--cache-dir", kit.home / "uv"], check=True, cwd=tmp_path)
    for found in (diff(kit, model, file), diff(kit, file, model)):
        assert (found.is_equal, found.equal, found.python) == (True, 1, None)
    assert diff(kit, model, file).b.lock_hash is None
    assert diff(kit, file, file).is_equal


def test_an_environment_is_named_by_its_hash_or_its_directory(kit: Kit, one: Path, other: Path) -> None:
    built = kit.build(one)
    by_hash = diff(kit, built.environment.lock_hash[:10], other)
    assert (by_hash.a.kind, names(by_hash)) == ("environment", ["~fruit", "+milk", "-tea"])
    assert diff(kit, built.environment.path, one).is_equal
    (built.environment.path / "pylock.toml").unlink()
    with pytest.raises(BuildError, match="cannot be read"):
        diff(kit, built.environment.path, one)
    built.lease.release()


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_an_override_file_stands_for_the_model_under_it(kit: Kit, one: Path, tmp_path: Path) -> None:
    new = write(tmp_path / "new.yaml", "set:\n- fruit==2.0\nremove:\n- tea\n")
    assert names(diff(kit, one, new)) == ["~fruit", "-tea"]
    assert names(diff(kit, new, one)) == ["~fruit", "+tea"]
    milk = write(tmp_path / "milk.yaml", "set:\n- fruit==2.0\nadd:\n- milk\n")
    found = diff(kit, new, milk, model=one)
    assert (names(found), found.b.label) == (["+milk", "+tea"], f"{one} with {milk}")
    lines = run(kit, new, milk, "--model", one, code=10).splitlines()
    assert "+ tea   1.0" in lines


def digest(line: bytes) -> str:
    return hashlib.sha256(line + b"\n").hexdigest()[:12]


def test_two_override_files_without_a_model_are_compared_entry_by_entry(kit: Kit, tmp_path: Path) -> None:
    (tmp_path / "bounds.txt").write_text("tea<2\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "bounds.txt").write_text("tea<3\n")
    a = write(
        tmp_path / "a.yaml",
        "set:\n- Fruit==1.0\n- fruit!=1.5\nremove: [tea]\npython: '3.9'\nconstraint: bounds.txt\nno_build: true\n"
        "index_url: https://user:word@index.example/simple\n",
    )
    b = write(
        tmp_path / "b.yaml",
        "set:\n- fruit==2.0\nremove: [tea]\nconstraint: more/bounds.txt\nonly_binary: [tea, milk]\n"
        "index_url: https://other:word@index.example/simple\n",
    )
    lines = run(kit, a, b, code=10).splitlines()
    assert lines[:2] == [f"a  {a}: 6 entries", f"b  {b}: 5 entries"]
    assert [line for line in lines[3:] if line] == [
        f"~ constraint   bounds.txt, another bounds.txt: {digest(b'tea<2')} -> {digest(b'tea<3')}",
        "- no_build     True",
        "+ only_binary  tea milk",
        "- python       3.9",
        "~ set fruit    ==1.0, !=1.5 -> ==2.0",
        "1 added, 2 removed, 2 changed, 2 the same",
    ]
    assert "word" not in json.dumps(diff(kit, a, b).to_dict())
    assert diff(kit, a, a).is_equal


def test_an_override_file_needs_a_model(kit: Kit, one: Path, tmp_path: Path) -> None:
    lock = write(tmp_path / "pylock.toml", write_lock(kit.lock(one).lock))
    file = write(tmp_path / "new.yaml", "set:\n- fruit==2.0\n")
    with pytest.raises(UsageError, match="no model that it could change"):
        diff(kit, lock, file)
    assert names(diff(kit, lock, file, model=one)) == ["~fruit"]
    with pytest.raises(OverrideInvalid):
        diff(kit, one, write(tmp_path / "bad.yaml", "sett: [a]\n"))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("./nothing", "there is no ./nothing"),
        ("nothing.toml", "there is no nothing.toml"),
        ("", "an empty name"),
        ("two words", "there is no two words"),
        ("folder", "neither an MLmodel nor an environment"),
        ("notes.txt", "neither a lock nor an override file"),
        ("abcdef0", "no environment's lock hash begins so"),
        ("abc", "too short for a lock hash"),
    ],
)
def test_what_cannot_be_compared_is_an_error_that_says_what_can(
    kit: Kit, one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UsageError, match=said) as caught:
        diff(kit, name, one)
    assert "an image's name" in caught.value.details


def test_a_name_that_is_nothing_is_a_wrong_call(kit: Kit, one: Path) -> None:
    said = run(kit, one, "no.such.file.yaml", code=2)
    assert "there is no no.such.file.yaml" in said
    assert "an override file (NAME.yaml)" in said


def test_a_damaged_lock_file_says_so(kit: Kit, one: Path, tmp_path: Path) -> None:
    for text in ("this is no toml", "[tool.envbuild]\nversion = 1\n", 'lock-version = "1.0"\ntool = 3\n'):
        with pytest.raises(LockInvalid):
            diff(kit, write(tmp_path / "pylock.toml", text), one)


def package(name: str = "fruit", **more: Any) -> LockedPackage:
    return LockedPackage(**{"name": name, "version": "1.0", "kind": "wheel", "sha256": "a" * 64, **more})


def between(a: LockedPackage, b: LockedPackage, *, foreign: bool = False) -> Difference:
    target = Target("cp38", "manylinux_2_31_x86_64")
    first, second = (Lock(python="3.8", target=target, packages=(one,)) for one in (a, b))
    return difference.of(difference.side_of_lock(first, "a"), difference.side_of_lock(second, "b", foreign=foreign))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (package(), package(sha256="b" * 64)),
        (package(), package(extras=("jam",))),
        (package(version=None), package()),
        (
            package(kind="vcs", commit="a" * 40, sha256="", subdirectory="x"),
            package(kind="vcs", commit="a" * 40, sha256="", subdirectory="y"),
        ),
    ],
)
def test_a_package_of_one_version_may_be_another(a: LockedPackage, b: LockedPackage) -> None:
    found = between(a, b)
    assert (names(found), found.equal, found.is_equal) == (["~fruit"], 0, False)
    assert between(a, a).is_equal


def test_what_a_foreign_lock_does_not_say_is_no_difference() -> None:
    assert between(package(extras=("jam",)), package(), foreign=True).is_equal
    inside = package(kind="directory", path="code/fruit")
    assert between(inside, package(kind="directory", path="code/fruit", sha256=""), foreign=True).is_equal


def test_what_an_sdist_is_built_with_is_a_difference(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(backend(), own_sdist("jam", "1.0"))
    model = make_model(pip=["jam"])
    before = kit.lock(model).lock
    kit.index.add(backend(version="2.0"))
    after = kit.lock(model, update=True).lock
    found = difference.of(difference.side_of_lock(before, "a"), difference.side_of_lock(after, "b"))
    (change,) = found.builds
    assert (change.built, change.name, names(found), found.is_equal) == ("jam", "tiny-backend", [], False)
    assert found.to_dict()["builds"][0]["builds"] == "jam"
