"""Curated environments by name and version, in a folder or at a URL that the setting ``environments`` points to.

``NAME/VERSION.yaml`` is one. A version is never changed once it is published: what was fetched is kept in the store, for
calls without a network, and another content under the same name and version is an error.
"""

from __future__ import annotations

import difflib
import hashlib
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from packaging.version import InvalidVersion, Version

from envbuild import document, web
from envbuild.errors import (
    EnvironmentUnknown,
    EnvironmentUnreachable,
    ModelUnreadable,
    OverrideInvalid,
    UsageError,
)
from envbuild.indexes import Indexes
from envbuild.override.file import OverrideFile, parse_environment, read_environment
from envbuild.override.values import NAME, VERSION, is_path
from envbuild.redaction import redacted, without_userinfo
from envbuild.settings import Settings
from envbuild.store import Store
from envbuild.store.writing import write_whole

_TIMEOUT_SECONDS = 30.0
_WHOLE_SECONDS = 120.0
_VERSIONS = "versions"
_SHOWN = 20


def find(wanted: str, settings: Settings) -> OverrideFile:
    """A curated environment.

    :param wanted: ``NAME:VERSION``; ``NAME`` for its newest version; or a path: it has a ``/`` or ends in ``.yaml``.
    :raises UsageError: it is no name, or nothing says where named ones lie.
    :raises EnvironmentUnknown: there is none of that name or version.
    :raises EnvironmentUnreachable: it must be fetched, and that failed.
    :raises OverrideInvalid: its file is not what it must be, or was changed after it was published.
    :raises StoreError: what was fetched cannot be kept.
    """
    if is_path(wanted):
        return read_environment(_path(wanted))
    name, version = _named(wanted)
    place = settings.environments
    if place is None:
        raise UsageError(
            f"--environment is {wanted}, and nothing says where curated environments lie",
            hint="set ENVBUILD_ENVIRONMENTS to their folder or URL; the path of a file has a / or ends in .yaml",
        )
    if "://" in place:
        return _Published(place, settings).find(name, version)
    return _in_folder(_path(place), name, version)


def _path(text: str) -> Path:
    if "://" in text:
        raise UsageError(
            f"--environment is {redacted(text)}, an address",
            hint="give a name, and set ENVBUILD_ENVIRONMENTS to the URL that its folder lies at",
        )
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise UsageError(f"{text!r} is no path: {error}") from error


def _named(wanted: str) -> tuple[str, str | None]:
    name, colon, version = wanted.partition(":")
    if NAME.fullmatch(name) is None or (colon and VERSION.fullmatch(version) is None):
        raise UsageError(
            f"--environment is {wanted[:120]!r}, which is no name of a curated environment",
            hint="write NAME or NAME:VERSION, such as sklearn-lts:2024.1, or the path of a file",
        )
    return name, version if colon else None


def newest(versions: Iterable[str]) -> list[str]:
    """Versions, the newest first: by PEP 440, then those that are none by their text; pre-releases come last."""
    return sorted(versions, key=_rank, reverse=True)


def _rank(text: str) -> tuple[int, Version, str]:
    try:
        version = Version(text)
    except InvalidVersion:
        return 1, Version("0"), text
    return 0 if version.is_prerelease else 2, version, text


def _check_named(found: OverrideFile, name: str, version: str) -> OverrideFile:
    """Refuse a file that says that it is another one than it lies as."""
    if (found.name, found.version) != (name, version):
        raise OverrideInvalid(
            f"the file says that it is {found.name}:{found.version}, and lies where {name}:{version} is",
            place=found.places["name" if found.name != name else "version"],
            hint="name and version are those of its path: NAME/VERSION.yaml",
        )
    return found


def _listed(names: Iterable[str]) -> str:
    known = list(names)
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"there are: {', '.join(known[:_SHOWN])}{more}" if known else "there are none"


# In a folder


def _in_folder(folder: Path, name: str, version: str | None) -> OverrideFile:
    try:
        names = sorted(one.name for one in folder.iterdir() if NAME.fullmatch(one.name) and one.is_dir())
        versions = _versions_in(folder / name) if name in names else []
    except OSError as error:
        raise UsageError(
            f"the curated environments in {folder} cannot be read: {error.strerror}",
            hint="set ENVBUILD_ENVIRONMENTS to the folder or URL that they lie in",
        ) from error
    if not versions:
        near = "".join(f"is {one} meant? " for one in difflib.get_close_matches(name, names, 1) if one != name)
        raise EnvironmentUnknown(f"there is no curated environment {name} in {folder}", hint=near + _listed(names))
    if version is not None and version not in versions:
        raise EnvironmentUnknown(
            f"there is no version {version} of the curated environment {name} in {folder}", hint=_listed(versions)
        )
    version = version or versions[0]
    path = folder / name / f"{version}.yaml"
    if not path.resolve().is_relative_to(folder.resolve()):
        raise OverrideInvalid(f"{path} leads out of {folder}", hint="put the file itself there")
    return _check_named(read_environment(path), name, version)


def _versions_in(folder: Path) -> list[str]:
    files = (path for path in folder.iterdir() if path.suffix == ".yaml" and path.is_file())
    return newest(path.stem for path in files if VERSION.fullmatch(path.stem) and path.stem != _VERSIONS)


# At a URL


