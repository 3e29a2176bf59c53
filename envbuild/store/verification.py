"""Verification: whether an environment is still as it was built, down to the last byte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.version import InvalidVersion, Version

from envbuild.conda.installed import FOLDER, InstalledPackage, installed
from envbuild.lock import Lock
from envbuild.store.lockfile import PYLOCK, kept_lock
from envbuild.store.manifest import MANIFEST, Finding, Manifest, differences, digest_of
from envbuild.store.marker import MARKER, Marker, read_marker
from envbuild.store.record import Distribution, distributions


def findings(place: Path) -> list[Finding]:
    """What is wrong with the environment at a place: its files against the manifest, that against RECORD and lock.

    :raises OSError: it cannot be read.
    """
    marker = read_marker(place / MARKER)
    if marker is None:
        return [Finding("missing", MARKER, "is missing or cannot be read: the environment is not complete")]
    manifest = _manifest(place, marker)
    if manifest is None:
        return [Finding("changed", MANIFEST, "is not the one that the marker names")]
    try:
        of_conda = list(installed(place))
    except ValueError as error:
        return [Finding("changed", FOLDER, str(error)), *differences(place, manifest)]
    lock = kept_lock(place)
    brought = {name for package in of_conda for name in package.distributions}
    locked = set() if lock is None else {package.name for package in lock.packages}
    found = [one for one in distributions(place) if one.name not in brought or one.name in locked]
    return [
        *_against_lock(lock, marker, found, of_conda),
        *_against_records(manifest, found),
        *_against_conda_meta(manifest, of_conda),
        *differences(place, manifest),
    ]


def _manifest(place: Path, marker: Marker) -> Manifest | None:
    try:
        content = (place / MANIFEST).read_bytes()
        return Manifest.from_bytes(content) if digest_of(content) == marker.manifest else None
    except (FileNotFoundError, ValueError):
        return None


def _against_lock(
    lock: Lock | None, marker: Marker, found: Iterable[Distribution], of_conda: Iterable[InstalledPackage]
) -> Iterator[Finding]:
    """What is installed, as the disk says now, against the lock."""
    if lock is None or lock.hash != marker.lock_hash:
        yield Finding("changed", PYLOCK, "is not the lock that the environment was built from")
        return
    there = {one.name: one.version for one in found}
    for package in lock.packages:
        version = there.pop(package.name, None)
        if version is None:
            yield Finding("missing", package.name, "is not installed; the lock has it")
        elif package.version is not None and not _same(version, package.version):
            yield Finding("upgraded", package.name, f"is {version} and is locked as {package.version}")
    for name, version in there.items():
        yield Finding("added", name, f"{version} is installed; the lock does not have it")
    locked = {one.text for one in (() if lock.conda is None else lock.conda.packages)}
    linked = {one.text for one in of_conda}
    yield from (Finding("missing", text, "is no conda package of it; the lock has it") for text in locked - linked)
    yield from (Finding("added", text, "is a conda package; the lock does not have it") for text in linked - locked)


def _same(one: str, other: str) -> bool:
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other


def _against_records(manifest: Manifest, found: Iterable[Distribution]) -> Iterator[Finding]:
    """The manifest against what the wheels say of their files; launchers are made here, and no wheel knows them."""
    for distribution in found:
        for path, digest in distribution.files.items():
            known = manifest.files.get(path)
            if known is not None and digest and known.sha256 != digest and path not in manifest.differing:
                yield Finding("changed", path, f"is not what the RECORD of {distribution.name} says")


def _against_conda_meta(manifest: Manifest, of_conda: Iterable[InstalledPackage]) -> Iterator[Finding]:
    """The manifest against what conda's packages say of their files."""
    for package in of_conda:
        for path in overwritten(manifest, package):
            if path not in manifest.differing:
                yield Finding("changed", path, f"is not what {package.name} says in {FOLDER}")


def overwritten(manifest: Manifest, package: InstalledPackage) -> Iterator[str]:
    """The files of a conda package that are others' now: byte code of ours, a script that pip's half brought too."""
    for path, digest in package.files.items():
        known = manifest.files.get(path)
        if known is None or (digest and known.link is None and known.sha256 != digest):
            yield path
