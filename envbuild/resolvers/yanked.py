"""Releases that were taken back by their index (PEP 592), and are locked all the same since they are pinned."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from packaging.utils import canonicalize_name

from envbuild.lock import BuildLock, LockedPackage
from envbuild.repairs.attempt import Attempt

_YANKED = re.compile(r"^warning: `([A-Za-z0-9._-]+)==([^`]+)` is yanked(?: \(reason: \"(.*)\"\))?", re.MULTILINE)


def yanked_in(words: str) -> dict[tuple[str, str], str]:
    """The releases that uv says were taken back, by name and version, each with the index's reason."""
    return {(str(canonicalize_name(name)), version): reason for name, version, reason in _YANKED.findall(words)}


def noting_yanked(
    attempt: Attempt,
    packages: Iterable[LockedPackage],
    build: Iterable[BuildLock],
    yanked: Mapping[tuple[str, str], str],
) -> Attempt:
    """The try with a notice for each locked release that was taken back (PEP 592): its pin alone has let it in.

    :param yanked: why, by name and version.
    """
    everything = (*packages, *(package for one in build for package in one.packages))
    for name, version in dict.fromkeys((one.name, one.version or "") for one in everything):
        if (name, version) in yanked:
            reason = yanked[name, version].strip()
            why = f": {reason}" if reason else ", and no reason is given"
            attempt = attempt.noting("yanked", f"{name} {version} is pinned, and was taken back by its index{why}")
    return attempt
