"""What is said where channels, packages, the disk or py-rattler fail; and that nothing half-made stays."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard
from channel import SUBDIR, Channel, Package, text
from channel_server import ChannelServer
from kit import REPO
from room import Room
from test_installing import tree

from envbuild.conda.package import CondaHalf, CondaPackage, to_table
from envbuild.conda.session import session
from envbuild.errors import (
    BuildTimedOut,
    DownloadFailed,
    EnvbuildError,
    HashMismatch,
    IndexUnreachable,
    LockTimedOut,
    StoreError,
    UsageError,
)

NOISE = random.Random(1).randbytes(300_000).hex()
PACKAGE = Package(name="name", files={"share/name.txt": text("the right one\n"), "share/noise.txt": text(NOISE)})
OTHER = Package(name="name", files={"share/name.txt": text("another one\n")})
OWN_MOUNTS = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--map-root-user", "--mount")
CLOSED = "http://127.0.0.1:1/channel"
ZST = f"{SUBDIR}/repodata.json.zst"


@pytest.fixture
def own(own_channel: Channel) -> Channel:
    """A channel with one package."""
    return own_channel.add(PACKAGE)


# The channel


def failed(room: Room, kind: type[EnvbuildError], *channels: str, **settings: Any) -> EnvbuildError:
    """What is said when a channel is asked for the package."""
    with pytest.raises(kind) as caught:
        room.solve("name", channels=channels, **settings)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value


def test_a_channel_that_is_down_is_said(room: Room, own: Channel) -> None:
    error = failed(room, IndexUnreachable, own.url, CLOSED)
    assert "http://127.0.0.1:1/channel/" in error.message
    assert "Connection refused" in error.message
    assert "is there a network" in str(error.hint)
    assert "--conda-packages map" in str(error.hint)
    assert error.details == (f"channel: {own.url}", f"channel: {CLOSED}")


@pytest.mark.parametrize(
    ("status", "words", "hint"),
    [
        (404, "404 Not Found", "may hold a login"),
        (500, "500 Internal Server Error", "URL right"),
        (403, "403", "login"),
    ],
)
def test_a_channel_that_answers_no_is_said(
    own: Channel, served_channel: ChannelServer, room: Room, status: int, words: str, hint: str
) -> None:
    served_channel.status = status
    error = failed(room, IndexUnreachable, served_channel.url("own"))
    assert words in error.message
    assert served_channel.url("own") in error.message
    assert hint in str(error.hint)


def test_a_channel_that_is_no_folder_is_said(room: Room, tmp_path: Path) -> None:
    error = failed(room, IndexUnreachable, (tmp_path / "nowhere").as_uri())
    assert f"{tmp_path}/nowhere" in error.message
    assert "No such file" in error.message


@pytest.mark.sampled(6)
@pytest.mark.parametrize(
    "content",
    [
        b"no zstd",
        zstandard.compress(b'{"packages.conda": {"name-1.0'),
        zstandard.compress(b"<html>please log in</html>"),
        zstandard.compress(b'{"packages": [1]}'),
        zstandard.compress(b'{"packages.conda": {"name-1.0-0.conda": {"name": "name"}}}'),
        b"",
    ],
)
def test_a_channel_that_says_nonsense_is_said(
    own: Channel, served_channel: ChannelServer, room: Room, content: bytes
) -> None:
    served_channel.served = {ZST: content}
    error = failed(room, IndexUnreachable, served_channel.url("own"))
    assert "damaged" in str(error.hint)
    assert error.details == (f"channel: {served_channel.url('own')}",)
    served_channel.served = {}
    assert room.solve("name", channels=[served_channel.url("own")])


@pytest.mark.slow
def test_an_answer_that_breaks_off_is_said(own: Channel, served_channel: ChannelServer, room: Room) -> None:
    served_channel.cut = ZST
    print(failed(room, IndexUnreachable, served_channel.url("own")))


def test_a_channel_that_does_not_answer_in_time_is_said(
    own: Channel, served_channel: ChannelServer, room: Room
) -> None:
    served_channel.open.clear()
    error = failed(room, LockTimedOut, served_channel.url("own"), lock_timeout=1.0)
    assert "longer than 1 seconds" in error.message
    assert "ENVBUILD_LOCK_TIMEOUT" in str(error.hint)
    assert rattlers() == []


def rattlers() -> list[int]:
    """The processes of py-rattler that this test's process has."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words, parent = (
                path.read_bytes().split(b"\0"),
                (path.parent / "stat").read_text().rpartition(")")[2].split()[1],
            )
        except OSError:
            continue
        if any(word.endswith(b"envbuild/conda/program.py") for word in words) and int(parent) == os.getpid():
            found.append(int(path.parent.name))
    return found


