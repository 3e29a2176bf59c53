"""A bundle that is not what its manifest says, or says what no bundle may, is refused before anything of it is used."""

from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made import Made, code_of, nothing_was_used, offline

from envbuild.bundles import members
from envbuild.bundles.manifest import manifest_of
from envbuild.bundles.reading import Bundle
from envbuild.bundles.sealing import sealed, unsealed
from envbuild.errors import BundleInvalid

SEED = 20211
Content = dict[str, Any]


def check(path: Path) -> None:
    with Bundle(path) as bundle:
        bundle.check()


def spoil(path: Path, place: int, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= chance.randrange(1, 256)
    path.write_bytes(content)


@pytest.mark.slow
def test_a_byte_that_is_another_is_seen_wherever_it_is(made: Made, copy: Path) -> None:
    whole, chance = made.bundle.read_bytes(), random.Random(SEED)
    check(copy)
    # The ends, and what is no content: between members, around them, in their headers.
    places = {0, 511, 512, len(whole) - 1, len(whole) - 1024, *chance.sample(range(len(whole)), 500)}
    for place in sorted(places):
        spoil(copy, place, chance)
        with pytest.raises(BundleInvalid):
            check(copy)
        copy.write_bytes(whole)


@pytest.mark.parametrize("part", ["manifest.json", "locks/", "wheels/", "model/"])
def test_nothing_is_installed_from_a_bundle_with_another_byte(made: Made, copy: Path, home: Path, part: str) -> None:
    chance = random.Random(f"{SEED} {part}")
    with tarfile.open(made.bundle) as archive:
        member = chance.choice([one for one in archive.getmembers() if one.name.startswith(part)])
    spoil(copy, member.offset_data + chance.randrange(member.size), chance)
    assert code_of(offline(home, "predict", copy, made.input)) == "bundle-invalid"
    assert code_of(offline(home, "predict", made.model, made.input, "--bundle", copy)) == "bundle-invalid"
    assert code_of(offline(home, "bundle", "verify", copy)) == "bundle-invalid"
    assert nothing_was_used(home)


def test_nothing_is_installed_from_a_bundle_that_was_cut_off(made: Made, copy: Path, home: Path) -> None:
    whole = made.bundle.read_bytes()
    for length in (0, 1, 300, 512, 1000, len(whole) // 2, len(whole) - 1024, len(whole) - 1):
        copy.write_bytes(whole[:length])
        with pytest.raises(BundleInvalid):
            check(copy)
    assert code_of(offline(home, "build", made.model, "--bundle", copy)) == "bundle-invalid"
    assert nothing_was_used(home)


def test_what_is_appended_is_seen(copy: Path) -> None:
    with open(copy, "ab") as file:
        file.write(bytes(512))
    with pytest.raises(BundleInvalid, match="more than is named"):
        check(copy)


def test_no_bundle_is_one_that_is_not_there_or_something_else(made: Made, home: Path, tmp_path: Path) -> None:
    assert code_of(offline(home, "predict", "--bundle", tmp_path / "none.bundle", made.input)) == "bundle-invalid"
    assert code_of(offline(home, "predict", "--bundle", made.input, made.input)) == "bundle-invalid"


# Tars that anybody can write.


def tar_of(path: Path, manifest: bytes, *more: tuple[tarfile.TarInfo, bytes]) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for info, content in [(tarfile.TarInfo("manifest.json"), manifest), *more]:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def entry(path: str, content: bytes) -> Content:
    return {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def manifest(*files: Content, **more: Any) -> bytes:
    return sealed({"form": 1, "model": None, "python": None, "locks": [], "files": list(files), **more})


def info(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


@pytest.mark.parametrize(
    "path",
    [
        "../outside.whl",
        "/etc/outside",
        "wheels/../../outside.whl",
        "wheels//a.whl",
        "wheels/./a.whl",
        "wheels/sub/a.whl",
        "wheels/a.txt",
        "elsewhere/a",
        "model/../../outside",
        "model/",
        "model",
        "model/a\\b",
        "model/a\nb",
        "model/\udcff",
        "model/" + "a" * 300,
        "",
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="no path in a bundle"):
        manifest_of(manifest(entry(path, b"")))
    target = tmp_path / "hostile.bundle"
    tar_of(target, manifest(entry(path, b"x")), (info("wheels/a.whl"), b"x"))
    with pytest.raises(BundleInvalid):
        check(target)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_a_link_or_a_device_in_a_file_s_place_is_refused(tmp_path: Path, kind: bytes) -> None:
    target = tmp_path / "hostile.bundle"
    tar_of(target, manifest(entry("wheels/a.whl", b"")), (info("wheels/a.whl", kind, "/etc/passwd"), b""))
    # As long as it should be, so that it is its members that are looked at.
    content = target.read_bytes()
    target.write_bytes(content[: content.rindex(b"wheels/a.whl") + 512 + 1024])
    with pytest.raises(BundleInvalid, match=r"wheels/a\.whl"):
        check(target)


def test_a_member_that_the_manifest_does_not_name_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "hostile.bundle"
    tar_of(target, manifest(entry("wheels/a.whl", b"x")), (info("wheels/a.whl"), b"x"), (info("wheels/b.whl"), b"y"))
    with pytest.raises(BundleInvalid):
        check(target)
    tar_of(target, manifest(entry("wheels/a.whl", b"x")), (info("wheels/b.whl"), b"x"))
    with pytest.raises(BundleInvalid):
        check(target)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ([entry("wheels/a.whl", b""), entry("wheels/a.whl", b"")], "twice"),
        ([entry("model/a", b""), entry("model/a/b", b"")], "as a file and as a folder"),
        ([entry("wheels/b.whl", b""), entry("wheels/a.whl", b"")], "order"),
        ([{**entry("wheels/a.whl", b""), "size": -1}], "size"),
        ([{**entry("wheels/a.whl", b""), "size": True}], "size"),
        ([{**entry("wheels/a.whl", b""), "sha256": "0"}], "sha256"),
        ([{**entry("wheels/a.whl", b""), "mode": 0o4755}], "lacks what a manifest has"),
        ([{"path": "wheels/a.whl"}], "lacks what a manifest has"),
        ([entry("locks/pylock.a.toml", b"")], "locks"),
        ([entry("model/MLmodel", b"")], "model"),
        ([entry("python/a.tar", b"")], "Python"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(files: list[Content], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        manifest_of(manifest(*files))


@pytest.mark.parametrize(
    "more",
    [
        {"form": 2},
        {"more": 1},
        {"model": {"name": "..", "digest": ""}},
        {"model": {"name": 1, "digest": ""}},
        {"model": {"name": "a/b", "digest": ""}, "files": [entry("model/MLmodel", b"")]},
        {"locks": [{"path": "locks/x", "python_tag": "cp38", "platform": "../x", "lock_hash": "", "built": []}]},
        {"python": {"path": "python/a.tar", "demanded": "../3", "key": "a", "program": "b"}},
        {"files": 1},
        {"files": [[]]},
    ],
)
def test_a_manifest_that_says_what_none_does_is_refused(more: Content) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        manifest_of(manifest(**more))


def test_a_file_larger_than_the_bundle_is_refused_without_reading(tmp_path: Path) -> None:
    target = tmp_path / "hostile.bundle"
    tar_of(target, manifest({**entry("wheels/a.whl", b"x"), "size": 2**62}), (info("wheels/a.whl"), b"x"))
    with pytest.raises(BundleInvalid, match="bytes"):
        check(target)


def test_a_manifest_of_a_gigabyte_or_without_end_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "hostile.bundle"
    target.write_bytes(members.header("manifest.json", 2**30))
    with pytest.raises(BundleInvalid, match="no bundle"):
        check(target)
    tar_of(target, b"[" * 2**20)
    with pytest.raises(BundleInvalid, match="manifest"):
        check(target)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"\n", b"\n ", 1),
        lambda text: json.dumps(json.loads(text)).encode(),
        lambda text: text.replace(b'"form": 1', b'"form": 1, "form": 1'),
        lambda text: text.replace(b'"form": 1', b'"form": 3'),
        lambda text: text + b" ",
        lambda text: b"\xff" + text,
        lambda text: b"[]",
        lambda text: b"",
    ],
)
def test_what_is_sealed_is_refused_in_any_other_form(change: Callable[[bytes], bytes]) -> None:
    text = manifest()
    assert unsealed(text)["form"] == 1
    with pytest.raises(ValueError, match=r"\w"):
        unsealed(change(text))
