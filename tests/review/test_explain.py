"""`envbuild explain`: why this version."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from kit import Kit, cli, cli_environ
from tiny import AFTER, backend, own_sdist, wheel

import envbuild
from envbuild.errors import UsageError
from envbuild.model import Notice
from envbuild.pipeline import Locked
from envbuild.pylock import write_lock
from envbuild.review import explanation
from envbuild.review.explanation import Explanation, PackageExplanation

MakeModel = Callable[..., Path]


@pytest.fixture(autouse=True)
def lasting(kit: Kit) -> None:
    """The index lets its pages be kept, as the public one does: who asked for whom is found out without asking again."""
    kit.index.lasting = True


@pytest.fixture
def model(kit: Kit, make_model: MakeModel) -> Path:
    """pie and cake are asked for; both need flour, which needs grain."""
    kit.index.add(
        wheel("pie", "1.0", requires=["cake"]),
        wheel("cake", "1.0", requires=["flour<2"]),
        wheel("flour", "1.0", requires=["grain"]),
        wheel("grain", "1.0"),
        wheel("grain", "3.0", uploaded=AFTER),
    )
    return make_model(pip=["pie", "cake==1.0"], build_dependencies=["grain"])


def explained(kit: Kit, model: Path, package: str | None = None, **settings: Any) -> Explanation:
    known = kit.settings(**settings)
    return explanation.of(kit.lock(model, **settings), known, package)


def one(kit: Kit, model: Path, package: str, **settings: Any) -> PackageExplanation:
    (found,) = explained(kit, model, package, **settings).packages
    return found


def said(kit: Kit, *words: str | Path) -> str:
    done = cli(*words, environ=cli_environ(kit.home, kit.index.url))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_page_says_who_asked_in_which_line_through_whom_and_what_there_is_today(kit: Kit, model: Path) -> None:
    assert said(kit, "explain", model, "Grain").splitlines() == [
        "grain 1.0",
        "  from       grain-1.0-py3-none-any.whl (wheel, uploaded 2021-01-01 00:00 UTC)",
        "  asked by   python_env.yaml:4 grain (the model's build dependencies)",
        "  through    cake -> flour -> grain",
        "  needed by  flour",
        "  as of      2021-06-16T12:00:00Z (the model was made on 2021-06-15)",
        "  index      3.0 is the newest there is today, uploaded 2021-06-17",
    ]


def test_without_a_package_there_is_one_line_for_each(kit: Kit, model: Path) -> None:
    overview = said(kit, "explain", model)
    rows = {line.split()[0]: line.split()[1:] for line in overview.partition("\n\n")[2].splitlines()}
    assert rows == {
        "cake": ["1.0", "wheel", "conda.yaml:6", "cake==1.0"],
        "flour": ["1.0", "wheel", "through", "cake"],
        "grain": ["1.0", "wheel", "python_env.yaml:4", "grain"],
        "pie": ["1.0", "wheel", "conda.yaml:5", "pie"],
    }
    assert overview.startswith("Python  3.8 (python_env.yaml:2)\nas of   2021-06-16T12:00:00Z")


def test_json_and_python_say_the_same(kit: Kit, model: Path) -> None:
    answer = json.loads(said(kit, "explain", model, "flour", "--json"))
    own = envbuild.explain(model, "flour", **vars_of(kit)).to_dict()
    assert {**answer, "lock_source": "", "notices": []} == {
        "schema_version": 1,
        "command": "explain",
        "ok": True,
        **own,
        "lock_source": "",
        "notices": [],
    }
    (package,) = answer["packages"]
    assert package["asked"] == []
    assert package["parents"] == ["cake"]
    assert package["chains"] == [["cake", "flour"]]
    assert package["newest"] == {"version": "1.0", "uploaded": "2021-01-01T00:00:00+00:00", "unknown": None}
    assert len(envbuild.explain(model, **vars_of(kit)).packages) == 4


def vars_of(kit: Kit) -> dict[str, Any]:
    return {"home": kit.home, "index_url": kit.index.url, "python_downloads": False}


def test_the_ways_end_at_what_is_asked_for_and_the_shortest_comes_first(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(
        wheel("far", "1.0", requires=["middle"]),
        wheel("middle", "1.0", requires=["end"]),
        wheel("near", "1.0", requires=["end"]),
        # A circle, as there are some.
        wheel("end", "1.0", requires=["middle"]),
        wheel("above", "1.0", requires=["near"]),
    )
    model = make_model(pip=["far", "above", "near"])
    found = one(kit, model, "end")
    assert found.chains == (("near", "end"), ("far", "middle", "end"))
    assert found.parents == ("middle", "near")
    assert one(kit, model, "near").chains == (("above", "near"),)


def test_an_override_is_the_reason_for_what_it_says(kit: Kit, model: Path, tmp_path: Path) -> None:
    file = tmp_path / "fix.yaml"
    file.write_text("add:\n- grain<=1.0\n")
    (bounds := tmp_path / "bounds.txt").write_text("flour<1.5\n")
    words = ["--set", "cake<2", "--set", "pie<2", "--override", file, "--constraint", bounds]
    pie = said(kit, "explain", model, "pie", *words)
    assert "--set pie<2 (the deployer)" in pie
    assert "instead of  conda.yaml:5 pie\n" in pie
    assert "override    --set pie<2" in pie
    grain = said(kit, "explain", model, "grain", *words)
    assert f"{file}:2 grain<=1.0 (the deployer)" in grain
    assert f"bound by   {bounds}:1 flour<1.5 (the deployer)" in said(kit, "explain", model, "flour", *words)
    assert "\nOverrides\n" in said(kit, "explain", model, *words)


def test_the_python_and_what_an_override_does_not_change_are_said(
    kit: Kit, make_model: MakeModel, tmp_path: Path
) -> None:
    kit.index.add(wheel("pie", "1.0"))
    (file := tmp_path / "python.yaml").write_text("python: '3.9'\nset:\n- pie\n")
    words = ("explain", make_model(pip=["pie"]), "--override", file)
    done = cli(*words, environ=cli_environ(kit.home, kit.index.url))
    assert done.stdout.startswith("Python  3.9 (python.yaml:1)\n")
    assert "warning[override-without-effect]" in done.stderr
    assert "python.yaml:3 pie changes nothing" in done.stderr
    assert cli(*words[:2], "--python", "3.9", environ=cli_environ(kit.home, kit.index.url)).stdout.startswith(
        "Python  3.9 (--python)\n"
    )


def test_a_package_with_a_date_of_its_own_says_so(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("fruit", "1.0", uploaded="2023-01-01T00:00:00Z"), wheel("grain", "1.0"))
    model = make_model(pip=["fruit==1.0", "grain"])
    found = one(kit, model, "fruit")
    assert found.has_own_cut
    assert found.cut > "2023-01-01"
    assert [notice.code for notice in found.repairs] == ["younger-pin"]
    grain = one(kit, model, "grain")
    assert (grain.has_own_cut, grain.cut, grain.repairs) == (False, "2021-06-16T12:00:00Z", ())
    assert f"as of {found.cut}" in said(kit, "explain", model)


def test_what_the_index_has_is_not_known_offline_and_no_failure_where_it_does_not_answer(kit: Kit, model: Path) -> None:
    kit.lock(model)
    assert one(kit, model, "pie", offline=True).newest == explanation.Newest(
        unknown="the index was not asked (--offline)"
    )
    kit.index.status = 503
    newest = one(kit, model, "pie").newest
    assert newest is not None
    assert newest.version is None
    assert "503" in (newest.unknown or "")
    assert "answers 503" in said(kit, "explain", model, "pie")


def test_the_newest_is_no_release_candidate_where_there_is_a_release(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("pie", "1.0"), wheel("pie", "2.0rc1"))
    newest = one(kit, make_model(pip=["pie"]), "pie").newest
    assert newest == explanation.Newest(version="1.0", uploaded=datetime(2021, 1, 1, tzinfo=timezone.utc))


def test_a_package_that_is_not_there_is_an_error_with_what_is_near(kit: Kit, model: Path) -> None:
    done = cli("explain", model, "flower", environ=cli_environ(kit.home, kit.index.url))
    assert done.returncode == 2
    assert "flower is not in the lock of" in done.stderr
    assert "is flour meant?" in done.stderr
    assert done.stdout == ""


def why_not(kit: Kit, model: Path, package: str, **settings: Any) -> str:
    with pytest.raises(UsageError) as caught:
        one(kit, model, package, **settings)
    return "\n".join(caught.value.details)


def test_it_says_which_override_marker_or_repair_left_a_package_out(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("pie", "1.0", requires=["grain"]), wheel("grain", "1.0"), wheel("tea", "1.0"))
    asked = ["pie", 'tea; python_version < "3"', "pywin32==228"]
    model = make_model(pip=asked)
    assert why_not(kit, model, "grain", remove=("grain",)).startswith("the deployer removed it: --remove grain")
    removed = why_not(kit, model, "pie", remove=("pie",)).splitlines()
    assert removed[:2] == ["the deployer removed it: --remove pie", "the model asked for it: conda.yaml:5 pie"]
    marker = why_not(kit, model, "tea")
    assert marker.startswith("its marker rules it out for Python 3.8 on cp38-")
    assert 'conda.yaml:6 tea; python_version < "3"' in marker
    repair = why_not(kit, model, "pywin32")
    assert repair.startswith("foreign-platform: pywin32==228 is for another operating system")
    assert repair.endswith("(conda.yaml:7)")


def test_what_only_builds_others_is_said(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(backend(), own_sdist("jam", "1.0"))
    model = make_model(pip=["jam"])
    assert "jam  1.0  build  conda.yaml:5 jam" in said(kit, "explain", model)
    assert why_not(kit, model, "tiny_backend") == "jam is built with it; it is not part of the environment"


def test_a_lock_that_says_nothing_of_dependencies_leaves_the_way_open(kit: Kit, model: Path, tmp_path: Path) -> None:
    lock = kit.lock(model).lock
    mute = replace(lock, packages=tuple(replace(package, dependencies=()) for package in lock.packages))
    (file := tmp_path / "pylock.toml").write_text(write_lock(mute))
    assert "through   not known" in said(kit, "explain", model, "flour", "--lock", file)
    assert "the lock does not say through whom" in said(kit, "explain", model, "--lock", file)
    assert one(kit, model, "flour", lock=file).parents is None
    assert one(kit, model, "pie", lock=file).parents is None


def test_nobody_is_asked_for_where_all_is_asked_for_by_name(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("pie", "1.0"))
    found = one(kit, make_model(pip=["pie"]), "pie")
    assert (found.parents, found.chains) == ((), ())


def test_every_environment_has_the_build_tools(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("pip", "1.0"), wheel("setuptools", "1.0"), wheel("wheel", "1.0"))
    model = make_model(build_dependencies=None)
    assert one(kit, model, "setuptools").why(model) == "every environment has it"


def test_a_local_package_is_explained_by_the_line_that_names_its_path(kit: Kit, make_model: MakeModel) -> None:
    inside = wheel("inside", "1.0")
    model = make_model(pip=["./wheels/inside-1.0-py3-none-any.whl"], files={f"wheels/{inside.name}": inside.content})
    found = one(kit, model, "inside")
    assert found.why(model) == "conda.yaml:5 wheels/inside-1.0-py3-none-any.whl"
    assert found.newest == explanation.Newest(unknown="it does not come from an index")


def test_a_repair_is_of_a_package_whose_name_it_has_as_a_word(kit: Kit, model: Path) -> None:
    locked: Locked = kit.lock(model)
    repairs = (
        Notice(code="younger-pin", message="Pie, and no other."),
        Notice(code="double-pin", message="pie-crust is meant"),
        Notice(code="not-a-repair", message="pie"),
    )
    asked = replace(locked.asked, repairs=repairs)
    found = explanation.of(replace(locked, asked=asked), kit.settings(offline=True), "pie")
    assert [notice.message for notice in found.packages[0].repairs] == ["Pie, and no other."]
