"""Registries: images are sent there, looked up there, and given artifacts, by their HTTP API (OCI distribution 1.1).

No daemon is asked, and the same image is the same manifest, byte for byte. Layers get there by
:mod:`envbuild.images.blobs`; requests and refusals are the business of :mod:`envbuild.images.conversation`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from envbuild.errors import ImageError
from envbuild.images.blobs import LayerSource, Memory, Sending
from envbuild.images.conversation import Conversation, Mount
from envbuild.images.manifest import (
    CONFIG_TYPE,
    EMPTY_TYPE,
    INDEX_TYPE,
    MANIFEST_TYPE,
    Descriptor,
    Manifest,
    canonical,
    digest_of,
    image_manifest,
    index_of,
    referrers_tag,
)
from envbuild.images.reference import Reference
from envbuild.progress import Report

__all__ = [
    "LayerSource",
    "Manifest",
    "Mount",
    "Pushed",
    "Referrer",
    "attach",
    "manifest_digest",
    "push",
    "read_blob",
    "read_manifest",
    "referrers",
]

_EMPTY = b"{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """An image in a registry."""

    reference: Reference
    """With the digest of its manifest."""
    digest: str
    size: int
    """Bytes of the manifest."""
    sent: int
    """How many layers were sent, were there already, and were mounted from another repository."""
    there: int
    mounted: int
    bytes_sent: int
    """Of layers and config, compressed; 0 where the registry had all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Referrer:
    """An artifact that is attached to an image."""

    digest: str
    """Of its manifest."""
    size: int
    artifact_type: str


def push(
    reference: Reference, config: bytes, layers: Sequence[LayerSource], report: Report, memory: Path | None = None
) -> Pushed:
    """Send an image; it is there under its tag when this returns, and not before all of it is there.

    :param config: the image's configuration, JSON; it names the layers' diff IDs in the same order.
    :param memory: a file that keeps which compressed blob a layer is, so that it need not be compressed to be known.
    :raises RegistryUnreachable: the registry does not answer, also after some tries.
    :raises RegistryRefused: it wants another login, or does not take the image.
    :raises ImageError: a layer is not what its diff ID says, or the registry does not speak as it should.
    """
    with Conversation(reference, "pull,push") as registry, Memory(memory) as known:
        outcomes = Sending(registry, known, report).layers(layers)
        own = Descriptor.of(config, CONFIG_TYPE)
        config_bytes = registry.send_content(own, config)
        manifest = canonical(image_manifest(own, [outcome.blob for outcome in outcomes]))
        digest = registry.put_manifest(manifest, MANIFEST_TYPE)
    # A layer that stands in the image twice went once.
    unique = {outcome.blob.digest: outcome for outcome in outcomes}.values()
    hows = Counter(outcome.how for outcome in unique)
    return Pushed(
        reference=reference.with_digest(digest),
        digest=digest,
        size=len(manifest),
        sent=hows["sent"],
        there=hows["there"],
        mounted=hows["mounted"],
        bytes_sent=config_bytes + sum(outcome.blob.size for outcome in unique if outcome.how == "sent"),
    )


def manifest_digest(reference: Reference) -> str | None:
    """The digest of the manifest that a registry has under a reference; ``None`` where it has none.

    :raises RegistryUnreachable: the registry does not answer.
    :raises RegistryRefused: it wants another login.
    """
    with Conversation(reference, "pull") as registry:
        return registry.find_manifest(reference.key)


def read_manifest(reference: Reference) -> Manifest:
    """The manifest, or the index of manifests for several platforms, that a registry has under a reference.

    :raises RegistryUnreachable: the registry does not answer.
    :raises RegistryRefused: there is none, or it wants another login.
    :raises ImageError: it is not what its digest says.
    """
    with Conversation(reference, "pull") as registry:
        return registry.read_manifest(reference.key)


def read_blob(reference: Reference, digest: str) -> bytes:
    """A blob of an image's repository; for configurations and artifacts, up to 64 MiB.

    :raises RegistryUnreachable: the registry does not answer.
    :raises RegistryRefused: there is none, or it wants another login.
    :raises ImageError: it is not what its digest says, or too large.
    """
    with Conversation(reference, "pull") as registry:
        answer = registry.ask("GET", f"blobs/{digest}", f"reading the blob {digest[:19]}")
    if digest_of(answer.content) != digest:
        raise ImageError(f"what the registry {reference.registry} gives for the blob {digest[:19]} is not it")
    return answer.content


def attach(
    subject: Reference, subject_digest: str, subject_size: int, artifact_type: str, media_type: str, content: bytes
) -> str:
    """Attach an artifact (an SBOM) to an image, and give the digest of the artifact's manifest.

    A registry that keeps no referrers gets them as an index under the tag that OCI 1.1 names for that. Two who
    attach to one image at the same moment may there lose one of the two: it can be attached again.

    :param subject_size: bytes of the image's manifest.
    :raises RegistryUnreachable: the registry does not answer.
    :raises RegistryRefused: it wants another login, or does not take the artifact.
    :raises ImageError: the tag for referrers holds something else.
    """
    own, empty = Descriptor.of(content, media_type), Descriptor.of(_EMPTY, EMPTY_TYPE)
    about = Descriptor(media_type=MANIFEST_TYPE, digest=subject_digest, size=subject_size)
    more = {"artifactType": artifact_type, "subject": about.to_dict()}
    manifest = canonical({**image_manifest(empty, [own]), **more})
    found = Descriptor.of(manifest, MANIFEST_TYPE)
    with Conversation(subject, "pull,push") as registry:
        registry.send_content(empty, _EMPTY)
        registry.send_content(own, content)
        answer = registry.put(found.digest, manifest, MANIFEST_TYPE)
        if "oci-subject" not in answer.headers:
            tag = referrers_tag(subject_digest)
            entries = registry.read_index(tag)
            if found.digest not in {entry.get("digest") for entry in entries}:
                entries = [*entries, {**found.to_dict(), "artifactType": artifact_type}]
                registry.put(tag, canonical(index_of(entries)), INDEX_TYPE)
    return found.digest


def referrers(subject: Reference, artifact_type: str | None = None) -> tuple[Referrer, ...]:
    """What is attached to an image, of one type or of all.

    :raises RegistryUnreachable: the registry does not answer.
    :raises RegistryRefused: it wants another login.
    :raises ImageError: what it answers is no index.
    """
    with Conversation(subject, "pull") as registry:
        digest = subject.digest or registry.find_manifest(subject.key)
        entries = [] if digest is None else registry.read_referrers(digest)
    try:
        found = [
            Referrer(digest=entry["digest"], size=entry["size"], artifact_type=entry.get("artifactType", ""))
            for entry in entries
        ]
    except KeyError as error:
        raise ImageError(f"what the registry {subject.registry} lists as attached is no index") from error
    return tuple(one for one in found if artifact_type in (None, one.artifact_type))
