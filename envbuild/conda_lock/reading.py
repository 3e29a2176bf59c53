"""A ``conda-lock.yml`` as a lock: ours, or what of another tool's is for a target."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from envbuild import document
from envbuild import target as targets
from envbuild.conda import channels
from envbuild.conda.machine import glibc_of, needing_newer_glibc, subdir_of
from envbuild.conda.package import CondaHalf, CondaPackage
from envbuild.conda_lock import OWN, OWN_HASH, VERSION, channel_packages, index_packages
from envbuild.conda_lock.entry import MAIN, Entry, Manager, read_entry, text_of
from envbuild.document import Node
from envbuild.errors import LockInvalid, LockStale, ModelUnreadable, Place
from envbuild.lock import (
    TABLE_VERSION,
    Lock,
    LockedPackage,
    build_from,
    by_name,
    check_target,
    origin_from,
)
from envbuild.redaction import without_credentials
from envbuild.target import Target

# A package has some 40 for each platform; as many as a file of the size that is read can hold.
_MAX_NODES = 500_000
_PYTHON = re.compile(r"(\d+)\.(\d+)(\.\d+)?")


def read_conda_lock_file(path: Path, target: Target | None) -> Lock:
    """The lock in a file, ours or another tool's.

    :param target: what it is wanted for; ``None``: whatever it was made for, another tool's for this machine.
    :raises LockInvalid: it is no ``conda-lock.yml`` of version 1, or names packages without sha256.
    :raises LockStale: it is for another platform or Python.
    """
    try:
        text = document.read_text(path)
    except ModelUnreadable as error:
        raise LockInvalid(f"the lock cannot be read: {error.message}", place=error.place, hint=error.hint) from error
    return read_conda_lock(text, str(path), target)


def read_conda_lock(text: str, name: str, target: Target | None) -> Lock:
    """The lock in a text; see :func:`read_conda_lock_file`."""
    try:
        root = document.parse(text, name, _MAX_NODES)
    except ModelUnreadable as error:
        raise LockInvalid(f"this is no conda-lock.yml: {error.message}", place=error.place) from error
    try:
        _check_form(root)
        own = root.get("metadata", "custom_metadata", OWN)
        return _foreign(root, target) if own is None else _ours(root, own, target)
    except LockInvalid as error:
        raise LockInvalid(error.message, place=error.place or root.place, hint=error.hint) from error


def _check_form(root: Node) -> None:
    version = root.get("version")
    if version is None:
        raise LockInvalid(
            "this is no conda-lock.yml: it has no version",
            hint="conda-lock makes one of an environment.yml, envbuild lock one of a model",
        )
    packages = root.get("package")
    if version.text != VERSION or packages is None:
        raise LockInvalid(
            f"this is no conda-lock.yml of version {VERSION}, or it has no list `package`",
            place=version.place,
            hint="conda-lock writes version 1; locks of pixi and of conda's own have other forms",
        )
    if (metadata := root.get("metadata")) is None or metadata.kind != "mapping":
        raise LockInvalid("this conda-lock.yml has no metadata", place=root.place)


def _ours(root: Node, own: Node, target: Target | None) -> Lock:
    try:
        lock = _by_table(root, json.loads(own.text or ""), target)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise LockInvalid(f"the lock's own part, {OWN}, is damaged: {error!r}", place=own.place) from error
    stated = root.get("metadata", "custom_metadata", OWN_HASH)
    if stated is not None and stated.text != lock.hash:
        raise LockInvalid(
            "the lock's contents are not those that its hash was made of",
            place=stated.place,
            hint=f"it was edited, or updated by another tool; lock again, or remove the line {OWN_HASH} if that was meant",
        )
    return lock


def _by_table(root: Node, table: Mapping[str, Any], target: Target | None) -> Lock:
    if table["version"] != TABLE_VERSION:
        raise LockInvalid(f"the lock's own part has version {table['version']}, this envbuild reads {TABLE_VERSION}")
    made_for = Target(str(table["python-tag"]), str(table["platform"]))
    stated = Lock(python=str(table["python"]), target=made_for, packages=(), origin=origin_from(table))
    check_target(stated, target or made_for, root.place)
    subdir = subdir_of(made_for)
    entries, of_channels, of_index = _entries(root, subdir), table["conda-packages"], table["pip-packages"]
    half = CondaHalf(
        packages=tuple(
            channel_packages.package_of(one, of_channels.get(one.name, {})) for one in _of(entries, "conda")
        ),
        channels=_channels(root),
        subdir=subdir,
        virtual_packages=tuple(
            (str(name), str(version), str(build)) for name, version, build in table["virtual-packages"]
        ),
        variables=tuple(sorted((str(name), str(value)) for name, value in table["variables"].items())),
        link_scripts=bool(table["link-scripts"]),
    )
    packages = (index_packages.package_of(one, of_index.get(one.name, {})) for one in _of(entries, "pip"))
    builds = tuple(build_from(entry) for entry in table.get("build", ()))
    return replace(stated, packages=by_name(packages), build=builds, conda=half)


def _foreign(root: Node, target: Target | None) -> Lock:
    here = target or targets.here("3.8")
    subdir = subdir_of(here)
    platforms = _platforms(root)
    if subdir not in platforms:
        raise LockStale(
            f"the lock is for {', '.join(platforms) or 'no platform'}; {subdir} is wanted",
            place=root.place,
            hint=f"lock with --platform {subdir} as well",
        )
    entries = _entries(root, subdir)
    packages = tuple(map(channel_packages.foreign_package_of, _of(entries, "conda")))
    python, wanted = _python(packages, root.place, here)
    _check_glibc(packages, here, root.place)
    return Lock(
        python=python,
        target=wanted,
        packages=by_name(_of_index(_of(entries, "pip"), wanted)),
        conda=CondaHalf(packages=packages, channels=_channels(root), subdir=subdir),
    )


def _of_index(entries: Iterable[Entry], target: Target) -> Iterable[LockedPackage]:
    tags = frozenset(target.tags())
    return (index_packages.foreign_package_of(entry, target, tags) for entry in entries)


def _python(packages: Iterable[CondaPackage], place: Place, here: Target) -> tuple[str, Target]:
    found = next((package for package in packages if package.name == "python"), None)
    if found is None:
        raise LockInvalid(
            "the lock has no python among its conda packages", place=place, hint="add python to what is locked"
        )
    match = _PYTHON.fullmatch(found.version)
    if match is None or "pypy" in found.build:
        raise LockInvalid(f"the lock's Python, {found.version} ({found.build}), is no release of CPython", place=place)
    return found.version, Target(f"cp{match[1]}{match[2]}", here.platform)


def _check_glibc(packages: Iterable[CondaPackage], target: Target, place: Place) -> None:
    """Refuse what needs a newer C library: nothing else of virtual packages is held against a lock."""
    for package, needed in needing_newer_glibc(packages, glibc_of(target) or "0"):
        raise LockStale(
            f"{package.name} {package.version} needs glibc {needed}, and {target} is wanted",
            place=place,
            hint="lock again for an older glibc",
        )


def _entries(root: Node, subdir: str) -> tuple[Entry, ...]:
    """The packages for a platform that are always installed, conda's own words for the machine left out."""
    found: dict[tuple[Manager, str], Entry] = {}
    for node in _elements(root, "package"):
        if text_of(node, "platform") != subdir or text_of(node, "category", MAIN) != MAIN:
            continue
        entry = read_entry(node)
        if entry.manager == "conda" and entry.name.startswith("__"):
            continue
        if (entry.manager, entry.name) in found:
            entry.refuse("is in the lock twice")
        found[entry.manager, entry.name] = entry
    return tuple(sorted(found.values(), key=lambda entry: entry.name))


