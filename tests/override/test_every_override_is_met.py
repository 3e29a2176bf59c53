"""For any set of overrides: the lock meets each of them, or it is said which cannot be met."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies
from kit import Kit, versions
from local_index import LocalIndex
from packaging.requirements import Requirement
from tiny import AFTER, wheel, write_model

from envbuild.errors import EnvbuildError, Unresolvable, UsageError

# Many environments are locked.
pytestmark = pytest.mark.slow

NAMES = ("fruit", "cake", "jam", "tea")
CLAUSES = ("", "==1.0", "==2.0", "==3.0", ">=2", "<2", "!=1.0", "==9.0")
# Most packages are changed in one way, as people do; that several contradict each other is tested elsewhere.
changes = strategies.dictionaries(
    strategies.sampled_from(NAMES),
    strategies.tuples(strategies.sampled_from(["set", "add", "remove"]), strategies.sampled_from(CLAUSES)),
    max_size=3,
)
bounds = strategies.dictionaries(strategies.sampled_from(NAMES), strategies.sampled_from(CLAUSES[:-1]), max_size=1)


def overrides(changed: dict[str, tuple[str, str]], bound: dict[str, str]) -> dict[str, list[str]]:
    """The settings for some changes."""
    found: dict[str, list[str]] = {"set": [], "add": [], "remove": [], "constraint": []}
    for name, (option, clause) in changed.items():
        found[option].append(name if option == "remove" else f"{name}{clause}")
    found["constraint"] = [f"{name}{clause}" for name, clause in bound.items()]
    return found


@pytest.fixture(scope="module")
def larder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kit, Path]]:
    """Four packages that bind each other, some releases of after the model's day, and a model that asks for two."""
    index = LocalIndex()
    for version in ("1.0", "2.0"):
        index.add(wheel("fruit", version), wheel("jam", version, requires=["fruit<2"]))
    index.add(wheel("fruit", "3.0", uploaded=AFTER), wheel("cake", "1.0", requires=["fruit", "tea<3"]))
    index.add(wheel("cake", "2.0", requires=["fruit>=2"]), wheel("tea", "1.0"), wheel("tea", "3.0", uploaded=AFTER))
    folder = tmp_path_factory.mktemp("larder")
    yield Kit(folder / "home", index), write_model(folder / "model", pip=["cake", "fruit==1.0"])
    index.close()


@settings(
    max_examples=40, deadline=None, derandomize=True, phases=(Phase.generate,), suppress_health_check=list(HealthCheck)
)
@given(changed=changes, bound=bounds)
def test_every_override_is_met_or_named(
    larder: tuple[Kit, Path], changed: dict[str, tuple[str, str]], bound: dict[str, str]
) -> None:
    (kit, model), given = larder, overrides(changed, bound)
    file = model.parent / "bounds.txt"
    file.write_text("\n".join(given["constraint"]) + "\n")
    asked = [*given["set"], *given["add"], *given["constraint"]]
    try:
        locked = kit.lock(model, **{**given, "constraint": file}, failure_memory=0.001)
    except (UsageError, Unresolvable) as error:
        named = " ".join([str(error), *error.details])
        assert any(Requirement(text).name in named for text in (*asked, *given["remove"])), named
        return
    except EnvbuildError as error:
        pytest.fail(f"{error.code}: {error}")
    had = versions(locked)
    for text in asked:
        wanted = Requirement(text)
        version = had.get(wanted.name)
        assert version is None or wanted.specifier.contains(version, prereleases=True)
        assert version is not None or text not in given["add"]
    assert not set(given["remove"]) & set(had)
