"""The journal: what of a batch is done, so that it can go on after a crash.

A file of JSON lines beside the output: the first says what the batch is, each further one how far it had
come (:class:`State`) when everything before that was on the disk. A torn last line counts as none. Who writes it holds
its lock, and the kernel frees that with the process.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from envbuild.errors import UsageError
from envbuild.store import flock
from envbuild.store.flock import Held

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """How far a batch is; all numbers but the totals are of the current source or target."""

    target: int = 0
    source: int = 0
    position: int = 0
    lines: int = 0
    row: int = 0
    """Rows of the source that are done."""
    chunk_rows: int | None = None
    length: int = 0
    """Bytes of the output."""
    skipped_length: int = 0
    errors_length: int = 0
    columns: tuple[str, ...] = ()
    finishing: bool = False
    """The target is whole, and is being given its name."""
    target_rows: int = 0
    rows: int = 0
    skipped: int = 0
    nulled: int = 0
    nulls: int = 0
    files: tuple[dict[str, Any], ...] = ()
    """The targets that are done."""


class Journal:
    """A batch's journal, open and locked."""

    def __init__(self, path: Path, held: Held, file: Any) -> None:
        self._path = path
        self._held = held
        self._file = file

    def note(self, state: State) -> None:
        """Write how far the batch is, to the disk.

        :raises OSError: it cannot be written.
        """
        self._append(asdict(state))

    def begin(self, head: dict[str, Any]) -> None:
        """Write what the batch is, in place of whatever was there.

        :raises OSError: as :meth:`note`.
        """
        self._file.seek(0)
        self._file.truncate()
        self._append({"journal": _FORMAT, **head})

    def found(self, head: dict[str, Any]) -> State | None:
        """How far the batch had come; ``None`` where it had not begun.

        :raises UsageError: it was another batch.
        """
        self._file.seek(0)
        lines, whole = [], 0
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            try:
                lines.append(json.loads(line))
            except ValueError:
                break
            whole += len(line)
        self._file.seek(whole)
        self._file.truncate()
        if not lines:
            return None
        _check_same(lines[0], json.loads(json.dumps({"journal": _FORMAT, **head})), self._path)
        return _state(lines[-1]) if len(lines) > 1 else None

    def remove(self) -> None:
        """Take it away: the batch is done, or forgotten."""
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let another batch have it."""
        self._file.close()
        self._held.release()

    def _append(self, content: dict[str, Any]) -> None:
        self._file.write(json.dumps(content).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())


def opened(path: Path) -> Journal:
    """The journal of that name, made where there is none, and locked.

    :raises UsageError: another batch has it, or it cannot be written.
    """
    while True:
        try:
            with path.open("ab"):
                pass
            held = flock.take_existing(path, shared=False)
            file = None if held is None else path.open("r+b")
        except FileNotFoundError as error:
            if not path.parent.is_dir():
                raise _unwritable(path, error) from error
            continue  # whoever had it has just removed it
        except OSError as error:
            raise _unwritable(path, error) from error
        if held is None or file is None:
            raise UsageError(
                f"another batch is writing there now: it has {path}", hint="wait for its end, or give another OUT"
            )
        return Journal(path, held, file)


def _state(said: dict[str, Any]) -> State:
    """A state as it was noted: JSON has lists for tuples."""
    values: dict[str, Any] = {name: tuple(it) if isinstance(it, list) else it for name, it in said.items()}
    return State(**values)


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"{path} cannot be written: {error.strerror}", hint="does its directory exist, and may you write there?"
    )


def _check_same(found: Any, head: dict[str, Any], path: Path) -> None:
    if found == head:
        return
    known = found if isinstance(found, dict) else {}
    others = [name for name in head if known.get(name) != head[name]]
    raise UsageError(
        f"the batch that {path} is about cannot be gone on with: another {', '.join(others) or 'one'}",
        hint="--restart throws away what it had done, and begins anew",
    )
