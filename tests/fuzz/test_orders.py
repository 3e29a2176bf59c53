"""Mutated orders to load, the signature above all: the model is loaded or is not, and what follows is typed."""

from __future__ import annotations

import copy
import importlib
import json
import random
import sys
import types
from collections import Counter
from pathlib import Path
from typing import Any

import bodies
import mutation
import pytest

SEED = 20180605
WORKER = Path(__file__).resolve().parents[2] / "envbuild" / "worker"
PACKAGE = "_envbuild_worker"


class Said:
    """In the channel's place: keeps what the worker says."""

    def __init__(self) -> None:
        self.frames: list[tuple[str, Any]] = []

    def send(self, verb: str, number: int, payload: bytes, **more: Any) -> None:
        self.frames.append((verb, json.loads(payload)))


def module(name: str) -> types.ModuleType:
    """A module of the worker's, under the name that it has there."""
    package = types.ModuleType(PACKAGE)
    package.__path__ = [str(WORKER)]
    sys.modules.setdefault(PACKAGE, package)
    return importlib.import_module(f"{PACKAGE}.{name}")


def mutated_order(kind: str, chance: random.Random) -> dict[str, Any]:
    order: dict[str, Any] = {"model": str(Path(__file__).parent), "loader_module": "echoing"}
    order["signature"] = copy.deepcopy(bodies.SIGNATURES[kind])
    if chance.random() < 0.8:
        for _ in range(chance.randint(1, 3)):
            order["signature"] = mutation.mutated_value(order["signature"], chance)
    else:
        name = chance.choice(("nan", "enforce", "max_output", "direct", "data", "code", "config", "predict_fn"))
        order[name] = copy.deepcopy(chance.choice(mutation.NASTY))
    return order


@pytest.mark.parametrize("kind", ["columns", "tensors"])
@pytest.mark.parametrize("count", [500, pytest.param(3000, marks=pytest.mark.slow)])
def test_mutated_orders(kind: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    serving, channel = module("serving"), module("channel")
    chance, seen = random.Random(SEED), Counter[str]()
    for number in range(count):
        order = mutated_order(kind, chance)
        said = Said()
        worker = serving.Worker(said)
        header = {"protocol": 4, "id": 1, "verb": "load", "content_type": "application/json"}
        worker.answer(channel.Frame(header, json.dumps(order).encode()))
        worker.answer(channel.Frame({**header, "verb": "predict"}, bodies.GOOD[kind]))
        for verb, answer in said.frames:
            if verb == "failed":
                assert "what the model did cannot be told" not in answer["message"], (number, order, answer)
            seen[verb if verb != "failed" else answer["code"]] += 1
        assert len(said.frames) == 2
    print(f"\nmutated orders, {kind}: {count}: {dict(seen)}")
    assert seen["predicted"] > count // 20
