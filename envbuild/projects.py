"""What an index says of a project: its releases, their files, and when they were uploaded.

Indexes speak the simple API (PEP 503, JSON form PEP 691, upload times PEP 700).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

from packaging.specifiers import InvalidSpecifier, SpecifierSet
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
from envbuild.settings import IndexStrategy

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
    url: str = ""
    """Where it lies, without credentials."""
    hashes: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Digests in hexadecimal by the algorithm's name."""
    size: int | None = None
    """Bytes."""
    yanked: str | None = None
    """Why it was taken back (PEP 592), maybe in no words; ``None``: it was not."""
    metadata: Mapping[str, str] | None = field(default=None, hash=False)
    """The digests of its metadata, which lies beside it (PEP 658); ``None``: it does not."""

    @property
    def version(self) -> Version | None:
        """Of which release it is; ``None`` where its name is not that of a wheel or an sdist of today."""
        return _version(self.name)

    def may_run_on(self, python: str) -> bool:
        """Whether it is for a Python, given in full; a condition that cannot be read is none."""
        try:
            return self.requires_python is None or SpecifierSet(self.requires_python).contains(python, prereleases=True)
        except InvalidSpecifier:
            return True

    @property
    def sha256(self) -> str | None:
        """In hexadecimal; ``None`` where the index states none."""
        return self.hashes.get("sha256")


@dataclass(frozen=True, slots=True)
class Project:
    """What the index says of one project: for each version, when its first file was uploaded, and its files."""

    name: str
    releases: Mapping[Version, datetime | None]
    files: Mapping[Version, tuple[File, ...]] = field(default_factory=dict)


def read_projects(
    names: Iterable[str], indexes: Indexes, default: str, *, seconds: float = _TIMEOUT_SECONDS
) -> dict[str, Project]:
    """What the deployer's indexes say of some projects, asked side by side; those that none has are left out.

    Of several indexes the first that has a project speaks for it, as it does for resolvers; with the strategy
    ``best-match`` all do.

    :raises IndexUnreachable: one does not answer, or refuses us.
    """
    wanted = sorted(set(names))
    if not wanted:
        return {}
    known = indexes.logged_in()
    bases = known.own(default)
    with (
        web.client(known.ca, known.client_cert, timeout=seconds, follow_redirects=True) as client,
        ThreadPoolExecutor(_CONNECTIONS) as pool,
    ):
        found = pool.map(lambda name: _read_project(client, bases, name, known.strategy), wanted)
        return {project.name: project for project in found if project is not None}


def _read_project(client: Any, bases: Iterable[str], name: str, strategy: IndexStrategy) -> Project | None:
    listed: list[File] | None = None
    for base in bases:
        found = read_files(client, base, name)
        if found is not None:
            listed = [*(listed or ()), *found]
            if strategy == "first-index":
                break
    if listed is None:
        return None
    files = _by_version(listed)
    return Project(name, {version: _first_upload(of_version) for version, of_version in files.items()}, files)


def read_files(client: Any, base: str, name: str) -> list[File] | None:
    """All files that an index lists of a project, in its order; ``None``: it does not have the project.

    :param client: an ``httpx.Client``.
    :param base: the index's URL, with credentials where it needs some.
    :raises IndexUnreachable: it does not answer, refuses us, or says what nobody understands.
    """
    return read_page(client, base, name, f"{base.rstrip('/')}/{canonicalize_name(name)}/")


def read_page(client: Any, base: str, name: str, url: str) -> list[File] | None:
    """All files that a page lists; ``None``: there is no such page.

    :param base: whose page it is, for messages; ``name``: what it is about.
    :raises IndexUnreachable: as :func:`read_files` has it.
    """
    import httpx

    try:
        answer = client.get(url, headers={"Accept": _ACCEPT})
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
    return _files_in(answer, without_userinfo(base), name)


def _files_in(answer: Any, base: str, name: str) -> list[File]:
    # Where it was found in the end: what a page names lies relative to that.
    page = without_userinfo(str(answer.url))
    if "json" not in answer.headers.get("content-type", ""):
        return files_in_html(answer.text, page)
    try:
        return [_file(file, page) for file in answer.json().get("files", ())]
    except (ValueError, AttributeError, TypeError) as error:
        raise IndexUnreachable(f"what the index {base} answers for {name} is not the simple API's JSON") from error


def _file(content: Mapping[str, Any], page: str) -> File:
    requires, yanked, size = content.get("requires-python"), content.get("yanked"), content.get("size")
    return File(
        name=str(content.get("filename")),
        uploaded=parse_instant(str(content.get("upload-time"))),
        requires_python=None if requires is None else str(requires),
        url=_joined(page, str(content.get("url", ""))),
        hashes=_digests(content.get("hashes")),
        size=size if isinstance(size, int) else None,
        yanked=yanked if isinstance(yanked, str) else "" if yanked is True else None,
        # PEP 714: the second is what the key was called first.
        metadata=_metadata(content.get("core-metadata", content.get("dist-info-metadata"))),
    )


def _digests(said: object) -> dict[str, str]:
    return {str(name): str(digest).lower() for name, digest in said.items()} if isinstance(said, Mapping) else {}


def _metadata(said: object) -> Mapping[str, str] | None:
    """What an index says of a file's metadata: ``true``, digests, or nothing."""
    if isinstance(said, str):
        name, _, digest = said.partition("=")
        return {name: digest.lower()} if digest else {} if said == "true" else None
    return _digests(said) if said else None


def _joined(page: str, href: str) -> str:
    """The address that a link on a page leads to, without credentials and fragment; empty where it is none."""
    try:
        return without_userinfo(urldefrag(urljoin(page, href)).url)
    except ValueError:
        return ""


def files_in_html(text: str, page: str) -> list[File]:
    """The files that a page of HTML links to (PEP 503).

    :param page: the page's own address.
    """
    return _Anchors(text, page).files


class _Anchors(HTMLParser):
    """The files of an HTML page (PEP 503); some indexes put the upload time into an attribute of the link."""

    def __init__(self, text: str, page: str) -> None:
        super().__init__()
        self.files: list[File] = []
        self._page = page
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "base" and found.get("href"):
            self._page = _joined(self._page, found["href"] or "")
        if tag == "a" and found.get("href"):
            url = _joined(self._page, found["href"] or "")
            algorithm, _, digest = (found["href"] or "").partition("#")[2].partition("=")
            self.files.append(
                File(
                    name=unquote(url.partition("?")[0].rpartition("/")[2]),
                    uploaded=parse_instant(found.get("data-upload-time") or ""),
                    requires_python=found.get("data-requires-python"),
                    url=url,
                    hashes={algorithm: digest.lower()} if digest else {},
                    yanked=found["data-yanked"] or "" if "data-yanked" in found else None,
                    metadata=_metadata(found.get("data-core-metadata", found.get("data-dist-info-metadata"))),
                )
            )


def _by_version(files: Iterable[File]) -> dict[Version, tuple[File, ...]]:
    found: dict[Version, list[File]] = {}
    for file in files:
        if (version := _version(file.name)) is not None:
            found.setdefault(version, []).append(file)
    return {version: tuple(of_version) for version, of_version in found.items()}


def _first_upload(files: Iterable[File]) -> datetime | None:
    return min((file.uploaded for file in files if file.uploaded is not None), default=None)


@lru_cache(maxsize=2**16)
def _version(file_name: str) -> Version | None:
    try:
        if file_name.endswith(".whl"):
            return parse_wheel_filename(file_name)[1]
        return parse_sdist_filename(file_name)[1]
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        return None
