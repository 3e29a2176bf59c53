"""Surroundings: the Docker daemon, what workers can be kept from, and the extras of envbuild that are installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from packaging.version import InvalidVersion, Version

from envbuild.doctor.finding import Finding, State
from envbuild.errors import ConfinementUnavailable, DockerUnavailable
from envbuild.settings import Settings

OLDEST_DOCKER = "20.10"
_ANY_SIZE = 2**30
_INSTALL_BUBBLEWRAP = "allow this user namespaces of its own, or install bubblewrap"

# By extra: the modules that it brings, what it is for, and what does not work without it.
EXTRAS = {
    "arrow": (("pyarrow",), "Parquet and Arrow files can be sent to models whose own environment reads them"),
    "azure": (("adlfs",), "models at az:// and abfss:// cannot be read"),
    "conda": (("rattler",), "conda packages are mapped to the index by a list of names, not installed from channels"),
    "docker": (("docker", "cyclonedx"), "envbuild image does not work; everything else does"),
    "gcs": (("gcsfs",), "models at gs:// cannot be read"),
    "mlflow": (("mlflow",), "models at models:/, runs:/ and mlflow-artifacts: cannot be read"),
    "pip": (("virtualenv",), "--engine pip does not work; uv does all that it does but for what uv itself refuses"),
    "s3": (("s3fs",), "models at s3:// cannot be read"),
    "serve": (
        ("starlette", "uvicorn", "httptools", "prometheus_client"),
        "envbuild serve does not work; images bring their own server",
    ),
    "sign": (("cryptography",), "bundles cannot be signed, and where a signature is demanded none can be used"),
    "spark": (("pyspark",), "there is neither envbuild.spark nor envbuild batch --engine spark"),
}


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


def confinement(settings: Settings) -> Iterator[Finding]:
    """What a worker can be kept from on this machine, and by what means."""
    del settings
    from envbuild.bridge import memory

    limit = memory.limited(_ANY_SIZE)
    limit.remove()
    by_group = limit.means == "cgroup"
    yield Finding(
        name="memory limit",
        state="fine" if by_group else "missing",
        found="control groups can be made" if by_group else "this user can make no control group: RLIMIT_DATA is used",
        without="--max-memory holds for each process of a worker, not for all of them together",
    )
    yield _confinement("no network", "--no-network", network=False)
    yield _confinement("read-only", "--read-only", network=True)


def _confinement(name: str, option: str, *, network: bool) -> Finding:
    from envbuild.bridge.confinement import Confinement, means_of

    wanted = Confinement(network=network, read_only=() if not network else (Path(sys.prefix).resolve(),))
    without = f"{option} is refused; everything else works"
    try:
        found = f"{means_of(wanted)} can do it"
    except ConfinementUnavailable as error:
        return Finding(name=name, state="missing", found=error.message, without=without, hint=_INSTALL_BUBBLEWRAP)
    return Finding(name=name, state="fine", found=found, without=without)


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
