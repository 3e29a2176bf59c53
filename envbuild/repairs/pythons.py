"""Rules about the Python: a later patch release, another minor version."""

from __future__ import annotations

import re
from dataclasses import replace

from packaging.specifiers import SpecifierSet

from envbuild import target
from envbuild.model import Notice
from envbuild.repairs import releases
from envbuild.repairs.attempt import AnotherPython, Attempt, Failure
from envbuild.requirement import Demand

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
        _ask_for("python-by-wheels", failure)
    return None


def neighbouring_python(failure: Failure) -> Attempt | None:
    """The pins have wheels for a neighbouring minor version, and not for the one demanded."""
    # Whoever deploys and says which one, by its path even, gets that one.
    if failure.question.spec.python.source != "override":
        _ask_for("neighbouring-python", failure)
    return None


def _ask_for(rule: str, failure: Failure) -> None:
    """Ask for the nearest minor version for which more of the pins have files, if there is one.

    :raises AnotherPython: there is.
    """
    demanded = failure.question.spec.python
    pins = [demand for demand in failure.index_demands() if demand.pin is not None]
    lacking = _lacking(demanded.minor, demanded.text, pins, failure)
    if not lacking:
        return
    minor = int(demanded.minor.split(".")[1])
    candidates = sorted((other for other in _MINORS if other != minor), key=lambda other: (abs(other - minor), other))
    counted = [(len(_lacking(f"3.{other}", f"3.{other}", lacking, failure)), f"3.{other}") for other in candidates]
    fewest, python = min(counted, key=lambda pair: pair[0], default=(len(lacking), ""))
    # What the others have must not be lost for what this one gains.
    if fewest >= len(lacking) or len(_lacking(python, python, pins, failure)) >= len(lacking):
        return
    message = (
        f"{', '.join(demand.text for demand in lacking[:5])} has no file for Python {demanded.text}; "
        f"Python {python} is taken, for which it has"
    )
    raise AnotherPython(python, Notice(code=rule, message=message, place=demanded.place))


def _lacking(minor: str, python: str, pins: list[Demand], failure: Failure) -> list[Demand]:
    wanted = target.here(minor)
    return [demand for demand in pins if releases.lacks_wheel(demand, failure, wanted, python)]
