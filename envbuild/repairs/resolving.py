"""Rules that answer a failed try, by what the engine said of it and by what the index says of the packages.

Order matters: a rule that is sure of its cause comes before one that guesses it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timezone

from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from envbuild import conda_names
from envbuild.asof import DAY, released_at, rfc3339
from envbuild.model import Notice, parse_instant
from envbuild.question import Question
from envbuild.redaction import without_userinfo
from envbuild.repairs import another_python, releases
from envbuild.repairs.attempt import BUILD_FLOOR, BUILD_TOOLS, AnotherPython, Attempt, Failure, rewritten
from envbuild.repairs.packages import BROKEN_METADATA, BUILD_CURES, COMPILED, CONDA_BUILDS, PACKAGE_OF_MODULE
from envbuild.repairs.rules import Switch
from envbuild.requirement import Demand
from envbuild.spec import MLFLOW_NAMES

# setuptools 82 (February 2026) is the first without pkg_resources, which mlflow before 2.15 imports.
_NO_PKG_RESOURCES = datetime(2026, 2, 1, tzinfo=timezone.utc)

# How many releases of one package are tried in turn, each of which may have to be built to be told from the next.
_MOST_RELEASES = 4
# No release has so many corrections; conda's builds of a day have its date there.
_A_DATE = 20_000_000


def first_attempt(question: Question, switch: Switch) -> Attempt:
    """As the model asks; with what is known beforehand to be needed."""
    attempt = Attempt(
        demands=question.spec.demands,
        cut=question.as_of.instant,
        notices=(*question.repairs, *question.as_of.notices),
        metadata=BROKEN_METADATA if switch.allows("broken-metadata") else {},
        wheels_only=COMPILED if switch.allows("wheels-first") and not question.settings.no_build else frozenset(),
    )
    if switch.allows("setuptools-bound"):
        attempt = _setuptools_bound(attempt)
    if attempt.cut is None or attempt.cut >= BUILD_FLOOR or not switch.allows("build-tools-floor"):
        return attempt
    attempt = replace(attempt, cuts=dict.fromkeys(BUILD_TOOLS, BUILD_FLOOR))
    message = f"setuptools, wheel and pip are taken as of {BUILD_FLOOR:%Y-%m-%d}: older ones cannot build sdists"
    return attempt.noting("build-tools-floor", message)


def _setuptools_bound(attempt: Attempt) -> Attempt:
    """Keep ``pkg_resources`` for an old mlflow that is resolved among today's packages."""
    mlflow = next((one for one in attempt.demands if one.name in MLFLOW_NAMES and one.pin is not None), None)
    bare = next((one for one in attempt.demands if one.name == "setuptools" and not one.specifier), None)
    if mlflow is None or bare is None or (attempt.cut is not None and attempt.cut < _NO_PKG_RESOURCES):
        return attempt
    version = _version(mlflow.pin or "")
    if version is None or version >= Version("2.15"):
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


def _no_upload_times(failure: Failure) -> Attempt | None:
    """The index says no upload times: nothing can be cut off."""
    if failure.attempt.cut is None or "is missing an upload date" not in failure.words:
        return None
    message = "the index says no upload times; packages are taken as of now"
    return replace(failure.attempt, cut=None, cuts={}).noting("no-upload-times", message)


def _dead_index(failure: Failure) -> Attempt | None:
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


def _mlflow_not_on_index(failure: Failure) -> Attempt | None:
    """The mlflow that made the model is no release of the index (vendors build their own): as of the date instead."""
    for demand in failure.attempt.demands:
        if demand.name not in MLFLOW_NAMES or demand.pin is None or not _is_named(demand, failure.words):
            continue
        project = failure.project(demand)
        if project is None or _version(demand.pin) in project.releases:
            continue
        others = [other for other in failure.attempt.demands if other is not demand]
        if not any(other.name == demand.name for other in others):
            others.append(replace(demand, text=demand.name or demand.text))
        message = f"{demand.text} made the model and is not on the index; {demand.name} is taken as of the date"
        return replace(failure.attempt, demands=tuple(others)).noting("mlflow-not-on-index", message)
    return None


def _younger_pins(failure: Failure) -> Attempt | None:
    """A pin or a range that is younger than the date, as people edit files: let in, for that package alone.

    With a day more, since a release's files are not uploaded at one moment.
    """
    attempt = failure.attempt
    if attempt.cut is None:
        return None
    cuts, following = dict(attempt.cuts), attempt
    for demand in failure.index_demands():
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


