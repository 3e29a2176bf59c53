"""The manifest: every file of an environment as it was when it was completed."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from envbuild.files import sha256_of
from envbuild.store.marker import MARKER

MANIFEST = "envbuild-manifest.json"
_VERSION = 1
# Who may write a file may truncate it under all who share it: nobody may.
READABLE, EXECUTABLE = 0o444, 0o555

Kind = Literal["changed", "missing", "added", "upgraded"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One file: its size in bytes, its sha256 in hexadecimal, its permissions; of a link, where it leads to."""

    size: int
    sha256: str
    mode: int
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was built: what, which file or package, and in which way."""

    kind: Kind
    what: str
    how: str

    def __str__(self) -> str:
        return f"{self.what} {self.how}"

    def to_dict(self) -> dict[str, str]:
        """The form that ``--json`` prints."""
        return {"kind": self.kind, "what": self.what, "how": self.how}


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The files of an environment by their paths in it; neither the marker nor the manifest itself is among them."""

    files: Mapping[str, Entry]
    differing: frozenset[str] = frozenset()
    """Those that their wheel's own RECORD gets wrong."""

    @property
    def size(self) -> int:
        """The sizes of all files together, in bytes."""
        return sum(entry.size for entry in self.files.values())

    def to_bytes(self) -> bytes:
        """The form that is kept: one line a file, in their order."""
        quoted = json.encoder.encode_basestring_ascii  # 20,000 rows: json.dumps takes five times as long
        rows = [
            f'[{quoted(path)}, {entry.size}, "{entry.sha256}", {entry.mode}, '
            f"{'null' if entry.link is None else quoted(entry.link)}]"
            for path, entry in sorted(self.files.items())
        ]
        head = json.dumps({"version": _VERSION, "differing": sorted(self.differing)})
        return "\n".join([f'{head[:-1]}, "files": [', ",\n".join(rows), "]}", ""]).encode("ascii")

    @classmethod
    def from_bytes(cls, content: bytes) -> Manifest:
        """Read what :meth:`to_bytes` wrote.

        :raises ValueError: it is damaged, or of another version.
        """
        known: Any = json.loads(content)
        if not isinstance(known, dict) or known.get("version") != _VERSION:
            raise ValueError("this is no manifest of this version")
        try:
            files = {path: Entry(*facts) for path, *facts in known["files"]}
            return cls(files=files, differing=frozenset(known["differing"]))
        except (KeyError, TypeError) as error:
            raise ValueError(f"this is no manifest: {error}") from error


def digest_of(content: bytes) -> str:
    """What a marker names a manifest by."""
    return hashlib.sha256(content).hexdigest()


def walk(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every file and link below a directory, by its path in it; the marker and the manifest are left out."""
    stack = [("", str(root))]
    while stack:
        prefix, folder = stack.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    stack.append((f"{prefix}{entry.name}/", entry.path))
                elif prefix or entry.name not in (MARKER, MANIFEST):
                    yield f"{prefix}{entry.name}", entry


def written(
    root: Path,
    known: Callable[[str], str | None],
    differing: Iterable[str] = (),
    *,
    mtime: int | None = None,
) -> Manifest:
    """The manifest of an environment that was just filled; its files become read-only.

    :param known: the sha256 of a file by its path, where somebody knows it; else the file is read.
    :param differing: the files that their wheel's own RECORD gets wrong.
    :param mtime: the time that every known Python source gets (seconds since the epoch), where byte code is matched by it.
    """
    files: dict[str, Entry] = {}
    for path, entry in walk(root):
        facts = entry.stat(follow_symlinks=False)
        if stat.S_ISLNK(facts.st_mode):
            files[path] = Entry(0, "", 0, os.readlink(entry.path))
            continue
        mode = EXECUTABLE if facts.st_mode & 0o111 else READABLE
        digest = known(path)
        # What nobody here has compiled may have come with byte code that goes by its own time.
        if mtime is not None and digest is not None and facts.st_mtime != mtime and path.endswith(".py"):
            os.utime(entry.path, (mtime, mtime))
        if stat.S_IMODE(facts.st_mode) != mode:
            os.chmod(entry.path, mode)
        files[path] = Entry(facts.st_size, digest or sha256_of(entry.path), mode)
    return Manifest(files=files, differing=frozenset(differing))


def differences(root: Path, manifest: Manifest) -> list[Finding]:
    """What of an environment is not as its manifest says, every file read again."""
    there = dict(walk(root))
    found = [Finding("missing", path, "is missing") for path in manifest.files if path not in there]
    found += [Finding("added", path, "was added") for path in there if path not in manifest.files]
    for path, known in manifest.files.items():
        how = _change(there[path], known) if path in there else None
        if how is not None:
            found.append(Finding("changed", path, how))
    return sorted(found, key=lambda finding: finding.what)


def _change(entry: os.DirEntry[str], known: Entry) -> str | None:
    facts = entry.stat(follow_symlinks=False)
    if stat.S_ISLNK(facts.st_mode) or known.link is not None:
        target = os.readlink(entry.path) if stat.S_ISLNK(facts.st_mode) else None
        return None if target == known.link else f"leads to {target}, not to {known.link}"
    if facts.st_size != known.size:
        return f"has {facts.st_size} bytes, not {known.size}"
    if sha256_of(entry.path) != known.sha256:
        return "has other content"
    mode = stat.S_IMODE(facts.st_mode)
    return None if mode == known.mode else f"has the mode {mode:o}, not {known.mode:o}"
