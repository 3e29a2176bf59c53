"""Finding: what was found of one thing that envbuild needs or can use; and the checks that find it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from envbuild.settings import Settings

State = Literal["fine", "missing", "wrong"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing: is it fine, what works without it, and how is it to be had."""

    name: str
    state: State
    """``missing``: it is not there; ``wrong``: it is there and does not do, or nobody can tell."""
    found: str
    """What was seen."""
    without: str
    """What works, and what does not, where it is not fine."""
    hint: str | None = None
    """What to do about it; ``None`` where there is nothing to do."""
    needed: bool = False
    """Whether envbuild does nothing useful without it."""

    @property
    def stops(self) -> bool:
        """Whether envbuild cannot work because of it."""
        return self.needed and self.state != "fine"

    def to_dict(self) -> dict[str, Any]:
        """The form that ``--json`` prints."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A look at one thing; it may fail and it may hang, and neither stops the others."""

    group: str
    name: str
    look: Callable[[Settings], Iterable[Finding]]
    seconds: float
    """After which nobody waits for it any more."""
    needed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The findings of checks that belong together."""

    name: str
    findings: tuple[Finding, ...]

    def to_dict(self) -> dict[str, Any]:
        """The form that ``--json`` prints."""
        return {"name": self.name, "findings": [finding.to_dict() for finding in self.findings]}
