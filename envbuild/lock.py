"""The lock: what a spec resolved to, and its hash.

A lock names one file for each package, the one that its target installs. Its form is a ``pylock.toml`` (PEP 751,
:mod:`envbuild.pylock`). What the standard has no place for lies in ``[tool.envbuild]``: the Python demanded, the target,
what sdists are built with, as of when, and the notes that were made on the way. ``docs/lock.md`` describes the table.

The lock hash is sha256 over what is installed and nothing else: see :func:`lock_hash`.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from packaging.utils import canonicalize_name
from packaging.version import Version

from envbuild.conda import package as conda
from envbuild.conda.package import CondaHalf, CondaPackage
from envbuild.errors import LockInvalid, LockStale, Place
from envbuild.model import Notice
from envbuild.redaction import without_userinfo
from envbuild.target import Target

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Kind = Literal["wheel", "sdist", "vcs", "archive", "directory", "conda"]
"""What a package is installed from; what is ``conda`` stands in no lock's ``packages``, but is looked at as those are."""
TABLE_VERSION = 1
# The notices of a lock that is for another Python than the model names.
PYTHON_REPAIRS = ("neighbouring-python", "python-by-wheels")


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedPackage:
    """One package of a lock and the one thing that it is installed from."""

    name: str
    version: str | None
    kind: Kind
    sha256: str
    """Of the file; of a directory's names and contents; empty for a VCS commit."""
    url: str | None = None
    path: str | None = None
    """For what lies inside the model: relative to the model."""
    file_name: str | None = None
    size: int | None = None
    uploaded: datetime | None = None
    commit: str | None = None
    subdirectory: str | None = None
    editable: bool = False
    extras: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    """The names of the packages that it asked for, as the resolver saw them; not in the lock hash."""

    @property
    def is_built(self) -> bool:
        """Whether a wheel of it must be built here before it can be installed."""
        if self.kind == "archive":
            return not (self.file_name or self.path or self.url or "").endswith(".whl")
        return self.kind != "wheel"

    def identity(self) -> list[Any]:
        """What of it goes into the lock hash."""
        return [self.name, self.version, sorted(self.extras), self.commit or self.sha256, self.subdirectory]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildLock:
    """What some packages' wheels are built with: their build requirements, locked like everything else."""

    builds: tuple[str, ...]
    """The names of the packages."""
    packages: tuple[LockedPackage, ...]
    undeclared: tuple[str, ...] = ()
    """Those of ``builds`` that need more of these than they say themselves: they get all."""

    def identity(self) -> list[Any]:
        """What of it goes into the lock hash."""
        own = [sorted(self.builds), sorted(package.identity() for package in self.packages)]
        return [*own, sorted(self.undeclared)] if self.undeclared else own


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One thing that the deployer changed: the option (``set``, ``python``, …), its value, and where it was said."""

    option: str
    text: str
    """Without secrets."""
    place: Place | None = None
    """In a file; ``None`` for the command line, Python and variables."""

    def __str__(self) -> str:
        where = "" if self.place is None else f" ({self.place})"
        return f"--{self.option.replace('_', '-')} {self.text}{where}"

    def to_dict(self) -> dict[str, str | None]:
        """The form that ``--json`` prints, and that locks have."""
        return {"option": self.option, "value": self.text, "place": None if self.place is None else str(self.place)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """How a lock came to be; none of it goes into the lock hash."""

    spec_digest: str = ""
    as_of: str = ""
    """The instant (RFC 3339) that unpinned requirements were resolved as of, or ``now``."""
    as_of_reason: str = ""
    engine: str = ""
    indexes: tuple[str, ...] = ()
    notices: tuple[Notice, ...] = ()
    cuts: Mapping[str, str] = field(default_factory=dict)
    """Packages that were resolved as of another instant than the rest (RFC 3339)."""
    overrides: tuple[Change, ...] = ()
    """What the deployer changed."""
    conda_reason: str = ""
    """Where conda.yaml's own packages come from, channels or the index, and why; empty where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """Everything that an environment is built from."""

    python: str
    """The Python demanded: ``3.8.5``, or ``3.8`` where no patch release is."""
    target: Target
    packages: tuple[LockedPackage, ...]
    build: tuple[BuildLock, ...] = ()
    conda: CondaHalf | None = None
    """What comes from channels; ``packages`` stand on top of it."""
    origin: Origin = field(default_factory=Origin)

    @property
    def provided(self) -> Mapping[str, str]:
        """The distributions that conda packages bring, with their versions."""
        return {} if self.conda is None else self.conda.provides

    @property
    def installed(self) -> tuple[LockedPackage, ...]:
        """All packages, by name: those of channels too, as if they were of ``packages``."""
        half = () if self.conda is None else map(_as_locked, self.conda.packages)
        return by_name((*half, *self.packages))

    @property
    def hash(self) -> str:
        """The lock hash: see :func:`lock_hash`."""
        return lock_hash(self)

    @property
    def size(self) -> int:
        """The bytes of the files that it names, packed as they are, as far as it says them."""
        return sum(package.size or 0 for package in self.packages)

    def version_of(self, name: str) -> str | None:
        """The locked version of a package; ``None`` where it is not in the lock."""
        return next((package.version for package in self.packages if package.name == canonicalize_name(name)), None)


