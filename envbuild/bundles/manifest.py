"""The manifest: everything that is in a bundle, each file with its size and sha256, and what the files are for."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from envbuild.bundles.sealing import sealed, unsealed
from envbuild.lock_files import form_of_name
from envbuild.target import Target

FORM = 1
"""Raised when a bundle could not be read any more by what reads this form."""
MOST_BYTES = 64 * 2**20
"""The longest manifest."""
# What may lie where, in the order that they have in a bundle.
_SHAPES: Mapping[str, str] = {
    "locks": r"locks/[^/]+",
    "wheels": r"wheels/[^/]+\.whl",
    "conda": r"conda/[^/]+/[^/]+",
    "python": r"python/[^/]+\.tar",
    "model": r"model/.+",
}
KINDS = tuple(_SHAPES)
_SHA256, _CONTROL = re.compile(r"[0-9a-f]{64}"), re.compile(r"[\x00-\x1f\x7f]")
_LONGEST_PART = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of a bundle."""

    path: str
    size: int
    sha256: str

    @property
    def kind(self) -> str:
        """``locks``, ``wheels``, ``conda``, ``python`` or ``model``."""
        return self.path.partition("/")[0]

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.path.rpartition("/")[2]

    @property
    def inside(self) -> str:
        """Its path in its folder."""
        return self.path.partition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltWheel:
    """A wheel in the place of what it was built from."""

    name: str
    """Of the package."""
    version: str
    source: str
    """The sha256 of what the lock names: an sdist, or a directory of the model."""
    sha256: str
    """Of the wheel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledLock:
    """A lock in a bundle, and the wheels that were built for its target."""

    path: str
    target: Target
    hash: str
    """The lock hash: of what was locked, not of what was built of it."""
    built: tuple[BuiltWheel, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BundledPython:
    """An installation of Python in a bundle, as a tar of its own."""

    path: str
    demanded: str
    """The Python that the locks ask for: ``3.8``."""
    key: str
    """Version, ABI and platform: what names it in the store."""
    program: str
    """Where its program lies in the installation."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What is in a bundle; ``files`` stand in the order that they have in it."""

    files: tuple[Entry, ...]
    locks: tuple[BundledLock, ...]
    model: str | None = None
    """The name of the model's directory; ``None`` where no model is in it."""
    python: BundledPython | None = None

    @cached_property
    def model_digest(self) -> str | None:
        """sha256 over the paths and the contents of the model's files."""
        if self.model is None:
            return None
        files = [[one.inside, one.sha256] for one in self.of("model")]
        return hashlib.sha256(json.dumps(files).encode()).hexdigest()

    @cached_property
    def digest(self) -> str:
        """sha256 of the manifest, and so what says which bundle this is."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    def of(self, kind: str) -> tuple[Entry, ...]:
        """The files of a kind."""
        return tuple(one for one in self.files if one.kind == kind)

    def at(self, path: str) -> Entry:
        """The file at a path.

        :raises KeyError: there is none.
        """
        return {one.path: one for one in self.files}[path]

    def to_bytes(self) -> bytes:
        """The file ``manifest.json``."""
        return sealed(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """The form that ``--json`` prints, and that the file has."""
        model = None if self.model is None else {"name": self.model, "digest": self.model_digest}
        return {
            "form": FORM,
            "model": model,
            "python": None if self.python is None else asdict(self.python),
            "locks": [
                {
                    "path": one.path,
                    "python_tag": one.target.python,
                    "platform": one.target.platform,
                    "lock_hash": one.hash,
                    "built": [asdict(wheel) for wheel in one.built],
                }
                for one in self.locks
            ],
            "files": [asdict(one) for one in self.files],
        }


def manifest_of(text: bytes) -> Manifest:
    """The manifest that a ``manifest.json`` holds.

    :raises ValueError: it is none, or names what no bundle may hold.
    """
    content = unsealed(text)
    if content.get("form") != FORM:
        raise ValueError(f"it is of the form {content.get('form')!r}, and {FORM} is known here")
    try:
        manifest = _manifest(content)
        _check(manifest)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"it lacks what a manifest has: {error!r}") from error
    # What it says beside that which is known would be read by nobody.
    if manifest.to_bytes() != text:
        raise ValueError("it says what no manifest of this form does")
    return manifest


def _manifest(content: Mapping[str, Any]) -> Manifest:
    model, python = content["model"], content["python"]
    locks = [
        BundledLock(
            path=one["path"],
            target=Target(one["python_tag"], one["platform"]),
            hash=one["lock_hash"],
            built=tuple(BuiltWheel(**wheel) for wheel in one["built"]),
        )
        for one in content["locks"]
    ]
    return Manifest(
        files=tuple(_entry(**one) for one in content["files"]),
        locks=tuple(locks),
        model=None if model is None else model["name"],
        python=None if python is None else BundledPython(**python),
    )


def ordered(files: Iterable[Entry]) -> tuple[Entry, ...]:
    """Files in the order that they have in a bundle."""
    return tuple(sorted(files, key=lambda one: (KINDS.index(one.kind), one.path)))


def _check(manifest: Manifest) -> None:
    paths = [one.path for one in manifest.files]
    if len(set(paths)) != len(paths):
        raise ValueError("it names a file twice")
    folders = {str(folder) for path in paths for folder in PurePosixPath(path).parents}
    if both := folders & set(paths):
        raise ValueError(f"it names {min(both)!r} as a file and as a folder")
    if manifest.files != ordered(manifest.files):
        raise ValueError("its files are not in their order")
    _check_uses(manifest, set(paths))


def _entry(path: Any, size: Any, sha256: Any) -> Entry:
    if not isinstance(path, str) or not _is_safe(path):
        raise ValueError(f"it names {str(path)[:200]!r}, which is no path in a bundle")
    if type(size) is not int or size < 0:
        raise ValueError(f"the size of {path} is {size!r}")
    if not isinstance(sha256, str) or _SHA256.fullmatch(sha256) is None:
        raise ValueError(f"the sha256 of {path} is none")
    return Entry(path=path, size=size, sha256=sha256)


def _is_safe(path: str) -> bool:
    """Whether a path lies where such a file lies, and leads nowhere else."""
    shape = _SHAPES.get(path.partition("/")[0])
    return (
        shape is not None
        and re.fullmatch(shape, path) is not None
        and _CONTROL.search(path) is None
        and all(_is_name(part) for part in path.split("/"))
    )


def _is_name(part: str) -> bool:
    """Whether something is the name of a file or a folder."""
    try:
        length = len(part.encode())
    except UnicodeEncodeError:
        return False
    return part not in ("", ".", "..") and length <= _LONGEST_PART and "\\" not in part


def _check_uses(manifest: Manifest, paths: set[str]) -> None:
    wheels = {one.sha256 for one in manifest.of("wheels")}
    for one in manifest.locks:
        if not re.fullmatch(r"cp3\d{1,2}", one.target.python) or not re.fullmatch(r"\w+", one.target.platform):
            raise ValueError(f"{str(one.target)[:200]!r} is no target")
        if _SHA256.fullmatch(one.hash) is None or any(wheel.sha256 not in wheels for wheel in one.built):
            raise ValueError(f"what it says of the lock for {one.target} does not fit its files")
    named = [one.path for one in manifest.locks]
    if sorted(named) != [one.path for one in manifest.of("locks")] or not all(map(_is_lock, named)):
        raise ValueError("its locks are not its files of locks")
    if (manifest.model is None) != (not manifest.of("model")):
        raise ValueError("it names a model without files, or files of none")
    if manifest.model is not None and (not _is_name(manifest.model) or "/" in manifest.model):
        raise ValueError(f"{manifest.model[:200]!r} is no name of a model")
    if manifest.model is not None and "model/MLmodel" not in paths:
        raise ValueError("its model has no MLmodel")
    if [one.path for one in manifest.of("python")] != ([] if manifest.python is None else [manifest.python.path]):
        raise ValueError("its Python is not its file of one")
    if manifest.python is not None:
        _check_python(manifest.python)


def _check_python(python: BundledPython) -> None:
    plain = re.fullmatch(r"3(\.\d+){1,2}", python.demanded) and re.fullmatch(r"[\w.+-]+", python.key)
    if plain is None or not all(map(_is_name, python.program.split("/"))):
        raise ValueError(f"what it says of its Python is not so: {python.key[:80]!r}")


def _is_lock(path: str) -> bool:
    return form_of_name(Path(path)) is not None
