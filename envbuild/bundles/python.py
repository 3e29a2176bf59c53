"""A Python in a bundle: its whole installation as a tar, of those alone that run wherever they lie.

Those are python-build-standalone's, as uv manages them: they find their library from where their program is. What names
the place that they were installed at is said anew where they are unpacked.
"""

from __future__ import annotations

import io
import os
import posixpath
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from envbuild.errors import BundleIncomplete, BundleInvalid
from envbuild.interpreters import Interpreter

# What such a build calls its place as it comes.
_PLACE = b"/install"
_NAMES_PLACE = re.compile(r"lib/(python3\.\d+/_sysconfigdata[^/]*\.py|pkgconfig/[^/]+\.pc)")
_LEFT_OUT = ("__pycache__",)


def prefix_of(interpreter: Interpreter) -> Path:
    """The installation that a Python is the program of, if it runs wherever that lies.

    :raises BundleIncomplete: it does not.
    """
    prefix = Path(interpreter.executable).parent.parent
    try:
        said = (prefix / "lib" / f"python{interpreter.minor}" / "EXTERNALLY-MANAGED").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        said = ""
    if re.search(r"managed by uv\b", said) is None:
        raise BundleIncomplete(
            f"{interpreter.executable} was built for the place that it lies at, and runs nowhere else",
            hint=f"uv python install {interpreter.minor}, and --python with the path of that one; or leave --with-python out",
        )
    return prefix


def pack(prefix: Path, target: Path) -> None:
    """Write an installation as a tar; the same files give the same bytes, wherever they lie.

    :raises BundleIncomplete: a link leads out of it.
    :raises OSError: it cannot be read or written.
    """
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for name, path in sorted(_files(prefix)):
            member = tarfile.TarInfo(name)
            if path.is_symlink():
                member.type, member.linkname = tarfile.SYMTYPE, os.readlink(path)  # noqa: PTH115 - as it is written
                if not _is_inside(name, member.linkname):
                    raise BundleIncomplete(f"{path} is a link that leads out of its Python")
                archive.addfile(member)
                continue
            content = path.read_bytes()
            if _NAMES_PLACE.fullmatch(name):
                content = content.replace(os.fsencode(prefix), _PLACE)
            member.mode = 0o755 if os.access(path, os.X_OK) else 0o644
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def unpack(archive: Path, place: Path, final: Path) -> None:
    """Unpack an installation.

    :param final: where it will lie.
    :raises BundleInvalid: it holds anything but files, and links to them, at their places.
    :raises OSError: it cannot be written.
    """
    links: list[tarfile.TarInfo] = []
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                if not _is_inside("", member.name) or not (member.isreg() or member.issym()):
                    raise BundleInvalid(
                        f"the Python in the bundle holds {member.name[:200]!r}, which does not belong there"
                    )
                if member.issym():
                    links.append(member)
                else:
                    _unpack_file(tar, member, place, final)
    except (tarfile.TarError, UnicodeError) as error:
        raise BundleInvalid(f"the Python in the bundle is damaged: {error}") from error
    # Last, so that nothing is written through one.
    for link in links:
        if not _is_inside(link.name, link.linkname) or (place / link.name).exists():
            raise BundleInvalid(f"the Python in the bundle has a link, {link.name[:200]!r}, that leads out of it")
        (place / link.name).parent.mkdir(parents=True, exist_ok=True)
        (place / link.name).symlink_to(link.linkname)


def _unpack_file(tar: tarfile.TarFile, member: tarfile.TarInfo, place: Path, final: Path) -> None:
    opened = tar.extractfile(member)
    content = b"" if opened is None else opened.read()
    if _NAMES_PLACE.fullmatch(member.name):
        content = content.replace(_PLACE, os.fsencode(final))
    target = place / member.name
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(target, "xb") as file:
            file.write(content)
            os.fchmod(file.fileno(), 0o755 if member.mode & 0o100 else 0o644)
    except FileExistsError as error:
        raise BundleInvalid(f"the Python in the bundle holds {member.name[:200]!r} twice") from error


def _files(prefix: Path) -> Iterator[tuple[str, Path]]:
    for folder, folders, files in os.walk(prefix):
        folders[:] = [name for name in folders if name not in _LEFT_OUT]
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in (*files, *links):
            yield Path(folder, name).relative_to(prefix).as_posix(), Path(folder, name)


def _is_inside(name: str, path: str) -> bool:
    """Whether a path, as a file of that name would have it, stays inside."""
    if not path or path.startswith("/") or "\0" in path:
        return False
    led = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
    return PurePosixPath(led).parts[:1] != ("..",) and led != "."
