"""One try at resolving, and its failure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from packaging.utils import canonicalize_name

from envbuild.asof import Ask
from envbuild.model import Notice
from envbuild.projects import Project
from envbuild.question import Question
from envbuild.requirement import Demand

# setuptools 40.8 (February 2019) is the first that builds what has no pyproject.toml under PEP 517.
BUILD_FLOOR = datetime(2019, 3, 1, tzinfo=timezone.utc)
BUILD_TOOLS = ("setuptools", "wheel", "pip")


class AnotherPython(Exception):
    """A rule asks for another Python than the one that was demanded."""

    def __init__(self, python: str, notice: Notice) -> None:
        super().__init__(python)
        self.python = python
        self.notice = notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at resolving: what is asked, and under which exceptions."""

    demands: tuple[Demand, ...]
    cut: datetime | None
    cuts: Mapping[str, datetime] = field(default_factory=dict)
    """Packages that have a cut of their own."""
    notices: tuple[Notice, ...] = ()
    overrides: tuple[str, ...] = ()
    """Requirements that count in place of whatever any package says of theirs."""
    bounds: tuple[str, ...] = ()
    """Constraints beside the deployer's and the model's."""
    wheels_only: frozenset[str] = frozenset()
    sdists_too: frozenset[str] = frozenset()
    """Compiled packages that have no wheel here."""
    metadata: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """What releases (name, version) need, in place of what their own files say."""
    build_needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """What sdists are built with beside what they say themselves."""
    dead_indexes: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    """Pins that were tried and given up."""
    only_binary: tuple[str, ...] = ()
    """What the deployer takes as wheels alone."""
    no_binary: tuple[str, ...] = ()
    """What the deployer has built."""
    excluded: tuple[str, ...] = ()
    """Packages that are left out, whoever asks for them."""
    find_links: tuple[str, ...] = ()
    """Pages of files beside the indexes."""
    python: str | None = None
    """The Python to resolve for, where it is not the one demanded: another patch release of it."""

    def noting(self, code: str, message: str) -> Attempt:
        """The same with one more notice."""
        return replace(self, notices=(*self.notices, Notice(code=code, message=message)))

    def without(self, demand: Demand, *instead: Demand) -> Attempt:
        """The same without a demand, or with others in its place."""
        demands: list[Demand] = []
        for one in self.demands:
            demands.extend(instead if one is demand else (one,))
        return replace(self, demands=tuple(demands))


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A try that failed: what the engine said of it, and who can say more."""

    attempt: Attempt
    words: str
    question: Question
    ask: Ask
    """Gives what the index says of projects."""

    def project(self, demand: Demand) -> Project | None:
        """What the main index says of a demand's project; ``None`` where it has none."""
        asked = (*self.attempt.demands, *self._bounds())
        names = {one.name for one in asked if one.kind == "index" and one.name is not None}
        return None if demand.name is None else self.ask(names).get(demand.name)

    @property
    def is_mute(self) -> bool:
        """Whether the index may not be asked: that it says nothing of a package then means nothing."""
        return self.question.settings.offline

    def index_demands(self) -> list[Demand]:
        """The model's demands that an index answers and that count on this machine: those that rules may change."""
        return [one for one in self.all_demands() if one.origin != "override"]

    def all_demands(self) -> list[Demand]:
        """Those, and the deployer's own, which are met or fail."""
        asked = (*self.attempt.demands, *self._bounds())
        return [one for one in asked if one.kind == "index" and self._applies(one)]

    def _bounds(self) -> list[Demand]:
        """The deployer's constraints on what the engine's words are about."""
        bounds = (one for one in self.question.spec.constraints if one.origin == "override")
        return [one for one in bounds if is_named(one, self.words)]

    def _applies(self, demand: Demand) -> bool:
        return demand.applies(self.question.target.marker_environment(self.question.spec.python.text))


_NOT_BUILT = re.compile(r"Failed to (?:download and )?build `([A-Za-z0-9._-]+)(?:==| @ )")


def not_built(words: str) -> str | None:
    """The package whose sdist the engine says it could not build."""
    found = _NOT_BUILT.search(words)
    return None if found is None else str(canonicalize_name(found.group(1)))


def is_named(demand: Demand, words: str) -> bool:
    """Whether the engine's words name a demand's package."""
    return re.search(rf"(?<![\w.-]){re.escape(demand.name or '')}(?![\w-])", words) is not None
