"""An environment is exactly its lock, and stays so: manifest, verify, byte code, and files that are shared."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from kit import AS_NOBODY, Kit, cli, cli_environ, run_python
from tiny import File, own_sdist, wheel

from envbuild import environments, interpreters, pipeline
from envbuild.errors import BuildError, EnvironmentInUse, UsageError
from envbuild.store import MARKER, Store
from envbuild.store.manifest import MANIFEST
from envbuild.store.upkeep import Finding, Upkeep

MakeModel = Callable[..., Path]
SITE = "lib/python3.8/site-packages"


@pytest.fixture
def alpha(kit: Kit, make_model: MakeModel) -> Path:
    """A model with two wheels."""
    kit.index.add(wheel("alpha", "1.0", requires=["beta"]), wheel("beta", "1.0"))
    return make_model(pip=["alpha"])


def findings(kit: Kit, place: Path) -> list[Finding]:
    return Upkeep(Store(kit.settings())).findings(place)


def overwrite(path: Path, content: bytes) -> None:
    """As somebody would who may: the file stays the same file, and read-only."""
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(mode)


# What verify finds


def test_a_new_environment_is_as_it_was_built(kit: Kit, alpha: Path) -> None:
    place = kit.build(alpha).environment.path
    assert findings(kit, place) == []
    run_python(place, "import alpha, beta")
    assert findings(kit, place) == []


def test_every_file_is_in_the_manifest_with_its_permissions(kit: Kit, alpha: Path) -> None:
    place = kit.build(alpha).environment.path
    listed = {row[0]: row[1:] for row in json.loads((place / MANIFEST).read_text())["files"]}
    there = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_symlink() or not path.is_dir()}
    assert set(listed) == there - {MARKER, MANIFEST}
    for path in map(place.joinpath, listed):
        if not path.is_symlink():
            assert path.stat().st_mode & 0o222 == 0, path
            assert listed[str(path.relative_to(place))][0] == path.stat().st_size
    assert os.access(place / "bin" / "python", os.X_OK)


def flip(place: Path) -> None:
    path = place / SITE / "alpha.py"
    overwrite(path, path.read_bytes().replace(b"1.0", b"1.1"))


def upgrade(place: Path) -> None:
    old, new = place / SITE / "beta-1.0.dist-info", place / SITE / "beta-1.1.dist-info"
    old.rename(new)


def forge(place: Path) -> None:
    """A file and the manifest together, as somebody would who wants it not to be seen."""
    flip(place)
    content = json.loads((place / MANIFEST).read_text())
    for row in content["files"]:
        if row[0] == f"{SITE}/alpha.py":
            row[2] = "0" * 64
    overwrite(place / MANIFEST, json.dumps(content).encode())


DAMAGES: dict[str, tuple[Callable[[Path], object], tuple[str, str]]] = {
    "a flipped byte": (flip, ("changed", f"{SITE}/alpha.py")),
    "a file that is cut short": (lambda p: overwrite(p / SITE / "alpha.py", b""), ("changed", f"{SITE}/alpha.py")),
    "a missing file": (lambda p: (p / SITE / "beta.py").unlink(), ("missing", f"{SITE}/beta.py")),
    "an added file": (lambda p: (p / SITE / "evil.pth").write_text("import os"), ("added", f"{SITE}/evil.pth")),
    "added byte code": (
        lambda p: (p / SITE / "__pycache__" / "evil.cpython-38.pyc").write_bytes(b""),
        ("added", f"{SITE}/__pycache__/evil.cpython-38.pyc"),
    ),
    "changed byte code": (
        lambda p: overwrite(p / SITE / "__pycache__" / "alpha.cpython-38.pyc", b"x" * 300),
        ("changed", f"{SITE}/__pycache__/alpha.cpython-38.pyc"),
    ),
    "another mode": (lambda p: (p / SITE / "alpha.py").chmod(0o666), ("changed", f"{SITE}/alpha.py")),
    "another link": (
        lambda p: ((p / "bin" / "python").unlink(), (p / "bin" / "python").symlink_to("/bin/sh")),
        ("changed", "bin/python"),
    ),
    "a file in place of a link": (
        lambda p: ((p / "bin" / "python").unlink(), shutil.copy("/bin/sh", p / "bin" / "python")),
        ("changed", "bin/python"),
    ),
    "an upgraded package": (upgrade, ("upgraded", "beta")),
    "a package more": (lambda p: (p / SITE / "gamma-2.0.dist-info").mkdir(), ("added", "gamma")),
    "a package less": (lambda p: shutil.rmtree(p / SITE / "beta-1.0.dist-info"), ("missing", "beta")),
    "another lock": (lambda p: overwrite(p / "pylock.toml", b"lock-version = '1.0'"), ("changed", "pylock.toml")),
    "a forged manifest": (forge, ("changed", MANIFEST)),
    "no manifest": (lambda p: (p / MANIFEST).unlink(), ("changed", MANIFEST)),
    "a broken manifest": (lambda p: overwrite(p / MANIFEST, b"{"), ("changed", MANIFEST)),
    "no marker": (lambda p: (p / MARKER).unlink(), ("missing", MARKER)),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("how", DAMAGES)
def test_damage_is_found_named_and_repaired(kit: Kit, alpha: Path, how: str) -> None:
    damage, found = DAMAGES[how]
    built = kit.build(alpha, link_mode="copy")
    place = built.environment.path
    built.lease.release()
    damage(place)
    assert found in [(finding.kind, finding.what) for finding in findings(kit, place)]
    environ = cli_environ(kit.home, kit.index.url, ENVBUILD_LINK_MODE="copy")
    done = cli("verify", alpha, "--json", environ=environ)
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"]) == (5, "environment-damaged")
    assert any(found[1] in line and found[0] in line for line in error["details"])
    assert "Traceback" not in done.stderr
    repaired = cli("verify", alpha, "--repair", "--json", environ=environ)
    assert repaired.returncode == 0, repaired.stderr
    assert json.loads(repaired.stdout)["repaired"] == [built.environment.lock_hash]
    if how == "no marker":
        # A build that died leaves such; there is nothing to build again.
        assert not place.exists()
    else:
        assert findings(kit, place) == []
        assert cli("verify", "--all", environ=environ).returncode == 0
    assert run_python(kit.build(alpha).environment.path, "import alpha; print(alpha.version)") == "1.0"


def test_an_environment_that_is_in_use_is_not_built_again(kit: Kit, alpha: Path) -> None:
    built = kit.build(alpha, link_mode="copy")
    flip(built.environment.path)
    (one,) = environments.named(str(alpha), kit.settings())
    with pytest.raises(EnvironmentInUse, match="in use"):
        environments.build_again(one, kit.settings())
    built.lease.release()
    environments.build_again(one, kit.settings(link_mode="copy"))
    assert findings(kit, one.path) == []


def test_an_environment_is_built_again_from_its_own_lock(kit: Kit, alpha: Path) -> None:
    """Also where the model would resolve to another by now."""
    built = kit.build(alpha, link_mode="copy")
    built.lease.release()
    kit.index.add(wheel("beta", "1.5"))
    flip(built.environment.path)
    (one,) = environments.named(built.environment.lock_hash[:10], kit.settings())
    again = environments.build_again(one, kit.settings(update=True))
    assert again.environment.path == built.environment.path
    assert findings(kit, one.path) == []


def test_without_a_model_that_asked_for_it_nothing_is_thrown_away(kit: Kit, alpha: Path) -> None:
    built = kit.build(alpha, link_mode="copy")
    built.lease.release()
    (one,) = environments.named(str(alpha), kit.settings())
    shutil.rmtree(alpha)
    with pytest.raises(BuildError, match="none of the models"):
        environments.build_again(one, kit.settings())
    assert one.path.is_dir()


def test_environments_are_named_by_model_or_hash(kit: Kit, alpha: Path, make_model: MakeModel) -> None:
    with pytest.raises(UsageError, match="there is no environment of"):
        environments.named(str(alpha), kit.settings())
    built = kit.build(alpha)
    lock_hash = built.environment.lock_hash
    for text in (str(alpha), lock_hash, lock_hash[:6]):
        assert [one.path for one in environments.named(text, kit.settings())] == [built.environment.path]
    for text, says in (("0" * 12, "begins so"), (lock_hash[:5], "too short"), ("nowhere", "begins so")):
        with pytest.raises(UsageError, match=says):
            environments.named(text, kit.settings())
    assert not (kit.home / "store" / "v1" / "environments" / "nowhere").exists()


# RECORDs that are wrong, and wheels that overlap


def lying_wheel() -> File:
    """Its RECORD names a hash that its file does not have."""
    honest = wheel("alpha", "1.0", modules={"alpha.py": "version = 'one'\n"})
    other = wheel("alpha", "1.0", modules={"alpha.py": "version = 'two'\n"})
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(other.content)) as archive:
        record = archive.read("alpha-1.0.dist-info/RECORD")
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(honest.content)) as archive, zipfile.ZipFile(buffer, "w") as lying:
        for info in archive.infolist():
            lying.writestr(info, record if info.filename.endswith("RECORD") else archive.read(info))
    return File(honest.name, "alpha", buffer.getvalue(), honest.uploaded)


def test_a_wheel_that_lies_about_its_files_is_known_by_what_it_holds(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(lying_wheel(), wheel("beta", "1.0"))
    for pip in (["alpha"], ["alpha", "beta"]):
        place = kit.build(make_model(pip=pip), link_mode="copy").environment.path
        assert run_python(place, "import alpha; print(alpha.version)") == "one"
        assert findings(kit, place) == []
    overwrite(place / SITE / "alpha.py", b"version = 'two'\n")
    assert [finding.what for finding in findings(kit, place)] == [f"{SITE}/alpha.py"]


def test_byte_code_that_a_wheel_brings_gives_way_to_ours(kit: Kit, make_model: MakeModel) -> None:
    modules = {"alpha.py": "version = 'one'\n", "__pycache__/alpha.cpython-38.pyc": "not what is compiled of it"}
    kit.index.add(wheel("alpha", "1.0", modules=modules), wheel("beta", "1.0"))
    for pip in (["alpha"], ["alpha", "beta"]):
        place = kit.build(make_model(pip=pip), link_mode="copy").environment.path
        assert run_python(place, "import alpha; print(alpha.version)") == "one"
        assert findings(kit, place) == []
    overwrite(place / SITE / "__pycache__" / "alpha.cpython-38.pyc", b"not what is compiled of it")
    assert [finding.what for finding in findings(kit, place)] == [f"{SITE}/__pycache__/alpha.cpython-38.pyc"]


@pytest.mark.slow
@pytest.mark.parametrize("same", [True, False])
def test_wheels_that_hold_one_file_do_not_spoil_each_other(kit: Kit, make_model: MakeModel, same: bool) -> None:
    """Byte code belongs to the bytes that are there, and is kept for no wheel that has others."""
    ours, theirs = "who = 'alpha'\n", "who = 'alpha'\n" if same else "who = 'beta, which is longer'\n"
    kit.index.add(
        wheel("alpha", "1.0", modules={"shared_one.py": ours}), wheel("beta", "1.0", modules={"shared_one.py": theirs})
    )
    both = kit.build(make_model("both", pip=["alpha", "beta"])).environment.path
    text = (both / SITE / "shared_one.py").read_text()
    code = "import shared_one; print(shared_one.who)"
    assert f"who = {run_python(both, code)!r}\n" == text
    assert findings(kit, both) == []
    for name, expected in (("alpha", ours), ("beta", theirs)):
        alone = kit.build(make_model(name, pip=[name])).environment.path
        assert f"who = {run_python(alone, code)!r}\n" == expected
        assert list((alone / SITE / "__pycache__").glob("shared_one.*"))


# Byte code


@pytest.mark.sampled(3)
@pytest.mark.parametrize("python", ["3.6", "3.8", "3.10"])
def test_byte_code_is_compiled_once_and_used(kit: Kit, make_model: MakeModel, python: str) -> None:
    kit.index.add(wheel("alpha", "1.0"), wheel("beta", "1.0"), wheel("tested", "1.0", modules={"t/tests/x.py": ""}))
    first = kit.build(make_model("first", pip=["alpha", "tested"], python=python)).environment
    second = kit.build(make_model("second", pip=["alpha", "beta"], python=python)).environment
    site = f"lib/python{python}/site-packages"
    tag = f"cpython-{python.replace('.', '')}"
    (one,) = (path for path in (first.path / site / "__pycache__").iterdir() if path.name[0] != "_")
    assert one.name == f"alpha.{tag}.pyc"
    assert one.stat().st_ino == (second.path / site / "__pycache__" / one.name).stat().st_ino
    if python != "3.6":
        # Hash-based and unchecked (PEP 552): nothing of the machine or the day is in it.
        assert one.read_bytes()[4:8] == b"\x01\x00\x00\x00"
    code = "import importlib.util as u, sys; s = u.find_spec('alpha'); print(s.loader.get_code('alpha') is not None)"
    assert run_python(second.path, code) == "True"
    done = subprocess.run(
        [second.path / "bin" / "python", "-I", "-v", "-c", "import alpha, sys; print(alpha.__file__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"# {second.path / site / '__pycache__' / one.name} matches" in done.stderr
    assert done.stdout.strip() == str(second.path / site / "alpha.py")
    assert not list((first.path / site).glob("t/tests/__pycache__"))


def test_the_same_source_gives_the_same_byte_code(kit: Kit, alpha: Path) -> None:
    contents = []
    for _ in range(2):
        place = kit.build(alpha).environment.path
        contents.append((place / SITE / "__pycache__" / "alpha.cpython-38.pyc").read_bytes())
        for folder in ("bytecode", "store"):
            shutil.rmtree(kit.home / folder)
    assert contents[0] == contents[1]


def test_tracebacks_name_the_file_that_is_there(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("alpha", "1.0", modules={"alpha.py": "def fail():\n    raise ValueError('here')\n"}))
    place = kit.build(make_model(pip=["alpha"])).environment.path
    code = "import alpha, traceback\ntry: alpha.fail()\nexcept ValueError: print(traceback.format_exc())"
    assert f'File "{place / SITE / "alpha.py"}", line 2' in run_python(place, code)


def test_what_does_not_compile_is_installed_all_the_same(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("alpha", "1.0", modules={"alpha.py": "version = '1.0'\n", "old.py": "print 'python 2'\n"}))
    place = kit.build(make_model(pip=["alpha"])).environment.path
    assert run_python(place, "import alpha; print(alpha.version)") == "1.0"
    assert {path.name for path in (place / SITE / "__pycache__").iterdir()} == {
        "alpha.cpython-38.pyc",
        "_virtualenv.cpython-38.pyc",
    }
    assert findings(kit, place) == []


def test_an_sdist_is_compiled_by_what_it_was_built_into(kit: Kit, make_model: MakeModel) -> None:
    from tiny import backend

    kit.index.add(backend(), own_sdist("alpha", "1.0"))
    place = kit.build(make_model(pip=["alpha"])).environment.path
    assert (place / SITE / "__pycache__" / "alpha.cpython-38.pyc").exists()
    assert findings(kit, place) == []


# Sharing

WRITER = """
import alpha, os

