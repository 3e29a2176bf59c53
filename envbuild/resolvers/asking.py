"""Who asks for whom: what each package of an environment needs, and whom the deployer's ``--remove`` leaves wanting."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from packaging.utils import canonicalize_name

from envbuild.lock import LockedPackage
from envbuild.question import Question
from envbuild.repairs.attempt import Attempt

# `click==8.1.8  # via flask, -r requirements.in`
_ASKED_FOR = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*(?:===?|@)\s*\S.*?\s#\s*via\s+(?P<via>.+)$")


def with_dependencies(packages: tuple[LockedPackage, ...], text: str) -> tuple[LockedPackage, ...]:
    """Packages with the names of those that they asked for.

    :param text: the engine's annotated lines.
    """
    needs: dict[str, set[str]] = {}
    for name, parents in parents_in(text).items():
        for parent in parents:
            needs.setdefault(parent, set()).add(name)
    return tuple(replace(one, dependencies=tuple(sorted(needs.get(one.name, ())))) for one in packages)


def parents_in(text: str) -> Mapping[str, tuple[str, ...]]:
    """The packages that asked for each package, in the annotated lines of an engine's answer."""
    found = {}
    for line in text.splitlines():
        if (match := _ASKED_FOR.match(line)) is not None:
            # Files and options begin with a dash.
            parents = [word for word in match["via"].split(", ") if not word.startswith("-")]
            found[str(canonicalize_name(match["name"]))] = tuple(str(canonicalize_name(one)) for one in parents)
    return found


def noting_removed(question: Question, attempt: Attempt, annotated: Callable[[Attempt], str]) -> Attempt:
    """A try with a notice for each package that the deployer removed and others want all the same, or nobody wants.

    What the model itself asked for of them is gone already; who else asks shows only when they are let in again, beside
    the packages that were found without them.

    :param annotated: gives the engine's annotated lines for a try.
    """
    removed = [demand.text for demand in question.spec.excluded]
    if not removed:
        return attempt
    kept = tuple(name for name in attempt.excluded if name not in removed)
    words = annotated(replace(attempt, excluded=kept))
    parents, asked = parents_in(words), {demand.name for demand in question.spec.replaced}
    for name in removed if words else ():
        if who := parents.get(name):
            message = f"--remove {name}: {', '.join(who)} asks for it, and goes without"
            attempt = attempt.noting("override-removed-need", message)
        elif name not in asked:
            attempt = attempt.noting("override-unused", f"--remove {name} changes nothing: nobody asks for it")
    return attempt
