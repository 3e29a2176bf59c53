"""Every way in which conda.yaml may write a package, each solved to the right one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from channel import Channel, Package
from room import Room, named

from envbuild.conda.part import conda_part
from envbuild.document import read
from envbuild.errors import SpecError
from envbuild.model import read_model
from envbuild.spec import read_spec

VERSIONS = ("1.0", "1.2", "1.2.3", "1.10", "2.0", "2.0.1")


@pytest.fixture
def full_channel(own_channel: Channel) -> Channel:
    """A package in six versions, the last but one in two builds of each number, and one with capitals in specs."""
    one = [Package(name="name", version=version, build=f"py38_{number}") for number, version in enumerate(VERSIONS)]
    builds = [
        Package(name="name", version="1.2.3", build="mkl_7", number=7),
        Package(name="name", version="1.2.3", build="openblas_3", number=3),
        Package(name="name-two", version="1!1.0rc1", build="0"),
        Package(name="_name.three", version="2019a", build="h1234567_1000", number=1000),
    ]
    return own_channel.add(*one, *builds)


@pytest.mark.sampled(6)
@pytest.mark.parametrize(
    ("spec", "version", "build"),
    [
        ("name", "2.0.1", "py38_5"),
        ("name=1", "1.10", "py38_3"),
        ("name=1.2", "1.2.3", "mkl_7"),
        ("name=1.2.*", "1.2.3", "mkl_7"),
        ("name==1.2", "1.2", "py38_1"),
        ("name==1.2.3", "1.2.3", "mkl_7"),
        ("name = 1.2", "1.2.3", "mkl_7"),
        ("name 1.2", "1.2", "py38_1"),
        ("name 1.2.*", "1.2.3", "mkl_7"),
        ("name 1.*", "1.10", "py38_3"),
        ("name=1.2.3=mkl_7", "1.2.3", "mkl_7"),
        ("name=1.2.3=open*", "1.2.3", "openblas_3"),
        ("name=1.2.3=py38*", "1.2.3", "py38_2"),
        ("name 1.2.3 *blas*", "1.2.3", "openblas_3"),
        ("name 1.2.3 openblas_3", "1.2.3", "openblas_3"),
        ("name * open*", "1.2.3", "openblas_3"),
        ("name=*=open*", "1.2.3", "openblas_3"),
        ("name>=1.2", "2.0.1", "py38_5"),
        ("name>=1,<2", "1.10", "py38_3"),
        ("name >=1, <1.10", "1.2.3", "mkl_7"),
        ("name >1.2,<1.10", "1.2.3", "mkl_7"),
        ("name <=1.2", "1.2", "py38_1"),
        ("name !=2.0.1", "2.0", "py38_4"),
        ("name~=1.2", "1.10", "py38_3"),
        ("name~=1.2.0", "1.2.3", "mkl_7"),
        ("name 1.0|1.2", "1.2", "py38_1"),
        ("name (>=1.0,<1.2)|(>=1.10,<2)", "1.10", "py38_3"),
        ("name[version='>=1.2,<1.10', build='py38*']", "1.2.3", "py38_2"),
        ('name[version=">=1.2,<1.10", build_number="3"]', "1.2.3", "openblas_3"),
        ("name[version=1.2]", "1.2", "py38_1"),
        ("name[version='1.2.*',build=openblas_3]", "1.2.3", "openblas_3"),
        ("name>=1.2[build=openblas_3]", "1.2.3", "openblas_3"),
        ("name[build_number='>=7']", "1.2.3", "mkl_7"),
        ("NAME", "2.0.1", "py38_5"),
        ("Name=1.2", "1.2.3", "mkl_7"),
        ("name=1.2  # what it was trained with", "1.2.3", "mkl_7"),
        ("Name-Two", "1!1.0rc1", "0"),
        ("_name.three 2019a", "2019a", "h1234567_1000"),
        ("own::name=1.2", "1.2.3", "mkl_7"),
        ("own/linux-64::name=1.2", "1.2.3", "mkl_7"),
        ("name[channel=own,version=1.2]", "1.2", "py38_1"),
        ("URL::name=1.2", "1.2.3", "mkl_7"),
        ("name[channel='URL',version=1.2]", "1.2", "py38_1"),
        ("name[subdir=linux-64]", "2.0.1", "py38_5"),
    ],
)
def test_a_spec_is_solved_to_the_right_package(
    full_channel: Channel, room: Room, tmp_path: Path, spec: str, version: str, build: str
) -> None:
    """Read from a model's conda.yaml."""
    spec = spec.replace("URL", full_channel.url)
    quoted = spec if "#" in spec else json.dumps(spec)
    (tmp_path / "MLmodel").write_text(
        "flavors:\n  python_function:\n    loader_module: own.loader\n    env: conda.yaml\n"
    )
    (tmp_path / "conda.yaml").write_text(f"channels: [own, nodefaults]\ndependencies:\n- python=3.8.5\n- {quoted}\n")
    asked = read_spec(read_model(tmp_path), conda=True)
    part = asked.conda
    assert part is not None
    assert asked.python.text == "3.8.5"
    own = next(one for one in part.specs if one.name != "python")
    found = room.solve(own.text, channels=part.channels, conda_mirror=[f"own={full_channel.url}"])
    assert [(one.name, one.version, one.build) for one in found] == [(own.name, version, build)]


