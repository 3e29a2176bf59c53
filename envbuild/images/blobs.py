"""Layers as blobs of a registry: found there, mounted from another repository, or packed and sent, side by side.

A blob is the layer's tar as gzip, with nothing of the day or the machine in it. What the registry has is not sent
again, and a layer whose blob is remembered is not even packed to learn that.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Literal

from envbuild.errors import EnvbuildError, ImageError
from envbuild.files import write_whole
from envbuild.images.conversation import Conversation, Mount
from envbuild.images.manifest import LAYER_TYPE, Descriptor, canonical, is_digest
from envbuild.progress import Report, Step

_SIDE_BY_SIDE = 3
_BLOCK = 2**20
_STEP_BYTES = 64 * 2**20
_LEVEL = 6
_GZIP = 16 + zlib.MAX_WBITS

How = Literal["sent", "there", "mounted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSource:
    """A layer: its diff ID, and the uncompressed tar, which is opened only if it must be read."""

    diff_id: str
    open: Callable[[], BinaryIO]
    mount_from: Mount | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a layer."""

    blob: Descriptor
    how: How


class Memory(AbstractContextManager["Memory"]):
    """Which compressed blob a layer is; a file that may be thrown away, damaged or missing at any time."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._new: dict[str, Descriptor] = {}
        self._kept = _kept(path)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._path is None or not self._new:
            return
        # Read again: another push may have written meanwhile.
        known = {**_kept(self._path), **self._new}
        content = {diff_id: [blob.digest, blob.size] for diff_id, blob in known.items()}
        # An image that was sent does not fail because that is not remembered.
        with suppress(OSError, EnvbuildError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, canonical(content))

    def get(self, diff_id: str) -> Descriptor | None:
        """The blob of a layer, as it was known when this began."""
        return self._kept.get(diff_id)

    def put(self, diff_id: str, blob: Descriptor) -> None:
        """Keep it for the next push; several threads may do so."""
        with self._lock:
            self._new[diff_id] = blob


def _kept(path: Path | None) -> dict[str, Descriptor]:
    try:
        content = {} if path is None else json.loads(path.read_bytes())
        return {
            str(diff_id): Descriptor(media_type=LAYER_TYPE, digest=digest, size=int(size))
            for diff_id, (digest, size) in content.items()
            if is_digest(digest)
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


class Sending:
    """The layers of one image, side by side."""

    def __init__(self, registry: Conversation, memory: Memory, report: Report) -> None:
        self._registry = registry
        self._memory = memory
        self._report = report

    def layers(self, layers: Sequence[LayerSource]) -> list[Outcome]:
        """Have all of them in the registry; an interrupt or a failure stops the others too.

        :raises RegistryUnreachable: the registry does not answer, also after some tries.
        :raises RegistryRefused: it wants another login, or does not take a layer.
        :raises ImageError: a layer is not what its diff ID says, or cannot be packed.
        """
        unique = {layer.diff_id: layer for layer in layers}
        with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
            tasks = {diff_id: pool.submit(self._layer, layer) for diff_id, layer in unique.items()}
            try:
                for task in wait(tasks.values(), return_when=FIRST_EXCEPTION).done:
                    task.result()
            except BaseException:
                self._registry.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [tasks[layer.diff_id].result() for layer in layers]

    def _layer(self, layer: LayerSource) -> Outcome:
        text = f"layer {layer.diff_id.removeprefix('sha256:')[:12]}"
        found = self._mounted(layer) or self._remembered(layer) or self._sent(layer, text)
        sent = found.blob.size if found.how == "sent" else 0
        self._report(Step("pushing", text, done=True, bytes=sent))
        return found

    def _mounted(self, layer: LayerSource) -> Outcome | None:
        """Asked first, so that the same image is the same manifest whatever was sent before."""
        source = layer.mount_from
        if source is None:
            return None
        blob = Descriptor(media_type=source.media_type, digest=source.digest, size=source.size)
        if self._registry.has(blob.digest):
            return Outcome(blob=blob, how="there")
        return Outcome(blob=blob, how="mounted") if self._registry.mount(source) else None

    def _remembered(self, layer: LayerSource) -> Outcome | None:
        blob = self._memory.get(layer.diff_id)
        return None if blob is None or not self._registry.has(blob.digest) else Outcome(blob=blob, how="there")

    def _sent(self, layer: LayerSource, text: str) -> Outcome:
        self._report(Step("pushing", text))
        # A file without a name: nothing of it is left, however this process ends.
        with tempfile.TemporaryFile(prefix="envbuild-") as file:
            blob = self._compressed(layer, file)
            self._memory.put(layer.diff_id, blob)
            if self._registry.has(blob.digest):
                return Outcome(blob=blob, how="there")
            self._registry.send_blob(blob, lambda: self._body(file, text))
        return Outcome(blob=blob, how="sent")

    def _compressed(self, layer: LayerSource, file: IO[bytes]) -> Descriptor:
        """Write a layer as gzip: no name and no time in it, so that the same tar is the same blob."""
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        plain, packed = hashlib.sha256(), hashlib.sha256()
        try:
            with layer.open() as tar:
                for block in self._blocks(tar):
                    plain.update(block)
                    packed.update(part := packer.compress(block))
                    file.write(part)
            packed.update(part := packer.flush())
            file.write(part)
        except OSError as error:
            raise ImageError(
                f"the layer {layer.diff_id[:19]} cannot be packed: {error.strerror or error}",
                hint=f"is there room in {tempfile.gettempdir()}? TMPDIR names another place",
            ) from error
        if f"sha256:{plain.hexdigest()}" != layer.diff_id:
            raise ImageError(f"the layer {layer.diff_id[:19]} is another than its diff ID says")
        return Descriptor(media_type=LAYER_TYPE, digest=f"sha256:{packed.hexdigest()}", size=file.tell())

    def _body(self, file: IO[bytes], text: str) -> Iterator[bytes]:
        file.seek(0)
        sent = said = 0
        for block in self._blocks(file):
            yield block
            sent += len(block)
            if sent - said >= _STEP_BYTES:
                said = sent
                self._report(Step("pushing", text, bytes=sent))

    def _blocks(self, file: IO[bytes]) -> Iterator[bytes]:
        while block := file.read(_BLOCK):
            self._registry.go_on()
            yield block