def _as_locked(package: CondaPackage) -> LockedPackage:
    return LockedPackage(
        name=package.name,
        version=package.version,
        kind="conda",
        sha256=package.sha256,
        url=package.url,
        file_name=package.url.rpartition("/")[2],
        size=package.size,
        uploaded=package.made,
        dependencies=tuple(need.split()[0] for need in package.depends if not need.startswith("__")),
    )


def lock_hash(lock: Lock) -> str:
    """sha256 over the lock's canonical form, in hexadecimal.

    In it: the Python demanded, the target, and for each package its name, version, extras and the sha256 of its file
    (a VCS commit; the digest of a local directory), with the build requirements of what must be built. Not in it:
    URLs, upload times, dates, the spec's digest, overrides, paths, the names of tools.
    """
    content: dict[str, Any] = {
        "python": lock.python,
        "target": [lock.target.python, lock.target.platform],
        "packages": sorted((package.identity() for package in lock.packages), key=json.dumps),
        "build": sorted((build.identity() for build in lock.build), key=json.dumps),
    }
    if lock.conda is not None:
        content["conda"] = lock.conda.identity()
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_requirements(lock: Lock) -> str:
    """The lock as pip's hashed requirement lines; what lies inside the model is named by its path there."""
    lines = [f"# Python {lock.python}, {lock.target}; lock hash {lock.hash}"]
    for package in by_name(lock.packages):
        lines.append(requirement_line(package, package.path or ""))
    return "\n".join(lines) + "\n"


def requirement_line(package: LockedPackage, path: str) -> str:
    """One package as a requirement: by name and hash, by commit, or by the path that it is found at."""
    if package.kind in ("wheel", "sdist"):
        return f"{package.name}=={package.version} --hash=sha256:{package.sha256}"
    fragment = f"#subdirectory={package.subdirectory}" if package.subdirectory else ""
    if package.kind == "vcs":
        return f"{package.name} @ git+{package.url}@{package.commit}{fragment}"
    if package.kind == "archive" and package.url is not None:
        return f"{package.name} @ {package.url}{fragment} --hash=sha256:{package.sha256}"
    return path if package.kind == "directory" else f"{path} --hash=sha256:{package.sha256}"


def staged(path: str) -> str:
    """Where a package that is a path lies below a copy of a model: the deployer's own, whose paths are absolute, aside."""
    if not path.startswith("/"):
        return path
    return f"by-deployer/{hashlib.sha256(path.encode()).hexdigest()[:16]}/{path.rpartition('/')[2]}"


