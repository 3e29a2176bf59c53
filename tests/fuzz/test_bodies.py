"""Mutated bodies: each gets an answer or a typed error, and the next good request its answer from the same worker."""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bodies
import pytest

from envbuild.bridge import Worker, WorkerOptions
from envbuild.errors import EnvbuildError, InputError, OutputInvalid

SEED = 20180605


def ask(worker: Worker, request: bodies.Request) -> str:
    """What comes of a request, by its code; what is neither an answer nor one of two errors is raised."""
    try:
        json.loads(worker.predict(*request).payload, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    except (InputError, OutputInvalid) as error:
        code, message = error.code, str(error)
    else:
        return "answered"
    assert "Traceback" not in message
    assert len(message) < 3000
    # That is for values that break numpy and pandas; were it for more, the messages would be of little use.
    return code + (
        " without a reason of ours"
        if "the input cannot be parsed: " in message or "the input cannot be read: " in message
        else ""
    )


@pytest.mark.parametrize("kind", bodies.SIGNATURES)
@pytest.mark.parametrize("count", [400, pytest.param(3400, marks=pytest.mark.slow)])
def test_mutated_bodies(kind: str, count: int, tmp_path: Path) -> None:
    chance, seen, lines = random.Random(SEED), Counter[str](), []
    with Worker.start(
        Path(sys.executable), model_of(kind, tmp_path), WorkerOptions(predict_timeout=60, stderr=lines.append)
    ) as worker:
        for number in range(count):
            request = bodies.mutated(kind, chance)
            try:
                seen[ask(worker, request)] += 1
                assert ask(worker, (bodies.GOOD[kind], "application/json", None)) == "answered"
            except (EnvbuildError, AssertionError) as error:
                pytest.fail(f"request {number} of {kind}: {request!r:.500}: {error!r}")
    assert b"Traceback" not in b"".join(lines)
    print(f"\nmutated bodies, {kind}: {count}: {dict(seen)}")
    assert seen["answered"] > count // 50, "mutations that leave nothing right show little"
    assert sum(times for said, times in seen.items() if "without" in said) < count // 50


def model_of(kind: str, folder: Path) -> Any:
    code = folder / "code"
    code.mkdir()
    (code / "echoing.py").write_text((Path(__file__).parent / "echoing.py").read_text())
    pyfunc = SimpleNamespace(
        loader_module="echoing", data=None, code="code", config=None, predict_fn="predict", data_of_flavor=None
    )
    signature = bodies.SIGNATURES[kind]
    told = None if signature is None else SimpleNamespace(to_dict=lambda: signature)
    return SimpleNamespace(path=folder, pyfunc=pyfunc, signature=told)
