"""Which index a package comes from: nobody slips in a namesake, and PyTorch's own builds are had all the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from kit import Kit, codes, run_python, versions
from local_index import LocalIndex
from tiny import wheel

from envbuild import indexes, pipeline
from envbuild.errors import LockError, Unresolvable
from envbuild.projects import read_projects
from envbuild.pylock import write_lock
from envbuild.uv import default_index

MakeModel = Callable[..., Path]
MakeIndex = Callable[[], LocalIndex]


@pytest.fixture
def private(either: Kit, make_index: MakeIndex) -> LocalIndex:
    """The deployer's own index, beside the public one, which has a namesake in a higher version."""
    index = make_index().add(wheel("acme", "1.0", requires=["beta"]))
    either.index.add(wheel("acme", "99.0"), wheel("beta", "1.0"))
    either.more["extra_index_url"] = (index.url,)
    return index


def origins(kit: Kit, model: Path, **changes: object) -> dict[str, str]:
    """Which server each locked file lies on."""
    return {one.name: str(urlsplit(one.url or "").port) for one in kit.lock(model, **changes).lock.packages}


def port(index: LocalIndex) -> str:
    return str(urlsplit(index.url).port)


def test_a_public_package_of_a_higher_version_is_not_taken_under_a_private_name(
    either: Kit, make_model: MakeModel, private: LocalIndex
) -> None:
    model = make_model(pip=["acme"])
    assert origins(either, model) == {"acme": port(private), "beta": port(either.index)}
    assert not any("acme" in path for path in either.index.requests)
    built = either.build(model)
    assert run_python(built.environment.path, "import acme; print(acme.version)") == "1.0"


def test_nor_is_it_where_another_package_asks_for_it(either: Kit, make_model: MakeModel, private: LocalIndex) -> None:
    either.index.add(wheel("gamma", "1.0", requires=["acme"]))
    assert origins(either, make_model(pip=["gamma"]))["acme"] == port(private)


def test_nor_is_it_where_the_private_index_lacks_what_is_asked_for(
    either: Kit, make_model: MakeModel, private: LocalIndex
) -> None:
    with pytest.raises(Unresolvable):
        either.lock(make_model(pip=["acme>=2"]))
    with pytest.raises(Unresolvable):
        either.lock(make_model("pinned", pip=["acme==99.0"]))


# uv asks a server that fails several times, with pauses.
@pytest.mark.parametrize("status", [401, 403, pytest.param(500, marks=pytest.mark.slow)])
def test_nor_is_it_where_the_private_index_refuses_or_fails(
    either: Kit, make_model: MakeModel, private: LocalIndex, status: int
) -> None:
    if status == 401:
        private.login = ("nobody", "else")
    else:
        private.status = status
    with pytest.raises(LockError):
        either.lock(make_model(pip=["acme"]))


def test_of_two_extra_indexes_the_one_that_is_named_first_counts(
    either: Kit, make_model: MakeModel, private: LocalIndex, make_index: MakeIndex
) -> None:
    second = make_index().add(wheel("acme", "2.0"))
    model = make_model(pip=["acme"])
    assert origins(either, model, extra_index_url=(private.url, second.url))["acme"] == port(private)
    assert origins(either, model, extra_index_url=(second.url, private.url))["acme"] == port(second)


def test_the_best_of_all_is_taken_where_the_deployer_says_so(
    either: Kit, make_model: MakeModel, private: LocalIndex
) -> None:
    model = make_model(pip=["acme"])
    first = either.lock(model)
    best = either.lock(model, index_strategy="best-match")
    assert (versions(first)["acme"], versions(best)["acme"]) == ("1.0", "99.0")
    # Each is kept under a key of its own.
    assert (first.source, best.source) == ("resolved", "resolved")
    assert versions(either.lock(model))["acme"] == "1.0"


def test_what_rules_of_repair_are_told_is_what_that_index_has(
    either: Kit, make_model: MakeModel, private: LocalIndex
) -> None:
    known, _ = indexes.choose(either.settings(), (), "")
    found = read_projects(["acme", "beta"], known, default_index(either.home))
    assert [str(version) for version in found["acme"].releases] == ["1.0"]
    assert list(found) == ["acme", "beta"]


def test_a_lock_is_built_though_another_index_has_the_name_by_now(
    either: Kit, make_model: MakeModel, make_index: MakeIndex
) -> None:
    either.index.add(wheel("alpha", "1.0"))
    locked = either.lock(make_model(pip=["alpha"]))
    shutil.rmtree(either.home / "uv")
    other = make_index().add(wheel("alpha", "2.0"))
    built = pipeline.build(locked, either.settings(extra_index_url=(other.url,)))
    assert run_python(built.environment.path, "import alpha; print(alpha.version)") == "1.0"