class Model:
    def predict(self, data):
        said = []
        for name, mode in ((alpha.__file__, "a"), (alpha.__file__, "w"), (alpha.__cached__, "r+b")):
            try:
                with open(name, mode) as file:
                    file.write("version = 'spoiled'" if "b" not in mode else b"spoiled")
                said.append("written")
            except OSError as error:
                said.append(type(error).__name__)
        with open(os.path.join(os.path.dirname(alpha.__file__), "its_own_cache"), "w") as file:
            file.write("new files are its own affair")
        return said

def _load_pyfunc(path):
    return Model()
"""
AS_IN_A_CONTAINER = ("setpriv", "--bounding-set=-dac_read_search")


@pytest.mark.sampled(3)
@pytest.mark.parametrize("who", ["root", "nobody", "root in a container"])
def test_a_model_that_writes_into_its_own_packages_changes_no_other_environment(
    tmp_path: Path, kit: Kit, make_model: MakeModel, who: str
) -> None:
    kit.index.add(wheel("alpha", "1.0"), wheel("beta", "1.0"))
    writer = make_model("writer", pip=["alpha"], loader=WRITER)
    reader = make_model("reader", pip=["alpha", "beta"])
    (writer / "in.json").write_text('{"inputs": [1]}')
    prefix: tuple[str, ...] = ()
    if os.geteuid() == 0:
        prefix = {"root": (), "nobody": AS_NOBODY, "root in a container": AS_IN_A_CONTAINER}[who]
        for parent in [tmp_path, *list(tmp_path.parents)[:-2]]:
            parent.chmod(0o755)
    if who == "nobody":
        kit.home.mkdir()
        shutil.chown(kit.home, 65534 if prefix else None)
    # Where only a capability opens root's home, nobody finds a Python by looking around.
    python = interpreters.find("3.8", kit.settings()).executable
    environ = cli_environ(kit.home, kit.index.url, TMPDIR="/tmp", ENVBUILD_PYTHON=python)

    def call(*words: str | Path) -> dict[str, object]:
        argv = [*prefix, sys.executable, "-m", "envbuild", *map(str, words), "--json"]
        done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        answer = json.loads(done.stdout)
        assert isinstance(answer, dict)
        return answer

    other = Path(str(call("build", reader)["path"]))
    own = Path(str(call("build", writer)["path"]))
    shared = (own / SITE / "alpha.py").stat().st_ino == (other / SITE / "alpha.py").stat().st_ino
    said = call("predict", writer, writer / "in.json")["predictions"]
    assert isinstance(said, list)
    if who == "root in a container" and prefix:
        # Nothing would stop root there, so that nothing but byte code is shared.
        assert not shared
        assert said[0] == "written"
    elif shared:
        assert said == ["PermissionError"] * 3
    assert (other / SITE / "alpha.py").read_text() == "version = '1.0'\n"
    assert (own / SITE / "its_own_cache").exists()
    assert not (other / SITE / "its_own_cache").exists()
    assert call("verify", reader)["repaired"] == []
    third = make_model("third", pip=["beta", "alpha"])
    shutil.rmtree(other)
    assert run_python(Path(str(call("build", third)["path"])), "import alpha; print(alpha.version)") == "1.0"


@pytest.mark.sampled(3)
@pytest.mark.parametrize("mode", ["hardlink", "copy", "clone"])
def test_link_modes(kit: Kit, make_model: MakeModel, mode: str) -> None:
    kit.index.add(wheel("alpha", "1.0"), wheel("beta", "1.0"))
    one = kit.build(make_model("one", pip=["alpha"]), link_mode=mode).environment
    two = kit.build(make_model("two", pip=["alpha", "beta"]), link_mode=mode).environment
    shared = (one.path / SITE / "alpha.py").stat().st_ino == (two.path / SITE / "alpha.py").stat().st_ino
    assert shared == (mode == "hardlink")
    assert (one.linked, two.linked) == (shared, shared)
    for environment in (one, two):
        assert stat.S_IMODE((environment.path / SITE / "alpha.py").stat().st_mode) == 0o444
        assert findings(kit, environment.path) == []


# The interpreter


@pytest.mark.slow
def test_an_interpreter_that_is_gone_or_another_means_another_build(
    kit: Kit, make_model: MakeModel, tmp_path: Path
) -> None:
    """A Python of our own, unpacked again, and taken away."""
    kit.index.add(wheel("alpha", "1.0"))
    real = kit.build(make_model("real", pip=["alpha"])).environment.interpreter
    alpha = make_model(pip=["alpha"], python=real.version)
    prefix = Path(real.executable).parent.parent
    ours = tmp_path / "python"
    shutil.copytree(prefix, ours, symlinks=True, ignore=shutil.ignore_patterns("site-packages", "test", "__pycache__"))
    program = ours / "bin" / "python3.8"
    settings = {"python": str(program)}
    first = kit.build(alpha, **settings)
    assert (first.was_built, first.environment.interpreter.executable) == (True, str(program))
    assert kit.build(alpha, **settings).was_built is False
    # The same Python unpacked at another time is the same Python.
    os.utime(program, (1, 1))
    assert kit.build(alpha, **settings).was_built is False
    shutil.rmtree(ours)
    again = kit.build(alpha)
    assert again.was_built
    (said,) = [notice for notice in again.notices if notice.code == "interpreter-changed"]
    assert f"{program}, is gone" in said.message
    assert pipeline.build(again.locked, kit.settings()).was_built is False
