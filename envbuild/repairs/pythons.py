"""Rules about the Python: a later patch release, another minor version."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from packaging.specifiers import SpecifierSet

from envbuild import target
from envbuild.model import Notice
from envbuild.repairs import releases
from envbuild.repairs.attempt import AnotherPython, Attempt, Failure
from envbuild.repairs.packages import HARD_TO_BUILD
from envbuild.requirement import Demand
from envbuild.target import Target

_MINORS = range(6, 20)

# By the index's word, and by a file's own.
_CLAUSE = r"[<>=!~]+[\w.*]*(?<!\.)"
_WANTS_PYTHON = re.compile(rf"(?:does not satisfy Python|requires Python )({_CLAUSE}(?:, ?{_CLAUSE})*)")


def later_patch(failure: Failure) -> Attempt | None:
    """A package wants a later patch release of the same minor version, which is the one that is here."""
    demanded, here = failure.question.spec.python.text, failure.question.interpreter.version
    if failure.attempt.python is not None or failure.question.settings.python_policy == "exact" or here == demanded:
        return None
    wanted = [SpecifierSet(text) for text in _WANTS_PYTHON.findall(failure.words)]
    if not wanted or not all(specifier.contains(here, prereleases=True) for specifier in wanted):
        return None
    message = f"a package wants Python {wanted[0]}; {here} is here, and stands in for {demanded}"
    return replace(failure.attempt, python=here).noting("later-patch", message)


def python_by_wheels(failure: Failure) -> Attempt | None:
    """No file says which Python made the model, and the pins have wheels for another than the one assumed."""
    if failure.question.spec.python.source == "inferred":
        _ask_for("python-by-wheels", failure, releases.lacks_wheel)
    return None


def neighbouring_python(failure: Failure) -> Attempt | None:
    """The pins have files for a neighbouring minor version, and nothing for the one demanded that is easily built."""
    # Whoever deploys and says which one, by its path even, gets that one.
    if failure.question.spec.python.source != "override":
        _ask_for("neighbouring-python", failure, _lacks_what_it_needs)
    return None


_Lacks: TypeAlias = Callable[[Demand, Failure, Target, str], bool]


def _lacks_what_it_needs(demand: Demand, failure: Failure, wanted: Target, python: str) -> bool:
    # An hour's build, or none, is worth another Python; a small C extension is not.
    if demand.name in HARD_TO_BUILD:
        return releases.lacks_wheel(demand, failure, wanted, python)
    return releases.lacks_file(demand, failure, wanted, python)


def _ask_for(rule: str, failure: Failure, lacks: _Lacks) -> None:
    """Ask for the nearest minor version for which the fewest of the pins lack files, if it is not the one demanded.

    :raises AnotherPython: there is a better one.
    """
    demanded = failure.question.spec.python
    pins = [demand for demand in failure.all_demands() if demand.pin is not None]

    def lacking(python: str, of: list[Demand]) -> list[Demand]:
        wanted = target.here(demanded.minor if python == demanded.text else python)
        return [demand for demand in of if lacks(demand, failure, wanted, python)]

    lost = lacking(demanded.text, pins)
    if not lost:
        return
    minor = int(demanded.minor.split(".")[1])
    candidates = sorted((other for other in _MINORS if other != minor), key=lambda other: (abs(other - minor), other))
    counted = [(len(lacking(f"3.{other}", lost)), f"3.{other}") for other in candidates]
    fewest, python = min(counted, key=lambda pair: pair[0], default=(len(lost), ""))
    # What the others have must not be lost for what this one gains.
    if fewest >= len(lost) or len(lacking(python, pins)) >= len(lost):
        return
    message = (
        f"{', '.join(demand.text for demand in lost[:5])} has no file for Python {demanded.text}; "
        f"Python {python} is taken, for which it has"
    )
    raise AnotherPython(python, Notice(code=rule, message=message, place=demanded.place))
