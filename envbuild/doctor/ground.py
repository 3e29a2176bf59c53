"""Ground: what envbuild itself stands on, whatever the model: the platform, uv, temporary files, open files."""

from __future__ import annotations

import contextlib
import platform
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterator

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from envbuild import uv
from envbuild.doctor.finding import Finding, State
from envbuild.doctor.programs import said_by
from envbuild.errors import EnvbuildError
from envbuild.settings import Settings

_MACHINES = ("x86_64", "aarch64")
# Home and temporary files of a worker, uv's settings, an sdist while it is built.
_LITTLE_TEMPORARY = 100 * 10**6
_FEW_FILES = 256


def system(settings: Settings) -> Iterator[Finding]:
    """The platform: what envbuild supports is Linux with glibc."""
    del settings
    libc, version = platform.libc_ver()
    machine = platform.machine()
    supported = sys.platform.startswith("linux") and libc == "glibc" and machine in _MACHINES
    yield Finding(
        name="system",
        state="fine" if supported else "wrong",
        found=f"{platform.system()} on {machine} with {f'glibc {version}' if libc == 'glibc' else libc or 'no glibc'}",
        without="nothing is tested elsewhere; wheels for Linux with glibc are not installed there",
        hint=None if supported else f"run envbuild on Linux with glibc ({' or '.join(_MACHINES)}), in a container too",
        needed=True,
    )


def pinned_uv(settings: Settings) -> Iterator[Finding]:
    """The uv that belongs to this envbuild, and whether it is the one that it is tested with."""
    del settings
    try:
        program = uv.binary()
    except EnvbuildError as error:
        yield _uv(error.message, "missing", error.hint)
        return
    version, pin = _version_of(program), _pin()
    if version is None:
        yield _uv(f"{program} does not run", "wrong", "install envbuild again with pip")
    elif pin is not None and version not in pin:
        yield _uv(f"uv {version}, and envbuild is made for uv{pin} ({program})", "wrong", f"pip install 'uv{pin}'")
    else:
        yield _uv(f"uv {version}{'' if pin is None else ', the pinned one'} ({program})", "fine")


def _uv(found: str, state: State, hint: str | None = None) -> Finding:
    return Finding(
        name="uv",
        state=state,
        found=found,
        without="nothing is locked and nothing is built; environments that are built already still predict",
        hint=hint,
        needed=True,
    )


def _version_of(program: str) -> Version | None:
    words = (said_by(program, "--version") or "").split()
    with contextlib.suppress(IndexError, InvalidVersion):
        return Version(words[1])
    return None


def _pin() -> SpecifierSet | None:
    from importlib.metadata import PackageNotFoundError, requires

    with contextlib.suppress(PackageNotFoundError):
        asked = [Requirement(line) for line in requires("envbuild") or ()]
        return next((one.specifier for one in asked if one.name == "uv"), None)
    return None


def temporary_files(settings: Settings) -> Iterator[Finding]:
    """Where temporary files go, and whether there is room."""
    del settings
    try:
        with tempfile.TemporaryDirectory(prefix="envbuild-doctor-") as name:
            free = shutil.disk_usage(name).free
        found = f"{free / 10**9:.1f} GB free in {tempfile.gettempdir()}"
        fine = free >= _LITTLE_TEMPORARY
    except OSError as error:
        found, fine = f"{error.filename or 'no directory'} cannot be written: {error.strerror}", False
    yield Finding(
        name="temporary files",
        state="fine" if fine else "wrong",
        found=found,
        without="neither locking nor building nor predicting works",
        hint=None if fine else "free some space there, or set TMPDIR to a directory that you can write",
        needed=True,
    )


def open_files(settings: Settings) -> Iterator[Finding]:
    """How many files a process may open."""
    del settings
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    fine = limit == resource.RLIM_INFINITY or limit >= _FEW_FILES
    yield Finding(
        name="open files",
        state="fine" if fine else "wrong",
        found=f"a process may have {'any number' if limit == resource.RLIM_INFINITY else limit}",
        without="large builds fail, since uv has many files open at once",
        hint=None if fine else f"raise the limit (ulimit -n 1024); at least {_FEW_FILES}",
    )
