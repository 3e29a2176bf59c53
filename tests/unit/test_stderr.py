"""The tail of what a model prints."""

from __future__ import annotations

from envbuild.bridge.stderr import Tail


def test_the_tail_of_what_a_model_prints_is_bounded() -> None:
    pieces: list[bytes] = []
    tail = Tail(pieces.append)
    for number in range(5000):
        tail(f"line {number}\n".encode())
    assert len(pieces) == 5000
    assert tail.lines() == tuple(f"line {number}" for number in range(4980, 5000))
