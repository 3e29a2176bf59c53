"""What wheels say of their own files: the RECORD of each installed distribution (PyPA, "Recording installed projects")."""

from __future__ import annotations

import base64
import binascii
import csv
import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """An installed distribution and its files, by path in the environment, each with the sha256 that its RECORD gives.

    Some backends give none: it is empty then, as it is for RECORD itself.
    """

    name: str
    version: str
    files: Mapping[str, str]


def distributions(environment: Path, known: Mapping[str, Mapping[str, str]] | None = None) -> Iterator[Distribution]:
    """What is installed in an environment.

    :param known: the files of distributions whose RECORD need not be read, by name.
    """
    for site in (environment / "lib").glob("python*/site-packages"):
        for folder in site.glob("*.dist-info"):
            stem, _, version = folder.name.removesuffix(".dist-info").rpartition("-")
            name = str(canonicalize_name(stem))
            files = None if known is None else known.get(name)
            if files is None:
                files = _rows(folder / "RECORD", site.relative_to(environment).as_posix())
            yield Distribution(name=name, version=version, files=files)


def _rows(record: Path, site: str) -> dict[str, str]:
    try:
        with open(record, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return {posixpath.normpath(f"{site}/{row[0]}"): _sha256(row[1]) for row in csv.reader(file) if len(row) > 1}
    except FileNotFoundError:
        return {}


def _sha256(text: str) -> str:
    """``sha256=…`` in URL-safe base64 without padding, as hexadecimal; empty for anything else."""
    kind, _, value = text.partition("=")
    try:
        return base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)).hex() if kind == "sha256" else ""
    except (ValueError, binascii.Error):
        return ""
