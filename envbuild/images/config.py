"""What makes layers an image: its config (OCI image specification, and Docker's own fields), and the archive to load.

The image ID is the digest of the config's bytes: equal layers, labels and facts give an equal image. Times are those of
the base or of the model, never the clock's.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

_BLOCK = 2**20
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """How one layer came to be, in words that are the same each time."""

    diff_id: str
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """Everything that an image is, beside the bytes of its layers."""

    architecture: str
    os: str
    created: str
    """RFC 3339."""
    layers: tuple[History, ...]
    """From the lowest to the topmost."""
    user: str = ""
    environ: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    directory: str = "/"
    port: int | None = None
    health: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The config as it is kept and hashed."""
        return json.dumps(self._content(), sort_keys=True, separators=(",", ":")).encode()

    @property
    def id(self) -> str:
        """``sha256:`` and the digest of the config."""
        return f"sha256:{hashlib.sha256(self.to_bytes()).hexdigest()}"

    @property
    def diff_ids(self) -> tuple[str, ...]:
        """The layers by the digests of their uncompressed tars."""
        return tuple(layer.diff_id for layer in self.layers)

    def _content(self) -> dict[str, Any]:
        return {
            "architecture": self.architecture,
            "os": self.os,
            "created": self.created,
            "config": self._run_config(),
            "rootfs": {"type": "layers", "diff_ids": list(self.diff_ids)},
            "history": [{"created": self.created, "created_by": layer.created_by} for layer in self.layers],
        }

    def _run_config(self) -> dict[str, Any]:
        config: dict[str, Any] = {
            "User": self.user,
            "Env": list(self.environ),
            "Entrypoint": list(self.entrypoint),
            "Cmd": list(self.command),
            "WorkingDir": self.directory,
            "Labels": dict(self.labels),
            "StopSignal": "SIGTERM",
        }
        if self.port is not None:
            config["ExposedPorts"] = {f"{self.port}/tcp": {}}
        if self.health:
            # Nanoseconds. Models take their time to load: failures do not count before it is over.
            second = 10**9
            config["Healthcheck"] = {
                "Test": ["CMD", *self.health],
                "Interval": 30 * second,
                "Timeout": 10 * second,
                "StartPeriod": 600 * second,
                "Retries": 3,
            }
        return config


def config_from(content: Mapping[str, Any]) -> ImageConfig | None:
    """A config from its parts, as an image or a daemon says them; ``None`` where they are none that are written here."""
    try:
        run, diff_ids = content["config"], content["rootfs"]["diff_ids"]
        texts = [entry["created_by"] for entry in content["history"]]
        ports = list(run["ExposedPorts"])
        return ImageConfig(
            architecture=content["architecture"],
            os=content["os"],
            created=content["created"],
            layers=tuple(History(diff_id=diff_id, created_by=text) for diff_id, text in zip(diff_ids, texts)),
            user=run["User"],
            environ=tuple(run["Env"]),
            entrypoint=tuple(run["Entrypoint"]),
            command=tuple(run["Cmd"]),
            directory=run["WorkingDir"],
            port=int(ports[0].partition("/")[0]) if ports else None,
            health=tuple(run["Healthcheck"].get("Test", ())[1:]),
            labels=run["Labels"],
        )
    except (KeyError, TypeError, IndexError, ValueError):
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A layer's bytes, for an archive."""

    diff_id: str
    size: int
    path: Path


def archive(config: ImageConfig, tags: Sequence[str], contents: Sequence[Content]) -> Iterator[bytes]:
    """An image as ``docker load`` reads it, piece by piece.

    :param contents: the layers that are sent along; a daemon needs none that it has.
    """
    hexadecimal = config.id.removeprefix("sha256:")
    manifest = {
        "Config": f"{hexadecimal}.json",
        "RepoTags": list(tags),
        "Layers": [_layer_name(diff_id) for diff_id in config.diff_ids],
    }
    yield from _file(f"{hexadecimal}.json", config.to_bytes())
    yield from _file("manifest.json", json.dumps([manifest]).encode())
    for content in {content.diff_id: content for content in contents}.values():
        yield _header(_layer_name(content.diff_id), content.size)
        with open(content.path, "rb") as file:
            while block := file.read(_BLOCK):
                yield block
        yield _padding(content.size)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _layer_name(diff_id: str) -> str:
    return f"{diff_id.removeprefix('sha256:')}/layer.tar"


def _file(name: str, content: bytes) -> Iterator[bytes]:
    yield _header(name, len(content))
    yield content
    yield _padding(len(content))


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.PAX_FORMAT)


def _padding(size: int) -> bytes:
    return bytes(-size % tarfile.BLOCKSIZE)


def unpacked(archive_file: IO[bytes], folder: Path) -> Iterator[Content]:
    """The layers in an archive that ``docker save`` wrote, each in a file of its own."""
    for number, (diff_id, source) in enumerate(layers_in(archive_file)):
        path = folder / str(number)
        with open(path, "wb") as target:
            shutil.copyfileobj(source, target, _BLOCK)
        yield Content(diff_id=diff_id, size=path.stat().st_size, path=path)


def layers_in(archive_file: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    """The layers in an archive that ``docker save`` wrote, each with its diff ID; what is compressed there is not here."""
    with tarfile.open(fileobj=archive_file, mode="r:") as tar:
        manifest = json.load(_member(tar, "manifest.json"))[0]
        known = json.load(_member(tar, manifest["Config"]))["rootfs"]["diff_ids"]
        for diff_id, name in zip(known, manifest["Layers"]):
            yield diff_id, _plain(_member(tar, name))


def _plain(layer: IO[bytes]) -> IO[bytes]:
    """A layer's tar: daemons with containerd's image store have it as it came from its registry."""
    magic = layer.read(2)
    layer.seek(0)
    return cast("IO[bytes]", gzip.GzipFile(fileobj=layer)) if magic == _GZIP else layer


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    found = tar.extractfile(name)
    if found is None:
        raise ValueError(f"the archive has no {name}")
    return found
