"""A process in a model's environment that answers for both sides, one JSON line a batch.

``parse``: what MLflow's scoring server of this environment makes of a body. ``predict``: what this environment's pyfunc
answers to data. ``score``: what the scoring server of MLflow 1.x answers. ``serve``: what envbuild's worker answers, by
its own code and frames; many models live in one process here, since a process for each of a thousand signatures would
take hours. ``ask`` and ``ask_directly``: what this environment's pyfunc and envbuild's direct loader answer to an input
of ``flavors.py``.

With the argument ``without-mlflow`` no mlflow can be imported.
"""

from __future__ import annotations

import base64
import importlib
import io
import json
import logging
import os
import sys
import types
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
WORKER = HERE.parents[2] / "envbuild" / "worker"
Case = dict


def refusal(error: BaseException) -> dict[str, Any]:
    return {"refused": f"{type(error).__name__}: {error}"}


@lru_cache(maxsize=64)
def metadata(model: str) -> Any:
    from mlflow.models import Model

    return Model.load(model)


def parse(case: Case) -> dict[str, Any]:
    from mlflow.pyfunc import scoring_server

    exact = importlib.import_module("exact")
    known, payload = metadata(case["model"]), base64.b64decode(case["body"])
    schema, params, bare = known.get_input_schema(), None, False
    kind = case["content_type"].partition(";")[0]
    try:
        if kind == "text/csv":
            data = scoring_server.parse_csv_input(io.StringIO(payload.decode("utf-8")), schema)
        elif kind == "application/json":
            data, params, bare = scoring_server._parse_json_data(payload.decode("utf-8"), known, schema)
        else:
            data = scoring_server.parse_parquet_input(io.BytesIO(payload))
    except Exception as error:  # noqa: BLE001 - whatever a release raises is its refusal
        return refusal(error)
    return {"data": exact.describe(data), "params": params, "bare": bare}


@lru_cache(maxsize=64)
def pyfunc(model: str) -> Any:
    from mlflow.pyfunc import load_model

    return load_model(model)


def predict(case: Case) -> dict[str, Any]:
    exact = importlib.import_module("exact")
    try:
        data = exact.rebuild(case["data"])
        if case["params"] is None:
            answer = pyfunc(case["model"]).predict(data)
        else:
            answer = pyfunc(case["model"]).predict(data, params=case["params"])
    except Exception as error:  # noqa: BLE001 - as above
        return refusal(error)
    return {"answer": answer}


@lru_cache(maxsize=64)
def client(model: str) -> Any:
    from mlflow.pyfunc import scoring_server

    return scoring_server.init(pyfunc(model)).test_client()


def score(case: Case) -> dict[str, Any]:
    body = base64.b64decode(case["body"])
    answered = client(case["model"]).post("/invocations", data=body, content_type=case["content_type"])
    text = answered.data.decode("utf-8")
    return {"answer": text} if answered.status_code == 200 else {"refused": text}


class Memory:
    """A channel that goes nowhere."""

    def __init__(self) -> None:
        self.sent: tuple[str, bytes] = ("", b"")

    def send(self, verb: str, number: int, payload: bytes, **more: Any) -> None:
        self.sent = (verb, payload)


@lru_cache(maxsize=64)
def worker(order: str) -> tuple[Any, Memory, dict[str, Any] | None]:
    channel = importlib.import_module("_envbuild_worker.channel")
    serving, memory = importlib.import_module("_envbuild_worker.serving"), Memory()
    made = serving.Worker(memory)
    made.answer(channel.Frame({"protocol": channel.PROTOCOL, "id": 1, "verb": "load"}, order.encode()))
    verb, payload = memory.sent
    return made, memory, None if verb == "loaded" else json.loads(payload)


def serve(case: Case) -> dict[str, Any]:
    made, memory, failed = worker(json.dumps(case["order"], sort_keys=True))
    if failed is not None and case.get("may_fail"):
        return {"refused": failed["message"], "code": failed["code"]}
    if failed is not None:
        raise AssertionError(f"the model was not loaded: {failed}")
    channel = importlib.import_module("_envbuild_worker.channel")
    header = {"protocol": channel.PROTOCOL, "id": 2, "verb": "predict", "content_type": case["content_type"]}
    made.answer(channel.Frame(header, base64.b64decode(case["body"])))
    verb, payload = memory.sent
    if verb == "predicted":
        answer = json.loads(payload)
        bare = not (isinstance(answer, dict) and set(answer) == {"predictions"})
        return {"answer": answer if bare else answer["predictions"], "bare": bare}
    failed = json.loads(payload)
    return {"refused": failed["message"], "code": failed["code"]}


@lru_cache(maxsize=4)
def directly(order: str) -> Any:
    return importlib.import_module("_envbuild_worker.loading").load(json.loads(order))


def ask(case: Case) -> dict[str, Any]:
    data, params = importlib.import_module("flavors").inputs()[case["input"]], case.get("params")
    try:
        model = pyfunc(case["model"])
        answer = model.predict(data) if params is None else model.predict(data, params=params)
    except Exception as error:  # noqa: BLE001 - as above
        return refusal(error)
    return {"answer": importlib.import_module("exact").describe(answer)}


def ask_directly(case: Case) -> dict[str, Any]:
    data = importlib.import_module("flavors").inputs()[case["input"]]
    try:
        answer = directly(json.dumps(case["order"])).predict(data, case.get("params"))
    except Exception as error:  # noqa: BLE001 - as above
        return refusal(error)
    return {"answer": importlib.import_module("exact").describe(answer)}


VERBS = {
    "ask": ask,
    "ask_directly": ask_directly,
    "parse": parse,
    "predict": predict,
    "score": score,
    "serve": serve,
}


def main() -> None:
    """Answer until the end of standard input; whatever prints does so on standard error."""
    commands, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    package = types.ModuleType("_envbuild_worker")
    package.__path__ = [str(WORKER)]
    sys.modules["_envbuild_worker"] = package
    sys.path.insert(0, str(HERE))
    if sys.argv[1:] == ["without-mlflow"]:
        sys.modules["mlflow"] = None  # type: ignore[assignment]
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    for line in commands:
        batch = json.loads(line)
        done = [VERBS[batch["do"]](case) for case in batch["cases"]]
        answers.write(json.dumps(done).encode("ascii") + b"\n")
        answers.flush()


if __name__ == "__main__":
    main()
