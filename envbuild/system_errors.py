"""What the system's own errors mean to the one who runs us: a full disk, no permission, too many open files."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
from pathlib import Path

from envbuild.errors import StoreError

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_TOO_MANY = (errno.EMFILE, errno.ENFILE)


def in_words(words: str, home: Path) -> OSError | None:
    """The system's error that a program of ours met in our store, by what it says; ``None`` where it met none there."""
    if "No space left on device" in words:
        return _error(errno.ENOSPC, home)
    # What an sdist runs says such things of files of its own.
    for match in re.finditer(r"\(os error (\d+)\)", words):
        number = int(match[1])
        if number in (*_FULL, *_TOO_MANY) or (number in _FORBIDDEN and str(home) in words):
            return _error(number, home)
    # Python's form, which pip's is, names the file.
    for match in re.finditer(r"\[Errno (\d+)\] [^:\n]*: '([^'\n]*)'", words):
        number = int(match[1])
        if number in (*_FULL, *_FORBIDDEN, *_TOO_MANY) and Path(match[2]).is_relative_to(home):
            return _error(number, home)
    return None


def _error(number: int, home: Path) -> OSError:
    return OSError(number, os.strerror(number), str(home))


def check_words(words: str, home: Path, needed: int | None = None) -> None:
    """Tell the store's troubles from those of a program of ours, by what it says.

    :param needed: how many bytes were to be written, where that is known.
    :raises StoreError: the disk is full, or the program may not write to the store.
    """
    trouble = in_words(words, home)
    if trouble is not None:
        raise explanation(trouble, home, needed) from trouble


def explanation(error: OSError, home: Path, needed: int | None = None) -> StoreError:
    """What a system error in the store means to the one who runs us.

    :param needed: how many bytes were to be written, where that is known.
    """
    where = error.filename or home
    if error.errno in _FULL:
        return no_space(home, where, needed)
    if error.errno in _FORBIDDEN:
        return StoreError(
            f"{where} cannot be written: {error.strerror}",
            hint="set ENVBUILD_HOME to a directory that you can write",
        )
    if error.errno in _NO_LOCKS:
        return StoreError(f"the file system of {home} cannot lock files", hint="set ENVBUILD_HOME to a local disk")
    if is_too_many_files(error):
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


def is_too_many_files(error: BaseException | None) -> bool:
    """Whether this process, or the machine, may open no more files."""
    return isinstance(error, OSError) and error.errno in _TOO_MANY


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
