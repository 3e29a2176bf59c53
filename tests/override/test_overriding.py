"""What the deployer changes: inputs of the resolver, visible, checked, part of the lock; nothing is ignored."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kit import Kit, cli, cli_environ, codes, run_python, versions
from tiny import AFTER, backend, own_sdist, wheel

import envbuild
from envbuild.errors import BuildError, SpecError, Unresolvable, UsageError
from envbuild.pylock import write_lock

MakeModel = Callable[..., Path]
# What every environment has whose files do not say otherwise.
TOOLS = {"pip": "1", "setuptools": "1", "wheel": "1"}


@pytest.fixture
def fruit(kit: Kit) -> Kit:
    """fruit 1.0 and 2.0, and 3.0 of after the model's day; cake wants fruit below 3."""
    kit.index.add(wheel("fruit", "1.0"), wheel("fruit", "2.0"), wheel("fruit", "3.0", uploaded=AFTER))
    kit.index.add(wheel("cake", "1.0", requires=["fruit<3"]), wheel("jam", "1.0"), wheel("jam", "1.1"))
    kit.index.add(*(wheel(name, "1") for name in TOOLS))
    return kit


def said(locked: Any, code: str) -> str:
    """The one message of a code."""
    (message,) = [notice.message for notice in locked.notices if notice.code == code]
    return str(message)


def test_set_replaces_what_the_model_asks_for(fruit: Kit, make_model: MakeModel) -> None:
    model = make_model(pip=["fruit==1.0", "jam"])
    locked = fruit.lock(model, set=("fruit==2.0",))
    assert versions(locked) == {"fruit": "2.0", "jam": "1.1"}
    assert [str(change) for change in locked.lock.origin.overrides] == ["--set fruit==2.0"]
    assert [demand.text for demand in locked.asked.spec.replaced] == ["fruit==1.0"]


def test_set_keeps_extras_unless_it_names_its_own(fruit: Kit, make_model: MakeModel) -> None:
    fruit.index.add(wheel("pie", "1", extras={"sweet": ["jam"]}), wheel("pie", "2", extras={"sweet": ["jam"]}))
    model = make_model(pip=["pie[sweet]==1"])
    assert versions(fruit.lock(model, set=("pie==2",))) == {"pie": "2", "jam": "1.1"}


def test_set_binds_what_only_others_ask_for_and_adds_nothing(fruit: Kit, make_model: MakeModel) -> None:
    model = make_model(pip=["cake"])
    locked = fruit.lock(model, set=("fruit==1.0", "jam==1.0"))
    assert versions(locked) == {"cake": "1.0", "fruit": "1.0"}
    assert "the environment has no jam" in said(locked, "override-unused")


def test_a_release_that_is_younger_than_the_model_is_let_in_also_where_others_ask(
    fruit: Kit, make_model: MakeModel
) -> None:
    fruit.index.add(wheel("tea", "1.0", requires=["fruit"]))
    for model in (make_model("asks", pip=["fruit==1.0"]), make_model("through", pip=["tea"])):
        locked = fruit.lock(model, set=("fruit==3.0",))
        assert versions(locked)["fruit"] == "3.0"
        assert "fruit==3.0 was released on 2021-06-17" in said(locked, "younger-pin")
        assert list(locked.lock.origin.cuts) == ["fruit"]


def test_a_pin_that_others_rule_out_is_taken_and_said(fruit: Kit, make_model: MakeModel) -> None:
    for name, asked in (("direct", ["cake", "fruit"]), ("through", ["cake"])):
        locked = fruit.lock(make_model(name, pip=asked), set=("fruit==3.0",))
        assert versions(locked) == {"cake": "1.0", "fruit": "3.0"}
        assert "contradict" in said(locked, "pins-as-they-are")


def test_what_cannot_be_met_is_named_with_the_override(fruit: Kit, make_model: MakeModel) -> None:
    model = make_model(pip=["cake"])
    with pytest.raises(Unresolvable) as raised:
        fruit.lock(model, set=("fruit>=3",), deny_repair=("pins-as-they-are",))
    assert "fruit>=3  (--set)" in raised.value.details
    with pytest.raises(Unresolvable, match=r"fruit==7"):
        fruit.lock(model, set=("fruit==7",), repair="all")


