"""The same model and lock give the same bundle, wherever and whenever it is made."""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
from kit import cli
from made import Made, answer_of

from envbuild.builders.wheels import evened
from envbuild.bundles.reading import Bundle


def test_the_same_model_gives_the_same_bytes(made: Made, tmp_path: Path) -> None:
    again = tmp_path / "again.bundle"
    assert cli("bundle", "export", made.model, "-o", again, environ=made.environ()).returncode == 0
    assert again.read_bytes() == made.bundle.read_bytes()


def test_so_does_it_from_another_store_folder_and_umask(made: Made, home: Path, tmp_path: Path) -> None:
    """The sdist is built anew there, and the model's files have other times and modes."""
    model, lock = tmp_path / "elsewhere" / "model", tmp_path / "pylock.toml"
    assert cli("lock", made.model, "-o", lock, environ=made.environ()).returncode == 0
    shutil.copytree(made.model, model, copy_function=shutil.copyfile)
    (model / "code" / "__pycache__").mkdir()
    (model / "code" / "__pycache__" / "left.pyc").write_bytes(b"by a run of it")
    for path in model.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    again = tmp_path / "again.bundle"
    words = ("bundle", "export", model, "-o", again, "--lock", lock)
    done = cli(*words, environ=made.environ(home), umask=0o077, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert again.read_bytes() == made.bundle.read_bytes()


def test_it_is_a_plain_tar_in_order_of_nobody_and_no_time(made: Made) -> None:
    with tarfile.open(made.bundle, "r:") as archive:
        members = archive.getmembers()
    assert members[0].name == "manifest.json"
    assert [one.name.partition("/")[0] for one in members[1:]] == ["locks", *["wheels"] * 2, *["model"] * 4]
    assert {(one.mtime, one.uid, one.gid, one.uname, one.gname, one.mode, one.isfile()) for one in members} == {
        (0, 0, 0, "", "", 0o644, True)
    }
    for kind in ("wheels", "model"):
        names = [one.name for one in members if one.name.startswith(kind)]
        assert names == sorted(names)


def test_an_sdist_is_in_it_as_a_wheel_that_its_locked_build_requirements_built(made: Made) -> None:
    """The index has a newer backend by now."""
    with Bundle(made.bundle) as bundle:
        (lock,) = bundle.manifest.locks
        (built,) = lock.built
        content = b"".join(bundle.content(bundle.manifest.at("wheels/nut-1.0-py3-none-any.whl")))
    assert (built.name, built.version, lock.hash) == ("nut", "1.0", made.lock_hash)
    assert b"built by 1.0" in content


def test_what_is_there_is_kept_when_an_export_fails(made: Made, tmp_path: Path) -> None:
    there = tmp_path / "there.bundle"
    there.write_bytes(b"something")
    (tmp_path / "key.pem").write_text("no key")
    done = cli("bundle", "export", made.model, "-o", there, "--sign-key", tmp_path / "key.pem", environ=made.environ())
    assert done.returncode == 2, done.stderr
    assert there.read_bytes() == b"something"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key.pem", "there.bundle"]


def test_a_link_that_leads_out_of_the_model_is_refused_and_one_inside_is_its_content(
    made: Made, tmp_path: Path
) -> None:
    model, bundle = tmp_path / "model", tmp_path / "linked.bundle"
    shutil.copytree(made.model, model)
    (model / "same").symlink_to("MLmodel")
    assert cli("bundle", "export", model, "-o", bundle, environ=made.environ()).returncode == 0
    with Bundle(bundle) as opened:
        files = {one.path: one.sha256 for one in opened.manifest.files}
    assert files["model/same"] == files["model/MLmodel"]
    (model / "out").symlink_to("/etc/hostname")
    done = cli("bundle", "export", model, "-o", bundle, "--json", environ=made.environ())
    assert done.returncode == 5, done.stdout
    assert "model/out" in done.stdout + done.stderr


def test_inspect_and_verify_say_what_is_in_it(made: Made, tmp_path: Path) -> None:
    environ = made.environ(tmp_path / "nowhere")
    shown = answer_of(cli("bundle", "inspect", made.bundle, "--json", environ=environ))
    assert shown["manifest"]["locks"][0]["lock_hash"] == made.lock_hash
    assert shown["signed_by"] is None
    assert answer_of(cli("bundle", "verify", made.bundle, "--json", environ=environ))["digest"] == shown["digest"]
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("order", [1, -1])
def test_a_wheel_is_the_same_whatever_its_build_wrote_of_times_modes_and_order(tmp_path: Path, order: int) -> None:
    names = ["nut.py", "nut-1.0.data/scripts/crack", "nut-1.0.dist-info/METADATA", "nut-1.0.dist-info/RECORD"]
    wheel, even = tmp_path / "nut.whl", tmp_path / "even.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, name in enumerate(names[::order]):
            info = zipfile.ZipInfo(name, (2000 + number, 1, 1, 0, 0, 0))
            info.external_attr = (0o100755 if name.endswith("crack") else 0o100600 + number) << 16
            archive.writestr(info, "\n".join([*names[::order], ""]) if name.endswith("RECORD") else name)
    evened(wheel, even)
    with zipfile.ZipFile(even) as archive:
        found = [
            (one.filename, one.date_time, oct(one.external_attr >> 16), archive.read(one)) for one in archive.infolist()
        ]
    assert [one[0] for one in found] == ["nut-1.0.data/scripts/crack", "nut.py", *names[2:]]
    assert {one[1] for one in found} == {(1980, 1, 1, 0, 0, 0)}
    assert [one[2] for one in found] == ["0o100755", *["0o100644"] * 3]
    assert found[-1][3] == "\n".join([*sorted(names), ""]).encode()
