"""Whether a conda package is what a match spec asks for, as far as that is plain (conda's "Package match specifications").

Only conda itself orders versions such as ``1.0.1post2`` or ``2024a``. What it would take conda to tell is not told: an
answer of ``False`` is certain, and one of ``True`` may be wrong there.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from itertools import zip_longest

_SPEC = re.compile(r"(?:[^\s\[]*::)?[A-Za-z0-9_.\-]+(?P<rest>[^\[]*)(?P<brackets>\[.*\])?")
_CLAUSE = re.compile(r"(?P<operator>==|!=|>=|<=|~=|>|<|=)?(?P<version>[^<>=!~]+)")
_Order = Callable[[list[int], list[int]], bool]
# Patterns are more than that.
_VERSION = re.compile(r"[\w.!+-]+\*?")
_ORDERS: Mapping[str, _Order] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


def may_match(spec: str, version: str, build: str) -> bool:
    """Whether a package of that version and build may be what a spec asks for; its name is.

    :param spec: as written: ``numpy=1.17``, ``numpy 1.17.4 py36_0``, ``numpy>=1.17,<2``.
    """
    found = _SPEC.fullmatch(spec.strip())
    if found is None or found["brackets"]:
        return True
    # Blanks separate the version from the build, and may stand beside operators.
    rest = re.sub(r"\s*([,|<>=!~]+)\s*", r"\1", found["rest"].strip())
    if (fuzzy := re.fullmatch(r"=([^=\s,|]+)(?:[=\s](\S+))?", rest)) is not None:
        return _fuzzy(fuzzy[1], fuzzy[2], version, build)
    asked, _, of_build = rest.partition(" ")
    return _may_be_of_build(of_build, build) and any(
        all(_may_meet(clause, version) for clause in choice.split(",")) for choice in asked.split("|")
    )


def _fuzzy(asked: str, of_build: str | None, version: str, build: str) -> bool:
    """``=1.17`` is any 1.17; with a build, ``=1.17.4=py36_0``, it is that version."""
    if of_build is None:
        return _begins(version, asked)
    return _may_be_of_build(of_build, build) and _may_meet(asked, version)


def _may_be_of_build(asked: str, build: str) -> bool:
    return not asked or asked.startswith("^") or fnmatchcase(build, asked)


def _may_meet(clause: str, version: str) -> bool:
    found = _CLAUSE.fullmatch(clause.strip())
    if found is None or found["version"] == "*" or _VERSION.fullmatch(found["version"]) is None:
        return True
    sign, asked = found["operator"] or "==", found["version"]
    if sign in _ORDERS:
        asked_numbers, numbers = _numbers(asked.removesuffix(".*")), _numbers(version)
        return asked_numbers is None or numbers is None or _in_order(_ORDERS[sign], numbers, asked_numbers)
    if sign == "=" or (sign == "==" and asked.endswith("*")):
        return _begins(version, asked)
    if sign == "==":
        return _is_same(version, asked)
    return sign == "~=" or not (_begins(version, asked) if asked.endswith("*") else _is_same(version, asked))


def _begins(version: str, asked: str) -> bool:
    """``1.17.4`` and ``1.17rc1`` begin with ``1.17``, ``1.170`` does not."""
    asked = asked.rstrip("*").rstrip(".")
    return version.startswith(asked) and not (version[len(asked) :][:1].isdigit() and asked[-1:].isdigit())


def _is_same(version: str, asked: str) -> bool:
    numbers, asked_numbers = _numbers(version), _numbers(asked)
    if numbers is None or asked_numbers is None:
        return version == asked
    return _in_order(operator.eq, numbers, asked_numbers)


def _in_order(order: _Order, one: list[int], other: list[int]) -> bool:
    pairs = list(zip_longest(one, other, fillvalue=0))
    return order([left for left, _ in pairs], [right for _, right in pairs])


def _numbers(version: str) -> list[int] | None:
    """A version of numbers alone, whose order is the same everywhere."""
    return list(map(int, version.split("."))) if re.fullmatch(r"\d{1,18}(\.\d{1,18})*", version) else None
