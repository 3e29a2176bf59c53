"""Where packages are looked for, and what an index says of a project: its releases and when they were uploaded.

Indexes speak the simple API (PEP 503, JSON form PEP 691, upload times PEP 700). Credentials come from the URL that the
deployer gave or from netrc, at the time of use; they are never part of a lock, a key or a message.
"""

from __future__ import annotations

import netrc
import os
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from envbuild.errors import IndexUnreachable
from envbuild.model import Notice, parse_instant
from envbuild.redaction import redacted, with_userinfo, without_userinfo
from envbuild.requirement import IndexLine
from envbuild.settings import ModelIndexes, Settings

# Indexes of well-known projects that a model may name without anybody's leave.
KNOWN_HOSTS = ("download.pytorch.org", "data.pyg.org")
_TIMEOUT_SECONDS = 60.0
_CONNECTIONS = 8
# The three forms that indexes offer, in uv's order: some look for just this list.
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexes:
    """The main index, further ones, and places that hold files; as the deployer gave them, credentials included."""

    main: str | None = None
    extra: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    from_model: tuple[str, ...] = ()
    """Those of the ``extra`` and ``find_links`` that the model named."""

    def names(self) -> list[list[str]]:
        """What identifies them in a key: URLs without credentials."""
        return [
            [without_userinfo(url) for url in urls]
            for urls in ([self.main] if self.main else [], self.extra, self.find_links)
        ]

    def logged_in(self) -> Indexes:
        """The same with the credentials of netrc where a URL has none."""
        known = _netrc()
        return Indexes(
            main=None if self.main is None else _logged_in(self.main, known),
            extra=tuple(_logged_in(url, known) for url in self.extra),
            find_links=tuple(_logged_in(url, known) for url in self.find_links),
            from_model=self.from_model,
        )

    def without(self, dead: Collection[str]) -> Indexes:
        """The same without some that the model named."""
        return replace(
            self,
            extra=tuple(url for url in self.extra if url not in dead),
            find_links=tuple(url for url in self.find_links if url not in dead),
            from_model=tuple(url for url in self.from_model if url not in dead),
        )

    def urls(self) -> tuple[str, ...]:
        """All of them."""
        return (*([self.main] if self.main else []), *self.extra, *self.find_links)


def choose(settings: Settings, lines: Iterable[IndexLine], default: str) -> tuple[Indexes, tuple[Notice, ...]]:
    """The indexes to use: the deployer's, and those that the model asks for and the policy lets through.

    :param default: the engine's own default index; a model that names it asks for nothing.
    """
    extra, find_links, notices = list(settings.extra_index_url), list(settings.find_links), list[Notice]()
    from_model: list[str] = []
    for line in lines:
        if line.url.rstrip("/") in {url.rstrip("/") for url in (default, settings.index_url or default, *extra)}:
            continue
        if not _allowed(line.url, settings.model_indexes):
            notices.append(_ignored(line, settings.model_indexes))
            continue
        # What a model calls its main index is one more place to look: the deployer's stays the main one.
        (find_links if line.option == "find-links" else extra).append(line.url)
        from_model.append(line.url)
    indexes = Indexes(
        main=settings.index_url, extra=tuple(extra), find_links=tuple(find_links), from_model=tuple(from_model)
    )
    return indexes, tuple(notices)


def _allowed(url: str, policy: ModelIndexes) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if parts.scheme not in ("http", "https"):
        return False
    return policy == "allow" or (policy == "known" and parts.scheme == "https" and parts.hostname in KNOWN_HOSTS)


def _ignored(line: IndexLine, policy: ModelIndexes) -> Notice:
    message = (
        f"the model asks for packages from {redacted(line.url)}; not used (model indexes: {policy}); "
        "--model-indexes allow, or an index option of yours, changes that"
    )
    return Notice(code="index-ignored", message=message, place=line.place)


def _netrc() -> netrc.netrc | None:
    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        return netrc.netrc(str(path))
    except (OSError, ValueError, netrc.NetrcParseError):
        return None


