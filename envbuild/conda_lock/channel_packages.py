"""conda packages as entries of a ``conda-lock.yml``, and back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from envbuild.conda.package import CondaPackage, file_name, from_entry, to_entry
from envbuild.conda_lock.entry import Entry
from envbuild.errors import LockInvalid
from envbuild.redaction import without_credentials

Details = Mapping[str, Any]
_NEED = re.compile(r"(?P<name>[^\s\[=<>!~]+)\s*(?P<version>[^\s\[]*)")
_NUMBER = re.compile(r"(?:^|_)(\d+)$")


def entry_of(package: CondaPackage, platform: str) -> Entry:
    """A package as an entry."""
    return Entry(
        name=package.name,
        version=package.version,
        manager="conda",
        platform=platform,
        dependencies=_dependencies(package.depends),
        url=without_credentials(package.url),
        # An empty one is conda-lock's own word for none.
        md5=package.md5 or "",
        sha256=package.sha256,
        build=package.build,
    )


def details_of(package: CondaPackage, entry: Entry) -> Details:
    """What the entry does not tell of the package, for :func:`package_of`."""
    known, all_of_it = _told(entry), to_entry(package)
    all_of_it |= {"url": entry.url, "channel": without_credentials(package.channel)}
    if package.made is not None:
        all_of_it["made"] = package.made.isoformat()
    return {key: all_of_it.get(key) for key in sorted(known | all_of_it) if known.get(key) != all_of_it.get(key)}


def package_of(entry: Entry, details: Details) -> CondaPackage:
    """The package of an entry.

    :raises LockInvalid: something in either is not what it should be.
    """
    told = _told(entry)
    # What other tools see of it is what we install, too.
    seen = {key: told.get(key) for key in ("name", "version", "url", "md5", "sha256")}
    try:
        return from_entry({**told, **details, **seen})
    except (KeyError, ValueError, TypeError) as error:
        raise LockInvalid(f"{entry.name} cannot be understood: {error}", place=entry.place) from error


def foreign_package_of(entry: Entry) -> CondaPackage:
    """The package of an entry that another tool wrote.

    :raises LockInvalid: it has no sha256, or its URL is not that of such a package.
    """
    if not entry.sha256:
        entry.refuse(
            "has no sha256, and md5 alone proves nothing", "lock again with a conda-lock and a channel that state it"
        )
    entry.reachable_url(("https://", "http://", "file://"))
    told = _told(entry)
    stem = file_name(entry.url).removesuffix(".conda").removesuffix(".tar.bz2")
    if stem.lower() != f"{entry.name}-{entry.version}-{told['build']}".lower():
        entry.refuse(f"{entry.version} has the file of another package: {stem[:120]!r}")
    if told["subdir"] not in (entry.platform, "noarch"):
        entry.refuse(f"is for {entry.platform}, and its file for {told['subdir'][:40]!r}")
    return package_of(entry, {})


def _told(entry: Entry) -> dict[str, Any]:
    """What an entry tells, in the form of :func:`envbuild.conda.package.to_entry`."""
    url = without_credentials(entry.url)
    place, _, name = url.partition("?")[0].partition("#")[0].rpartition("/")
    channel, _, subdir = place.rpartition("/")
    build = entry.build or name.removesuffix(".conda").removesuffix(".tar.bz2").rpartition("-")[2]
    number = _NUMBER.search(build)
    told = {
        "name": entry.name,
        "version": entry.version,
        "build": build,
        "build_number": 0 if number is None else int(number[1]),
        "subdir": subdir,
        "url": url,
        "channel": channel,
        "md5": entry.md5 or None,
        "sha256": entry.sha256,
        "depends": [f"{name} {version}".strip() for name, version in sorted(entry.dependencies.items())],
    }
    return {key: value for key, value in told.items() if value not in (None, [])}


def _dependencies(depends: Iterable[str]) -> dict[str, str]:
    """The names that a package asks for, and of what versions: the format has no place for builds."""
    found: dict[str, list[str]] = {}
    for text in depends:
        if (need := _NEED.match(text)) is not None:
            found.setdefault(need["name"], []).extend([need["version"]] if need["version"] else [])
    return {name: ",".join(versions) for name, versions in found.items()}
