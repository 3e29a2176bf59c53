"""Comparing: what both sides make of a case, and what is to be said of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import steady  # noqa: F401 - imported for its effect
from differences import DIFFERENCES, OF_SERVERS_OF_1, Difference, explain
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from sides import Case, Outcome, Sides

SAME, REFUSED, UNEXPLAINED = "same", "same refusal", "unexplained"
REFUSALS = ("input-mismatch", "input-invalid")
EVERY_PHASE, NO_SHRINKING = (Phase.generate, Phase.shrink), (Phase.generate,)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A case with what came of it; ``verdict`` may be a named difference."""

    case: Case
    theirs: Outcome
    ours: Outcome
    verdict: str

    def __str__(self) -> str:
        body, signature = self.case.body[:600], self.case.signature
        return f"{self.case.why or self.verdict}: {signature}\n {body!r}\n theirs {self.theirs}\n ours   {self.ours}\n"


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What came of many cases."""

    verdicts: Counter[str] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def new(self, cases: Sequence[Case]) -> Iterator[Case]:
        """The cases that were not among those before; Hypothesis likes to come back to some."""
        for case in cases:
            key = str(case)
            if key not in self.seen:
                self.seen.add(key)
                yield case


def verdict(sides: Sides, case: Case, theirs: Outcome, ours: Outcome, known: Sequence[Difference]) -> str:
    """What is to be said of a case."""
    if theirs.refused is None and ours.refused is None and theirs.answer == ours.answer:
        return SAME
    if theirs.refused is not None and ours.refused is not None and _is_exact(ours):
        return REFUSED
    return explain(sides.era, case, theirs, ours, known) or UNEXPLAINED


def _is_exact(ours: Outcome) -> bool:
    """Whether a refusal is one of ours, and not an exception that happened to be caught."""
    return ours.code in REFUSALS and "cannot be parsed: " not in str(ours.refused)


def compare(sides: Sides, cases: Sequence[Case], **changes: Any) -> list[Compared]:
    """Our bridge beside the era's own pyfunc; ``changes`` are of the worker's ``load`` order."""
    return _beside(sides, cases, sides.theirs(cases), sides.ours(cases, **changes), DIFFERENCES)


def compare_with_server(sides: Sides, cases: Sequence[Case]) -> list[Compared]:
    """Our bridge beside the scoring server of MLflow 1.x."""
    return _beside(sides, cases, sides.scored(cases), sides.ours(cases), OF_SERVERS_OF_1)


def _beside(
    sides: Sides,
    cases: Sequence[Case],
    theirs: list[Outcome],
    ours: list[Outcome],
    known: Sequence[Difference],
) -> list[Compared]:
    return [
        Compared(case=case, theirs=one, ours=other, verdict=verdict(sides, case, one, other, known))
        for case, one, other in zip(cases, theirs, ours, strict=True)
    ]


def generated(
    batches: st.SearchStrategy[list[Case]],
    compared: Callable[[list[Case]], list[Compared]],
    *,
    examples: int,
    start: int,
    strict: bool = True,
) -> Counted:
    """Compare generated cases; the same ``start`` generates the same ones.

    :param strict: fail at the first difference that nothing explains, with the smallest case that shows it.
    """
    counted = Counted()

    @seed(start)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=EVERY_PHASE if strict else NO_SHRINKING,
        suppress_health_check=list(HealthCheck),
    )
    @given(batches)
    def run(cases: list[Case]) -> None:
        # What fails must fail again, so that Hypothesis can make it smaller.
        done = compared(cases if strict else list(counted.new(cases)))
        unexplained = [str(one) for one in done if one.verdict == UNEXPLAINED]
        counted.verdicts.update(one.verdict for one in done)
        counted.unexplained.extend(unexplained)
        assert not (strict and unexplained), "\n".join(unexplained)

    run()
    return counted
