"""What is installed in a prefix, by its own word: ``conda-meta`` (conda's "The conda-meta directory")."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

FOLDER = "conda-meta"


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledPackage:
    """One conda package of a prefix."""

    name: str
    version: str
    build: str
    files: Mapping[str, str]
    """Its files by their paths in the prefix, each with the sha256 that it has there; empty where that is not said."""

    @property
    def distributions(self) -> dict[str, str]:
        """What it has in ``site-packages``, by the metadata there: names as an index has them, and versions."""
        folders = {path.split("/")[3] for path in self.files if path.count("/") >= 3}
        return dict(pair for folder in folders if (pair := distribution_of(folder)) is not None)

    @property
    def text(self) -> str:
        """``numpy 1.17.4 py36_0``."""
        return f"{self.name} {self.version} {self.build}"


# A folder of metadata: ``numpy-1.17.4.dist-info``, ``PyYAML-5.1-py3.6.egg-info``.
_FOLDER = re.compile(r"^(?P<name>.+?)-(?P<version>\d[^-]*)(?:-py\d[\d.]*)?\.(?:dist|egg)-info$")


def distribution_of(folder: str) -> tuple[str, str] | None:
    """The distribution whose metadata a folder of ``site-packages`` holds, with its version."""
    found = _FOLDER.match(folder)
    with contextlib.suppress(InvalidVersion):
        if found is not None:
            Version(found["version"])
            return str(canonicalize_name(found["name"])), found["version"]
    return None


def installed(prefix: Path) -> Iterator[InstalledPackage]:
    """The packages of a prefix by name; none where it is none of conda's.

    :raises ValueError: what the prefix says of one cannot be read.
    :raises OSError: it cannot be opened.
    """
    for path in sorted((prefix / FOLDER).glob("*.json")):
        try:
            content = json.loads(path.read_bytes())
            listed = content["paths_data"]["paths"]
            yield InstalledPackage(
                name=str(content["name"]),
                version=str(content["version"]),
                build=str(content["build"]),
                files={
                    str(one["_path"]): str(one.get("sha256_in_prefix") or one.get("sha256") or "") for one in listed
                },
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path.name} cannot be read: {error!r}") from error


def linking_scripts(prefix: Path) -> tuple[str, ...]:
    """The packages of a prefix that have a script to be run when they are linked (conda-build's "Link scripts")."""
    found = (prefix / "bin").glob(".*-post-link.sh")
    return tuple(sorted(path.name.removeprefix(".").removesuffix("-post-link.sh") for path in found))
