"""The responses: what each status means, as every operation of a protocol has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from envbuild.request import JSON
from envbuild.server.description.schemas import Schema

MEANINGS: Final[Mapping[int, str]] = {
    400: "The input cannot be understood, or does not fit the signature.",
    401: "The bearer token is missing or is another one.",
    408: "The body did not come in time.",
    413: "The body is too long.",
    415: "The content type, or the content encoding, is none that is known.",
    429: "Too many requests wait already; Retry-After says when to come again.",
    500: "The model raised an exception, or its answer cannot be written.",
    503: "The model cannot be loaded, its worker ended, or the server stops.",
    504: "The prediction was not made in time.",
}
OF_PREDICTIONS: Final = (400, 401, 408, 413, 415, 429, 500, 503, 504)
ERROR: Final[Schema] = {
    "type": "object",
    "required": ["error_code", "message"],
    "properties": {
        "error_code": {"type": "string", "description": "MLflow's name of the error."},
        "message": {"type": "string"},
    },
}
INFERENCE_ERROR: Final[Schema] = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}},
}
_RETRY_AFTER: Final = {"description": "Seconds.", "schema": {"type": "integer", "minimum": 0}}


def answer(description: str, schema: Schema | None, content_type: str = JSON) -> dict[str, Any]:
    """A response with one content type, or without a body."""
    return (
        {"description": description}
        if schema is None
        else {
            "description": description,
            "content": {content_type: {"schema": schema}},
        }
    )


def errors(statuses: Iterable[int], *, token: bool, name: str = "Error") -> dict[str, Any]:
    """The responses of some statuses; 401 only where there is a token."""
    found: dict[str, Any] = {}
    for status in statuses:
        if status == 401 and not token:
            continue
        made = answer(MEANINGS[status], {"$ref": f"#/components/schemas/{name}"})
        found[str(status)] = {**made, "headers": {"Retry-After": _RETRY_AFTER}} if status == 429 else made
    return found
