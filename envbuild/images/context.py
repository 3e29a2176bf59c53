"""A build context for those who build elsewhere: everything that the Dockerfile in it needs, and the base's name.

What is installed comes along as files, checked against the lock, so that neither a network nor a credential is needed
where it is built.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild import pipeline, uv
from envbuild.downloads import Downloads
from envbuild.errors import ImageError, UsageError
from envbuild.files import copy_part
from envbuild.images import prefix
from envbuild.images.environment import local_parts, neutral
from envbuild.images.layer import write_layer
from envbuild.images.model import members
from envbuild.lock import Lock, LockedPackage
from envbuild.progress import Step
from envbuild.pylock import write_lock

if TYPE_CHECKING:
    from envbuild.images.making import Plan
    from envbuild.images.workshop import Workshop

# Where the context's `build` is seen while it is built.
INSIDE = "/build"


def write(workshop: Workshop, known: Plan, dockerfile: str, target: Path) -> None:
    """Write a context to a directory that is empty or not there.

    :raises UsageError: there is something already.
    :raises ImageError: the lock names what cannot be taken along.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UsageError(f"{target} is there and not empty", hint="give a directory that is not there yet")
    ready = pipeline.ready(known.locked)
    _refuse(ready)
    for name in ("ground", "build/files"):
        (target / name).mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(known.ground.parts):
        shutil.copyfile(part.layer.path, target / "ground" / f"{number}.tar")
    _write_files(workshop, known, ready, target / "build" / "files")
    _write_prefix(workshop, known, ready, target / "build")
    (target / "build" / "order.json").write_text(json.dumps(_order(workshop, known, ready), indent=1), encoding="utf-8")
    shutil.copyfile(uv.binary(), target / "build" / "uv")
    (target / "build" / "uv").chmod(0o755)
    _copy_model(known, target)
    (target / "Dockerfile").write_text(_with_arguments(dockerfile, known), encoding="utf-8")


def _refuse(lock: Lock) -> None:
    for package in lock.packages:
        if package.kind == "vcs" or (package.kind == "archive" and package.path is None):
            raise ImageError(
                f"{package.name} comes from {package.url}, which is no file of an index: a context cannot hold it",
                hint="envbuild image without --write-context builds it",
            )


def _write_files(workshop: Workshop, known: Plan, ready: Lock, folder: Path) -> None:
    indexes = pipeline.indexes_of(known.locked, workshop.settings)
    with Downloads(indexes, workshop.settings.home, offline=workshop.settings.offline) as downloads:
        for package in _files(ready):
            workshop.report(Step("downloading", package.file_name or package.name, bytes=package.size))
            found = downloads.fetch(package.url or "", {"sha256": package.sha256})
            shutil.copyfile(found, folder / (package.file_name or package.name))
            workshop.report(Step("downloading", package.file_name or package.name, done=True))


def _write_prefix(workshop: Workshop, known: Plan, ready: Lock, folder: Path) -> None:
    """What of the environment comes from conda's channels, where something does: as it lies in the image."""
    channels = pipeline.channels_of(known.locked, workshop.settings)
    with prefix.staged(workshop, ready, channels) as members:
        if members:
            write_layer(folder / prefix.ARCHIVE, members)


def _files(lock: Lock) -> Iterator[LockedPackage]:
    """What is installed, and what it is built with; each file once."""
    builds = (package for build in lock.build for package in build.packages)
    known = {package.sha256: package for package in (*lock.packages, *builds) if package.kind in ("wheel", "sdist")}
    yield from known.values()


def _order(workshop: Workshop, known: Plan, ready: Lock) -> dict[str, Any]:
    lock = known.locked.lock
    return {
        "verb": "build",
        "lock": write_lock(neutral(lock)),
        "ready": write_lock(neutral(ready)),
        "prefix": "" if lock.conda is None else f"{INSIDE}/{prefix.ARCHIVE}",
        "python": known.ground.python.to_dict(),
        "base": "",
        "uv": f"{INSIDE}/uv",
        "model": f"{INSIDE}/model",
        "indexes": {"main": None, "extra": [], "find_links": [f"{INSIDE}/files"], "alone": True},
        "settings": {"offline": True, "build_timeout": workshop.settings.build_timeout},
    }


def _copy_model(known: Plan, target: Path) -> None:
    """The model, checked as for an image of ours; its own packages beside the order as well."""
    root = known.locked.asked.model
    for _ in members(root.path):
        pass
    shutil.copytree(root.path, target / "model", symlinks=True)
    for path, source in local_parts(known.locked.lock, root.path, known.locked.asked.spec.parts):
        copy_part(source, target / "build" / "model" / path)


def _with_arguments(dockerfile: str, known: Plan) -> str:
    """The Dockerfile with the values of its arguments: names and digests of ours, nothing of the model's."""
    values = {
        "BASE_IMAGE": base_name(known),
        "IMAGE_KEY": known.key,
        "LOCK_HASH": known.locked.lock.hash,
    }
    lines = []
    for line in dockerfile.splitlines():
        name = line.removeprefix("ARG ").partition("=")[0].strip()
        lines.append(f"ARG {name}={values[name]}" if line.startswith("ARG ") and name in values else line)
    return "\n".join(lines) + "\n"


def base_name(known: Plan) -> str:
    """A base by its digest where a registry knows it by that, else by its name."""
    base = known.ground.base
    exact = [digest for digest in base.image.digests if digest.endswith(base.digest)]
    return exact[0] if exact else base.reference
