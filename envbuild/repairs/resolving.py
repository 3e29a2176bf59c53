"""The first try, and the rules that answer a failed one, in their order.

Order matters: a rule that is sure of its cause comes before one that guesses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timezone

from packaging.version import Version

from envbuild.model import Notice
from envbuild.question import Question
from envbuild.repairs import absences, bounds, dates, pins, pythons, wheels
from envbuild.repairs.attempt import BUILD_FLOOR, BUILD_TOOLS, AnotherPython, Attempt, Failure
from envbuild.repairs.packages import BROKEN_METADATA, COMPILED, HARD_TO_BUILD
from envbuild.repairs.rules import Switch
from envbuild.settings import names_package
from envbuild.spec import MLFLOW_NAMES

# setuptools 82 (February 2026) is the first without pkg_resources, which mlflow before 2.15 imports.
_NO_PKG_RESOURCES = datetime(2026, 2, 1, tzinfo=timezone.utc)


def first_attempt(question: Question, switch: Switch) -> Attempt:
    """As the model asks; with what is known beforehand to be needed."""
    attempt = Attempt(
        demands=question.spec.demands,
        cut=question.as_of.instant,
        notices=(*question.repairs, *question.as_of.notices),
        metadata=BROKEN_METADATA if switch.allows("broken-metadata") else {},
        wheels_only=_wheels_only(question, switch),
        only_binary=question.settings.only_binary,
        no_binary=question.settings.no_binary,
        excluded=tuple(demand.text for demand in question.spec.excluded),
    )
    if switch.allows("setuptools-bound"):
        attempt = _setuptools_bound(attempt)
    if attempt.cut is None or attempt.cut >= BUILD_FLOOR or not switch.allows("build-tools-floor"):
        return attempt
    attempt = replace(attempt, cuts=dict.fromkeys(BUILD_TOOLS, BUILD_FLOOR))
    message = f"setuptools, wheel and pip are taken as of {BUILD_FLOOR:%Y-%m-%d}: older ones cannot build sdists"
    return attempt.noting("build-tools-floor", message)


def _wheels_only(question: Question, switch: Switch) -> frozenset[str]:
    """The compiled packages of which no sdist is looked at, so that an older release's wheel is taken instead."""
    if question.settings.no_build or not switch.allows("wheels-first"):
        return frozenset()
    if (
        question.spec.python.source == "inferred"
        and not question.settings.no_binary
        and switch.allows("python-by-wheels")
    ):
        return COMPILED
    # Of a pin there is no other release, and where there is a wheel of it, it is taken anyway; where there is none, it
    # may be worth another Python.
    kept = HARD_TO_BUILD if switch.allows("neighbouring-python") else frozenset()
    built = {name for name in COMPILED if names_package(question.settings.no_binary, name)}
    return COMPILED - built - ({demand.name for demand in question.spec.demands if demand.pin is not None} - kept)


def _setuptools_bound(attempt: Attempt) -> Attempt:
    """Keep ``pkg_resources`` for an old mlflow that is resolved among today's packages."""
    mlflow = next((one for one in attempt.demands if one.name in MLFLOW_NAMES and one.pin is not None), None)
    bare = next((one for one in attempt.demands if one.name == "setuptools" and not one.specifier), None)
    if bare is not None and bare.origin == "override":
        return attempt
    if mlflow is None or bare is None or (attempt.cut is not None and attempt.cut < _NO_PKG_RESOURCES):
        return attempt
    if mlflow.pinned is None or mlflow.pinned >= Version("2.15"):
        return attempt
    message = f"{mlflow.text} imports pkg_resources, which setuptools has no more from 82 on; setuptools<82 is taken"
    return attempt.without(bare, replace(bare, text="setuptools<82")).noting("setuptools-bound", message)


def next_attempt(failure: Failure, switch: Switch) -> Attempt | None:
    """What to try after a failure; ``None`` when no rule applies that may be used.

    :raises AnotherPython: a rule wants the question put for another Python.
    """
    for name, rule in _RULES:
        if switch.allows(name) and (following := rule(failure)) is not None:
            return following
    return None


def better_attempts(attempt: Attempt, versions: Mapping[str, str], switch: Switch) -> Iterator[Attempt]:
    """What to try in place of an answer that cannot work, the best first; empty where nothing is known against it.

    :param versions: what was resolved, by name.
    """
    if switch.allows("numba-bound"):
        yield from bounds.numba_bound(attempt, versions)


def offers(failure: Failure, switch: Switch) -> tuple[Notice, ...]:
    """What rules would do that may not be used as the switch stands."""
    found: list[Notice] = []
    for name, rule in _RULES:
        if switch.allows(name) or name in switch.denied or any(notice.code == name for notice in found):
            continue
        try:
            following = rule(failure)
        except AnotherPython as other:
            found.append(other.notice)
            continue
        if following is not None:
            found += following.notices[len(failure.attempt.notices) :][:1]
    return tuple(found)


_RULES: tuple[tuple[str, Callable[[Failure], Attempt | None]], ...] = (
    ("no-upload-times", dates.no_upload_times),
    ("dead-index", absences.dead_index),
    ("mlflow-not-on-index", absences.mlflow_not_on_index),
    ("younger-pin", dates.younger_pins),
    ("younger-pin", dates.younger_by_pin),
    ("younger-need", dates.younger_need),
    ("later-patch", pythons.later_patch),
    ("conda-tool", absences.conda_tool),
    ("standard-library", absences.standard_library),
    ("foreign-platform", absences.foreign_names),
    ("foreign-platform", absences.foreign_files),
    ("local-version", absences.local_version),
    ("python-by-wheels", pythons.python_by_wheels),
    ("neighbouring-python", pythons.neighbouring_python),
    ("build-needs", wheels.build_needs),
    ("nearest-release", absences.nearest_release),
    ("missing-package", absences.missing_package),
    ("double-pin", pins.double_pin),
    ("wheels-first", wheels.no_wheel_here),
    ("wheels-first", wheels.wheel_instead),
    ("pins-as-they-are", pins.pins_as_they_are),
    ("wheels-first", wheels.sdists_after_all),
    ("loose-range", pins.loose_range),
)
