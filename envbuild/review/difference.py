"""What differs between two sides: two locks, wherever each was read from, or two override files.

A side is read by :mod:`envbuild.review.sides`. What is not known of one of them (a foreign lock says neither its Python
nor its extras) is no difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from envbuild.lock import Lock, LockedPackage
from envbuild.model import Notice

SideKind = Literal["model", "lock", "environment", "image", "override"]
Sign = Literal["+", "-", "~"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SideEntry:
    """One package of a side, or one entry of an override file."""

    version: str | None
    """Of an entry of an override file: what it says."""
    identity: str = ""
    """The sha256 of its file, or its commit, with the directory in it; empty where that is not known."""
    file: str = ""
    """What it is installed from, for people: a file's name, a commit, a directory."""
    extras: tuple[str, ...] | None = None
    """``None``: not known."""

    def to_dict(self) -> dict[str, Any]:
        """The form that ``diff --json`` prints."""
        extras = None if self.extras is None else list(self.extras)
        return {"version": self.version, "identity": self.identity or None, "file": self.file or None, "extras": extras}


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of two that are compared. ``None`` stands for what is not known of it."""

    label: str
    """As the caller named it."""
    kind: SideKind
    python: str | None = None
    target: str | None = None
    as_of: str = ""
    lock_hash: str | None = None
    packages: Mapping[str, SideEntry] = field(default_factory=dict)
    builds: Mapping[str, Mapping[str, SideEntry]] | None = None
    """For each package that is built from source, what it is built with."""

    def to_dict(self) -> dict[str, Any]:
        """The form that ``diff --json`` prints; the packages stand in the difference."""
        return {
            "label": self.label,
            "kind": self.kind,
            "python": self.python,
            "target": self.target,
            "as_of": self.as_of or None,
            "lock_hash": self.lock_hash,
            "packages": len(self.packages),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A package that is not the same on both sides; ``None`` on the side that does not have it."""

    name: str
    before: SideEntry | None
    after: SideEntry | None
    built: str | None = None
    """The package that it builds, where it is not in the environment itself."""

    @property
    def sign(self) -> Sign:
        """``+`` added, ``-`` removed, ``~`` changed."""
        return "+" if self.before is None else "-" if self.after is None else "~"

    def to_dict(self) -> dict[str, Any]:
        """The form that ``diff --json`` prints."""
        before, after = (None if one is None else one.to_dict() for one in (self.before, self.after))
        return {"name": self.name, "before": before, "after": after}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What there is to do to get from ``a`` to ``b``."""

    a: Side
    b: Side
    added: tuple[Changed, ...] = ()
    removed: tuple[Changed, ...] = ()
    changed: tuple[Changed, ...] = ()
    builds: tuple[Changed, ...] = ()
    """What the packages that both build from source are built with."""
    python: tuple[str, str] | None = None
    target: tuple[str, str] | None = None
    equal: int = 0
    """How many packages are the same."""
    notices: tuple[Notice, ...] = ()
    """What the one who deploys should know of the locks that were made or read for this."""

    @property
    def is_equal(self) -> bool:
        """Whether both lead to the same environment."""
        if self.a.lock_hash is not None and self.a.lock_hash == self.b.lock_hash:
            return True
        return not (self.added or self.removed or self.changed or self.builds or self.python or self.target)

    @property
    def retargeted(self) -> tuple[Changed, ...]:
        """Packages in the same version, whose file is another since the target is: not worth a line each."""
        if self.target is None:
            return ()
        return tuple(one for one in self.changed if _is_same_version(one))

    @property
    def packages(self) -> tuple[Changed, ...]:
        """All packages that were added, removed or changed, by name; not those that were only retargeted."""
        retargeted = {one.name for one in self.retargeted}
        changed = (one for one in self.changed if one.name not in retargeted)
        return tuple(sorted((*self.added, *self.removed, *changed), key=lambda one: one.name))

    def to_dict(self) -> dict[str, Any]:
        """The form that ``diff --json`` prints; its keys are documented in ``docs/cli.md``."""
        return {
            "equal": self.is_equal,
            "a": self.a.to_dict(),
            "b": self.b.to_dict(),
            "python": _pair(self.python),
            "target": _pair(self.target),
            "added": [one.to_dict() for one in self.added],
            "removed": [one.to_dict() for one in self.removed],
            "changed": [one.to_dict() for one in self.changed],
            "builds": [{"builds": one.built, **one.to_dict()} for one in self.builds],
            "same": self.equal,
        }


def _is_same_version(one: Changed) -> bool:
    before, after = one.before, one.after
    if before is None or after is None or before.version is None or before.version != after.version:
        return False
    return before.extras is None or after.extras is None or before.extras == after.extras


def of(a: Side, b: Side, notices: tuple[Notice, ...] = ()) -> Difference:
    """What differs between two sides, from ``a`` to ``b``.

    :param notices: what the one who deploys should know of either.
    """
    found = _changes(a.packages, b.packages)
    return Difference(
        a=a,
        b=b,
        added=tuple(one for one in found if one.sign == "+"),
        removed=tuple(one for one in found if one.sign == "-"),
        changed=tuple(one for one in found if one.sign == "~"),
        builds=_build_changes(a, b),
        python=_both(a.python, b.python),
        target=_both(a.target, b.target),
        equal=len(a.packages.keys() | b.packages.keys()) - len(found),
        notices=notices,
    )


def side_of_lock(lock: Lock, label: str, kind: SideKind = "lock", *, foreign: bool = False) -> Side:
    """A lock as one side.

    :param label: what the caller calls it.
    :param foreign: another tool made it: its Python and target are those that it was read for, and it says nothing of
        extras, of the contents of directories, or of what sdists are built with.
    """
    return Side(
        label=label,
        kind=kind,
        python=None if foreign else lock.python,
        target=None if foreign else str(lock.target),
        as_of=lock.origin.as_of,
        lock_hash=None if foreign else lock.hash,
        packages={package.name: _entry(package, foreign=foreign) for package in lock.installed},
        builds=None if foreign else _builds(lock),
    )


def _entry(package: LockedPackage, *, foreign: bool = False) -> SideEntry:
    return SideEntry(
        version=package.version,
        identity=(package.commit or package.sha256) + (f"#{package.subdirectory}" if package.subdirectory else ""),
        file=_file(package),
        extras=None if foreign else tuple(sorted(package.extras)),
    )


def _file(package: LockedPackage) -> str:
    """What a package is installed from, in a few letters."""
    part = f" ({package.subdirectory})" if package.subdirectory else ""
    if package.kind == "vcs":
        return f"commit {(package.commit or '')[:12]}{part}"
    if package.kind == "directory":
        return f"the directory {package.path or '.'}{part}"
    name = package.file_name or (package.path or package.url or "").partition("#")[0].rpartition("/")[2]
    return f"{name}{part}"


def _builds(lock: Lock) -> dict[str, dict[str, SideEntry]]:
    built: dict[str, dict[str, SideEntry]] = {}
    for one in lock.build:
        for name in one.builds:
            built.setdefault(name, {}).update({package.name: _entry(package) for package in one.packages})
    return built


def _changes(
    before: Mapping[str, SideEntry], after: Mapping[str, SideEntry], built: str | None = None
) -> list[Changed]:
    names = sorted(before.keys() | after.keys())
    found = (Changed(name=name, before=before.get(name), after=after.get(name), built=built) for name in names)
    return [one for one in found if not _is_same(one)]


def _is_same(one: Changed) -> bool:
    a, b = one.before, one.after
    if a is None or b is None or a.version != b.version:
        return False
    if a.extras is not None and b.extras is not None and a.extras != b.extras:
        return False
    return a.identity == b.identity or not (a.identity and b.identity)


def _build_changes(a: Side, b: Side) -> tuple[Changed, ...]:
    """What the packages are built with that are the same on both sides; of others the whole package changed."""
    if a.builds is None or b.builds is None:
        return ()
    both = sorted(a.builds.keys() & b.builds.keys())
    return tuple(change for name in both for change in _changes(a.builds[name], b.builds[name], name))


def _both(a: str | None, b: str | None) -> tuple[str, str] | None:
    """A pair that differs; ``None`` where it does not, or where one of the two is not known."""
    return None if a is None or b is None or a == b else (a, b)


def _pair(pair: tuple[str, str] | None) -> dict[str, str] | None:
    return None if pair is None else {"before": pair[0], "after": pair[1]}