def _logged_in(url: str, known: netrc.netrc | None) -> str:
    parts = urlsplit(url)
    if known is None or not parts.scheme.startswith("http") or "@" in parts.netloc or not parts.hostname:
        return url
    entry = known.authenticators(parts.hostname)
    return url if entry is None else with_userinfo(url, entry[0] or entry[1] or "", entry[2] or "")


@dataclass(frozen=True, slots=True)
class File:
    """A file of a release: its name, when it was uploaded, and the Pythons that it is for (PEP 440, as written)."""

    name: str
    uploaded: datetime | None = None
    requires_python: str | None = None


@dataclass(frozen=True, slots=True)
class Project:
    """What the index says of one project: for each version, when its first file was uploaded, and its files."""

    name: str
    releases: Mapping[Version, datetime | None]
    files: Mapping[Version, tuple[File, ...]] = field(default_factory=dict)


def read_projects(names: Iterable[str], indexes: Indexes, default: str) -> dict[str, Project]:
    """What the main index says of some projects, asked side by side; those that it does not have are left out.

    :raises IndexUnreachable: it does not answer, or refuses us.
    """
    wanted = sorted(set(names))
    if not wanted:
        return {}
    # Imported here: only some locks ask the index themselves, and this costs more than all the rest of a start.
    import ssl

    import httpx
    import truststore

    base = indexes.logged_in().main or default
    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with (
        httpx.Client(verify=context, timeout=_TIMEOUT_SECONDS, follow_redirects=True) as client,
        ThreadPoolExecutor(_CONNECTIONS) as pool,
    ):
        found = pool.map(lambda name: _read_project(client, base, name), wanted)
        return {project.name: project for project in found if project is not None}


def _read_project(client: Any, base: str, name: str) -> Project | None:
    import httpx

    try:
        answer = client.get(
            f"{base.rstrip('/')}/{canonicalize_name(name)}/",
            headers={"Accept": _ACCEPT},
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise IndexUnreachable(
            f"the index {without_userinfo(base)} does not answer: {redacted(str(error))}",
            hint="is there a network, and is the index's URL right (--index-url)? --offline uses what is kept",
        ) from error
    if answer.status_code == 404:
        return None
    if answer.status_code != 200:
        raise IndexUnreachable(
            f"the index {without_userinfo(base)} answers {answer.status_code} for {name}",
            hint="401 and 403: put the index's credentials into netrc or its URL" if answer.status_code < 500 else None,
        )
    files = _by_version(_files_in(answer, without_userinfo(base), name))
    return Project(name, {version: _first_upload(of_version) for version, of_version in files.items()}, files)


def _files_in(answer: Any, base: str, name: str) -> list[File]:
    if "json" not in answer.headers.get("content-type", ""):
        return _Anchors(answer.text).files
    try:
        return [_file(file) for file in answer.json().get("files", ())]
    except (ValueError, AttributeError, TypeError) as error:
        raise IndexUnreachable(f"what the index {base} answers for {name} is not the simple API's JSON") from error


def _file(content: Mapping[str, Any]) -> File:
    requires = content.get("requires-python")
    uploaded = parse_instant(str(content.get("upload-time")))
    return File(str(content.get("filename")), uploaded, None if requires is None else str(requires))


class _Anchors(HTMLParser):
    """The files of an HTML page (PEP 503); some indexes put the upload time into an attribute of the link."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.files: list[File] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "a" and found.get("href"):
            name = unquote(urlsplit(found["href"] or "").path.rpartition("/")[2])
            uploaded = parse_instant(found.get("data-upload-time") or "")
            self.files.append(File(name, uploaded, found.get("data-requires-python")))


def _by_version(files: Iterable[File]) -> dict[Version, tuple[File, ...]]:
    found: dict[Version, list[File]] = {}
    for file in files:
        if (version := _version(file.name)) is not None:
            found.setdefault(version, []).append(file)
    return {version: tuple(of_version) for version, of_version in found.items()}


def _first_upload(files: Iterable[File]) -> datetime | None:
    return min((file.uploaded for file in files if file.uploaded is not None), default=None)


def _version(file_name: str) -> Version | None:
    try:
        if file_name.endswith(".whl"):
            return parse_wheel_filename(file_name)[1]
        return parse_sdist_filename(file_name)[1]
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None
