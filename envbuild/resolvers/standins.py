"""Stand-ins: wheels with nothing but metadata, by which a resolver that knows neither overrides nor our sources learns of both.

Every pip looks for wheels in a directory (``--find-links``) and takes the highest version: a stand-in has the version
that it stands for with a local part of ours (PEP 440), so that it comes before the index's own file, and everything
that asks for the version accepts it.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from envbuild.errors import LockError

_MARK = "envbuild"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What a distribution says of itself, as far as resolving needs it (core metadata)."""

    name: str
    version: str
    requires: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()
    requires_python: str | None = None

    def without(self, names: Collection[str]) -> Metadata:
        """The same that asks for some packages no more."""
        return replace(self, requires=tuple(line for line in self.requires if _name_in(line) not in names))


def _name_in(line: str) -> str | None:
    try:
        return str(canonicalize_name(Requirement(line).name))
    except InvalidRequirement:
        return None


def read_wheel(path: Path) -> Metadata:
    """The metadata in a wheel.

    :raises LockError: it is no wheel.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            member = next(name for name in archive.namelist() if _is_metadata(name))
            text = archive.read(member).decode("utf-8", "replace")
    except (OSError, zipfile.BadZipFile, StopIteration, RuntimeError) as error:
        raise LockError(f"{path.name} is no wheel that can be read") from error
    return read_text(path.name, text)


def read_text(file_name: str, text: str) -> Metadata:
    """The metadata of a wheel as it is written (core metadata).

    :raises LockError: it says no version.
    """
    fields = HeaderParser().parsestr(text)
    try:
        return Metadata(
            name=str(canonicalize_name(str(fields["Name"]))),
            version=str(Version(str(fields["Version"]))),
            requires=tuple(str(line) for line in fields.get_all("Requires-Dist", ())),
            extras=tuple(str(line) for line in fields.get_all("Provides-Extra", ())),
            requires_python=fields["Requires-Python"],
        )
    except ValueError as error:
        raise LockError(f"{file_name} says no version of itself: {error}") from error


def _is_metadata(member: str) -> bool:
    return member.count("/") == 1 and member.endswith(".dist-info/METADATA")


def write(metadata: Metadata, folder: Path) -> str:
    """Write the stand-in of a distribution into a folder, and give its version."""
    lines = [f"Requires-Dist: {line}" for line in metadata.requires]
    lines += [f"Provides-Extra: {extra}" for extra in metadata.extras]
    if metadata.requires_python is not None:
        lines.append(f"Requires-Python: {metadata.requires_python}")
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]
    # It begins with a letter: a local part that is a number would be compared as one.
    version = f"{metadata.version}{'.' if '+' in metadata.version else '+'}{_MARK}.x{digest}"
    _write(metadata, version, lines, folder)
    return version


def write_provided(name: str, version: str, folder: Path) -> None:
    """Write what stands for a distribution that is there already: a resolver finds that very version, and that it needs nothing."""
    _write(Metadata(name=name, version=version), version, (), folder)


def _write(metadata: Metadata, version: str, lines: Iterable[str], folder: Path) -> None:
    stem = f"{metadata.name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    texts = {
        f"{info}/METADATA": "\n".join(
            ["Metadata-Version: 2.1", f"Name: {metadata.name}", f"Version: {version}", *lines, ""]
        ),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: envbuild\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    texts[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*texts, f"{info}/RECORD"))
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as archive:
        for path, text in texts.items():
            archive.writestr(path, text)


def without_mark(text: str) -> str:
    """A text, or a version, without what makes versions those of stand-ins."""
    for separator in ("+", "."):
        head, *rest = text.split(f"{separator}{_MARK}.x")
        text = head + "".join(part[12:] for part in rest)
    return text


def is_stand_in(version: str) -> bool:
    """Whether a version is a stand-in's."""
    return without_mark(version) != version
