"""Rules about demands that contradict each other."""

from __future__ import annotations

import re
from dataclasses import replace

from envbuild.repairs.attempt import Attempt, Failure, is_named
from envbuild.requirement import Demand


def double_pin(failure: Failure) -> Attempt | None:
    """One package pinned twice: the later line counts."""
    following, last = failure.attempt, dict[str | None, Demand]()
    pinned = [demand for demand in failure.index_demands() if demand.pin is not None]
    for demand in pinned:
        last[demand.name] = demand
    for demand in pinned:
        if demand.pinned != last[demand.name].pinned:
            message = f"{demand.text} is asked for beside {last[demand.name].text}; the latter counts"
            following = following.without(demand).noting("double-pin", message)
    return None if following is failure.attempt else following


def pins_as_they_are(failure: Failure) -> Attempt | None:
    """Pins that contradict each other's metadata, and were installed together all the same: taken as they are."""
    attempt = failure.attempt
    if attempt.overrides or not re.search(r"\bdepends? on\b", failure.words):
        return None
    pinned = [demand for demand in failure.all_demands() if demand.pin is not None]
    versions: dict[str | None, set[str | None]] = {}
    for demand in pinned:
        versions.setdefault(demand.name, set()).add(demand.pin)
    lines = tuple(demand.text for demand in pinned if len(versions[demand.name]) == 1)
    if not any(is_named(demand, failure.words) for demand in pinned):
        return None
    message = f"the pins contradict what packages say of each other, and are taken as they are ({_conflict(failure)})"
    return replace(attempt, overrides=lines).noting("pins-as-they-are", message)


def _conflict(failure: Failure) -> str:
    found = re.search(
        r"(?:all versions of )?[A-Za-z0-9._-]+(?:[<>=!]\S*)? depends? on [A-Za-z0-9._-]+\S*", failure.words
    )
    return "see what they ask for" if found is None else found.group(0).rstrip(".,")


def loose_range(failure: Failure) -> Attempt | None:
    """Ranges that cannot be met together: the ones that the engine names are left open."""
    if "unsatisfiable" not in failure.words:
        return None
    following = failure.attempt
    for demand in failure.index_demands():
        if demand.specifier and demand.pin is None and is_named(demand, failure.words):
            other = demand.rewritten("")
            message = f"{demand.text} cannot be met together with the rest; its version is left open"
            following = following.without(demand, other).noting("loose-range", message)
    return None if following is failure.attempt else following
