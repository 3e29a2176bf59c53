"""The lock: written, read, hashed; and locks of other tools."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from packaging.pylock import Pylock, is_valid_pylock_path

from envbuild.errors import EnvbuildError, LockInvalid, LockStale
from envbuild.lock import BuildLock, Lock, LockedPackage, Origin, lock_to_dict, read_kept, write_requirements
from envbuild.model import Notice
from envbuild.pylock import read_lock, read_lock_file, write_lock
from envbuild.target import Target, here

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = here("3.8")
SHA = "{:064x}".format
SECRET = "c4n4ry-t0ken"
NUMPY = LockedPackage(
    name="numpy",
    version="1.19.5",
    kind="wheel",
    sha256=SHA(1),
    url="https://files.invalid/numpy-1.19.5-py3-none-any.whl",
    file_name="numpy-1.19.5-py3-none-any.whl",
    size=123,
    uploaded=datetime(2021, 1, 5, 12, tzinfo=timezone.utc),
)
SDIST = LockedPackage(
    name="old-one",
    version="0.1",
    kind="sdist",
    sha256=SHA(2),
    url="https://files.invalid/old-one-0.1.tar.gz",
    file_name="old-one-0.1.tar.gz",
    extras=("more",),
)
VCS = LockedPackage(
    name="from-git",
    version=None,
    kind="vcs",
    sha256="",
    url="https://git.invalid/r.git",
    commit="a" * 40,
    subdirectory="python",
)
LOCAL = LockedPackage(
    name="local-wheel", version=None, kind="archive", sha256=SHA(3), path="w/local_wheel-1-py3-none-any.whl"
)
FOLDER = LockedPackage(name="own-code", version=None, kind="directory", sha256=SHA(4), path="own", extras=("x",))
SETUPTOOLS = LockedPackage(
    name="setuptools",
    version="58.0.0",
    kind="wheel",
    sha256=SHA(5),
    url="https://files.invalid/setuptools-58.0.0-py3-none-any.whl",
    file_name="setuptools-58.0.0-py3-none-any.whl",
    extras=("toml",),
)
LOCK = Lock(
    python="3.8.5",
    target=HERE,
    packages=(VCS, LOCAL, NUMPY, SDIST, FOLDER),
    build=(BuildLock(builds=("old-one", "own-code"), packages=(SETUPTOOLS,)),),
    origin=Origin(
        spec_digest="d" * 64,
        as_of="2021-06-16T12:00:00Z",
        as_of_reason="the model was made on 2021-06-15",
        engine="uv",
        indexes=("https://i.invalid/simple",),
        notices=(Notice(code="younger-pin", message="six let in"),),
    ),
)


def reading(text: str, python: str = "3.8.5", target: Target = HERE) -> Lock:
    return read_lock(text, "pylock.toml", python, target)


def sorted_by_name(lock: Lock) -> Lock:
    return replace(lock, packages=tuple(sorted(lock.packages, key=lambda package: package.name)))


def test_what_is_written_is_read_back_whole() -> None:
    assert reading(write_lock(LOCK)) == sorted_by_name(LOCK)


def test_what_is_kept_is_read_back_whole_and_the_same() -> None:
    text = write_lock(LOCK)
    assert read_kept(text, "kept") == reading(text) == sorted_by_name(LOCK)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "lock-version = '1.0'",
        "[tool.envbuild]\nversion = 1",
        write_lock(LOCK).replace("1.19.5", "1.19.4"),
        write_lock(LOCK).replace("hash = ", "hashes = "),
        write_lock(LOCK).replace("[[packages]]", "[[parcels]]"),
        write_lock(LOCK)[:-200],
    ],
)
def test_what_is_kept_and_damaged_is_refused(text: str) -> None:
    assert text != write_lock(LOCK)
    with pytest.raises(LockInvalid) as failure:
        read_kept(text, "kept")
    assert failure.value.place is not None


def test_the_text_is_a_lock_of_pep_751() -> None:
    text = write_lock(LOCK)
    pylock = Pylock.from_dict(tomllib.loads(text))
    assert [str(package.name) for package in pylock.packages] == sorted(package.name for package in LOCK.packages)
    assert str(pylock.requires_python) == "==3.8.*"
    assert is_valid_pylock_path(Path("pylock.toml"))


def test_the_same_lock_gives_the_same_bytes_whatever_the_order() -> None:
    assert write_lock(replace(LOCK, packages=LOCK.packages[::-1])) == write_lock(LOCK)


def changed(index: int, **values: Any) -> Lock:
    packages = list(LOCK.packages)
    packages[index] = replace(packages[index], **values)
    return replace(LOCK, packages=tuple(packages))


def rebuilt(**values: Any) -> Lock:
    return replace(LOCK, build=(replace(LOCK.build[0], packages=(replace(SETUPTOOLS, **values),)),))


@pytest.mark.parametrize(
    "lock",
    [
        changed(2, url="https://mirror.invalid/numpy.whl"),
        changed(2, uploaded=None),
        changed(2, size=None),
        changed(2, file_name="other-name.whl"),
        changed(1, path="elsewhere/local.whl"),
        changed(4, path="elsewhere"),
        changed(0, url="https://mirror.invalid/r.git"),
        replace(LOCK, packages=LOCK.packages[::-1]),
        replace(LOCK, origin=replace(LOCK.origin, as_of="now")),
        replace(LOCK, origin=replace(LOCK.origin, spec_digest="e" * 64)),
        replace(LOCK, origin=replace(LOCK.origin, notices=())),
        replace(LOCK, origin=replace(LOCK.origin, engine="pip")),
        replace(LOCK, origin=replace(LOCK.origin, indexes=())),
        replace(LOCK, origin=Origin()),
        rebuilt(url="https://mirror.invalid/setuptools.whl"),
    ],
)
def test_the_hash_stays_when_something_volatile_changes(lock: Lock) -> None:
    assert lock != LOCK
    assert lock.hash == LOCK.hash


def test_the_hash_changes_with_everything_that_is_installed() -> None:
    locks = [
        LOCK,
        replace(LOCK, python="3.8.6"),
        replace(LOCK, python="3.8"),
        replace(LOCK, target=Target("cp39", HERE.platform)),
        replace(LOCK, target=Target("cp38", "manylinux_2_17_aarch64")),
        changed(2, name="numpi"),
        changed(2, version="1.19.4"),
        changed(2, extras=("x",)),
        changed(2, sha256=SHA(99)),
        changed(0, commit="b" * 40),
        changed(0, subdirectory=None),
        changed(4, sha256=SHA(98)),
        replace(LOCK, packages=LOCK.packages[1:]),
        replace(LOCK, build=()),
        rebuilt(version="58.0.1"),
        rebuilt(sha256=SHA(97)),
        rebuilt(extras=()),
        replace(LOCK, build=(replace(LOCK.build[0], builds=("old-one",)),)),
    ]
    hashes = {lock.hash for lock in locks}
    assert len(hashes) == len(locks)


def test_the_hash_is_the_same_in_every_release() -> None:
    # Locks and environments of users lie under it: a change here throws all of them away.
    lock = Lock(python="3.8.5", target=Target("cp38", "manylinux_2_36_x86_64"), packages=(NUMPY, VCS), build=LOCK.build)
    assert lock.hash == "9ca3a1390617a9460e6b06fb125a320027285be80ed8c7188e06ef5c2023441b"


def test_credentials_are_never_written() -> None:
    login = f"https://user:{SECRET}@i.invalid"
    lock = replace(
        changed(2, url=f"{login}/numpy-1.19.5-py3-none-any.whl"),
        origin=replace(LOCK.origin, indexes=(f"{login}/simple", f"https://{SECRET}@i.invalid/simple")),
        build=(BuildLock(builds=("old-one",), packages=(replace(SETUPTOOLS, url=f"{login}/setuptools.whl"),)),),
    )
    text = write_lock(lock)
    assert SECRET not in text
    assert "https://i.invalid/numpy-1.19.5-py3-none-any.whl" in text
    assert reading(text).hash == lock.hash


def test_requirement_lines_are_hashed_and_name_local_parts_by_path() -> None:
    head, *lines = write_requirements(LOCK).splitlines()
    assert LOCK.hash in head
    assert lines == [
        f"from-git @ git+https://git.invalid/r.git@{'a' * 40}#subdirectory=python",
        f"w/local_wheel-1-py3-none-any.whl --hash=sha256:{SHA(3)}",
        f"numpy==1.19.5 --hash=sha256:{SHA(1)}",
        f"old-one==0.1 --hash=sha256:{SHA(2)}",
        "own",
    ]


def test_the_json_form_has_the_hash_and_every_package() -> None:
    content = lock_to_dict(LOCK)
    assert content["lock_hash"] == LOCK.hash
    assert [package["name"] for package in content["packages"]] == [package.name for package in LOCK.packages]
    assert content["notices"] == [{"code": "younger-pin", "message": "six let in", "place": None}]


def test_what_must_be_built_is_known() -> None:
    assert [package.name for package in LOCK.packages if package.is_built] == ["from-git", "old-one", "own-code"]


def test_a_version_is_found_by_any_spelling_of_the_name() -> None:
    assert LOCK.version_of("Old_One") == "0.1"
    assert LOCK.version_of("absent") is None


# Damaged and edited locks


def edited(change: Callable[[dict[str, Any]], object]) -> str:
    content = copy.deepcopy(tomllib.loads(write_lock(LOCK)))
    change(content)
    return tomli_w.dumps(content)


def invalid(text: str) -> LockInvalid:
    with pytest.raises(LockInvalid) as caught:
        reading(text)
    assert caught.value.code == "lock-invalid"
    assert caught.value.place is not None
    return caught.value


def numpy_of(content: dict[str, Any]) -> dict[str, Any]:
    return next(package for package in content["packages"] if package["name"] == "numpy")


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["packages"][0]["vcs"].update({"commit-id": "b" * 40}),
        lambda c: numpy_of(c)["wheels"][0]["hashes"].update(sha256=SHA(77)),
        lambda c: c["packages"].remove(numpy_of(c)),
        lambda c: c["tool"]["envbuild"].update(python="3.8.6"),
        lambda c: c["tool"]["envbuild"].pop("build"),
    ],
)
def test_an_edited_lock_whose_hash_does_not_match_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    assert "hash" in invalid(edited(change)).message


def test_an_edited_lock_without_its_hash_is_taken_as_it_is() -> None:
    def change(content: dict[str, Any]) -> None:
        content["packages"][0]["vcs"]["commit-id"] = "b" * 40
        content["tool"]["envbuild"].pop("hash")

    assert reading(edited(change)).packages[0].commit == "b" * 40


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["tool"]["envbuild"].update(version=99),
        lambda c: c["tool"]["envbuild"].pop("version"),
        lambda c: c["tool"]["envbuild"].pop("python"),
        lambda c: c["tool"]["envbuild"].pop("platform"),
        lambda c: c["tool"]["envbuild"].update(build=3),
        lambda c: c["tool"]["envbuild"].update(build=[{"builds": ["x"]}]),
        lambda c: c["tool"]["envbuild"].update(build=[{"builds": ["x"], "packages": [{"name": "y"}]}]),
        lambda c: c["tool"]["envbuild"].update(notices=["x"]),
        lambda c: c["tool"]["envbuild"]["build"][0]["packages"][0].update(sha256="x\n--index-url https://e.invalid"),
        lambda c: c["tool"]["envbuild"]["build"][0]["packages"][0].update(name="x @ https://e.invalid/x.whl"),
        lambda c: c["tool"]["envbuild"]["build"][0]["packages"][0].update(version="1 --pre"),
        lambda c: c.pop("packages"),
        lambda c: c.update({"lock-version": "7.0"}),
        lambda c: c.update({"lock-version": 3}),
        lambda c: c.update(packages=3),
        lambda c: numpy_of(c).update(version="not a version"),
        lambda c: numpy_of(c).update(tool={"envbuild": 3}),
        lambda c: numpy_of(c)["wheels"][0].pop("hashes"),
        lambda c: numpy_of(c)["wheels"][0].update(hashes={"md5": "0" * 32}),
        lambda c: numpy_of(c)["wheels"][0]["hashes"].update(sha256="abc"),
        lambda c: numpy_of(c).pop("version"),
    ],
)
def test_a_damaged_lock_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    invalid(edited(change))


@pytest.mark.parametrize("text", ["", "not toml = = 1", "[[packages]]\n", "a = " + "[" * 5000, "a = " + "9" * 5000])
def test_what_is_no_lock_is_refused(text: str) -> None:
    invalid(text)


def test_a_lock_for_another_target_is_stale() -> None:
    text = write_lock(replace(LOCK, target=Target("cp38", "manylinux_2_17_riscv64")))
    with pytest.raises(LockStale, match="riscv64") as caught:
        reading(text)
    assert caught.value.code == "lock-stale"
    with pytest.raises(LockStale, match="cp39"):
        reading(write_lock(LOCK), python="3.9.1", target=here("3.9"))


@pytest.mark.parametrize("name", ["pylock.toml", "pylock.prod.toml"])
def test_a_lock_is_read_from_a_file_of_either_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(write_lock(LOCK))
    assert read_lock_file(tmp_path / name, "3.8.5", HERE).hash == LOCK.hash


@pytest.mark.parametrize("name", ["lock.toml", "pylock.a.b.toml", "pylock.txt", "requirements.txt"])
def test_a_file_of_another_name_is_no_lock(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(write_lock(LOCK))
    with pytest.raises(LockInvalid, match="no name for a lock"):
        read_lock_file(tmp_path / name, "3.8.5", HERE)


def test_a_lock_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pylock.toml"

    def refused() -> None:
        with pytest.raises(LockInvalid):
            read_lock_file(path, "3.8.5", HERE)

    refused()
    path.write_bytes(b"\xff")
    refused()
    path.unlink()
    path.mkdir()
    refused()


def test_a_lock_file_that_is_too_large_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "pylock.toml").open("wb") as file:
        file.truncate(100 * 2**20)
    with pytest.raises(LockInvalid, match="too large"):
        read_lock_file(tmp_path / "pylock.toml", "3.8.5", HERE)


# Locks of other tools


def foreign(*packages: dict[str, Any], **more: Any) -> str:
    head = {"lock-version": "1.0", "created-by": "another tool", "packages": list(packages)}
    return tomli_w.dumps({**head, **more})


def wheel(tag: str, number: int) -> dict[str, Any]:
    name = f"numpy-1.19.5-{tag}.whl"
    return {"name": name, "url": f"https://files.invalid/{name}", "hashes": {"sha256": SHA(number)}}


def test_of_several_wheels_the_one_for_the_target_is_chosen() -> None:
    arch = HERE.platform.split("_", maxsplit=3)[3]
    wheels = [
        wheel("cp38-cp38-win_amd64", 1),
        wheel(f"cp38-cp38-manylinux_2_17_{arch}", 2),
        wheel(f"cp39-cp39-manylinux_2_17_{arch}", 3),
        wheel("cp38-cp38-macosx_11_0_arm64", 4),
        wheel(f"cp38-cp38-manylinux_2_99_{arch}", 5),
        wheel("py3-none-any", 6),
    ]
    sdist = {"name": "numpy-1.19.5.tar.gz", "url": "https://files.invalid/n.tar.gz", "hashes": {"sha256": SHA(7)}}
    lock = reading(foreign({"name": "numpy", "version": "1.19.5", "wheels": wheels, "sdist": sdist}))
    assert [(package.kind, package.sha256) for package in lock.packages] == [("wheel", SHA(2))]


def test_without_a_wheel_for_the_target_the_sdist_is_chosen_and_without_both_the_lock_is_stale() -> None:
    sdist = {"name": "numpy-1.19.5.tar.gz", "url": "https://files.invalid/n.tar.gz", "hashes": {"sha256": SHA(7)}}
    package = {"name": "numpy", "version": "1.19.5", "wheels": [wheel("cp38-cp38-win_amd64", 1)]}
    lock = reading(foreign({**package, "sdist": sdist}))
    assert [(found.kind, found.file_name) for found in lock.packages] == [("sdist", "numpy-1.19.5.tar.gz")]
    with pytest.raises(LockStale):
        reading(foreign(package))


def test_markers_of_a_foreign_lock_are_followed() -> None:
    packages = [
        {"name": "numpy", "version": "1.19.5", "marker": marker, "wheels": [wheel("py3-none-any", number)]}
        for number, marker in enumerate(["python_version < '3.8'", "python_full_version >= '3.8.5'"], start=1)
    ]
    assert [package.sha256 for package in reading(foreign(*packages)).packages] == [SHA(2)]


def test_a_foreign_lock_for_another_python_is_stale() -> None:
    with pytest.raises(LockStale):
        reading(
            foreign(
                {"name": "numpy", "version": "1.19.5", "wheels": [wheel("py3-none-any", 1)]},
                **{"requires-python": ">=3.11"},
            )
        )


def test_a_foreign_lock_may_name_wheels_by_url_alone_and_has_no_origin() -> None:
    entry = {"url": "https://files.invalid/a/numpy-1.19.5-py3-none-any.whl#x=y", "hashes": {"sha256": SHA(1)}}
    lock = reading(foreign({"name": "numpy", "version": "1.19.5", "wheels": [entry]}))
    assert lock.packages[0].file_name == "numpy-1.19.5-py3-none-any.whl"
    assert (lock.python, lock.origin, lock.build) == ("3.8.5", Origin(), ())


def test_errors_about_locks_have_exit_code_4() -> None:
    with pytest.raises(EnvbuildError) as caught:
        reading("")
    assert caught.value.exit_code == 4
