"""Who asked for a package, and through whom: a spec's demands held against a lock's packages."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import Environment
from packaging.utils import canonicalize_name

from envbuild.conda.part import MatchSpec
from envbuild.errors import Place
from envbuild.lock import Lock, LockedPackage
from envbuild.redaction import redacted
from envbuild.requirement import Demand
from envbuild.spec import EnvironmentSpec

Chain = tuple[str, ...]
_WHO: Mapping[str, str] = {
    "pip": "the model",
    "conda": "the model",
    "constraint": "the model",
    "build": "the model's build dependencies",
    "mlflow": "the mlflow that made the model",
    "flavor": "the model's flavor",
    "override": "the deployer",
}
_EVERY = "every environment has it"
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """A demand that asks for a package, or a constraint that binds it."""

    requirement: str
    """As it is written, without credentials."""
    origin: str
    """``pip``, ``conda``, ``build``, ``mlflow``, ``flavor``, ``constraint`` or ``override``."""
    place: Place | None
    """A line of a file, or the option that said it; ``None`` for what is the same for every environment."""
    is_pin: bool = False
    """Whether it leaves one version alone."""

    @property
    def who(self) -> str:
        """Who says so, in words."""
        return _EVERY if self.place is None and self.origin == "build" else _WHO.get(self.origin, self.origin)

    def text(self, model: Path) -> str:
        """Place and requirement in one line, the model's own files named relative to it."""
        return self.who if self.place is None else f"{where(self.place, model)} {self.requirement}"

    def to_dict(self) -> dict[str, Any]:
        """The form that ``explain --json`` prints."""
        place = None if self.place is None else str(self.place)
        return {"requirement": self.requirement, "origin": self.origin, "who": self.who, "place": place}


def reason_of_channel(spec: MatchSpec) -> Reason:
    """An entry of conda.yaml's own list as a reason."""
    is_pin = re.search(r"=\s*\d", spec.text) is not None
    return Reason(requirement=redacted(spec.text), origin="conda", place=spec.place, is_pin=is_pin)


def where(place: Place, model: Path) -> str:
    """A place for people: relative to the model where it lies in it."""
    path = Path(place.file)
    name = str(path.relative_to(model)) if path.is_relative_to(model) else place.file
    return name if place.line is None else f"{name}:{place.line}"


def reason(demand: Demand) -> Reason:
    """A demand as a reason."""
    return Reason(
        requirement=redacted(demand.text), origin=demand.origin, place=demand.place, is_pin=demand.pin is not None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasons:
    """Why each package of a lock is in it."""

    spec: EnvironmentSpec
    environment: Environment
    """What markers see on the lock's target."""
    asked: Mapping[str, tuple[Demand, ...]]
    """For each package that is asked for directly, the demands that do so and count on the target."""
    from_channels: Mapping[str, MatchSpec]
    """conda.yaml's own entries, by the packages that they name."""
    parents: Mapping[str, tuple[str, ...]]
    """For each package, those that asked for it."""
    knows_parents: bool
    """Whether the lock says what its packages ask for: another tool's need not, and those of older releases do not."""

    @classmethod
    def of(cls, spec: EnvironmentSpec, lock: Lock) -> Reasons:
        """What a spec and a lock say together."""
        environment = lock.target.marker_environment(lock.python)
        counting = [demand for demand in spec.demands if demand.applies(environment)]
        asked = {one.name: tuple(demand for demand in counting if asks_for(demand, one)) for one in lock.packages}
        has_dependencies = any(package.dependencies for package in lock.packages)
        return cls(
            spec=spec,
            environment=environment,
            asked={name: demands for name, demands in asked.items() if demands},
            from_channels={one.name: one for one in (() if spec.conda is None else spec.conda.specs)},
            parents=_parents(lock),
            knows_parents=has_dependencies or all(asked.values()),
        )

    def binding(self, package: LockedPackage) -> tuple[Demand, ...]:
        """The constraints that name a package and count on the target."""
        found = (one for one in self.spec.constraints if asks_for(one, package))
        return tuple(one for one in found if one.applies(self.environment))

    def replaced(self, package: LockedPackage) -> tuple[Demand, ...]:
        """What asked for a package before the deployer changed that."""
        return tuple(one for one in self.spec.replaced if asks_for(one, package))

    def ruled_out(self, name: str) -> tuple[Demand, ...]:
        """The demands that name a package and do not count on the target."""
        found = (one for one in self.spec.demands if one.name == name)
        return tuple(one for one in found if not one.applies(self.environment))

    def chains(self, name: str) -> tuple[Chain, ...]:
        """The ways from what is asked for directly to a package: the shortest from each, those of few steps first."""
        below: dict[str, str] = {}
        found: list[Chain] = []
        waiting = deque([name])
        while waiting:
            current = waiting.popleft()
            if current != name and (current in self.asked or current in self.from_channels):
                # Who asked for this one in turn is its own story.
                found.append(_chain(current, name, below))
                continue
            for parent in self.parents.get(current, ()):
                if parent not in below and parent != name:
                    below[parent] = current
                    waiting.append(parent)
        return tuple(sorted(found, key=lambda chain: (len(chain), chain)))


def _parents(lock: Lock) -> dict[str, tuple[str, ...]]:
    here = {package.name for package in lock.installed}
    parents: dict[str, set[str]] = {}
    for package in lock.installed:
        for below in map(canonicalize_name, package.dependencies):
            if below in here and below != package.name:
                parents.setdefault(below, set()).add(package.name)
    return {name: tuple(sorted(names)) for name, names in parents.items()}


def _chain(first: str, last: str, below: Mapping[str, str]) -> Chain:
    names = [first]
    while names[-1] != last:
        names.append(below[names[-1]])
    return tuple(names)


def asks_for(demand: Demand, package: LockedPackage) -> bool:
    """Whether a demand is for a package: by its name, or where only the resolver knew that, by where it lies."""
    if demand.name is not None:
        return demand.name == package.name
    if demand.path is not None:
        return demand.path == package.path
    return package.url is not None and package.url in redacted(demand.text)


def names_package(text: str, name: str) -> bool:
    """Whether a text has a package's name in it, as a word of its own and in any spelling."""
    return any(canonicalize_name(word.rstrip("._-")) == name for word in _WORD.findall(text))
