"""Which Python the pins have files for, where the one demanded does not do."""

from __future__ import annotations

from envbuild import target
from envbuild.model import Notice
from envbuild.repairs import releases
from envbuild.repairs.attempt import AnotherPython, Failure
from envbuild.requirement import Demand

_MINORS = range(6, 20)


def ask_for(rule: str, failure: Failure) -> None:
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
