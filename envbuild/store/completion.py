"""Completion: the last step of a build, on a host and in a building container."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from envbuild import faults
from envbuild.errors import StoreError
from envbuild.interpreters import Fingerprint, Interpreter
from envbuild.lock import Lock
from envbuild.pylock import write_lock
from envbuild.store.lockfile import PYLOCK
from envbuild.store.manifest import MANIFEST, READABLE, Entry, Manifest, digest_of
from envbuild.store.marker import MARKER, Marker
from envbuild.store.writing import sync_directory, sync_file_system, write_whole


def complete(
    place: Path,
    lock: Lock,
    interpreter: Interpreter,
    manifest: Manifest,
    *,
    linked: bool,
    mode: int = READABLE,
    durable: bool = True,
) -> None:
    """Mark an environment as complete. Where it is to last, all of it is on the disk when the marker is.

    :param linked: its files are shared by hard links.
    :param mode: the marker's permissions.
    :param durable: whether it is to stay at its place through a power cut.
    :raises StoreError: its interpreter is gone.
    :raises OSError: it cannot be written.
    """
    fingerprint = Fingerprint.of(interpreter.executable)
    if fingerprint is None:
        raise StoreError(f"{interpreter.executable} went away during the build", hint="build again")
    text = write_lock(lock).encode()
    write_whole(place / PYLOCK, text, READABLE)
    entry = Entry(len(text), hashlib.sha256(text).hexdigest(), READABLE)
    manifest = replace(manifest, files={**manifest.files, PYLOCK: entry})
    content = manifest.to_bytes()
    write_whole(place / MANIFEST, content, READABLE)
    faults.point("manifest written")
    if durable:
        sync_file_system(place)
    faults.point("synced")
    marker = Marker(
        lock_hash=lock.hash,
        interpreter=interpreter,
        fingerprint=fingerprint,
        manifest=digest_of(content),
        size=manifest.size,
        linked=linked,
    )
    write_whole(place / MARKER, marker.to_bytes(), mode)
    sync_directory(place.parent)
