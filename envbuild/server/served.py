"""Served: what a server knows of the model that it serves, wherever that came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from envbuild import sample
from envbuild.bridge import Worker
from envbuild.errors import EnvbuildError
from envbuild.lock import Lock
from envbuild.model import Model
from envbuild.request import Question
from envbuild.sample import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A model, and how a worker that loads it is started."""

    model: Model
    name: str
    """In paths and metrics."""
    lock: Lock | None
    """What its environment was built from; ``None`` where that cannot be read."""
    environment: Path
    start: Callable[[], Worker]

    def mlflow_version(self) -> str | None:
        """The mlflow that saved the model, or else the one in its environment."""
        if self.model.mlflow_version is not None:
            return self.model.mlflow_version.text
        packages = () if self.lock is None else self.lock.packages
        return next((package.version for package in packages if package.name == "mlflow"), None)

    def example(self) -> Sample | None:
        """The model's own input example as a request; ``None`` where it has none that can be read and sent."""
        try:
            return sample.of_example(self.model)
        except EnvbuildError:
            return None

    def probe(self) -> Question | None:
        """The model's own input example, to be asked before it counts as ready."""
        example = self.example()
        return None if example is None else Question(payload=example.payload, content_type=example.content_type)
