"""What docs/bridge.md says of a stream of bytes from the host, told without the worker: the reference of the fuzz."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

import mutation

MAX_HEADER, MAX_PAYLOAD = 64 * 1024, 1 << 40
BODY = b'{"input": [1, "two", null]}'
VERBS = ("predict", "load", "sing", "", None, 7, ["predict"], "x" * 60_000, "half \ud83d", "predicted", "failed")
HEADER: dict[str, Any] = {
    "protocol": 4,
    "id": 5,
    "verb": "predict",
    "content_type": "application/json",
    "length": len(BODY),
}


@dataclass(frozen=True)
class Told:
    """What becomes of a stream."""

    ids: tuple[int, ...]
    """Of the frames that are answered."""
    end: str
    """``good``: the next frame is read; ``broken``, ``stop``: the worker ends; ``waits``: for more of a payload."""
    missing: int = 0


def told(stream: bytes) -> Told:
    """Read a stream as the worker must."""
    ids: list[int] = []
    while stream:
        line, newline, rest = stream[:MAX_HEADER].partition(b"\n")
        header = _header(line) if newline else None
        length = header.get("length") if header is not None else None
        if header is None or type(length) is not int or not 0 <= length <= MAX_PAYLOAD:
            return Told(tuple(ids), "broken" if newline or len(stream) >= MAX_HEADER else "unended")
        rest = stream[len(line) + 1 :]
        if len(rest) < length:
            return Told(tuple(ids), "waits", length - len(rest))
        if header.get("verb") == "stop":
            return Told(tuple(ids), "stop")
        number = header.get("id")
        ids.append(number if type(number) is int and abs(number) < 2**53 else 0)
        stream = rest[length:]
    return Told(tuple(ids), "good")


def _header(line: bytes) -> dict[str, Any] | None:
    try:
        header = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return header if isinstance(header, dict) else None


def mutated(chance: random.Random) -> bytes:
    """A frame with something wrong; mostly such that the frame after it is still found."""
    draw = chance.random()
    if draw < 0.012:
        return mutation.mutated_bytes(_line(HEADER) + BODY, chance)
    if draw < 0.025:
        wrong = chance.choice((len(BODY) - 3, len(BODY) + 3, 0, -1, 2**40 + 1, 2**70, 1.0, "27", None, True, [], 300))
        return _line({**HEADER, "length": wrong}) + BODY
    body = BODY if draw < 0.6 else mutation.mutated_bytes(BODY, chance)
    header = {**HEADER, "length": len(body)}
    for _ in range(chance.randint(1, 2)):
        _change(header, chance)
        if "padding" in header:  # with more it would be too long, too often
            break
    return _line(header) + body


def _change(header: dict[str, Any], chance: random.Random) -> None:
    how = chance.randrange(6)
    if how == 0:
        header["verb"] = chance.choice(VERBS)
    elif how == 1:
        header[chance.choice(("id", "protocol", "content_type", "content_encoding"))] = chance.choice(mutation.NASTY)
    elif how == 2:
        header.pop(chance.choice(("id", "protocol", "verb", "content_type")), None)
    elif how == 3:
        header[chance.choice(("", "nulls", "x" * 1000, "\0"))] = chance.choice(mutation.NASTY)
    elif how == 4:
        header["padding"] = "x" * (MAX_HEADER - len(_line(header)) - 15 - chance.choice((0, 0, 1, 5000)))
    else:
        header["id"] = chance.choice((2**53, -(2**53), 2**53 - 1, -7, True, "5", 5.0, None))


def _line(header: dict[str, Any]) -> bytes:
    return json.dumps(header).encode() + b"\n"
