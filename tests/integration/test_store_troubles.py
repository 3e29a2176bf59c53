"""Disks that are full, read-only or forbidden, too few files, stores of somebody else: said, and nothing is lost."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kit import AS_NOBODY, Kit, cli, cli_environ, run_python
from tiny import wheel

from envbuild import interpreters
from envbuild.errors import StoreUntrusted
from envbuild.store import MARKER, Store

MakeModel = Callable[..., Path]
# Root may write everywhere: without these two capabilities the bits of a file's mode hold for it as well.
AS_ANYBODY = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
OWN_MOUNTS = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--map-root-user", "--mount")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture
def alpha(kit: Kit, make_model: MakeModel) -> Path:
    """A model with a wheel of six megabytes that no packing makes smaller."""
    noise = random.Random(1).randbytes(3_000_000).hex()
    kit.index.add(wheel("alpha", "1.0", modules={"alpha.py": f"noise = {noise!r}\n"}), wheel("beta", "1.0"))
    return make_model(pip=["alpha"])


def run(argv: list[str], environ: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False, timeout=120)
    assert "Traceback" not in done.stderr
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    assert done.returncode == (0 if answer["ok"] else answer["error"]["exit_code"])
    return answer


def envbuild(*words: str | Path) -> list[str]:
    return [sys.executable, "-m", "envbuild", *map(str, words), "--json"]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("megabytes", [1, 4, 9, 14, 19, 24])
def test_a_full_disk_says_how_much_there_was_and_leaves_nothing_half_made(
    kit: Kit, alpha: Path, megabytes: int
) -> None:
    """Full at one moment or another: in the download, when it is unpacked, when byte code is compiled."""
    kit.home.mkdir()
    script = (
        f'mount -t tmpfs -o size={megabytes}m,mode=700 tiny "$ENVBUILD_HOME" && "$@"; status=$?; '
        'find "$ENVBUILD_HOME/store/v1/environments" -mindepth 2 | sed "s/^/left: /" >&2; exit $status'
    )
    environ = cli_environ(kit.home, kit.index.url, ENVBUILD_LINK_MODE="copy")
    argv = [*OWN_MOUNTS, "sh", "-c", script, "sh", *envbuild("build", alpha)]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False, timeout=120)
    answer = json.loads(done.stdout)
    assert "Traceback" not in done.stderr
    if answer["ok"]:
        assert megabytes > 19
        return
    assert answer["error"]["code"] == "store-unusable", answer
    assert "no space left" in answer["error"]["message"]
    assert "MiB are free" in answer["error"]["message"]
    assert "envbuild envs gc" in answer["error"]["hint"]
    assert "left: " not in done.stderr


def test_a_full_disk_says_how_much_is_needed(kit: Kit, alpha: Path) -> None:
    kit.home.mkdir()
    # What is locked first says the size; then the disk fills up.
    script = (
        'mount -t tmpfs -o size=5m,mode=700 tiny "$ENVBUILD_HOME" && "$@" lock "$MODEL" --json >&2 && '
        '"$@" build "$MODEL" --json'
    )
    argv = [*OWN_MOUNTS, "sh", "-c", script, "sh", sys.executable, "-m", "envbuild"]
    answer = run(argv, cli_environ(kit.home, kit.index.url, MODEL=str(alpha)))
    assert "at least 6 MiB are needed" in answer["error"]["message"]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("folder", ["", "store/v1/locks", "store/v1/environments", "store/v1/held", "bytecode", "uv"])
def test_a_store_that_cannot_be_written_is_said(kit: Kit, alpha: Path, folder: str) -> None:
    place = kit.home / folder
    place.mkdir(parents=True)
    place.chmod(0o555)
    error = run([*AS_ANYBODY, *envbuild("build", alpha)], cli_environ(kit.home, kit.index.url))["error"]
    place.chmod(0o755)
    assert error["code"] == "store-unusable", error
    assert "ENVBUILD_HOME" in error["hint"]
    assert kit.build(alpha).was_built


def test_a_read_only_store_hands_out_what_it_has(kit: Kit, alpha: Path, make_model: MakeModel) -> None:
    built = kit.build(alpha)
    other = make_model("other", pip=["beta"])
    environ = cli_environ(kit.home, kit.index.url, MODEL=str(alpha))
    script = 'mount --bind "$ENVBUILD_HOME" "$ENVBUILD_HOME" && mount -o remount,ro,bind "$ENVBUILD_HOME" && exec "$@"'
    inside = [*OWN_MOUNTS, "sh", "-c", script, "sh"]
    answer = run([*inside, *envbuild("build", alpha)], environ)
    assert (answer["built"], answer["path"]) == (False, str(built.environment.path))
    assert run([*inside, *envbuild("verify", alpha)], environ)["ok"]
    (alpha / "in.json").write_text('{"inputs": [1]}')
    assert run([*inside, *envbuild("predict", alpha, alpha / "in.json")], environ)["ok"]
    error = run([*inside, *envbuild("build", other)], environ)["error"]
    assert (error["code"], "Read-only file system" in error["message"]) == ("store-unusable", True)
    for words in (["envs", "rm", alpha], ["envs", "gc", "--older-than", "0s"], ["cache", "clean"]):
        error = run([*inside, *envbuild(*words)], environ)["error"]
        assert error["code"] == "store-unusable", words
    assert run_python(built.environment.path, "import alpha; print('there')") == "there"


@pytest.mark.sampled(3)
@pytest.mark.parametrize("limit", [12, 20, 30])
def test_too_many_open_files_are_said(kit: Kit, alpha: Path, limit: int) -> None:
    argv = ["sh", "-c", f'ulimit -n {limit}; exec "$@"', "sh", *envbuild("build", alpha)]
    done = subprocess.run(
        argv, env=cli_environ(kit.home, kit.index.url), capture_output=True, text=True, check=False, timeout=120
    )
    assert "Traceback" not in done.stderr
    if done.returncode != 0:
        error = json.loads(done.stdout)["error"]
        assert error["code"] == "store-unusable", error
        assert f"this process may have {limit}" in error["message"]
        assert "ulimit -n" in error["hint"]
    assert list((kit.home / "store").rglob(MARKER)) == [] or done.returncode == 0
    assert kit.build(alpha, retry=True).environment


# Whose store it is


def test_a_store_that_anybody_may_write_is_not_trusted(kit: Kit, alpha: Path) -> None:
    kit.build(alpha)
    kit.home.chmod(0o777)
    with pytest.raises(StoreUntrusted, match="anybody may write"):
        kit.build(alpha)
    kit.home.chmod(0o700)
    assert kit.build(alpha).was_built is False


def test_a_store_is_made_for_its_user_alone(kit: Kit, alpha: Path) -> None:
    kit.build(alpha)
    assert kit.home.stat().st_mode & 0o777 == 0o700


@needs_root
def test_a_store_of_somebody_else_is_not_trusted(kit: Kit, alpha: Path) -> None:
    kit.build(alpha)
    shutil.chown(kit.home, 65534, 65534)
    (alpha / "in.json").write_text('{"inputs": [1]}')
    for words in (
        ["build", alpha],
        ["predict", alpha, alpha / "in.json"],
        ["verify", "--all"],
        ["envs", "list"],
        ["cache", "clean"],
    ):
        done = cli(*words, environ=cli_environ(kit.home, kit.index.url))
        assert done.returncode == 5, words
        assert "error[store-untrusted]" in done.stderr
        assert "ENVBUILD_SHARED=1" in done.stderr
    shutil.chown(kit.home, 0, 0)
    assert kit.build(alpha).was_built is False


@needs_root
def test_a_store_that_root_filled_is_used_and_not_written(kit: Kit, alpha: Path, tmp_path: Path) -> None:
    built = kit.build(alpha)
    for parent in (kit.home, tmp_path, *list(tmp_path.parents)[:-2]):
        parent.chmod(0o755)
    environ = cli_environ(kit.home, kit.index.url, ENVBUILD_PYTHON=built.environment.interpreter.executable)
    own = kit.build(alpha, python=built.environment.interpreter.executable)
    answer = run([*AS_NOBODY, *envbuild("build", alpha)], environ)
    assert (answer["built"], answer["path"]) == (False, str(own.environment.path))
    error = run([*AS_NOBODY, *envbuild("build", alpha, "--update")], environ)["error"]
    assert error["code"] == "store-unusable"


@needs_root
def test_a_shared_store_is_used_by_all_of_its_group(kit: Kit, make_model: MakeModel, tmp_path: Path) -> None:
    kit.index.add(wheel("alpha", "1.0"), wheel("beta", "1.0"))
    one, two = make_model("one", pip=["alpha"]), make_model("two", pip=["alpha", "beta"])
    for model in (one, two):
        (model / "in.json").write_text('{"inputs": [1]}')
    for parent in (tmp_path, *list(tmp_path.parents)[:-2]):
        parent.chmod(0o755)
    kit.home.mkdir()
    shutil.chown(kit.home, 65534, 65533)
    kit.home.chmod(0o2770)
    python = interpreters.find("3.8", kit.settings(home=tmp_path / "looking")).executable
    environ = cli_environ(kit.home, kit.index.url, ENVBUILD_SHARED="1", ENVBUILD_PYTHON=python)

    def as_user(uid: int, *words: str | Path, shared: bool = True) -> dict[str, Any]:
        who = [word.replace("--clear-groups", "--groups=65533") for word in AS_NOBODY]
        who = [word.replace("--reuid=65534", f"--reuid={uid}") for word in who]
        return run([*who, *envbuild(*words)], environ if shared else {**environ, "ENVBUILD_SHARED": "0"})

    assert as_user(65534, "build", one)["built"] is True
    assert as_user(65532, "build", one)["built"] is False
    assert as_user(65532, "build", two)["built"] is True
    assert as_user(65534, "predict", two, two / "in.json")["ok"]
    assert as_user(65534, "verify", "--all")["ok"]
    assert as_user(65534, "envs", "gc", "--older-than", "0s")["ok"]
    assert as_user(65534, "envs", "list")["environments"] == []
    assert as_user(65532, "build", one)["built"] is True
    error = as_user(65532, "build", one, shared=False)["error"]
    assert error["code"] == "store-untrusted"
    stranger = run([*AS_NOBODY[:1], "--reuid=65531", *AS_NOBODY[2:], *envbuild("build", one)], environ)["error"]
    assert stranger["code"] in ("store-untrusted", "store-unusable")


# Layouts side by side


def test_another_layout_beside_ours_is_left_alone(kit: Kit, alpha: Path) -> None:
    strange = kit.home / "store" / "v0" / "environments" / "x"
    strange.mkdir(parents=True)
    (strange / "file").write_text("an older envbuild's")
    kit.build(alpha)
    assert cli("envs", "gc", "--older-than", "0s", environ=cli_environ(kit.home)).returncode == 0
    assert (strange / "file").read_text() == "an older envbuild's"
    assert Store(kit.settings()).root.name == "v1"
