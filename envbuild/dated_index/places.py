"""What places that hold files hold: directories, pages and files (``--find-links``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name

from envbuild import projects
from envbuild.errors import DownloadFailed, IndexUnreachable
from envbuild.files import sha256_of
from envbuild.projects import File
from envbuild.requirement import version_of

_SUFFIXES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tar", ".zip")


def is_sound(file: File, schemes: Sequence[str]) -> bool:
    """Whether a file has a name that is one, and lies where its kind of index may have it: never on our own disk."""
    named = bool(file.name) and not file.name.startswith(".") and not {"/", "\\", "\0"} & set(file.name)
    return named and urlsplit(file.url).scheme in schemes


def is_package(name: str) -> bool:
    """Whether a file has the name of a wheel or an sdist."""
    return name.endswith((".whl", *_SUFFIXES))


def project_of(file_name: str, project: str) -> bool:
    """Whether a file's name says that it is of a project (by its normalised name)."""
    if file_name.endswith(".whl"):
        return canonicalize_name(file_name.partition("-")[0]) == project
    stem = next((file_name.removesuffix(suffix) for suffix in _SUFFIXES if file_name.endswith(suffix)), file_name)
    # Both a project's name and a version may hold hyphens.
    parts = stem.split("-")
    return any(
        canonicalize_name("-".join(parts[:count])) == project and version_of("-".join(parts[count:])) is not None
        for count in range(1, len(parts))
    )


def path_of(place: str) -> str:
    """A path, or that of a ``file:`` URL."""
    return unquote(urlsplit(place).path) if place.startswith("file:") else place


def on_disk(path: Path, place: str) -> Sequence[File]:
    """The files of a directory, those that a page links to, or a file itself.

    :raises IndexUnreachable: there is nothing, or it cannot be read.
    """
    path = path.expanduser().absolute()
    if path.is_dir():
        return [_local(entry) for entry in sorted(path.iterdir()) if is_package(entry.name) and entry.is_file()]
    if is_package(path.name) and path.is_file():
        return [_local(path)]
    if path.is_file():
        return in_page(path)
    raise IndexUnreachable(f"there is nothing at {place}", hint="is it right (--find-links)?")


def in_page(path: Path) -> Sequence[File]:
    """The files that a page on our own disk links to, which may lie there as well."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise IndexUnreachable(f"{path} cannot be read: {error.strerror}") from error
    found = projects.files_in_html(text, path.as_uri())
    return [file for file in found if is_package(file.name) and is_sound(file, ("http", "https", "file"))]


def _local(path: Path) -> File:
    try:
        return replace(at(path.as_uri()), hashes={"sha256": sha256_of(path)}, size=path.stat().st_size)
    except OSError as error:
        raise DownloadFailed(f"{path} cannot be read: {error.strerror}") from error


def at(url: str) -> File:
    """The file that lies at an address, with the digest that its fragment states."""
    address, _, fragment = url.partition("#")
    algorithm, _, digest = fragment.partition("=")
    return File(
        name=unquote(urlsplit(address).path.rpartition("/")[2]),
        url=address,
        hashes={algorithm: digest.lower()} if digest else {},
    )