class _Published:
    """Curated environments at a URL, and the copies of them that are kept."""

    def __init__(self, place: str, settings: Settings) -> None:
        self.base = _checked_base(place)
        self.shown = without_userinfo(self.base)
        self.offline = settings.offline
        self.store = Store(settings)

    def find(self, name: str, version: str | None) -> OverrideFile:
        version = version or self.newest(name)
        url = f"{self.base}/{name}/{quote(version, safe='')}.yaml"
        path = self.store.home / "environments" / f"{_sha256(without_userinfo(url).encode())}.yaml"
        before = self.kept(path)
        data = self.fetched(url, f"{name}:{version}") if not self.offline else before
        if data is None:
            raise EnvironmentUnreachable(
                f"--offline forbids to fetch the curated environment {name}:{version} of {self.shown}, and it is not kept",
                hint="lock once without --offline: what is fetched is kept",
            )
        if before is not None and before != data:
            raise OverrideInvalid(
                f"{without_userinfo(url)} has changed since it was fetched: its sha256 is {_sha256(data)}, "
                f"and was {_sha256(before)}",
                hint="a version stays as it was published: publish the change as a new version, "
                f"or remove {path} to take this one",
            )
        found = _check_named(parse_environment(data, url), name, version)
        if before is None:
            self.keep(path, data)
        return found

    def fetched(self, url: str, named: str) -> bytes:
        """What lies at a URL now."""
        data = _fetch(url)
        if data is None:
            raise EnvironmentUnknown(
                f"there is no curated environment {named} at {without_userinfo(url)}",
                hint="are name and version right, and ENVBUILD_ENVIRONMENTS?",
            )
        return data

    def newest(self, name: str) -> str:
        """The newest version that is published."""
        if self.offline:
            raise EnvironmentUnreachable(
                f"with --offline nothing says which version of {name} is the newest at {self.shown}",
                hint=f"name the version: --environment {name}:VERSION",
            )
        url = f"{self.base}/{name}/{_VERSIONS}.yaml"
        data = _fetch(url)
        if data is None:
            raise EnvironmentUnknown(
                f"nothing at {without_userinfo(url)} lists the versions of a curated environment {name}",
                hint=f"name the version: --environment {name}:VERSION; is the name right, and ENVBUILD_ENVIRONMENTS?",
            )
        return newest(_read_versions(data, without_userinfo(url)))[0]

    def kept(self, path: Path) -> bytes | None:
        with self.store.explained():
            return path.read_bytes() if path.exists() else None

    def keep(self, path: Path, data: bytes) -> None:
        with self.store.explained(), self.store.open_to_its_group():
            self.store.make(path.parent)
            write_whole(path, data, self.store.file_mode)


def _checked_base(place: str) -> str:
    hint = "set ENVBUILD_ENVIRONMENTS to a folder, or to a URL such as https://host/environments"
    try:
        parts = urlsplit(place)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port)
    except ValueError as error:
        # The address itself may hold a password.
        raise UsageError(f"ENVBUILD_ENVIRONMENTS is no address: {error}", hint=hint) from None
    if not usable:
        raise UsageError(f"ENVBUILD_ENVIRONMENTS is {redacted(place)}, neither a folder nor an http URL", hint=hint)
    if parts.query or parts.fragment:
        raise UsageError("ENVBUILD_ENVIRONMENTS has a part after ? or #, which no file below it can have", hint=hint)
    return place.rstrip("/")


def _read_versions(data: bytes, url: str) -> list[str]:
    try:
        root = document.parse(data.decode("utf-8-sig"), url)
    except UnicodeDecodeError as error:
        raise OverrideInvalid(f"{url} is not UTF-8 text") from error
    except ModelUnreadable as error:
        raise OverrideInvalid(error.message, place=error.place, hint=error.hint) from error
    for element in root.elements():
        if element.kind != "scalar" or VERSION.fullmatch(element.text or "") is None:
            raise OverrideInvalid("this is no version of a curated environment", place=element.place)
    if not root.elements():
        raise OverrideInvalid("the file lists no versions", place=root.place, hint="write a list: - 2024.1")
    return [element.text or "" for element in root.elements()]


def _fetch(url: str) -> bytes | None:
    """What lies at a URL; ``None`` where nothing does.

    :raises EnvironmentUnreachable: it does not answer, or refuses us.
    """
    import httpx  # only who has curated environments at a URL needs it

    shown = without_userinfo(url)
    login = urlsplit(Indexes(main=url).logged_in().main or url)
    auth = (unquote(login.username or ""), unquote(login.password or "")) if login.username or login.password else None
    try:
        with (
            web.client(timeout=_TIMEOUT_SECONDS, follow_redirects=True) as client,
            # Credentials go by the header, which is left out where a redirect leads to another host.
            client.stream("GET", shown, auth=auth, headers={"Accept-Encoding": "identity"}) as answer,
        ):
            return _content(answer, shown)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise EnvironmentUnreachable(
            f"{shown} does not answer: {redacted(str(error))}",
            hint="is there a network, and is ENVBUILD_ENVIRONMENTS right? With --offline NAME:VERSION is taken from what is kept",
        ) from error


def _content(answer: Any, shown: str) -> bytes | None:
    if answer.status_code in (404, 410):
        return None
    if answer.status_code != 200:
        refused = answer.status_code in (401, 403)
        raise EnvironmentUnreachable(
            f"{shown} answers {answer.status_code}",
            hint="put its credentials into netrc or the URL" if refused else None,
        )
    data, until = bytearray(), time.monotonic() + _WHOLE_SECONDS
    for chunk in answer.iter_bytes():
        data += chunk
        if len(data) > document.MAX_BYTES:
            raise OverrideInvalid(
                f"{shown} has more than {document.MAX_BYTES:,} bytes; a file of this kind has a few thousand"
            )
        if time.monotonic() > until:
            raise EnvironmentUnreachable(f"{shown} took more than {_WHOLE_SECONDS:.0f} seconds")
    return bytes(data)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