# Packages


def corrupt(channel: Channel, how: str) -> bytes:
    """What lies there instead of the package."""
    content = channel.file(PACKAGE).read_bytes()
    middle = len(content) // 2
    return {
        "changed": content[:middle] + bytes(100) + content[middle + 100 :],
        "cut": content[:middle],
        "page": b"<html>please log in</html>",
        "empty": b"",
        "another": OTHER.content(),
    }[how]


HOW = ("changed", "cut", "page", "empty", "another")


@pytest.mark.sampled(5)
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("by", ["file", "http"])
def test_a_package_that_is_not_the_locked_one_is_refused(
    own: Channel, served_channel: ChannelServer, room: Room, tmp_path: Path, how: str, by: str
) -> None:
    url = own.url if by == "file" else served_channel.url("own")
    packages, right = room.solve("name", channels=[url]), own.file(PACKAGE).read_bytes()
    own.file(PACKAGE).write_bytes(corrupt(own, how))
    with pytest.raises(HashMismatch) as caught:
        room.install(packages, tmp_path / "prefix")
    assert "name-1.0-0.conda" in caught.value.message
    assert "do not install it" in str(caught.value.hint)
    assert "\n" not in caught.value.message
    assert not (tmp_path / "prefix" / "share" / "name.txt").exists()
    # It was not kept, either.
    own.file(PACKAGE).write_bytes(right)
    prefix = room.install(packages, tmp_path / "again")
    assert (prefix / "share" / "name.txt").read_text() == "the right one\n"


@pytest.mark.parametrize("how", HOW[1:4])
@pytest.mark.parametrize("by", ["file", "http"])
def test_a_package_whose_content_cannot_be_read_is_said(
    own: Channel, served_channel: ChannelServer, room: Room, how: str, by: str
) -> None:
    packages = room.solve("name", channels=[own.url if by == "file" else served_channel.url("own")])
    own.file(PACKAGE).write_bytes(corrupt(own, how))
    with pytest.raises(IndexUnreachable, match="a conda package cannot be read") as caught:
        room.rattler().provided(packages, room.steps.append)
    assert "\n" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("by", ["file", "http"])
def test_a_lock_is_held_to_its_hash_whatever_the_cache_has(
    own: Channel, served_channel: ChannelServer, room: Room, tmp_path: Path, by: str
) -> None:
    """The cache has the package that the channel had once; the lock is of another file of the same name, and so is nothing."""
    (package,) = room.solve("name", channels=[own.url if by == "file" else served_channel.url("own")])
    room.install([package], tmp_path / "one")
    other = replace(package, sha256=hashlib.sha256(OTHER.content()).hexdigest(), md5=None, size=None)
    with pytest.raises(HashMismatch):
        room.install([other], tmp_path / "two")
    own.file(PACKAGE).write_bytes(OTHER.content())
    prefix = room.install([other], tmp_path / "three")
    assert (prefix / "share" / "name.txt").read_text() == "another one\n"


