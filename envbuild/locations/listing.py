"""What lies at a URI: files, and what changes when one of them does."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from envbuild.errors import ModelUnreadable
from envbuild.model import MLMODEL

# A lock has a line for each file of each package.
_ALWAYS = (MLMODEL, "pylock.toml", "conda-lock.yml")
# What a model's environment is said in.
_TEXTS = (".yaml", ".yml", ".txt", ".toml", ".json", ".in")
_SMALL_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """One file below a source."""

    path: str
    size: int | None
    """In bytes."""
    tag: str
    """What is another when the content is: an ETag, a checksum, a time."""

    @property
    def is_small(self) -> bool:
        """Whether it is of those that say what a model is and asks for."""
        if self.path in _ALWAYS:
            return True
        is_text = PurePosixPath(self.path).suffix in _TEXTS
        return is_text and "/" not in self.path and (self.size or 0) <= _SMALL_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The files of a model."""

    source: str
    """Where they lie in the end: what an alias or a run leads to."""
    said: str
    """Which one it is that was meant (``version 3 of heart``); empty where the name says it."""
    files: tuple[RemoteFile, ...]

    @property
    def small(self) -> Listing:
        """The same with the files alone that say what it is and asks for."""
        return replace(self, files=tuple(one for one in self.files if one.is_small))

    @property
    def size(self) -> int:
        """In bytes, as far as that is said."""
        return sum(one.size or 0 for one in self.files)

    def key(self, name: str) -> str:
        """What these very files are kept under, as a model of that name."""
        return key_of([name, *([one.path, one.size, one.tag] for one in self.files)])


def key_of(content: Iterable[object]) -> str:
    """What something is kept under that is decided by these."""
    return hashlib.sha256(json.dumps(list(content), sort_keys=True).encode()).hexdigest()[:40]


def listing_from(answer: Mapping[str, Any]) -> Listing:
    """What :mod:`envbuild.locations.program` has answered.

    :raises ModelUnreadable: a file's name leads out of the model.
    """
    files = tuple(RemoteFile(path=path, size=size, tag=tag) for path, size, tag in answer["files"])
    for one in files:
        check_path(one.path)
    return Listing(source=answer["source"], said=answer["said"], files=files)


def check_path(path: str) -> None:
    """Refuse a name that is not simply one below the model.

    :raises ModelUnreadable: it is absolute, leads upwards, or is none.
    """
    parts = path.split("/")
    if not path or path.startswith("/") or "\0" in path or "\\" in path or {"", ".", ".."} & set(parts):
        raise ModelUnreadable(f"{path!r} is no name of a file in a model", hint="whoever made it meant no good")
    if re.match(r"[A-Za-z]:", path):
        raise ModelUnreadable(f"{path!r} is no name of a file in a model", hint="it names a drive")
