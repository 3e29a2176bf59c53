"""What the host sees of a model that misbehaves: its answer or its error, and whether the worker is still good."""

from __future__ import annotations

import ast
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from envbuild.bridge import Worker, WorkerOptions
from envbuild.errors import EnvbuildError

MODELS = Path(__file__).resolve().parent / "models"
MISBEHAVE, BE_GOOD = (json.dumps({"input": order}).encode() for order in ("misbehave", "be good"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One model's first request and its second."""

    said: str
    """The answer, or the error's code, exit code and message."""
    stays: bool
    """Whether the same worker answers the next request."""
    details: tuple[str, ...] = ()


def names() -> list[str]:
    """The models, by what goes wrong with them."""
    return sorted(path.stem for path in MODELS.glob("*.py") if path.stem != "turning")


def does(name: str) -> str:
    """What a model says that it does."""
    return str(ast.get_docstring(ast.parse((MODELS / f"{name}.py").read_text())))


def model_of(name: str, folder: Path) -> Any:
    """A model of one of the modules; it has the shape of ``envbuild.model.Model``."""
    code = folder / "code"
    code.mkdir(parents=True)
    for module in (name, "turning"):
        shutil.copy(MODELS / f"{module}.py", code)
    pyfunc = SimpleNamespace(
        loader_module=name, data=None, code="code", config=None, predict_fn="predict", data_of_flavor=None
    )
    return SimpleNamespace(path=folder, pyfunc=pyfunc, signature=None)


def see(python: Path, model: Any, stderr: Callable[[bytes], None], **options: Any) -> Seen:
    """Ask a model to misbehave, and then to be good."""
    with Worker.start(python, model, WorkerOptions(stderr=stderr, **options)) as worker:
        details: tuple[str, ...] = ()
        try:
            said = f"answers `{worker.predict(MISBEHAVE).payload.decode('utf-8')}`"
        except EnvbuildError as error:
            said, details = f"`{error.code}` ({error.exit_code}): {error}", error.details
        try:
            stays = json.loads(worker.predict(BE_GOOD).payload) == "be good"
        except EnvbuildError:
            stays = False
    return Seen(said=said, stays=stays, details=details)