def _younger_by_pin(failure: Failure) -> Attempt | None:
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


def _younger_need(failure: Failure) -> Attempt | None:
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


# By the index's word, and by a file's own.
_CLAUSE = r"[<>=!~]+[\w.*]*(?<!\.)"
_WANTS_PYTHON = re.compile(rf"(?:does not satisfy Python|requires Python )({_CLAUSE}(?:, ?{_CLAUSE})*)")


def _later_patch(failure: Failure) -> Attempt | None:
    """A package wants a later patch release of the same minor version, which is the one that is here."""
    demanded, here = failure.question.spec.python.text, failure.question.interpreter.version
    if failure.attempt.python is not None or failure.question.settings.python_policy == "exact" or here == demanded:
        return None
    wanted = [SpecifierSet(text) for text in _WANTS_PYTHON.findall(failure.words)]
    if not wanted or not all(specifier.contains(here, prereleases=True) for specifier in wanted):
        return None
    message = f"a package wants Python {wanted[0]}; {here} is here, and stands in for {demanded}"
    return replace(failure.attempt, python=here).noting("later-patch", message)


def _conda_tool(failure: Failure) -> Attempt | None:
    """conda's own programs in a frozen list, and its builds of Intel's libraries: no model needs them."""
    message = "is conda's own, which no index has here and no model needs; it is left out"
    following = _left_out(failure, "conda-tool", message, lambda demand: _kind(demand) == "conda-tool")
    following = following or failure.attempt
    for demand in failure.index_demands():
        lacking = releases.has_no_such(demand, failure) or releases.has_nothing_here(demand, failure)
        if demand.name in CONDA_BUILDS and lacking and demand in following.demands:
            following = following.without(demand).noting("conda-tool", f"{demand.text} {message}")
    return None if following is failure.attempt else following


def _foreign_names(failure: Failure) -> Attempt | None:
    """What the index lacks and conda has for another operating system only."""
    message = "is for another operating system; it is left out"
    return _left_out(failure, "foreign-platform", message, lambda demand: _kind(demand) == "foreign-platform")


def _kind(demand: Demand) -> str | None:
    found = conda_names.known(demand.name or "")
    return None if found is None else found.kind


def _standard_library(failure: Failure) -> Attempt | None:
    """A module of Python itself that somebody took for a package."""
    message = "is a module of Python's own and no package; it is left out"
    modules = {canonicalize_name(name) for name in sys.stdlib_module_names}
    return _left_out(failure, "standard-library", message, lambda demand: demand.name in modules)


def _missing_package(failure: Failure) -> Attempt | None:
    """A package that the index does not have at all."""
    return _left_out(failure, "missing-package", "is not on the index; it is left out", lambda demand: True)


def _left_out(failure: Failure, code: str, message: str, concerns: Callable[[Demand], bool]) -> Attempt | None:
    """The next try without the packages that are not to be had, of those that a rule concerns."""
    following = failure.attempt
    for demand in _absent(failure):
        if concerns(demand) and (code != "missing-package" or releases.has_none(demand, failure)):
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
    return _version(pin.rstrip(".,")) == _version(demand.pin)


_NOT_BUILT = re.compile(r"Failed to (?:download and )?build `([A-Za-z0-9._-]+)(?:==| @ )")
_ONLY_ELSEWHERE = re.compile(r"(?i)only\b[^\n]{0,30}\b(?:Windows|macOS|Mac OS|OS X|Darwin)|(?:Windows|macOS) only")


def _foreign_files(failure: Failure) -> Attempt | None:
    """A pinned release that has wheels for other operating systems only and no sdist, or an sdist that says so."""
    following = failure.attempt
    built = _NOT_BUILT.search(failure.words)
    if built is not None and _ONLY_ELSEWHERE.search(failure.words):
        for demand in failure.index_demands():
            if demand.name == canonicalize_name(built.group(1)):
                message = f"{demand.text} says itself that it is for another operating system; it is left out"
                following = following.without(demand).noting("foreign-platform", message)
    for demand in failure.index_demands():
        if _is_named(demand, failure.words) and releases.is_foreign(demand, failure):
            message = f"{demand.text} has files for other operating systems only; it is left out"
            following = following.without(demand).noting("foreign-platform", message)
    return None if following is failure.attempt else following


