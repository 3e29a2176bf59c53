"""Servers that stand for all tests of a module, and real environments for them out of the shared store."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from asking import SERVE, Server, environ, here
from kit import REPO

from envbuild import pipeline
from envbuild.override.merging import settings_from
from envbuild.store.flock import Held

ERA = REPO / "tests" / "models" / "py311_mlflow3_17"


@contextlib.contextmanager
def built(model: Path, home: Path) -> Iterator[Path]:
    """A model's environment out of the shared store; nobody collects it meanwhile."""
    settings = settings_from({"home": home, "python_downloads": False, "conda_packages": "map"}, {})
    done = pipeline.build(pipeline.lock(pipeline.ask(model, settings), settings), settings)
    lease: Held = done.lease
    try:
        yield done.environment.path
    finally:
        lease.release()


@contextlib.contextmanager
def standing(environment: Path, model: Path, place: Path, **variables: str) -> Iterator[Server]:
    """A server of a model in an environment; its log and its temporary files go to ``place``."""
    known = environ(TMPDIR=str(place), ENVBUILD_WORKERS="1", **variables)
    server = Server(here(environment, model, *SERVE), place / "stderr", known)
    try:
        yield server
    finally:
        server.remove()


def signature(inputs: Sequence[Any] = (), outputs: Sequence[Any] = (), params: Sequence[Any] = ()) -> str:
    """A signature as lines of MLmodel."""
    parts = {"inputs": inputs, "outputs": outputs, "params": params}
    lines = "".join(f"  {name}: {json.dumps(json.dumps(specs))}\n" for name, specs in parts.items() if specs)
    return f"signature:\n{lines}"


def column(kind: str, name: str | None = None, **more: Any) -> dict[str, Any]:
    """A column of a signature."""
    return {"type": kind, "required": True, **({} if name is None else {"name": name}), **more}


def tensor(dtype: str, shape: Sequence[int], name: str | None = None) -> dict[str, Any]:
    """A tensor of a signature."""
    return {
        "type": "tensor",
        "tensor-spec": {"dtype": dtype, "shape": list(shape)},
        **({} if name is None else {"name": name}),
    }
