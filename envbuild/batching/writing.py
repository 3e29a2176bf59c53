"""Writing: the output beside its final name until it is whole, with the rows that failed in files of their own."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Any, Final

from envbuild import faults
from envbuild.batching import records
from envbuild.batching.chunk import Chunk
from envbuild.batching.failing import Bad, ChunkFailed, Good, Part, absolute
from envbuild.batching.journal import State
from envbuild.batching.places import Source, Target
from envbuild.batching.result import Options, Written
from envbuild.errors import OutputInvalid, UsageError
from envbuild.store.writing import sync_directory

PARTIAL: Final = ".partial"
# What standard output has for names.
_NOWHERE: Final = Path(os.devnull, "none")
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?")
_RAW_ENDINGS: Final = {"csv": ".csv", "jsonl": ".jsonl", "parquet": ".jsonl"}


class Output:
    """One target while it is written."""

    def __init__(self, target: Target, first: Source, options: Options, state: State) -> None:
        """
        :param first: the first of its sources.
        :param state: how far it is.
        """
        self._target = target
        self._options = options
        self._named = _final(target.path)
        stem = _NOWHERE if self._named is None else self._named.with_suffix("")
        self._skipped = _File(stem.with_name(f"{stem.name}.skipped{_RAW_ENDINGS[first.form]}"), state.skipped_length)
        self._errors = _File(stem.with_name(f"{stem.name}.errors.jsonl"), state.errors_length)
        self._file: _File | _Stream
        if self._named is None:
            self._file = _Stream()
        else:
            self._file = _File(self._named, state.length)

    def open(self) -> None:
        """Open what is to be written on, cut to what counts.

        :raises UsageError: it cannot be written, or what was written before is not there.
        """
        self._file.open()
        for file in (self._skipped, self._errors):
            if file.length:
                file.open()

    def write(self, chunk: Chunk, parts: tuple[Part, ...], state: State) -> State:
        """Write what came of a chunk; gives how far the batch is now.

        :raises OutputInvalid: its columns are others than those before.
        :raises ChunkFailed: there is no row yet that says which columns a row of nulls has.
        :raises UsageError: it cannot be written.
        """
        counts = {"rows": 0, "skipped": 0, "nulled": 0, "nulls": 0}
        columns = state.columns or self._begun(parts)
        for part in parts:
            if isinstance(part, Good):
                self._answer(part, chunk, columns)
                counts["rows"] += part.answer.rows or 0
                counts["nulls"] += part.answer.nulls
            else:
                many = part.stop - part.start
                counts["rows"] += many
                counts["nulled" if self._options.on_error == "null" else "skipped"] += many
                self._failed(part, chunk, columns, state.row)
        totals = {name: getattr(state, name) + count for name, count in counts.items()}
        return replace(
            state,
            position=chunk.position,
            lines=chunk.lines,
            row=state.row + counts["rows"],
            target_rows=state.target_rows + counts["rows"] - counts["skipped"],
            columns=columns,
            length=self._file.length,
            skipped_length=self._skipped.length,
            errors_length=self._errors.length,
            **totals,
        )

    def sync(self) -> None:
        """Bring everything that was written to the disk.

        :raises UsageError: it cannot be written.
        """
        for file in (self._skipped, self._errors, self._file):
            file.sync()

    def make(self) -> None:
        """Make the output of what was written, before it gets its name.

        :raises OutputInvalid: its columns have no types that Parquet could have.
        """
        self.sync()
        if self._target.form == "parquet":
            from envbuild.batching import parquet

            with _explained(self._file.partial):
                parquet.write(self._file.partial, _made(self._file.partial))

    def finish(self, state: State) -> Written | None:
        """Give everything its final name; again, where it was interrupted while it did. ``None`` for standard output."""
        self.close()
        if self._named is None or self._target.path is None:
            return None
        with _explained(self._named):
            skipped, errors = (file.name_it() for file in (self._skipped, self._errors))
            faults.point("failures named")
            made = _made(self._file.partial)
            _keep_mode(self._named, made if made.exists() else self._file.partial)
            if made.exists():
                os.replace(made, self._named)
            elif self._target.form != "parquet" and self._file.partial.exists():
                os.replace(self._file.partial, self._named)
            faults.point("output named")
            self._file.partial.unlink(missing_ok=True)
            sync_directory(self._named.parent)
        return Written(path=str(self._target.path), rows=state.target_rows, skipped=skipped, errors=errors)

    def close(self) -> None:
        """Close the files; what was written stays."""
        for file in (self._skipped, self._errors, self._file):
            file.close()

    def discard(self) -> None:
        """Remove what was written."""
        self.close()
        for file in (self._skipped, self._errors, self._file):
            file.partial.unlink(missing_ok=True)
        _made(self._file.partial).unlink(missing_ok=True)

    def _begun(self, parts: tuple[Part, ...]) -> tuple[str, ...]:
        """The columns of the first answer of all, which the output begins with; none where there is no answer yet."""
        first = next((part.answer.payload for part in parts if isinstance(part, Good)), None)
        if first is None:
            return ()
        columns, start = self._columns(first)
        self._file.write(first[:start])
        return columns

    def _columns(self, payload: bytes) -> tuple[tuple[str, ...], int]:
        """The columns of an answer, and where its rows begin."""
        if self._target.form == "csv":
            end = records.end_of(payload, 0)
            return tuple(next(csv.reader(io.StringIO(payload[:end].decode(), newline="")))), end
        return tuple(json.loads(payload[: payload.find(b"\n") + 1])), 0

    def _answer(self, part: Good, chunk: Chunk, known: tuple[str, ...]) -> None:
        payload = part.answer.payload
        columns, start = self._columns(payload)
        if columns != known:
            stop = part.start + (part.answer.rows or 1)
            raise ChunkFailed(Bad(start=part.start, stop=stop, error=_others(columns, known)), chunk)
        self._file.write(memoryview(payload)[start:])

    def _failed(self, bad: Bad, chunk: Chunk, columns: tuple[str, ...], before: int) -> None:
        if self._options.on_error == "null":
            if not columns:
                raise ChunkFailed(bad, chunk)
            for row in range(bad.start, bad.stop):
                values = chunk.rows.values(row) if self._options.keep else {}
                kept = {name: values.get(name) for name in self._options.keep}
                self._file.write(_nulls({**dict.fromkeys(columns), **kept}, self._target.form))
        else:
            header = getattr(chunk.rows, "header", b"")
            if header and not self._skipped.length:
                self._skipped.write(header)
            self._skipped.write(chunk.rows.raw(bad.start, bad.stop))
        said = {
            "row": before + bad.start + 1,
            "to_row": before + bad.stop,
            "line": chunk.rows.line(bad.start),
            "code": bad.error.code,
            "message": absolute(bad.error, bad, chunk, before),
        }
        self._errors.write(json.dumps(said, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")


class _File:
    """A file under its partial name; opened when there is something to write."""

    def __init__(self, named: Path, length: int) -> None:
        """:param length: what is there already and counts."""
        self._named = named
        self.partial = named.with_name(named.name + PARTIAL)
        self.length = length
        self._file: IO[bytes] | None = None

    def open(self) -> IO[bytes]:
        """Open it, cut to what counts."""
        if self._file is None:
            with _explained(self.partial):
                self._file = self.partial.open("r+b" if self.length else "wb")
                if self.length:
                    there = self._file.seek(0, os.SEEK_END)
                    if there < self.length:
                        raise UsageError(
                            f"{self.partial} is shorter than what was written to it", hint="--restart begins anew"
                        )
                    self._file.truncate(self.length)
                    self._file.seek(self.length)
        return self._file

    def write(self, data: bytes | memoryview) -> None:
        """Write some bytes behind the others."""
        file = self.open()
        with _explained(self.partial):
            file.write(data)
        self.length += len(data)

    def sync(self) -> None:
        """Bring it to the disk."""
        if self._file is not None:
            with _explained(self.partial):
                self._file.flush()
                os.fsync(self._file.fileno())

    def name_it(self) -> str | None:
        """Give it its name, or remove what an earlier batch left under it; gives the name where there is one."""
        if not self.length:
            self.partial.unlink(missing_ok=True)
            self._named.unlink(missing_ok=True)
            return None
        if self.partial.exists():
            os.replace(self.partial, self._named)
        return str(self._named)

    def close(self) -> None:
        """Close it."""
        file, self._file = self._file, None
        if file is not None:
            with _explained(self.partial):
                file.close()


class _Stream:
    """Standard output: what is written is gone."""

    partial = _NOWHERE

    def __init__(self) -> None:
        self.length = 0
        if sys.stdout is None:
            raise UsageError("there is no standard output to write the answer to", hint="give a file")

    def open(self) -> None:
        """It is open."""

    def write(self, data: bytes | memoryview) -> None:
        """Write some bytes at once: somebody may be waiting for them."""
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        self.length += len(data)

    def sync(self) -> None:
        """Nothing is kept back."""

    def close(self) -> None:
        """It is not ours to close."""


def _nulls(row: dict[str, Any], form: str) -> bytes:
    """A row in which all is null but what is kept of the input."""
    if form != "csv":
        plain = {name: _number(value) for name, value in row.items()}
        return json.dumps(plain, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
    if set(row.values()) == {None} and len(row) == 1:
        return b'""\n'
    line = io.StringIO(newline="")
    csv.writer(line, lineterminator="\n").writerow(row.values())
    return line.getvalue().encode("utf-8", "backslashreplace")


def _number(value: Any) -> Any:
    """The number that a field of a CSV is, so that a kept column has one type in all rows."""
    with suppress(ValueError, TypeError):
        return json.loads(value) if _NUMBER.fullmatch(value) else value
    return value


def _others(columns: tuple[str, ...], known: tuple[str, ...]) -> OutputInvalid:
    had, has = (", ".join(names[:20]) or "none" for names in (known, columns))
    return OutputInvalid(f"the answer has the columns {has}, and those before it had {had}")


def _final(path: Path | None) -> Path | None:
    """Where the output is in the end: behind a link, if it is one."""
    if path is None:
        return None
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is no file that could be replaced", hint="give a file, or - for standard output")
    return path.resolve()


def _made(partial: Path) -> Path:
    """Where an output is made that is not written line by line."""
    return partial.with_name(partial.name + ".made")


def _keep_mode(named: Path, made: Path) -> None:
    if named.exists() and made.exists():
        made.chmod(named.stat().st_mode & 0o777)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """The system's errors as ours."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror or error}",
            hint="make room or leave to write there; --resume goes on from what is done",
        ) from error


def written_of(said: dict[str, Any]) -> Written:
    """A target that is done, as the journal has it."""
    return Written(**said)


def noted(written: Written) -> dict[str, Any]:
    """A target that is done, for the journal."""
    return asdict(written)