def test_add_asks_for_one_more(fruit: Kit, make_model: MakeModel) -> None:
    model = make_model(pip=["fruit==1.0"])
    assert versions(fruit.lock(model, add=("jam==1.0",))) == {"fruit": "1.0", "jam": "1.0"}


def test_add_of_what_is_asked_for_already_is_said(fruit: Kit, make_model: MakeModel) -> None:
    model = make_model(pip=["fruit==1.0"])
    assert "changes nothing" in said(fruit.lock(model, add=("fruit==1.0",)), "override-without-effect")[:40]
    locked = fruit.lock(model, add=("fruit>=0.5",))
    assert "--set replaces it" in said(locked, "override-beside")
    assert versions(locked) == {"fruit": "1.0"}


def test_remove_leaves_a_package_out_whoever_asks_for_it(fruit: Kit, make_model: MakeModel) -> None:
    model = make_model(pip=["cake", "jam"])
    locked = fruit.lock(model, remove=("Jam", "fruit"))
    assert versions(locked) == {"cake": "1.0"}
    assert said(locked, "override-removed-need") == "--remove fruit: cake asks for it, and goes without"


def test_remove_of_what_cannot_be_had_makes_a_model_lock(fruit: Kit, make_model: MakeModel) -> None:
    model = make_model(pip=["fruit==1.0", "gone==1"])
    with pytest.raises(Unresolvable):
        fruit.lock(model)
    assert versions(fruit.lock(model, remove=("gone",))) == {"fruit": "1.0"}


def test_remove_of_what_nobody_asks_for_is_said(fruit: Kit, make_model: MakeModel) -> None:
    locked = fruit.lock(make_model(pip=["fruit==1.0"]), remove=("nonsense",))
    assert said(locked, "override-unused") == "--remove nonsense changes nothing: nobody asks for it"


def test_constraints_bind_and_say_how_many_concern_the_environment(
    fruit: Kit, make_model: MakeModel, tmp_path: Path
) -> None:
    bounds = tmp_path / "bounds.txt"
    bounds.write_text("fruit<2  # the company's\nnonsense==3\n")
    locked = fruit.lock(make_model(pip=["fruit", "jam"]), constraint=bounds)
    assert versions(locked)["fruit"] == "1.0"
    assert "1 of 2 constraints concern" in said(locked, "override-unused")


def test_requirements_replace_everything_but_the_python(fruit: Kit, make_model: MakeModel, tmp_path: Path) -> None:
    file = tmp_path / "all.txt"
    file.write_text("jam==1.0\n")
    model = make_model(pip=["this is no requirement", "cake"])
    locked = fruit.lock(model, requirements=file)
    assert versions(locked) == {"jam": "1.0"}
    assert locked.lock.python == "3.8"


def test_a_conda_env_replaces_all_files_and_the_python(fruit: Kit, make_model: MakeModel, tmp_path: Path) -> None:
    file = tmp_path / "env.yaml"
    file.write_text("dependencies:\n- python=3.9\n- pip:\n  - jam==1.0\n")
    locked = fruit.lock(make_model(pip=["cake"]), conda_env=file)
    assert (versions(locked), locked.lock.python) == ({"jam": "1.0", **TOOLS}, "3.9")


def test_a_wheel_of_the_deployers_own_is_installed_from_where_it_lies(
    fruit: Kit, make_model: MakeModel, tmp_path: Path
) -> None:
    own = wheel("fruit", "1.0+fixed")
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches" / own.name).write_bytes(own.content)
    built = fruit.build(make_model(pip=["cake", "fruit==1.0"]), set=(str(tmp_path / "patches" / own.name),))
    assert run_python(built.environment.path, "import fruit; print(fruit.version)") == "1.0+fixed"
    (package,) = [one for one in built.locked.lock.packages if one.name == "fruit"]
    assert package.sha256 == own.sha256


