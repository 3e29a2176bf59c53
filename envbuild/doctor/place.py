"""Place: the store's directory: may it be written, is there room, does its file system do what the store needs."""

from __future__ import annotations

import contextlib
import errno
import os
import pwd
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from envbuild import process
from envbuild.builders import links
from envbuild.doctor.finding import Finding
from envbuild.errors import StoreError
from envbuild.settings import Settings
from envbuild.store import Store, flock
from envbuild.system_errors import existing, explanation

# An environment with mlflow, scikit-learn and pandas takes some 0.8 GB, and its downloads a part of that again.
_LITTLE = 2 * 10**9
_FEW_INODES = 100_000
_ELSEWHERE = "set ENVBUILD_HOME to a directory on a local disk"
_RUN_SECONDS = 5.0
_WITHOUT = "nothing is locked, built or predicted"
_SOURCE, _PROGRAM = "source", "program"


def store(settings: Settings) -> Iterator[Finding]:
    """The store's directory, and what its file system can do. A store that is not there is not made."""
    try:
        Store(settings)
        folder = _nearest(settings.home)
        with _aside(settings.home, folder) as aside:
            yield _fine(settings.home, folder)
            yield _space(folder)
            yield _locks(aside)
            yield _programs(aside / _PROGRAM)
            yield _sharing(aside, settings)
    except StoreError as error:
        yield Finding(name="store", state="wrong", found=error.message, without=_WITHOUT, hint=error.hint, needed=True)


def _nearest(home: Path) -> Path:
    """The store, or the nearest directory above it that is there.

    :raises StoreError: nobody can tell.
    """
    try:
        return existing(home)
    except OSError as error:
        raise explanation(error, home) from error


@contextlib.contextmanager
def _aside(home: Path, folder: Path) -> Iterator[Path]:
    """A directory in the store, or where the store would be made, with files to try things with; it goes away again.

    :raises StoreError: it cannot be made.
    """
    with contextlib.ExitStack() as stack:
        try:
            name = stack.enter_context(
                tempfile.TemporaryDirectory(dir=folder, prefix=".envbuild-doctor-", ignore_cleanup_errors=True)
            )
            (Path(name) / _SOURCE).write_bytes(b"x" * 4096)
            (Path(name) / _PROGRAM).write_text("#!/bin/sh\nexit 0\n")
            (Path(name) / _PROGRAM).chmod(0o700)
        except OSError as error:
            # By the name of what is there: that of the trial means nothing to anybody.
            error.filename = str(folder)
            raise _explained(error, home, folder) from error
        yield Path(name)


def _explained(error: OSError, home: Path, folder: Path) -> StoreError:
    known = explanation(error, folder)
    if folder == home:
        return known
    return StoreError(f"{home} is not there and cannot be made: {known.message}", hint=known.hint)


def _fine(home: Path, folder: Path) -> Finding:
    if folder == home:
        facts = home.stat()
        found = f"{home} can be written; mode {stat.S_IMODE(facts.st_mode):04o}, owner {_name_of(facts.st_uid)}"
    else:
        found = f"{home} is not there yet, and can be made"
    return Finding(name="store", state="fine", found=found, without=_WITHOUT, needed=True)


def _name_of(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"uid {uid}"


def _space(folder: Path) -> Finding:
    facts = os.statvfs(folder)
    free = facts.f_bavail * facts.f_frsize
    # Some file systems count no inodes.
    few = facts.f_files > 0 and facts.f_favail < _FEW_INODES
    fine = free >= _LITTLE and not few
    return Finding(
        name="disk space",
        state="fine" if fine else "wrong",
        found=f"{free / 10**9:.1f} GB are free" + (f", for {facts.f_favail} files only" if few else ""),
        without="builds fail half-way: an environment with mlflow takes some 0.8 GB, one with torch for CUDA up to 8 GB",
        hint=None
        if fine
        else "free some (envbuild envs gc, envbuild cache clean), or set ENVBUILD_HOME to a larger disk",
        needed=True,
    )


def _locks(aside: Path) -> Finding:
    """Take a lock, and see that nobody else can; then that it can be taken again."""
    try:
        works = _excludes(aside / "lock")
        found = "they work" if works else "the file system gives a lock to two at once"
    except OSError as error:
        works, found = False, f"the file system cannot lock files: {error.strerror}"
    return Finding(
        name="file locks",
        state="fine" if works else "wrong",
        found=found,
        without="calls at the same time would build over each other",
        hint=None if works else _ELSEWHERE,
        needed=True,
    )


def _excludes(path: Path) -> bool:
    first = flock.take(path)
    if first is None:
        return False
    with first, contextlib.ExitStack() as wrongly:
        if (second := flock.take(path)) is not None:
            wrongly.enter_context(second)
            return False
    again = flock.take(path)
    if again is not None:
        again.release()
    return again is not None


def _programs(program: Path) -> Finding:
    """Environments hold programs: their Python, and what packages bring."""
    fine = _runs(program)
    return Finding(
        name="programs in the store",
        state="fine" if fine else "wrong",
        found="they run" if fine else "they cannot be run there (is it mounted with noexec?)",
        without="no environment works: its Python is a program in the store, and compiled packages are loaded from there",
        hint=None if fine else f"{_ELSEWHERE}, mounted without noexec",
        needed=True,
    )


def _runs(program: Path) -> bool:
    for _ in range(10):
        try:
            return process.run([str(program)], env={}, timeout=_RUN_SECONDS).returncode == 0
        except process.TimedOutWaiting:
            return False
        except process.NotStarted as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno != errno.ETXTBSY:
                return False
            # A check beside us started something just while the file was open for writing.
            time.sleep(0.05)
    return False


def _sharing(aside: Path, settings: Settings) -> Finding:
    """How files go from the caches into environments."""
    how = links.resolved(settings.link_mode, aside)
    wanted = settings.link_mode == "copy"
    disks = {existing(settings.home / part).stat().st_dev for part in ("uv", "store", "bytecode")}
    if len(disks) > 1:
        how, found, hint = "copy", "the caches and the environments lie on different file systems", _ELSEWHERE
    elif how == "hardlink" and not _links(aside):
        how, found, hint = "copy", "the file system has neither clones nor hard links: files are copied", _ELSEWHERE
    elif how == "copy" and not wanted:
        found = "files are copied: this file system has no clones, and for this user hard links would not be safe"
        hint = "run as another user than root, or put the store on a file system with clones (Btrfs, XFS)"
    else:
        said = {
            "clone": "files are cloned (copy on write)",
            "hardlink": "files are hard-linked",
            "copy": "files are copied",
        }
        found, hint = f"{said[how]}{', as --link-mode says' if settings.link_mode != 'auto' else ''}", ""
    fine = how != "copy" or wanted
    return Finding(
        name="shared files",
        state="fine" if fine else "missing",
        found=found,
        without="every environment takes its full size on the disk, and longer to build",
        hint=None if fine else hint,
    )


def _links(aside: Path) -> bool:
    source, target = aside / _SOURCE, aside / "target"
    links.place(str(source), str(target), "hardlink")
    return source.samefile(target)
