"""Verification: whether an environment is still as it was built, down to the last byte."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.version import InvalidVersion, Version

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
    installed = list(distributions(place))
    return [
        *_against_lock(place, marker, installed),
        *_against_records(manifest, installed),
        *differences(place, manifest),
    ]


def _manifest(place: Path, marker: Marker) -> Manifest | None:
    try:
        content = (place / MANIFEST).read_bytes()
        return Manifest.from_bytes(content) if digest_of(content) == marker.manifest else None
    except (FileNotFoundError, ValueError):
        return None


def _against_lock(place: Path, marker: Marker, found: Iterable[Distribution]) -> Iterator[Finding]:
    """What is installed, as the disk says now, against the lock."""
    lock = kept_lock(place)
    if lock is None or lock.hash != marker.lock_hash:
        yield Finding("changed", PYLOCK, "is not the lock that the environment was built from")
        return
    installed = {one.name: one.version for one in found}
    for package in lock.packages:
        version = installed.pop(package.name, None)
        if version is None:
            yield Finding("missing", package.name, "is not installed; the lock has it")
        elif package.version is not None and not _same(version, package.version):
            yield Finding("upgraded", package.name, f"is {version} and is locked as {package.version}")
    for name, version in installed.items():
        yield Finding("added", name, f"{version} is installed; the lock does not have it")


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
