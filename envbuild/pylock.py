"""PEP 751: a lock as the standard's ``pylock.toml``, ours written, ours and other tools' read.

Of a foreign lock the file for the target is chosen as PEP 751 says. Apart from :mod:`envbuild.lock`, since a lock that
the store keeps is read without the standard's checks: :func:`envbuild.lock.read_kept`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.pylock import (
    Package,
    PackageArchive,
    PackageDirectory,
    PackageSdist,
    PackageVcs,
    PackageWheel,
    Pylock,
    PylockSelectError,
    PylockUnsupportedVersionError,
    PylockValidationError,
    is_valid_pylock_path,
)
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from envbuild.errors import LockInvalid, LockStale, Place
from envbuild.lock import (
    TABLE_VERSION,
    Lock,
    LockedPackage,
    build_from,
    by_name,
    check_target,
    conda_from,
    origin_from,
    safe,
    table_of,
)
from envbuild.redaction import without_userinfo
from envbuild.target import Target

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_MAX_BYTES = 50 * 2**20


def write_lock(lock: Lock) -> str:
    """The text of a lock: the same lock gives the same bytes."""
    import tomli_w

    pylock = Pylock(
        lock_version=Version("1.0"),
        requires_python=SpecifierSet(f"=={'.'.join(lock.python.split('.')[:2])}.*"),
        created_by="envbuild",
        packages=[_to_package(package) for package in by_name(lock.packages)],
        tool={"envbuild": table_of(lock)},
    )
    pylock.validate()
    return tomli_w.dumps(dict(pylock.to_dict()), multiline_strings=False)


def read_lock_file(path: Path, python: str, target: Target) -> Lock:
    """The lock in a file, ours or another tool's, for one Python and target.

    :param python: the Python demanded, for locks that don't say it themselves.
    :raises LockInvalid: it is no ``pylock.toml``, or names packages without files or hashes.
    :raises LockStale: it is for another Python or another target.
    """
    if not is_valid_pylock_path(path):
        raise LockInvalid(
            f"{path.name} is no name for a lock", hint="PEP 751 calls them pylock.toml or pylock.NAME.toml"
        )
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise LockInvalid("the file is too large for a lock", place=Place(str(path)))
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LockInvalid(f"the lock cannot be read: {error}", place=Place(str(path))) from error
    return read_lock(text, str(path), python, target)


def read_lock(text: str, name: str, python: str, target: Target) -> Lock:
    """The lock in a text; see :func:`read_lock_file`."""
    place = Place(name)
    try:
        pylock = Pylock.from_dict(tomllib.loads(text))
    except (ValueError, RecursionError, PylockValidationError, PylockUnsupportedVersionError) as error:
        raise LockInvalid(f"this is no valid pylock.toml: {error}", place=place) from error
    table = (pylock.tool or {}).get("envbuild")
    try:
        if isinstance(table, Mapping):
            return _ours(pylock, table, target, place)
        return _foreign(pylock, python, target)
    except PylockSelectError as error:
        raise LockStale(f"the lock is not for Python {python} on {target}: {error}", place=place) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LockInvalid(f"the lock's table [tool.envbuild] is damaged: {error!r}", place=place) from error
    except LockInvalid as error:
        raise LockInvalid(error.message, place=place, hint=error.hint) from error


def _ours(pylock: Pylock, table: Mapping[str, Any], target: Target, place: Place) -> Lock:
    if table["version"] != TABLE_VERSION:
        raise LockInvalid(f"the lock's table has version {table['version']}, this envbuild reads {TABLE_VERSION}")
    lock_target = Target(str(table["python-tag"]), str(table["platform"]))
    stated = Lock(python=str(table["python"]), target=lock_target, packages=(), origin=origin_from(table))
    check_target(stated, target, place)
    lock = replace(
        _foreign(pylock, stated.python, lock_target),
        build=tuple(build_from(entry) for entry in table.get("build", ())),
        conda=conda_from(table),
        origin=stated.origin,
    )
    if table.get("hash") not in (None, lock.hash):
        raise LockInvalid(
            "the lock's contents are not those that its hash was made of",
            hint="it was edited by hand; lock again, or remove the line `hash` if that was meant",
        )
    return lock


def _foreign(pylock: Pylock, python: str, target: Target) -> Lock:
    chosen = pylock.select(environment=target.marker_environment(python), tags=target.tags())
    return Lock(python=python, target=target, packages=by_name(safe(_from_package(*pair)) for pair in chosen))


def _to_package(package: LockedPackage) -> Package:
    own: dict[str, Any] = {}
    if package.extras:
        own["extras"] = sorted(package.extras)
    if package.kind == "directory":
        own["digest"] = package.sha256
    return Package(
        name=canonicalize_name(package.name),
        version=None if package.version is None else Version(package.version),
        tool={"envbuild": own} if own else None,
        dependencies=[{"name": name} for name in sorted(package.dependencies)] or None,
        **_source(package),
    )


def _source(package: LockedPackage) -> dict[str, Any]:
    url = None if package.url is None else without_userinfo(package.url)
    hashes = {"sha256": package.sha256}
    if package.kind in ("wheel", "sdist"):
        common: dict[str, Any] = {"name": package.file_name, "url": url, "path": package.path, "hashes": hashes}
        common |= {"upload_time": package.uploaded, "size": package.size}
        if package.kind == "wheel":
            return {"wheels": [PackageWheel(**common)]}
        return {"sdist": PackageSdist(**common)}
    if package.kind == "vcs":
        return {
            "vcs": PackageVcs(type="git", url=url, commit_id=package.commit or "", subdirectory=package.subdirectory)
        }
    if package.kind == "archive":
        return {"archive": PackageArchive(url=url, path=package.path, hashes=hashes, subdirectory=package.subdirectory)}
    return {"directory": PackageDirectory(path=package.path or ".", editable=package.editable or None)}


def _from_package(
    package: Package, source: PackageVcs | PackageDirectory | PackageArchive | PackageWheel | PackageSdist
) -> LockedPackage:
    own = (package.tool or {}).get("envbuild", {})
    common: dict[str, Any] = {
        "name": str(package.name),
        "version": None if package.version is None else str(package.version),
        "extras": tuple(own.get("extras", ())),
        "dependencies": tuple(str(below["name"]) for below in package.dependencies or ()),
    }
    if isinstance(source, PackageVcs):
        where = source.url or source.path
        return LockedPackage(
            kind="vcs", sha256="", url=where, commit=source.commit_id, subdirectory=source.subdirectory, **common
        )
    if isinstance(source, PackageDirectory):
        digest = str(own.get("digest", ""))
        return LockedPackage(
            kind="directory", sha256=digest, path=source.path, editable=bool(source.editable), **common
        )
    sha256 = source.hashes.get("sha256")
    if not sha256:
        raise LockInvalid(f"the file of {package.name} has no sha256", hint="lock again with hashes")
    if isinstance(source, PackageArchive):
        return LockedPackage(
            kind="archive", sha256=sha256, url=source.url, path=source.path, subdirectory=source.subdirectory, **common
        )
    if package.version is None:
        raise LockInvalid(f"{package.name} has no version")
    return LockedPackage(
        kind="wheel" if isinstance(source, PackageWheel) else "sdist",
        sha256=sha256,
        url=source.url,
        path=source.path,
        file_name=source.name or _file_name(source.url or source.path or ""),
        size=source.size,
        uploaded=source.upload_time,
        **common,
    )


def _file_name(location: str) -> str:
    return PurePosixPath(unquote(urlsplit(location).path)).name
