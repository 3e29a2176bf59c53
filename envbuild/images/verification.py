"""Whether an image still holds what its labels say: the environment to the last file, and the model."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from envbuild.errors import ImageError, UsageError
from envbuild.images.container import Box, Container, spooled
from envbuild.images.daemon import Daemon, Found
from envbuild.images.inside import ENVIRONMENT
from envbuild.images.layer import tree, write_layer
from envbuild.images.model import PLACE
from envbuild.progress import Report, Step
from envbuild.store.manifest import Finding
from envbuild.store.marker import MARKER, read_marker
from envbuild.store.verification import findings


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedImage:
    """An image, and what of it is not as its labels say."""

    reference: str
    id: str
    lock_hash: str
    findings: tuple[Finding, ...]


def verified(reference: str, report: Report) -> VerifiedImage:
    """Read an image's environment, and its model, file by file, and say what is not as it was built.

    Nothing of the image is run. The labels are taken as they are: who can write them as well can forge all.

    :raises UsageError: the daemon has no such image.
    :raises ImageError: it is none of envbuild's.
    """
    with Daemon.connect() as daemon:
        return _verified(daemon, reference, report)


def _verified(daemon: Daemon, reference: str, report: Report) -> VerifiedImage:
    image = daemon.find(reference)
    if image is None:
        raise UsageError(f"the Docker daemon has no image {reference}", hint=f"docker pull {reference}")
    lock_hash = image.labels.get("envbuild.lock-hash")
    if lock_hash is None:
        raise ImageError(f"{reference} has no label envbuild.lock-hash: envbuild has not made it")
    report(Step("building", f"reading {reference}"))
    box = Box(image=image.id, command=["/bin/true"])
    with daemon.container(box) as container, tempfile.TemporaryDirectory(prefix="envbuild-verify-") as name:
        found = [*_environment(container, image, Path(name)), *_model(container, image, Path(name))]
    return VerifiedImage(reference=reference, id=image.id, lock_hash=lock_hash, findings=tuple(found))


def _environment(container: Container, image: Found, folder: Path) -> Iterator[Finding]:
    if not _unpacked(container, str(ENVIRONMENT), folder):
        yield Finding("missing", str(ENVIRONMENT), "is missing")
        return
    place = folder / ENVIRONMENT.name
    marker = read_marker(place / MARKER)
    for label, known in (
        ("envbuild.lock-hash", None if marker is None else marker.lock_hash),
        ("envbuild.manifest", None if marker is None else marker.manifest),
    ):
        # Images of a template have no label for the manifest, which is made while they are built.
        if label in image.labels and known is not None and image.labels[label] != known:
            yield Finding("changed", MARKER, f"is not the one of the label {label}")
    yield from findings(place)


def _model(container: Container, image: Found, folder: Path) -> Iterator[Finding]:
    digest = image.labels.get("envbuild.model-digest")
    if digest is None:
        return
    if not _unpacked(container, PLACE, folder):
        yield Finding("missing", PLACE, "is missing")
        return
    layer = write_layer(folder / "model.tar", tree(folder / Path(PLACE).name, PLACE.lstrip("/")))
    if layer.diff_id != digest:
        yield Finding("changed", PLACE, f"has the digest {layer.diff_id[:19]}, and the label says {digest[:19]}")


def _unpacked(container: Container, path: str, folder: Path) -> bool:
    """Unpack a path of a container below a directory; whether it is there."""
    with spooled() as file:
        if not container.get(path, file):
            return False
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                # An environment's Python is a link that leads out of it; nothing is written through links.
                if not member.name.startswith("/") and ".." not in Path(member.name).parts:
                    archive.extract(member, folder, set_attrs=not member.issym(), filter=_plain)
    return True


def _plain(member: tarfile.TarInfo, folder: str) -> tarfile.TarInfo:
    """A member with the modes that it has and nobody's ownership."""
    del folder
    return member.replace(uid=None, gid=None, uname=None, gname=None, deep=False)  # type: ignore[arg-type] # None: leave it
