"""Reading a bundle: nothing of it is believed that was not checked, and nothing of it is used before all of it was."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from envbuild.bundles import members, signature
from envbuild.bundles.manifest import MOST_BYTES, Entry, Manifest, manifest_of
from envbuild.bundles.members import BLOCK, END, MANIFEST, SIGNATURE, Member
from envbuild.bundles.signature import Signature, signature_of
from envbuild.errors import BundleInvalid

_CHUNK = 2**20
_HINT = "copy it again from where it was made; envbuild bundle verify checks it"


def is_bundle(path: Path) -> bool:
    """Whether a file begins as a bundle does."""
    try:
        if not path.is_file():
            return False
        with open(path, "rb") as file:
            return file.read(len(MANIFEST) + 1) == MANIFEST.encode() + b"\0"
    except OSError:
        return False


def holds_model(path: Path) -> bool:
    """Whether a model is in a bundle, by the word of its manifest; of what is no whole one that is said later.

    :raises BundleInvalid: it has no manifest that can be read.
    """
    with Bundle(path) as bundle:
        return bundle.manifest.model is not None


class Bundle:
    """A bundle that is open: its manifest is whole, and its size is the one that it must have; closed when left."""

    def __init__(self, path: Path, *, whole: bool = True) -> None:
        """
        :param whole: it must be of the size that its manifest leaves; else it may be no more than what stands before the
            files.
        :raises BundleInvalid: it is no bundle, or not a whole one.
        """
        self.path = path
        self._is_whole = whole
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise BundleInvalid(f"the bundle {path} cannot be read: {error.strerror}") from error
        try:
            self._read_head()
        except BaseException:
            self.close()
            raise

    def _read_head(self) -> None:
        self._size = os.fstat(self._descriptor).st_size
        self._text, start = self._first(MANIFEST, 0, MOST_BYTES)
        try:
            self.manifest: Manifest = manifest_of(self._text)
        except ValueError as error:
            raise self._damaged(f"its manifest cannot be used: {error}") from None
        self.signature: Signature | None = None
        if self._named(start) == SIGNATURE:
            text, start = self._first(SIGNATURE, start, signature.MOST_BYTES)
            try:
                self.signature = signature_of(text)
            except ValueError as error:
                raise self._damaged(f"its signature cannot be used: {error}") from None
        self._members = {member.entry.path: member for member in members.members(self.manifest, start)}
        last = max((member.end for member in self._members.values()), default=start)
        if self._is_whole and self._size != last + len(END):
            short = self._size < last + len(END)
            raise self._damaged(
                f"it has {self._size} bytes, and by its manifest {last + len(END)}"
                f" ({'it was cut off, or the manifest says too much' if short else 'there is more than is named'})"
            )

    def __enter__(self) -> Bundle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def check_signature(self, key: Path | None) -> None:
        """Be sure that whoever has a public key's other half signed it.

        :param key: a file (PEM); ``None``: none is demanded.
        :raises BundleUntrusted: they have not.
        """
        if key is not None:
            signature.check(self._text, self.signature, key)

    def check(self) -> None:
        """Be sure that each byte of it is the one that its manifest leaves.

        :raises BundleInvalid: one is not.
        """
        end = 0
        for member in self._members.values():
            for _ in self.content(member.entry):
                pass
            end = member.end
        if self._at(self._size - len(END), len(END)) != END:
            raise self._damaged(f"what stands behind byte {end} is no end of a bundle")

    def content(self, entry: Entry) -> Iterator[bytes]:
        """The content of a file, piece by piece; whether it was the right one is said behind the last.

        :raises BundleInvalid: it is not what the manifest says.
        """
        member = self._members[entry.path]
        if self._at(member.start, len(member.header)) != member.header:
            raise self._damaged(self._stranger(member))
        digest, place, left = hashlib.sha256(), member.content, entry.size
        while left > 0:
            piece = self._at(place, min(left, _CHUNK))
            digest.update(piece)
            place, left = place + len(piece), left - len(piece)
            yield piece
        if digest.hexdigest() != entry.sha256:
            raise self._damaged(f"{entry.path} has the sha256 {digest.hexdigest()}; its manifest says {entry.sha256}")
        filling = members.padding(entry.size)
        if self._at(place, filling) != bytes(filling):
            raise self._damaged(f"what stands behind {entry.path} does not belong there")

    def _first(self, name: str, start: int, most: int) -> tuple[bytes, int]:
        """The content of a member whose size nobody knows yet, and where the next one begins."""
        info = self._info(start)
        if info is None or info.name != name or info.size > most:
            raise self._damaged(f"it does not begin with {name}, and is no bundle" if start == 0 else f"no {name}")
        before = members.header(name, info.size)
        filling = members.padding(info.size)
        whole = self._at(start, len(before) + info.size + filling)
        content = whole[len(before) : len(before) + info.size]
        if whole != before + content + bytes(filling):
            raise self._damaged(f"what stands around {name} does not belong there")
        return content, start + len(whole)

    def _info(self, start: int) -> tarfile.TarInfo | None:
        try:
            return tarfile.TarInfo.frombuf(self._at(start, BLOCK), "utf-8", "strict")
        except (tarfile.TarError, UnicodeDecodeError, ValueError):
            return None

    def _named(self, start: int) -> str | None:
        info = self._info(start) if start + BLOCK <= self._size else None
        return None if info is None else info.name

    def _stranger(self, member: Member) -> str:
        """What to say of a member that is not the one that comes next."""
        info = self._info(member.start)
        if info is None:
            return f"what stands before {member.entry.path} is damaged"
        kind = "link" if info.islnk() or info.issym() else "file" if info.isreg() else "member of another kind"
        return f"a {kind}, {info.name[:200]!r}, stands where {member.entry.path} is wanted, or is not written as it is"

    def _at(self, place: int, length: int) -> bytes:
        try:
            content = os.pread(self._descriptor, length, place)
            while 0 < len(content) < length and (
                more := os.pread(self._descriptor, length - len(content), place + len(content))
            ):
                content += more
        except OSError as error:
            raise BundleInvalid(f"the bundle {self.path} cannot be read: {error.strerror}") from error
        if len(content) != length:
            raise self._damaged("it ends too early")
        return content

    def _damaged(self, why: str) -> BundleInvalid:
        return BundleInvalid(f"the bundle {self.path} is refused: {why}", hint=_HINT)
