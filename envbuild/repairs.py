"""The named rules that mend what plain resolving would fail on.

Each keeps every version that the model pins, is recorded in the lock as a notice whose code is the rule's name, and is
listed in ``docs/lock.md``. A rule proposes; the resolver tries again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from packaging.version import Version

from envbuild.asof import DAY, Ask, released_at, rfc3339
from envbuild.model import Notice, parse_instant
from envbuild.question import Question
from envbuild.requirement import Demand

# setuptools 40.8 (February 2019) is the first that builds what has no pyproject.toml under PEP 517.
BUILD_FLOOR = datetime(2019, 3, 1, tzinfo=timezone.utc)
BUILD_TOOLS = ("setuptools", "wheel", "pip")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try at resolving: what is asked, and which packages have a cut of their own."""

    demands: tuple[Demand, ...]
    cut: datetime | None
    cuts: Mapping[str, datetime] = field(default_factory=dict)
    notices: tuple[Notice, ...] = ()

    def noting(self, code: str, message: str) -> Attempt:
        """The same with one more notice."""
        return replace(self, notices=(*self.notices, Notice(code=code, message=message)))


def first_attempt(question: Question) -> Attempt:
    """As the model asks; with build tools that work, for models older than those."""
    attempt = Attempt(demands=question.spec.demands, cut=question.as_of.instant, notices=question.as_of.notices)
    if attempt.cut is None or attempt.cut >= BUILD_FLOOR:
        return attempt
    attempt = replace(attempt, cuts=dict.fromkeys(BUILD_TOOLS, BUILD_FLOOR))
    message = f"setuptools, wheel and pip are taken as of {BUILD_FLOOR:%Y-%m-%d}: older ones cannot build sdists"
    return attempt.noting("build-tools-floor", message)


def next_attempt(attempt: Attempt, words: str, ask: Ask) -> Attempt | None:
    """What to try after a failure; ``None`` when no rule applies.

    :param words: what the engine said.
    :param ask: gives what the index says of projects.
    """
    for rule in (_no_upload_times, _younger_pins, _younger_by_pin, _mlflow_not_on_index):
        following = rule(attempt, words, ask)
        if following is not None:
            return following
    return None


def _no_upload_times(attempt: Attempt, words: str, ask: Ask) -> Attempt | None:
    """The index says no upload times: nothing can be cut off."""
    del ask
    if attempt.cut is None or "is missing an upload date" not in words:
        return None
    message = "the index says no upload times; packages are taken as of now"
    return replace(attempt, cut=None, cuts={}).noting("no-upload-times", message)


def _younger_pins(attempt: Attempt, words: str, ask: Ask) -> Attempt | None:
    """A pin that is younger than the date, as people edit files: let in, for that package alone.

    With a day more, since a release's files are not uploaded at one moment.
    """
    del words
    if attempt.cut is None:
        return None
    pins = [d for d in attempt.demands if d.kind == "index" and d.pin is not None and d.name not in attempt.cuts]
    projects = ask(demand.name for demand in pins if demand.name is not None)
    cuts, following = dict(attempt.cuts), attempt
    for demand in pins:
        released = released_at(demand, projects)
        if released is not None and released >= attempt.cut and demand.name is not None:
            cuts[demand.name] = released + DAY
            following = following.noting("younger-pin", _let_in(demand.text, released, attempt.cut))
    return None if following is attempt else replace(following, cuts=cuts)


_FILTERED = re.compile(
    r"`(?P<name>[A-Za-z0-9._-]+)` was filtered by `exclude-newer`[^`]*?"
    r"The requested version, v(?P<version>\S+), was published at (?P<time>\S+?)\.?(?:\s|$)"
)


def _younger_by_pin(attempt: Attempt, words: str, ask: Ask) -> Attempt | None:
    """What a package that was let in pins itself, such as mlflow its mlflow-skinny, is let in with it."""
    del ask
    if attempt.cut is None or not attempt.cuts:
        return None
    following, cuts = attempt, dict(attempt.cuts)
    for match in _FILTERED.finditer(words):
        name, version, released = match["name"], match["version"], parse_instant(match["time"])
        if released is not None and name not in cuts and f"{name}=={version}" in words:
            cuts[name] = released + DAY
            following = following.noting("younger-pin", _let_in(f"{name}=={version}", released, attempt.cut))
    return None if following is attempt else replace(following, cuts=cuts)


def _let_in(text: str, released: datetime, cut: datetime) -> str:
    return f"{text} was released on {released:%Y-%m-%d}, after {rfc3339(cut)}; it is pinned, and let in alone"


def _mlflow_not_on_index(attempt: Attempt, words: str, ask: Ask) -> Attempt | None:
    """The mlflow that made the model is no release of the index (vendors build their own): as of the date instead."""
    for demand in attempt.demands:
        if demand.origin != "mlflow" or demand.pin is None or demand.name is None or demand.text not in words:
            continue
        project = ask([demand.name]).get(demand.name)
        if project is None or Version(demand.pin) in project.releases:
            continue
        others = [other for other in attempt.demands if other is not demand]
        if not any(other.name == demand.name for other in others):
            others.append(replace(demand, text=demand.name))
        message = f"{demand.text} made the model and is not on the index; {demand.name} is taken as of the date"
        return replace(attempt, demands=tuple(others)).noting("mlflow-not-on-index", message)
    return None
