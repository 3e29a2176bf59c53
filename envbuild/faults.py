"""Fault points: the named steps between which a process may be killed at any instant.

They do nothing. The tests put a function into :data:`reached` that ends the process at a chosen point, and show that
the next call succeeds (``docs/store.md``).
"""

from __future__ import annotations

from collections.abc import Callable


def _nothing(name: str) -> None:
    del name


reached: Callable[[str], None] = _nothing


def point(name: str) -> None:
    """This step is done, and the next one has not begun."""
    reached(name)
