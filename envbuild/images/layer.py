"""Layers: tars that are the same bits whenever and wherever they are made.

Sorted directory by directory, owned by root unless said otherwise, with one fixed time; every directory above a member is a member
too, since a daemon gives a directory that a layer does not name a mode of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import posixpath
import stat
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal, cast

from envbuild.builders.bytecode import SOURCE_TIME

# Byte code of CPython 3.6 names the time of its source.
TIME = SOURCE_TIME
_DIRECTORY = 0o755

Kind = Literal["file", "directory", "link"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer that lies in a file."""

    path: Path
    """The uncompressed tar."""
    diff_id: str
    """``sha256:`` and the digest of the tar."""
    size: int
    """Of the tar, in bytes."""
    content: int = 0
    """Of the files in it, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One path of a layer, without a slash at its beginning."""

    name: str
    kind: Kind = "file"
    mode: int = 0o644
    source: Path | bytes | tarfile.TarInfo | None = None
    """A file's content: on the disk, in memory, or in the archive that is given along."""
    link: str = ""
    owner: int = 0
    """Its user and its group."""


def tree(root: Path, name: str) -> Iterator[Member]:
    """A directory on the disk as members below ``name``; of modes, only who may execute is kept."""
    yield Member(name=name, kind="directory", mode=_DIRECTORY)
    for folder, folders, files in os.walk(root):
        below = posixpath.normpath(posixpath.join(name, Path(folder).relative_to(root).as_posix()))
        for each in (*folders, *files):
            path = Path(folder, each)
            facts = path.lstat()
            target = f"{below}/{each}"
            if stat.S_ISLNK(facts.st_mode):
                yield Member(name=target, kind="link", link=str(path.readlink()), mode=0o777)
            elif stat.S_ISDIR(facts.st_mode):
                yield Member(name=target, kind="directory", mode=_DIRECTORY)
            elif stat.S_ISREG(facts.st_mode):
                yield Member(name=target, mode=0o755 if facts.st_mode & 0o111 else 0o644, source=path)


def archived(archive: tarfile.TarFile, prefix: str = "", *, is_stream: bool = False) -> Iterator[Member]:
    """The members of another tar, such as a daemon's, with the modes and owners that they have there.

    :param prefix: what its names are below.
    :param is_stream: it can only be read once, from its beginning.
    :raises ValueError: a stream has a hard link.
    """
    for info in archive:
        name = posixpath.normpath(posixpath.join(prefix, info.name)).lstrip("/")
        known = Member(name=name, mode=stat.S_IMODE(info.mode), owner=info.uid)
        if info.isdir():
            yield replace(known, kind="directory")
        elif info.issym():
            yield replace(known, kind="link", link=info.linkname)
        elif info.islnk():
            # Its twin may come later, or be left out: each has its own content here. A stream cannot go back for it.
            if is_stream:
                raise ValueError(f"{name} is a hard link")
            yield replace(known, source=archive.getmember(info.linkname))
        elif info.isreg():
            yield replace(known, source=info)


def write_layer(
    path: Path,
    members: Iterable[Member],
    *,
    archive: tarfile.TarFile | None = None,
    modes: Mapping[str, int] | None = None,
) -> Layer:
    """Write a layer; of members with one name the last one counts.

    :param archive: where the contents lie that are members of an archive.
    :param modes: the modes of directories above the members, where the base has them otherwise than usual.
    :raises OSError: it cannot be written, or a file cannot be read.
    """
    by_name = {member.name: member for member in members}
    for name in list(by_name):
        for above in _above(name):
            if above not in by_name:
                by_name[above] = Member(name=above, kind="directory", mode=(modes or {}).get(above, _DIRECTORY))
    return _written(path, (by_name[name] for name in sorted(by_name, key=_order)), archive)


def rewrite_layer(path: Path, archive: tarfile.TarFile, prefix: str) -> Layer:
    """Write a layer of what another tar has, which is read once from its beginning and comes in a layer's order.

    :param archive: opened as a stream; Docker's own are in that order.
    :param prefix: what its names are below.
    :raises ValueError: it is in another order, or has hard links.
    """
    return _written(path, _in_order(archive, prefix), archive)


def _in_order(archive: tarfile.TarFile, prefix: str) -> Iterator[Member]:
    """The members of a stream, which must have a layer's order, below the directories above them."""
    for name in reversed(list(_above(posixpath.normpath(f"{prefix}/x").lstrip("/")))):
        yield Member(name=name, kind="directory", mode=_DIRECTORY)
    last = ""
    for member in archived(archive, prefix, is_stream=True):
        if last and _order(member.name) <= _order(last):
            raise ValueError(f"{member.name} is not where a layer has it")
        yield replace(member, owner=0)
        last = member.name


def _written(path: Path, members: Iterable[Member], archive: tarfile.TarFile | None) -> Layer:
    """Write members as they come."""
    content = 0
    with open(path, "wb") as file:
        hashing = _Hashing(file)
        with tarfile.TarFile(fileobj=cast("IO[bytes]", hashing), mode="w", format=tarfile.PAX_FORMAT) as tar:
            for member in members:
                content += _add(tar, member, archive)
    return Layer(path=path, diff_id=f"sha256:{hashing.hexdigest()}", size=hashing.size, content=content)


def _order(name: str) -> list[str]:
    """Directory by directory: what a directory holds comes right after it."""
    return name.split("/")


def _above(name: str) -> Iterator[str]:
    while (name := posixpath.dirname(name)) != "":
        yield name


def _add(tar: tarfile.TarFile, member: Member, archive: tarfile.TarFile | None) -> int:
    info = tarfile.TarInfo(member.name)
    info.mtime, info.mode = TIME, member.mode
    info.uid = info.gid = member.owner
    if member.kind == "directory":
        info.type = tarfile.DIRTYPE
    elif member.kind == "link":
        info.type, info.linkname = tarfile.SYMTYPE, member.link
    if member.kind != "file":
        tar.addfile(info)
        return 0
    with _opened(member, archive) as (source, size):
        info.size = size
        tar.addfile(info, source)
    return info.size


@contextlib.contextmanager
def _opened(member: Member, archive: tarfile.TarFile | None) -> Iterator[tuple[IO[bytes], int]]:
    """A member's content and its size, open for reading."""
    source = member.source
    if isinstance(source, bytes):
        yield io.BytesIO(source), len(source)
    elif isinstance(source, Path):
        with open(source, "rb") as file:
            yield file, os.fstat(file.fileno()).st_size
    else:
        found = archive.extractfile(source) if archive is not None and source is not None else None
        if source is None or found is None:
            raise OSError(f"{member.name} has no content in the archive")
        with found:
            yield found, source.size


class _Hashing:
    """A file that is hashed while it is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes) -> int:
        """Write and hash some bytes."""
        self._digest.update(data)
        self.size += len(data)
        return self._file.write(data)

    def tell(self) -> int:
        """How many bytes were written."""
        return self.size

    def hexdigest(self) -> str:
        """sha256 of everything that was written."""
        return self._digest.hexdigest()
