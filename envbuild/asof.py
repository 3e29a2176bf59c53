"""As of when unpinned requirements are resolved.

``created``  the model's own date plus one day, so that uploads of the same day count whatever the zone; a model without
             a date is as old as the newest release among the versions it states (pins, flavors, ``mlflow_version``)
``now``      no cut; the UTC day is part of the key under which the lock is kept
a date       to the end of that day (UTC); an instant (RFC 3339) to the second
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, TypeAlias

from envbuild.errors import UsageError
from envbuild.model import Notice, parse_instant
from envbuild.requirement import Demand
from envbuild.spec import EnvironmentSpec

if TYPE_CHECKING:
    from envbuild.projects import Project

DAY = timedelta(days=1)
_LAST_YEAR = 9999
Ask: TypeAlias = "Callable[[Iterable[str]], Mapping[str, Project]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class AsOf:
    """The cut: ``instant`` is the first moment whose uploads do not count; ``None`` means no cut."""

    instant: datetime | None
    reason: str
    notices: tuple[Notice, ...] = ()

    @property
    def text(self) -> str:
        """``2019-09-16T07:42:21Z`` or ``now``."""
        return "now" if self.instant is None else rfc3339(self.instant)


def rfc3339(instant: datetime) -> str:
    """An instant as uv and locks write it, to the second, rounded up."""
    if instant.microsecond:
        instant = instant.replace(microsecond=0) + timedelta(seconds=1)
    return instant.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def key_of(setting: str, today: datetime) -> str:
    """What of the setting goes into the key of a lock: for ``now``, the day."""
    return f"now {today.astimezone(timezone.utc).date().isoformat()}" if setting == "now" else setting


def check(setting: str) -> None:
    """Refuse a setting that is no date, before anything is looked for on its behalf.

    :raises UsageError: it is neither a word that is known nor a date.
    """
    if setting not in ("created", "now"):
        _parsed(setting)


def stated(setting: str) -> str | None:
    """What a lock made as of a setting that is a date says of its date; ``None`` for ``created`` and ``now``."""
    return None if setting in ("created", "now") else rfc3339(_parsed(setting))


def decide(setting: str, spec: EnvironmentSpec, ask: Ask) -> AsOf:
    """The cut for a spec.

    :param ask: gives what the index says of projects; asked only for a model without a date.
    :raises UsageError: the setting is no date.
    """
    if setting == "now":
        return AsOf(instant=None, reason="as asked")
    if setting != "created":
        return AsOf(instant=_parsed(setting), reason="as asked")
    if spec.created is not None:
        return AsOf(instant=spec.created + DAY, reason=f"the model was made on {spec.created:%Y-%m-%d}")
    newest = _newest_release(spec.versions_stated, ask)
    if newest is None:
        message = "the model has no date and states no version that the index dates; packages are taken as of now"
        notice = Notice(code="date-unknown", message=message)
        return AsOf(instant=None, reason="nothing says when the model was made", notices=(notice,))
    demand, released = newest
    message = f"the model has no date; it is taken to be as old as {demand.text}, released on {released:%Y-%m-%d}"
    notice = Notice(code="date-inferred", message=message)
    return AsOf(instant=released + DAY, reason=f"{demand.text} was released on {released:%Y-%m-%d}", notices=(notice,))


def _parsed(text: str) -> datetime:
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        day = parse_instant(f"{text} 00:00:00")
        if day is not None and day.year < _LAST_YEAR:
            return day + DAY
    instant = parse_instant(text)
    if instant is None:
        raise UsageError(
            f"--as-of is {text!r}", hint="write created, now, a date (2021-04-30) or an instant (RFC 3339)"
        )
    return instant


def _newest_release(stated: tuple[Demand, ...], ask: Ask) -> tuple[Demand, datetime] | None:
    projects = ask(demand.name for demand in stated if demand.name is not None)
    dated = [(demand, released) for demand in stated if (released := released_at(demand, projects)) is not None]
    return max(dated, key=lambda pair: pair[1], default=None)


def released_at(demand: Demand, projects: Mapping[str, Project]) -> datetime | None:
    """When the version that a demand pins was released; ``None`` where the index doesn't say."""
    project = projects.get(demand.name or "")
    return None if project is None or demand.pinned is None else project.releases.get(demand.pinned)
