"""pip's failures in the words that the rules read: uv's, since those name what is missing and who asks for it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from envbuild.asof import Ask, rfc3339
from envbuild.dated_index.index import DatedIndex
from envbuild.errors import EnvbuildError
from envbuild.projects import Project
from envbuild.repairs.attempt import Attempt
from envbuild.requirement import version_of
from envbuild.resolvers import standins
from envbuild.resolvers.piptools import Account

# What building a source ends with, by the classes of pip's exceptions from 9 to today.
_NOT_BUILT = (
    "InstallationError",
    "InstallationSubprocessError",
    "MetadataGenerationFailed",
    "SubprocessError",
    "CalledProcessError",
    "BackendUnavailable",
    "BadZipFile",
)
_INVALID = (
    "InvalidRequirement",
    "InvalidVersion",
    "InvalidSpecifier",
    "InvalidMarker",
    "RequirementParseError",
    "MetadataInvalid",
    "MetadataInconsistent",
    "InvalidWheelFilename",
    "UnsupportedWheel",
    "InvalidWheel",
    "NoneMetadataError",
)
_LACKS = re.compile(r"(?:No matching distribution found for|satisfies the requirement|version that matches) ([^\n(]+)")
_FROM = re.compile(r"\(from ([A-Za-z0-9][\w.-]*==[^\s>),-]+)")
# pips from 20.3 to 21.2 say so and look on, and in the end that there is no such release.
_DISCARDED = re.compile(r"Discarding (?:\S*/)?([^/\s#]+\.(?:tar\.\w+|tgz|zip))[#\s]")
_LAST_LINES = 40


def in_uvs_form(account: Account, attempt: Attempt, index: DatedIndex, ask: Ask) -> str:
    """A failure of pip-compile in uv's words.

    :param index: what pip saw.
    :param ask: gives what the index has beyond the date.
    """
    said = [f"Failed to fetch: {words}" for words in index.refusals]
    classes = {kind for kind, _ in account.errors}
    lacking = _lacking(account)
    if (discarded := _discarded(account)) is not None:
        said += [f"Failed to build `{discarded[0]}=={discarded[1]}`", *_tail(account)]
    elif lacking:
        said += [line for text, parent in lacking for line in _missing(text, parent, attempt, index, ask)]
        said.append("the requirements are unsatisfiable")
    elif account.building is not None and classes & {*_NOT_BUILT, *_INVALID}:
        said += _build_failure(account, classes)
    else:
        said += _tail(account)
    return standins.without_mark("\n".join(dict.fromkeys(said)))


def _lacking(account: Account) -> list[tuple[str, str | None]]:
    """What cannot be met, each once: by the exceptions, else by their words."""
    found = [(text.strip(), parent) for text, parent in account.lacking if text.strip() not in ("", "None")]
    if not found:
        for _, words in account.errors:
            for match in _LACKS.finditer(words):
                parent = _FROM.search(words, match.end() - 1)
                found.append((match[1].strip(), None if parent is None else parent[1]))
    return list(dict.fromkeys(found))


def _missing(text: str, parent: str | None, attempt: Attempt, index: DatedIndex, ask: Ask) -> Iterator[str]:
    """What is to be said of one requirement that cannot be met."""
    if (python := re.match(r"(?:<Python from Requires-Python>|Python) ?(.*)$", text)) is not None:
        yield f"the Python here does not satisfy Python{python[1]}, which {parent or 'a package'} requires"
        return
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        yield text
        return
    name = str(canonicalize_name(requirement.name))
    wanted = f"{name}{requirement.specifier}"
    yield f"you require {wanted}" if parent is None else f"{_plain(parent)} depends on {wanted}"
    seen = {one for one in _versions(index, name) if requirement.specifier.contains(one, prereleases=True)}
    if seen:
        if name in attempt.wheels_only and not any(_has_wheel(index, name, one) for one in seen):
            yield f"Wheels are required for `{name}`"
        return
    project = ask([name]).get(name)
    later = [] if project is None else _later(project, requirement, attempt, name)
    if later:
        version = max(later)
        kind = "requested" if _pin(requirement) is not None else "latest"
        time = project.releases[version] if project is not None else None
        yield (
            f"`{name}` was filtered by `exclude-newer`. The {kind} version, v{version}, was published at "
            f"{'' if time is None else rfc3339(time)}."
        )
        if _pin(requirement) is not None:
            yield f"{name}=={version}"
    elif not _versions(index, name) and (project is None or not project.releases):
        yield f"{name} was not found in the package registry"
    elif (pin := _pin(requirement)) is not None:
        yield f"there is no version of {name}=={pin}"
    else:
        yield f"only {_shown(_versions(index, name))} of {name} are there"


def _later(project: Project, requirement: Requirement, attempt: Attempt, name: str) -> list[Version]:
    cut = attempt.cuts.get(name, attempt.cut)
    return [
        version
        for version, time in project.releases.items()
        if cut is not None
        and time is not None
        and time >= cut
        and requirement.specifier.contains(version, prereleases=True)
    ]


def _versions(index: DatedIndex, name: str) -> list[Version]:
    try:
        return sorted({file.version for file in index.files(name) if file.version is not None})
    except EnvbuildError:
        # It is one of the refusals.
        return []


def _has_wheel(index: DatedIndex, name: str, version: Version) -> bool:
    return any(file.version == version and file.name.endswith(".whl") for file in index.files(name))


def _pin(requirement: Requirement) -> str | None:
    return next(
        (one.version for one in requirement.specifier if one.operator in ("==", "===") and version_of(one.version)),
        None,
    )


def _plain(parent: str) -> str:
    name, _, version = re.sub(r"\[[^]]*\]", "", parent).partition("==")
    return f"{canonicalize_name(name)}=={version}" if version else str(canonicalize_name(name))


def _shown(versions: list[Version]) -> str:
    shown = [str(version) for version in versions[-5:]]
    return ", ".join(shown) if len(shown) == len(versions) else f"…, {', '.join(shown)}"


def not_built(account: Account) -> tuple[str, str] | None:
    """The name and the version of the sdist that could not be asked what it needs, where that is what failed."""
    if (discarded := _discarded(account)) is not None:
        return discarded
    name, file = account.building or ("", "")
    failed = {kind for kind, _ in account.errors} & {*_NOT_BUILT}
    if not failed or file.endswith(".whl") or _lacking(account):
        return None
    version = _version_in(file, name)
    return (str(canonicalize_name(name)), version) if version else None


def _discarded(account: Account) -> tuple[str, str] | None:
    """The name and the version of an sdist that pip passed over since it could not be built, and then found lacking."""
    files = _DISCARDED.findall(account.words)
    for text, _ in _lacking(account) if files else ():
        with contextlib.suppress(InvalidRequirement):
            requirement = Requirement(text)
            versions = (_version_in(file, requirement.name) for file in files)
            fitting = [one for one in versions if one and requirement.specifier.contains(one, prereleases=True)]
            if fitting:
                return str(canonicalize_name(requirement.name)), fitting[0]
    return None


def _build_failure(account: Account, classes: set[str]) -> Iterator[str]:
    """The failure of a source, or of a file's metadata, with the end of what was said."""
    name, file = account.building or ("", "")
    version = _version_in(file, name)
    yield f"Failed to build `{canonicalize_name(name)}=={version}`" if version else f"Failed to build `{name} @ {file}`"
    if classes & {*_INVALID} and not classes & {*_NOT_BUILT}:
        yield "what it says of itself is not valid"
    yield from _tail(account)


def _version_in(file: str, name: str) -> str:
    stem = re.sub(r"\.(tar\.\w+|tgz|zip|whl)$", "", file)
    parts = stem.split("-")
    for count in range(1, len(parts)):
        if canonicalize_name("-".join(parts[:count])) == canonicalize_name(name):
            return parts[count]
    return ""


# Frames of pip's own, and what pip-tools says of itself.
_NOISE = re.compile(r"^(\s*File \"[^\"]*/(?:pip|piptools|click)/|WARNING:|.*DeprecationWarning|Using legacy resolver)")


def _tail(account: Account) -> Iterator[str]:
    lines: Iterable[str] = (line.rstrip() for line in account.words.splitlines())
    kept = [line for line in lines if line.strip() and not _NOISE.match(line)]
    yield from kept[-_LAST_LINES:]
