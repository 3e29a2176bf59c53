"""The two sides of a comparison: the era's own MLflow, and envbuild's worker, asked for many cases at once."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from eras import PARAMS, Era
from releases import Release

from envbuild.bridge.messages import load_order
from envbuild.bridge.options import WorkerOptions
from envbuild.model import read_model

FAR = Path(__file__).resolve().parent / "far"
JSON, CSV, PARQUET = "application/json", "text/csv", "application/vnd.apache.parquet"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A body for a model with a signature."""

    signature: Any
    """``{"inputs": [...], "params": [...]}`` as MLmodel has them; ``None`` for a model without."""
    body: bytes
    content_type: str = JSON
    why: str = ""
    """What is wrong with it, or where it is from."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one side made of a case: an answer, or a refusal in words."""

    answer: Any = None
    refused: str | None = None
    code: str | None = None
    """Ours: the error's code."""
    before: bool = False
    """Today's rules refused it, before the era was asked."""


class Actor:
    """A process in an environment."""

    def __init__(self, python: Path, folder: Path, *words: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._stderr = (folder / "stderr").open("wb")
        self.process = subprocess.Popen(
            [python, "-I", FAR / "actor.py", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "LC_ALL": "C.UTF-8",
                "MLFLOW_DISABLE_TELEMETRY": "true",
            },
        )

    def ask(self, do: str, cases: Sequence[Any]) -> list[Any]:
        if not cases:
            return []
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": do, "cases": list(cases)}).encode("ascii") + b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the process for {do} ended; see {self._stderr.name}"
        return json.loads(line)

    def close(self) -> None:
        with self.process, self._stderr:
            self.process.kill()


@dataclass
class Sides:
    """An era's own side and ours; today's rules are those of the newest MLflow's environment."""

    era: Era
    folder: Path
    today: Actor
    then: Actor
    written: dict[str, str] = field(default_factory=dict)

    def model(self, signature: Any, kind: str | None = None, *, today: bool = False) -> str:
        """Where a model with this signature is; ``today``: with the signature as MLflow writes it today."""
        kind = kind or ("mirror" if PARAMS in self.era.knows else "old")
        signature = in_words_of_2_9(signature) if self.era.says_optional and not today else signature
        key = digest(signature, kind)
        if key not in self.written:
            self.written[key] = str(write_mirror(self.folder / key, signature, self.era, kind))
        return self.written[key]

    def theirs(self, cases: Sequence[Case]) -> list[Outcome]:
        """The era's pyfunc on what today's rules make of each body."""
        parsed = self.today.ask("parse", [self._asked(case, today=True) for case in cases])
        known = [number for number, one in enumerate(parsed) if "refused" not in one]
        asked = [{**parsed[number], "model": self.model(cases[number].signature)} for number in known]
        answers = dict(zip(known, self.then.ask("predict", asked)))
        return [
            _outcome(answers[number]) if number in answers else Outcome(refused=one["refused"], before=True)
            for number, one in enumerate(parsed)
        ]

    def ours(self, cases: Sequence[Case], kind: str | None = None, **changes: Any) -> list[Outcome]:
        """Envbuild's worker; ``changes`` are of its ``load`` order."""
        orders = [{**order_of(self.model(case.signature, kind)), **changes} for case in cases]
        asked = [{**self._asked(case), "order": order} for case, order in zip(cases, orders)]
        return [_outcome(one) for one in self.then.ask("serve", asked)]

    def scored(self, cases: Sequence[Case], kind: str = "old") -> list[Outcome]:
        """The scoring server of the era, where that is one of MLflow 1.x."""
        asked = [{**self._asked(case), "model": self.model(case.signature, kind)} for case in cases]
        answered = [_outcome(one) for one in self.then.ask("score", asked)]
        return [one if one.refused else Outcome(answer=json.loads(one.answer)) for one in answered]

    def _asked(self, case: Case, *, today: bool = False) -> dict[str, Any]:
        model, body = self.model(case.signature, today=today), base64.b64encode(case.body).decode()
        return {"model": model, "body": body, "content_type": case.content_type}


def digest(*parts: Any) -> str:
    """What names a model with such parts."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def in_words_of_2_9(signature: Any) -> Any:
    """A signature in which ``required: false`` is ``optional: true``."""
    if signature is None:
        return None
    inputs = [
        {
            **{key: said for key, said in spec.items() if key != "required"},
            **({} if spec.get("required", True) else {"optional": True}),
        }
        for spec in signature["inputs"]
    ]
    return {**signature, "inputs": inputs}


@lru_cache(maxsize=1000)
def order_of(model: str) -> dict[str, Any]:
    """What the bridge tells a worker to load."""
    return json.loads(load_order(read_model(model), WorkerOptions()))


def _outcome(answered: dict[str, Any]) -> Outcome:
    return Outcome(answer=answered.get("answer"), refused=answered.get("refused"), code=answered.get("code"))


def write_mirror(path: Path, signature: Any, era: Era, kind: str) -> Path:
    """Write a model that describes what it is given, with a signature."""
    write_model(path, era, "mirror", kind, mirror_code(), signature)
    (path / kind).touch()
    (path / "requirements.txt").write_text(era.requirements, encoding="utf-8")
    return path


def mirror_code() -> dict[str, str]:
    """The mirror's code, by the names of its files."""
    return {name: (FAR / name).read_text(encoding="utf-8") for name in ("exact.py", "mirror.py")}


def write_model(
    path: Path,
    era: Era | Release,
    loader: str,
    data: str,
    code: Mapping[str, str],
    signature: Any = None,
) -> None:
    """Write a model with a loader of its own, but for its data."""
    for name, text in code.items():
        (path / "code" / name).parent.mkdir(parents=True, exist_ok=True)
        (path / "code" / name).write_text(text, encoding="utf-8")
    document: dict[str, Any] = {
        "flavors": {
            "python_function": {
                "loader_module": loader,
                "data": data,
                "code": "code",
                "python_version": era.python,
            }
        },
        "utc_time_created": f"{era.created} 12:00:00.000000",
    }
    # The first releases fail over what they do not know.
    if tuple(map(int, era.mlflow.split("."))) >= (1, 9):
        document["mlflow_version"] = era.mlflow
    if signature is not None:
        document["signature"] = {part: json.dumps(specs) for part, specs in signature.items() if specs is not None}
    # JSON is YAML.
    (path / "MLmodel").write_text(json.dumps(document, indent=1), encoding="utf-8")
