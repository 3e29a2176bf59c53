"""Prefixes: what packages have in them, at the paths that they are told of, from a cache that others may use as well."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from channel import PLACEHOLDER, SUBDIR, Channel, Channels, Content, Package, text
from channel_server import ChannelServer
from room import Room
from tiny_packages import ACTIVATED, LINKED, PLACED, VARIABLES

from envbuild.errors import BuildError, EnvbuildError

MODES = ("hardlink", "copy", "clone")


@pytest.fixture
def tiny(own_channel: Channel) -> Channel:
    """Packages with one habit each, and one that does not care where it is."""
    plain = Package(
        name="plain", files={"share/plain.txt": text("plain\n"), "share/link.txt": Content(target="plain.txt")}
    )
    old = Package(name="old", kind="tar.bz2", files={"share/old.txt": text(f"{PLACEHOLDER}\n")})
    return own_channel.add(ACTIVATED, VARIABLES, LINKED, PLACED, plain, old)


def test_files_know_the_prefix_that_they_lie_in(tiny: Channel, room: Room, tmp_path: Path) -> None:
    prefix = room.install(room.solve("placed", "old", channels=[tiny.url]), tmp_path / "prefix")
    said = f"prefix={prefix}\nlib={prefix}/lib\n"
    assert (prefix / "share" / "placed.txt").read_text() == said
    assert (prefix / "share" / "old.txt").read_text() == f"{prefix}\n"
    assert subprocess.run([prefix / "bin" / "placed"], capture_output=True, text=True, check=True).stdout == said
    was = PLACED.files["lib/placed.bin"].data
    now = (prefix / "lib" / "placed.bin").read_bytes()
    assert len(now) == len(was)
    padding = bytes(len(PLACEHOLDER) - len(str(prefix)))
    assert now == was.replace(f"{PLACEHOLDER}/lib\0".encode(), f"{prefix}/lib\0".encode() + padding)
    assert PLACEHOLDER.encode() not in b"".join(
        path.read_bytes() for path in files_in(prefix) if path.parent.name != "conda-meta"
    )


def test_another_prefix_can_be_written_than_the_one_that_is_filled(tiny: Channel, room: Room, tmp_path: Path) -> None:
    final = tmp_path / "final"
    packages = room.solve("placed", channels=[tiny.url])
    room.install(packages, tmp_path / "staging", known_as=final)
    (tmp_path / "staging").rename(final)
    assert (final / "share" / "placed.txt").read_text() == f"prefix={final}\nlib={final}/lib\n"
    assert subprocess.run([final / "bin" / "placed"], capture_output=True, text=True, check=True).stdout.startswith(
        "prefix="
    )


def files_in(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


@pytest.mark.sampled(3)
@pytest.mark.parametrize("mode", MODES)
def test_files_are_shared_with_the_cache_as_the_setting_says(
    tiny: Channel, room: Room, tmp_path: Path, mode: str
) -> None:
    packages = room.solve("plain", "placed", channels=[tiny.url])
    prefixes = [room.install(packages, tmp_path / name, link_mode=mode) for name in ("one", "two")]
    (cached,) = room.home.glob("conda/plain-1.0-0/share/plain.txt")
    nodes = {path.stat().st_ino for path in (cached, *(prefix / "share" / "plain.txt" for prefix in prefixes))}
    assert len(nodes) == (1 if mode == "hardlink" else 3)
    # What has the prefix in it is nobody else's.
    assert {path.stat().st_nlink for prefix in prefixes for path in files_in(prefix) if "placed." in path.name} == {1}


@pytest.mark.parametrize("mode", MODES)
def test_a_package_s_own_links_stay_links(tiny: Channel, room: Room, tmp_path: Path, mode: str) -> None:
    prefix = room.install(room.solve("plain", "placed", channels=[tiny.url]), tmp_path / "prefix", link_mode=mode)
    assert (prefix / "share" / "link.txt").readlink() == Path("plain.txt")
    assert str(prefix).encode() in (prefix / "lib" / "placed-link").read_bytes()
    assert not any(path.is_symlink() for path in (prefix / "share" / "plain.txt", prefix / "lib" / "placed.bin"))


def test_scripts_of_packages_are_not_run(tiny: Channel, room: Room, tmp_path: Path) -> None:
    prefix = room.install(room.solve("linked", channels=[tiny.url]), tmp_path / "prefix")
    assert (prefix / "bin" / ".linked-post-link.sh").exists()
    assert not list(tmp_path.rglob("*was-run"))


def test_what_activation_reads_is_there(tiny: Channel, room: Room, tmp_path: Path) -> None:
    prefix = room.install(room.solve("activated", "variables", channels=[tiny.url]), tmp_path / "prefix")
    for package in (ACTIVATED, VARIABLES):
        for name, content in package.files.items():
            assert (prefix / name).read_bytes() == content.data, name


def test_the_prefix_says_what_it_is_of(tiny: Channel, room: Room, tmp_path: Path) -> None:
    """As conda's own prefixes do (``conda list`` reads it)."""
    packages = room.solve("plain", "old", channels=[tiny.url])
    prefix = room.install(packages, tmp_path / "prefix")
    assert (prefix / "conda-meta" / "history").exists()
    said = [json.loads(path.read_bytes()) for path in sorted(prefix.glob("conda-meta/*.json"))]
    assert [(one["name"], one["version"], one["build"], one["url"], one["sha256"]) for one in said] == [
        (one.name, one.version, one.build, one.url, one.sha256) for one in sorted(packages, key=lambda one: one.name)
    ]


