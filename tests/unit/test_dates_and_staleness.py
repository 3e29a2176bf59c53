"""As of when packages are taken, and whether a lock still fits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from packaging.version import Version
from samples import MODELS, PLAIN, spec_of

from envbuild import asof
from envbuild.errors import UsageError
from envbuild.lock import Lock, LockedPackage, Origin
from envbuild.model import read_model
from envbuild.projects import Project
from envbuild.spec import EnvironmentSpec, digest_of, read_spec
from envbuild.staleness import reasons_against
from envbuild.target import here

DATELESS = "flavors:\n  python_function:\n    loader_module: own.loader\n"
RELEASES: dict[str, dict[str, datetime | None]] = {
    "numpy": {"1.19.5": datetime(2021, 1, 5, tzinfo=timezone.utc)},
    "six": {"1.16.0": datetime(2021, 5, 5, 14, 18, 18, tzinfo=timezone.utc), "1.15.0": None},
}


def ask(names: Iterable[str]) -> Mapping[str, Project]:
    found = {}
    for name in names:
        if name in RELEASES:
            found[name] = Project(name, {Version(text): time for text, time in RELEASES[name].items()})
    return found


def must_not_ask(names: Iterable[str]) -> Mapping[str, Project]:
    raise AssertionError(f"the index was asked for {list(names)}")


def dateless(folder: Path, *lines: str) -> EnvironmentSpec:
    return spec_of(folder, DATELESS, {"requirements.txt": "\n".join(lines)})


def test_created_is_the_models_date_plus_a_day_and_asks_nobody() -> None:
    spec = read_spec(read_model(MODELS / "py36_mlflow1_2" / "heart"))
    decided = asof.decide("created", spec, must_not_ask)
    assert decided.text == "2019-09-16T07:42:22Z"
    assert decided.reason == "the model was made on 2019-09-15"
    assert decided.notices == ()


def test_now_is_no_cut_and_its_key_is_the_day_in_utc(tmp_path: Path) -> None:
    decided = asof.decide("now", spec_of(tmp_path), must_not_ask)
    assert (decided.instant, decided.text) == (None, "now")
    late = datetime(2026, 1, 1, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    assert asof.key_of("now", late) == "now 2026-01-02"
    assert asof.key_of("created", late) == "created"


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("2021-04-30", "2021-05-01T00:00:00Z"),
        ("2021-04-30T10:00:00Z", "2021-04-30T10:00:00Z"),
        ("2021-04-30T10:00:00+02:00", "2021-04-30T08:00:00Z"),
        ("2021-04-30T10:00:00.5Z", "2021-04-30T10:00:01Z"),
    ],
)
def test_a_date_counts_to_its_end_and_an_instant_to_the_second(tmp_path: Path, setting: str, text: str) -> None:
    assert asof.decide(setting, spec_of(tmp_path), must_not_ask).text == text


@pytest.mark.parametrize("setting", ["yesterday", "2021-13-01", "30.4.2021", "", "2021-04-30T25:00:00Z", "9999-12-31"])
def test_a_setting_that_is_no_date_is_a_usage_error(tmp_path: Path, setting: str) -> None:
    with pytest.raises(UsageError, match="--as-of"):
        asof.decide(setting, spec_of(tmp_path), must_not_ask)


def test_a_model_without_a_date_is_as_old_as_its_newest_pin(tmp_path: Path) -> None:
    decided = asof.decide("created", dateless(tmp_path, "numpy==1.19.5", "six==1.16.0", "own==1.0"), ask)
    assert decided.text == "2021-05-06T14:18:18Z"
    assert [notice.code for notice in decided.notices] == ["date-inferred"]
    assert "six==1.16.0" in decided.reason


@pytest.mark.parametrize("line", ["numpy", "six==1.15.0", "unknown==1.0", "six===what", "numpy==1.19.*"])
def test_where_nothing_dates_a_model_now_is_used_and_that_is_said(tmp_path: Path, line: str) -> None:
    decided = asof.decide("created", dateless(tmp_path, line), ask)
    assert decided.instant is None
    assert [notice.code for notice in decided.notices] == ["date-unknown"]


# Staleness


def package(name: str, version: str) -> LockedPackage:
    return LockedPackage(name=name, version=version, kind="wheel", sha256="1" * 64)


def lock_of(*packages: LockedPackage, python: str = "3.7") -> Lock:
    return Lock(python=python, target=here(python), packages=packages)


def reasons(folder: Path, lock: Lock, *lines: str) -> tuple[str, ...]:
    return reasons_against(lock, spec_of(folder, PLAIN, {"requirements.txt": "\n".join(lines)}))


def test_a_lock_that_was_made_from_this_very_spec_fits(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, PLAIN, {"requirements.txt": "six==1.16.0"})
    lock = lock_of(python="3.12")
    assert reasons_against(replace(lock, origin=Origin(spec_digest=spec.digest())), spec) == ()
    assert reasons_against(lock, spec) != ()


def test_a_lock_of_another_tool_fits_when_it_holds_what_is_asked_for(tmp_path: Path) -> None:
    assert reasons(tmp_path, lock_of(package("six", "1.16.0"), package("pytz", "2021.1")), "six>=1.15") == ()


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (["six==1.15.0"], "it has six 1.16.0, the model asks for six==1.15.0"),
        (["numpy"], "it lacks numpy"),
        (["six===1.16"], "it has six 1.16.0"),
        (["-c limits.txt", "six"], "it has six 1.16.0, the model asks for six<1.16"),
    ],
)
def test_what_does_not_fit_is_said_with_its_line(tmp_path: Path, lines: list[str], reason: str) -> None:
    (tmp_path / "limits.txt").write_text("six<1.16\n")
    (found,) = reasons(tmp_path, lock_of(package("six", "1.16.0")), *lines)
    assert found.startswith(reason)
    assert ":1)" in found


@pytest.mark.parametrize(
    "line",
    ["numpy ; python_version < '3'", "numpy ; sys_platform == 'win32'", "numpy ; extra == 'x'", "-c limits.txt"],
)
def test_what_does_not_apply_here_is_not_missed(tmp_path: Path, line: str) -> None:
    (tmp_path / "limits.txt").write_text("numpy<1\n")
    assert reasons(tmp_path, lock_of(), line) == ()


def test_a_marker_that_compares_what_cannot_be_compared_does_not_end_in_a_traceback(tmp_path: Path) -> None:
    assert reasons(tmp_path, lock_of(), "numpy ; os_name > 'x'") in (
        (),
        (f'it lacks numpy; os_name > "x" ({tmp_path}/requirements.txt:1)',),
    )


def test_another_python_is_said(tmp_path: Path) -> None:
    assert reasons(tmp_path, lock_of(python="3.8")) == ("it is for Python 3.8, the model asks for 3.7",)


def test_a_local_part_that_changed_is_said(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "setup.py").write_text("1")
    folder = LockedPackage(name="own", version=None, kind="directory", sha256=digest_of(own), path="own")
    assert reasons(tmp_path, lock_of(folder), "./own") == ()
    (own / "setup.py").write_text("2")
    assert reasons(tmp_path, lock_of(folder), "./own") == ("own is not the one that was locked",)
