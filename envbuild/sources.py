"""Sdists and directories as sources: what their builds ask for (PEP 517, PEP 518), and their content."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import tomli_w

from envbuild.errors import LockError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_BACKEND = "setuptools.build_meta:__legacy__"
# What PEP 518 has a frontend assume where there is no pyproject.toml.
_DEFAULT_REQUIRES = ("setuptools>=40.8.0",)
_READ_LIMIT = 4 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSystem:
    """A source's ``[build-system]``, and whether its setup script may ask for more."""

    requires: tuple[str, ...]
    backend: str
    backend_path: tuple[str, ...] = ()
    asks_more: bool = False
    is_declared: bool = True
    """Whether a ``pyproject.toml`` says it."""

    @property
    def is_setuptools(self) -> bool:
        """Whether setuptools builds it: what its hook asks for is then known without running it."""
        return self.backend.split(":")[0] == "setuptools.build_meta" and not self.backend_path


def build_system_of(source: Path) -> BuildSystem:
    """The build system of an sdist (tar or zip) or of a directory.

    :raises LockError: its pyproject.toml is damaged.
    """
    texts = {name: _read_member(source, name) for name in ("pyproject.toml", "setup.py", "setup.cfg")}
    asks_more = any("setup_requires" in (texts[name] or "") for name in ("setup.py", "setup.cfg"))
    try:
        table = tomllib.loads(texts["pyproject.toml"] or "").get("build-system")
    except tomllib.TOMLDecodeError as error:
        raise LockError(f"the pyproject.toml in {source.name} is damaged: {error}") from error
    if not isinstance(table, dict) or "requires" not in table:
        return BuildSystem(requires=_DEFAULT_REQUIRES, backend=DEFAULT_BACKEND, asks_more=asks_more, is_declared=False)
    return BuildSystem(
        requires=tuple(str(line) for line in table["requires"]),
        backend=str(table.get("build-backend", DEFAULT_BACKEND)),
        backend_path=tuple(str(path) for path in table.get("backend-path", ())),
        asks_more=asks_more,
    )


def have_it_require(source: Path, more: Sequence[str]) -> None:
    """Have a directory's ``pyproject.toml`` say that it is built with more than it says (PEP 518).

    :raises LockError: its pyproject.toml is damaged.
    """
    system, path = build_system_of(source), source / "pyproject.toml"
    table = tomllib.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    said = {"requires": [*system.requires, *more], "build-backend": system.backend}
    table["build-system"] = {**said, "backend-path": list(system.backend_path)} if system.backend_path else said
    path.write_text(tomli_w.dumps(table), encoding="utf-8")


def _read_member(source: Path, name: str) -> str | None:
    """A file at a source's top; in an archive that is the one directory that holds everything."""
    if source.is_dir():
        path = source / name
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as archive:
            found = [info for info in archive.namelist() if _is_top(info, name)]
            return None if not found else archive.read(found[0])[:_READ_LIMIT].decode("utf-8", "replace")
    with tarfile.open(source) as tar:
        for member in tar:
            if _is_top(member.name, name) and member.isfile():
                content = tar.extractfile(member)
                return None if content is None else content.read(_READ_LIMIT).decode("utf-8", "replace")
    return None


def _is_top(path: str, name: str) -> bool:
    parts = PurePosixPath(path).parts
    return len(parts) == 2 and parts[1] == name


def unpack(source: Path, place: Path) -> Path:
    """Unpack an sdist below a directory and give its top; links and paths that lead out are refused.

    :raises LockError: the archive is damaged or leads out of itself.
    """
    try:
        if zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                archive.extractall(place)  # noqa: S202 - ZipFile cuts absolute paths and `..` off itself
        else:
            with tarfile.open(source) as tar:
                _extract(tar, place)
    except (tarfile.TarError, zipfile.BadZipFile, OSError) as error:
        raise LockError(f"the sdist {source.name} cannot be unpacked: {error}") from error
    tops = [path for path in place.iterdir() if path.is_dir()]
    return tops[0] if len(tops) == 1 else place


def _extract(tar: tarfile.TarFile, place: Path) -> None:
    if hasattr(tarfile, "data_filter"):
        tar.extractall(place, filter="data")
        return
    # CPython 3.10 before 3.10.12 has no filters: take plain files and directories inside alone.
    for member in tar:
        parts = PurePosixPath(member.name).parts
        if (member.isfile() or member.isdir()) and ".." not in parts and not member.name.startswith("/"):
            tar.extract(member, place)