# As long as a binary has room for, nearly.
_LONGEST = 250


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", ["short", "with a space", "long"])
def test_entry_points_run_wherever_the_prefix_lies(channels: Channels, room: Room, tmp_path: Path, name: str) -> None:
    """A kernel reads no more than 255 bytes of a script's first line, and knows no spaces in it."""
    prefix = tmp_path / (name if name != "long" else "d" * (_LONGEST - len(f"{tmp_path}/")))
    packages = room.solve("python=3.8", "pip", channels=[channels.forge.url])
    assert next(one for one in packages if one.name == "pip").subdir == "noarch"
    room.install(packages, prefix, link_mode="hardlink")
    site = prefix / "lib" / "python3.8" / "site-packages"
    assert (site / "pip" / "__init__.py").exists()
    done = subprocess.run([prefix / "bin" / "pip", "--version"], env={}, capture_output=True, text=True, check=True)
    assert done.stdout == f"pip 22.3.1 from {site}/pip (python 3.8)\n"


def test_a_prefix_that_is_too_long_for_a_binary_is_said(tiny: Channel, room: Room, tmp_path: Path) -> None:
    prefix = tmp_path / "/".join(["far"] * 80)
    with pytest.raises(BuildError, match="cannot be longer than the placeholder prefix") as caught:
        room.install(room.solve("placed", channels=[tiny.url]), prefix)
    assert "ENVBUILD_HOME" in str(caught.value.hint)


def test_a_mirror_stands_in_for_the_channel_of_a_lock(
    tiny: Channel, room: Room, tmp_path: Path, serve: Callable[[Path], ChannelServer]
) -> None:
    packages = room.solve("plain", channels=[tiny.url])
    locked = tuple(
        replace(one, url=f"https://conda.anaconda.org/conda-forge/{SUBDIR}/{one.url.rpartition('/')[2]}")
        for one in packages
    )
    server = serve(tiny.root.parent)
    server.login = ("me", "canary")
    prefix = room.install(locked, tmp_path / "prefix", conda_mirror=[f"conda-forge={server.url_with_login('own')}"])
    assert (prefix / "share" / "plain.txt").exists()
    assert server.fetched() == ["plain-1.0-0.conda"]


# The cache


def test_what_was_fetched_once_is_not_fetched_again(
    served_channel: ChannelServer, tiny: Channel, room: Room, tmp_path: Path
) -> None:
    packages = room.solve("plain", "old", channels=[served_channel.url("own")])
    room.install(packages, tmp_path / "one")
    assert [name for name in served_channel.fetched() if "repodata" not in name] != []
    served_channel.answers.clear()
    room.install(packages, tmp_path / "two")
    assert served_channel.answers == []


