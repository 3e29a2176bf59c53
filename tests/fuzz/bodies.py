"""Bodies of requests in every form, right at first and then mutated, for models of three kinds."""

from __future__ import annotations

import gzip
import io
import json
import random
from typing import Any

import mutation
import pandas as pd
import pyarrow as pa

Request = tuple[bytes, str, "str | None"]

COLUMNS: dict[str, Any] = {
    "inputs": [
        {"name": "a", "type": "long"},
        {"name": "b", "type": "double"},
        {"name": "c", "type": "string", "required": False},
        {"name": "d", "type": "datetime", "required": False},
        {"name": "e", "type": "binary", "required": False},
        {"name": "f", "type": "boolean", "required": False},
        {"name": "g", "type": "array", "items": {"type": "long"}, "required": False},
    ],
    "params": [{"name": "k", "type": "integer", "default": 1, "shape": None}],
}
TENSORS: dict[str, Any] = {
    "inputs": [
        {"name": "x", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}},
        {"name": "y", "type": "tensor", "tensor-spec": {"dtype": "uint8", "shape": [-1]}},
    ]
}
SIGNATURES: dict[str, dict[str, Any] | None] = {"columns": COLUMNS, "tensors": TENSORS, "none": None}

RECORD: dict[str, Any] = {"a": 1, "b": 0.5, "c": "x", "d": "2020-01-02T03:04:05", "e": "AAEC", "f": True, "g": [1, 2]}
ROWS: list[dict[str, Any]] = [RECORD, {**RECORD, "a": 2, "c": None}]
SPLIT = {"columns": list(RECORD), "index": [0, 1], "data": [list(row.values()) for row in ROWS]}
TENSOR = {"x": [[1.0, 2.0], [3.0, 4.0]], "y": [1, 255]}
PARAMS = {"k": 2}
OF_COLUMNS: tuple[Any, ...] = (
    {"dataframe_split": SPLIT},
    {"dataframe_records": ROWS, "params": PARAMS},
    {"instances": ROWS},
    {"inputs": ROWS},
    SPLIT,
    ROWS,
)
OF_TENSORS: tuple[Any, ...] = (
    {"instances": [{"x": [1.0, 2.0], "y": 1}, {"x": [3.0, 4.0], "y": 2}]},
    {"inputs": TENSOR},
)
OTHERS: tuple[Any, ...] = (
    {"inputs": [[1, 2], [3, 4]], "params": PARAMS},
    {"messages": [{"role": "user", "content": "hello"}], "k": 3},
)
JSON = {"columns": OF_COLUMNS, "tensors": OF_TENSORS, "none": (*OF_COLUMNS, *OF_TENSORS, *OTHERS)}
GOOD = {
    "columns": b'{"dataframe_records": [{"a": 1, "b": 0.5}]}',
    "tensors": b'{"inputs": {"x": [[1.0, 2.0]], "y": [1]}}',
    "none": b'{"inputs": [1, 2]}',
}
KINDS = (
    "application/json",
    "application/json; charset=utf-8",
    "application/json; format=pandas-records",
    "application/json-numpy-split",
    "application/jsonl",
    "text/csv",
    "text/csv; charset=latin-1",
    "application/vnd.apache.parquet",
    "application/vnd.apache.arrow.stream",
    "application/vnd.apache.arrow.file",
    "application/vnd.envbuild.table+json",
    "application/x-no-such-thing",
    "",
    ";;=;charset",
    "half \ud83d",
)


def _tables() -> dict[str, bytes]:
    frame = pd.DataFrame(ROWS)
    frame["d"] = pd.to_datetime(frame["d"])
    table = pa.Table.from_pandas(frame)
    parquet, stream, file = io.BytesIO(), io.BytesIO(), io.BytesIO()
    frame.to_parquet(parquet)
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return {
        "application/jsonl": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
        "text/csv": frame.drop(columns=["g"]).to_csv(index=False).encode(),
        "application/vnd.apache.parquet": parquet.getvalue(),
        "application/vnd.apache.arrow.stream": stream.getvalue(),
        "application/vnd.apache.arrow.file": file.getvalue(),
    }


TABLES = _tables()


def mutated(model: str, chance: random.Random) -> Request:
    """A body with its content type and encoding, of which something is wrong; most are of a form for the model."""
    encoding = None
    if chance.random() < 0.7:
        forms = JSON[model] if chance.random() < 0.8 else JSON["none"]
        kind, value = "application/json", chance.choice(forms)
        body = mutation.mutated_json(value, chance)
        if chance.random() < 0.3:
            body = mutation.mutated_bytes(json.dumps(value).encode(), chance)
    else:
        kind = chance.choice(list(TABLES))
        body = mutation.mutated_bytes(TABLES[kind], chance)
    if chance.random() < 0.1:
        kind = chance.choice(KINDS)
    if chance.random() < 0.1:
        body, encoding = mutation.mutated_gzip(body, chance), "gzip"
    elif chance.random() < 0.02:
        body, encoding = gzip.compress(body), chance.choice(("gzip", "br", "gzip, gzip", ""))
    return body, kind, encoding
