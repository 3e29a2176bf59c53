"""Sizes on the disk: a file counts once, however many names it has."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from packaging.utils import canonicalize_name

Inodes: TypeAlias = Mapping[tuple[int, int], int]
"""Files by device and inode, with the bytes that each takes on the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Bytes that an environment takes: of files that nobody else has, and of those shared with others or the caches."""

    own: int
    shared: int


def inodes(folder: Path) -> Inodes:
    """The files and directories below a directory, itself included; nothing where there is none."""
    found: dict[tuple[int, int], int] = {}
    stack = [str(folder)]
    while stack:
        path = stack.pop()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(path) as entries:
            facts = os.lstat(path)
            found[facts.st_dev, facts.st_ino] = facts.st_blocks * 512
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    facts = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(facts.st_mode):
                        stack.append(entry.path)
                    else:
                        found[facts.st_dev, facts.st_ino] = facts.st_blocks * 512
    return found


def sizes(folder: Path) -> Sizes:
    """What an environment takes, honest about links: a clone looks like a file of its own, since no system says more."""
    names: dict[tuple[int, int], list[int]] = {}
    for path, folders, files in os.walk(folder):
        for name in (*files, *folders):
            with contextlib.suppress(FileNotFoundError):
                facts = os.lstat(os.path.join(path, name))
                links = 1 if stat.S_ISDIR(facts.st_mode) else facts.st_nlink
                names.setdefault((facts.st_dev, facts.st_ino), [facts.st_blocks * 512, links, 0])[2] += 1
    own = sum(size for size, links, here in names.values() if links <= here)
    return Sizes(own=own, shared=sum(size for size, _, _ in names.values()) - own)


def cached_packages(cache: Path) -> Mapping[str, Inodes]:
    """The unpacked wheels in uv's cache by their package's name; empty where uv lays its cache out in another way."""
    found: dict[str, dict[tuple[int, int], int]] = {}
    for folder in cache.glob("archive-v*/*"):
        for info in folder.glob("*.dist-info"):
            name = str(canonicalize_name(info.name.partition("-")[0]))
            found.setdefault(name, {}).update(inodes(folder))
    return found
