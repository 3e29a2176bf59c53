"""Why a version is in a lock: who asked for it and where, through whom, by which date, repair and override."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name

from envbuild import pipeline
from envbuild.errors import EnvbuildError, Place, UsageError
from envbuild.lock import Change, LockedPackage
from envbuild.model import Notice
from envbuild.pipeline import Locked
from envbuild.projects import read_projects
from envbuild.redaction import without_userinfo
from envbuild.repairs.rules import RULES
from envbuild.review.reasons import Chain, Reason, Reasons, names_package, reason, reason_of_channel, where
from envbuild.settings import Settings

_NEAR = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    """What the index has of a package today."""

    version: str | None = None
    uploaded: datetime | None = None
    unknown: str | None = None
    """Why nothing is known of it, in words."""

    def to_dict(self) -> dict[str, Any]:
        """The form that ``explain --json`` prints."""
        return {"version": self.version, "uploaded": _instant(self.uploaded), "unknown": self.unknown}


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageExplanation:
    """Why one package is in the lock in this version."""

    package: LockedPackage
    asked: tuple[Reason, ...]
    """The demands that name it."""
    parents: tuple[str, ...] | None
    """The packages that asked for it; ``None`` where the lock does not say that."""
    chains: tuple[Chain, ...]
    """The shortest ways to it from what is asked for directly."""
    constraints: tuple[Reason, ...]
    replaced: tuple[Reason, ...]
    """What asked for it before the deployer changed that."""
    cut: str
    """Uploads from this instant on (RFC 3339) did not count; ``now`` where all did; empty where the lock does not say it."""
    has_own_cut: bool
    repairs: tuple[Notice, ...]
    overrides: tuple[Change, ...]
    newest: Newest | None = None
    """``None``: not looked for."""

    def why(self, model: Path) -> str:
        """The first reason in one line: what the deployer says over what is pinned over the rest."""
        if self.asked:
            return min(self.asked, key=lambda one: (one.origin != "override", not one.is_pin)).text(model)
        if self.chains:
            return f"through {' -> '.join(self.chains[0][:-1])}"
        if self.parents:
            return f"through {', '.join(self.parents)}"
        return "the lock does not say through whom" if self.parents is None else "nobody asks for it by name"

    def to_dict(self, model: Path) -> dict[str, Any]:
        """The form that ``explain --json`` prints."""
        package = self.package
        return {
            "name": package.name,
            "version": package.version,
            "why": self.why(model),
            "kind": package.kind,
            "built": package.is_built,
            "file": package.file_name,
            "url": None if package.url is None else without_userinfo(package.url),
            "path": package.path,
            "commit": package.commit,
            "uploaded": _instant(package.uploaded),
            "asked": [one.to_dict() for one in self.asked],
            "parents": None if self.parents is None else list(self.parents),
            "chains": [list(chain) for chain in self.chains],
            "constraints": [one.to_dict() for one in self.constraints],
            "replaced": [one.to_dict() for one in self.replaced],
            "cut": {"as_of": self.cut or None, "own": self.has_own_cut},
            "repairs": [notice.to_dict() for notice in self.repairs],
            "overrides": [change.to_dict() for change in self.overrides],
            "newest": None if self.newest is None else self.newest.to_dict(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a model's lock is as it is; ``packages`` is the one that was asked about, or all."""

    model: Path
    lock_hash: str
    lock_source: str
    """``resolved``, ``kept``, or the path of a lock file."""
    python: str
    """The Python of the lock."""
    python_source: str
    """``python_env.yaml``, ``conda.yaml``, ``MLmodel``, ``inferred``, ``override``, or ``repair``."""
    python_place: Place | None
    target: str
    as_of: str
    as_of_reason: str
    packages: tuple[PackageExplanation, ...]
    repairs: tuple[Notice, ...]
    overrides: tuple[Change, ...]
    notices: tuple[Notice, ...]
    conda: str = ""
    """Where conda.yaml's own packages come from, and why; empty where it has none."""

    def to_dict(self) -> dict[str, Any]:
        """The form that ``explain --json`` prints; its keys are documented in ``docs/cli.md``."""
        place = None if self.python_place is None else str(self.python_place)
        return {
            "model": str(self.model),
            "lock_hash": self.lock_hash,
            "lock_source": self.lock_source,
            "python": {"version": self.python, "source": self.python_source, "place": place},
            "target": self.target,
            "as_of": self.as_of or None,
            "as_of_reason": self.as_of_reason or None,
            "conda": self.conda or None,
            "packages": [one.to_dict(self.model) for one in self.packages],
            "repairs": [notice.to_dict() for notice in self.repairs],
            "overrides": [change.to_dict() for change in self.overrides],
        }