@pytest.mark.slow
def test_a_directory_of_the_deployers_own_is_built_and_left_as_it_was(
    fruit: Kit, make_model: MakeModel, tmp_path: Path
) -> None:
    import io
    import tarfile

    fruit.index.add(backend())
    with tarfile.open(fileobj=io.BytesIO(own_sdist("plum", "1.0").content)) as archive:
        archive.extractall(tmp_path / "src", filter="data")
    source = tmp_path / "src" / "plum-1.0"
    before = sorted(source.rglob("*"))
    built = fruit.build(make_model(pip=["jam"]), add=(f"plum @ {source}",))
    assert run_python(built.environment.path, "import plum; print(plum.version)") == "1.0"
    assert sorted(source.rglob("*")) == before


def test_a_lock_in_a_model_cannot_name_a_path_outside_it_by_an_override(
    fruit: Kit, make_model: MakeModel, tmp_path: Path
) -> None:
    own = wheel("fruit", "1.0+fixed")
    (tmp_path / own.name).write_bytes(own.content)
    model = make_model(pip=["fruit"])
    locked = fruit.lock(model, set=(str(tmp_path / own.name),))
    (model / "pylock.toml").write_text(write_lock(locked.lock))
    with pytest.raises(BuildError, match="lies outside the model"):
        fruit.build(model)


@pytest.mark.slow
def test_only_binary_and_no_binary_choose_the_form(fruit: Kit, make_model: MakeModel) -> None:
    fruit.index.add(backend(), wheel("plum", "1.0"), own_sdist("plum", "1.0"), own_sdist("nut", "2.0"))
    model = make_model(pip=["plum"])
    locked = fruit.lock(model, no_binary=("plum",))
    assert [(one.name, one.kind) for one in locked.lock.packages] == [("plum", "sdist")]
    assert run_python(fruit.build(model, no_binary=("plum",)).environment.path, "import plum") == ""
    with pytest.raises(Unresolvable, match="nut"):
        fruit.lock(make_model("nuts", pip=["nut"]), only_binary=("nut",))
    assert "--only-binary kiwi changes nothing" in said(fruit.lock(model, only_binary=("kiwi",)), "override-unused")


def test_the_same_files_are_the_same_environment_and_that_is_said(fruit: Kit, make_model: MakeModel) -> None:
    model = make_model(pip=["fruit"])
    own = fruit.build(model)
    same = fruit.build(model, set=("fruit==2.0",))
    assert (same.environment.path, same.was_built) == (own.environment.path, False)
    assert "leads to the same files" in said(same, "override-without-effect")


def test_other_files_take_effect_beside_the_environment_that_there_is(fruit: Kit, make_model: MakeModel) -> None:
    model = make_model(pip=["fruit"])
    own = fruit.build(model)
    before = sorted((path, path.lstat().st_mtime_ns) for path in own.environment.path.rglob("*"))
    other = fruit.build(model, set=("fruit==1.0",))
    assert other.environment.path != own.environment.path
    assert run_python(other.environment.path, "import fruit; print(fruit.version)") == "1.0"
    assert sorted((path, path.lstat().st_mtime_ns) for path in own.environment.path.rglob("*")) == before
    assert fruit.build(model).environment.path == own.environment.path


