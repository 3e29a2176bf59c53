"""What indexes listed when they were last asked, kept for those who may ask nobody."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from envbuild.errors import IndexUnreachable
from envbuild.model import parse_instant
from envbuild.projects import File


def to_keep(files: Iterable[File]) -> bytes:
    """What was listed, as the content of a file."""
    listed = [
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
    return json.dumps(listed).encode()


def read_kept(path: Path, place: str, name: str) -> Sequence[File]:
    """What a place listed of a project when it was last asked.

    :raises IndexUnreachable: that is not kept.
    """
    try:
        return [
            File(
                name=one["filename"],
                url=one["url"],
                hashes=one["hashes"],
                requires_python=one["requires-python"],
                size=one["size"],
                uploaded=None if one["upload-time"] is None else parse_instant(one["upload-time"]),
                yanked=one["yanked"],
                metadata=one["core-metadata"],
            )
            for one in json.loads(path.read_bytes())
        ]
    except (OSError, ValueError, KeyError, TypeError):
        raise IndexUnreachable(
            f"what {place} says of {name} is not kept, and the network is not to be used",
            hint="run once without --offline",
        ) from None
