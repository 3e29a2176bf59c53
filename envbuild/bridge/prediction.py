"""Prediction: an answer, wherever it came from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """An answer, as the bytes that the worker wrote."""

    payload: bytes
    content_type: str
    nulls: int
    """How many NaN and infinities became null."""
    rows: int | None = None
    """How many rows the input had; ``None`` where it had none that can be counted."""