def test_python_that_is_asked_for_already_changes_nothing(fruit: Kit, make_model: MakeModel) -> None:
    model = make_model(pip=["jam"])
    notices = [one.message for one in fruit.lock(model, python="3.8").notices if one.code == "override-without-effect"]
    assert notices[0].startswith("--python 3.8 changes nothing")
    assert fruit.lock(model, python="3.9").lock.python == "3.9"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"set": ("fruit==1", "fruit==2")}, r"--set fruit==1 and --set fruit==2 contradict each other"),
        ({"set": ("fruit==1",), "remove": ("Fruit",)}, r"--set fruit==1 and --remove Fruit contradict"),
        ({"add": ("jam",), "set": ("jam==1",)}, r"contradict each other"),
        ({"remove": ("fruit==1",)}, r"is not the name of a package"),
        ({"only_binary": ("a",), "no_binary": ("A",)}, r"both name a"),
        ({"no_build": True, "no_binary": ("a",)}, r"contradict each other"),
        ({"requirements": "a.txt", "conda_env": "b.yaml"}, r"both replace what the model asks for"),
        ({"python": "three"}, r"--python is 'three'"),
        ({"accelerator": "fast"}, r"--accelerator is 'fast'"),
        ({"set": ("-r other.txt",)}, r"no requirement|cannot be read|other.txt"),
        ({"set": ("https://index.example/x",)}, r"does not say which package"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    fruit: Kit,
    make_model: MakeModel,
    given: dict[str, Any],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("jam\n")
    (tmp_path / "b.yaml").write_text("dependencies: [pip]\n")
    (tmp_path / "other.txt").write_text("")
    with pytest.raises(UsageError, match=message):
        fruit.lock(make_model(pip=["fruit"]), **given)


def test_a_constraint_that_contradicts_a_set_is_named_with_its_line(
    fruit: Kit, make_model: MakeModel, tmp_path: Path
) -> None:
    (tmp_path / "bounds.txt").write_text("\nfruit<2\n")
    with pytest.raises(UsageError, match=r"fruit==2.0 \(--set\) and the constraint fruit<2 \(.*bounds.txt:2\)"):
        fruit.lock(make_model(pip=["fruit"]), set=("fruit==2.0",), constraint=tmp_path / "bounds.txt")


def test_a_line_of_the_deployers_that_is_wrong_is_named_with_its_file(
    fruit: Kit, make_model: MakeModel, tmp_path: Path
) -> None:
    (tmp_path / "all.txt").write_text("fruit\nfruit ==\n")
    with pytest.raises(SpecError, match=r"all.txt:2"):
        fruit.lock(make_model(), requirements=tmp_path / "all.txt")


# Nothing inside a model can change or disable it.


def test_a_lock_beside_mlmodel_that_does_not_meet_the_override_is_not_used(fruit: Kit, make_model: MakeModel) -> None:
    model = make_model(pip=["fruit"])
    (model / "pylock.toml").write_text(write_lock(fruit.lock(model).lock))
    locked = fruit.lock(model, set=("fruit==1.0",))
    assert (versions(locked), "lock-stale" in codes(locked)) == ({"fruit": "1.0"}, True)
    assert versions(fruit.lock(model, remove=("fruit",), add=("jam",))) == {"jam": "1.1"}


def test_a_lock_beside_mlmodel_that_pretends_to_be_of_the_override_is_not_used(
    fruit: Kit, make_model: MakeModel
) -> None:
    model = make_model(pip=["fruit"])
    forged = write_lock(fruit.lock(model).lock)
    digests = [fruit.lock(model, **given).asked.spec.digest() for given in ({}, {"set": ("fruit==1.0",)})]
    (model / "pylock.toml").write_text(forged.replace(*digests))
    assert versions(fruit.lock(model, set=("fruit==1.0",))) == {"fruit": "1.0"}


def test_a_lock_beside_mlmodel_does_not_answer_for_another_date(fruit: Kit, make_model: MakeModel) -> None:
    model = make_model(pip=["fruit"])
    (model / "pylock.toml").write_text(write_lock(fruit.lock(model).lock))
    locked = fruit.lock(model, as_of="2022-01-01")
    assert versions(locked) == {"fruit": "3.0"}
    assert "--as-of is 2022-01-01" in said(locked, "lock-stale")


def test_wheels_alone_are_not_answered_by_a_lock_with_sdists(fruit: Kit, make_model: MakeModel) -> None:
    fruit.index.add(backend(), wheel("plum", "1.0"), own_sdist("plum", "1.0"))
    model = make_model(pip=["plum"])
    (model / "pylock.toml").write_text(write_lock(fruit.lock(model, no_binary=(":all:",)).lock))
    assert [one.kind for one in fruit.lock(model, no_build=True).lock.packages] == ["wheel"]


def test_repairs_leave_what_the_deployer_asks_for(fruit: Kit, make_model: MakeModel) -> None:
    model = make_model(pip=["jam"])
    for asked in ("pywin32==300", "fruit==9", "gone"):
        with pytest.raises(Unresolvable, match="no set of packages") as raised:
            fruit.lock(model, add=(asked,), repair="all")
        assert asked.partition("=")[0] in raised.value.message


# Curated environments and override files, from end to end.

CURATED = """
name: baking
version: "2"
python: "3.9"
requirements:
- cake==1.0
- fruit
set:
- fruit==1.0
"""


def test_a_curated_environment_replaces_the_models_own(fruit: Kit, make_model: MakeModel, tmp_path: Path) -> None:
    (tmp_path / "shelf" / "baking").mkdir(parents=True)
    (tmp_path / "shelf" / "baking" / "2.yaml").write_text(CURATED)
    model = make_model(pip=["this cannot be read", "jam"])
    for wanted in ("baking", "baking:2", str(tmp_path / "shelf" / "baking" / "2.yaml")):
        locked = fruit.lock(model, environment=wanted, environments=str(tmp_path / "shelf"))
        assert (versions(locked), locked.lock.python) == ({"cake": "1.0", "fruit": "1.0", **TOOLS}, "3.9")
    changed = fruit.lock(model, environment="baking", environments=str(tmp_path / "shelf"), set=("fruit==2.0",))
    assert versions(changed)["fruit"] == "2.0"
    assert "--environment baking:2" in [str(change) for change in changed.lock.origin.overrides]


def test_an_override_file_says_it_all(fruit: Kit, make_model: MakeModel, tmp_path: Path) -> None:
    file = tmp_path / "reviewed.yaml"
    file.write_text('python: "3.9"\nset:\n- fruit==1.0\nremove: [jam]\nconstraint:\n- cake<2\nadd: [cake]\n')
    locked = fruit.lock(make_model(pip=["fruit", "jam"]), override=file)
    assert (versions(locked), locked.lock.python) == ({"cake": "1.0", "fruit": "1.0"}, "3.9")
    assert "--set fruit==1.0 (reviewed.yaml:3)" in [str(change) for change in locked.lock.origin.overrides]
    with pytest.raises(UsageError, match=r"--python is 3.8, and the override file says 3.9"):
        fruit.lock(make_model(), override=file, python="3.8")
    with pytest.raises(UsageError, match=r"--set fruit==1.0 \(.*reviewed.yaml:3\) and --set fruit==2.0 contradict"):
        fruit.lock(make_model(), override=file, set=("fruit==2.0",))


def test_the_lock_records_no_secret(fruit: Kit, make_model: MakeModel, tmp_path: Path) -> None:
    file = tmp_path / "o.yaml"
    file.write_text(f"extra_index_url: ['{fruit.index.with_login('me', 'canary-7')}']\nset: [fruit==1.0]\n")
    locked = fruit.lock(make_model(pip=["fruit"]), override=file)
    assert "canary-7" not in write_lock(locked.lock)
    assert "fruit==1.0" in write_lock(locked.lock)


# As one calls it.


def test_every_command_that_locks_takes_an_override(fruit: Kit, make_model: MakeModel) -> None:
    model = make_model(pip=["fruit"], more="")
    environ = cli_environ(fruit.home, fruit.index.url)
    for words in (["lock"], ["build"], ["inspect"]):
        done = cli(*words, model, "--set", "fruit==1.0", "--json", environ=environ)
        assert done.returncode == 0, done.stderr
    locked = json.loads(cli("lock", model, "--set", "fruit==1.0", "--json", environ=environ).stdout)
    assert locked["overrides"] == [{"option": "set", "value": "fruit==1.0", "place": None}]
    done = cli(
        "run", model, "--set", "fruit==1.0", "--", "python", "-c", "import fruit; print(fruit.version)", environ=environ
    )
    assert done.stdout == "1.0\n"


def test_python_code_overrides_by_the_same_names(fruit: Kit, make_model: MakeModel) -> None:
    given: dict[str, Any] = {"home": fruit.home, "index_url": fruit.index.url, "python_downloads": False}
    found = envbuild.lock(make_model(pip=["fruit"]), set=["fruit==1.0"], add=["jam==1.0"], **given)
    assert {one.name: one.version for one in found.packages} == {"fruit": "1.0", "jam": "1.0"}
