"""Sealing: JSON in one form, that says by its own digest whether it is whole."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_DIGEST = "digest"


def sealed(content: Mapping[str, Any]) -> bytes:
    """JSON with the digest of the rest of it; the same content is the same bytes."""
    return _written({**content, _DIGEST: _digest(content)})


def unsealed(text: bytes) -> dict[str, Any]:
    """The content of what :func:`sealed` wrote, without its digest.

    :raises ValueError: not one byte of it may be another.
    """
    try:
        content = json.loads(text)
    except (UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - to the caller, what is damaged is one kind of thing
    if _written(content) != text:
        raise ValueError("it is not in the form that bundles have")
    if content.pop(_DIGEST, None) != _digest(content):
        raise ValueError("it does not have the digest that it states")
    return content


def _written(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, sort_keys=True, indent=1) + "\n").encode()


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_written(content)).hexdigest()
