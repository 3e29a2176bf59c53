"""A host with a worker, as a program: asks a model what it can do, under options, and prints the answers as JSON.

Also for Pythons that have nothing but the standard library: ``python doing.py FOLDER PYTHON OPTIONS MEANS QUESTION...``.
The model is in ``FOLDER/model`` (:data:`LOADER`); a question is an expression in its Python.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from envbuild.bridge import Worker, WorkerOptions, confinement
from envbuild.errors import EnvbuildError

# Answers with the value of its input; an OSError is an answer too, by its name.
LOADER = """
import errno, os, socket, subprocess, sys, threading, time

class Model:
    def predict(self, data):
        try:
            return eval(data["input"])
        except OSError as error:
            return errno.errorcode[error.errno]

def _load_pyfunc(path):
    return Model()
"""


def body(question: str) -> bytes:
    """The request that asks for an expression's value."""
    return json.dumps({"input": question}).encode()


def model_in(folder: Path, source: str = LOADER) -> Any:
    """The model, written to its folder; it has the shape of ``envbuild.model.Model``."""
    code = folder / "model" / "code"
    code.mkdir(parents=True, exist_ok=True)
    (code / "its_loader.py").write_text(source)
    pyfunc = SimpleNamespace(
        loader_module="its_loader", data=None, code="code", config=None, predict_fn="predict", data_of_flavor=None
    )
    return SimpleNamespace(path=folder / "model", pyfunc=pyfunc, signature=None)


def answers(worker: Worker, questions: list[str]) -> list[Any]:
    """What the model says, and the codes of errors."""
    found: list[Any] = []
    for question in questions:
        try:
            found.append(json.loads(worker.predict(body(question)).payload))
        except EnvbuildError as error:
            found.append([error.code, error.message])
    return found


def main() -> None:
    """Answer what the command line asks."""
    folder, python, options, means, *questions = sys.argv[1:]
    if means:
        confinement.MEANS = tuple(means.split())  # type: ignore[misc,assignment]
    tempfile.tempdir = folder + "/private"
    Path(tempfile.tempdir).mkdir(exist_ok=True)
    try:
        given = WorkerOptions(**json.loads(options))
        with Worker.start(Path(python), model_in(Path(folder)), given) as worker:
            print(json.dumps([list(worker.restraints), *answers(worker, questions)]))
    except EnvbuildError as error:
        print(json.dumps(error.to_dict()))


if __name__ == "__main__":
    main()