def test_a_page_of_a_models_that_is_gone_is_left_out(either: Kit, make_model: MakeModel, private: LocalIndex) -> None:
    model = make_model(pip=[f"--find-links {either.index.root}/gone", "acme"])
    locked = either.lock(model, model_indexes="allow")
    # uv must know beforehand what lies there; pip asks when nobody else has something.
    said = ["dead-index"] if either.more["engine"] == "uv" else []
    assert (versions(locked)["acme"], codes(locked)) == ("1.0", said)
    assert pipeline.build(locked, either.settings(model_indexes="allow")).was_built


# Indexes of the model's


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "option", ["--extra-index-url", pytest.param("--index-url", marks=pytest.mark.slow), "--find-links"]
)
def test_a_models_index_brings_what_nobody_else_has_and_replaces_nothing(
    either: Kit, make_model: MakeModel, private: LocalIndex, make_index: MakeIndex, option: str
) -> None:
    theirs = make_index().add(wheel("acme", "77"), wheel("beta", "77"), wheel("delta", "1.0"))
    place = theirs.url
    if option == "--find-links":
        place = f"{theirs.root}/all/links"
        theirs.folders.add("all")
        theirs.page = lambda project, as_json: (  # type: ignore[method-assign]
            "text/html",
            "".join(f'<a href="{theirs.root}/files/{f.name}">{f.name}</a>' for f in theirs.files).encode(),
        )
    model = make_model(pip=[f"{option} {place}", "acme", "beta", "delta"])
    as_of = "created" if option == "--find-links" else "now"
    found = origins(either, model, model_indexes="allow", as_of=as_of)
    assert found == {"acme": port(private), "beta": port(either.index), "delta": port(theirs)}
    built = either.build(model, model_indexes="allow", as_of=as_of)
    assert run_python(built.environment.path, "import delta; print(delta.version)") == "1.0"
    assert versions(either.lock(model, model_indexes="allow", index_strategy="best-match")) == {
        "acme": "99.0",
        "beta": "77",
        "delta": "1.0",
    }


def test_a_page_of_a_models_may_want_the_login_that_its_address_has(
    either: Kit, make_model: MakeModel, private: LocalIndex, make_index: MakeIndex
) -> None:
    theirs = make_index().add(wheel("delta", "1.0"))
    theirs.login = ("somebody", "hunter22")
    page = f"{theirs.with_login('somebody', 'hunter22')}/delta/"
    built = either.build(make_model(pip=[f"--find-links {page}", "delta"]), model_indexes="allow")
    assert versions(built.locked) == {"delta": "1.0"}
    assert "hunter22" not in write_lock(built.locked.lock)


@pytest.fixture
def pytorch(make_index: MakeIndex, monkeypatch: pytest.MonkeyPatch) -> LocalIndex:
    """An index on a host that is known to build torch: builds of its own, old copies of others, no upload times."""
    # What is known of hosts is a table; this machine stands in for PyTorch's.
    monkeypatch.setattr(indexes, "BUILT_AT", {"127.0.0.1": ("torch",)})
    monkeypatch.setattr("envbuild.resolvers.known_builds.BUILT_AT", {"127.0.0.1": ("torch",)})
    index = make_index().add(wheel("torch", "1.13.0+cu117", requires=["acme"]), wheel("acme", "50.0"))
    index.upload_times = False
    return index


@pytest.mark.sampled(2)
@pytest.mark.parametrize("line", ["torch==1.13.0+cu117", "torch==1.13.0"])
def test_a_build_on_a_known_projects_own_index_is_had_and_replaces_nothing_else(
    either: Kit, make_model: MakeModel, private: LocalIndex, pytorch: LocalIndex, line: str
) -> None:
    either.index.add(wheel("torch", "1.13.0"))
    model = make_model(pip=[f"--extra-index-url {pytorch.url}", line])
    locked = either.lock(model, model_indexes="allow", accelerator="cu117")
    assert versions(locked) == {"torch": "1.13.0+cu117", "acme": "1.0", "beta": "1.0"}
    # The date holds for all the others, though that index knows none.
    assert locked.lock.origin.as_of == "2021-06-16T12:00:00Z"
    settings = either.settings(model_indexes="allow", accelerator="cu117")
    built = pipeline.build(locked, settings)
    assert run_python(built.environment.path, "import torch; print(torch.version)") == "1.13.0+cu117"


def test_such_a_build_is_not_had_under_a_name_of_the_deployers_own(
    either: Kit, make_model: MakeModel, private: LocalIndex, pytorch: LocalIndex
) -> None:
    private.add(wheel("torch", "1.13.0"))
    model = make_model(pip=[f"--extra-index-url {pytorch.url}", "torch==1.13.0"])
    assert versions(either.lock(model, model_indexes="allow")) == {"torch": "1.13.0"}


def test_a_known_index_that_is_gone_is_no_hindrance(
    either: Kit, make_model: MakeModel, private: LocalIndex, pytorch: LocalIndex
) -> None:
    either.index.add(wheel("torch", "1.13.0"))
    pytorch.close()
    model = make_model(pip=[f"--extra-index-url {pytorch.url}", "torch==1.13.0+cu117"])
    locked = either.lock(model, model_indexes="allow")
    assert versions(locked) == {"torch": "1.13.0"}
    assert "local-version" in codes(locked)
