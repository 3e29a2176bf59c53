"""Rules about what is not to be had: an index that is gone, a package or a release that is not there."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

from packaging.utils import canonicalize_name
from packaging.version import Version

from envbuild import conda_names
from envbuild.redaction import without_userinfo
from envbuild.repairs import releases
from envbuild.repairs.attempt import Attempt, Failure, is_named, not_built
from envbuild.repairs.packages import CONDA_BUILDS
from envbuild.requirement import Demand, version_of
from envbuild.spec import MLFLOW_NAMES

# How many releases of one package are tried in turn, each of which may have to be built to be told from the next.
_MOST_RELEASES = 4
# No release has so many corrections; conda's builds of a day have its date there.
_A_DATE = 20_000_000


def dead_index(failure: Failure) -> Attempt | None:
    """An index that the model names, and that is there no more."""
    if not re.search(r"error sending request|dns error|Failed to (?:fetch|read)|HTTP status", failure.words):
        return None
    for url in failure.question.indexes.from_model:
        shown = without_userinfo(url)
        if url not in failure.attempt.dead_indexes and shown.rstrip("/") in without_userinfo(failure.words):
            dead = failure.attempt.dead_indexes | {url}
            message = f"{shown}, which the model names, does not answer; it is left out"
            return replace(failure.attempt, dead_indexes=dead).noting("dead-index", message)
    return None


def mlflow_not_on_index(failure: Failure) -> Attempt | None:
    """The mlflow that made the model is no release of the index (vendors build their own): as of the date instead."""
    for demand in failure.attempt.demands:
        own = demand.origin == "override"
        if own or demand.name not in MLFLOW_NAMES or demand.pin is None or not is_named(demand, failure.words):
            continue
        project = failure.project(demand)
        if project is None or demand.pinned in project.releases:
            continue
        others = [other for other in failure.attempt.demands if other is not demand]
        if not any(other.name == demand.name for other in others):
            others.append(replace(demand, text=demand.name or demand.text))
        message = f"{demand.text} made the model and is not on the index; {demand.name} is taken as of the date"
        return replace(failure.attempt, demands=tuple(others)).noting("mlflow-not-on-index", message)
    return None


def conda_tool(failure: Failure) -> Attempt | None:
    """conda's own programs in a frozen list, and its builds of Intel's libraries: no model needs them."""
    message = "is conda's own, which no index has here and no model needs; it is left out"
    following = _left_out(failure, "conda-tool", message, lambda demand: _kind(demand) == "conda-tool")
    following = following or failure.attempt
    for demand in failure.index_demands():
        lacking = releases.has_no_such(demand, failure) or releases.has_nothing_here(demand, failure)
        if demand.name in CONDA_BUILDS and lacking and demand in following.demands:
            following = following.without(demand).noting("conda-tool", f"{demand.text} {message}")
    return None if following is failure.attempt else following


def foreign_names(failure: Failure) -> Attempt | None:
    """What the index lacks and conda has for another operating system only."""
    message = "is for another operating system; it is left out"
    return _left_out(failure, "foreign-platform", message, lambda demand: _kind(demand) == "foreign-platform")


def _kind(demand: Demand) -> str | None:
    found = conda_names.known(demand.name or "")
    return None if found is None else found.kind


def standard_library(failure: Failure) -> Attempt | None:
    """A module of Python itself that somebody took for a package."""
    message = "is a module of Python's own and no package; it is left out"
    modules = {canonicalize_name(name) for name in sys.stdlib_module_names}
    return _left_out(failure, "standard-library", message, lambda demand: demand.name in modules)


def missing_package(failure: Failure) -> Attempt | None:
    """A package that the index does not have at all."""
    return _left_out(
        failure,
        "missing-package",
        "is not on the index; it is left out",
        lambda demand: releases.has_none(demand, failure),
    )


def _left_out(failure: Failure, code: str, message: str, concerns: Callable[[Demand], bool]) -> Attempt | None:
    """The next try without the packages that are not to be had, of those that a rule concerns."""
    following = failure.attempt
    for demand in _absent(failure):
        if concerns(demand):
            following = following.without(demand).noting(code, f"{demand.text} {message}")
    return None if following is failure.attempt else following


def _absent(failure: Failure) -> Iterator[Demand]:
    """Demands for what there is not, by the engine's word or, where there is but one index, by that index's."""
    words, indexes = failure.words, failure.question.indexes
    alone = not indexes.extra and not indexes.find_links
    for demand in failure.index_demands():
        name = re.escape(demand.name or "")
        said = re.search(
            rf"(?<![\w.-]){name} was not found in the (?!cache)|no versions? of {name}(?![\w-])(?:==(?P<pin>[\w.+!-]+))?",
            words,
        )
        if (said is not None and _same_pin(said["pin"], demand)) or (alone and releases.has_no_such(demand, failure)):
            yield demand


def _same_pin(pin: str | None, demand: Demand) -> bool:
    if pin is None or demand.pin is None:
        return pin is None
    return version_of(pin.rstrip(".,")) == demand.pinned


_ONLY_ELSEWHERE = re.compile(r"(?i)only\b[^\n]{0,30}\b(?:Windows|macOS|Mac OS|OS X|Darwin)|(?:Windows|macOS) only")


def foreign_files(failure: Failure) -> Attempt | None:
    """A pinned release that has wheels for other operating systems only and no sdist, or an sdist that says so."""
    following = failure.attempt
    broken = not_built(failure.words)
    if broken is not None and _ONLY_ELSEWHERE.search(failure.words):
        for demand in failure.index_demands():
            if demand.name == broken:
                message = f"{demand.text} says itself that it is for another operating system; it is left out"
                following = following.without(demand).noting("foreign-platform", message)
    for demand in failure.index_demands():
        if is_named(demand, failure.words) and releases.is_foreign(demand, failure):
            message = f"{demand.text} has files for other operating systems only; it is left out"
            following = following.without(demand).noting("foreign-platform", message)
    return None if following is failure.attempt else following


def local_version(failure: Failure) -> Attempt | None:
    """A build of its own that no index has (``+cu102``, conda's ``.post20200814``): the release it was built from."""
    following = failure.attempt
    for demand in list(_absent(failure)):
        release, project = _release_of(demand.pinned), failure.project(demand)
        if release is None or project is None or release not in project.releases:
            continue
        other = demand.rewritten(f"=={release}")
        message = f"{demand.text} is a build that the index does not have; {other.text}, its release, is taken"
        following = following.without(demand, other).noting("local-version", message)
    return None if following is failure.attempt else following


def _release_of(version: Version | None) -> Version | None:
    """The release that a build of it was made from; ``None`` for a version that is no such build."""
    if version is None:
        return None
    if version.local is not None:
        return Version(version.public)
    return Version(version.base_version) if (version.post or 0) > _A_DATE else None


def nearest_release(failure: Failure) -> Attempt | None:
    """A pinned release that was deleted, has nothing for this Python or cannot be built: the nearest one that has."""
    following = failure.attempt
    broken = not_built(failure.words)
    unusable = [one for one in failure.index_demands() if one.name == broken or releases.has_nothing_here(one, failure)]
    for demand in {id(one): one for one in (*_absent(failure), *unusable)}.values():
        given_up = following.refused | {f"{demand.name}=={demand.pin}"}
        nearest = None if demand.pin is None else releases.nearest(demand, failure, given_up)
        if nearest is None or sum(pin.startswith(f"{demand.name}==") for pin in given_up) > _MOST_RELEASES:
            continue
        other = demand.rewritten(f"=={nearest}")
        following = replace(following, refused=given_up)
        message = f"{demand.text} is not to be had for this Python; {other.text}, the nearest release, is taken"
        following = following.without(demand, other).noting("nearest-release", message)
    return None if following is failure.attempt else following
