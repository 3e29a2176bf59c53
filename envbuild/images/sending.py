"""Sending images to a registry, with the bill of what is in them; and what a call made, in the form of ``--json``."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO

from envbuild.errors import EnvbuildError, ImageError, UsageError
from envbuild.images import registry
from envbuild.images.config import unpacked
from envbuild.images.daemon import Daemon
from envbuild.images.making import Images, environment_repository
from envbuild.images.reference import DOCKER_HUB, Reference
from envbuild.images.registry import LayerSource, Mount
from envbuild.images.sbom import MEDIA_TYPE, sbom_of
from envbuild.images.shelf import Shelf
from envbuild.progress import Report
from envbuild.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """An image in a registry."""

    reference: str
    digest: str
    """Of its manifest."""
    layers_sent: int
    layers_there: int
    """Those that the registry had, or took over from another repository."""
    bytes_sent: int
    sbom: str | None = None
    """The digest of the attached bill's manifest."""


def check(tags: Sequence[str], settings: Settings) -> None:
    """Refuse, before the long work begins, to push what names no registry.

    :raises UsageError: there is no name, or it names none.
    """
    if not tags:
        raise UsageError("--push needs a name", hint="-t REGISTRY/NAME:TAG")
    for tag in tags:
        reference = Reference.parse(tag)
        if reference.registry == DOCKER_HUB and "/" not in reference.name:
            raise UsageError(f"{tag} names no registry to push to", hint="-t REGISTRY/NAME:TAG")
    environment_repository(settings, tags)


def sbom(images: Images) -> bytes:
    """The bill of materials of a model's image (CycloneDX, JSON)."""
    plan = images.plan
    base = plan.ground.base
    made = plan.ground.config().created
    return sbom_of(
        plan.locked.lock,
        image=images.model.tags[0].rpartition(":")[0] or images.model.tags[0],
        key=plan.key,
        base=base.reference,
        base_digest=base.digest,
        python=plan.ground.python.version,
        debian={**plan.ground.facts.packages, **plan.ground.packages},
        architecture=base.image.architecture,
        made=datetime.strptime(made, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc),
    )


def push(images: Images, bill: bytes, settings: Settings, report: Report) -> tuple[Sent, ...]:
    """Send the environment's image and the model's, and attach the bill to the latter.

    :raises RegistryUnreachable: a registry does not answer.
    :raises RegistryRefused: it wants another login, or refuses them.
    """
    environment, model = images.environment, images.model
    if environment.config is None or model.config is None:
        raise ImageError("images from a template are pushed by docker push", hint=f"docker push {model.tags[0]}")
    shelf = Shelf(settings.home)
    memory = shelf.note("blobs").path
    names = [Reference.parse(f"{environment_repository(settings, model.tags)}:{environment.key}")]
    names += [Reference.parse(tag) for tag in model.tags]
    sent: list[Sent] = []
    with Daemon.connect() as daemon, _saved(daemon, model.tags[0]) as saved:
        own = {part.layer.diff_id: part.layer.path for part in images.plan.ground.parts}
        mounts = _mounts_of_base(images, names[0])
        for name, config in zip(names, (environment.config, *[model.config] * len(model.tags))):
            sources = [_source(diff_id, own, saved, mounts) for diff_id in config.diff_ids]
            pushed = registry.push(name, config.to_bytes(), sources, report, memory)
            mounts = {**mounts, **_mounts_in(pushed.reference, config.diff_ids)}
            attached = None
            if config is model.config:
                attached = registry.attach(name, pushed.digest, pushed.size, MEDIA_TYPE, MEDIA_TYPE, bill)
            sent.append(
                Sent(
                    reference=str(name),
                    digest=pushed.digest,
                    layers_sent=pushed.sent,
                    layers_there=pushed.there + pushed.mounted,
                    bytes_sent=pushed.bytes_sent,
                    sbom=attached,
                )
            )
    return tuple(sent)


class _Saved:
    """The layers of an image that only the daemon has: asked for once, when the first of them is needed."""

    def __init__(self, daemon: Daemon, tag: str, folder: Path) -> None:
        self._daemon = daemon
        self._tag = tag
        self._folder = folder
        self._lock = threading.Lock()
        self._paths: dict[str, Path] = {}

    def open(self, diff_id: str) -> BinaryIO:
        """A layer's tar."""
        with self._lock:
            if not self._paths:
                self._unpack()
        return open(self._paths[diff_id], "rb")

    def _unpack(self) -> None:
        with tempfile.TemporaryFile(dir=self._folder) as file:
            self._daemon.save(self._tag, file)
            self._paths = {content.diff_id: content.path for content in unpacked(file, self._folder)}


@contextlib.contextmanager
def _saved(daemon: Daemon, tag: str) -> Iterator[_Saved]:
    with tempfile.TemporaryDirectory(prefix="envbuild-push-") as name:
        yield _Saved(daemon, tag, Path(name))


def _source(diff_id: str, own: Mapping[str, Path], saved: _Saved, mounts: Mapping[str, Mount]) -> LayerSource:
    path = own.get(diff_id)

    def opened() -> BinaryIO:
        return saved.open(diff_id) if path is None else open(path, "rb")

    return LayerSource(diff_id=diff_id, open=opened, mount_from=mounts.get(diff_id))


def _mounts_of_base(images: Images, target: Reference) -> dict[str, Mount]:
    """The base's layers as its own registry has them, if that is the one that is pushed to."""
    for digest in images.plan.ground.base.image.digests:
        reference = Reference.parse(digest)
        if reference.registry != target.registry:
            continue
        # It is only a shorter way: where it is closed, the layers are sent.
        with contextlib.suppress(EnvbuildError):
            return _mounts_in(reference, images.plan.ground.base.image.diff_ids)
    return {}


def _mounts_in(reference: Reference, diff_ids: Sequence[str]) -> dict[str, Mount]:
    layers = registry.read_manifest(reference).document().get("layers", ())
    if len(layers) != len(diff_ids):
        return {}
    return {
        diff_id: Mount(
            repository=reference.repository,
            digest=layer["digest"],
            size=layer["size"],
            media_type=layer["mediaType"],
        )
        for diff_id, layer in zip(diff_ids, layers)
    }


def to_dict(images: Images, sent: Sequence[Sent]) -> dict[str, Any]:
    """What was made, as ``envbuild image --json`` says it."""
    plan, environment, model = images.plan, images.environment, images.model
    return {
        "image": model.tags[0],
        "tags": list(model.tags),
        "id": model.id,
        "lock_hash": plan.locked.lock.hash,
        "model_digest": model.digest,
        "python": plan.ground.python.version,
        "environment": {
            "image": environment.tag,
            "id": environment.id,
            "key": environment.key,
            "origin": environment.origin,
        },
        "base": {"name": plan.ground.base.reference, "digest": plan.ground.base.digest},
        "apt": dict(plan.ground.packages),
        "layers": _layers(images),
        "seconds": dict(images.seconds),
        "pushed": [
            {
                "reference": one.reference,
                "digest": one.digest,
                "layers_sent": one.layers_sent,
                "layers_there": one.layers_there,
                "bytes_sent": one.bytes_sent,
                "sbom": one.sbom,
            }
            for one in sent
        ],
    }


def _layers(images: Images) -> list[dict[str, Any]]:
    config = images.model.config
    if config is None:
        return []
    return [
        {"diff_id": layer.diff_id, "what": layer.created_by, "size": images.sizes.get(layer.diff_id)}
        for layer in config.layers
    ]