def _local_version(failure: Failure) -> Attempt | None:
    """A build of its own that no index has (``+cu102``, conda's ``.post20200814``): the release it was built from."""
    following = failure.attempt
    for demand in list(_absent(failure)):
        version, project = _version(demand.pin or ""), failure.project(demand)
        release = None if version is None else _release_of(version)
        if release is None or project is None or release not in project.releases:
            continue
        other = replace(demand, text=demand.text.replace(demand.pin or "", str(release)))
        message = f"{demand.text} is a build that the index does not have; {other.text}, its release, is taken"
        following = following.without(demand, other).noting("local-version", message)
    return None if following is failure.attempt else following


def _release_of(version: Version) -> Version | None:
    """The release that a build of it was made from; ``None`` for a version that is no such build."""
    if version.local is not None:
        return Version(version.public)
    return Version(version.base_version) if (version.post or 0) > _A_DATE else None


def _python_by_wheels(failure: Failure) -> Attempt | None:
    """No file says which Python made the model, and the pins have wheels for another than the one assumed."""
    if failure.question.spec.python.source == "inferred":
        another_python.ask_for("python-by-wheels", failure)
    return None


def _neighbouring_python(failure: Failure) -> Attempt | None:
    """The pins have wheels for a neighbouring minor version, and not for the one demanded."""
    # Whoever deploys and says which one, by its path even, gets that one.
    if failure.question.spec.python.source != "override":
        another_python.ask_for("neighbouring-python", failure)
    return None


def _nearest_release(failure: Failure) -> Attempt | None:
    """A pinned release that was deleted, has nothing for this Python or cannot be built: the nearest one that has."""
    following = failure.attempt
    built = _NOT_BUILT.search(failure.words)
    broken = None if built is None else canonicalize_name(built.group(1))
    unusable = [one for one in failure.index_demands() if one.name == broken or releases.has_nothing_here(one, failure)]
    for demand in {id(one): one for one in (*_absent(failure), *unusable)}.values():
        given_up = following.refused | {f"{demand.name}=={demand.pin}"}
        nearest = None if demand.pin is None else releases.nearest(demand, failure, given_up)
        if nearest is None or sum(pin.startswith(f"{demand.name}==") for pin in given_up) > _MOST_RELEASES:
            continue
        other = rewritten(demand, f"=={nearest}")
        following = replace(following, refused=given_up)
        message = f"{demand.text} is not to be had for this Python; {other.text}, the nearest release, is taken"
        following = following.without(demand, other).noting("nearest-release", message)
    return None if following is failure.attempt else following


def _double_pin(failure: Failure) -> Attempt | None:
    """One package pinned twice: the later line counts."""
    following, last = failure.attempt, dict[str | None, Demand]()
    pinned = [demand for demand in failure.index_demands() if demand.pin is not None]
    for demand in pinned:
        last[demand.name] = demand
    for demand in pinned:
        if _version(demand.pin or "") != _version(last[demand.name].pin or ""):
            message = f"{demand.text} is asked for beside {last[demand.name].text}; the latter counts"
            following = following.without(demand).noting("double-pin", message)
    return None if following is failure.attempt else following


_NO_WHEEL = re.compile(r"Wheels are required for `([A-Za-z0-9._-]+)`")


def _no_wheel_here(failure: Failure) -> Attempt | None:
    """A compiled package that has no wheel for this Python, by the index's own word: its sdist is built."""
    return _sdists_too(failure, lambda name: releases.has_no_wheel(name, failure))


def _sdists_after_all(failure: Failure) -> Attempt | None:
    """Wheels alone do not do, for whatever reason."""
    return _sdists_too(failure, lambda name: True)


def _sdists_too(failure: Failure, concerns: Callable[[str], bool]) -> Attempt | None:
    following = failure.attempt
    for name in sorted({str(canonicalize_name(name)) for name in _NO_WHEEL.findall(failure.words)}):
        if name in following.wheels_only and concerns(name):
            following = replace(
                following, wheels_only=following.wheels_only - {name}, sdists_too=following.sdists_too | {name}
            ).noting("wheels-first", f"{name} has no wheel that will do; its sdist is built")
    return None if following is failure.attempt else following


_NO_MODULE = re.compile(r"(?:ModuleNotFoundError|ImportError): No module named '?([A-Za-z0-9_]+)")


