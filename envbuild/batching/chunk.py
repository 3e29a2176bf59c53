"""A chunk: so many rows of a file, as a worker reads them; and its rows one by one, where one of them fails."""

from __future__ import annotations

import csv
import io
import json
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from envbuild.batching import records
from envbuild.request import ARROW_STREAM, CSV, JSON_LINES


class Rows(Protocol):
    """The rows of a chunk, to be predicted in parts."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def part(self, start: int, stop: int) -> bytes | memoryview:
        """Some of them as a request's payload."""
        ...

    def raw(self, start: int, stop: int) -> bytes:
        """Some of them as lines, as they were written."""
        ...

    def line(self, row: int) -> int | None:
        """The line in the file that a row begins in, from 1; ``None`` where there are no lines."""
        ...

    def values(self, row: int) -> dict[str, Any]:
        """What stands in a row, by its columns; nothing where it cannot be read."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A part of a source; one without a payload is the source's end."""

    source: int
    """Its place in the plan."""
    content_type: str
    payload: bytes | memoryview
    position: int
    """Where the source goes on behind it: a place in its (unpacked) bytes, or a number of rows (Parquet)."""
    lines: int
    """How many lines of the source are behind it."""
    read: int
    """How many bytes of the file had been read for it, of its size: for those who look on."""
    rows: Rows
    """Its rows, one by one."""

    @property
    def is_end(self) -> bool:
        """Whether nothing is to be predicted."""
        return not self.payload


class TextRows:
    """The records of a CSV or of JSON Lines."""

    def __init__(self, header: bytes, payload: bytes, first_line: int, *, quoted: bool) -> None:
        """
        :param header: the line that stands before each part, and at the payload's begin; empty for JSON Lines.
        :param first_line: the number of the line behind it in its file.
        """
        self.header = header
        self._payload = payload
        self._first_line = first_line
        self._quoted = quoted
        self._known: list[tuple[int, int]] | None = None

    @property
    def _spans(self) -> list[tuple[int, int]]:
        # Most chunks go well, and nobody asks.
        if self._known is None:
            found, begin = records.spans(self._payload, quoted=self._quoted), len(self.header)
            self._known = [span for span in found if span[0] >= begin]
        return self._known

    def __len__(self) -> int:
        return len(self._spans)

    def part(self, start: int, stop: int) -> bytes:
        """Some of them, with the header."""
        return self.header + self.raw(start, stop)

    def raw(self, start: int, stop: int) -> bytes:
        """Some of them, each with its line end."""
        whole = self._payload[self._spans[start][0] : self._spans[stop - 1][1]]
        return whole if whole.endswith(b"\n") else whole + b"\n"

    def line(self, row: int) -> int | None:
        """The line that a record begins in."""
        return self._first_line + self._payload.count(b"\n", len(self.header), self._spans[row][0])

    def values(self, row: int) -> dict[str, Any]:
        """What stands in a record; that of a CSV is text."""
        with suppress(ValueError, csv.Error):
            text = self.part(row, row + 1).decode("utf-8", "replace")
            if not self._quoted:
                found = json.loads(text)
                return found if isinstance(found, dict) else {}
            names, values = csv.reader(io.StringIO(text, newline=""))
            return dict(zip(names, values))
        return {}


class TableRows:
    """The rows of a table of Arrow's."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def part(self, start: int, stop: int) -> memoryview:
        """Some of them as a stream of Arrow IPC."""
        return ipc(self._table.slice(start, stop - start))

    def raw(self, start: int, stop: int) -> bytes:
        """Some of them as JSON Lines: Parquet has no lines."""
        listed = self._table.slice(start, stop - start).to_pylist()
        return b"".join(json.dumps(row, default=str, ensure_ascii=False).encode() + b"\n" for row in listed)

    def line(self, row: int) -> int | None:
        """There are none."""
        del row
        return None

    def values(self, row: int) -> dict[str, Any]:
        """What stands in a row."""
        return dict(json.loads(self.raw(row, row + 1)))


def ipc(table: Any) -> memoryview:
    """A table as a stream of Arrow IPC."""
    import pyarrow as pa

    table = table.replace_schema_metadata(_counted_anew(table.schema.metadata or {}, table.num_rows))
    measured = pa.MockOutputStream()
    _write(table, measured)
    # As long as it will be: one that grows is copied again and again.
    buffer = pa.allocate_buffer(measured.size())
    _write(table, pa.FixedSizeBufferWriter(buffer))
    return memoryview(buffer)


def _write(table: Any, sink: Any) -> None:
    import pyarrow as pa

    with sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def _counted_anew(metadata: dict[bytes, bytes], rows: int) -> dict[bytes, bytes]:
    """What pandas wrote of its frame, for a part of it: an index that only counts begins at 0."""
    with suppress(ValueError, AttributeError, TypeError):
        said = json.loads(metadata[b"pandas"]) if b"pandas" in metadata else {}
        counting = {"kind": "range", "name": None, "start": 0, "stop": rows, "step": 1}
        indexes = said.get("index_columns", [])
        said["index_columns"] = [
            {**counting, "name": index.get("name")} if isinstance(index, dict) else index for index in indexes
        ]
        return {**metadata, b"pandas": json.dumps(said).encode()} if indexes else metadata
    return metadata


CONTENT_TYPES = {"csv": CSV, "jsonl": JSON_LINES, "parquet": ARROW_STREAM}


def end(source: int, position: int, lines: int, read: int) -> Chunk:
    """The end of a source."""
    nothing = TextRows(b"", b"", 0, quoted=False)
    return Chunk(source=source, content_type="", payload=b"", position=position, lines=lines, read=read, rows=nothing)