@pytest.mark.sampled(3)
@pytest.mark.parametrize("by", ["file", "http", "closed"])
def test_a_package_that_is_gone_is_said(
    own: Channel, served_channel: ChannelServer, room: Room, tmp_path: Path, by: str
) -> None:
    packages = room.solve("name", channels=[own.url if by == "file" else served_channel.url("own")])
    if by == "closed":
        packages = tuple(replace(one, url=f"{CLOSED}/{SUBDIR}/name-1.0-0.conda") for one in packages)
    own.file(PACKAGE).unlink()
    with pytest.raises(DownloadFailed) as caught:
        room.install(packages, tmp_path / "prefix")
    assert "name-1.0-0.conda" in caught.value.message
    assert {"file": "No such file", "http": "404", "closed": "Connection refused"}[by] in caught.value.message
    assert caught.value.hint


@pytest.mark.slow
def test_a_download_that_breaks_off_is_said_and_the_next_try_succeeds(
    own: Channel, served_channel: ChannelServer, room: Room, tmp_path: Path
) -> None:
    packages = room.solve("name", channels=[served_channel.url("own")])
    served_channel.cut = "name-1.0-0.conda"
    with pytest.raises((DownloadFailed, HashMismatch)) as caught:
        room.install(packages, tmp_path / "prefix")
    assert "name-1.0-0.conda" in caught.value.message
    served_channel.cut = None
    assert (room.install(packages, tmp_path / "again") / "share" / "noise.txt").read_text() == NOISE


def test_an_install_that_takes_too_long_is_said(
    own: Channel, served_channel: ChannelServer, room: Room, tmp_path: Path
) -> None:
    packages = room.solve("name", channels=[served_channel.url("own")])
    served_channel.open.clear()
    with pytest.raises(BuildTimedOut, match="longer than 1 seconds"):
        room.install(packages, tmp_path / "prefix", build_timeout=1.0)
    assert rattlers() == []


# Without a network


def test_offline_what_is_in_the_cache_is_enough(
    own: Channel, served_channel: ChannelServer, room: Room, tmp_path: Path
) -> None:
    urls = [served_channel.url("own")]
    packages = room.solve("name", channels=urls)
    room.rattler().provided(packages, room.steps.append)
    room.install(packages, tmp_path / "one")
    served_channel.requests.clear()
    assert room.solve("name", channels=urls, offline=True) == packages
    assert room.rattler(offline=True).provided(packages, room.steps.append) == {packages[0].sha256: ()}
    assert (room.install(packages, tmp_path / "two", offline=True) / "share" / "name.txt").exists()
    assert served_channel.requests == []


def test_offline_what_is_not_in_the_cache_is_said(
    own: Channel, served_channel: ChannelServer, room: Room, tmp_path: Path
) -> None:
    urls = [served_channel.url("own")]
    packages = room.solve("name", channels=urls)
    served_channel.requests.clear()
    other = Room(tmp_path / "other")
    for asking in (
        lambda: other.solve("name", channels=urls, offline=True),
        lambda: other.rattler(offline=True).provided(packages, room.steps.append),
    ):
        with pytest.raises(IndexUnreachable, match="nothing is fetched offline") as caught:
            asking()
        assert "--offline" in str(caught.value.hint)
    with pytest.raises(DownloadFailed, match=r"not in the cache, and nothing is fetched offline: name 1\.0") as caught:
        other.install(packages, tmp_path / "prefix", offline=True)
    assert "--offline" in str(caught.value.hint)
    assert served_channel.requests == []


def test_offline_a_package_that_is_damaged_in_the_cache_is_not_installed(
    own: Channel, served_channel: ChannelServer, room: Room, tmp_path: Path
) -> None:
    packages = room.solve("name", channels=[served_channel.url("own")])
    room.install(packages, tmp_path / "one")
    (path,) = room.home.glob("conda/name-1.0-0/share/name.txt")
    path.write_text("the wrong one\n")
    with pytest.raises(DownloadFailed, match="nothing is fetched offline"):
        room.install(packages, tmp_path / "two", offline=True)


