"""Rules about when releases came: what is younger than the date, and how it is let in."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime

from packaging.utils import canonicalize_name

from envbuild.asof import DAY, released_at, rfc3339
from envbuild.model import parse_instant
from envbuild.repairs.attempt import Attempt, Failure
from envbuild.requirement import Demand


def no_upload_times(failure: Failure) -> Attempt | None:
    """The index says no upload times: nothing can be cut off."""
    if failure.attempt.cut is None or "is missing an upload date" not in failure.words:
        return None
    message = "the index says no upload times; packages are taken as of now"
    return replace(failure.attempt, cut=None, cuts={}).noting("no-upload-times", message)


def younger_pins(failure: Failure) -> Attempt | None:
    """A pin or a range that is younger than the date, as people edit files: let in, for that package alone.

    With a day more, since a release's files are not uploaded at one moment.
    """
    attempt = failure.attempt
    if attempt.cut is None:
        return None
    cuts, following = dict(attempt.cuts), attempt
    for demand in failure.all_demands():
        if demand.name is None or demand.name in attempt.cuts:
            continue
        released = _needed_release(demand, failure, attempt.cut)
        if released is not None and released >= attempt.cut:
            cuts[demand.name] = max(released + DAY, cuts.get(demand.name, attempt.cut))
            why = "it is pinned" if demand.pin is not None else "none before will do"
            following = following.noting("younger-pin", _let_in(demand.text, released, attempt.cut, why))
    return None if following is attempt else replace(following, cuts=cuts)


def _needed_release(demand: Demand, failure: Failure, cut: datetime) -> datetime | None:
    """When the release came that a demand needs: the one that it pins, or the first in its range."""
    project = failure.project(demand)
    if project is None:
        return None
    if demand.pin is not None:
        return released_at(demand, {demand.name or "": project})
    dated = {version: time for version, time in project.releases.items() if time is not None}
    fitting = [dated[version] for version in demand.specifier.filter(dated)]
    first = min(fitting, default=None)
    return first if first is not None and first >= cut else None


_FILTERED = re.compile(
    r"`(?P<name>[A-Za-z0-9._-]+)` was filtered by `exclude-newer`[^`]*?"
    r"The (?:requested|latest) version[^,]*, v(?P<version>\S+), was published at (?P<time>\S+?)\.?(?:\s|$)"
)
_FILTERED_NAME = re.compile(r"`([A-Za-z0-9._-]+)` was filtered by `exclude-newer`")


def younger_by_pin(failure: Failure) -> Attempt | None:
    """What a package that was let in pins itself, such as mlflow its mlflow-skinny, is let in with it."""
    attempt, words = failure.attempt, failure.words
    if attempt.cut is None or not attempt.cuts:
        return None
    following, cuts = attempt, dict(attempt.cuts)
    for match in _FILTERED.finditer(words):
        name, version, released = match["name"], match["version"], parse_instant(match["time"])
        if released is not None and name not in cuts and f"{name}=={version}" in words:
            cuts[name] = released + DAY
            following = following.noting("younger-pin", _let_in(f"{name}=={version}", released, attempt.cut))
    return None if following is attempt else replace(following, cuts=cuts)


def younger_need(failure: Failure) -> Attempt | None:
    """What a package that was let in needs from its own days is let in up to those."""
    attempt = failure.attempt
    if attempt.cut is None:
        return None
    following, cuts = attempt, dict(attempt.cuts)
    for name in map(canonicalize_name, _FILTERED_NAME.findall(failure.words)):
        parents = [one for one in attempt.cuts if _depends(failure.words, one, name)]
        cut = max((attempt.cuts[one] for one in parents), default=attempt.cut)
        if parents and cut > cuts.get(name, attempt.cut):
            cuts[name] = cut
            message = f"{parents[0]}, which was let in, needs a younger {name}; it is taken as of {cut:%Y-%m-%d}"
            following = following.noting("younger-need", message)
        elif not parents and name not in cuts and (first := _first_of_all(name, failure, attempt.cut)) is not None:
            cuts[name] = first + DAY
            message = (
                f"what is there of {name} was all uploaded after the date, but a package of the time "
                f"needs a younger {name}; it is taken as of {cuts[name]:%Y-%m-%d}"
            )
            following = following.noting("younger-need", message)
    return None if following is attempt else replace(following, cuts=cuts)


def _first_of_all(name: str, failure: Failure, cut: datetime) -> datetime | None:
    """When the first release came of a project that has none before the date: its author took the old ones away."""
    project = failure.ask([name]).get(name)
    dates = [] if project is None else [date for date in project.releases.values() if date is not None]
    first = min(dates, default=None)
    return first if first is not None and first >= cut else None


def _depends(words: str, parent: str, name: str) -> bool:
    return re.search(rf"(?<![\w.-]){re.escape(parent)}\S* depends? on {re.escape(name)}(?![\w-])", words) is not None


def _let_in(text: str, released: datetime, cut: datetime, why: str = "it is pinned") -> str:
    return f"{text} was released on {released:%Y-%m-%d}, after {rfc3339(cut)}; {why}, and it is let in alone"
