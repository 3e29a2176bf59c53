"""What plain resolving would fail on, and the rules that mend it, with uv and an index of our own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kit import Kit, codes, run_python, versions
from local_index import LocalIndex
from machine import free_port
from tiny import AFTER, File, backend, metadata, own_sdist, pyproject, sdist, setup_py, wheel

from envbuild import pipeline
from envbuild.errors import LockError, SpecError, Unresolvable, UsageError
from envbuild.pylock import write_lock
from envbuild.target import here

MakeModel = Callable[..., Path]


def for_python(name: str, version: str, python: str, **more: Any) -> File:
    """A compiled wheel for one Python on this machine."""
    target = here(python)
    return wheel(name, version, tag=f"{target.python}-{target.python}-{target.platform}", **more)


def for_windows(name: str, version: str) -> File:
    return wheel(name, version, tag="cp38-cp38-win_amd64")


def contradictory() -> tuple[File, ...]:
    """alpha 1.0 wants a younger beta than the one that was installed with it."""
    needs = [wheel("alpha", version, requires=["beta>=2"]) for version in ("0.9", "1.0")]
    return (*needs, wheel("beta", "1.0"), wheel("beta", "2.0"))


# Rules that keep what the model pins; each with what the index holds, what the model asks for and what it gets.
SAFE: dict[str, tuple[str, list[File], list[str], dict[str, str]]] = {
    "another system's name": (
        "foreign-platform",
        [wheel("beta", "1.0")],
        ["pywin32==300", "beta"],
        {"beta": "1.0"},
    ),
    "a release for another system": (
        "foreign-platform",
        [for_windows("Alpha", "1.0"), wheel("beta", "1.0")],
        ["Alpha==1.0", "beta"],
        {"beta": "1.0"},
    ),
    "a placeholder": ("dummy-package", [wheel("scikit-learn", "1.0")], ["sklearn==0.0"], {"scikit-learn": "1.0"}),
    "a local build": ("local-version", [wheel("alpha", "1.9.0")], ["alpha==1.9.0+cu102"], {"alpha": "1.9.0"}),
    "a build of conda's": (
        "local-version",
        [wheel("alpha", "49.6.0")],
        ["alpha==49.6.0.post20200814"],
        {"alpha": "49.6.0"},
    ),
    "pins that contradict each other": (
        "pins-as-they-are",
        list(contradictory()),
        ["alpha==1.0", "beta==1.0"],
        {"alpha": "1.0", "beta": "1.0"},
    ),
    "pins that contradict all that there is": (
        "pins-as-they-are",
        list(contradictory()[1:]),
        ["alpha==1.0", "beta==1.0"],
        {"alpha": "1.0", "beta": "1.0"},
    ),
    "a module of Python's own": ("standard-library", [wheel("alpha", "1.0")], ["alpha", "json"], {"alpha": "1.0"}),
    "a program of conda's": (
        "conda-tool",
        [wheel("alpha", "1.0"), wheel("conda", "4.3.0")],
        ["alpha", "conda==22.9.0"],
        {"alpha": "1.0"},
    ),
    "a younger pin's need": (
        "younger-need",
        [
            wheel("alpha", "3.0", requires=["beta>=3", "gamma"], uploaded=AFTER),
            wheel("beta", "1.0"),
            wheel("beta", "3.0", uploaded=AFTER),
            wheel("gamma", "1.0"),
            wheel("gamma", "3.0", uploaded=AFTER),
        ],
        ["alpha==3.0"],
        {"alpha": "3.0", "beta": "3.0", "gamma": "1.0"},
    ),
    "a younger pin's need of what was not there before": (
        "younger-need",
        [wheel("alpha", "3.0", requires=["beta>=3"], uploaded=AFTER), wheel("beta", "3.0", uploaded=AFTER)],
        ["alpha==3.0"],
        {"alpha": "3.0", "beta": "3.0"},
    ),
    "a compiled package without a wheel": (
        "wheels-first",
        [own_sdist("numexpr", "1.0"), backend()],
        ["numexpr==1.0"],
        {"numexpr": "1.0"},
    ),
    "an sdist that cannot be built": (
        "wheels-first",
        [own_sdist("alpha", "2.0", "nowhere"), wheel("alpha", "1.0")],
        ["alpha"],
        {"alpha": "1.0"},
    ),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("case", SAFE)
def test_a_safe_rule_mends_what_fails_without_it_and_the_lock_says_so(
    kit: Kit, make_model: MakeModel, case: str
) -> None:
    rule, files, asked, expected = SAFE[case]
    kit.index.add(*files)
    model = make_model(pip=asked)
    locked = kit.lock(model)
    assert versions(locked) == expected
    assert [code for code in codes(locked) if code != "younger-pin"] == [rule]
    assert rule in [notice.code for notice in locked.lock.origin.notices]
    assert f'code = "{rule}"' in write_lock(locked.lock)
    if case.startswith("pins that contradict"):
        with pytest.raises(Unresolvable) as failure:
            kit.lock(model, repair="none")
        assert "--allow-repair pins-as-they-are" in (failure.value.hint or "")


OLD_NUMBA, NEW_NUMBA = wheel("numba", "0.53.1", requires=["numpy"]), wheel("numba", "0.56.4", requires=["numpy<1.24"])


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("numbas", "asked", "found", "is_mended"),
    [
        ([OLD_NUMBA, NEW_NUMBA], ["numpy", "shap"], {"numpy": "1.23.5", "numba": "0.56.4"}, True),
        ([OLD_NUMBA], ["numpy", "shap"], {"numpy": "1.20.3", "numba": "0.53.1"}, True),
        ([OLD_NUMBA], ["numpy==1.24.1", "numba==0.53.1"], {"numpy": "1.24.1", "numba": "0.53.1"}, False),
        ([OLD_NUMBA], ["numpy<1.21", "shap"], {"numpy": "1.20.3", "numba": "0.53.1"}, False),
    ],
    ids=["a newer numba", "an older numpy", "pinned so", "nothing against it"],
)
def test_a_numba_that_does_not_say_which_numpy_it_takes_is_not_put_beside_another(
    kit: Kit,
    make_model: MakeModel,
    numbas: list[File],
    asked: list[str],
    found: dict[str, str],
    *,
    is_mended: bool,
) -> None:
    kit.index.add(*(wheel("numpy", version) for version in ("1.20.3", "1.23.5", "1.24.1")))
    kit.index.add(*numbas, wheel("shap", "0.41.0", requires=["numba", "numpy"]))
    model = make_model(pip=asked)
    locked = kit.lock(model)
    assert {name: version for name, version in versions(locked).items() if name != "shap"} == found
    assert codes(locked) == ["numba-bound"] * is_mended
    plain = kit.lock(model, update=True, deny_repair=("numba-bound",))
    assert ("0.53.1" if is_mended else found["numba"]) == versions(plain)["numba"]
    assert codes(plain) == []


@pytest.mark.parametrize(
    ("pip", "changes"),
    [
        (["alpha==1.0", "beta==1.0"], {"repair": "none"}),
        (["alpha==1.0", "beta==1.0"], {"deny_repair": ("pins-as-they-are",)}),
        (["alpha==1.0", "json"], {"repair": "none"}),
    ],
)
def test_a_rule_that_is_refused_mends_nothing(
    kit: Kit, make_model: MakeModel, pip: list[str], changes: dict[str, Any]
) -> None:
    kit.index.add(*contradictory())
    model = make_model(pip=pip)
    with pytest.raises(Unresolvable) as failure:
        kit.lock(model, **changes)
    # What is refused by name is not offered either.
    hint = failure.value.hint or ""
    assert ("--allow-repair" in hint) == ("repair" in changes)
    assert not [name for name in changes.get("deny_repair", ()) if name in hint]


# Rules that change what the model pins.
CONSENT: dict[str, tuple[list[File], list[str], dict[str, str]]] = {
    "nearest-release": (
        [wheel("alpha", "0.9"), wheel("alpha", "1.0.1"), wheel("alpha", "2.0")],
        ["alpha==1.0.0"],
        {"alpha": "1.0.1"},
    ),
    "missing-package": ([wheel("alpha", "1.0")], ["nowhere", "alpha"], {"alpha": "1.0"}),
    "double-pin": ([wheel("alpha", "1.0"), wheel("alpha", "2.0")], ["alpha==1.0", "alpha==2.0"], {"alpha": "2.0"}),
    "loose-range": (list(contradictory()), ["alpha", "beta<2"], {"alpha": "1.0", "beta": "2.0"}),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("rule", CONSENT)
def test_a_rule_that_changes_a_pin_needs_consent_and_the_failure_says_which(
    kit: Kit, make_model: MakeModel, rule: str
) -> None:
    files, asked, expected = CONSENT[rule]
    kit.index.add(*files)
    model = make_model(pip=asked)
    with pytest.raises(Unresolvable) as failure:
        kit.lock(model)
    assert f"--allow-repair {rule} would try this: " in (failure.value.hint or "")
    with pytest.raises(Unresolvable) as failure:
        kit.lock(model, repair="all", deny_repair=(rule,))
    assert rule not in (failure.value.hint or "")
    locked = kit.lock(model, allow_repair=(rule,))
    assert (versions(locked), codes(locked)) == (expected, [rule])


def test_a_rule_that_there_is_not_is_refused_at_once(kit: Kit, make_model: MakeModel) -> None:
    with pytest.raises(UsageError, match="no repair called 'nearest'"):
        pipeline.ask(make_model(), kit.settings(allow_repair=("nearest",)))


NEIGHBOUR = {"allow_repair": ("neighbouring-python",)}


def test_another_python_is_taken_with_consent_and_its_lock_is_kept(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(for_python("alpha", "1.0", "3.9"), wheel("beta", "1.0"))
    model = make_model(pip=["alpha==1.0", "beta", "pywin32==300"], python="3.10.4")
    with pytest.raises(Unresolvable) as failure:
        kit.lock(model)
    assert "--allow-repair neighbouring-python" in (failure.value.hint or "")
    first, second = kit.lock(model, **NEIGHBOUR), kit.lock(model, **NEIGHBOUR)
    for locked, source in ((first, "resolved"), (second, "kept")):
        assert (locked.source, locked.lock.python, locked.lock.target) == (source, "3.9", here("3.9"))
        assert versions(locked) == {"alpha": "1.0", "beta": "1.0"}
        assert codes(locked) == ["foreign-platform", "neighbouring-python"]
    assert write_lock(first.lock) == write_lock(second.lock)


def test_a_lock_for_another_python_is_accepted_beside_the_model_and_built(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(for_python("alpha", "1.0", "3.9"))
    model = make_model(pip=["alpha==1.0"], python="3.10")
    (model / "pylock.toml").write_text(write_lock(kit.lock(model, **NEIGHBOUR).lock))
    built = kit.build(model, locked=True)
    assert built.locked.source == str(model / "pylock.toml")
    assert built.environment.interpreter.minor == "3.9"
    assert run_python(built.environment.path, "import alpha; print(alpha.version)") == "1.0"


def test_a_lock_for_another_python_that_no_repair_found_is_not_accepted(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(for_python("alpha", "1.0", "3.9"), for_python("alpha", "1.0", "3.10"))
    model = make_model(pip=["alpha==1.0"], python="3.9")
    text = write_lock(kit.lock(model).lock)
    model = make_model(pip=["alpha==1.0"], python="3.10")
    (model / "pylock.toml").write_text(text)
    locked = kit.lock(model)
    assert (locked.source, locked.lock.python, codes(locked)) == ("resolved", "3.10", ["lock-stale"])


def test_the_python_that_the_deployer_names_is_kept(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(for_python("alpha", "1.0", "3.9"))
    model = make_model(pip=["alpha==1.0"], python="3.8")
    with pytest.raises(Unresolvable) as failure:
        kit.lock(model, python="3.10", repair="all")
    assert "neighbouring-python" not in (failure.value.hint or "")


def test_a_python_that_nobody_stated_is_the_one_that_the_pins_have_wheels_for(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(for_python("alpha", "1.0", "3.9"))
    files = {"conda.yaml": "dependencies:\n- pip:\n  - alpha==1.0\n", "python_env.yaml": "build_dependencies: []\n"}
    model = make_model(files=files, created="2022-06-15 12:00:00")
    settings = kit.settings()
    assert pipeline.ask(model, settings).spec.python.text == "3.8"
    locked = kit.lock(model)
    assert (locked.lock.python, codes(locked)[-1]) == ("3.9", "python-by-wheels")
    assert kit.lock(model).source == "kept"


def test_a_later_patch_release_stands_in_for_the_one_demanded(kit: Kit, make_model: MakeModel) -> None:
    texts = {"pyproject.toml": pyproject("tiny-backend"), "alpha.py": ""}
    texts["PKG-INFO"] = metadata("alpha", "1.0") + "Requires-Python: >=3.8.2\n"
    kit.index.add(sdist("alpha", "1.0", texts, pkg_info=False), backend())
    model = make_model(pip=["alpha==1.0"], python="3.8.1")
    locked = kit.lock(model)
    assert (versions(locked), locked.lock.python, codes(locked)) == ({"alpha": "1.0"}, "3.8.1", ["later-patch"])
    with pytest.raises(LockError):
        kit.lock(model, deny_repair=("later-patch",))


def test_a_compiled_package_comes_as_an_older_wheel_before_a_newer_sdist(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(own_sdist("numexpr", "2.0"), wheel("numexpr", "1.0"), backend())
    model = make_model(pip=["numexpr"])
    locked = kit.lock(model)
    assert [(package.version, package.kind) for package in locked.lock.packages] == [("1.0", "wheel")]
    assert codes(locked) == []
    newest = kit.lock(model, deny_repair=("wheels-first",))
    assert [(package.version, package.kind) for package in newest.lock.packages] == [("2.0", "sdist")]


@pytest.mark.slow
def test_an_sdist_that_does_not_say_what_it_is_built_with_is_locked_and_built(
    kit: Kit, make_model: MakeModel, build_tools: tuple[File, ...], tmp_path: Path
) -> None:
    text = setup_py("alpha", "1.0", before="import helper")
    kit.index.add(*build_tools, sdist("alpha", "1.0", {"setup.py": text, "alpha.py": "version = '1.0'\n"}))
    kit.index.add(wheel("helper", "1.0"), wheel("helper", "2.0", uploaded=AFTER))
    model = make_model(pip=["alpha==1.0"])
    locked = kit.lock(model)
    lock = locked.lock
    assert codes(locked) == ["build-needs"]
    (build,) = lock.build
    assert (build.builds, build.undeclared) == (("alpha",), ("alpha",))
    assert {p.name: p.version for p in build.packages} == {"helper": "1.0", "setuptools": "65.5.1", "wheel": "0.38.4"}
    assert all(package.sha256 for package in build.packages)
    # Where nothing is cached and no repair may be used: from what the text of the lock says alone.
    (model / "pylock.toml").write_text(write_lock(lock))
    built = kit.build(model, home=tmp_path / "another", repair="none")
    assert built.locked.lock.hash == lock.hash
    assert run_python(built.environment.path, "import alpha; print(alpha.version)") == "1.0"
    found = "import importlib.util as u; print(u.find_spec('helper'))"
    assert run_python(built.environment.path, found) == "None"
    with pytest.raises(LockError, match="could not be") as failure:
        kit.lock(model, update=True, deny_repair=("build-needs",))
    assert "No module named 'helper'" in "\n".join(failure.value.details)


@pytest.mark.slow
def test_a_models_index_that_is_there_no_more_is_left_out_and_the_rest_built(kit: Kit, make_model: MakeModel) -> None:
    dead = f"http://127.0.0.1:{free_port()}/simple"
    kit.index.add(wheel("alpha", "1.0"))
    model = make_model(pip=[f"--extra-index-url {dead}", "alpha"])
    # Nobody asks it for what the first index has.
    asked_first = kit.build(model, model_indexes="allow")
    assert (versions(asked_first.locked), codes(asked_first.locked)) == ({"alpha": "1.0"}, [])
    kit.more |= {"home": kit.home.with_name("other"), "index_strategy": "best-match"}
    built = kit.build(model, model_indexes="allow")
    assert (versions(built.locked), codes(built.locked)) == ({"alpha": "1.0"}, ["dead-index"])
    assert dead in built.locked.notices[0].message
    assert built.locked.lock.origin.indexes == (kit.index.url,)


def test_a_models_index_that_answers_no_more_is_left_out_without_its_password(
    kit: Kit, make_model: MakeModel, make_index: Callable[[], LocalIndex]
) -> None:
    theirs = make_index()
    theirs.status = 410
    kit.index.add(wheel("alpha", "1.0"))
    model = make_model(pip=[f"--extra-index-url {theirs.with_login('somebody', 'hunter22')}", "alpha"])
    locked = kit.lock(model, model_indexes="allow", index_strategy="best-match")
    assert (versions(locked), codes(locked)) == ({"alpha": "1.0"}, ["dead-index"])
    assert theirs.url in locked.notices[0].message
    for text in (write_lock(locked.lock), *(notice.message for notice in locked.notices)):
        assert "hunter22" not in text
        assert "somebody" not in text


def test_an_index_of_the_deployers_that_is_dead_is_a_failure(
    kit: Kit, make_model: MakeModel, make_index: Callable[[], LocalIndex]
) -> None:
    theirs = make_index()
    theirs.status = 410
    kit.index.add(wheel("alpha", "1.0"))
    with pytest.raises(LockError):
        kit.lock(make_model(pip=["alpha"]), extra_index_url=(theirs.url,), repair="all")


def test_which_rules_may_be_used_is_part_of_what_a_lock_is_kept_under(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("alpha", "1.0"))
    model = make_model(pip=["alpha"])
    for changes in ({}, {"repair": "none"}, {"deny_repair": ("local-version",)}, NEIGHBOUR):
        assert [kit.lock(model, **changes).source for _ in range(2)] == ["resolved", "kept"]
    # Refusing what may not be used anyway changes nothing.
    assert kit.lock(model, deny_repair=("neighbouring-python",)).source == "kept"


def test_what_a_kept_lock_was_mended_by_is_said_again_and_by_inspect(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("alpha", "1.0"))
    model, settings = make_model(pip=["alpha", "json", "pywin32==300"]), kit.settings()
    rules = ["foreign-platform", "standard-library"]
    assert [codes(kit.lock(model)) for _ in range(2)] == [rules, rules]
    kit.index.requests.clear()
    inspected = pipeline.inspect(pipeline.ask(model, settings), settings)
    assert [notice.code for notice in inspected.repairs] == rules
    assert inspected.lock_source == "kept"
    assert kit.index.requests == []


def test_nothing_is_left_out_because_an_index_may_not_be_asked(kit: Kit, make_model: MakeModel) -> None:
    """``conda`` is on this index; offline, nobody can say that it is not."""
    kit.index.add(wheel("alpha", "1.0"), wheel("conda", "22.9.0"))
    model = make_model(pip=["alpha", "conda==22.9.0"])
    kit.lock(model)
    other = make_model("other", pip=["alpha==9.9", "conda==22.9.0", "json"])
    with pytest.raises(Unresolvable) as failure:
        kit.lock(other, offline=True, repair="all")
    assert "offline" in (failure.value.hint or "")
    assert "--allow-repair" not in (failure.value.hint or "")


def test_what_the_model_names_and_lacks_is_left_out_with_consent_and_said_in_the_lock(
    kit: Kit, make_model: MakeModel
) -> None:
    kit.index.add(wheel("alpha", "1.0"))
    model = make_model(pip=["alpha", "./code/gone-1.0-py3-none-any.whl"], conda=["some-tool=4"])
    for consent in ({}, {"repair": "all", "deny_repair": ("missing-package",)}):
        with pytest.raises(SpecError, match=r"some-tool|gone") as refused:
            kit.lock(model, **consent)
        assert "--allow-repair missing-package" in (refused.value.hint or "")
    locked = kit.lock(model, allow_repair=("missing-package",))
    assert versions(locked) == {"alpha": "1.0"}
    assert codes(locked) == ["missing-package", "missing-package"]
    assert write_lock(locked.lock).count('code = "missing-package"') == 2
