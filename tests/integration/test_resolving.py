"""Spec to lock: dates, pins, build requirements, and failing in plain words."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from kit import Kit, cli, cli_environ, codes, versions
from local_index import LocalIndex
from tiny import (
    AFTER,
    BEFORE,
    PYTHON,
    SAME_DAY,
    File,
    backend,
    own_sdist,
    pyproject,
    sdist,
    setup_py,
    wheel,
)

from envbuild import asof, interpreters, pipeline, target
from envbuild.errors import IndexUnreachable, LockError, LockTimedOut, Unresolvable
from envbuild.pylock import write_lock
from envbuild.question import Question
from envbuild.resolvers import resolver_for

MakeModel = Callable[..., Path]


def three_ages(name: str = "alpha") -> tuple[File, ...]:
    """1 before the model's day, 2 within a day of it, 3 later."""
    return (
        wheel(name, "1.0", uploaded=BEFORE),
        wheel(name, "2.0", uploaded=SAME_DAY),
        wheel(name, "3.0", uploaded=AFTER),
    )


@pytest.mark.parametrize(
    ("as_of", "expected"),
    [
        ("created", "2.0"),
        ("now", "3.0"),
        ("2021-06-15", "1.0"),
        ("2021-06-16", "2.0"),
        ("2021-06-17", "3.0"),
        ("2021-06-16T11:59:00Z", "1.0"),
        ("2021-06-16T11:59:01Z", "2.0"),
    ],
)
def test_upload_times_decide_which_version_an_open_requirement_gets(
    kit: Kit, make_model: MakeModel, as_of: str, expected: str
) -> None:
    kit.index.add(*three_ages())
    locked = kit.lock(make_model(pip=["alpha"]), as_of=as_of)
    assert versions(locked) == {"alpha": expected}
    assert locked.source == "resolved"


def test_a_younger_pin_is_let_in_for_its_package_alone_and_said(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(*three_ages("alpha"), *three_ages("beta"))
    locked = kit.lock(make_model(pip=["alpha==3.0", "beta"]))
    assert versions(locked) == {"alpha": "3.0", "beta": "2.0"}
    assert codes(locked) == ["younger-pin"]
    assert "alpha==3.0 was released on 2021-06-17" in locked.notices[0].message


def test_what_a_younger_pin_pins_itself_is_let_in_with_it(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(
        wheel("whole", "3.0", requires=["whole-core==3.0", "beta"], uploaded=AFTER),
        wheel("whole-core", "1.0"),
        wheel("whole-core", "3.0", uploaded=AFTER),
        *three_ages("beta"),
    )
    locked = kit.lock(make_model(pip=["whole==3.0"]))
    assert versions(locked) == {"whole": "3.0", "whole-core": "3.0", "beta": "2.0"}
    assert codes(locked) == ["younger-pin", "younger-pin"]


def test_an_index_without_upload_times_is_said_and_now_counts(kit: Kit, make_model: MakeModel) -> None:
    kit.index.upload_times = False
    kit.index.add(*three_ages())
    locked = kit.lock(make_model(pip=["alpha"]))
    assert versions(locked) == {"alpha": "3.0"}
    assert codes(locked) == ["no-upload-times"]
    assert locked.lock.origin.as_of == "now"


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ({"pip": ["alpha", "beta==2.0"]}, "2.0"),
        ({"pip": ["alpha"], "more": "mlflow_version: 1.7.0\n"}, "2.0"),
        ({"pip": ["alpha"], "flavors": "  sklearn:\n    sklearn_version: 0.24.0\n"}, "2.0"),
        ({"pip": ["alpha", "beta==1.0"], "more": "mlflow_version: 1.7.0\n"}, "2.0"),
        ({"pip": ["alpha", "beta==1.0"]}, "1.0"),
    ],
    ids=["pin", "mlflow_version", "flavor", "the newest of two", "an old pin"],
)
def test_a_model_without_a_date_is_as_old_as_the_newest_version_it_states(
    kit: Kit, make_model: MakeModel, stated: dict[str, object], expected: str
) -> None:
    kit.index.add(
        *three_ages("alpha"),
        wheel("beta", "1.0"),
        wheel("beta", "2.0", uploaded="2021-06-16T12:00:00Z"),
        wheel("mlflow", "1.7.0", uploaded="2021-06-16T12:00:00Z"),
        wheel("scikit-learn", "0.24.0", uploaded="2021-06-16T12:00:00Z"),
    )
    locked = kit.lock(make_model(created=None, **stated))
    assert versions(locked)["alpha"] == {"2.0": "3.0", "1.0": "1.0"}[expected]
    assert codes(locked) == ["date-inferred"]


