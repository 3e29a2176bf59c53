"""Surroundings: the Docker daemon, namespaces, and the extras of envbuild that are installed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec

from packaging.version import InvalidVersion, Version

from envbuild import process
from envbuild.doctor.finding import Finding, State
from envbuild.doctor.programs import ANSWER_SECONDS
from envbuild.errors import DockerUnavailable
from envbuild.settings import Settings

OLDEST_DOCKER = "20.10"

# By extra: the modules that it brings, what it is for, and what does not work without it.
EXTRAS = {
    "docker": (("docker", "cyclonedx"), "envbuild image does not work; everything else does"),
    "serve": (
        ("starlette", "uvicorn"),
        "the server of images cannot be started on this machine; images bring their own",
    ),
}

# Namespaces belong to a process: a child tries it.
_NAMESPACES = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
user, group = os.geteuid(), os.getegid()
NEW_USER, NEW_MOUNTS, NO_NEW_PRIVILEGES = 0x10000000, 0x00020000, 38
try:
    if libc.unshare(NEW_USER | NEW_MOUNTS) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    for name, text in (("setgroups", "deny"), ("uid_map", "0 %d 1" % user), ("gid_map", "0 %d 1" % group)):
        with open("/proc/self/" + name, "w") as file:
            file.write(text)
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "no-new-privileges is refused")
except OSError as error:
    sys.exit(error.strerror)
"""


def docker(settings: Settings) -> Iterator[Finding]:
    """The Docker daemon, as ``envbuild image`` talks to it."""
    del settings
    from envbuild.images.daemon import Daemon

    try:
        with Daemon.connect() as daemon:
            version, rootless = daemon.version, daemon.is_rootless
    except DockerUnavailable as error:
        refused = _is_because_of(error, PermissionError)
        yield _docker(error.message, "wrong" if refused else "missing", error.hint)
        return
    if _is_older(version):
        yield _docker(f"Docker {version} is too old", "wrong", f"install Docker {OLDEST_DOCKER} or later")
    else:
        yield _docker(f"Docker {version} answers{', without root' if rootless else ''}", "fine")


def _docker(found: str, state: State, hint: str | None = None) -> Finding:
    return Finding(name="Docker", state=state, found=found, without=EXTRAS["docker"][1], hint=hint)


def _is_because_of(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_older(version: str) -> bool:
    try:
        return Version(version) < Version(OLDEST_DOCKER)
    except InvalidVersion:
        # Builds of distributions have versions of their own: 26.1.5+dfsg1 is one, others are none.
        return False


def namespaces(settings: Settings) -> Iterator[Finding]:
    """Whether this user can have namespaces of its own, which models could be shut in one day."""
    del settings
    try:
        done = process.run([sys.executable, "-I", "-S", "-c", _NAMESPACES], env={}, timeout=ANSWER_SECONDS)
        fine, said = done.returncode == 0, (done.stderr.splitlines() or ["they cannot be made"])[-1]
    except (process.NotStarted, process.TimedOutWaiting):
        fine, said = False, "they cannot be tried"
    bubblewrap = "is installed" if shutil.which("bwrap") else "is not installed"
    yield Finding(
        name="user namespaces",
        state="fine" if fine else "missing",
        found=f"{'they work for this user' if fine else f'this user has none: {said}'}; bubblewrap {bubblewrap}",
        without="everything works: nothing needs them yet",
    )


def extras(settings: Settings) -> Iterator[Finding]:
    """The extras of envbuild: is what they bring here?"""
    del settings
    for extra, (modules, without) in EXTRAS.items():
        lacking = [module for module in modules if find_spec(module) is None]
        yield Finding(
            name=f"envbuild[{extra}]",
            state="missing" if lacking else "fine",
            found=f"{' and '.join(lacking)} cannot be imported" if lacking else f"{' and '.join(modules)} are here",
            without=without,
            hint=f"pip install 'envbuild[{extra}]'" if lacking else None,
        )
