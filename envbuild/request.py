"""Python objects as a request for a worker, and its answer as Python objects.

The bodies are MLflow's (MLflow documentation, "Deploy MLflow Model as a Local Inference Server", request formats).
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from envbuild.errors import InputError, InputNotFound

JSON = "application/json"
BODY_KEYS = frozenset(
    ("dataframe_split", "dataframe_records", "instances", "inputs", "columns", "messages", "prompt", "input")
)
_CONTENT_TYPES = {
    ".json": JSON,
    ".csv": "text/csv",
    ".jsonl": "application/jsonl",
    ".ndjson": "application/jsonl",
    ".parquet": "application/vnd.apache.parquet",
}


def content_type_of(path: Path) -> str:
    """The content type of a file by its ending.

    :raises InputError: the ending is not one that is known.
    """
    found = _CONTENT_TYPES.get(path.suffix.lower())
    if found is None:
        raise InputError(
            f"the ending of {path.name} does not say what it holds",
            hint=f"name it {', '.join(_CONTENT_TYPES)}, or give --content-type",
        )
    return found


def read_input(path: Path) -> bytes:
    """An input file.

    :raises InputNotFound: it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputNotFound(f"the input {path} cannot be read: {error.strerror}") from error


def body_of(data: Any, params: Mapping[str, Any] | None = None) -> bytes:
    """A request body for a DataFrame, a Series, an ndarray, a mapping of ndarrays, or what JSON has.

    A mapping that is a request body already (``{"inputs": …}``) is taken as it is; a list of mappings is taken as
    records, any other list or mapping as ``inputs``.

    :raises InputError: there is something in it that JSON cannot hold.
    """
    body = _body(data)
    if params is not None:
        body = {**body, "params": dict(params)}
    try:
        return json.dumps(body, default=_plain, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"the data cannot be sent to the model: {error}") from error


def answer_of(payload: bytes) -> Any:
    """What a worker answered: the predictions without their envelope; chat answers as they are."""
    answer = json.loads(payload)
    return answer["predictions"] if isinstance(answer, dict) and set(answer) == {"predictions"} else answer


def _body(data: Any) -> dict[str, Any]:
    if hasattr(data, "to_dict") and hasattr(data, "columns"):
        return {"dataframe_split": _split(data)}
    if hasattr(data, "to_frame") and hasattr(data, "index"):
        return {"inputs": _cells(data)}
    if isinstance(data, Mapping):
        if BODY_KEYS & set(data):
            return dict(data)
        return {"inputs": {str(name): _listed(values) for name, values in data.items()}}
    if isinstance(data, Sequence) and data and all(isinstance(row, Mapping) for row in data):
        return {"dataframe_records": list(data)}
    return {"inputs": _listed(data)}


def _split(frame: Any) -> dict[str, Any]:
    columns = [_cells(frame.iloc[:, position]) for position in range(len(frame.columns))]
    rows = [list(row) for row in zip(*columns)] if columns else [[] for _ in range(len(frame))]
    return {"columns": [_plain_key(name) for name in frame.columns], "data": rows}


def _cells(series: Any) -> list[Any]:
    """A column's values; what pandas counts as missing is null."""
    missing = series.isna().tolist()
    return [None if gone is True else value for value, gone in zip(series.tolist(), missing)]


def _plain_key(name: Any) -> Any:
    return name.item() if hasattr(name, "item") else name


def _listed(values: Any) -> Any:
    if type(values).__module__ == "numpy" and values.dtype.kind == "M":
        # In nanoseconds numpy would list plain ints.
        values = values.astype("datetime64[us]")
    return _without_nan(values.tolist()) if hasattr(values, "tolist") else values


def _without_nan(value: Any) -> Any:
    """JSON has no NaN; null is what stands for it in a request."""
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: Any) -> Any:
    """What :mod:`json` does not know by itself."""
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    if isinstance(value, (dt.datetime, dt.date, dt.time)) or hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return _listed(value)
    raise TypeError(f"a value of type {type(value).__name__} has no place in JSON")