def test_a_channel_on_this_machine_s_disk_is_read_offline(own: Channel, room: Room, tmp_path: Path) -> None:
    packages = room.solve("name", channels=[own.url], offline=True)
    assert (room.install(packages, tmp_path / "prefix", offline=True) / "share" / "name.txt").exists()


# py-rattler


def test_py_rattler_that_is_not_installed_is_said(own: Channel, room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rattler", None)
    error = failed(room, UsageError, own.url)
    assert "py-rattler is not installed" in error.message
    assert "pip install 'envbuild[conda]'" in str(error.hint)
    assert "--conda-packages map" in str(error.hint)


def killing(times: int, prefix: Path | None = None) -> threading.Thread:
    """Kills py-rattler as soon as it is there, some times in a row.

    :param prefix: wait until it is there, and put a file into it as if py-rattler had.
    """

    def kill() -> None:
        seen: set[int] = set()
        while len(seen) < times:
            for pid in set(rattlers()) - seen:
                while prefix is not None and not prefix.is_dir():
                    time.sleep(0.001)
                os.kill(pid, signal.SIGKILL)
                seen.add(pid)
                if prefix is not None:
                    (prefix / "stray.txt").write_text("half")

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_py_rattler_that_dies_once_is_asked_again_and_begins_anew(
    own: Channel, served_channel: ChannelServer, room: Room, tmp_path: Path
) -> None:
    packages = room.solve("name", channels=[served_channel.url("own")])
    prefix = tmp_path / "prefix"
    prefix.mkdir()
    # It waits in its download for its end.
    served_channel.open.clear()
    thread = killing(1, prefix)
    opened = threading.Thread(target=lambda: (thread.join(), served_channel.open.set()))
    opened.start()
    room.install(packages, prefix)
    opened.join()
    assert (prefix / "share" / "name.txt").exists()
    assert not (prefix / "stray.txt").exists()


def test_py_rattler_that_dies_always_is_said(own: Channel, room: Room, tmp_path: Path) -> None:
    packages = room.solve("name", channels=[own.url])
    for asking in (
        lambda: room.solve("name", channels=[own.url]),
        lambda: room.rattler().provided(packages, room.steps.append),
        lambda: room.install(packages, tmp_path / "prefix"),
    ):
        thread = killing(2)
        with pytest.raises(EnvbuildError, match="py-rattler ended with -9") as caught:
            asking()
        thread.join()
        assert caught.value.exit_code in (4, 5)


def test_one_process_answers_all_of_a_session_and_is_gone_after_it(own: Channel, room: Room, tmp_path: Path) -> None:
    with session():
        packages = room.solve("name", channels=[own.url])
        (one,) = rattlers()
        with session():
            room.rattler().provided(packages, room.steps.append)
        room.install(packages, tmp_path / "prefix")
        assert rattlers() == [one]
        os.kill(one, signal.SIGKILL)
        assert room.solve("name", channels=[own.url]) == packages
        (other,) = rattlers()
        assert other != one
    assert rattlers() == []


# The disk, and the end


def once(room: Room, prefix: Path, packages: Sequence[CondaPackage], *before: str, mode: str = "copy") -> Any:
    """An install as a process of its own; what it says is wrong."""
    done = subprocess.Popen(
        [*before, *script(room, prefix, mode)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=environ(room),
    )  # fmt: skip
    said, errors = done.communicate(content(packages), timeout=120)
    assert b"Traceback" not in errors, errors
    return json.loads(said) if said.strip() else None


def script(room: Room, prefix: Path, mode: str) -> list[str]:
    program = str(Path(__file__).with_name("install_once.py"))
    return [sys.executable, program, str(room.home), str(prefix), mode]


def environ(room: Room) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPO), "STORE": str(room.home)}


def content(packages: Sequence[CondaPackage]) -> bytes:
    half = CondaHalf(packages=tuple(packages), channels=(), subdir=SUBDIR)
    return json.dumps(to_table(half), default=lambda moment: None).encode()


