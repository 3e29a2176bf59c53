"""Writing in the store: whole or not at all, for good, and readable by those who share it; failures said in our words."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import tempfile
from pathlib import Path

from envbuild.errors import StoreError


def write_whole(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file so that it is there whole or not at all, and stays through a power cut."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make what was made, renamed or removed in a directory stay through a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def explanation(error: OSError, home: Path, needed: int | None = None) -> StoreError:
    """What a system error in the store means to the one who runs us.

    :param needed: how many bytes were to be written, where that is known.
    """
    where = error.filename or home
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return no_space(home, where, needed)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(
            f"{where} cannot be written: {error.strerror}",
            hint="set ENVBUILD_HOME to a directory that you can write",
        )
    if error.errno in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
        return StoreError(f"the file system of {home} cannot lock files", hint="set ENVBUILD_HOME to a local disk")
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return too_many_files()
    return StoreError(
        f"{where} cannot be used: {error.strerror or error}", hint="set ENVBUILD_HOME to a directory that you can write"
    )


def no_space(home: Path, where: object, needed: int | None = None) -> StoreError:
    """The disk is full."""
    free = shutil.disk_usage(existing(home)).free
    wanted = "" if not needed else f", and at least {needed / 2**20:,.0f} MiB are needed"
    return StoreError(
        f"there is no space left for {where}: {free / 2**20:,.0f} MiB are free{wanted}",
        hint="free some (envbuild envs gc, envbuild cache clean), or set ENVBUILD_HOME to a larger disk",
    )


def too_many_files() -> StoreError:
    """This process, or the machine, may open no more files."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return StoreError(
        f"too many files are open; this process may have {limit}, and a build needs some 100",
        hint="raise the limit (ulimit -n)",
    )


def existing(path: Path) -> Path:
    """The path, or the nearest directory above it that is there."""
    return path if path.exists() or path.parent == path else existing(path.parent)
