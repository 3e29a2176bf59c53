"""conda channels of real content: CPythons of this machine and real wheels, and tiny packages made from nothing.

The formats are those of conda's documentation ("Package specification", "Repodata"). Nothing of conda or py-rattler is
needed to write them.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import zstandard

SUBDIR = {"x86_64": "linux-64", "aarch64": "linux-aarch64"}.get(platform.machine(), "linux-64")
# As long as conda-build makes it: a binary has room for any prefix that is not longer.
PLACEHOLDER = ("/home/conda/build/_h_env" + "_placehold" * 25)[:255]
_MTIME = 1559347200


@dataclass(frozen=True, kw_only=True)
class Content:
    """A file of a package, or a link where ``target`` is there."""

    data: bytes = b""
    mode: int = 0o644
    target: str | None = None
    marked: Literal["text", "binary"] | None = None
    """Whether it holds the placeholder, and how that is to be replaced."""


def text(content: str, mode: int = 0o644) -> Content:
    """A text; where it names :data:`PLACEHOLDER` it says so."""
    return Content(data=content.encode(), mode=mode, marked="text" if PLACEHOLDER in content else None)


def script(content: str) -> Content:
    """A text that can be run."""
    return text(content, 0o755)


def date(day: str) -> datetime:
    """``2019-08-01``."""
    return datetime.fromisoformat(day).replace(tzinfo=timezone.utc)


@dataclass(frozen=True, kw_only=True)
class Package:
    """One package as it is built; what the channel says of it is the same but for ``said``."""

    name: str
    version: str = "1.0"
    build: str = "0"
    number: int = 0
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    files: Mapping[str, Content] = field(default_factory=dict)
    noarch: Literal["python", "generic"] | None = None
    entry_points: tuple[str, ...] = ()
    made: str | None = "2019-06-01"
    """Its day; ``None``: no timestamp, as packages of before 2017 have none."""
    kind: Literal["conda", "tar.bz2"] = "conda"
    said: Mapping[str, Any] = field(default_factory=dict)
    """What the channel says instead; ``None`` takes a key away."""
    subdir: str | None = None

    @property
    def folder(self) -> str:
        return self.subdir or ("noarch" if self.noarch else SUBDIR)

    @property
    def stem(self) -> str:
        return f"{self.name}-{self.version}-{self.build}"

    @property
    def file_name(self) -> str:
        return f"{self.stem}.{self.kind}"

    def index(self) -> dict[str, Any]:
        """Its ``info/index.json``."""
        kind = {"noarch": self.noarch} if self.noarch else {"platform": "linux", "arch": platform.machine()}
        record = {
            "name": self.name,
            "version": self.version,
            "build": self.build,
            "build_number": self.number,
            "depends": list(self.depends),
            "constrains": list(self.constrains),
            "subdir": self.folder,
            "license": "none",
            **kind,
        }
        if self.made is not None:
            record["timestamp"] = int(date(self.made).timestamp() * 1000)
        return record

    def content(self) -> bytes:
        """The file: the same bytes whenever it is made."""
        if self.kind == "tar.bz2":
            return _tar({**self._info(), **self.files}, "w:bz2")
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(zipfile.ZipInfo("metadata.json"), json.dumps({"conda_pkg_format_version": 2}))
            for part, files in (("pkg", self.files), ("info", self._info())):
                packed = zstandard.ZstdCompressor(level=3, threads=-1).compress(_tar(files, "w"))
                archive.writestr(zipfile.ZipInfo(f"{part}-{self.stem}.tar.zst"), packed)
        return buffer.getvalue()

    def _info(self) -> dict[str, Content]:
        texts: dict[str, Any] = {
            "index.json": self.index(),
            "paths.json": {"paths": [*map(_path, sorted(self.files.items()))], "paths_version": 1},
        }
        if self.noarch == "python":
            noarch = {"type": "python", "entry_points": list(self.entry_points)}
            texts["link.json"] = {"noarch": noarch, "package_metadata_version": 1}
        return {f"info/{name}": text(json.dumps(said)) for name, said in texts.items()}


def _path(item: tuple[str, Content]) -> dict[str, Any]:
    name, one = item
    if one.target is not None:
        return {"_path": name, "path_type": "softlink"}
    digest = hashlib.sha256(one.data).hexdigest()
    entry = {"_path": name, "path_type": "hardlink", "sha256": digest, "size_in_bytes": len(one.data)}
    return entry if one.marked is None else {**entry, "prefix_placeholder": PLACEHOLDER, "file_mode": one.marked}


def _tar(files: Mapping[str, Content], mode: Literal["w", "w:bz2"]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=tarfile.PAX_FORMAT) as archive:
        for name, one in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.mode, member.mtime = one.mode, _MTIME
            if one.target is not None:
                member.type, member.linkname = tarfile.SYMTYPE, one.target
            member.size = len(one.data)
            archive.addfile(member, io.BytesIO(one.data))
    return buffer.getvalue()


class Channel:
    """A folder that is a channel; what is added to it is in its repodata at once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in (SUBDIR, "noarch"):
            if not (root / folder / "repodata.json").exists():
                self._write(folder, {"packages": {}, "packages.conda": {}})

    @property
    def url(self) -> str:
        return self.root.as_uri()

    def add(self, *packages: Package) -> Channel:
        """Put packages into it, in the place of those of the same file name."""
        for package in packages:
            content = package.content()
            (self.root / package.folder).mkdir(parents=True, exist_ok=True)
            self.file(package).write_bytes(content)
            record = {
                **package.index(),
                "md5": hashlib.md5(content).hexdigest(),
                "sha256": hashlib.sha256(content).hexdigest(),
                "size": len(content),
                **package.said,
            }
            known = self.repodata(package.folder)
            kept = {key: value for key, value in record.items() if value is not None}
            known["packages.conda" if package.kind == "conda" else "packages"][package.file_name] = kept
            self._write(package.folder, known)
        return self

    def file(self, package: Package) -> Path:
        """Where a package lies."""
        return self.root / package.folder / package.file_name

    def repodata(self, folder: str = SUBDIR) -> dict[str, Any]:
        """What it says of a subdir."""
        path = self.root / folder / "repodata.json"
        known = json.loads(path.read_bytes()) if path.exists() else {"packages": {}, "packages.conda": {}}
        assert isinstance(known, dict)
        return known

    def _write(self, folder: str, known: Mapping[str, Any]) -> None:
        """As large channels have it, plain and compressed."""
        place = self.root / folder
        place.mkdir(parents=True, exist_ok=True)
        written = json.dumps({"info": {"subdir": folder}, **known, "removed": [], "repodata_version": 1}).encode()
        (place / "repodata.json").write_bytes(written)
        (place / "repodata.json.zst").write_bytes(zstandard.ZstdCompressor().compress(written))


@dataclass(frozen=True)
class Channels:
    """Two channels of real packages, side by side in a folder. Nobody may change them."""

    folder: Path

    @property
    def forge(self) -> Channel:
        """As conda-forge was in 2022: CPython 3.8, scikit-learn 1.1.3, pandas; ``noarch``; and the tiny packages."""
        return Channel(self.folder / "forge")

    @property
    def main(self) -> Channel:
        """As ``defaults`` was in 2019: CPython 3.6, scikit-learn 0.21.3, pandas."""
        return Channel(self.folder / "main")

    @property
    def mirrors(self) -> tuple[tuple[str, str], ...]:
        """The setting ``conda_mirror`` with which ``conda-forge`` and ``defaults`` are these two."""
        return (("conda-forge", self.forge.url), ("defaults", self.main.url))
