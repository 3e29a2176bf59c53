"""The way of the data, one function an arrow:

model → spec → (override) → lock → environment → worker → predictions
"""

from __future__ import annotations

from envbuild.pipeline.asking import ask, read
from envbuild.pipeline.building import build, provide, python_brought, ready
from envbuild.pipeline.locking import keep as keep_lock
from envbuild.pipeline.locking import known_lock, lock, question_key
from envbuild.pipeline.looking import inspect
from envbuild.pipeline.running import absent_variables, keep, start, worker
from envbuild.pipeline.sources import asked_indexes, channels_of, indexes_of
from envbuild.pipeline.stages import Asked, Built, Locked

__all__ = [
    "Asked",
    "Built",
    "Locked",
    "absent_variables",
    "ask",
    "asked_indexes",
    "build",
    "channels_of",
    "indexes_of",
    "inspect",
    "keep",
    "keep_lock",
    "known_lock",
    "lock",
    "provide",
    "python_brought",
    "question_key",
    "read",
    "ready",
    "start",
    "worker",
]
