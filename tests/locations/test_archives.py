"""Archives on disk: unpacked once, whatever they are packed with, and never beyond their own directory."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from servers import OF_ERAS, Run

from envbuild.errors import ModelNotFound, ModelUnreadable
from envbuild.locations import locate
from envbuild.settings import Settings

MODEL = OF_ERAS["middle"]


def packed(path: Path, model: Path, top: str = ".") -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for one in sorted(model.rglob("*")):
                archive.write(one, f"{top}/{one.relative_to(model)}".removeprefix("./"))
        return path
    kind = path.name.rpartition(".")[2].replace("tgz", "gz").replace("tar", "")
    with tarfile.open(path, f"w:{kind}") as archive:  # type: ignore[call-overload] # a mode that is made here
        archive.add(model, top)
    return path


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings.from_environ({}, home=home)


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz"])
@pytest.mark.parametrize("top", [".", "heart", "models/heart"])
def test_a_model_comes_out_as_it_was_packed(settings: Settings, tmp_path: Path, name: str, top: str) -> None:
    found = locate(packed(tmp_path / name, MODEL, top), settings).path
    assert sorted(str(one.relative_to(found)) for one in found.rglob("*")) == sorted(
        str(one.relative_to(MODEL)) for one in MODEL.rglob("*")
    )
    assert all((found / one.name).read_bytes() == one.read_bytes() for one in MODEL.glob("*") if one.is_file())
    assert (found.name, locate(tmp_path / name, settings).path) == ("a", found)


def test_it_is_unpacked_once_a_content(settings: Settings, tmp_path: Path) -> None:
    one = packed(tmp_path / "heart.tar.gz", MODEL)
    first = locate(one, settings)
    kept = (first.path / "MLmodel").stat()
    other = shutil.copy2(one, tmp_path / "other")
    assert (locate(one, settings).path / "MLmodel").stat() == kept
    # The same content under the same name is the same model, whenever it was written.
    os.utime(one, (1, 1))
    again = locate(one, settings)
    assert (again.path, again.notices, (again.path / "MLmodel").stat()) == (first.path, (), kept)
    shutil.move(other, one)
    assert locate(one, settings).notices == ()


def test_another_model_under_the_same_name_is_noticed(run: Run, tmp_path: Path) -> None:
    path = packed(tmp_path / "heart.tar.gz", OF_ERAS["middle"])
    before = json.loads(run("inspect", path, "--json").stdout)["model"]
    packed(path, OF_ERAS["last"])
    done = run("inspect", path, "--json")
    assert f"warning[model-changed]: {path} is another model than when it was last used here" in done.stderr
    after = json.loads(done.stdout)
    assert [one["code"] for one in after["notices"]].count("model-changed") == 1
    assert before["path"] != after["model"]["path"]
    assert "model-changed" not in run("inspect", path).stderr


HOSTILE: dict[str, Callable[[tarfile.TarInfo], None]] = {
    "upwards": lambda info: setattr(info, "name", "../escaped"),
    "absolute": lambda info: setattr(info, "name", "/tmp/escaped"),
    "deeper": lambda info: setattr(info, "name", "a/../../escaped"),
    "symlink": lambda info: (setattr(info, "type", tarfile.SYMTYPE), setattr(info, "linkname", "/etc/passwd"))[0],
    "hardlink": lambda info: (setattr(info, "type", tarfile.LNKTYPE), setattr(info, "linkname", "/etc/passwd"))[0],
    "device": lambda info: setattr(info, "type", tarfile.CHRTYPE),
    "pipe": lambda info: setattr(info, "type", tarfile.FIFOTYPE),
    "twice": lambda info: setattr(info, "name", "MLmodel"),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_tar_writes_nothing_outside(settings: Settings, tmp_path: Path, how: str) -> None:
    path = tmp_path / "heart.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(MODEL / "MLmodel", "MLmodel")
        info = tarfile.TarInfo("escaped")
        content = b"escaped"
        HOSTILE[how](info)
        if info.isreg():
            info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    before = sorted(tmp_path.rglob("escaped"))
    with pytest.raises(ModelUnreadable):
        locate(path, settings)
    assert sorted(tmp_path.rglob("escaped")) == before == []
    assert not Path("/tmp/escaped").exists()
    with pytest.raises(ModelUnreadable):
        locate(path, settings)


@pytest.mark.parametrize("name", ["../escaped", "/escaped", "a/../../escaped", "..\\escaped", "C:escaped"])
def test_a_hostile_zip_writes_nothing_outside(settings: Settings, tmp_path: Path, name: str) -> None:
    path = tmp_path / "heart.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(MODEL / "MLmodel", "MLmodel")
        archive.writestr(name, b"escaped")
    with pytest.raises(ModelUnreadable):
        locate(path, settings)
    assert not [one for one in tmp_path.rglob("*") if "escaped" in one.name]


def test_a_link_in_a_zip_is_refused(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "heart.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(MODEL / "MLmodel", "MLmodel")
        info = zipfile.ZipInfo("model.pkl")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ModelUnreadable, match="no plain file"):
        locate(path, settings)


@pytest.mark.parametrize("ending", [".zip", ".tar.gz", ".tar"])
def test_a_damaged_archive_is_said_and_a_whole_one_then_taken(settings: Settings, tmp_path: Path, ending: str) -> None:
    path = packed(tmp_path / f"heart{ending}", MODEL)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises((ModelUnreadable, ModelNotFound)):
        locate(path, settings)
    path.write_bytes(whole)
    assert (locate(path, settings).path / "MLmodel").read_bytes() == (MODEL / "MLmodel").read_bytes()


def test_an_archive_without_a_model_or_with_two_is_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "two" / "a").mkdir(parents=True)
    none = packed(tmp_path / "none.zip", tmp_path / "two")
    done = run("inspect", none)
    assert (done.returncode, "there is no MLmodel in" in done.stderr) == (3, True), done.stderr
    for name in ("a", "b"):
        shutil.copytree(MODEL, tmp_path / "two" / name, dirs_exist_ok=True)
    done = run("inspect", packed(tmp_path / "two.zip", tmp_path / "two"))
    assert (done.returncode, "has several models: a, b" in done.stderr) == (3, True), done.stderr
