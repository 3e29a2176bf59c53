"""conda-lock itself reads what we write, and we what it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from channel import SUBDIR, Channels
from kit import cli
from test_models_of_channels import OF_2022, check, environ_of

from envbuild.conda_lock.reading import read_conda_lock_file
from envbuild.lock import Lock

# conda-lock is installed for it.
pytestmark = pytest.mark.slow

PROGRAM = Path(__file__).with_name("with_conda_lock.py")
RELEASE, DAY = "4.0.3", "2026-10-12"
CondaLock = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def conda_lock(shared_home: Path) -> CondaLock:
    """Runs :mod:`with_conda_lock` with conda-lock, which is installed once into a folder of its own."""
    place = shared_home / "tools" / f"conda-lock-{RELEASE}-{sys.implementation.cache_tag}"
    if not place.exists():
        scratch = place.with_name(f"making-{uuid.uuid4().hex}")
        words = ["pip", "install", "-q", "--no-config", "--target", str(scratch), "--python", sys.executable]
        words += ["--cache-dir", str(shared_home / "uv"), "--exclude-newer", DAY, f"conda-lock=={RELEASE}"]
        subprocess.run([sys.executable, "-m", "uv", *words], check=True)
        try:
            scratch.rename(place)
        except OSError:
            assert place.exists()

    def run(*words: str | Path, said: Any = None) -> subprocess.CompletedProcess[str]:
        # Without site-packages: what we are installed with is none of its business.
        done = subprocess.run(
            [sys.executable, "-S", PROGRAM, *words],
            env={"PATH": os.defpath, "PYTHONPATH": str(place), "HOME": str(shared_home)},
            input=json.dumps(said),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture
def lock_of(tmp_path: Path, of_conda: Callable[[str], Path], shared_home: Path, channels: Channels) -> Path:
    """The lock of a model with conda packages, as the command writes it."""
    path = tmp_path / "conda-lock.yml"
    done = cli("lock", of_conda("heart"), "-o", path, environ=environ_of(shared_home, channels))
    assert done.returncode == 0, done.stderr
    return path


def read(path: Path) -> Lock:
    return read_conda_lock_file(path, None)


def test_conda_lock_reads_our_lock_as_we_do(lock_of: Path, conda_lock: CondaLock, tmp_path: Path) -> None:
    lock = read(lock_of)
    assert lock.conda is not None
    said = json.loads(conda_lock("rewrite", lock_of, tmp_path / "again-lock.yml").stdout)
    assert (said["channels"], said["platforms"]) == ([*lock.conda.channels], [SUBDIR])
    assert said["content_hash"] == {SUBDIR: lock.origin.spec_digest}
    ours = [
        [one.name, one.version, "conda", SUBDIR, one.url, one.md5, one.sha256, ["main"]] for one in lock.conda.packages
    ] + [[one.name, one.version, "pip", SUBDIR, one.url, None, one.sha256, ["main"]] for one in lock.packages]
    assert {"python", "scikit-learn", "numpy"} <= {one.name for one in lock.conda.packages}
    assert "mlflow" in {one.name for one in lock.packages}
    assert sorted(said["packages"]) == sorted(ours)
    # What it would hand to conda, and to pip.
    lines = said["explicit"]
    assert {f"{one.url}#{one.md5}" for one in lock.conda.packages} <= set(lines)
    assert {f"# pip {one.name} @ {one.url}#sha256={one.sha256}" for one in lock.packages} <= set(lines)


def test_what_conda_lock_writes_again_is_the_same_lock(lock_of: Path, conda_lock: CondaLock, tmp_path: Path) -> None:
    again = tmp_path / "again-lock.yml"
    conda_lock("rewrite", lock_of, again)
    assert again.read_text() != lock_of.read_text()
    assert read(again) == read(lock_of)


def test_what_micromamba_asks_of_a_lock_is_there(lock_of: Path) -> None:
    """Its reader refuses a lock without platforms, sources or content hashes, and packages without a digest."""
    content = yaml.safe_load(lock_of.read_text())
    metadata = content["metadata"]
    assert all(metadata[key] for key in ("platforms", "sources", "content_hash", "channels"))
    assert all(channel["used_env_vars"] == [] for channel in metadata["channels"])
    assert all(entry["hash"].get("sha256") for entry in content["package"])
    assert all(isinstance(value, str) for entry in content["package"] for value in entry["dependencies"].values())
    assert lock_of.name.endswith("-lock.yml")


def tiny(name: str, channels: Channels) -> dict[str, Any]:
    """A package of a few lines, which the model does not ask for."""
    stem = f"{name}-1.0-0.conda"
    record = channels.forge.repodata()["packages.conda"][stem]
    return {
        "name": name,
        "version": "1.0",
        "manager": "conda",
        "url": f"{channels.forge.url}/{SUBDIR}/{stem}",
        "hash": {"md5": record["md5"], "sha256": record["sha256"]},
        "dependencies": {},
    }


def described(lock: Lock, channels: Channels) -> dict[str, Any]:
    """A lock's packages as a solver would hand them to conda-lock, for this platform and another one."""
    assert lock.conda is not None
    entries: list[dict[str, Any]] = [
        {
            "name": one.name,
            "version": one.version,
            "manager": "conda",
            "url": one.url,
            "hash": {"md5": one.md5, "sha256": one.sha256},
            "dependencies": {need.split()[0]: " ".join(need.split()[1:2]) for need in one.depends},
        }
        for one in lock.conda.packages
    ]
    entries += [
        {
            "name": one.name,
            "version": one.version,
            "manager": "pip",
            "url": one.url,
            "hash": {"sha256": one.sha256},
            "dependencies": {},
        }
        for one in lock.packages
    ]
    entries.append(tiny("placed", channels))
    developers = tiny("activated", channels)
    elsewhere = [{**one, "url": str(one["url"]).replace(f"/{SUBDIR}/", "/osx-64/")} for one in (*entries, developers)]
    requested: Mapping[str, Mapping[str, str]] = {
        "conda": {**{one["name"]: "main" for one in entries if one["manager"] == "conda"}, "activated": "dev"},
        "pip": {one["name"]: "main" for one in entries if one["manager"] == "pip"},
    }
    packages = {SUBDIR: [*entries, developers], "osx-64": elsewhere}
    return {"channels": list(lock.conda.channels), "requested": requested, "packages": packages}


