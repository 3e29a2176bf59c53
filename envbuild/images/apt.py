"""Debian packages as a layer: what apt-get installed in a container from the base, without what it leaves behind.

Versions are what the mirrors have on the day: they are noted with the base's digest, and the layer is kept, until
``--update-base``.
"""

from __future__ import annotations

import re
import stat
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from envbuild.errors import ImageError
from envbuild.images.container import Container, spooled
from envbuild.images.layer import Layer, Member, archived, write_layer
from envbuild.images.shelf import Shelf, short_digest
from envbuild.progress import Report, Step

_LEFT_BEHIND = re.compile(
    r"(var/lib/apt/lists|var/cache|var/log|tmp|var/tmp|run|root|dev|proc|sys|opt/envbuild)(/|$)"
    r"|(etc/(resolv\.conf|hosts|hostname|mtab|\.pwd\.lock|(passwd|group|g?shadow)-)|\.dockerenv)$"
    r"|var/lib/dpkg/(.*-old|lock.*|triggers/Lock)$|.*/__pycache__(/|$)|var/lib/systemd/"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What was installed: each package with its version, those that came along included, and the layer."""

    packages: Mapping[str, str]
    layer: Layer


def kept_name(base: str, names: tuple[str, ...]) -> str:
    """What the packages of a base are kept under."""
    return f"apt-{short_digest([base, sorted(names)])}"


def kept(shelf: Shelf, name: str) -> Installed | None:
    """What was installed before under a name, if it is all there."""
    known, layer = shelf.note(name).read(), shelf.kept_layer(name)
    return None if known is None or layer is None else Installed(packages=known["packages"], layer=layer)


def pinned(shelf: Shelf, name: str) -> Mapping[str, str]:
    """The versions that were installed before under a name."""
    known = shelf.note(name).read()
    return {} if known is None else dict(known["packages"])


def keep(shelf: Shelf, name: str, container: Container, packages: Mapping[str, str], report: Report) -> Installed:
    """Make a layer of what a container's apt-get has changed, and keep it.

    :raises ImageError: something was removed that the base has.
    """
    report(Step("packing", f"{len(packages)} Debian packages", count=len(packages)))
    changes = container.changes()
    paths = {
        path.lstrip("/") for path, kind in changes.items() if kind != 2 and not _LEFT_BEHIND.match(path.lstrip("/"))
    }
    gone = [path for path, kind in changes.items() if kind == 2 and not _LEFT_BEHIND.match(path.lstrip("/"))]
    if gone:
        raise ImageError(f"the Debian packages take away what the base has: {gone[0]}", hint="take another base")
    with spooled() as file:
        container.export(file)
        with tarfile.open(fileobj=file, mode="r:") as archive:
            everything = list(archived(archive))
            modes = {member.name: member.mode for member in everything if member.kind == "directory"}

            def make(path: Path) -> Layer:
                return write_layer(path, _kept_members(everything, paths), archive=archive, modes=modes)

            layer = shelf.keep_layer(name, make)
    with shelf.explained():
        shelf.note(name).write({"packages": dict(packages)})
    return Installed(packages=packages, layer=layer)


def _kept_members(everything: list[Member], paths: set[str]) -> Iterator[Member]:
    for member in everything:
        # What a directory above has is written when a member needs it.
        if member.name in paths and not (member.kind == "directory" and _is_only_above(member, paths)):
            yield member


def _is_only_above(member: Member, paths: set[str]) -> bool:
    sticky = member.mode & (stat.S_ISVTX | stat.S_ISGID | stat.S_ISUID)
    return not sticky and any(path.startswith(f"{member.name}/") for path in paths)
