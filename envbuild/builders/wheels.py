"""Wheels of what a lock would have built: built once with their locked build requirements, in one form, and kept.

What builds write differs in times, modes and the order of files, and means the same. Here it is the same bytes, wherever
the compilers were the same or none was needed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import stat
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

from envbuild import faults
from envbuild.builders import Order
from envbuild.builders.locked_files import LockedFiles, file_name
from envbuild.builders.uv import UvInstaller
from envbuild.builders.virtualenv import lacks_module, local_copy
from envbuild.downloads import kept_at
from envbuild.errors import BuildError, SdistFailed
from envbuild.files import make_private, sha256_of, write_whole
from envbuild.lock import BuildLock, LockedPackage
from envbuild.progress import Report
from envbuild.repairs.rules import Switch
from envbuild.sources import unpack

# Raised when what is kept would be built otherwise now.
_VERSION = 1
_FIRST_DAY = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptWheel:
    """A wheel that is kept by its sha256."""

    name: str
    sha256: str
    path: Path


def wheel_of(package: LockedPackage, order: Order, report: Report) -> KeptWheel:
    """The wheel of a package that must be built.

    :param order: of the environment that has it, which is complete.
    :raises SdistFailed: it cannot be built.
    :raises BuildError: its build requirements are not locked, or cannot be had.
    """
    build = next((one for one in order.lock.build if package.name in one.builds), None)
    if package.kind == "vcs" or build is None:
        raise BuildError(
            f"no wheel is built of {package.name}: what it is built with is not locked",
            hint="a wheel of it on an index of yours, and --set with its version, would do",
        )
    home = order.settings.home
    content = [package.identity(), build.identity(), order.interpreter.key, _VERSION]
    known = home / "built" / f"{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()}.json"
    if (kept := _kept(known, home)) is not None:
        return kept
    with tempfile.TemporaryDirectory(prefix="envbuild-wheel-") as name:
        scratch = Path(name)
        made = _built(_source(package, order, scratch, report), build, order, scratch, report)
        even = scratch / "even" / made.name
        even.parent.mkdir()
        evened(made, even)
        return _keep(even, known, home)


def _source(package: LockedPackage, order: Order, scratch: Path, report: Report) -> Path:
    """What it is built from, under its own name."""
    if copy := local_copy(package, order, scratch):
        source = Path(copy)
    else:
        files = LockedFiles(order.indexes, order.settings, report, time.monotonic() + order.settings.build_timeout)
        source = scratch / file_name(package)
        source.symlink_to(files.fetch([package])[package.sha256])
    if package.subdirectory is None:
        return source
    top = source if source.is_dir() else unpack(source, scratch / "unpacked")
    return top / package.subdirectory


def _built(source: Path, build: BuildLock, order: Order, scratch: Path, report: Report) -> Path:
    installer, place = UvInstaller(order, scratch, report), scratch / "wheel"
    try:
        return installer.wheel(source, build, place)
    except SdistFailed as error:
        if not (lacks_module(error) and Switch.of(order.settings).allows("build-needs")):
            raise
    # As when the environment was built: among its packages, with what its build lock holds before them.
    overlay = scratch / "overlay"
    installer.unpack(build, overlay)
    return installer.wheel(source, build, place, overlay)


def evened(wheel: Path, target: Path) -> None:
    """Write a wheel in the one form that its files have: in order, of one time, stored as they are."""
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(target, "w") as new:
        # What describes it comes last (PEP 427).
        for info in sorted(old.infolist(), key=lambda one: (".dist-info/" in one.filename, one.filename)):
            if info.is_dir():
                continue
            content = old.read(info)
            if info.filename.endswith(".dist-info/RECORD"):
                content = b"".join(sorted(content.splitlines(keepends=True)))
            even = zipfile.ZipInfo(info.filename, _FIRST_DAY)
            is_program = info.external_attr >> 16 & stat.S_IXUSR
            even.external_attr = (stat.S_IFREG | (0o755 if is_program else 0o644)) << 16
            even.create_system = 3
            new.writestr(even, content)


def _kept(known: Path, home: Path) -> KeptWheel | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        said = json.loads(known.read_bytes())
        path = kept_at(home, said["sha256"])
        if sha256_of(path) == said["sha256"]:
            return KeptWheel(name=said["name"], sha256=said["sha256"], path=path)
    return None


def _keep(wheel: Path, known: Path, home: Path) -> KeptWheel:
    sha256 = sha256_of(wheel)
    place = kept_at(home, sha256)
    make_private(home)
    place.parent.mkdir(parents=True, exist_ok=True)
    own = place.parent / f".{secrets.token_hex(8)}"
    try:
        own.write_bytes(wheel.read_bytes())
        os.replace(own, place)
    finally:
        own.unlink(missing_ok=True)
    faults.point("built wheel kept")
    known.parent.mkdir(parents=True, exist_ok=True)
    write_whole(known, json.dumps({"name": wheel.name, "sha256": sha256}).encode())
    return KeptWheel(name=wheel.name, sha256=sha256, path=place)
