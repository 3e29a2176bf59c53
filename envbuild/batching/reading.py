"""Reading: a source as chunks of whole rows, from wherever the last batch ended, in constant memory."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from envbuild.batching import chunk as chunks
from envbuild.batching import records
from envbuild.batching.chunk import CONTENT_TYPES, Chunk, TableRows, TextRows
from envbuild.batching.places import Source
from envbuild.errors import InputError, InputNotFound

BLOCK: Final = 4 << 20
MOST_ROWS: Final = 100_000
# A quote that is never closed would make the rest of the file one record.
LONGEST: Final = 64 << 20
_BOM: Final = b"\xef\xbb\xbf"
_PARQUET_ROWS: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in a source to go on."""

    position: int = 0
    lines: int = 0


@dataclass(slots=True)
class Size:
    """How many rows make a chunk; the first file decides where nobody said it."""

    rows: int | None


def chunks_of(number: int, source: Source, place: Place, size: Size) -> Iterator[Chunk]:
    """The chunks of a source in their order, and its end.

    :param number: the source's place in the plan.
    :raises InputNotFound: it cannot be read.
    :raises InputError: it is not what it should be.
    """
    with _explained(source):
        if source.form == "parquet":
            yield from _of_table(number, source, place, size)
        else:
            yield from _Text(number, source, size).chunks(place)


def header_of(source: Source) -> bytes | None:
    """The header line of a CSV, without its line end; ``None`` for other files and for empty ones.

    :raises InputError: as :func:`chunks_of`.
    """
    if source.form != "csv" or source.path is None:
        return None
    with _explained(source), _Reader(source) as reader:
        header = _Text(0, source, Size(None)).header(reader)
    return header.rstrip(b"\r\n") or None


class _Reader:
    """A file's bytes, unpacked, block by block; those that were looked at may be put back."""

    def __init__(self, source: Source) -> None:
        self._tidy = ExitStack()
        self._raw: IO[bytes] | None = None
        if source.path is None:
            if sys.stdin is None:
                raise InputNotFound("IN is -, and there is no standard input", hint="give a file")
            self._file: Any = sys.stdin.buffer
        else:
            self._raw = self._tidy.enter_context(source.path.open("rb"))
            self._file = gzip.GzipFile(fileobj=self._raw) if source.compressed else self._raw
        self._rest = b""
        self.lines = 0

    @property
    def read(self) -> int:
        """How many bytes of the file itself have been read."""
        return 0 if self._raw is None else self._raw.tell()

    def block(self) -> bytes:
        """The next bytes; none at the end."""
        rest, self._rest = self._rest, b""
        return rest or bytes(self._file.read(BLOCK))

    def put_back(self, rest: bytes) -> None:
        """Have some bytes come again."""
        self._rest = rest + self._rest

    def go_to(self, position: int) -> None:
        """Go on at a place in the unpacked bytes."""
        self._rest = b""
        self._file.seek(position)

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *error: object) -> None:
        self._tidy.close()