def of(locked: Locked, settings: Settings, package: str | None = None) -> Explanation:
    """Why a lock is as it is.

    :param package: the one to explain, for which the index is asked too unless that is offline; ``None``: all.
    :raises UsageError: there is no such package in it; the error says what is known of that.
    """
    known = _Known(locked)
    spec, lock = locked.asked.spec, locked.lock
    if package is None:
        packages = tuple(known.explained(one) for one in lock.installed)
    else:
        packages = (_one(known, package, settings),)
    was_moved = lock.python != spec.python.text
    return Explanation(
        model=locked.asked.model.path,
        lock_hash=lock.hash,
        lock_source=locked.source,
        python=lock.python,
        python_source="repair" if was_moved else spec.python.source,
        python_place=None if was_moved else spec.python.place,
        target=str(lock.target),
        as_of=lock.origin.as_of,
        as_of_reason=lock.origin.as_of_reason,
        packages=packages,
        repairs=known.repairs,
        overrides=known.overrides,
        notices=locked.notices,
        conda=lock.origin.conda_reason,
    )


class _Known:
    """What a lock and its spec say, read once for all packages."""

    def __init__(self, locked: Locked) -> None:
        asked, origin = locked.asked, locked.lock.origin
        self.locked = locked
        self.reasons = Reasons.of(asked.spec, locked.lock)
        # What a lock records has no place any more; what was mended just now has.
        used = {(one.code, one.message): one for one in (*origin.notices, *asked.repairs)}.values()
        self.repairs = tuple(one for one in used if one.code in RULES)
        self.overrides = tuple(dict.fromkeys((*asked.spec.overrides, *origin.overrides)))

    def explained(self, package: LockedPackage, newest: Newest | None = None) -> PackageExplanation:
        reasons, origin, name = self.reasons, self.locked.lock.origin, package.name
        return PackageExplanation(
            package=package,
            asked=self._asked(package),
            parents=reasons.parents.get(name, ()) if reasons.knows_parents else None,
            chains=reasons.chains(name),
            constraints=tuple(reason(one) for one in reasons.binding(package)),
            replaced=tuple(reason(one) for one in reasons.replaced(package)),
            cut=origin.cuts.get(name, origin.as_of),
            has_own_cut=name in origin.cuts,
            repairs=tuple(one for one in self.repairs if names_package(one.message, name)),
            overrides=tuple(one for one in self.overrides if names_package(one.text, name)),
            newest=newest,
        )

    def _asked(self, package: LockedPackage) -> tuple[Reason, ...]:
        if package.kind != "conda":
            return tuple(reason(one) for one in self.reasons.asked.get(package.name, ()))
        spec = self.reasons.from_channels.get(package.name)
        return () if spec is None else (reason_of_channel(spec),)


def _one(known: _Known, package: str, settings: Settings) -> PackageExplanation:
    name = canonicalize_name(package.strip())
    found = next((one for one in known.locked.lock.installed if name in (one.name, canonicalize_name(one.name))), None)
    if found is None:
        raise _not_there(known, name)
    return known.explained(found, _newest(known.locked, found, settings))


def _newest(locked: Locked, package: LockedPackage, settings: Settings) -> Newest:
    """What the index has of a package today; that it does not answer is no failure of an explanation."""
    if package.kind == "conda":
        return Newest(unknown="it comes from a conda channel, which was not asked")
    if package.kind not in ("wheel", "sdist") or package.path is not None:
        return Newest(unknown="it does not come from an index")
    if settings.offline:
        return Newest(unknown="the index was not asked (--offline)")
    from envbuild import uv

    try:
        default = "" if settings.index_url else uv.default_index(settings.home)
        project = read_projects([package.name], pipeline.indexes_of(locked, settings), default).get(package.name)
    except EnvbuildError as error:
        return Newest(unknown=error.message)
    if project is None or not project.releases:
        return Newest(unknown="the main index does not have it")
    finished = [version for version in project.releases if not version.is_prerelease]
    version = max(finished or project.releases)
    return Newest(version=str(version), uploaded=project.releases[version])


def _not_there(known: _Known, name: str) -> UsageError:
    model = known.locked.asked.model.path
    names = [one.name for one in known.locked.lock.installed]
    near = difflib.get_close_matches(name, names, _NEAR) or [one for one in names if name and name in one][:_NEAR]
    meant = f"is {' or '.join(near)} meant? " if near else ""
    return UsageError(
        f"{name or 'a package without a name'} is not in the lock of {model}",
        hint=f"{meant}envbuild explain {model} lists what is in it",
        details=tuple(dict.fromkeys(_why_not(known, name))),
    )


def _why_not(known: _Known, name: str) -> Iterator[str]:
    """What is known of a package that is not in the lock."""
    asked, lock = known.locked.asked, known.locked.lock
    model = asked.model.path
    for demand in asked.spec.excluded:
        if demand.name == name:
            yield f"the deployer removed it: {reason(demand).text(model)}"
    for demand in asked.spec.replaced:
        if demand.name == name:
            yield f"the model asked for it: {reason(demand).text(model)}"
    for demand in known.reasons.ruled_out(name):
        yield f"its marker rules it out for Python {lock.python} on {lock.target}: {reason(demand).text(model)}"
    for notice in (*known.repairs, *asked.spec.notices):
        if names_package(notice.message, name):
            place = "" if notice.place is None else f" ({where(notice.place, model)})"
            yield f"{notice.code}: {notice.message}{place}"
    for build in lock.build:
        if any(package.name == name for package in build.packages):
            yield f"{', '.join(build.builds)} is built with it; it is not part of the environment"


def _instant(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()
