"""The rules' names, which of them are safe, and the switch that the one who deploys sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from envbuild.errors import UsageError
from envbuild.settings import Repair, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule: its name, and whether it keeps what the model pins."""

    name: str
    safe: bool


_SAFE = (
    "broken-metadata",
    "build-needs",
    "build-tools-floor",
    "conda-tool",
    "dead-index",
    "dummy-package",
    "foreign-platform",
    "later-patch",
    "local-version",
    "mlflow-not-on-index",
    "no-upload-times",
    "numba-bound",
    "pins-as-they-are",
    "python-by-wheels",
    "setuptools-added",
    "setuptools-bound",
    "standard-library",
    "system-package",
    "wheels-first",
    "younger-need",
    "younger-pin",
)
_CONSENT = (
    "double-pin",
    "loose-range",
    "missing-package",
    "nearest-release",
    "neighbouring-python",
    "python-too-old",
)
NEEDS_CONSENT = frozenset(_CONSENT)
RULES: Mapping[str, Rule] = {
    name: Rule(name=name, safe=safe) for names, safe in ((_SAFE, True), (_CONSENT, False)) for name in names
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """Which rules may be used."""

    level: Repair
    allowed: frozenset[str] = frozenset()
    denied: frozenset[str] = frozenset()

    @classmethod
    def of(cls, settings: Settings) -> Switch:
        """The switch as the settings have it.

        :raises UsageError: they name a rule that there is not.
        """
        for name in (*settings.allow_repair, *settings.deny_repair):
            if name not in RULES:
                raise UsageError(f"there is no repair called {name!r}", hint=f"there are: {', '.join(sorted(RULES))}")
        return cls(
            level=settings.repair, allowed=frozenset(settings.allow_repair), denied=frozenset(settings.deny_repair)
        )

    def allows(self, name: str) -> bool:
        """Whether a rule may be used: what is named alone counts more than the level, a refusal more than leave."""
        if name in self.denied:
            return False
        return name in self.allowed or self.level == "all" or (self.level == "safe" and RULES[name].safe)

    def everything(self) -> Switch:
        """The same with consent to all that is not refused by name: for saying what consent would bring."""
        return Switch(level="all", allowed=self.allowed, denied=self.denied)

    def key(self) -> list[str]:
        """What identifies it in a key: the rules that may be used."""
        return sorted(name for name in RULES if self.allows(name))
