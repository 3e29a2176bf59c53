"""Manifests: what a registry keeps besides blobs, with the indexes and descriptors of OCI's image specification."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envbuild.errors import ImageError

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
# Docker's own forms are what older base images have.
READABLE_TYPES = (
    MANIFEST_TYPE,
    INDEX_TYPE,
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def digest_of(content: bytes) -> str:
    """The digest of some bytes, as OCI writes it: ``sha256:`` and 64 hexadecimal digits."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def is_digest(text: str) -> bool:
    """Whether a text is a digest, and not a tag or anything else."""
    return _DIGEST.fullmatch(text) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """Content in a registry, as OCI names it: type, digest and size in bytes."""

    media_type: str
    digest: str
    size: int

    @classmethod
    def of(cls, content: bytes, media_type: str) -> Descriptor:
        """The descriptor of some bytes."""
        return cls(media_type=media_type, digest=digest_of(content), size=len(content))

    def to_dict(self) -> dict[str, Any]:
        """As manifests have it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A manifest, or an index of manifests, as the registry keeps it."""

    digest: str
    media_type: str
    content: bytes

    def document(self) -> dict[str, Any]:
        """What it says.

        :raises ImageError: it is no JSON object.
        """
        return document_in(self.content, f"the manifest {self.digest}")


def image_manifest(config: Descriptor, layers: Iterable[Descriptor]) -> dict[str, Any]:
    """An image's manifest; an artifact's is one too, with its content as the only layer."""
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": config.to_dict(),
        "layers": [layer.to_dict() for layer in layers],
    }


def index_of(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """An index: a list of manifests, each entry a descriptor."""
    return {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}


def entries_in(document: Mapping[str, Any], what: str) -> list[dict[str, Any]]:
    """The entries of an index.

    :param what: what the document is, as the error says it.
    :raises ImageError: it is no index.
    """
    entries = document.get("manifests")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ImageError(f"{what} is no index of manifests")
    return entries


def canonical(content: Mapping[str, Any]) -> bytes:
    """A document as it is sent: the same content is the same bytes, and so the same digest."""
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def document_in(content: bytes, what: str) -> dict[str, Any]:
    """The JSON object that some bytes are.

    :param what: what they are, as the error says it.
    :raises ImageError: they are none.
    """
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ImageError(f"{what} is no JSON object")
    return document


def referrers_tag(digest: str) -> str:
    """The tag under which a registry without the referrers API has the index of what refers to a digest."""
    return digest.replace(":", "-", 1)