class _Text:
    """A source of lines."""

    def __init__(self, number: int, source: Source, size: Size) -> None:
        self._number = number
        self._source = source
        self._size = size
        self._quoted = source.form == "csv"
        self._extra: int | None = None

    def chunks(self, place: Place) -> Iterator[Chunk]:
        """See :func:`chunks_of`."""
        with _Reader(self._source) as reader:
            header = self.header(reader) if self._quoted else self._bom(reader)
            start, lines = self._start, self._lines
            if place.position:
                if self._quoted:
                    self._extra = self._extra_fields(header, self._first_record(reader))
                reader.go_to(place.position)
                start, lines = place.position, place.lines
            for body in self._bodies(reader):
                start, first_line, lines = start + len(body), lines + 1, lines + body.count(b"\n")
                if records.is_blank(body):
                    continue
                self._check_fields(header, body, first_line)
                payload = header + body
                yield Chunk(
                    source=self._number,
                    content_type=CONTENT_TYPES[self._source.form],
                    payload=payload,
                    position=start,
                    lines=lines,
                    read=reader.read,
                    rows=TextRows(header, payload, first_line, quoted=self._quoted),
                )
            yield chunks.end(self._number, start, lines, reader.read)

    def header(self, reader: _Reader) -> bytes:
        """A CSV's first record that is not blank, with its line end; what stands before it is dropped."""
        data = reader.block()
        dropped = len(_BOM) if data.startswith(_BOM) else 0
        data, lines, at_end = data[dropped:], 0, False
        while True:
            end, found = records.cut(data, 0, 1, quoted=True)
            if found or at_end:
                end = end or len(data)
                header, data = data[:end], data[end:]
                dropped, lines = dropped + end, lines + header.count(b"\n")
                if not records.is_blank(header) or not data:
                    break
                continue
            self._check_length(len(data), data[:80], lines + 1)
            more = reader.block()
            data, at_end = data + more, not more
        reader.put_back(data)
        self._start, self._lines = dropped, lines
        return header if header.endswith(b"\n") or not header else header + b"\n"

    def _bom(self, reader: _Reader) -> bytes:
        """What stands before the first line of JSON Lines, which have no header."""
        data = reader.block()
        reader.put_back(data.removeprefix(_BOM))
        self._start, self._lines = len(_BOM) if data.startswith(_BOM) else 0, 0
        return b""

    def _bodies(self, reader: _Reader) -> Iterator[bytes]:
        """Bytes of so many records each; the last may lack its line end."""
        data, start, end, found = b"", 0, 0, 0
        while block := reader.block():
            data, end, start = data[start:] + block, end - start, 0
            if self._size.rows is None:
                self._size.rows = self._rows_in(data)
            wanted = self._size.rows
            end, more = records.cut(data, end, wanted - found, quoted=self._quoted)
            found += more
            while found == wanted:
                yield data[start:end]
                start = end
                end, found = records.cut(data, start, wanted, quoted=self._quoted)
            self._check_length(len(data) - end, data[end : end + 80], None)
        if start < len(data):
            yield data[start:]

    def _rows_in(self, data: bytes) -> int:
        _, found = records.cut(data, 0, MOST_ROWS, quoted=self._quoted)
        return max(1, found)

    def _check_length(self, length: int, begin: bytes, line: int | None) -> None:
        if length > LONGEST:
            where = "" if line is None else f" at line {line}"
            raise InputError(
                f"a record of {self._source.name}{where} is longer than {LONGEST >> 20} MiB",
                hint="is a quote never closed, or do lines end in CR alone?" if self._quoted else None,
                details=(begin.decode("utf-8", "replace"),),
            )

    def _first_record(self, reader: _Reader) -> bytes:
        data, at_end = b"", False
        while True:
            for start, end in records.spans(data, quoted=True):
                if at_end or data[start:end].endswith(b"\n"):
                    return data[start:end]
                break
            if at_end:
                return b""
            more = reader.block()
            data, at_end = data + more, not more

    def _extra_fields(self, header: bytes, record: bytes) -> int:
        """How many fields more than the header a record has: pandas makes an index of those of the first row."""
        return max(0, records.fields(record) - records.fields(header))

    def _check_fields(self, header: bytes, body: bytes, line: int) -> None:
        """A chunk's first row tells its parser how the fields are to be counted: it must say what the file's did."""
        if not self._quoted:
            return
        first = _first_of(body)
        extra = self._extra_fields(header, first)
        if self._extra is None:
            self._extra = extra
        if extra != self._extra:
            line += body.count(b"\n", 0, body.find(first))
            raise InputError(
                f"{self._source.name}:{line}: the record has {records.fields(first)} fields, "
                f"and the header {records.fields(header)}"
            )


def _first_of(body: bytes) -> bytes:
    """The first record of a body that is not blank."""
    start = end = 0
    while start < len(body) and records.is_blank(body[start:end]):
        start, end = end, records.end_of(body, end)
        end = end if end > 0 else len(body)
    return body[start:end]


def _of_table(number: int, source: Source, place: Place, size: Size) -> Iterator[Chunk]:
    """A Parquet file, row group by row group."""
    pa, pq = _arrow()
    rows, path = size.rows or _PARQUET_ROWS, source.path or Path()
    whole = path.stat().st_size
    with pq.ParquetFile(path) as file:
        total, done = file.metadata.num_rows, 0
        for group in range(file.metadata.num_row_groups):
            in_group = file.metadata.row_group(group).num_rows
            if done + in_group <= place.position:
                done += in_group
                continue
            for batch in file.iter_batches(batch_size=rows, row_groups=[group]):
                done += batch.num_rows
                if done > place.position and batch.num_rows:
                    table = pa.Table.from_batches([batch]).replace_schema_metadata(file.schema_arrow.metadata)
                    yield Chunk(
                        source=number,
                        content_type=CONTENT_TYPES["parquet"],
                        payload=chunks.ipc(table),
                        position=done,
                        lines=0,
                        read=whole * done // max(1, total),
                        rows=TableRows(table),
                    )
    yield chunks.end(number, done, 0, whole)


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError(
            "Parquet files are cut into rows by pyarrow, which is not here", hint="pip install 'envbuild[arrow]'"
        ) from None
    return pa, pq


@contextmanager
def _explained(source: Source) -> Iterator[None]:
    """The system's and pyarrow's errors as ours."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"the input {source.name} is not gzip: {error}") from None
    except OSError as error:
        raise InputNotFound(f"the input {source.name} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        # pyarrow's own errors are ValueErrors; nothing else here raises one.
        raise InputError(f"the input {source.name} cannot be read: {str(error).splitlines()[0]}") from error