@pytest.mark.sampled(5)
@pytest.mark.parametrize("kilobytes", [64, 256, 512, 800, 1100])
def test_a_full_disk_is_said(own: Channel, room: Room, kilobytes: int) -> None:
    """Full when the package is fetched, when it is unpacked, when it is copied."""
    packages = room.solve("name", channels=[own.url])
    mount = f'mount -t tmpfs -o size={kilobytes}k,mode=700 tiny "$STORE" && exec "$@"'
    error = once(room, room.home / "prefix", packages, *OWN_MOUNTS, "sh", "-c", mount, "sh")
    assert (error["code"], error["exit_code"]) == (StoreError.code, 5), error
    assert "no space left" in error["message"]
    assert "envbuild cache clean" in error["hint"]


def test_a_store_that_cannot_be_written_is_said(own: Channel, room: Room) -> None:
    packages = room.solve("name", channels=[own.url])
    mount = 'mount --bind "$STORE" "$STORE" && mount -o remount,ro,bind "$STORE" && exec "$@"'
    error = once(room, room.home / "prefix", packages, *OWN_MOUNTS, "sh", "-c", mount, "sh")
    assert error["code"] == StoreError.code, error
    assert "ENVBUILD_HOME" in error["hint"]


def many(own_channel: Channel) -> None:
    """Enough packages that an install takes a while."""
    for number in range(12):
        files = {f"share/{number}/{name}.txt": text(f"{number} {name} {NOISE[:4000]}") for name in range(40)}
        own_channel.add(Package(name=f"many-{number}", files=files))


def present(cache: Path, meta: Path) -> int:
    """How many of the packages there is something of."""
    return len({*cache.glob("*many-*[0-9]"), *cache.glob(".many-*"), *meta.glob("many-*.json")})


@pytest.mark.slow
@pytest.mark.parametrize("by", ["file", "http"])
def test_an_install_that_is_killed_at_any_moment_is_made_up_for_by_the_next_one(
    own_channel: Channel, served_channel: ChannelServer, room: Room, tmp_path: Path, by: str
) -> None:
    many(own_channel)
    url = own_channel.url if by == "file" else served_channel.url("own")
    packages = room.solve(*(f"many-{number}" for number in range(12)), channels=[url])
    assert once(Room(tmp_path / "whole"), tmp_path / "right", packages, mode="hardlink") is None
    right, chance, ended = tree(tmp_path / "right"), random.Random(12), 0
    # Each package is something in the cache, and then something in the prefix.
    for number, some in enumerate([1, *(chance.randrange(24) for _ in range(4))]):
        fresh, prefix = Room(tmp_path / f"home-{number}"), tmp_path / f"prefix-{number}"
        process = subprocess.Popen(
            script(fresh, prefix, "hardlink"), stdin=subprocess.PIPE, env=environ(fresh), start_new_session=True
        )
        assert process.stdin is not None
        with process.stdin as pipe:
            pipe.write(content(packages))
        while process.poll() is None and present(fresh.home / "conda", prefix / "conda-meta") < some:
            time.sleep(0.001)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            ended += 1
        process.wait()
        assert once(fresh, prefix, packages, mode="hardlink") is None
        assert tree(prefix) == right
    assert ended > 0


def test_who_interrupts_an_install_leaves_no_process_behind(
    own: Channel, served_channel: ChannelServer, room: Room, tmp_path: Path
) -> None:
    packages = room.solve("name", channels=[served_channel.url("own")])
    served_channel.open.clear()
    served_channel.waiting.clear()
    process = subprocess.Popen(
        script(room, tmp_path / "prefix", "copy"), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environ(room)
    )
    assert process.stdin is not None
    with process.stdin as pipe:
        pipe.write(content(packages))
    assert served_channel.waiting.wait(60)
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    pids = [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
    assert len(pids) == 1
    process.send_signal(signal.SIGINT)
    process.wait(60)
    assert process.returncode != 0
    assert not Path(f"/proc/{pids[0]}").exists()
