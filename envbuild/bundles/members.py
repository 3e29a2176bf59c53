"""Members: the bytes of a bundle around its files. It is a plain tar, and its manifest leaves one way only to write it.

So whoever reads one compares, and parses nothing: no link, no path, no size is believed that the manifest does not give.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from envbuild.bundles.manifest import Entry, Manifest

MANIFEST, SIGNATURE = "manifest.json", "signature.json"
BLOCK = tarfile.BLOCKSIZE
END = bytes(2 * BLOCK)
_MODE = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A file of a bundle, and where in it that lies."""

    entry: Entry
    header: bytes
    start: int
    """Where its header begins."""

    @property
    def content(self) -> int:
        """Where its content begins."""
        return self.start + len(self.header)

    @property
    def end(self) -> int:
        """Where the next member begins."""
        return self.content + self.entry.size + padding(self.entry.size)


def header(name: str, size: int) -> bytes:
    """What stands before a member's content."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, _MODE
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def padding(size: int) -> int:
    """How many zeros follow a content."""
    return -size % BLOCK


def head(manifest: bytes, signature: bytes | None) -> bytes:
    """What stands before the files: the manifest, and the signature where there is one."""
    parts = [(MANIFEST, manifest), *([] if signature is None else [(SIGNATURE, signature)])]
    return b"".join(
        piece
        for name, content in parts
        for piece in (header(name, len(content)), content, bytes(padding(len(content))))
    )


def members(manifest: Manifest, start: int) -> Iterator[Member]:
    """The files of a bundle, each with its place.

    :param start: how long what stands before them is.
    """
    for entry in manifest.files:
        member = Member(entry=entry, header=header(entry.path, entry.size), start=start)
        yield member
        start = member.end
