"""What releases there are for a demand, and which of their files can be used on a target."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache

from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from envbuild.projects import File
from envbuild.repairs.attempt import Failure
from envbuild.requirement import Demand
from envbuild.target import Target

_FOREIGN_PLATFORMS = ("win", "macosx")


def has_none(demand: Demand, failure: Failure) -> bool:
    """Whether the index has no release at all of a demand's project."""
    project = failure.project(demand)
    return not failure.is_mute and (project is None or not project.releases)


def has_no_such(demand: Demand, failure: Failure) -> bool:
    """Whether the index lacks a demand's project, or the release that it pins."""
    project = failure.project(demand)
    if project is None:
        return not failure.is_mute
    return demand.pinned is not None and demand.pinned not in project.releases


def is_foreign(demand: Demand, failure: Failure) -> bool:
    """Whether a pinned release has wheels for other operating systems only."""
    files = _files(demand, failure)
    return bool(files) and all(_is_foreign(file) for file in files)


def has_nothing_here(demand: Demand, failure: Failure) -> bool:
    """Whether a pinned release has files, and none that its Python can use."""
    return lacks_file(demand, failure, failure.question.target, failure.question.spec.python.text)


def lacks_file(demand: Demand, failure: Failure, target: Target, python: str) -> bool:
    """Whether a pinned release has files, and none for a target and its Python."""
    files = _files(demand, failure)
    return bool(files) and not usable(files, target, python)


def lacks_wheel(demand: Demand, failure: Failure, target: Target, python: str) -> bool:
    """Whether a pinned release has wheels of a compiled kind, but none for a target, or nothing for its Python."""
    files = _files(demand, failure)
    if lacks_file(demand, failure, target, python):
        return True
    wheels = [file for file in files if file.name.endswith(".whl")]
    return any(not _is_foreign(file) for file in wheels) and not _fits_any(wheels, target, python)


def has_no_wheel(name: str, failure: Failure) -> bool:
    """Whether no release that a name's demands let in, and that the date lets in, has a wheel for the target."""
    attempt, question = failure.attempt, failure.question
    demands = [one for one in failure.all_demands() if one.name == name]
    project = failure.ask([name]).get(name)
    if project is None:
        return not failure.is_mute
    cut = attempt.cuts.get(name, attempt.cut)
    for version, files in project.files.items():
        released = project.releases.get(version)
        late = cut is not None and released is not None and released >= cut
        if late or not all(one.specifier.contains(version, prereleases=True) for one in demands):
            continue
        if _fits_any(files, question.target, question.spec.python.text):
            return False
    return True


def nearest(demand: Demand, failure: Failure, given_up: Collection[str] = ()) -> Version | None:
    """The release nearest to the one that a demand pins, among those with a file that can be used.

    :param given_up: pins that were tried before.
    """
    project, wanted = failure.project(demand), demand.pinned
    if project is None or wanted is None:
        return None
    target, python = failure.question.target, failure.question.spec.python.text
    wheel_wanted = any(_fits_any(files, target, python) for files in project.files.values())
    found = [
        version
        for version, files in project.files.items()
        if version != wanted
        and f"{demand.name}=={version}" not in given_up
        and (not version.is_prerelease or wanted.is_prerelease)
        and (_fits_any(files, target, python) if wheel_wanted else usable(files, target, python))
    ]
    return min(found, key=lambda version: _distance(version, wanted), default=None)


def _distance(version: Version, wanted: Version) -> tuple[bool, bool, bool, tuple[int, ...], bool, bool, Version]:
    """Same release, then same minor, then same major; the closest first, a later one before an earlier one."""
    ours, theirs = _padded(version), _padded(wanted)
    gap = tuple(abs(one - other) for one, other in zip(ours, theirs, strict=True))
    near = ours != theirs, ours[:2] != theirs[:2], ours[:1] != theirs[:1], gap, version < wanted
    # Of one release's candidates and its final one, the latter.
    return *near, version.is_prerelease, version


def _padded(version: Version) -> tuple[int, ...]:
    return (*version.release, 0, 0, 0)[:4] if len(version.release) < 4 else version.release[:4]


def usable(files: Iterable[File], target: Target, python: str) -> bool:
    """Whether there is a wheel for the target, or an sdist, that a Python may use."""
    return any(_python_may(file, python) and (not file.name.endswith(".whl") or _fits(file, target)) for file in files)


def _fits_any(files: Iterable[File], target: Target, python: str) -> bool:
    return any(file.name.endswith(".whl") and _python_may(file, python) and _fits(file, target) for file in files)


def _fits(file: File, target: Target) -> bool:
    return not _wheel_tags(file.name).isdisjoint(_tags_of(target))


@lru_cache(maxsize=64)
def _tags_of(target: Target) -> frozenset[Tag]:
    return frozenset(target.tags())


def _wheel_tags(name: str) -> frozenset[Tag]:
    try:
        return parse_wheel_filename(name)[3]
    except (InvalidWheelFilename, InvalidVersion):
        return frozenset()


def _is_foreign(file: File) -> bool:
    tags = _wheel_tags(file.name) if file.name.endswith(".whl") else frozenset()
    return bool(tags) and all(tag.platform.startswith(_FOREIGN_PLATFORMS) for tag in tags)


def _python_may(file: File, python: str) -> bool:
    return file.may_run_on(python if python.count(".") >= 2 else f"{python}.99")


def _files(demand: Demand, failure: Failure) -> tuple[File, ...]:
    project = failure.project(demand)
    return () if project is None or demand.pinned is None else project.files.get(demand.pinned, ())
