"""Tracing: the trace that a request belongs to, as its caller says it (W3C Trace Context, Recommendation, level 1)."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final

_PARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_KEY: Final = r"[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13}"
_MEMBER: Final = re.compile(rf"({_KEY})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{{0,255}}[\x21-\x2b\x2d-\x3c\x3e-\x7e]", re.ASCII)
_MOST_MEMBERS: Final = 32
_LONGEST_STATE: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A trace, and this server's part in it."""

    id: str
    parent: str
    """The caller's part."""
    span: str
    """Our own."""
    flags: str
    state: str | None = None
    """What the systems of tracing on the way wrote down for themselves."""

    def response(self) -> str:
        """The header ``traceresponse``, by which the caller finds our part (W3C Trace Context, level 2 and its draft)."""
        return f"00-{self.id}-{self.span}-{self.flags}"


def trace_of(parents: list[str], states: list[str]) -> Trace | None:
    """The trace that the headers name; ``None`` where they name none, or break the rules.

    :param parents: the values of ``traceparent``, of which there must be one.
    :param states: those of ``tracestate``, which are one list.
    """
    match = _PARENT.fullmatch(parents[0]) if len(parents) == 1 else None
    if match is None:
        return None
    version, trace, parent, flags, more = match.groups()
    if version == "ff" or (version == "00" and more) or not trace.strip("0") or not parent.strip("0"):
        return None
    # Of a later version's flags only the first is known: whether the caller records.
    flags = f"{int(flags, 16) & 1:02x}"
    return Trace(id=trace, parent=parent, span=os.urandom(8).hex(), flags=flags, state=_state(states))


def _state(values: list[str]) -> str | None:
    """A list of members with different keys, or nothing of it."""
    members = [member for value in values for member in map(str.strip, value.split(",")) if member]
    matches = [_MEMBER.fullmatch(member) for member in members]
    keys = [match[1] for match in matches if match is not None]
    joined = ",".join(members)
    is_right = 0 < len(members) <= _MOST_MEMBERS and len(joined) <= _LONGEST_STATE and len(set(keys)) == len(members)
    return joined if is_right else None
