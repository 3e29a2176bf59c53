"""A conda package as a lock names it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name
from packaging.version import Version


@dataclass(frozen=True, slots=True, kw_only=True)
class CondaPackage:
    """One package of a channel: one file, by its digests."""

    name: str
    version: str
    build: str
    """The build string (``py38h1de35cc_0``)."""
    build_number: int
    subdir: str
    """``linux-64``, ``noarch``."""
    url: str
    """Without credentials."""
    channel: str
    md5: str | None
    sha256: str
    size: int | None = None
    made: datetime | None = None
    """When it was built, by its own word."""
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    provides: tuple[tuple[str, str], ...] = ()
    """The distributions in its ``site-packages``: names as an index has them, and versions."""

    @property
    def text(self) -> str:
        """``numpy 1.17.4 py36_0``."""
        return f"{self.name} {self.version} {self.build}"

    def identity(self) -> list[Any]:
        """What of it goes into the lock hash."""
        return [self.name, self.version, self.build, self.subdir, self.sha256]

    def to_request(self) -> dict[str, Any]:
        """The form that :mod:`envbuild.conda.program` takes."""
        return {
            "name": self.name,
            "version": self.version,
            "build": self.build,
            "build_number": self.build_number,
            "subdir": self.subdir,
            "url": self.url,
            "channel": self.channel,
            "md5": self.md5,
            "sha256": self.sha256,
            "size": self.size,
            "depends": list(self.depends),
            "constrains": list(self.constrains),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CondaHalf:
    """What of a lock comes from channels."""

    packages: tuple[CondaPackage, ...]
    channels: tuple[str, ...]
    """Their URLs in their order, without credentials."""
    subdir: str
    virtual_packages: tuple[tuple[str, str, str], ...] = ()
    variables: tuple[tuple[str, str], ...] = ()
    """What the environment sets."""
    link_scripts: bool = False
    """Whether packages run their own scripts when they are linked."""

    def identity(self) -> list[Any]:
        """What of it goes into the lock hash."""
        scripts = ["link-scripts"] if self.link_scripts else []
        return [sorted(package.identity() for package in self.packages), sorted(map(list, self.variables)), *scripts]

    @property
    def provides(self) -> dict[str, str]:
        """The distributions that its packages bring, with their versions."""
        return {name: version for package in self.packages for name, version in package.provides}

    def version_of(self, name: str) -> str | None:
        """The version of a package; ``None`` where it is not in it."""
        return next((package.version for package in self.packages if package.name == name), None)


def to_table(half: CondaHalf) -> dict[str, Any]:
    """The form that a lock keeps it in."""
    return {
        "channels": list(half.channels),
        "subdir": half.subdir,
        **solved_for(half),
        "packages": [to_entry(package) for package in half.packages],
    }


def solved_for(half: CondaHalf) -> dict[str, Any]:
    """Of the table, how it was solved and what the environment is besides its packages."""
    return {
        "channel-priority": "strict",
        "virtual-packages": [list(one) for one in half.virtual_packages],
        "variables": dict(half.variables),
        "link-scripts": half.link_scripts,
    }


def to_entry(package: CondaPackage) -> dict[str, Any]:
    """One package of the table."""
    entry = {
        **package.to_request(),
        "provides": [f"{name}=={version}" for name, version in package.provides],
        "made": package.made,
    }
    return {key: value for key, value in entry.items() if value not in (None, [])}


def from_table(table: Mapping[str, Any]) -> CondaHalf:
    """The same, read.

    :raises KeyError: something is missing.
    :raises ValueError: something is not what it should be.
    """
    return CondaHalf(
        packages=tuple(from_entry(entry) for entry in table["packages"]),
        channels=tuple(str(url) for url in table["channels"]),
        subdir=str(table["subdir"]),
        virtual_packages=tuple((str(n), str(v), str(b)) for n, v, b in table.get("virtual-packages", ())),
        variables=tuple(sorted((str(name), str(value)) for name, value in table.get("variables", {}).items())),
        link_scripts=bool(table.get("link-scripts", False)),
    )


_DIGEST = re.compile(r"[0-9a-f]+")
# What names files and requirement lines must neither lead elsewhere nor end one.
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.!+~-]*")
_PLAIN = re.compile(r"[^\s\x00-\x1f\x7f]+")
_ARCHIVES = (".conda", ".tar.bz2")


def from_entry(entry: Mapping[str, Any]) -> CondaPackage:
    """A package of the table, read; its values may be JSON's.

    :raises KeyError: something is missing.
    :raises ValueError: something is not what it should be.
    """
    name, url, made = str(entry["name"]), str(entry["url"]), entry.get("made")
    parts = {key: str(entry[key]) for key in ("name", "version", "build", "subdir")}
    if wrong := next((key for key, part in parts.items() if _PART.fullmatch(part) is None), None):
        raise ValueError(f"the {wrong} of {name[:80]!r} is none: {parts[wrong][:80]!r}")
    if _PLAIN.fullmatch(url) is None or urlsplit(url).scheme not in ("https", "http", "file"):
        raise ValueError(f"{name} lies at {url[:200]!r}, which is no URL of a channel")
    if not file_name(url).endswith(_ARCHIVES) or _PART.fullmatch(file_name(url)) is None:
        raise ValueError(f"{name} lies at {url[:200]!r}, which is no conda package by its name")
    return CondaPackage(
        **parts,
        build_number=int(entry["build_number"]),
        url=url,
        channel=str(entry.get("channel") or ""),
        md5=None if entry.get("md5") is None else _digest(name, "md5", entry["md5"]),
        sha256=_digest(name, "sha256", entry["sha256"]),
        size=None if entry.get("size") is None else int(entry["size"]),
        made=made if made is None or isinstance(made, datetime) else datetime.fromisoformat(str(made)),
        depends=tuple(map(str, entry.get("depends") or ())),
        constrains=tuple(map(str, entry.get("constrains") or ())),
        provides=tuple(_provided(str(line)) for line in entry.get("provides") or ()),
    )


def _provided(line: str) -> tuple[str, str]:
    name, _, version = line.partition("==")
    if canonicalize_name(name, validate=True) != name or _PART.fullmatch(version) is None:
        raise ValueError(f"{line[:80]!r} is no distribution")
    Version(version)
    return name, version


def _digest(name: str, kind: str, text: object) -> str:
    if _DIGEST.fullmatch(str(text)) is None or len(str(text)) != {"md5": 32, "sha256": 64}[kind]:
        raise ValueError(f"the {kind} of {name} is not one: {str(text)[:80]!r}")
    return str(text)


def file_name(url: str) -> str:
    """The file that a URL names."""
    return unquote(urlsplit(url).path.rpartition("/")[2])


def from_answer(said: Mapping[str, Any]) -> CondaPackage:
    """A package as :mod:`envbuild.conda.program` says it.

    :raises ValueError: the channel states no sha256 of it, or something is not what it should be.
    """
    if said["sha256"] is None:
        raise ValueError(f"the channel states no sha256 of {said['name']} {said['version']}")
    return from_entry({**said, "made": said["timestamp"]})
