"""What a batch is asked for, what it says on its way, and what it comes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

OnError = Literal["stop", "skip", "null"]
Form = Literal["csv", "jsonl", "parquet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a batch goes."""

    on_error: OnError = "stop"
    """What becomes of a row that fails: the batch stops, the row is left out, or it becomes a row of nulls."""
    chunk_rows: int | None = None
    """How many rows are predicted at once; ``None``: so many as come to 4 MiB of input, at most 100,000."""
    resume: bool = False
    """Go on where the last batch of the same target ended."""
    restart: bool = False
    """Throw away what the last batch of the same target left."""
    content_type: str | None = None
    """What the input holds, where its ending does not say it."""
    to: Form | None = None
    """What the output is, where its ending does not say it."""
    keep: tuple[str, ...] = ()
    """Columns of the input that stand before the answer in the output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a batch is."""

    rows: int
    """Rows of the input that are done, those of earlier runs included."""
    new_rows: int
    """Those of this run."""
    fraction: float | None
    """How much of the input, by its size, 0 to 1; ``None`` where nobody knows how much there is."""
    skipped: int


Tell = Callable[[Progress], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One file that a batch has written, under its final name."""

    path: str
    rows: int
    skipped: str | None
    """The file that holds the rows which were left out."""
    errors: str | None
    """The file that says which rows failed, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What a batch came to; the counts include what earlier, interrupted runs had done."""

    rows: int
    """Rows of the input."""
    skipped: int
    nulled: int
    """Rows that failed and became nulls."""
    nulls: int
    """NaN and infinities that became null."""
    seconds: float
    """What this run took."""
    resumed: bool
    workers: int
    chunk_rows: int | None
    """``None`` where no chunk had to be cut."""
    lock_hash: str
    files: tuple[Written, ...]

    def to_dict(self) -> dict[str, Any]:
        """The form that ``--json`` prints."""
        return {**asdict(self), "seconds": round(self.seconds, 3), "files": [asdict(file) for file in self.files]}
