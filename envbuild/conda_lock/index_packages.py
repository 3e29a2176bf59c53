"""Packages of an index, of commits and of the model as entries of a ``conda-lock.yml``, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, get_args
from urllib.parse import unquote, urlsplit

from packaging.tags import Tag
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from envbuild.conda_lock.entry import Entry
from envbuild.errors import LockInvalid, LockStale
from envbuild.lock import Kind, LockedPackage, safe
from envbuild.redaction import without_userinfo
from envbuild.target import Target

Details = Mapping[str, Any]
_SDISTS = (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz")
_SUBDIRECTORY = re.compile(r"(?:^|&)subdirectory=([^&]+)")
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.!+~-]*")
_DIRECT = ("vcs", "archive", "directory")
_OF_INDEX = ("https://", "http://")
_OF_GIT = ("git+https://", "git+http://", "git+ssh://")


def entry_of(package: LockedPackage, platform: str) -> Entry:
    """A package as an entry."""
    location = _location(package)
    return Entry(
        name=package.name,
        version=package.version or "",
        manager="pip",
        platform=platform,
        dependencies=dict.fromkeys(package.dependencies, "*"),
        url=location,
        sha256=package.commit or package.sha256,
        source=location if package.kind in _DIRECT else "",
    )


def details_of(package: LockedPackage, entry: Entry) -> Details:
    """What the entry does not tell of the package, for :func:`package_of`."""
    known, all_of_it = _told(entry), _said(package)
    return {key: value for key, value in sorted(all_of_it.items()) if known[key] != value}


def package_of(entry: Entry, details: Details) -> LockedPackage:
    """The package of an entry.

    :raises LockInvalid: something in either is not what it should be.
    """
    said = {**_told(entry), **details}
    try:
        return safe(_package(entry.name, said))
    except (KeyError, ValueError, TypeError) as error:
        raise LockInvalid(f"{entry.name} cannot be understood: {error}", place=entry.place) from error
    except LockInvalid as error:
        raise LockInvalid(error.message, place=entry.place, hint=error.hint) from error


def foreign_package_of(entry: Entry, target: Target, tags: frozenset[Tag]) -> LockedPackage:
    """The package of an entry that another tool wrote.

    :raises LockInvalid: it has no sha256, or is no file of an index, no archive and no commit.
    :raises LockStale: its wheel is not for the target.
    """
    told = _told(entry)
    entry.reachable_url(_OF_GIT if told["kind"] == "vcs" else _OF_INDEX)
    if told["kind"] != "vcs" and not entry.sha256:
        entry.refuse("has no sha256", "lock again with hashes")
    if told["kind"] == "sdist" and not str(told["file_name"]).endswith(_SDISTS):
        entry.refuse(f"lies at {entry.url[:200]!r}, which is neither a wheel nor an sdist by its name")
    package = package_of(entry, {})
    if package.kind == "wheel":
        _check_wheel(package, entry, target, tags)
    return package


def _check_wheel(package: LockedPackage, entry: Entry, target: Target, tags: frozenset[Tag]) -> None:
    try:
        name, version, _, of_wheel = parse_wheel_filename(package.file_name or "")
    except ValueError as error:
        raise LockInvalid(f"{package.name} has no wheel by its name: {error}", place=entry.place) from error
    if (name, str(version)) != (package.name, package.version):
        entry.refuse(f"{package.version} has the file of another package: {package.file_name}")
    if not tags & of_wheel:
        raise LockStale(f"the lock is not for {target}: {package.file_name} is for another", place=entry.place)


def _location(package: LockedPackage) -> str:
    """Where it lies: a URL; for what lies inside the model its path there."""
    url = None if package.url is None else without_userinfo(package.url)
    fragment = f"#subdirectory={package.subdirectory}" if package.subdirectory else ""
    if package.kind == "vcs":
        return f"git+{url or package.path}@{package.commit}{fragment}"
    return f"{url or package.path or package.file_name or '.'}{fragment}"


def _told(entry: Entry) -> dict[str, Any]:
    """What an entry tells, in the form of :func:`_said`."""
    url, _, fragment = without_userinfo(entry.url).partition("#")
    subdirectory = _SUBDIRECTORY.search(fragment)
    told = {
        "version": entry.version or None,
        "kind": "archive" if entry.source else "sdist",
        "sha256": entry.sha256,
        "url": url,
        "path": None,
        "file_name": None,
        "size": None,
        "uploaded": None,
        "commit": None,
        "subdirectory": None if subdirectory is None else subdirectory[1],
        "editable": False,
        "extras": [],
        "dependencies": sorted({canonicalize_name(name) for name in entry.dependencies if _WORD.fullmatch(name)}),
    }
    if url.startswith("git+"):
        where, _, commit = url.removeprefix("git+").rpartition("@")
        return {**told, "kind": "vcs", "sha256": "", "url": where, "commit": commit}
    if not entry.source:
        name = PurePosixPath(unquote(urlsplit(url).path)).name
        told |= {"kind": "wheel" if name.endswith(".whl") else "sdist", "file_name": name}
    return told


def _said(package: LockedPackage) -> dict[str, Any]:
    """All of a package but its name, as JSON has it."""
    return {
        "version": package.version,
        "kind": package.kind,
        "sha256": package.sha256,
        "url": None if package.url is None else without_userinfo(package.url),
        "path": package.path,
        "file_name": package.file_name,
        "size": package.size,
        "uploaded": None if package.uploaded is None else package.uploaded.isoformat(),
        "commit": package.commit,
        "subdirectory": package.subdirectory,
        "editable": package.editable,
        "extras": list(package.extras),
        "dependencies": sorted(package.dependencies),
    }


def _package(name: str, said: Mapping[str, Any]) -> LockedPackage:
    kind: Kind = said["kind"]
    if kind not in get_args(Kind):
        raise ValueError(f"{kind!r} is no kind of package")
    if kind in ("wheel", "sdist") and said["version"] is None:
        raise ValueError("it has no version")
    size, uploaded = said["size"], said["uploaded"]
    return LockedPackage(
        name=canonicalize_name(name, validate=True),
        version=None if said["version"] is None else str(Version(said["version"])),
        kind=kind,
        sha256=str(said["sha256"]),
        url=_text(said, "url"),
        path=_text(said, "path"),
        file_name=None if said["file_name"] is None else _word(said["file_name"]),
        size=None if size is None else int(size),
        uploaded=None if uploaded is None else datetime.fromisoformat(uploaded),
        commit=_text(said, "commit"),
        subdirectory=_text(said, "subdirectory"),
        editable=bool(said["editable"]),
        extras=tuple(map(_word, said["extras"])),
        dependencies=tuple(map(_word, said["dependencies"])),
    )


def _text(said: Mapping[str, Any], key: str) -> str | None:
    return None if said[key] is None else str(said[key])


def _word(text: object) -> str:
    """A part that names a file or stands in a requirement."""
    if _WORD.fullmatch(str(text)) is None:
        raise ValueError(f"{str(text)[:80]!r} is no name")
    return str(text)
