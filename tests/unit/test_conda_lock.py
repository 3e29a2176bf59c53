"""conda-lock.yml: written, read, and of other tools; which file counts; what can be told of match specs."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from samples import WITH_CONDA, model_of
from test_lock import LOCK as OF_INDEX
from test_lock import SECRET, SHA

from envbuild import lock_files
from envbuild.conda.match import may_match
from envbuild.conda.package import CondaHalf, CondaPackage
from envbuild.conda_lock.reading import is_ours, read_conda_lock, read_conda_lock_file
from envbuild.conda_lock.writing import write_conda_lock
from envbuild.errors import EnvbuildError, LockError, LockInvalid, LockStale, UsageError
from envbuild.lock import Lock, LockedPackage, Origin, read_kept
from envbuild.pylock import write_lock
from envbuild.spec import read_spec
from envbuild.staleness import reasons_against
from envbuild.target import Target

X86 = Target("cp38", "manylinux_2_31_x86_64")
CHANNEL = "https://channels.invalid/forge"
MD5 = "{:032x}".format
PYTHON = CondaPackage(
    name="python",
    version="3.8.15",
    build="h257c98d_0_cpython",
    build_number=0,
    subdir="linux-64",
    url=f"{CHANNEL}/linux-64/python-3.8.15-h257c98d_0_cpython.conda",
    channel=f"{CHANNEL}/",
    md5=MD5(10),
    sha256=SHA(10),
    size=25_000_000,
    made=datetime(2022, 11, 2, 8, 30, 0, 250_000, tzinfo=timezone.utc),
    depends=("tzdata", "__glibc >=2.17,<3.0.a0", "libzlib >=1.2.13,<1.3.0a0", "libzlib !=1.2.14"),
    constrains=("python_abi 3.8.* *_cp38",),
)
NUMPY = CondaPackage(
    name="numpy",
    version="1.23.4",
    build="py38h7042d01_1",
    build_number=1,
    subdir="linux-64",
    url=f"{CHANNEL}/linux-64/numpy-1.23.4-py38h7042d01_1.tar.bz2",
    channel=CHANNEL,
    md5=MD5(11),
    sha256=SHA(11),
    depends=("python >=3.8,<3.9.0a0", "python_abi 3.8.* *_cp38"),
    provides=(("numpy", "1.23.4"),),
)
TZDATA = CondaPackage(
    name="tzdata",
    version="2022f",
    build="h191b570_0",
    build_number=0,
    subdir="noarch",
    url=f"{CHANNEL}/noarch/tzdata-2022f-h191b570_0.conda",
    channel=CHANNEL,
    md5=None,
    sha256=SHA(12),
)
HALF = CondaHalf(
    packages=(NUMPY, PYTHON, TZDATA),
    channels=(CHANNEL, "https://channels.invalid/main"),
    subdir="linux-64",
    virtual_packages=(("__glibc", "2.31", "0"), ("__unix", "0", "0")),
    variables=(("OMP_NUM_THREADS", "1"),),
)
LOCK = replace(OF_INDEX, python="3.8.15", target=X86, conda=HALF)


def reading(text: str, target: Target | None = X86) -> Lock:
    return read_conda_lock(text, "conda-lock.yml", target)


def sorted_by_name(lock: Lock) -> Lock:
    return replace(lock, packages=tuple(sorted(lock.packages, key=lambda package: package.name)))


def content_of(lock: Lock) -> dict[str, Any]:
    content = yaml.safe_load(write_conda_lock(lock))
    assert isinstance(content, dict)
    return content


# Ours


def test_what_is_written_is_read_back_whole() -> None:
    lock = reading(write_conda_lock(LOCK))
    assert lock == sorted_by_name(LOCK)
    assert lock.hash == LOCK.hash


def test_the_same_lock_gives_the_same_bytes_whatever_the_order() -> None:
    turned = replace(LOCK, packages=LOCK.packages[::-1], conda=replace(HALF, packages=HALF.packages[::-1]))
    assert write_conda_lock(turned) == write_conda_lock(LOCK)


def test_it_is_read_for_whatever_it_was_made_where_no_target_is_given() -> None:
    for lock in (LOCK, replace(LOCK, target=Target("cp38", "manylinux_2_99_x86_64"))):
        assert reading(write_conda_lock(lock), None).target == lock.target


def test_it_says_the_packages_as_conda_lock_does() -> None:
    content = content_of(LOCK)
    assert content["version"] == 1
    assert content["metadata"]["platforms"] == ["linux-64"]
    assert content["metadata"]["channels"] == [{"url": url, "used_env_vars": []} for url in HALF.channels]
    assert content["metadata"]["content_hash"] == {"linux-64": LOCK.origin.spec_digest}
    assert content["metadata"]["sources"] == ["conda.yaml"]
    assert all(isinstance(said, str) for said in content["metadata"]["custom_metadata"].values())
    entries = {entry["name"]: entry for entry in content["package"]}
    assert len(content["package"]) == len(HALF.packages) + len(LOCK.packages)
    assert entries["python"] == {
        "name": "python",
        "version": "3.8.15",
        "manager": "conda",
        "platform": "linux-64",
        "dependencies": {"__glibc": ">=2.17,<3.0.a0", "libzlib": ">=1.2.13,<1.3.0a0,!=1.2.14", "tzdata": ""},
        "url": PYTHON.url,
        "hash": {"md5": MD5(10), "sha256": SHA(10)},
        "build": "h257c98d_0_cpython",
        "category": "main",
        "optional": False,
    }
    assert list(entries["python"]["dependencies"]) == ["__glibc", "libzlib", "tzdata"]
    assert entries["from-git"] == {
        "name": "from-git",
        "version": "",
        "manager": "pip",
        "platform": "linux-64",
        "dependencies": {},
        "url": f"git+https://git.invalid/r.git@{'a' * 40}#subdirectory=python",
        "hash": {"sha256": "a" * 40},
        "source": {"type": "url", "url": f"git+https://git.invalid/r.git@{'a' * 40}#subdirectory=python"},
        "category": "main",
        "optional": False,
    }
    assert [entries["tzdata"]["platform"], entries["tzdata"]["hash"]] == ["linux-64", {"md5": "", "sha256": SHA(12)}]
    old = entries["old-one"]
    assert (old["manager"], old["url"], old["hash"]) == ("pip", OF_INDEX.packages[3].url, {"sha256": SHA(2)})


def test_a_lock_that_knows_no_spec_states_its_own_hash_as_that_of_the_content() -> None:
    lock = replace(LOCK, origin=Origin())
    assert content_of(lock)["metadata"]["content_hash"] == {"linux-64": lock.hash}


def test_credentials_are_never_written() -> None:
    login, token = f"https://user:{SECRET}@channels.invalid/forge", f"https://channels.invalid/t/{SECRET}/forge"
    numpy = replace(NUMPY, url=NUMPY.url.replace(CHANNEL, login), channel=login)
    python = replace(PYTHON, url=PYTHON.url.replace(CHANNEL, token), channel=token)
    half = replace(HALF, packages=(numpy, python), channels=(login, token))
    wheel = replace(OF_INDEX.packages[2], url=f"https://user:{SECRET}@files.invalid/numpy-1.19.5-py3-none-any.whl")
    lock = replace(LOCK, conda=half, packages=(wheel,), origin=replace(LOCK.origin, indexes=(f"{login}/simple",)))
    text = write_conda_lock(lock)
    assert SECRET not in text
    found = reading(text)
    assert found.hash == lock.hash
    assert found.conda is not None
    assert [package.url for package in found.conda.packages] == [NUMPY.url, PYTHON.url]
    assert found.conda.channels == (CHANNEL,)


def edited(change: Callable[[dict[str, Any]], object], lock: Lock = LOCK) -> str:
    content = copy.deepcopy(content_of(lock))
    change(content)
    return yaml.safe_dump(content)


def invalid(text: str) -> LockInvalid:
    with pytest.raises(LockInvalid) as caught:
        reading(text)
    assert (caught.value.code, caught.value.exit_code) == ("lock-invalid", 4)
    assert caught.value.place is not None
    assert caught.value.place.file == "conda-lock.yml"
    return caught.value


def entry_of(content: dict[str, Any], name: str) -> dict[str, Any]:
    found = next(entry for entry in content["package"] if entry["name"] == name)
    assert isinstance(found, dict)
    return found


def without_hash(content: dict[str, Any]) -> None:
    content["metadata"]["custom_metadata"].pop("envbuild-lock-hash")


@pytest.mark.parametrize(
    "change",
    [
        lambda c: entry_of(c, "python")["hash"].update(sha256=SHA(77)),
        lambda c: entry_of(c, "python").update(version="3.8.16"),
        lambda c: entry_of(c, "old-one")["hash"].update(sha256=SHA(77)),
        lambda c: entry_of(c, "old-one").update(version="0.2"),
        lambda c: c["package"].remove(entry_of(c, "tzdata")),
        lambda c: c["package"].remove(entry_of(c, "old-one")),
        lambda c: entry_of(c, "tzdata").update(category="dev"),
        lambda c: own(c, lambda table: table.update(python="3.8.16")),
        lambda c: own(c, lambda table: table["variables"].update(PATH="/elsewhere")),
        lambda c: own(c, lambda table: table.pop("build")),
    ],
)
def test_an_edited_lock_whose_hash_does_not_match_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    text = edited(change)
    assert "hash" in invalid(text).message
    # With no hash to hold it against, it is what it says.
    assert reading(edited(lambda c: (change(c), without_hash(c)))).hash != LOCK.hash


def own(content: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> None:
    table = json.loads(content["metadata"]["custom_metadata"]["envbuild"])
    change(table)
    content["metadata"]["custom_metadata"]["envbuild"] = json.dumps(table)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.update(version=99),
        *(lambda t, key=key: t.pop(key) for key in ("version", "python", "platform", "variables", "conda-packages")),
        lambda t: t.update({"conda-packages": [1]}),
        lambda t: t.update({"conda-packages": {"numpy": 3}}),
        lambda t: t.update({"conda-packages": {"numpy": {"provides": ["x --pre==1"]}}}),
        lambda t: t.update({"conda-packages": {"numpy": {"provides": ["numpy==1 --index-url https://e.invalid"]}}}),
        lambda t: t.update({"conda-packages": {"numpy": {"provides": 3}}}),
        lambda t: t.update({"conda-packages": {"numpy": {"build_number": "x"}}}),
        lambda t: t.update({"conda-packages": {"numpy": {"subdir": "../../elsewhere"}}}),
        lambda t: t.update({"conda-packages": {"numpy": {"made": "yesterday"}}}),
        lambda t: t.update({"pip-packages": {"numpy": {"kind": "rpm"}}}),
        lambda t: t.update({"pip-packages": {"numpy": {"size": "large"}}}),
        lambda t: t.update({"pip-packages": {"numpy": {"file_name": "../elsewhere.whl"}}}),
        lambda t: t.update({"pip-packages": {"numpy": {"path": "x\n--pre"}}}),
        lambda t: t.update({"pip-packages": {"numpy": {"extras": ["a] --pre"]}}}),
        lambda t: t.update({"pip-packages": {"numpy": {"uploaded": 3}}}),
        lambda t: t.update({"pip-packages": {"numpy": {"version": None}}}),
        lambda t: t.update({"virtual-packages": [["__glibc"]]}),
        lambda t: t.update(build=3),
        lambda t: t.update(notices=["x"]),
    ],
)
def test_a_damaged_part_of_our_own_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    invalid(edited(lambda content: (own(content, change), without_hash(content))))


@pytest.mark.parametrize("text", ["{", "[" * 5000, "3", "null", '{"version": 1' + "9" * 5000 + "}"])
def test_a_part_of_our_own_that_is_no_json_is_refused(text: str) -> None:
    invalid(edited(lambda content: content["metadata"]["custom_metadata"].update(envbuild=text)))


def test_a_lock_for_another_target_is_stale() -> None:
    with pytest.raises(LockStale, match="x86_64"):
        reading(write_conda_lock(LOCK), Target("cp38", "manylinux_2_31_aarch64"))
    with pytest.raises(LockStale, match="cp39"):
        reading(write_conda_lock(LOCK), Target("cp39", X86.platform))


def test_a_lock_without_conda_packages_belongs_in_a_pylock() -> None:
    with pytest.raises(UsageError, match="has none") as caught:
        write_conda_lock(OF_INDEX)
    assert "pylock.toml" in (caught.value.hint or "")


def test_a_kept_lock_with_conda_packages_is_read_back_whole() -> None:
    assert read_kept(write_lock(LOCK), "kept") == sorted_by_name(LOCK)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "../numpy"),
        ("version", "1 2"),
        ("build", ""),
        ("url", "ftp://channels.invalid/linux-64/numpy-1.23.4-0.conda"),
        ("url", "https://channels.invalid/linux-64/numpy-1.23.4-0.zip"),
        ("url", "https://channels.invalid/linux-64/%2e%2e%2fnumpy.conda"),
        ("md5", "x"),
        ("sha256", MD5(1)),
    ],
)
def test_a_conda_package_of_a_kept_lock_is_what_it_should_be(key: str, value: str) -> None:
    lock = replace(LOCK, conda=replace(HALF, packages=(replace(NUMPY, **{key: value}),)))
    with pytest.raises(LockInvalid):
        read_kept(write_lock(lock), "kept")


# Other tools'


def conda(name: str, version: str, number: int, platform: str = "linux-64", **more: Any) -> dict[str, Any]:
    build = more.pop("stem", f"{name}-{version}-h0_{number}")
    return {
        "name": name,
        "version": version,
        "manager": "conda",
        "platform": platform,
        "dependencies": {"__glibc": ">=2.17"} if name == "python" else {"python": ">=3.8"},
        "url": f"{CHANNEL}/{platform}/{build}.conda",
        "hash": {"md5": MD5(number), "sha256": SHA(number)},
        "category": "main",
        "optional": False,
        **more,
    }


def pip(name: str, version: str, number: int, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "version": version,
        "manager": "pip",
        "platform": "linux-64",
        "dependencies": {"numpy": ">=1.17"},
        "url": f"https://files.invalid/packages/{name}-{version}-py3-none-any.whl",
        "hash": {"sha256": SHA(number)},
        "category": "main",
        "optional": False,
        **more,
    }


def foreign(*packages: dict[str, Any], **more: Any) -> str:
    metadata = {
        "content_hash": {"linux-64": SHA(1)},
        "channels": [{"url": "conda-forge", "used_env_vars": []}],
        "platforms": ["linux-64", "osx-arm64"],
        "sources": ["environment.yml"],
    }
    return yaml.safe_dump({"version": 1, "metadata": metadata, "package": list(packages), **more}, sort_keys=False)


CPYTHON = conda("python", "3.8.15", 3)


def of(lock: Lock) -> CondaHalf:
    assert lock.conda is not None
    return lock.conda


def test_of_several_platforms_the_one_of_the_target_is_chosen() -> None:
    mac = conda("python", "3.8.16", 4, "osx-arm64"), conda("libcxx", "14", 5, "osx-arm64")
    lock = reading(foreign(CPYTHON, conda("zlib", "1.2.13", 6, stem="zlib-1.2.13-h166bdaf_4"), *mac))
    assert [(one.name, one.version, one.build, one.build_number) for one in of(lock).packages] == [
        ("python", "3.8.15", "h0_3", 3),
        ("zlib", "1.2.13", "h166bdaf_4", 4),
    ]
    assert (lock.python, lock.target, of(lock).subdir) == ("3.8.15", X86, "linux-64")
    assert of(lock).channels == ("https://conda.anaconda.org/conda-forge",)
    assert (lock.origin, lock.build, of(lock).provides) == (Origin(), (), {})


def test_a_package_for_any_platform_is_taken() -> None:
    url = f"{CHANNEL}/noarch/tzdata-2022f-h0_1.tar.bz2"
    (tzdata,) = (
        one
        for one in of(reading(foreign(CPYTHON, conda("tzdata", "2022f", 1, url=url)))).packages
        if one.name == "tzdata"
    )
    assert (tzdata.subdir, tzdata.url, tzdata.md5, tzdata.sha256) == ("noarch", url, MD5(1), SHA(1))


def test_other_categories_and_virtual_packages_are_left_out() -> None:
    more = [conda("black", "22.1", 1, category="dev", optional=True), conda("docs", "1", 2, category="docs")]
    virtual = conda("__glibc", "2.17", 9, hash={"md5": ""})
    lock = reading(
        foreign(CPYTHON, *more, virtual, conda("six", "1.16.0", 8), conda("six", "1.16.0", 8, category="dev"))
    )
    assert [one.name for one in of(lock).packages] == ["python", "six"]


def test_pips_entries_become_packages_of_an_index() -> None:
    commit = "b" * 40
    git = f"git+https://user:{SECRET}@git.invalid/r.git@{commit}"
    direct = "https://files.invalid/archives/direct-1.0-py3-none-any.whl"
    sdist = "https://files.invalid/packages/old%5Fone-0.1.tar.gz"
    entries = [
        pip("mlflow", "2.0.1", 1),
        pip("Old_One", "0.1", 2, url=sdist, dependencies={}),
        pip("from-git", "0.0.0", 3, url=git, hash={"sha256": commit}, source={"type": "url", "url": git}),
        pip("direct", "1.0", 4, url=direct, source={"type": "url", "url": f"{direct}#sha256={SHA(4)}"}),
    ]
    direct_one, from_git, mlflow, old = reading(foreign(CPYTHON, *entries)).packages
    assert mlflow == LockedPackage(
        name="mlflow",
        version="2.0.1",
        kind="wheel",
        sha256=SHA(1),
        url="https://files.invalid/packages/mlflow-2.0.1-py3-none-any.whl",
        file_name="mlflow-2.0.1-py3-none-any.whl",
        dependencies=("numpy",),
    )
    assert (old.name, old.kind, old.file_name, old.url) == ("old-one", "sdist", "old_one-0.1.tar.gz", sdist)
    assert (from_git.kind, from_git.commit, from_git.url) == ("vcs", commit, "https://git.invalid/r.git")
    assert (direct_one.kind, direct_one.url, direct_one.sha256) == ("archive", direct, SHA(4))


def test_credentials_in_urls_are_left_out() -> None:
    for start in (f"https://user:{SECRET}@", "https://${CONDA_USER}:${CONDA_PASSWORD}@"):
        url = CPYTHON["url"].replace("https://", start)
        channels = [{"url": f"{start}channels.invalid/forge", "used_env_vars": ["CONDA_USER", "CONDA_PASSWORD"]}]
        text = foreign({**CPYTHON, "url": url}).replace("- url: conda-forge\n    used_env_vars: []", "")
        content = yaml.safe_load(text)
        content["metadata"]["channels"] = channels
        half = of(reading(yaml.safe_dump(content)))
        assert (half.packages[0].url, half.channels) == (CPYTHON["url"], (CHANNEL,))
    for token in (SECRET, "${TOKEN}"):
        url = CPYTHON["url"].replace("invalid/", f"invalid/t/{token}/")
        assert of(reading(foreign({**CPYTHON, "url": url}))).packages[0].url == CPYTHON["url"]


def test_a_lock_for_other_platforms_alone_is_stale() -> None:
    with pytest.raises(LockStale, match=r"the lock is for linux-64, osx-arm64; linux-aarch64 is wanted"):
        reading(foreign(CPYTHON), Target("cp38", "manylinux_2_31_aarch64"))


def test_conda_packages_are_for_linux_with_glibc() -> None:
    with pytest.raises(LockError, match="musllinux"):
        reading(foreign(CPYTHON), Target("cp38", "musllinux_1_2_x86_64"))


def test_a_lock_that_needs_a_newer_c_library_is_stale() -> None:
    assert of(reading(foreign(CPYTHON), Target("cp38", "manylinux_2_17_x86_64"))).packages
    with pytest.raises(LockStale, match=r"needs glibc 2\.17"):
        reading(foreign(CPYTHON), Target("cp38", "manylinux_2_12_x86_64"))


def test_a_wheel_for_another_platform_makes_a_lock_stale() -> None:
    url = "https://files.invalid/numpy-1.23.4-cp39-cp39-manylinux_2_17_x86_64.whl"
    with pytest.raises(LockStale, match="cp39"):
        reading(foreign(CPYTHON, pip("numpy", "1.23.4", 1, url=url)))
    assert reading(foreign(CPYTHON, pip("numpy", "1.23.4", 1, url=url.replace("39", "38")))).packages


def test_the_python_that_the_lock_has_counts() -> None:
    lock = reading(foreign(conda("python", "3.11.4", 3)))
    assert (lock.python, lock.target) == ("3.11.4", Target("cp311", X86.platform))


@pytest.mark.parametrize(
    ("packages", "words"),
    [
        ([], "no python"),
        ([conda("zlib", "1.2.13", 1)], "no python"),
        ([conda("python", "3.8.15", 1, category="dev")], "no python"),
        ([conda("python", "3.9.18", 1, stem="python-3.9.18-0_73_pypy")], "no release of CPython"),
        ([conda("python", "3.14.0rc1", 1)], "no release of CPython"),
        ([CPYTHON, copy.deepcopy(CPYTHON)], "twice"),
        ([CPYTHON, conda("six", "1.16.0", 1, hash={"md5": MD5(1)})], "six has no sha256"),
        ([CPYTHON, conda("six", "1.16.0", 1, hash={"md5": MD5(1), "sha256": "x\n--pre"})], "sha256"),
        ([CPYTHON, conda("six", "1.16.0", 1, hash={"md5": "x", "sha256": SHA(1)})], "md5"),
        ([CPYTHON, conda("six", "1.16.0", 1, stem="six-1.15.0-0")], "six 1.16.0 has the file of another package"),
        ([CPYTHON, conda("six", "1.16.0", 1, url=f"{CHANNEL}/osx-64/six-1.16.0-0.conda")], "osx-64"),
        ([CPYTHON, conda("six", "1.16.0", 1, url=f"{CHANNEL}/linux-64/six-1.16.0-0.zip")], "no conda package"),
        ([CPYTHON, conda("six", "1.16.0", 1, url="/home/me/linux-64/six-1.16.0-0.conda")], "no other machine"),
        ([CPYTHON, conda("six", "1.16.0", 1, url="https://h/${DIR}/linux-64/six-1.16.0-0.conda")], "variable DIR"),
        ([CPYTHON, conda("six", "1.16.0", 1, url="https://h/a b/linux-64/six-1.16.0-0.conda")], "no URL"),
        ([CPYTHON, conda("a b", "1", 1)], "name"),
        ([CPYTHON, conda("six", "1.16.0", 1, manager="apt")], "neither conda nor pip"),
        ([CPYTHON, conda("six", "1.16.0", 1, hash=[1])], "sha256"),
        ([CPYTHON, conda("six", "1.16.0", 1, dependencies=["python"])], "no mapping"),
        ([CPYTHON, conda("six", "1.16.0", 1, dependencies={"python": [1]})], "no plain value"),
        ([CPYTHON, conda("six", "1.16.0", 1, url=["x"])], "no plain value"),
        ([CPYTHON, {"name": "six", "platform": "linux-64"}], "no manager"),
        ([CPYTHON, {"platform": "linux-64"}], "no name"),
        ([CPYTHON, {"name": "six"}], "no platform"),
        ([CPYTHON, 3], "no platform"),
        ([CPYTHON, pip("x @ https://e.invalid/x.whl", "1", 1)], "cannot be understood"),
        ([CPYTHON, pip("x\n--pre", "1", 1)], "cannot be understood"),
        ([CPYTHON, pip("x", "1 --pre", 1)], "cannot be understood"),
        ([CPYTHON, pip("x", "", 1)], "no version"),
        ([CPYTHON, pip("x", "1", 1, hash={})], "x has no sha256"),
        ([CPYTHON, pip("x", "1", 1, hash={"sha256": "x"})], "not one"),
        ([CPYTHON, pip("x", "1", 1, url="file:///home/me/x-1-py3-none-any.whl")], "no other machine"),
        ([CPYTHON, pip("x", "1", 1, url="https://h/x-1.exe")], "neither a wheel nor an sdist"),
        ([CPYTHON, pip("x", "1", 1, url="https://h/nothing.whl")], "no wheel by its name"),
        ([CPYTHON, pip("x", "1", 1, url="https://h/y-1-py3-none-any.whl")], "x 1 has the file of another package"),
        ([CPYTHON, pip("x", "1", 1, url="https://h/x-2-py3-none-any.whl")], "x 1 has the file of another package"),
        ([CPYTHON, pip("x", "1", 1, url="git+file:///home/me/x@" + "b" * 40)], "no other machine"),
        ([CPYTHON, pip("x", "1", 1, url="git+https://h/x@main")], "commit"),
        ([CPYTHON, pip("x", "1", 1, url="https://${HOST}/x-1-py3-none-any.whl")], "variable HOST"),
    ],
)
def test_a_lock_of_another_tool_that_cannot_be_used_says_why_and_where(
    packages: list[dict[str, Any]], words: str
) -> None:
    error = invalid(foreign(*packages))
    assert words in error.message
    if len(packages) == 2:
        assert error.place is not None
        # Of the second entry, of which the first has ten lines or more.
        assert (error.place.line or 0) > 20


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "- a",
        "a: [",
        "\tb",
        "version: 1",
        "version: 1\npackage: []",
        "version: 1\npackage: []\nmetadata: []",
        "version: 1\npackage: 3\nmetadata: {platforms: [linux-64]}",
        "version: 1\npackage: [{platform: [1]}]\nmetadata: {platforms: [linux-64]}",
        "version: 1\npackage: []\nmetadata: {platforms: linux-64}",
        "version: 2\npackage: []\nmetadata: {}",
        "version: 6\nenvironments: {}\npackages: []",
        "version: [1]\npackage: []\nmetadata: {}",
        "name: model\nchannels: [conda-forge]\ndependencies: [python=3.8]",
        "version: !!python/object/apply:os.system ['true']\npackage: []",
        foreign(CPYTHON) + "more: " + "[" * 5000,
        "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)),
    ],
)
def test_what_is_no_conda_lock_is_refused(text: str) -> None:
    invalid(text)


def test_aliases_are_followed() -> None:
    text = foreign(CPYTHON).replace("dependencies:", "dependencies: &id001", 1)
    text += "- {name: six, version: '1.16', manager: conda, platform: linux-64, dependencies: *id001,\n"
    text += f"   url: '{CHANNEL}/linux-64/six-1.16-0.conda', hash: {{md5: '', sha256: '{SHA(3)}'}}}}\n"
    assert [one.depends for one in of(reading(text)).packages] == [("__glibc >=2.17",)] * 2


@pytest.mark.slow
def test_a_large_lock_is_read() -> None:
    one = foreign(conda("other", "1", 4, "osx-arm64")).partition("package:\n")[2]
    others = "".join(one.replace("other", f"other{number}") for number in range(9_000))
    assert [one.name for one in of(reading(foreign(CPYTHON) + others)).packages] == ["python"]


# Files


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("pylock.toml", "pylock"),
        ("pylock.prod.toml", "pylock"),
        ("conda-lock.yml", "conda-lock"),
        ("prod.conda-lock.yml", "conda-lock"),
        ("prod-lock.yml", "conda-lock"),
        ("prod-lock.yaml", "conda-lock"),
        ("conda.yaml", None),
        ("lock.yml", None),
        ("lock.toml", None),
    ],
)
def test_a_file_has_its_form_by_its_name(name: str, form: str | None) -> None:
    assert lock_files.form_of_name(Path(name)) == form


def test_a_lock_is_read_from_a_file_of_either_form(tmp_path: Path) -> None:
    for name, lock in (("pylock.toml", OF_INDEX), ("conda-lock.yml", LOCK), ("any.yaml", LOCK)):
        form = lock_files.form_of(lock)
        (tmp_path / name).write_text(lock_files.text_of(lock, form))
        assert lock_files.read_lock_file(tmp_path / name, "3.8.5", lock.target).hash == lock.hash
    with pytest.raises(LockInvalid, match="no name for a lock"):
        lock_files.read_lock_file(tmp_path / "some.lock", "3.8.5", X86)


@pytest.mark.parametrize("form", ["pylock", "requirements", "conda-lock"])
def test_no_form_is_written_that_does_not_hold_all_of_a_lock(form: str) -> None:
    lock_files.check_form(form, with_conda=form == "conda-lock")
    with pytest.raises(UsageError) as caught:
        lock_files.check_form(form, with_conda=form != "conda-lock")
    assert caught.value.hint


def test_beside_a_model_the_form_counts_that_the_environment_has(tmp_path: Path) -> None:
    def beside(*, with_conda: bool) -> str | None:
        found = lock_files.beside(tmp_path, with_conda=with_conda)
        return None if found is None else found.name

    assert (beside(with_conda=True), beside(with_conda=False)) == (None, None)
    (tmp_path / "conda-lock.yml").write_text("")
    assert (beside(with_conda=True), beside(with_conda=False)) == ("conda-lock.yml", None)
    (tmp_path / "pylock.toml").write_text("")
    assert (beside(with_conda=True), beside(with_conda=False)) == ("conda-lock.yml", "pylock.toml")
    (tmp_path / "conda-lock.yml").unlink()
    assert beside(with_conda=True) == "pylock.toml"


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "conda-lock.yml"

    def refused() -> None:
        with pytest.raises(LockInvalid) as caught:
            read_conda_lock_file(path, X86)
        assert caught.value.place is not None
        assert not is_ours(path)

    refused()
    path.write_bytes(b"\xff")
    refused()
    with path.open("wb") as file:
        file.truncate(100 * 2**20)
    refused()
    path.unlink()
    path.mkdir()
    refused()


def test_whose_a_file_is_can_be_told(tmp_path: Path) -> None:
    path = tmp_path / "conda-lock.yml"
    path.write_text(write_conda_lock(LOCK))
    assert is_ours(path)
    path.write_text(foreign(CPYTHON))
    assert not is_ours(path)


def test_no_edit_of_a_lock_ends_in_anything_but_an_error_of_ours() -> None:
    failures = set()
    for text in (*_edits(content_of(LOCK)), *_edits(yaml.safe_load(foreign(CPYTHON, pip("mlflow", "2.0.1", 1))))):
        try:
            reading(text)
        except EnvbuildError as error:
            failures.add(error.code)
    assert failures == {"lock-invalid"}


def test_no_edit_of_our_own_part_ends_in_anything_but_an_error_of_ours() -> None:
    failures = set()
    content = content_of(LOCK)
    without_hash(content)
    said = content["metadata"]["custom_metadata"]
    for table in _edits(json.loads(said["envbuild"])):
        said["envbuild"] = table
        try:
            reading(json.dumps(content))
        except EnvbuildError as error:
            failures.add(error.code)
    assert failures >= {"lock-invalid", "lock-stale"}


def _edits(content: Any) -> Iterator[str]:
    """Every value in turn is something else."""
    for path in _paths(content):
        for value in (None, 3, "", "x y", [], {}, [[]], {"a": [1]}):
            changed = copy.deepcopy(content)
            below = changed
            for key in path[:-1]:
                below = below[key]
            below[path[-1]] = value
            # Which is YAML, too.
            yield json.dumps(changed)


def _paths(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, one in below for path in ((*above, key), *_paths(one, (*above, key)))]


# Whether it fits


def reasons(folder: Path, text: str, *listed: str, pip: str = "six", python: str = "3.8") -> tuple[str, ...]:
    """Why a lock does not fit a conda.yaml that lists these."""
    lines = "".join(f"- {one}\n" for one in listed)
    conda_yaml = f'dependencies:\n- python={python}\n{lines}- pip\n- pip:\n  - "{pip}"\n'
    spec = read_spec(model_of(folder, WITH_CONDA, {"conda.yaml": conda_yaml}), conda=True)
    return tuple(reason.replace(f"{folder}/", "") for reason in reasons_against(reading(text), spec))


SIX, OF_SKLEARN = pip("six", "1.16.0", 5), conda("scikit-learn", "1.1.3", 6)


@pytest.mark.parametrize(
    ("listed", "of_pip"),
    [
        (["scikit-learn=1.1"], "six"),
        (["conda-forge::scikit-learn>=1.0,<2", "python >=3.8"], "six>=1.15"),
        # What a conda package brings is known by its name where nobody has looked into it.
        (["scikit-learn"], "scikit-learn==1.1.3"),
        (["scikit-learn", "pytorch"], "torch>=1.10"),
        (["scikit-learn"], "numpy ; python_version < '3'"),
    ],
)
def test_a_lock_of_another_tool_fits_when_it_has_what_is_asked_for(
    tmp_path: Path, listed: list[str], of_pip: str
) -> None:
    text = foreign(CPYTHON, OF_SKLEARN, SIX, conda("pytorch", "1.12.1", 7))
    assert reasons(tmp_path, text, *listed, pip=of_pip) == ()


@pytest.mark.parametrize(
    ("listed", "of_pip", "python", "reason"),
    [
        (["scikit-learn", "pandas=1.5"], "six", "3.8", "it lacks conda's pandas=1.5 (conda.yaml:4)"),
        (
            ["scikit-learn=1.0"],
            "six",
            "3.8",
            "it has conda's scikit-learn 1.1.3 (h0_6), the model asks for scikit-learn=1.0 (conda.yaml:3)",
        ),
        (["scikit-learn"], "pytz", "3.8", "it lacks pytz (conda.yaml:6)"),
        (["scikit-learn"], "six<1.16", "3.8", "it has six 1.16.0, the model asks for six<1.16 (conda.yaml:6)"),
        (
            ["scikit-learn"],
            "scikit-learn<1",
            "3.8",
            "it has conda's scikit-learn 1.1.3, the model asks for scikit-learn<1 (conda.yaml:6)",
        ),
        (["scikit-learn"], "six", "3.8.5", "it is for Python 3.8.15, the model asks for 3.8.5"),
    ],
)
def test_what_does_not_fit_is_said_with_its_line(
    tmp_path: Path, listed: list[str], of_pip: str, python: str, reason: str
) -> None:
    found = reasons(tmp_path, foreign(CPYTHON, OF_SKLEARN, SIX), *listed, pip=of_pip, python=python)
    assert reason in found


def test_a_lock_without_conda_packages_does_not_fit_a_model_that_asks_for_some(tmp_path: Path) -> None:
    spec = read_spec(model_of(tmp_path, WITH_CONDA, {"conda.yaml": "dependencies:\n- scikit-learn\n"}), conda=True)
    lock = replace(LOCK, conda=None, python=spec.python.text)
    assert "it has no conda packages, and conda.yaml asks for some" in reasons_against(lock, spec)
    made_from_it = replace(LOCK, origin=Origin(spec_digest=spec.digest()))
    assert reasons_against(made_from_it, spec) == ()


# Match specs


@pytest.mark.parametrize(
    ("spec", "matches", "differs"),
    [
        ("numpy", ["1.17.4"], []),
        ("numpy *", ["1.17.4"], []),
        ("conda-forge::numpy=1.17", ["1.17", "1.17.4", "1.17rc1"], ["1.170", "1.18.0", "2"]),
        ("numpy=1.17.*", ["1.17", "1.17.4"], ["1.170.1"]),
        ("numpy==1.17", ["1.17", "1.17.0"], ["1.17.4"]),
        ("numpy 1.17.4", ["1.17.4"], ["1.17.5"]),
        ("numpy 1.17.*", ["1.17.4"], ["1.18.4"]),
        ("numpy >=1.17,<2", ["1.17", "1.99.9"], ["1.16.9", "2.0"]),
        ("numpy>=1.17, <2", ["1.17"], ["2.0.1"]),
        ("numpy >= 1.17", ["1.17"], ["1.16"]),
        ("numpy>1.9", ["1.10"], ["1.9.0"]),
        ("numpy<=1.9", ["1.9.0"], ["1.9.1"]),
        ("numpy!=1.17.4", ["1.17.5"], ["1.17.4"]),
        ("numpy!=1.17.*", ["1.18"], ["1.17.4"]),
        ("numpy=1.16|1.18.1", ["1.16.3", "1.18.1"], ["1.17", "1.18.2"]),
        ("openssl=1.1.1", ["1.1.1a"], ["1.1.2"]),
        ("numpy ~=1.17", ["1.17", "2.0"], []),
        ("numpy >=2020a", ["2019b", "1"], []),
        ("numpy[version='>=2']", ["1.0"], []),
        ("numpy ???", ["1.0"], []),
    ],
)
def test_what_is_plain_of_a_match_spec_is_told(spec: str, matches: list[str], differs: list[str]) -> None:
    assert [version for version in (*matches, *differs) if may_match(spec, version, "py36_0")] == matches


@pytest.mark.parametrize("spec", ["numpy=1.17.4=py36_0", "numpy 1.17.4 py36_0", "numpy=1.17.4=py36*", "numpy * *_0"])
def test_builds_of_match_specs_are_told(spec: str) -> None:
    assert may_match(spec, "1.17.4", "py36_0")
    assert not may_match(spec, "1.17.4", "py37_1")
    assert spec == "numpy * *_0" or not may_match(spec, "1.17.4.1", "py36_0")
