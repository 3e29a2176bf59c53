"""What an index says of a project: its releases, their files, and when they were uploaded.

Indexes speak the simple API (PEP 503, JSON form PEP 691, upload times PEP 700).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from html.parser import HTMLParser
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

from envbuild import web
from envbuild.errors import IndexUnreachable
from envbuild.indexes import Indexes
from envbuild.model import parse_instant
from envbuild.redaction import redacted, without_userinfo

_TIMEOUT_SECONDS = 60.0
_CONNECTIONS = 8
# The three forms that indexes offer, in uv's order: some look for just this list.
_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01"


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


def read_projects(
    names: Iterable[str], indexes: Indexes, default: str, *, seconds: float = _TIMEOUT_SECONDS
) -> dict[str, Project]:
    """What the main index says of some projects, asked side by side; those that it does not have are left out.

    :raises IndexUnreachable: it does not answer, or refuses us.
    """
    wanted = sorted(set(names))
    if not wanted:
        return {}
    base = indexes.logged_in().main or default
    with (
        web.client(timeout=seconds, follow_redirects=True) as client,
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
