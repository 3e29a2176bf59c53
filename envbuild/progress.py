"""What long work tells its caller: one event a step, rendered at the edge and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Phase = Literal[
    "checking",
    "resolving",
    "waiting",
    "downloading",
    "building",
    "installing",
    "compiling",
    "packing",
    "pushing",
    "removing",
    "loading",
    "predicting",
]


@dataclass(frozen=True, slots=True)
class Step:
    """Something that was begun (``done`` false) or finished, with how much of how much where that is known."""

    phase: Phase
    text: str
    done: bool = False
    bytes: int | None = None
    count: int | None = None


Report = Callable[[Step], None]


def silent(step: Step) -> None:
    """For callers who don't look."""
    del step
