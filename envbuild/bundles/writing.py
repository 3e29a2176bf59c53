"""Writing a bundle: the same content is the same bytes, and it is there whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from envbuild import faults
from envbuild.bundles import members, signature
from envbuild.bundles.manifest import Entry, Manifest
from envbuild.errors import BundleIncomplete, UsageError
from envbuild.files import check_target, usual_mode

_CHUNK = 2**20


def write(target: Path, manifest: Manifest, sources: Mapping[str, Path | bytes], sign_key: Path | None) -> None:
    """Write a bundle.

    :param sources: where the content of each file is had, by its path.
    :param sign_key: the private key (PEM) that signs it.
    :raises UsageError: it cannot be written, or not be signed.
    :raises BundleIncomplete: a file is not any more what it was.
    """
    assemble(target, head_of(manifest, sign_key), manifest, sources)


def head_of(manifest: Manifest, sign_key: Path | None) -> bytes:
    """What stands before the files in a bundle: its manifest, and the signature where there is one.

    :raises UsageError: it cannot be signed.
    """
    text = manifest.to_bytes()
    by = None if sign_key is None else signature.signed(text, sign_key).to_bytes()
    return members.head(text, by)


def assemble(target: Path, head: bytes, manifest: Manifest, sources: Mapping[str, Path | bytes]) -> None:
    """Write a bundle that begins as another one does.

    :param head: what stands before the files.
    :raises UsageError: it cannot be written.
    :raises BundleIncomplete: a file is not any more what it was.
    """
    check_target(target)
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
            try:
                file.write(head)
                for member in members.members(manifest, len(head)):
                    file.write(member.header)
                    _copy(sources[member.entry.path], member.entry, file)
                file.write(members.END)
                file.flush()
                os.fchmod(file.fileno(), usual_mode(target))
                os.fsync(file.fileno())
                faults.point("bundle written aside")
                os.replace(file.name, target.resolve())
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise UsageError(
            f"{target} cannot be written: {error.strerror}", hint="is there room, and may you write there?"
        ) from error


def _copy(source: Path | bytes, entry: Entry, file: IO[bytes]) -> None:
    digest, size = hashlib.sha256(), 0
    if isinstance(source, bytes):
        pieces = iter([source])
    else:
        opened = open(source, "rb")  # noqa: SIM115 - closed below
        pieces = iter(lambda: opened.read(_CHUNK), b"")
    try:
        for piece in pieces:
            digest.update(piece)
            size += len(piece)
            file.write(piece)
    finally:
        if not isinstance(source, bytes):
            opened.close()
    if (size, digest.hexdigest()) != (entry.size, entry.sha256):
        raise BundleIncomplete(f"{entry.path} was changed while the bundle was written", hint="export again")
    file.write(bytes(members.padding(size)))