def _of(entries: Iterable[Entry], manager: Manager) -> tuple[Entry, ...]:
    return tuple(entry for entry in entries if entry.manager == manager)


def _platforms(root: Node) -> tuple[str, ...]:
    """Those that it says it is for, and those that its packages are for."""
    said = [node.text or "" for node in _elements(root.get("metadata") or root, "platforms")]
    return tuple(dict.fromkeys([*said, *(text_of(node, "platform") for node in _elements(root, "package"))]))


def _channels(root: Node) -> tuple[str, ...]:
    said = [text_of(node, "url") for node in _elements(root.get("metadata") or root, "channels")]
    return channels.urls_of(channels.channels_of(map(without_credentials, said), (), {}))


def _elements(node: Node, key: str) -> tuple[Node, ...]:
    below = node.get(key)
    if below is not None and below.kind != "sequence":
        raise LockInvalid(f"{key} is no list", place=below.place)
    return () if below is None else below.elements()


def is_ours(path: Path) -> bool:
    """Whether envbuild made a file; what cannot be read is not ours: whoever reads it as a lock says why."""
    try:
        root = document.parse(document.read_text(path), str(path), _MAX_NODES)
    except ModelUnreadable:
        return False
    return root.get("metadata", "custom_metadata", OWN) is not None
