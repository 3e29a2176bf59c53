"""Releases that were taken back, by both engines; what an index may serve stands in tests/integration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from kit import Kit, codes, versions
from tiny import backend, own_sdist, wheel

from envbuild.errors import Unresolvable

MakeModel = Callable[..., Path]


@pytest.fixture
def kit(either: Kit) -> Kit:
    """alpha 2.0 was taken back, and 1.0 was not."""
    either.index.add(wheel("alpha", "1.0"), wheel("alpha", "2.0"))
    either.index.said["alpha-2.0-py3-none-any.whl"] = {"yanked": "it eats data"}
    return either


def test_a_release_that_was_taken_back_is_not_taken_unless_it_is_pinned(kit: Kit, make_model: MakeModel) -> None:
    open_ended = kit.lock(make_model("open", pip=["alpha"]))
    assert (versions(open_ended), codes(open_ended)) == ({"alpha": "1.0"}, [])
    with pytest.raises(Unresolvable):
        kit.lock(make_model("from", pip=["alpha>=2.0"]), repair="none")
    pinned = kit.lock(make_model("pinned", pip=["alpha==2.0"]))
    assert versions(pinned) == {"alpha": "2.0"}
    (notice,) = pinned.notices
    assert (notice.code, notice.message) == (
        "yanked",
        "alpha 2.0 is pinned, and was taken back by its index: it eats data",
    )
    # It stays in the lock, for whoever reads that.
    kept = kit.lock(make_model("pinned", pip=["alpha==2.0"]))
    assert (kept.source, kept.lock.origin.notices) == ("kept", (notice,))


def test_what_another_package_pins_is_pinned_to_pip_and_not_to_uv(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(wheel("beta", "1.0", requires=["alpha==2.0"]))
    model = make_model(pip=["beta"])
    if kit.more["engine"] == "pip":
        assert codes(kit.lock(model)) == ["yanked"]
        return
    with pytest.raises(Unresolvable):
        kit.lock(model, repair="none")


def test_no_reason_is_said_too(kit: Kit, make_model: MakeModel) -> None:
    kit.index.said["alpha-2.0-py3-none-any.whl"] = {"yanked": True}
    (notice,) = kit.lock(make_model(pip=["alpha==2.0"])).notices
    assert notice.message == "alpha 2.0 is pinned, and was taken back by its index, and no reason is given"


def test_what_an_sdist_is_built_with_may_be_pinned_and_taken_back(kit: Kit, make_model: MakeModel) -> None:
    kit.index.add(backend(), own_sdist("gamma", "1.0", "tiny-backend==1.0"))
    kit.index.said["tiny_backend-1.0-py3-none-any.whl"] = {"yanked": "too tiny"}
    locked = kit.lock(make_model(pip=["gamma"]))
    assert [notice.message for notice in locked.notices] == [
        "tiny-backend 1.0 is pinned, and was taken back by its index: too tiny"
    ]
