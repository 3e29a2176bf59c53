"""What is chosen: by date, by machine, by what packages say of each other; and why nothing can be."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path

import pytest
import tiny_packages
from channel import SUBDIR, Channel, Package
from room import HERE, Room, named

from envbuild.conda.explanation import explanation
from envbuild.conda.machine import machine_of
from envbuild.conda.part import conda_part
from envbuild.conda.running import Machine
from envbuild.document import read
from envbuild.errors import LockError, Unresolvable
from envbuild.target import Target


@pytest.fixture
def tiny(own_channel: Channel) -> Channel:
    """Packages with one habit each."""
    return own_channel.add(*tiny_packages.OTHERS)


def with_virtual(**versions: str | None) -> Machine:
    """Another machine."""
    known = {name: (name, version, build) for name, version, build in HERE.virtual_packages}
    for name, version in versions.items():
        known.pop(f"__{name}", None)
        if version is not None:
            known[f"__{name}"] = (f"__{name}", version, "0")
    return Machine(subdir=SUBDIR, virtual_packages=tuple(known.values()))


# By date


@pytest.mark.parametrize(
    ("day", "version"), [("2019-03-01", "1.0"), ("2020-01-01", "1.0"), ("2022-01-01", "2.0"), (None, "3.0")]
)
def test_what_is_younger_than_the_model_is_not_chosen(tiny: Channel, room: Room, day: str | None, version: str) -> None:
    assert named(room.solve("dated", channels=[tiny.url], day=day)) == {"dated": version}


def test_the_date_is_an_instant_in_any_time_zone(tiny: Channel, room: Room) -> None:
    """2021-03-01T00:00Z is when it was built."""
    for text, version in (("2021-03-01T05:30:00+05:30", "2.0"), ("2021-03-01T05:29:00+05:30", "1.0")):
        assert named(room.solve("dated", channels=[tiny.url], day=text)) == {"dated": version}


def test_what_is_older_than_timestamps_is_older_than_any_model(tiny: Channel, room: Room) -> None:
    assert named(room.solve("undated", channels=[tiny.url], day="2018-07-01")) == {"undated": "1.0"}


def test_when_a_package_was_built_is_kept(tiny: Channel, room: Room) -> None:
    found = room.solve("dated", "undated", channels=[tiny.url])
    assert [one.made for one in found] == [datetime(2021, 3, 1, tzinfo=timezone.utc), None]


# By machine


def test_a_build_for_a_newer_c_library_is_not_chosen(tiny: Channel, room: Room) -> None:
    (found,) = room.solve("glibc-bound", channels=[tiny.url])
    assert found.build == "old_0"
    (found,) = room.solve("glibc-bound", channels=[tiny.url], machine=with_virtual(glibc="9.1"))
    assert found.build == "new_1"


@pytest.mark.parametrize(("cuda", "build"), [(None, "cpu_0"), ("10.2", "cpu_0"), ("11.8", "cuda_1")])
def test_cuda_is_what_was_said_of_the_machine(tiny: Channel, room: Room, cuda: str | None, build: str) -> None:
    (found,) = room.solve("with-cuda", channels=[tiny.url], machine=with_virtual(cuda=cuda))
    assert found.build == build


def test_this_machine_s_own_virtual_packages_are_not_looked_for(tiny: Channel, room: Room) -> None:
    with pytest.raises(Unresolvable, match=r"__glibc >=2\.17,<3\.0\.a0, and the machine has none"):
        room.solve("glibc-bound", channels=[tiny.url], machine=Machine(subdir=SUBDIR))


def test_another_machine_s_packages_can_be_solved(own_channel: Channel, room: Room) -> None:
    other = "linux-aarch64" if SUBDIR != "linux-aarch64" else "linux-64"
    own_channel.add(Package(name="name", build="here"), Package(name="name", build="there", subdir=other))
    (found,) = room.solve("name", channels=[own_channel.url], machine=Machine(subdir=other))
    assert (found.build, found.subdir) == ("there", other)


@pytest.mark.parametrize(
    ("platform", "subdir", "glibc"),
    [
        ("manylinux_2_17_x86_64", "linux-64", "2.17"),
        ("manylinux_2_36_aarch64", "linux-aarch64", "2.36"),
        ("manylinux_2_28_ppc64le", "linux-ppc64le", "2.28"),
    ],
)
def test_a_target_s_machine_has_its_c_library(platform: str, subdir: str, glibc: str) -> None:
    machine = machine_of(Target("cp38", platform))
    found = {name: version for name, version, _ in machine.virtual_packages}
    assert (machine.subdir, found["__glibc"], found["__unix"]) == (subdir, glibc, "0")
    assert "__cuda" not in found
    assert [int(part) for part in found["__linux"].split(".")]
    other = machine_of(Target("cp38", platform), [("__cuda", "11.8"), ("__glibc", "2.12")])
    assert {("__cuda", "11.8", "0"), ("__glibc", "2.12", "0")} < set(other.virtual_packages)


@pytest.mark.parametrize(
    "platform", ["macosx_11_0_arm64", "musllinux_1_2_x86_64", "win_amd64", "linux_x86_64", "manylinux_2_28_riscv64"]
)
def test_a_target_without_conda_packages_is_refused(platform: str) -> None:
    with pytest.raises(LockError) as caught:
        machine_of(Target("cp38", platform))
    assert f"cp38-{platform} is wanted" in caught.value.message
    assert "--conda-packages map" in str(caught.value.hint)


# By what is said


def test_what_a_package_allows_is_heeded_and_not_installed(tiny: Channel, room: Room) -> None:
    assert named(room.solve("constraining", channels=[tiny.url])) == {"constraining": "1.0"}
    assert named(room.solve("constraining", "dated", channels=[tiny.url])) == {"constraining": "1.0", "dated": "1.0"}


def test_the_newer_format_is_chosen_where_a_package_is_there_in_both(own_channel: Channel, room: Room) -> None:
    own_channel.add(Package(name="both", kind="tar.bz2"), Package(name="both"))
    (found,) = room.solve("both", channels=[own_channel.url])
    assert found.url.endswith("both-1.0-0.conda")


def test_variables_and_platforms_are_read(tmp_path: Path) -> None:
    (tmp_path / "conda.yaml").write_text(
        "dependencies: [numpy]\nplatforms: [linux-64]\nvariables:\n  THREADS: 1\n  PLACE: a b=c\n  EMPTY: ''\n"
    )
    part = conda_part(read(tmp_path / "conda.yaml"))
    assert part is not None
    assert part.platforms == ("linux-64",)
    assert part.variables == (("EMPTY", ""), ("PLACE", "a b=c"), ("THREADS", "1"))


# Why not


@pytest.fixture
def tangled(tiny: Channel) -> Channel:
    """Packages that cannot be had together, in each of the ways there are."""
    return tiny.add(
        Package(name="app", depends=("dated >=2",)),
        Package(name="deep", depends=("app", "undated >=7")),
        Package(name="loose", depends=("nowhere >=1",)),
        Package(name="stray", depends=("dated 1.0.*",)),
        Package(name="future", depends=("dated 3.*",)),
        Package(name="py", version="3.8.1"),
        Package(name="py", version="3.6.1"),
        *(Package(name="lib", version=version, depends=("py >=3.6,<3.7",)) for version in ("1.0", "1.1")),
        Package(name="lib", version="2.0", depends=("py >=3.8,<3.9",)),
    )


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("specs", "heart"),
    [
        (["missing"], "no channel has missing"),
        (["dated=7"], "no channel has dated 7.*"),
        (["py=3.8", "missing", "dated=9"], "no channel has missing"),
        (["loose"], "loose 1.0 requires nowhere >=1, which no channel has"),
        (["deep"], "deep 1.0 requires undated >=7, which no channel has"),
        (["app", "dated<2"], "app 1.0 requires dated >=2, and dated<2 is asked for"),
        (["py=3.8", "lib<2"], "lib <2: lib 1.0 | 1.1 requires py >=3.6,<3.7, and py=3.8 is asked for"),
        (["glibc-only"], "glibc-only 1.0 requires __glibc >=9, and the machine has 2.28"),
        (["with-cuda=*=cuda*"], "with-cuda cuda*: with-cuda 11.8 requires __cuda >=11, and the machine has none"),
        (["dated==3.0"], "dated ==3.0: dated 3.0 is younger than 2022-12-01"),
        (["future"], "future 1.0 requires dated 3.*: dated 3.0 is younger than 2022-12-01"),
        (
            ["constraining", "dated>=2"],
            "dated >=2: dated 2.0; constraining 1.0 allows only dated <2, which conflicts with the others",
        ),
        (
            ["stray", "app"],
            "app 1.0 requires dated >=2: dated 2.0; stray 1.0 requires dated 1.0.*: dated 1.0, which conflicts with the others",
        ),
    ],
)  # fmt: skip
def test_why_nothing_fits_is_one_line_and_all_of_it_in_the_details(
    tangled: Channel, room: Room, specs: list[str], heart: str
) -> None:
    with pytest.raises(Unresolvable) as caught:
        room.solve(*specs, channels=[tangled.url])
    assert caught.value.message == f"no set of conda packages meets all specs: {heart}"
    assert caught.value.details
    assert caught.value.exit_code == 4
    hint = str(caught.value.hint)
    assert "--conda-packages map" in hint
    assert ("--as-of" in hint) == ("younger" in heart)
    assert ("--virtual-package" in hint) == ("the machine has" in heart)


def test_everything_excluded_by_the_date_is_said_with_the_date(tiny: Channel, room: Room) -> None:
    with pytest.raises(Unresolvable, match=r"dated 1\.0 \| 2\.0 \| 3\.0 is younger than 2018-01-01"):
        room.solve("dated", channels=[tiny.url], day="2018-01-01")


def test_a_channel_of_lower_priority_is_said(make_channel, room: Room) -> None:
    first = make_channel("first").add(Package(name="shared"), Package(name="needs", depends=("shared >=2",)))
    second = make_channel("second").add(Package(name="shared", version="2.0"))
    with pytest.raises(Unresolvable, match=r"shared 2\.0 is in a channel of lower priority alone"):
        room.solve("needs", channels=[first.url, second.url])


def test_many_reasons_are_cut_to_a_few() -> None:
    tree = "The following packages are incompatible\n" + "".join(
        f"├─ a{number} * cannot be installed because there are no viable options:\n"
        f"│  └─ a{number} 1.0 would require\n"
        f"│     └─ b{number} >=2,<3, for which no candidates were found.\n"
        for number in range(20)
    )
    found = explanation(f"Cannot solve the request because of: {tree}", [], {})
    one, two, three = (f"a{number} 1.0 requires b{number} >=2,<3, which no channel has" for number in range(3))
    assert found.heart == f"{one}; {two}; {three}; and 17 more reasons"
    assert len(found.lines) == 61


def test_words_that_are_no_tree_are_left_as_they_are() -> None:
    assert explanation("the solver gave up\nafter a while", [], {}).heart == "the solver gave up; after a while"


# What a lock cannot hold


@pytest.mark.parametrize("said", [{"sha256": None}, {"sha256": None, "md5": None}])
def test_a_package_without_a_sha256_is_refused(own_channel: Channel, room: Room, said: dict[str, None]) -> None:
    own_channel.add(Package(name="unhashed", said=said))
    with pytest.raises(
        LockError, match=r"the channel states no sha256 of unhashed 1\.0: what it is could not be che"
    ) as caught:
        room.solve("unhashed", channels=[own_channel.url])
    assert "--conda-packages map" in str(caught.value.hint)


def test_what_packages_bring_is_read_once(served_channel, own_channel: Channel, room: Room) -> None:
    folder = "lib/python3.6/site-packages"
    files = (
        f"{folder}/one-1.0.dist-info/METADATA",
        f"{folder}/Two-2.0-py3.6.egg-info/PKG-INFO",
        f"{folder}/three-3.0-py3.6.egg-info",
        f"{folder}/three/egg-info/nothing.py",
        "share/four-4.0.dist-info/METADATA",
    )
    own_channel.add(
        Package(name="bringing", files={name: tiny_packages.text("") for name in files}),
        Package(name="old", kind="tar.bz2", files={files[0]: tiny_packages.text("")}),
        Package(
            name="plain", noarch="python", files={"site-packages/five-5.dist-info/METADATA": tiny_packages.text("")}
        ),
    )
    found = room.solve("bringing", "old", "plain", channels=[served_channel.url("own")])
    served_channel.requests.clear()
    for _ in range(2):
        known = room.rattler().provided(found, room.steps.append)
        assert {one.name: known[one.sha256] for one in found} == {
            "bringing": ("Two-2.0-py3.6.egg-info", "one-1.0.dist-info", "three-3.0-py3.6.egg-info"),
            "old": ("one-1.0.dist-info",),
            "plain": ("five-5.dist-info",),
        }
        first, served_channel.requests = served_channel.requests, []
    assert first == []
    (kept,) = (path for path in room.home.glob("conda/provides/*.json") if "Two" in path.read_text())
    kept.write_text("[")
    assert "Two" in json.dumps(room.rattler().provided(found, room.steps.append))
