"""Mutated frames from a worker: the host reads frames, or nothing more, or raises a ProtocolError."""

from __future__ import annotations

import json
import random
from collections import Counter

import mutation
import pytest

from envbuild.bridge.frames import FrameReader
from envbuild.bridge.messages import failure_of, reads_of, ready_of
from envbuild.errors import ProtocolError

SEED = 20180605
SAID = (
    ("ready", 0, {"protocol": 4, "python": "3.6.15", "loader": "mlflow", "pid": 7}),
    ("loaded", 1, {"reads": ["application/json"]}),
    ("predicted", 2, {"predictions": [1, 2]}),
    ("failed", 3, {"code": "model-raised", "message": "no", "exception": "ValueError: no"}),
)
UNDERSTOOD = {"ready": ready_of, "loaded": reads_of, "failed": failure_of}


def streams(chance: random.Random) -> bytes:
    parts = []
    for verb, number, payload in SAID:
        body = json.dumps(payload).encode()
        if chance.random() < 0.3:
            body = mutation.mutated_json(payload, chance)
        header = {"protocol": 4, "id": number, "verb": verb, "content_type": "application/json", "length": len(body)}
        line = json.dumps(header).encode()
        if chance.random() < 0.2:
            line = mutation.mutated_json(header, chance)
        parts.append(line + b"\n" + body)
    whole = b"".join(parts)
    return mutation.mutated_bytes(whole, chance) if chance.random() < 0.5 else whole


def reader(data: bytes, chance: random.Random) -> FrameReader:
    rest = memoryview(data)

    def readinto(view: memoryview) -> int:
        nonlocal rest
        count = min(chance.choice((1, 10, 1 << 16)), len(view), len(rest))
        view[:count] = rest[:count]
        rest = rest[count:]
        return count

    return FrameReader(readinto)


@pytest.mark.parametrize("count", [2000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_mutated_frames(count: int) -> None:
    chance, seen, longest = random.Random(SEED), Counter[str](), 0
    for _ in range(count):
        reading = reader(streams(chance), chance)
        try:
            while frame := reading.read():
                seen["read"] += 1
                assert type(frame.more.get("nulls", 0)) is int
                if frame.verb in UNDERSTOOD:
                    UNDERSTOOD[frame.verb](frame)
            seen["ended"] += 1
        except ProtocolError as error:
            seen["refused"] += 1
            longest = max(longest, len(str(error)))
    print(f"\nmutated frames from a worker: {count}: {dict(seen)}")
    assert longest < 3000
    assert min(seen["ended"], seen["refused"]) > count // 20


def test_a_frame_that_says_it_is_huge_takes_no_room() -> None:
    header = {"protocol": 4, "id": 1, "verb": "predicted", "content_type": "application/json", "length": 1 << 40}
    assert reader(json.dumps(header).encode() + b"\n1", random.Random(SEED)).read() is None