def _build_needs(failure: Failure) -> Attempt | None:
    """An sdist that is built with more than it says, or with an older tool: it gets that too."""
    built = _NOT_BUILT.search(failure.words)
    if built is None:
        return None
    name = str(canonicalize_name(built.group(1)))
    for need in _cures(failure.words):
        had = failure.attempt.build_needs.get(name, ())
        if need in had or canonicalize_name(re.split("[<=]", need)[0]) == name:
            continue
        needs = {**failure.attempt.build_needs, name: (*had, need)}
        message = f"the sdist of {name} does not say that it is built with {need}; it gets that"
        return replace(failure.attempt, build_needs=needs).noting("build-needs", message)
    return None


def _cures(words: str) -> Iterable[str]:
    for pattern, need in BUILD_CURES:
        if re.search(pattern, words):
            yield need
    for module in _NO_MODULE.findall(words):
        yield PACKAGE_OF_MODULE.get(module, canonicalize_name(module))


def _wheel_instead(failure: Failure) -> Attempt | None:
    """An sdist that cannot be built, of a package that nobody pins: only its wheels are looked at."""
    built = _NOT_BUILT.search(failure.words)
    if built is None:
        return None
    attempt, name = failure.attempt, str(canonicalize_name(built.group(1)))
    pinned = any(demand.name == name and demand.pin is not None for demand in attempt.demands)
    if pinned or name in attempt.wheels_only or name in attempt.sdists_too:
        return None
    message = f"an sdist of {name} cannot be built; only its wheels are looked at"
    return replace(attempt, wheels_only=attempt.wheels_only | {name}).noting("wheels-first", message)


def _pins_as_they_are(failure: Failure) -> Attempt | None:
    """Pins that contradict each other's metadata, and were installed together all the same: taken as they are."""
    attempt = failure.attempt
    if attempt.overrides or not re.search(r"\bdepends? on\b", failure.words):
        return None
    pinned = [demand for demand in failure.index_demands() if demand.pin is not None]
    versions: dict[str | None, set[str | None]] = {}
    for demand in pinned:
        versions.setdefault(demand.name, set()).add(demand.pin)
    lines = tuple(demand.text for demand in pinned if len(versions[demand.name]) == 1)
    if not any(_is_named(demand, failure.words) for demand in pinned):
        return None
    message = f"the pins contradict what packages say of each other, and are taken as they are ({_conflict(failure)})"
    return replace(attempt, overrides=lines).noting("pins-as-they-are", message)


def _conflict(failure: Failure) -> str:
    found = re.search(
        r"(?:all versions of )?[A-Za-z0-9._-]+(?:[<>=!]\S*)? depends? on [A-Za-z0-9._-]+\S*", failure.words
    )
    return "see what they ask for" if found is None else found.group(0).rstrip(".,")


def _is_named(demand: Demand, words: str) -> bool:
    return re.search(rf"(?<![\w.-]){re.escape(demand.name or '')}(?![\w-])", words) is not None


def _loose_range(failure: Failure) -> Attempt | None:
    """Ranges that cannot be met together: the ones that the engine names are left open."""
    if "unsatisfiable" not in failure.words:
        return None
    following = failure.attempt
    for demand in failure.index_demands():
        if demand.specifier and demand.pin is None and _is_named(demand, failure.words):
            other = rewritten(demand, "")
            message = f"{demand.text} cannot be met together with the rest; its version is left open"
            following = following.without(demand, other).noting("loose-range", message)
    return None if following is failure.attempt else following


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


_RULES: tuple[tuple[str, Callable[[Failure], Attempt | None]], ...] = (
    ("no-upload-times", _no_upload_times),
    ("dead-index", _dead_index),
    ("mlflow-not-on-index", _mlflow_not_on_index),
    ("younger-pin", _younger_pins),
    ("younger-pin", _younger_by_pin),
    ("younger-need", _younger_need),
    ("later-patch", _later_patch),
    ("conda-tool", _conda_tool),
    ("standard-library", _standard_library),
    ("foreign-platform", _foreign_names),
    ("foreign-platform", _foreign_files),
    ("local-version", _local_version),
    ("python-by-wheels", _python_by_wheels),
    ("neighbouring-python", _neighbouring_python),
    ("build-needs", _build_needs),
    ("nearest-release", _nearest_release),
    ("missing-package", _missing_package),
    ("double-pin", _double_pin),
    ("wheels-first", _no_wheel_here),
    ("wheels-first", _wheel_instead),
    ("pins-as-they-are", _pins_as_they_are),
    ("wheels-first", _sdists_after_all),
    ("loose-range", _loose_range),
)
