"""Python objects as a request for a worker, and its answer as Python objects.

The bodies are MLflow's (MLflow documentation, "Deploy MLflow Model as a Local Inference Server", request formats).
"""

from __future__ import annotations

import base64
import datetime as dt
import gzip
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envbuild import arrow, dataframe
from envbuild.errors import InputError, InputNotFound

JSON = "application/json"
JSON_LINES = "application/jsonl"
CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
ARROW_FILE, ARROW_STREAM = "application/vnd.apache.arrow.file", "application/vnd.apache.arrow.stream"
BODY_KEYS = frozenset(
    ("dataframe_split", "dataframe_records", "instances", "inputs", "columns", "messages", "prompt", "input")
)
_CONTENT_TYPES = {
    ".json": JSON,
    ".csv": CSV,
    ".jsonl": JSON_LINES,
    ".ndjson": JSON_LINES,
    ".parquet": PARQUET,
    ".arrow": ARROW_FILE,
    ".feather": ARROW_FILE,
    ".arrows": ARROW_STREAM,
}
_COMPRESSED = ".gz"


def kind_of(content_type: str) -> str:
    """A content type without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def content_type_of(path: Path) -> str:
    """The content type of a file by its ending, or by the one before ``.gz``.

    :raises InputError: the ending is not one that is known.
    """
    plain = path.with_suffix("") if encoding_of(path) else path
    found = _CONTENT_TYPES.get(plain.suffix.lower())
    if found is None:
        raise InputError(
            f"the ending of {path.name} does not say what it holds",
            hint=f"name it {', '.join(_CONTENT_TYPES)} (and {_COMPRESSED} behind it), or give --content-type",
        )
    return found


def encoding_of(path: Path) -> str | None:
    """How a file is compressed, by its ending: ``gzip`` or ``None``."""
    return "gzip" if path.suffix.lower() == _COMPRESSED else None


def decompressed(payload: bytes, encoding: str | None) -> bytes:
    """A payload as it was before it was compressed.

    :raises InputError: it is not compressed in the way that is said, or in one that nobody knows.
    """
    if encoding in (None, "", "identity"):
        return payload
    if encoding not in ("gzip", "x-gzip"):
        raise InputError(f"the content encoding {encoding!r} is not gzip")
    try:
        return gzip.decompress(payload)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"the input is not gzip: {error}") from None


def read_input(path: Path) -> bytes:
    """An input file.

    :raises InputNotFound: it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputNotFound(f"the input {path} cannot be read: {error.strerror}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a worker is asked, and in which form the answer should come."""

    payload: bytes | memoryview
    content_type: str = JSON
    encoding: str | None = None
    """``gzip``, where the payload is compressed."""
    accept: str | None = None
    """The content type that the answer should have; the answer's own says what it has. ``None``: JSON."""
    keep: tuple[str, ...] = ()
    """Columns of the input that are to stand before the answer, where it is lines of text."""


def question_of(
    data: Any,
    params: Mapping[str, Any] | None = None,
    *,
    content_type: str | None = None,
    kinds: Mapping[Any, str] | None = None,
    reads: frozenset[str] = frozenset(),
) -> Question:
    """Data for a model, in the form that crosses fastest.

    :param data: a request's body as bytes, which is sent as it is; a DataFrame, or a table of a library that speaks
        Arrow; or what :func:`body_of` takes.
    :param content_type: what the bytes are, by default JSON.
    :param kinds: the types of the signature's columns by their names; ``None`` where the model has no signature.
    :param reads: the content types that the worker can read.
    :raises InputError: there is something in it that has no form.
    """
    accept = ARROW_STREAM if ARROW_STREAM in reads and arrow.is_here() else None
    if isinstance(data, (bytes, bytearray, memoryview)):
        if params is not None:
            raise InputError("params have no place beside bytes", hint="put them into the body")
        return Question(payload=bytes(data), content_type=content_type or JSON, accept=accept)
    if content_type is not None:
        raise InputError("a content type says what bytes are, and the data is none", hint="leave it out")
    if not dataframe.is_table(data):
        return Question(payload=body_of(data, params), content_type=JSON, accept=accept)
    try:
        payload, kind = dataframe.sent(data, params, kinds, reads, _plain)
    except (ImportError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"the data cannot be sent to the model: {error}") from error
    return Question(payload=payload, content_type=kind, accept=accept)


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


def answer_of(payload: bytes, content_type: str = JSON) -> Any:
    """What a worker answered: the predictions without their envelope; chat answers as they are.

    :raises ProtocolError: it is not of the content type that is said.
    """
    if content_type == ARROW_STREAM:
        return arrow.objects_of(payload)
    answer = json.loads(payload)
    return answer["predictions"] if isinstance(answer, dict) and set(answer) == {"predictions"} else answer


def _body(data: Any) -> dict[str, Any]:
    if dataframe.is_pandas(data):
        return {"dataframe_split": _split(data)}
    if hasattr(data, "to_frame") and hasattr(data, "index"):
        return {"inputs": dataframe.cells(data)}
    if isinstance(data, Mapping):
        if BODY_KEYS & set(data):
            return dict(data)
        return {"inputs": {str(name): _listed(values) for name, values in data.items()}}
    if isinstance(data, Sequence) and data and all(isinstance(row, Mapping) for row in data):
        return {"dataframe_records": list(data)}
    return {"inputs": _listed(data)}


def _split(frame: Any) -> dict[str, Any]:
    columns = [dataframe.cells(column) for _, column in frame.items()]
    rows = [list(row) for row in zip(*columns)] if columns else [[] for _ in range(len(frame))]
    return {"columns": [_plain_key(name) for name in frame.columns], "data": rows}


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
