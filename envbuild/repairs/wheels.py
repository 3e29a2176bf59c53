"""Rules about the files of a release: wheels where one will do, and sdists that say too little of their build."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from packaging.utils import canonicalize_name

from envbuild.repairs import releases
from envbuild.repairs.attempt import Attempt, Failure, not_built
from envbuild.repairs.packages import BUILD_CURES, PACKAGE_OF_MODULE

_NO_WHEEL = re.compile(r"Wheels are required for `([A-Za-z0-9._-]+)`")


def no_wheel_here(failure: Failure) -> Attempt | None:
    """A compiled package that has no wheel for this Python, by the index's own word: its sdist is built."""
    return _sdists_too(failure, lambda name: releases.has_no_wheel(name, failure))


def sdists_after_all(failure: Failure) -> Attempt | None:
    """Wheels alone do not do, for whatever reason."""
    return _sdists_too(failure, lambda name: True)


def _sdists_too(failure: Failure, concerns: Callable[[str], bool]) -> Attempt | None:
    following = failure.attempt
    for name in sorted({str(canonicalize_name(name)) for name in _NO_WHEEL.findall(failure.words)}):
        if name in following.wheels_only and concerns(name):
            following = replace(
                following, wheels_only=following.wheels_only - {name}, sdists_too=following.sdists_too | {name}
            ).noting("wheels-first", f"{name} has no wheel that will do; its sdist is built")
    return None if following is failure.attempt else following


_NO_MODULE = re.compile(r"(?:ModuleNotFoundError|ImportError): No module named '?([A-Za-z0-9_]+)")


def build_needs(failure: Failure) -> Attempt | None:
    """An sdist that is built with more than it says, or with an older tool: it gets that too."""
    name = not_built(failure.words)
    if name is None:
        return None
    for need in _cures(failure.words):
        had = failure.attempt.build_needs.get(name, ())
        if need in had or canonicalize_name(re.split("[<=]", need)[0]) == name:
            continue
        needs = {**failure.attempt.build_needs, name: (*had, need)}
        message = f"the sdist of {name} does not say that it is built with {need}; it gets that"
        return replace(failure.attempt, build_needs=needs).noting("build-needs", message)
    return None


def _cures(words: str) -> Iterable[str]:
    for pattern, need in BUILD_CURES:
        if re.search(pattern, words):
            yield need
    for module in _NO_MODULE.findall(words):
        yield PACKAGE_OF_MODULE.get(module, canonicalize_name(module))


def wheel_instead(failure: Failure) -> Attempt | None:
    """An sdist that cannot be built, of a package that nobody pins: only its wheels are looked at."""
    attempt, name = failure.attempt, not_built(failure.words)
    if name is None:
        return None
    pinned = any(demand.name == name and demand.pin is not None for demand in attempt.demands)
    if pinned or name in attempt.wheels_only or name in attempt.sdists_too:
        return None
    message = f"an sdist of {name} cannot be built; only its wheels are looked at"
    return replace(attempt, wheels_only=attempt.wheels_only | {name}).noting("wheels-first", message)
