"""Files: written whole under their names, or not at all, what was there before being kept until then; and digested."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from envbuild.errors import StoreError, UsageError

_BLOCK = 2**20


def write_whole(path: Path, content: bytes) -> None:
    """Write a file; one that exists keeps its mode.

    :raises UsageError: it cannot be written.
    """
    import tempfile  # most calls write no file

    check_target(path)
    try:
        if path.exists() and not path.is_file():
            # /dev/null, a pipe: there is no name to put a new file under.
            path.write_bytes(content)
            return
        mode = usual_mode(path)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), mode)
            os.replace(name, path.resolve())
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", hint="does its directory exist, and may you write there?"
        ) from error


def check_target(path: Path | None) -> None:
    """Refuse, before the long work begins, what cannot be written after it.

    :raises UsageError: the path is a directory, or its directory is not there.
    """
    if path is None:
        return
    if path.is_dir():
        raise UsageError(f"{path} is a directory and cannot be written as a file", hint="give a file's name in it")
    if not path.parent.is_dir():
        raise UsageError(f"{path} cannot be written: there is no directory {path.parent}", hint="make it first")


def copy_part(source: Path, target: Path) -> None:
    """Copy a file, or a directory with all that is in it, to a path whose directories are made.

    :raises OSError: it cannot be read or written.
    """
    import shutil

    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)


def make_private(path: Path) -> None:
    """Make a directory that is the user's own (mode 0700), unless it is there.

    :raises StoreError: it cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be made: {error.strerror}", hint="set ENVBUILD_HOME to a directory that you can write"
        ) from error


def remove_tree(path: Path) -> None:
    """Remove a directory with all that is in it, read-only directories too, as far as that is allowed."""
    import shutil

    for folder, _, _ in os.walk(path):
        with contextlib.suppress(OSError):
            os.chmod(folder, 0o700)  # noqa: PTH101 - os.walk gives texts
    shutil.rmtree(path, ignore_errors=True)


def usual_mode(path: Path) -> int:
    """The permissions that a file has when it is written: its own where it is there, else those that the umask leaves."""
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def sha256_of(path: str | Path) -> str:
    """The sha256 of a file's content, in hexadecimal."""
    # Most files are small: Python's own file objects, and threads, cost three times what the reading does.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        block = os.read(descriptor, _BLOCK)
        digest = hashlib.sha256(block)
        while len(block) == _BLOCK:
            block = os.read(descriptor, _BLOCK)
            digest.update(block)
        return digest.hexdigest()
    finally:
        os.close(descriptor)
