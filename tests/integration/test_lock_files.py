"""Lock files: beside the model, named, foreign, stale, missing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from kit import Kit, cli, cli_environ, codes, run_python, versions
from tiny import PYTHON, backend, own_sdist, wheel

from envbuild import interpreters
from envbuild.errors import LockInvalid, LockMissing, LockStale
from envbuild.pylock import write_lock

MakeModel = Callable[..., Path]


@pytest.fixture
def model(kit: Kit, make_model: MakeModel) -> Path:
    """A model whose open requirement resolves to 1.0 until 1.5 appears."""
    kit.index.add(wheel("alpha", "1.0", requires=["beta"]), wheel("beta", "1.0"))
    return make_model(pip=["alpha"])


def newer(kit: Kit) -> None:
    kit.index.add(wheel("alpha", "1.5", requires=["beta"]))


def foreign(kit: Kit, model: Path, target: Path, *more: str) -> None:
    """A lock that uv itself makes, without us."""
    target.with_name("in.txt").write_text("\n".join(("alpha", *more)) + "\n")
    words = ["pip", "compile", "--format", "pylock.toml", "--python-version", PYTHON, "--no-config", "-q"]
    words += [
        "--python",
        interpreters.find(PYTHON, kit.settings()).executable,
        "--index-url",
        kit.index.url,
        "--cache-dir",
        str(kit.home / "uv"),
    ]
    words += [str(target.with_name("in.txt")), "-o", str(target)]
    subprocess.run([sys.executable, "-m", "uv", *words], check=True, cwd=model.parent)


def test_a_lock_that_was_written_is_used_beside_the_model_and_by_name(
    kit: Kit, model: Path, make_model: MakeModel, tmp_path: Path
) -> None:
    written = tmp_path / "pylock.toml"
    environ = cli_environ(kit.home, kit.index.url)
    assert cli("lock", model, "-o", written, environ=environ).returncode == 0
    newer(kit)
    named = kit.lock(model, lock=written, locked=True)
    assert (named.source, versions(named)["alpha"]) == (str(written), "1.0")
    (model / "pylock.toml").write_bytes(written.read_bytes())
    beside = kit.lock(model, home=tmp_path / "another")
    assert (beside.source, versions(beside)["alpha"]) == (str(model / "pylock.toml"), "1.0")
    assert beside.lock.hash == named.lock.hash
    assert kit.build(model, locked=True).environment.lock_hash == named.lock.hash


def test_update_passes_over_the_lock_beside_the_model(kit: Kit, model: Path) -> None:
    (model / "pylock.toml").write_text(write_lock(kit.lock(model).lock))
    newer(kit)
    updated = kit.lock(model, update=True)
    assert (updated.source, versions(updated)["alpha"]) == ("resolved", "1.5")


def test_a_stale_lock_beside_the_model_is_said_and_resolved_anew(kit: Kit, model: Path) -> None:
    (model / "pylock.toml").write_text(write_lock(kit.lock(model).lock))
    kit.index.add(wheel("gamma", "1.0"))
    text = (model / "conda.yaml").read_text()
    (model / "conda.yaml").write_text(text.replace('  - "alpha"', '  - "alpha"\n  - "gamma"'))
    locked = kit.lock(model)
    assert (locked.source, versions(locked)["gamma"]) == ("resolved", "1.0")
    assert codes(locked) == ["lock-stale"]
    assert "it lacks gamma" in locked.notices[0].message
    with pytest.raises(LockStale, match="it lacks gamma"):
        kit.lock(model, locked=True)
    with pytest.raises(LockStale, match="it lacks gamma"):
        kit.lock(model, lock=model / "pylock.toml")


def test_a_lock_of_another_version_than_asked_for_is_stale(kit: Kit, model: Path) -> None:
    (model / "pylock.toml").write_text(write_lock(kit.lock(model).lock))
    text = (model / "conda.yaml").read_text()
    (model / "conda.yaml").write_text(text.replace('"alpha"', '"alpha>=1.2"'))
    with pytest.raises(LockStale, match=r"it has alpha 1\.0, the model asks for alpha>=1\.2 \(.*conda\.yaml:5\)"):
        kit.lock(model, lock=model / "pylock.toml")


@pytest.mark.parametrize(("python", "reason"), [("3.9", "cp39"), ("3.8.99", r"3\.8\.99")])
def test_a_lock_for_another_python_is_stale(kit: Kit, model: Path, python: str, reason: str) -> None:
    (model / "pylock.toml").write_text(write_lock(kit.lock(model).lock))
    with pytest.raises(LockStale, match=reason):
        kit.lock(model, lock=model / "pylock.toml", python=python)


def test_locked_without_any_lock_file_is_refused(kit: Kit, model: Path) -> None:
    kit.lock(model)
    with pytest.raises(LockMissing) as failure:
        kit.lock(model, locked=True)
    assert "envbuild lock" in (failure.value.hint or "")


def test_a_named_lock_that_is_not_there_is_refused(kit: Kit, model: Path, tmp_path: Path) -> None:
    with pytest.raises(LockMissing, match="there is no lock at"):
        kit.lock(model, lock=tmp_path / "pylock.toml")


def test_a_named_lock_of_another_name_is_refused(kit: Kit, model: Path, tmp_path: Path) -> None:
    (tmp_path / "my.lock").write_text(write_lock(kit.lock(model).lock))
    with pytest.raises(LockInvalid, match=r"my\.lock is no name for a lock"):
        kit.lock(model, lock=tmp_path / "my.lock")


def test_an_edited_lock_is_refused(kit: Kit, model: Path) -> None:
    path = model / "pylock.toml"
    text = write_lock(kit.lock(model).lock)
    path.write_text(text.replace('name = "alpha"\nversion = "1.0"', 'name = "alpha"\nversion = "1.1"'))
    with pytest.raises(LockInvalid):
        kit.lock(model, lock=path)


@pytest.mark.parametrize("name", ["pylock.toml", "pylock.production.toml"])
def test_a_lock_that_uv_made_itself_is_used(kit: Kit, model: Path, tmp_path: Path, name: str) -> None:
    foreign(kit, model, tmp_path / name)
    newer(kit)
    built = kit.build(model, lock=tmp_path / name)
    assert versions(built.locked) == {"alpha": "1.0", "beta": "1.0"}
    assert built.locked.source == str(tmp_path / name)
    assert run_python(built.environment.path, "import alpha, beta; print(alpha.version)") == "1.0"


def test_a_foreign_lock_beside_the_model_is_used(kit: Kit, model: Path) -> None:
    foreign(kit, model, model / "pylock.toml")
    newer(kit)
    locked = kit.lock(model)
    assert (locked.source, versions(locked)["alpha"]) == (str(model / "pylock.toml"), "1.0")


def test_a_foreign_lock_with_an_sdist_builds(kit: Kit, make_model: MakeModel, tmp_path: Path) -> None:
    kit.index.add(own_sdist("alpha", "1.0"), backend())
    model = make_model(pip=["alpha"])
    foreign(kit, model, tmp_path / "pylock.toml")
    built = kit.build(model, lock=tmp_path / "pylock.toml")
    assert run_python(built.environment.path, "import alpha; print(alpha.version)") == "1.0"


def test_a_foreign_lock_that_lacks_a_requirement_is_stale(kit: Kit, make_model: MakeModel, tmp_path: Path) -> None:
    kit.index.add(wheel("alpha", "1.0"), wheel("gamma", "1.0"))
    model = make_model(pip=["alpha", "gamma"])
    foreign(kit, model, tmp_path / "pylock.toml")
    with pytest.raises(LockStale) as failure:
        kit.lock(model, lock=tmp_path / "pylock.toml")
    assert f"it lacks gamma ({model}/conda.yaml:6)" in failure.value.message


def test_uv_installs_our_lock_without_us(kit: Kit, model: Path, tmp_path: Path) -> None:
    environ = cli_environ(kit.home, kit.index.url)
    assert cli("lock", model, "-o", tmp_path / "pylock.toml", environ=environ).returncode == 0
    virtual = tmp_path / "virtual"
    python = kit.build(model).environment.interpreter.executable
    common = ["--no-config", "-q", "--cache-dir", str(kit.home / "uv")]
    subprocess.run([sys.executable, "-m", "uv", "venv", str(virtual), "--python", python, *common], check=True)
    words = ["pip", "sync", "--python", str(virtual / "bin" / "python"), str(tmp_path / "pylock.toml"), *common]
    subprocess.run([sys.executable, "-m", "uv", *words], check=True)
    assert run_python(virtual, "import alpha, beta; print(alpha.version)") == "1.0"


def test_the_hashed_requirement_lines_install_with_uv(kit: Kit, model: Path, tmp_path: Path) -> None:
    lines = tmp_path / "requirements.txt"
    environ = cli_environ(kit.home, kit.index.url)
    assert cli("lock", model, "--format", "requirements", "-o", lines, environ=environ).returncode == 0
    words = ["pip", "install", "--require-hashes", "--target", str(tmp_path / "there"), "--python-version", PYTHON]
    words += ["-r", str(lines), "--index-url", kit.index.url, "--no-config", "-q", "--cache-dir", str(kit.home / "uv")]
    subprocess.run([sys.executable, "-m", "uv", *words], check=True)
    assert (tmp_path / "there" / "alpha.py").read_text() == "version = '1.0'\n"


def test_lock_prints_what_it_writes(kit: Kit, model: Path, tmp_path: Path) -> None:
    environ = cli_environ(kit.home, kit.index.url)
    printed = cli("lock", model, environ=environ)
    answered = cli("lock", model, "--json", "-o", tmp_path / "pylock.toml", environ=environ)
    assert printed.stdout == (tmp_path / "pylock.toml").read_text()
    answer = json.loads(answered.stdout)
    assert (answer["source"], answer["lock_hash"]) == ("kept", kit.lock(model).lock.hash)
