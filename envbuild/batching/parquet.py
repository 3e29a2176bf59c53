"""Parquet: made of the lines of a partial output, block by block, with one schema for all of them."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from envbuild.errors import InputError, OutputInvalid

_BLOCK: Final = 16 << 20


def check() -> None:
    """Look whether Parquet can be written here.

    :raises InputError: pyarrow is not here.
    """
    try:
        import pyarrow.parquet as _  # noqa: F401
    except ImportError:
        raise InputError(
            "Parquet is written by pyarrow, which is not here", hint="pip install 'envbuild[arrow]'"
        ) from None


def write(lines: Path, made: Path) -> None:
    """Write the objects of a file of JSON Lines as Parquet: a first pass for the types, a second for the rows.

    Integers among floats are floats, what is null everywhere is a column of nulls, times stay text.

    :raises OutputInvalid: a column has values of two kinds.
    :raises OSError: it cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([])
    try:
        for block in _blocks(lines):
            schema = pa.unify_schemas([schema, _plain(_table(block, None).schema)], promote_options="permissive")
        with pq.ParquetWriter(made, schema, compression="zstd") as writer:
            for block in _blocks(lines):
                writer.write_table(_table(block, schema).select(schema.names))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise OutputInvalid(
            f"the answers cannot be one Parquet table: {str(error).splitlines()[0]}",
            hint="write JSON Lines in place of Parquet",
        ) from None
    with made.open("rb+") as file:
        os.fsync(file.fileno())


def _blocks(lines: Path) -> Iterator[bytes]:
    """Whole lines, some 16 MiB at a time."""
    with lines.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block + file.readline()


def _table(block: bytes, schema: Any) -> Any:
    import pyarrow.json as pj

    reading = pj.ReadOptions(block_size=max(1 << 20, len(block)))
    parsing = pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error" if schema else "infer")
    return pj.read_json(io.BytesIO(block), read_options=reading, parse_options=parsing)


def _plain(schema: Any) -> Any:
    """A schema without the times that pyarrow sees in text: another block's text may look otherwise."""
    import pyarrow as pa

    return pa.schema([pa.field(field.name, _without_times(field.type)) for field in schema])


def _without_times(kind: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_timestamp(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_without_times(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _without_times(field.type)) for field in kind])
    return kind
