"""What of an environment's image comes from conda's channels: a prefix, installed on the host for its place in the image.

py-rattler runs where envbuild does, since it is in no image. It installs into a directory of the host and writes the path
inside into every file that names one; what that directory then holds is put into the building container, and pip's half on
top of it there. Nothing of the host goes along: neither where a package was had from nor how it was linked.
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from envbuild import pipeline
from envbuild.builders import conda
from envbuild.conda.installed import FOLDER
from envbuild.conda.machine import glibc_of, needing_newer_glibc
from envbuild.conda.package import CondaHalf, CondaPackage, file_name
from envbuild.conda.running import Rattler
from envbuild.errors import BaseImageUnusable
from envbuild.images.base import Base, Facts
from envbuild.images.inside import ENVIRONMENT
from envbuild.images.layer import Member, tree
from envbuild.images.workshop import Workshop
from envbuild.interpreters import Interpreter
from envbuild.lock import Lock

# The prefix in a build context.
ARCHIVE = "prefix.tar"
# Byte code of channels names the times of its sources, and a layer has one time for all: it is made anew.
_BYTE_CODE = re.compile(r"(^|/)__pycache__(/|$)")
# Programs that packages of an index call, and that are a conda package too: found on the environment's own path.
_PROGRAMS = {"default-jre-headless": "openjdk", "graphviz": "graphviz", "tesseract-ocr": "tesseract"}


def python_in(lock: Lock) -> Interpreter | None:
    """The Python that a lock's conda packages bring, as it is seen inside; ``None`` where the lock has none of them."""
    if lock.conda is None:
        return None
    return replace(pipeline.python_brought(lock), executable=f"{ENVIRONMENT}/bin/python")


def python_build(lock: Lock) -> str:
    """What tells the Python of a lock's conda packages from another build of its version; empty where it has none."""
    packages = () if lock.conda is None else lock.conda.packages
    return next((package.sha256[:12] for package in packages if package.name == "python"), "")


def programs_in(lock: Lock) -> frozenset[str]:
    """The Debian packages that are not needed, since a conda package brings the same programs."""
    names = {package.name for package in (() if lock.conda is None else lock.conda.packages)}
    return frozenset(debian for debian, name in _PROGRAMS.items() if name in names)


def check_libc(lock: Lock, base: Base, facts: Facts) -> None:
    """Be sure that a base's C library is new enough for every conda package.

    A lock that was made for this base is; one that was made elsewhere, or for a machine that somebody named, may not be.

    :raises BaseImageUnusable: it is older.
    """
    there = glibc_of(replace(lock.target, platform=facts.platform))
    if lock.conda is None or there is None:
        return
    for package, needed in needing_newer_glibc(lock.conda.packages, there):
        raise BaseImageUnusable(
            f"the conda package {package.name} {package.version} needs glibc {needed}, and {base.reference} "
            f"has {there}",
            hint="--base-image names a newer one",
        )


@contextlib.contextmanager
def staged(workshop: Workshop, lock: Lock, channels: Sequence[str]) -> Iterator[Sequence[Member]]:
    """The members of a layer that a lock's conda packages are; none where it has none of them.

    :param channels: by URL, with what lets one in.
    :raises BuildError: a package cannot be had or installed.
    """
    half = lock.conda
    if half is None:
        yield ()
        return
    with tempfile.TemporaryDirectory(prefix="envbuild-prefix-") as name:
        # Not the directory itself, which is this process's alone.
        place = Path(name) / "prefix"
        rattler = Rattler(settings=workshop.settings, channels=tuple(channels))
        conda.install(half, place, rattler, workshop.report, known_as=ENVIRONMENT, link_mode="hardlink")
        yield tuple(_members(place, half))


def _members(place: Path, half: CondaHalf) -> Iterator[Member]:
    top = str(ENVIRONMENT).lstrip("/")
    packages = {package.name: package for package in half.packages}
    for member in tree(place, top):
        if _BYTE_CODE.search(member.name):
            continue
        if (
            isinstance(member.source, Path)
            and member.name.startswith(f"{top}/{FOLDER}/")
            and member.source.suffix == ".json"
        ):
            written = json.loads(member.source.read_bytes())
            yield replace(member, source=_record(packages[written["name"]], written))
        else:
            yield member


def _record(package: CondaPackage, written: dict[str, Any]) -> bytes:
    """What conda keeps of an installed package, with what its lock's hash covers and nothing of the host's."""
    paths = [entry for entry in written["paths_data"]["paths"] if not _BYTE_CODE.search(entry["_path"])]
    content = {
        "name": package.name,
        "version": package.version,
        "build": package.build,
        "build_number": package.build_number,
        "subdir": package.subdir,
        "fn": file_name(package.url),
        "url": _url(package),
        "sha256": package.sha256,
        "files": sorted(name for name in written["files"] if not _BYTE_CODE.search(name)),
        "paths_data": {**written["paths_data"], "paths": sorted(paths, key=lambda entry: str(entry["_path"]))},
    }
    return json.dumps(content, indent=1, sort_keys=True).encode()


def neutral(half: CondaHalf) -> CondaHalf:
    """A lock's conda packages without what its hash does not cover: from which channel, when, and why."""
    return replace(half, packages=tuple(map(_neutral, half.packages)), channels=(), virtual_packages=())


def _neutral(package: CondaPackage) -> CondaPackage:
    bare = replace(package, url=_url(package), channel="", md5=None, size=None, made=None)
    return replace(bare, depends=(), constrains=())


def _url(package: CondaPackage) -> str:
    """A URL that names the file and no place."""
    return f"file:///{package.subdir}/{quote(file_name(package.url))}"
