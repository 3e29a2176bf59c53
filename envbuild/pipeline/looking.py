"""A model as it is, and the lock that it has already; nothing is resolved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from envbuild import asof
from envbuild.errors import (
    LockError,
)
from envbuild.model import Notice
from envbuild.pipeline.locking import known_lock
from envbuild.pipeline.stages import Asked
from envbuild.repairs.rules import RULES
from envbuild.settings import Settings

if TYPE_CHECKING:
    from envbuild.inspection import Inspection


def inspect(asked: Asked, settings: Settings) -> Inspection:
    """A model, what it asks for, and what that resolved to where it was locked before; nothing is resolved."""
    from envbuild.inspection import Inspection

    asof.check(settings.as_of)
    locked, notices = None, asked.spec.notices
    try:
        locked = known_lock(asked, settings)
    except LockError as error:
        notices = (*notices, Notice(code="lock-unusable", message=error.message, place=error.place))
    lock = None if locked is None else locked.lock
    # What a lock records has no place any more; what was mended just now has.
    used = {(one.code, one.message): one for one in (*(lock.origin.notices if lock else ()), *asked.repairs)}.values()
    return Inspection(
        model=asked.model,
        uri=asked.uri,
        spec=asked.spec,
        notices=(*notices, *(notice for notice in used if notice.code not in RULES)),
        repairs=tuple(notice for notice in used if notice.code in RULES),
        lock=lock,
        lock_source="" if locked is None else locked.source,
    )
