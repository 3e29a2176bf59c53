"""The bits of images: layers and configs that are the same whenever and wherever they are made.

The golden digests are part of the promise: one that changes means that every image gets other bits, and that
`LAYOUT_VERSION` must be raised.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit import REPO

from envbuild.images.config import Content, History, ImageConfig, archive, config_from, layers_in
from envbuild.images.environment import neutral
from envbuild.images.layer import TIME, Member, archived, rewrite_layer, tree, write_layer
from envbuild.images.model import model_layer
from envbuild.lock import Lock, LockedPackage, Origin
from envbuild.model import read_model
from envbuild.target import Target

HEART = REPO / "tests" / "models" / "py311_mlflow3_17" / "heart"
GOLDEN_MODEL = "sha256:e01748b0ba16316c0b3c416ac458c6e5b2d639ba3fdb0ca1d43dc388b28987b0"
GOLDEN_LAYER = "sha256:951f44e01f1d878d921bb11383d7efde44d2e36e4cc11aa2c6485ccb889be4fc"
GOLDEN_IMAGE = "sha256:8f6d5eb2276d1415206d97dbfbfeb9bd65d4e8ec22159c01b02fd30b8e91ebdc"


def _members() -> list[Member]:
    long = "a" * 90
    return [
        Member(name="opt/one", source=b"1"),
        Member(name=f"opt/{long}/{long}/ü", source=b"22", mode=0o755),
        Member(name="opt/link", kind="link", link="/somewhere/else", mode=0o777),
        Member(name="home/model", kind="directory", owner=10001),
        Member(name="opt/empty", source=b""),
    ]


def _config(*diff_ids: str) -> ImageConfig:
    return ImageConfig(
        architecture="amd64",
        os="linux",
        created="2024-01-02T03:04:05Z",
        layers=tuple(History(diff_id=diff_id, created_by=f"layer {n}") for n, diff_id in enumerate(diff_ids)),
        user="10001:10001",
        environ=("PATH=/bin",),
        entrypoint=("/bin/true",),
        command=("serve",),
        directory="/home/model",
        port=8080,
        health=("/bin/true", "health"),
        labels={"b": "2", "a": "1"},
    )


def test_golden_digest_of_a_layer(tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "layer.tar", _members())
    assert layer.diff_id == GOLDEN_LAYER
    assert layer.diff_id == f"sha256:{hashlib.sha256(layer.path.read_bytes()).hexdigest()}"
    assert (layer.size, layer.content) == (layer.path.stat().st_size, 3)


def test_golden_digest_of_a_model(tmp_path: Path) -> None:
    assert model_layer(read_model(HEART), tmp_path).diff_id == GOLDEN_MODEL


def test_golden_id_of_an_image() -> None:
    assert _config(GOLDEN_LAYER, GOLDEN_MODEL).id == GOLDEN_IMAGE


def test_neither_order_nor_time_nor_owner_nor_umask_changes_a_layer(tmp_path: Path) -> None:
    shuffled = _members()
    random.Random(7).shuffle(shuffled)
    assert write_layer(tmp_path / "layer.tar", shuffled).diff_id == GOLDEN_LAYER
    found = []
    for number, (mask, time) in enumerate(((0o022, 10**9), (0o077, 1.6e9))):
        before = os.umask(mask)
        try:
            root = tmp_path / str(number)
            for name in sorted("cab", reverse=bool(number)):
                (root / name).mkdir(parents=True)
                (root / name / "file").write_text(name)
                os.utime(root / name / "file", (time, time))
            (root / "a" / "program").write_text("")
            (root / "a" / "program").chmod(0o700 if number else 0o755)
        finally:
            os.umask(before)
        found.append(write_layer(tmp_path / f"{number}.tar", tree(root, "top")).diff_id)
    assert found[0] == found[1]


def test_every_directory_above_a_member_is_there_with_its_mode(tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "layer.tar", [Member(name="a/b/c", source=b"x")], modes={"a": 0o1777})
    with tarfile.open(layer.path) as tar:
        known = {member.name: (member.isdir(), member.mode, member.uid, member.mtime) for member in tar}
    assert known == {
        "a": (True, 0o1777, 0, TIME),
        "a/b": (True, 0o755, 0, TIME),
        "a/b/c": (False, 0o644, 0, TIME),
    }


def test_what_another_archive_holds_is_taken_over_hard_links_as_files(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        first = tarfile.TarInfo("top/first")
        first.size, first.mode, first.mtime, first.uid = 3, 0o444, 5, 1000
        tar.addfile(first, io.BytesIO(b"abc"))
        for kind, name in ((tarfile.LNKTYPE, "top/second"), (tarfile.SYMTYPE, "top/third")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, "top/first"
            tar.addfile(link)
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as tar:
        layer = write_layer(tmp_path / "layer.tar", archived(tar, "opt"), archive=tar)
    with tarfile.open(layer.path) as tar:
        assert tar.extractfile("opt/top/second").read() == b"abc"  # type: ignore[union-attr]
        assert tar.getmember("opt/top/second").isreg()
        assert tar.getmember("opt/top/third").linkname == "top/first"
        assert {member.mtime for member in tar} == {TIME}


def test_a_stream_in_order_gives_the_same_layer_as_what_is_read_whole(tmp_path: Path) -> None:
    root = tmp_path / "environment"
    for name in ("a-b/x", "a/b/y", "a/z", "a.c", "ü/1"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "link").symlink_to("a.c")
    whole = write_layer(tmp_path / "whole.tar", [*tree(root, "opt/environment")])
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted([root, *root.rglob("*")], key=lambda path: path.parts):
            tar.add(path, str(path.relative_to(tmp_path)), recursive=False)
    for content, right in ((buffer.getvalue(), True), (_reversed(buffer), False)):
        with tarfile.open(fileobj=io.BytesIO(content), mode="r|") as stream:
            if right:
                assert rewrite_layer(tmp_path / "stream.tar", stream, "/opt").diff_id == whole.diff_id
            else:
                with pytest.raises(ValueError, match="is not where"):
                    rewrite_layer(tmp_path / "stream.tar", stream, "/opt")


def _reversed(buffer: io.BytesIO) -> bytes:
    buffer.seek(0)
    other = io.BytesIO()
    with tarfile.open(fileobj=buffer) as tar, tarfile.open(fileobj=other, mode="w") as target:
        for member in reversed(tar.getmembers()):
            target.addfile(member, tar.extractfile(member) if member.isreg() else None)
    return other.getvalue()


def test_a_config_that_is_put_together_again_is_the_same() -> None:
    config = _config("sha256:a", "sha256:b")
    content = {
        "architecture": "amd64",
        "os": "linux",
        "created": config.created,
        "rootfs": {"diff_ids": ["sha256:a", "sha256:b"]},
        "history": [{"created_by": "layer 0"}, {"created_by": "layer 1"}],
        "config": {
            "User": "10001:10001",
            "Env": ["PATH=/bin"],
            "Entrypoint": ["/bin/true"],
            "Cmd": ["serve"],
            "WorkingDir": "/home/model",
            "Labels": {"a": "1", "b": "2"},
            "ExposedPorts": {"8080/tcp": {}},
            "Healthcheck": {"Test": ["CMD", "/bin/true", "health"]},
        },
    }
    again = config_from(content)
    assert again is not None
    assert again.id == config.id
    assert config_from({**content, "config": {}}) is None


def _archived(config: ImageConfig, contents: list[Content]) -> Iterator[tuple[str, bytes]]:
    file = io.BytesIO(b"".join(archive(config, ["name:1"], contents)))
    for diff_id, source in layers_in(file):
        yield diff_id, source.read()


def test_an_archive_holds_what_is_sent_along(tmp_path: Path) -> None:
    layer = write_layer(tmp_path / "layer.tar", _members())
    config = _config(layer.diff_id)
    known = Content(diff_id=layer.diff_id, size=layer.size, path=layer.path)
    assert list(_archived(config, [known, known])) == [(layer.diff_id, layer.path.read_bytes())]
    with pytest.raises(KeyError):
        list(_archived(config, []))
    # As containerd's image store has it: under the same name, compressed.
    packed = tmp_path / "layer.tar.gz"
    packed.write_bytes(gzip.compress(layer.path.read_bytes()))
    known = Content(diff_id=layer.diff_id, size=packed.stat().st_size, path=packed)
    assert list(_archived(config, [known])) == [(layer.diff_id, layer.path.read_bytes())]


def test_the_lock_in_an_image_has_no_history() -> None:
    package = LockedPackage(
        name="fruit",
        version="1.0",
        kind="wheel",
        sha256="0" * 64,
        url="https://index.example/files/fruit-1.0-py3-none-any.whl",
        file_name="fruit-1.0-py3-none-any.whl",
        size=5,
    )
    origin = Origin(spec_digest="x", as_of="2021-01-01T00:00:00Z", indexes=("https://index.example/simple",))
    lock = Lock(python="3.8", target=Target("cp38", "manylinux_2_36_x86_64"), packages=(package,), origin=origin)
    plain = neutral(lock)
    assert plain.hash == lock.hash
    assert plain.origin == Origin()
    assert plain.packages[0].url == "fruit-1.0-py3-none-any.whl"