def test_a_model_with_neither_date_nor_versions_resolves_as_of_now_and_says_so(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(*three_ages())
    locked = kit.lock(make_model(created=None, pip=["alpha"]))
    assert versions(locked) == {"alpha": "3.0"}
    assert codes(locked) == ["date-unknown"]


def test_an_mlflow_version_that_the_index_lacks_gives_way_to_the_date(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(*three_ages("mlflow"), wheel("setuptools", "57.0"))
    model = make_model(pip=["mlflow"], more="mlflow_version: 2.1.3\n", build_dependencies=["setuptools"])
    locked = kit.lock(model)
    assert versions(locked) == {"mlflow": "2.0", "setuptools": "57.0"}
    assert codes(locked) == ["mlflow-not-on-index"]


def test_an_mlflow_version_on_the_index_counts_where_mlflow_is_open(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(*three_ages("mlflow"), wheel("setuptools", "57.0"))
    model = make_model(pip=["mlflow"], more="mlflow_version: '1.0'\n", build_dependencies=["setuptools"])
    assert versions(kit.lock(model)) == {"mlflow": "1.0", "setuptools": "57.0"}


def test_models_older_than_march_2019_get_build_tools_that_work(kit: Kit, make_model: MakeModel) -> None:
    tools = [(n, v, d) for n in ("pip", "setuptools", "wheel") for v, d in (("1", "2018-01-01"), ("2", "2019-02-01"))]
    kit.index.add(*(wheel(name, version, uploaded=f"{date}T00:00:00Z") for name, version, date in tools))
    kit.index.add(wheel("alpha", "1", uploaded="2018-01-01T00:00:00Z"), wheel("alpha", "2", uploaded=BEFORE))
    model = make_model(pip=["alpha"], created="2018-07-01 00:00:00", build_dependencies=None)
    locked = kit.lock(model)
    assert versions(locked) == {"alpha": "1", "pip": "2", "setuptools": "2", "wheel": "2"}
    assert codes(locked) == ["build-tools-floor"]


def test_the_target_names_the_c_library_where_the_system_says_it(kit: Kit, make_model: MakeModel) -> None:
    """``linux_x86_64`` alone would be the same on machines that cannot run the same wheels."""
    platform = kit.lock(make_model()).lock.target.platform
    assert re.fullmatch(r"(manylinux|musllinux)_\d+_\d+_\w+", platform)


def test_extras_pull_their_requirements_and_stand_in_the_lock(kit: Kit, make_model: MakeModel) -> None:
    extras = {"fast": ["beta"], "slow": ["gamma"]}
    kit.index.add(wheel("alpha", "1.0", extras=extras), wheel("beta", "1.0"), wheel("gamma", "1.0"))
    plain = kit.lock(make_model("plain", pip=["alpha", "beta"]))
    locked = kit.lock(make_model("extra", pip=["alpha[fast]"]))
    assert versions(locked) == {"alpha": "1.0", "beta": "1.0"}
    assert {package.name: package.extras for package in locked.lock.packages}["alpha"] == ("fast",)
    assert locked.lock.hash != plain.lock.hash


def test_constraints_bind_without_installing(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("alpha", "1.0", requires=["beta"]), wheel("beta", "1.0"), wheel("beta", "1.5"))
    kit.index.add(wheel("gamma", "1.0"))
    files = {"constraints.txt": "beta<1.5\ngamma==1.0\n"}
    locked = kit.lock(make_model(pip=["alpha", "-c constraints.txt"], files=files))
    assert versions(locked) == {"alpha": "1.0", "beta": "1.0"}


def test_the_lock_names_one_file_a_package_and_a_wheel_before_an_sdist(kit: Kit, make_model: MakeModel) -> None:
    other = wheel("alpha", "1.0", tag="cp39-cp39-win_amd64")
    kit.index.add(own_sdist("alpha", "1.0"), other, wheel("alpha", "1.0"), backend())
    (package,) = kit.lock(make_model(pip=["alpha"])).lock.packages
    assert (package.kind, package.file_name) == ("wheel", "alpha-1.0-py3-none-any.whl")


def test_an_sdist_with_only_a_setup_py_has_setuptools_and_wheel_locked(
    kit: Kit, make_model: MakeModel, build_tools: tuple[File, ...]
) -> None:
    kit.index.add(*build_tools, sdist("alpha", "1.0", {"setup.py": setup_py("alpha", "1.0"), "alpha.py": ""}))
    lock = kit.lock(make_model(pip=["alpha"])).lock
    (package,) = lock.packages
    (build,) = lock.build
    assert package.kind == "sdist"
    assert build.builds == ("alpha",)
    assert {p.name: p.version for p in build.packages} == {"setuptools": "65.5.1", "wheel": "0.38.4"}
    assert all(p.sha256 for p in build.packages)


def test_a_declared_backend_and_what_its_hook_asks_for_are_locked(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(backend(), wheel("helper", "1.0"), own_sdist("alpha", "1.0", asks_for__txt="helper\n"))
    (build,) = kit.lock(make_model(pip=["alpha"])).lock.build
    assert {p.name: p.version for p in build.packages} == {"tiny-backend": "1.0", "helper": "1.0"}


def test_setup_requires_is_found_through_the_hook(
    kit: Kit, make_model: MakeModel, build_tools: tuple[File, ...]
) -> None:
    text = setup_py("alpha", "1.0", "setup_requires=['helper'],")
    kit.index.add(*build_tools, wheel("helper", "1.0"), sdist("alpha", "1.0", {"setup.py": text, "alpha.py": ""}))
    (build,) = kit.lock(make_model(pip=["alpha"])).lock.build
    assert sorted(p.name for p in build.packages) == ["helper", "setuptools", "wheel"]


def test_build_requirements_that_contradict_each_other_get_a_build_lock_each(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(backend(version="1.0"), backend(version="2.0"))
    kit.index.add(own_sdist("alpha", "1.0", "tiny-backend==1.0"), own_sdist("beta", "1.0", "tiny-backend==2.0"))
    model = make_model(pip=["alpha", "beta"])
    lock = kit.lock(model).lock
    found = {build.builds: [(p.name, p.version) for p in build.packages] for build in lock.build}
    assert found == {("alpha",): [("tiny-backend", "1.0")], ("beta",): [("tiny-backend", "2.0")]}
    assert kit.build(model).was_built


def test_build_requirements_come_from_the_models_time(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(backend(version="1.0"), backend(version="2.0", uploaded=AFTER), own_sdist("alpha", "1.0"))
    (build,) = kit.lock(make_model(pip=["alpha"])).lock.build
    assert [p.version for p in build.packages] == ["1.0"]


def test_the_lock_is_the_same_bytes_from_another_home_and_another_place_of_the_model(
    kit: Kit, make_model: MakeModel, tmp_path: Path
) -> None:
    kit.index.add(*three_ages(), own_sdist("beta", "1.0"), backend())
    local = wheel("gamma", "1.0")
    asked = {"pip": ["alpha", "beta", f"./wheels/{local.name}"], "files": {f"wheels/{local.name}": local.content}}
    first = kit.lock(make_model("one", **asked))
    second = kit.lock(make_model("two", **asked), home=tmp_path / "another")
    assert second.source == "resolved"
    assert write_lock(first.lock) == write_lock(second.lock)


def test_the_lock_does_not_depend_on_the_patch_release_that_resolves(kit: Kit, make_model: MakeModel) -> None:
    """The lock for 3.8.5 is the same whichever 3.8 (or, here, any other Python) reads the sdists."""
    kit.index.add(*three_ages(), backend(), own_sdist("beta", "1.0"))
    here = interpreters.find(PYTHON, kit.settings())
    other = interpreters.find("3.10", kit.settings())
    texts = []
    for interpreter in (here, other):
        settings = kit.settings()
        asked = pipeline.ask(make_model(pip=["alpha", "beta"], python="3.8.5"), settings)
        indexes, _ = pipeline.asked_indexes(asked.spec, settings)
        question = Question(
            spec=asked.spec,
            target=target.here("3.8.5"),
            interpreter=interpreter,
            as_of=asof.decide("created", asked.spec, lambda names: {}),
            indexes=indexes,
            settings=settings,
        )
        texts.append(write_lock(resolver_for("uv").resolve(question, lambda step: None)))
    assert texts[0] == texts[1]


JARGON = ("exclude-newer", "uv", "you require", "virtual environment", "╰─▶", "cause:")


def test_unresolvable_is_said_in_plain_words_with_the_place_of_each_requirement(
    kit: Kit, make_model: MakeModel
) -> None:
    kit.index.add(wheel("alpha", "1.0", requires=["gamma<1"]), wheel("beta", "1.0", requires=["gamma>=1"]))
    kit.index.add(wheel("gamma", "0.5"), wheel("gamma", "1.5"), wheel("innocent", "1.0"))
    model = make_model(pip=["alpha", "beta", "innocent"])
    with pytest.raises(Unresolvable) as failure:
        kit.lock(model)
    error = failure.value
    assert list(error.details) == [f"alpha  ({model}/conda.yaml:5)", f"beta  ({model}/conda.yaml:6)"]
    assert "gamma" in error.message
    words = " ".join([error.message, *error.details, error.hint or ""]).replace(str(model), "")
    assert not [word for word in JARGON if word in words], words


def test_a_pin_that_is_nowhere_is_said_with_its_place(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("alpha", "1.0"))
    model = make_model(pip=["alpha==9.9", "nowhere"])
    with pytest.raises(Unresolvable) as failure:
        kit.lock(model)
    words = " ".join([failure.value.message, *failure.value.details])
    assert f"{model}/conda.yaml:" in words
    assert not [word for word in JARGON if word in words.replace(str(model), "")], words


def test_only_versions_younger_than_the_date_is_said_without_jargon(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("alpha", "3.0", uploaded=AFTER))
    model = make_model(pip=["alpha"])
    with pytest.raises(Unresolvable) as failure:
        kit.lock(model, repair="none")
    error = failure.value
    words = " ".join([error.message, *error.details]).replace(str(model), "")
    assert not [word for word in JARGON if word in words], words
    assert "--allow-repair younger-pin" in (error.hint or "")
    assert list(error.details) == [f"alpha  ({model}/conda.yaml:5)"]


def test_resolving_has_a_time_limit(kit: Kit, make_model: MakeModel) -> None:
    kit.index.open.clear()
    with pytest.raises(LockTimedOut, match=r"longer than 0\.5 seconds"):
        kit.lock(make_model(pip=["alpha"]), lock_timeout=0.5)


@pytest.mark.slow
def test_an_index_that_is_not_there_is_unreachable(kit: Kit, make_model: MakeModel) -> None:
    url = kit.index.url
    kit.index.close()
    with pytest.raises(IndexUnreachable) as failure:
        kit.lock(make_model(pip=["alpha"]), index_url=url)
    assert failure.value.hint is not None


def test_an_index_that_is_not_there_is_unreachable_when_a_date_is_asked_of_it(kit: Kit, make_model: MakeModel) -> None:
    url = kit.index.url
    kit.index.close()
    with pytest.raises(IndexUnreachable):
        kit.lock(make_model(pip=["alpha==1.0"], created=None), index_url=url)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("status", [401, 403, 500])
def test_an_index_that_refuses_us_is_unreachable(kit: Kit, make_model: MakeModel, status: int) -> None:
    kit.index.add(wheel("alpha", "1.0")).status = status
    with pytest.raises(IndexUnreachable):
        kit.lock(make_model(pip=["alpha"]))


def test_no_build_refuses_what_has_only_an_sdist(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(own_sdist("alpha", "1.0"), backend())
    model = make_model(pip=["alpha"])
    with pytest.raises(LockError) as failure:
        kit.lock(model, no_build=True)
    assert "alpha" in str(failure.value)
    assert versions(kit.lock(model)) == {"alpha": "1.0"}


def test_no_build_takes_an_older_wheel_where_the_newest_has_none(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(own_sdist("alpha", "2.0"), wheel("alpha", "1.0"), backend())
    assert versions(kit.lock(make_model(pip=["alpha"]), no_build=True)) == {"alpha": "1.0"}


def test_an_sdist_that_cannot_say_what_it_needs_is_said(
    kit: Kit, make_model: MakeModel, build_tools: tuple[File, ...]
) -> None:
    kit.index.add(*build_tools, sdist("alpha", "1.0", {"setup.py": "raise SystemExit('no such luck')"}))
    with pytest.raises(LockError) as failure:
        kit.lock(make_model(pip=["alpha"]))
    assert "no such luck" in "\n".join(failure.value.details)


def test_offline_asks_nobody(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("alpha", "1.0"))
    with pytest.raises(LockError) as failure:
        kit.lock(make_model(pip=["alpha"]), offline=True)
    assert kit.index.requests == []
    assert "offline" in (failure.value.hint or "")


def test_offline_asks_nobody_for_dates_either(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("alpha", "1.0"))
    with pytest.raises(LockError):
        kit.lock(make_model(pip=["alpha==1.0"], created=None), offline=True)
    assert kit.index.requests == []


def test_offline_uses_a_kept_lock_and_a_built_environment(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("alpha", "1.0"))
    model = make_model(pip=["alpha"])
    kit.build(model)
    kit.index.requests.clear()
    again = kit.build(model, offline=True)
    assert (again.was_built, again.locked.source, kit.index.requests) == (False, "kept", [])


def _key_changes() -> dict[str, Callable[[Path, LocalIndex], dict[str, object]]]:
    def edited(name: str, old: str, new: str) -> Callable[[Path, LocalIndex], dict[str, object]]:
        def edit(model: Path, other: LocalIndex) -> dict[str, object]:
            text = (model / name).read_text()
            assert old in text
            (model / name).write_text(text.replace(old, new))
            return {}

        return edit

    def other_wheel(model: Path, other: LocalIndex) -> dict[str, object]:
        gamma = wheel("gamma", "1.0", modules={"gamma.py": "changed = True\n"})
        (model / gamma.name).write_bytes(gamma.content)
        return {}

    return {
        "index": lambda model, other: {"index_url": other.url},
        "extra index": lambda model, other: {"extra_index_url": (other.url,)},
        "find links": lambda model, other: {"find_links": (str(model.parent),)},
        "as of now": lambda model, other: {"as_of": "now"},
        "as of a date": lambda model, other: {"as_of": "2021-06-16"},
        "no build": lambda model, other: {"no_build": True},
        "python": lambda model, other: {"python": "3.9"},
        "requirement": edited("conda.yaml", '"alpha"', '"alpha>=1"'),
        "model's date": edited("MLmodel", "2021-06-15", "2021-06-14"),
        "local wheel": other_wheel,
    }


@pytest.mark.sampled(4)
@pytest.mark.parametrize("what", _key_changes())
def test_a_lock_is_kept_until_something_that_went_into_it_changes(
    kit: Kit, make_model: MakeModel, make_index: Callable[[], LocalIndex], what: str
) -> None:
    gamma, other = wheel("gamma", "1.0"), make_index()
    for index in (kit.index, other):
        index.add(wheel("alpha", "1.0"))
    model = make_model(pip=["alpha", f"./{gamma.name}"], files={gamma.name: gamma.content})
    assert [kit.lock(model).source for _ in range(2)] == ["resolved", "kept"]
    changes = _key_changes()[what](model, other)
    assert [kit.lock(model, **changes).source for _ in range(2)] == ["resolved", "kept"]


def test_a_lock_is_kept_through_what_does_not_matter(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("alpha", "1.0"), wheel("beta", "1.0"))
    model = make_model(pip=["alpha", "beta"])
    kit.lock(model)
    kit.index.requests.clear()
    text = (model / "conda.yaml").read_text().replace('"alpha"', "alpha   # a comment")
    (model / "conda.yaml").write_text(text)
    (model / "README.md").write_text("more")
    assert kit.lock(model).source == "kept"
    assert kit.index.requests == []


def test_update_resolves_again_and_replaces_what_was_kept(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("alpha", "1.0"))
    model = make_model(pip=["alpha"])
    kit.lock(model)
    kit.index.add(wheel("alpha", "1.5"))
    assert versions(kit.lock(model)) == {"alpha": "1.0"}
    updated = kit.lock(model, update=True)
    assert (updated.source, versions(updated)) == ("resolved", {"alpha": "1.5"})
    after = kit.lock(model)
    assert (after.source, versions(after)) == ("kept", {"alpha": "1.5"})


def test_an_interrupted_resolving_leaves_no_lock_behind(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("alpha", "1.0"))
    kit.index.open.clear()
    model = make_model(pip=["alpha"])

    def interrupt() -> None:
        kit.index.waiting.wait(30)
        os.kill(os.getpid(), signal.SIGINT)

    import threading

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        kit.lock(model)
    thread.join()
    kit.index.open.set()
    assert kit.lock(model).source == "resolved"


def test_a_pyproject_without_backend_is_built_by_setuptools(
    kit: Kit, make_model: MakeModel, build_tools: tuple[File, ...]
) -> None:
    files = {
        "pyproject.toml": pyproject("setuptools>=40", module="setuptools.build_meta"),
        "setup.py": setup_py("alpha", "1.0"),
        "alpha.py": "",
    }
    kit.index.add(*build_tools, sdist("alpha", "1.0", files))
    (build,) = kit.lock(make_model(pip=["alpha"])).lock.build
    assert sorted(p.name for p in build.packages) == ["setuptools", "wheel"]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("named", ["linux/arm64", "linux-aarch64", "manylinux_2_28_aarch64"])
def test_a_model_is_locked_for_another_machine(kit: Kit, make_model: MakeModel, tmp_path: Path, named: str) -> None:
    tags = ("cp38-cp38-manylinux_2_28_aarch64", "cp38-cp38-manylinux_2_17_x86_64")
    kit.index.add(*(wheel("alpha", "1.0", tag=tag) for tag in tags), wheel("beta", "1.0"))
    model = make_model(pip=["alpha", "beta; platform_machine == 'aarch64'"], python="3.8.5")
    environ, path = cli_environ(kit.home, kit.index.url), tmp_path / "pylock.toml"
    here = cli("lock", model, environ=environ)
    there = cli("lock", model, "--platform", named, "-o", path, environ=environ)
    assert (here.returncode, there.returncode) == (0, 0), here.stderr + there.stderr
    assert [tag in here.stdout for tag in (*tags, "beta-1.0")] == [False, True, False]
    assert [tag in path.read_text() for tag in (*tags, "beta-1.0")] == [True, False, True]
    # Kept beside each other: neither is taken for the other.
    assert cli("lock", model, environ=environ).stdout == here.stdout
    built = cli("build", model, "--lock", path, environ=environ)
    assert (built.returncode, f"the lock is for cp38-{tags[0][10:]}" in built.stderr) == (4, True), built.stderr


@pytest.mark.parametrize("named", ["osx-64", "linux/riscv64", "manylinux_2_12_x86_64", "win32", "manylinux2014_x86_64"])
def test_a_machine_that_nothing_can_be_locked_for_is_said(kit: Kit, make_model: MakeModel, named: str) -> None:
    done = cli("lock", make_model(), "--platform", named, environ=cli_environ(kit.home, kit.index.url))
    assert (done.returncode, f"--platform is '{named}'" in done.stderr) == (2, True), done.stderr


def test_a_lock_for_an_older_c_library_is_one_for_every_newer(kit: Kit, make_model: MakeModel, tmp_path: Path) -> None:
    kit.index.add(*(wheel("alpha", "1.0", tag=f"cp38-cp38-manylinux_2_{glibc}_x86_64") for glibc in (18, 17)))
    model, environ = make_model(pip=["alpha"], python="3.8.5"), cli_environ(kit.home, kit.index.url)
    path = tmp_path / "pylock.toml"
    made = cli("lock", model, "--platform", "manylinux_2_17_x86_64", "-o", path, environ=environ)
    assert made.returncode == 0, made.stderr
    assert "manylinux_2_17" in path.read_text()
    assert "manylinux_2_18_x86_64.whl" not in path.read_text()
    built = cli("build", model, "--lock", path, "--json", environ=environ)
    assert built.returncode == 0, built.stderr
    assert f"lock hash {json.loads(built.stdout)['lock_hash']}" in made.stdout
    # It is no answer to what was not asked: without the file, this machine's own is made.
    assert "manylinux_2_18_x86_64.whl" in cli("lock", model, environ=environ).stdout