def test_packages_of_one_name_from_two_channels_are_told_apart(
    make_channel: Callable[..., Channel], room: Room, tmp_path: Path
) -> None:
    ours = [make_channel(name).add(Package(name="same", files={"share/whose.txt": text(name)})) for name in ("a", "b")]
    for number, channel in enumerate([*ours, *ours]):
        prefix = room.install(room.solve("same", channels=[channel.url]), tmp_path / str(number))
        assert (prefix / "share" / "whose.txt").read_text() == channel.root.name
    assert (tmp_path / "0" / "share" / "whose.txt").read_text() == "a"


@pytest.mark.sampled(4)
@pytest.mark.parametrize("file", ["share/placed.txt", "lib/placed.bin", "info/paths.json", "info/index.json"])
@pytest.mark.parametrize("how", ["gone", "cut", "changed"])
def test_a_package_that_is_damaged_in_the_cache_is_fetched_anew(
    served_channel: ChannelServer, tiny: Channel, room: Room, tmp_path: Path, file: str, how: str
) -> None:
    packages = room.solve("placed", channels=[served_channel.url("own")])
    room.install(packages, tmp_path / "one")
    (path,) = room.home.glob(f"conda/placed-1.0-0/{file}")
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:20] if how == "cut" else bytes(len(content)))
    prefix = room.install(packages, tmp_path / "two")
    assert tree(prefix) == tree(tmp_path / "one")


def tree(prefix: Path) -> dict[str, object]:
    """All that is in a prefix, as if it lay elsewhere."""
    own = str(prefix).encode()
    found: dict[str, object] = {}
    for path in sorted(prefix.rglob("*")):
        where = path.relative_to(prefix).as_posix()
        if path.is_symlink():
            found[where] = str(path.readlink())
        elif path.is_file() and not where.startswith("conda-meta/"):
            content = path.read_bytes().replace(own, b"PREFIX")
            found[where] = (
                content.rstrip(b"\0") if b"\0" not in content else content.replace(b"\0", b""),
                path.stat().st_mode,
            )
        else:
            found[where] = None
    return found


def test_prefixes_are_made_side_by_side_from_one_cache(
    served_channel: ChannelServer, tiny: Channel, room: Room, tmp_path: Path
) -> None:
    packages = room.solve("plain", "old", "placed", "linked", channels=[served_channel.url("own")])
    failures: list[EnvbuildError] = []

    def install(number: int) -> None:
        try:
            room.install(packages, tmp_path / str(number), link_mode="hardlink")
        except EnvbuildError as error:
            failures.append(error)

    threads = [threading.Thread(target=install, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert all(tree(tmp_path / str(number)) == tree(tmp_path / "0") for number in range(4))


# What is said meanwhile


def test_downloads_are_said_with_their_sizes_and_the_rest_with_how_far_it_is(
    served_channel: ChannelServer, tiny: Channel, room: Room, tmp_path: Path
) -> None:
    packages = room.solve("plain", "old", channels=[served_channel.url("own")])
    room.rattler().provided(packages, room.steps.append)
    room.install(packages, tmp_path / "prefix")
    said = [(step.phase, step.text, step.done, step.bytes) for step in room.steps]
    for package in packages:
        name = package.url.rpartition("/")[2]
        assert package.size
        own = [step for step in said if step[1] == name]
        assert own == [("downloading", name, False, package.size), ("downloading", name, True, package.size)]
    assert ("resolving", "what conda packages bring: 2 of 2", True, None) in said
    assert said[-1] == ("installing", "conda packages: 2 of 2", True, None)


def test_what_is_cached_is_not_said_to_be_downloaded(
    served_channel: ChannelServer, tiny: Channel, room: Room, tmp_path: Path
) -> None:
    packages = room.solve("plain", channels=[served_channel.url("own")])
    room.install(packages, tmp_path / "one")
    room.steps.clear()
    room.install(packages, tmp_path / "two")
    assert {step.phase for step in room.steps} == {"installing"}