def test_a_model_predicts_in_the_environment_of_a_lock_that_conda_lock_wrote(
    lock_of: Path,
    conda_lock: CondaLock,
    of_conda: Callable[[str], Path],
    shared_home: Path,
    channels: Channels,
    tmp_path: Path,
) -> None:
    foreign = tmp_path / "foreign-lock.yml"
    ours = read(lock_of)
    assert ours.conda is not None
    conda_lock("make", foreign, said=described(ours, channels))
    content = yaml.safe_load(foreign.read_text())
    assert {entry["platform"] for entry in content["package"]} == {SUBDIR, "osx-64"}
    assert {entry["category"] for entry in content["package"]} == {"main", "dev"}
    assert "custom_metadata" not in content["metadata"]
    model, environ = tmp_path / "heart", environ_of(shared_home, channels)
    locked = cli("lock", model, "--lock", foreign, "--json", environ=environ)
    assert locked.returncode == 0, locked.stderr
    # What an earlier run has built proves nothing.
    cli("envs", "rm", json.loads(locked.stdout)["lock_hash"], environ=environ)
    done = cli("build", model, "--lock", foreign, "--json", environ=environ)
    assert done.returncode == 0, done.stderr
    built = json.loads(done.stdout)
    assert built["built"]
    assert built["lock_hash"] != ours.hash
    packages = {path.name.rsplit("-", 2)[0] for path in (Path(built["path"]) / "conda-meta").glob("*.json")}
    assert packages == {one.name for one in ours.conda.packages} | {"placed"}
    check(model, OF_2022 / "heart", {**environ, "ENVBUILD_LOCK": str(foreign)})