def read_kept(text: str, name: str) -> Lock:
    """A lock that :func:`envbuild.pylock.write_lock` wrote, for whatever Python and target it is; in a third of the time of :func:`~envbuild.pylock.read_lock`.

    One file a package, and the hash of all: what PEP 751 checks and chooses was checked and chosen when it was written.

    :raises LockInvalid: it is none, or damaged.
    """
    try:
        content = tomllib.loads(text)
        table = content["tool"]["envbuild"]
        lock = Lock(
            python=str(table["python"]),
            target=Target(str(table["python-tag"]), str(table["platform"])),
            packages=by_name(safe(_kept_package(entry)) for entry in content["packages"]),
            build=tuple(build_from(entry) for entry in table.get("build", ())),
            conda=conda_from(table),
            origin=origin_from(table),
        )
        if table["version"] != TABLE_VERSION or table["hash"] != lock.hash:
            raise LockInvalid("the lock is damaged, or another version's")
    except (LockInvalid, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LockInvalid(f"this is no lock that envbuild kept: {error}", place=Place(name)) from error
    return lock


def _kept_package(entry: Mapping[str, Any]) -> LockedPackage:
    """A package's table, as :mod:`envbuild.pylock` made it."""
    kind, source = next((known, entry[key]) for known, key in _SOURCES.items() if key in entry)
    source = source[0] if kind == "wheel" else source
    own = entry.get("tool", {}).get("envbuild", {})
    return LockedPackage(
        name=entry["name"],
        version=entry.get("version"),
        kind=kind,
        sha256=own.get("digest", "") if kind == "directory" else source.get("hashes", {}).get("sha256", ""),
        url=source.get("url"),
        path=source.get("path"),
        file_name=source.get("name"),
        size=source.get("size"),
        uploaded=source.get("upload-time"),
        commit=source.get("commit-id"),
        subdirectory=source.get("subdirectory"),
        editable=bool(source.get("editable")),
        extras=tuple(own.get("extras", ())),
        dependencies=tuple(below["name"] for below in entry.get("dependencies", ())),
    )


_SOURCES: Mapping[Kind, str] = {
    "wheel": "wheels",
    "sdist": "sdist",
    "vcs": "vcs",
    "archive": "archive",
    "directory": "directory",
}


def check_target(lock: Lock, target: Target, place: Place | None = None) -> None:
    """Refuse a lock for another target, unless a repair moved it there: that it did is in the lock.

    One for an older C library is none for another: what it holds is installed here as well.

    :raises LockStale: it is for another.
    """
    moved = any(notice.code in PYTHON_REPAIRS for notice in lock.origin.notices)
    of_python = moved or lock.target.python == target.python
    if not (of_python and target.installs(lock.target.platform)):
        raise LockStale(
            f"the lock is for {lock.target}; {target} is wanted",
            place=place,
            hint="envbuild lock --update makes one for this machine",
        )


def by_name(packages: Iterable[LockedPackage]) -> tuple[LockedPackage, ...]:
    """Packages in the order that a lock has them."""
    return tuple(sorted(packages, key=lambda package: package.name))


# What is written into requirement lines must not be able to end one.
_HASH, _PLAIN = re.compile(r"[0-9a-f]{64}"), re.compile(r"[^\s\x00-\x1f\x7f]+")


def safe(package: LockedPackage) -> LockedPackage:
    """A package whose parts are what they should be, since a lock may come from anybody."""
    hash_wanted = package.kind in ("wheel", "sdist", "archive")
    if hash_wanted and _HASH.fullmatch(package.sha256) is None:
        raise LockInvalid(f"the sha256 of {package.name} is not one: {package.sha256[:80]!r}")
    if package.kind == "vcs" and re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", package.commit or "") is None:
        raise LockInvalid(f"the commit of {package.name} is not one: {(package.commit or '')[:80]!r}")
    for part in (package.url, package.path, package.subdirectory):
        if part is not None and _PLAIN.fullmatch(part) is None:
            raise LockInvalid(f"a location of {package.name} holds white space or control characters: {part[:80]!r}")
    return package


def table_of(lock: Lock) -> dict[str, Any]:
    """The table ``[tool.envbuild]``: ``docs/lock.md`` says what is in it."""
    origin = lock.origin
    table: dict[str, Any] = {
        "version": TABLE_VERSION,
        "hash": lock.hash,
        "python": lock.python,
        "python-tag": lock.target.python,
        "platform": lock.target.platform,
        "spec": origin.spec_digest,
        "as-of": origin.as_of,
        "as-of-reason": origin.as_of_reason,
        "engine": origin.engine,
        "indexes": [without_userinfo(url) for url in origin.indexes],
    }
    if origin.cuts:
        table["cuts"] = dict(sorted(origin.cuts.items()))
    if origin.overrides:
        table["overrides"] = [
            {key: value for key, value in change.to_dict().items() if value is not None} for change in origin.overrides
        ]
    if origin.notices:
        table["notices"] = [{"code": notice.code, "message": notice.message} for notice in origin.notices]
    if origin.conda_reason:
        table["conda-reason"] = origin.conda_reason
    if lock.build:
        table["build"] = [_build_table(build) for build in lock.build]
    if lock.conda is not None:
        table["conda"] = conda.to_table(lock.conda)
    return table


def _build_table(build: BuildLock) -> dict[str, Any]:
    more = {"undeclared": sorted(build.undeclared)} if build.undeclared else {}
    return {"builds": sorted(build.builds), **more, "packages": [_build_entry(p) for p in by_name(build.packages)]}


def _build_entry(package: LockedPackage) -> dict[str, Any]:
    entry = {"name": package.name, "version": package.version, "kind": package.kind, "sha256": package.sha256}
    where = {"file": package.file_name, "url": None if package.url is None else without_userinfo(package.url)}
    more = {"extras": sorted(package.extras) or None}
    return {key: value for key, value in {**entry, **where, **more}.items() if value is not None}


def build_from(entry: Mapping[str, Any]) -> BuildLock:
    """A build lock from its part of the table.

    :raises LockInvalid: a package in it is not what it should be.
    """
    return BuildLock(
        builds=tuple(str(name) for name in entry["builds"]),
        packages=by_name(safe(_build_package(package)) for package in entry["packages"]),
        undeclared=tuple(str(name) for name in entry.get("undeclared", ())),
    )


def conda_from(table: Mapping[str, Any]) -> CondaHalf | None:
    """What comes from channels, from the table.

    :raises ValueError: something in it is not what it should be.
    """
    return conda.from_table(table["conda"]) if "conda" in table else None


def _build_package(entry: Mapping[str, Any]) -> LockedPackage:
    kind: Kind = "sdist" if entry["kind"] == "sdist" else "wheel"
    return LockedPackage(
        name=canonicalize_name(str(entry["name"]), validate=True),
        version=str(Version(entry["version"])),
        kind=kind,
        sha256=str(entry["sha256"]),
        url=entry.get("url"),
        file_name=entry.get("file"),
        extras=tuple(str(extra) for extra in entry.get("extras", ())),
    )


def origin_from(table: Mapping[str, Any]) -> Origin:
    """How a lock came to be, from the table."""
    notices: Sequence[Mapping[str, Any]] = table.get("notices", ())
    overrides: Sequence[Mapping[str, Any]] = table.get("overrides", ())
    return Origin(
        spec_digest=str(table.get("spec", "")),
        as_of=str(table.get("as-of", "")),
        as_of_reason=str(table.get("as-of-reason", "")),
        engine=str(table.get("engine", "")),
        indexes=tuple(table.get("indexes", ())),
        notices=tuple(Notice(code=str(n["code"]), message=str(n["message"])) for n in notices),
        cuts={str(name): str(cut) for name, cut in table.get("cuts", {}).items()},
        overrides=tuple(_change_from(entry) for entry in overrides),
        conda_reason=str(table.get("conda-reason", "")),
    )


def _change_from(entry: Mapping[str, Any]) -> Change:
    place = entry.get("place")
    return Change(
        option=str(entry["option"]), text=str(entry["value"]), place=None if place is None else _place_from(str(place))
    )


def _place_from(text: str) -> Place:
    file, colon, line = text.rpartition(":")
    return Place(file, int(line)) if colon and line.isdecimal() else Place(text)


def lock_to_dict(lock: Lock) -> dict[str, Any]:
    """The form that ``lock --json`` prints."""
    return {
        "lock_hash": lock.hash,
        "python": lock.python,
        "target": str(lock.target),
        "as_of": lock.origin.as_of,
        "as_of_reason": lock.origin.as_of_reason,
        "packages": [
            {"name": p.name, "version": p.version, "kind": p.kind, "sha256": p.sha256, "commit": p.commit}
            for p in lock.packages
        ],
        "conda_reason": lock.origin.conda_reason or None,
        "conda": None if lock.conda is None else _conda_to_dict(lock.conda),
        "overrides": [change.to_dict() for change in lock.origin.overrides],
        "notices": [notice.to_dict() for notice in lock.origin.notices],
    }


def _conda_to_dict(half: CondaHalf) -> dict[str, Any]:
    return {
        "channels": list(half.channels),
        "subdir": half.subdir,
        "packages": [
            {"name": p.name, "version": p.version, "build": p.build, "url": p.url, "sha256": p.sha256}
            for p in half.packages
        ],
    }
