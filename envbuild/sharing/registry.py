"""A registry of images (OCI distribution 1.1), in which a lock is an artifact, and each file a layer of it.

.. code-block:: text

    lock-<lock hash>, cut to 128 letters   the artifact: its first layer is what stands before the files in a bundle
    question-<key>, likewise               the same artifact, by the question that it is the answer to

Its annotation ``envbuild.lock-hash`` says which lock it is. ``oras pull`` fetches it as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from envbuild.bundles.manifest import Entry
from envbuild.errors import (
    SharePoisoned,
    UsageError,
)
from envbuild.images.conversation import Conversation
from envbuild.images.manifest import EMPTY_TYPE, MANIFEST_TYPE, Descriptor, canonical, digest_of, image_manifest
from envbuild.images.reference import Reference
from envbuild.sharing.share import Publication

ARTIFACT_TYPE = "application/vnd.envbuild.lock.v1"
_HEAD_TYPE, _FILE_TYPE = f"{ARTIFACT_TYPE}.head", f"{ARTIFACT_TYPE}.file"
_ANNOTATION, _TITLE = "envbuild.lock-hash", "org.opencontainers.image.title"
_EMPTY = b"{}"
_RANGE = 2**24
_LONGEST_TAG = 128


class RegistryShare(AbstractContextManager["RegistryShare"]):
    """See :class:`envbuild.sharing.share.Share`."""

    def __init__(self, name: str) -> None:
        """:raises UsageError: it is no repository's name."""
        self._reference = Reference.parse(name)
        if ":" in name.rpartition("/")[2] or "@" in name:
            raise UsageError(f"{name} names a tag, and a share is a repository", hint="oci://REGISTRY/REPOSITORY")
        self.said = f"oci://{self._reference.name}"
        self._registry = Conversation(self._reference, "pull,push")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._registry.__exit__(kind, error, trace)

    def head(self, lock_hash: str) -> bytes | None:
        """See :class:`envbuild.sharing.share.Share`."""
        document = self._artifact(_tag("lock", lock_hash))
        if document is None:
            return None
        try:
            digest = document["layers"][0]["digest"]
        except (KeyError, IndexError, TypeError):
            raise SharePoisoned(
                f"the lock {lock_hash[:12]} of the share {self.said} is no artifact of envbuild's"
            ) from None
        content = self._registry.ask("GET", f"blobs/{digest}", f"reading the lock {lock_hash[:12]}").content
        if digest_of(content) != digest:
            raise SharePoisoned(f"the lock {lock_hash[:12]} of the share {self.said} is not what its digest says")
        return content

    def answer(self, question: str) -> str | None:
        """See :class:`envbuild.sharing.share.Share`."""
        document = self._artifact(_tag("question", question))
        found = None if document is None else document.get("annotations", {}).get(_ANNOTATION)
        return found if isinstance(found, str) else None

    def lacking(self, files: Iterable[Entry]) -> set[str]:
        """See :class:`envbuild.sharing.share.Share`."""
        return {one.sha256 for one in files if not self._registry.has(f"sha256:{one.sha256}")}

    def put(self, file: Entry, source: Path) -> None:
        """See :class:`envbuild.sharing.share.Share`."""

        def body() -> Iterator[bytes]:
            with open(source, "rb") as opened:
                while block := opened.read(2**20):
                    self._registry.go_on()
                    yield block

        self._registry.send_blob(_descriptor(file), body)

    def publish(self, publication: Publication) -> None:
        """See :class:`envbuild.sharing.share.Share`."""
        empty, head = Descriptor.of(_EMPTY, EMPTY_TYPE), Descriptor.of(publication.head, _HEAD_TYPE)
        self._registry.send_content(empty, _EMPTY)
        self._registry.send_content(head, publication.head)
        manifest: dict[str, Any] = image_manifest(empty, [head, *map(_descriptor, publication.files)])
        titles = ("manifest", *(one.path for one in publication.files))
        for layer, title in zip(manifest["layers"], titles, strict=True):
            layer["annotations"] = {_TITLE: title}
        manifest |= {"artifactType": ARTIFACT_TYPE, "annotations": {_ANNOTATION: publication.lock_hash}}
        for tag in (_tag("lock", publication.lock_hash), _tag("question", publication.question)):
            self._registry.put(tag, canonical(manifest), MANIFEST_TYPE)

    def fetch(self, file: Entry, target: Path) -> None:
        """See :class:`envbuild.sharing.share.Share`."""
        digest, there = f"sha256:{file.sha256}", target.stat().st_size if target.exists() else 0
        with open(target, "ab") as own:
            while there < file.size:
                wanted = {"Range": f"bytes={there}-{min(there + _RANGE, file.size) - 1}"}
                answer = self._registry.ask(
                    "GET", f"blobs/{digest}", f"reading {file.name}", (200, 206), headers=wanted
                )
                # One that knows no ranges gives all of it.
                block = answer.content if answer.status == 206 else answer.content[there:]
                if not block:
                    raise SharePoisoned(f"{file.name} of the share {self.said} ends after {there} of {file.size} bytes")
                own.write(block)
                there += len(block)

    def _artifact(self, tag: str) -> dict[str, Any] | None:
        if self._registry.find_manifest(tag) is None:
            return None
        return self._registry.read_manifest(tag).document()


def _descriptor(file: Entry) -> Descriptor:
    return Descriptor(media_type=_FILE_TYPE, digest=f"sha256:{file.sha256}", size=file.size)


def _tag(kind: str, text: str) -> str:
    return f"{kind}-{text}"[:_LONGEST_TAG]
