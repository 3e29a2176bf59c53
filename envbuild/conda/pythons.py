"""Pythons from conda's channel, for environments that are no conda prefixes themselves: built once a version, and kept.

.. code-block:: text

    <home>/python/conda-<version>-<digest>/    a prefix with Python and what it needs, complete when it has this name
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from envbuild import system_errors
from envbuild.conda.channels import channels_of, urls_of
from envbuild.conda.machine import machine_of
from envbuild.conda.package import CondaPackage
from envbuild.conda.running import Rattler, Solve
from envbuild.conda.session import session
from envbuild.errors import Unresolvable
from envbuild.files import make_private
from envbuild.progress import Report, Step
from envbuild.settings import Settings
from envbuild.target import Target

CHANNEL = "conda-forge"


def kept(settings: Settings) -> Iterator[Path]:
    """The programs of the Pythons that are here already."""
    yield from sorted((settings.home / "python").glob("conda-*/bin/python"))


@session()
def fetched(version: str, target: Target, settings: Settings, report: Report) -> Path | None:
    """The program of a Python of a version (``3.8.5``, or ``3.8`` for the newest of it); ``None``: the channel has none.

    :raises LockError: the channel does not answer, or this machine is none that it has packages for.
    :raises BuildError: it cannot be installed.
    """
    found = channels_of([CHANNEL], (), dict(settings.conda_mirror))
    rattler = Rattler(settings=settings, channels=urls_of(found))
    report(Step("resolving", f"Python {version} from {CHANNEL}"))
    spec = f"python {version}{'' if version.count('.') >= 2 else '.*'}"
    machine = machine_of(target, settings.virtual_package)
    try:
        packages = rattler.solve(Solve(specs=(spec,), channels=found, machine=machine), report)
    except Unresolvable:
        return None
    full = next(package.version for package in packages if package.name == "python")
    place = settings.home / "python" / f"conda-{full}-{_digest(packages)}"
    if not place.exists():
        _install(rattler, packages, machine.subdir, place, report)
    return place / "bin" / "python"


def _digest(packages: tuple[CondaPackage, ...]) -> str:
    content = json.dumps(sorted(package.identity() for package in packages))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _install(rattler: Rattler, packages: tuple[CondaPackage, ...], subdir: str, place: Path, report: Report) -> None:
    """Make a prefix beside its place, for its place; of several who do so at once, the first has made it."""
    settings = rattler.settings
    report(Step("installing", f"Python from {len(packages)} conda packages", count=len(packages)))
    try:
        make_private(settings.home)
        place.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=place.parent, ignore_cleanup_errors=True) as scratch:
            made = Path(scratch) / "prefix"
            rattler.install(packages, made, subdir, report, known_as=place)
            try:
                made.rename(place)
            except OSError:
                if not place.exists():
                    raise
                shutil.rmtree(made, ignore_errors=True)
    except OSError as error:
        raise system_errors.explanation(error, settings.home) from error
