"""Batches: a table of any size, predicted chunk by chunk in constant memory, in order, and resumable.

``places`` says what is read and written, ``records`` and ``reading`` cut the input into chunks, ``running`` has them
predicted side by side, ``failing`` finds the rows that fail, ``journal`` and ``writing`` keep what is done, and
``working`` is the whole.
"""

from __future__ import annotations

from envbuild.batching.result import Batch, Options, Progress
from envbuild.batching.working import run

__all__ = ["Batch", "Options", "Progress", "run"]
