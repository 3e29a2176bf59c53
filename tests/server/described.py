"""Models whose description and page are looked at: with signatures of all kinds, in the environment of a real one."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asking import Server
from kit import REPO, cli_environ
from tiny import write_model

from envbuild.model import read_model
from envbuild.server.served import Served

HEART = REPO / "tests" / "models" / "py311_mlflow3_17" / "heart"
PLAIN = ("boolean", "integer", "long", "float", "double", "string")

# Gives back what it was given.
ECHO = """
class Model:
    def predict(self, data, params=None):
        return data

def _load_pyfunc(path):
    return Model()
"""
# Numbers the rows, whatever they hold.
COUNT = """
import numpy

class Model:
    def predict(self, data, params=None):
        return numpy.arange(len(next(iter(data.values())) if isinstance(data, dict) else data))

def _load_pyfunc(path):
    return Model()
"""


def column(kind: str, name: str | None = None, **more: Any) -> dict[str, Any]:
    return {"type": kind, **({} if name is None else {"name": name}), "required": True, **more}


def tensor(dtype: str, shape: list[int], name: str | None = None) -> dict[str, Any]:
    spec = {"type": "tensor", "tensor-spec": {"dtype": dtype, "shape": shape}}
    return spec if name is None else {**spec, "name": name}


def param(name: str, kind: str, default: Any, shape: list[int] | None = None) -> dict[str, Any]:
    return {"name": name, "type": kind, "default": default, "shape": shape}


EVERY_TYPE = [
    *(column(kind, kind) for kind in (*PLAIN, "binary", "datetime")),
    column("long", "maybe", required=False),
    column("array", "list", items={"type": "double"}),
    column("object", "thing", properties={"name": {"type": "string"}, "size": {"type": "long", "required": False}}),
    column("map", "map", values={"type": "double"}),
]
PARAMS = [
    param("temperature", "double", 0.5),
    param("top", "long", 3),
    param("words", "string", ["a", "b"], [-1]),
    param("on", "boolean", True),
]
KINDS: dict[str, dict[str, Any]] = {
    "every-type": {"inputs": EVERY_TYPE, "params": PARAMS},
    "plain": {
        "inputs": [column(kind, kind) for kind in PLAIN] + [column("double", "maybe", required=False)],
        "outputs": [column(kind, kind) for kind in PLAIN] + [column("double", "maybe", required=False)],
        "params": PARAMS,
    },
    "flat": {"inputs": [column("binary", "b"), column("datetime", "d"), column("double", "x")]},
    "unnamed": {"inputs": [column("double"), column("string")]},
    "tensor": {"inputs": [tensor("uint8", [-1, 2, 3])], "outputs": [tensor("uint8", [-1, 2, 3])]},
    "tensors": {
        "inputs": [tensor("int64", [-1, 2], "ids"), tensor("float32", [-1], "weights")],
        "outputs": [tensor("int64", [-1, 2], "ids"), tensor("float32", [-1], "weights")],
    },
}


def write_signed(
    place: Path, signature: Mapping[str, Any] | None, *, more: str = "", example: Any = None, loader: str = ECHO
) -> Path:
    """A model with a signature, in heart's environment; by default it echoes."""
    said = (HEART / "MLmodel").read_text()
    (created,) = re.findall(r"^utc_time_created: '(.*)'", said, flags=re.MULTILINE)
    (version,) = re.findall(r"^mlflow_version: (.*)", said, flags=re.MULTILINE)
    lines = [more, f"mlflow_version: {version}\n"]
    if signature is not None:
        lines.append("signature:\n")
        lines += [f"  {part}: {json.dumps(json.dumps(specs))}\n" for part, specs in signature.items()]
    files: dict[str, str | bytes] = {
        name: (HEART / name).read_bytes() for name in ("conda.yaml", "python_env.yaml", "requirements.txt")
    }
    if example is not None:
        files["serving_input_example.json"] = files["input_example.json"] = json.dumps(example)
        lines.append(
            "saved_input_example_info:\n  artifact_path: input_example.json\n  type: json_object\n"
            "  serving_input_path: serving_input_example.json\n"
        )
    return write_model(place, created=created, loader=loader, more="".join(lines), files=files)


def copy_of(model: Path, place: Path) -> Path:
    shutil.copytree(model, place)
    return place


def served(model: Path, name: str | None = None) -> Served:
    """A model as the HTTP side knows it, without an environment."""

    def start() -> Any:
        raise AssertionError("nobody asks it")

    known = read_model(model)
    return Served(model=known, name=name or known.name, lock=None, environment=model, start=start)


@contextmanager
def serving(model: Path, home: Path, place: Path, **variables: str) -> Iterator[Server]:
    """``envbuild serve MODEL``, loaded."""
    place.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "envbuild", "serve", model, "--port", "0"]
    server = Server(argv, place / "stderr", cli_environ(home, **{"ENVBUILD_WORKERS": "1", **variables}))
    try:
        yield server.wait_loaded()
    finally:
        server.remove()
