"""What indexes listed when they were last asked, kept for those who may ask nobody."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from envbuild.errors import IndexUnreachable
from envbuild.model import parse_instant
from envbuild.projects import File


def to_keep(files: Iterable[File] | None) -> bytes:
    """What was listed, as the content of a file; ``None``: there was no page."""
    listed = (
        None
        if files is None
        else [
            {
                "filename": file.name,
                "url": file.url,
                "hashes": dict(file.hashes),
                "requires-python": file.requires_python,
                "size": file.size,
                "upload-time": None if file.uploaded is None else file.uploaded.isoformat(),
                "yanked": file.yanked,
                "core-metadata": None if file.metadata is None else dict(file.metadata),
            }
            for file in files
        ]
    )
    return json.dumps(listed).encode()


def read_kept(path: Path, place: str, name: str) -> Sequence[File] | None:
    """What a place listed of a project when it was last asked; ``None``: it had no page of it.

    :raises IndexUnreachable: that is not kept.
    """
    try:
        listed = json.loads(path.read_bytes())
        return None if listed is None else [_read(one) for one in listed]
    except (OSError, ValueError, KeyError, TypeError):
        raise IndexUnreachable(
            f"what {place} says of {name} is not kept, and the network is not to be used",
            hint="run once without --offline",
        ) from None


def _read(one: Mapping[str, Any]) -> File:
    return File(
        name=one["filename"],
        url=one["url"],
        hashes=one["hashes"],
        requires_python=one["requires-python"],
        size=one["size"],
        uploaded=None if one["upload-time"] is None else parse_instant(one["upload-time"]),
        yanked=one["yanked"],
        metadata=one["core-metadata"],
    )