def specs_in(place: Path, *lines: str) -> list[tuple[str, str, int | None]]:
    place.write_text("".join(f"{line}\n" for line in lines))
    part = conda_part(read(place))
    return [] if part is None else [(spec.name, spec.text, spec.place.line) for spec in part.specs]


def test_specs_are_read_with_their_names_and_lines(tmp_path: Path) -> None:
    lines = (
        "dependencies:",
        "- Python=3.8  # the Python",
        "- conda-forge::NumPy >=1.2",
        "- https://h.invalid/c/linux-64::scipy[version='>=1']",
        "- pip",
        "- pip:",
        "  - mlflow",
    )
    assert specs_in(tmp_path / "conda.yaml", *lines) == [
        ("python", "Python=3.8", 2),
        ("numpy", "conda-forge::NumPy >=1.2", 3),
        ("scipy", "https://h.invalid/c/linux-64::scipy[version='>=1']", 4),
    ]


@pytest.mark.parametrize("asked", [[], ["- python=3.8"], ["- python=3.8", "- pip"], ["- pip", "- pip:", "  - mlflow"]])
def test_what_a_virtualenv_has_as_well_is_not_asked_of_conda(tmp_path: Path, asked: list[str]) -> None:
    (tmp_path / "conda.yaml").write_text("".join(f"{line}\n" for line in ("name: x", "dependencies:", *asked)))
    if not asked:
        (tmp_path / "conda.yaml").write_text("name: x\n")
    assert conda_part(read(tmp_path / "conda.yaml")) is None


MALFORMED = [
    ("dependencies: numpy\n", "dependencies are not a list", 1),
    ("dependencies:\n- numpy\n- [a]\n", "neither a conda package nor pip's list", 3),
    ("dependencies:\n- numpy\n- apt:\n  - gcc\n", "neither a conda package nor pip's list", 3),
    ("dependencies:\n- numpy\n- '>=1'\n", "'>=1' is no conda package spec", 3),
    ("dependencies:\n- numpy\n- ''\n", "is no conda package spec", 3),
    ("dependencies:\n- numpy\nchannels: conda-forge\n", "channels are not a list", 3),
    ("dependencies:\n- numpy\nchannels:\n- [a]\n", "no entry of conda.yaml's channels", 4),
    ("dependencies:\n- numpy\nchannels:\n- s3://bucket/channel\n", "no channel that can be read", 4),
    ("dependencies:\n- numpy\nchannels:\n- ftp://u:canary@h.invalid/c\n", "no channel that can be read", 4),
    ("dependencies:\n- numpy\nplatforms: linux-64\n", "platforms are not a list", 3),
    ("dependencies:\n- numpy\nvariables: A=1\n", "variables are no mapping", 3),
    ("dependencies:\n- numpy\nvariables:\n  A: [1]\n", "the variable A has no plain value", 4),
]


@pytest.mark.parametrize(("text", "message", "line"), MALFORMED)
def test_what_cannot_be_read_is_said_with_its_line(tmp_path: Path, text: str, message: str, line: int | None) -> None:
    place = tmp_path / "conda.yaml"
    place.write_text(text)
    with pytest.raises(SpecError) as caught:
        conda_part(read(place))
    assert message in caught.value.message
    assert "canary" not in str(caught.value)
    assert caught.value.place is not None
    assert (Path(caught.value.place.file).name, caught.value.place.line) == ("conda.yaml", line)


@pytest.mark.parametrize("spec", ["name[version='>=']", "name >=1,<<2", "name[md5=abc]", "na*e", "name[features=mkl]"])
def test_a_spec_that_is_none_is_said(full_channel: Channel, room: Room, spec: str) -> None:
    with pytest.raises(SpecError) as caught:
        room.solve("name", spec, channels=[full_channel.url])
    assert repr(spec) in caught.value.message
    assert "is no conda package spec" in caught.value.message
    assert "\n" not in caught.value.message


def test_a_subdir_that_is_not_the_chosen_package_s_is_refused(make_channel: Callable[..., Channel], room: Room) -> None:
    """py-rattler reads a spec's subdir, and does not heed it."""
    own = make_channel().add(Package(name="name", noarch="generic"), Package(name="name", build="1", number=1))
    assert named(room.solve("name[subdir=linux-64]", channels=[own.url])) == {"name": "1.0"}
    with pytest.raises(Exception, match="names a subdir, and what else is asked for chooses the package of linux-64"):
        room.solve("name[subdir=noarch]", channels=[own.url])
