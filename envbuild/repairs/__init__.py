"""The named rules that mend what plain resolving would fail on.

Each rule has a name, which is the code of the notice that says it was used, in ``inspect``, in ``lock`` and in the lock
itself, and each can be switched. *Safe* ones keep every version that the model pins and its Python's minor version;
the others need the consent of the one who deploys. ``docs/repairs.md`` lists them all.

``rules``      the names, and the switch
``packages``   what is known of single packages: lists that the rules go by
``reading``    rules that need nothing but what the model says
``attempt``    one try at resolving
``resolving``  the first try, and the rules that answer a failed one by what the engine and the index say, in order:
               ``dates``, ``absences``, ``pins``, ``pythons``, ``wheels``
``releases``   which files a release has, and for whom
"""

from envbuild.repairs.attempt import BUILD_FLOOR, BUILD_TOOLS, AnotherPython, Attempt, Failure
from envbuild.repairs.packages import COMPILED
from envbuild.repairs.reading import mend
from envbuild.repairs.resolving import first_attempt, next_attempt, offers
from envbuild.repairs.rules import NEEDS_CONSENT, RULES, Rule, Switch

__all__ = [
    "BUILD_FLOOR",
    "BUILD_TOOLS",
    "COMPILED",
    "NEEDS_CONSENT",
    "RULES",
    "AnotherPython",
    "Attempt",
    "Failure",
    "Rule",
    "Switch",
    "first_attempt",
    "mend",
    "next_attempt",
    "offers",
]
