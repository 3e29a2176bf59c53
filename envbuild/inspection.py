"""What one sees first of a model: what it is, what it asks for, what disagrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from envbuild.lock import Lock, lock_to_dict
from envbuild.model import Model, Notice
from envbuild.signature import Field
from envbuild.spec import EnvironmentSpec, spec_to_dict


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """A model and its spec, as the deployer's settings have it."""

    model: Model
    uri: str
    """How the model was named, without credentials."""
    spec: EnvironmentSpec
    notices: tuple[Notice, ...]
    repairs: tuple[Notice, ...] = ()
    """What was mended of the spec, and with a lock what was mended to make it."""
    lock: Lock | None = None
    """What it resolved to, where that is known."""
    lock_source: str = ""
    """``kept`` (in the store), or the path of a lock file."""

    def to_dict(self) -> dict[str, Any]:
        """The form that ``inspect --json`` prints; its keys are documented in ``docs/cli.md``."""
        model, signature = self.model, self.model.signature
        return {
            "model": {
                "uri": self.uri,
                "path": str(model.path),
                "name": model.name,
                "flavors": {
                    name: dict(content) for name, content in model.flavors.items() if name != "python_function"
                },
                "loader_module": model.pyfunc.loader_module,
                "predict_fn": model.pyfunc.predict_fn,
                "data": model.pyfunc.data,
                "code": model.pyfunc.code,
                "config": None if model.pyfunc.config is None else dict(model.pyfunc.config),
                "created": None if model.created is None else model.created.isoformat(),
                "mlflow_version": None if model.mlflow_version is None else model.mlflow_version.text,
                "input_example": None if model.input_example is None else str(model.input_example),
            },
            "signature": None
            if signature is None
            else {part: fields_to_list(getattr(signature, part)) for part in ("inputs", "outputs", "params")},
            "environment": spec_to_dict(self.spec),
            "repairs": [notice.to_dict() for notice in self.repairs],
            "lock": None if self.lock is None else {**lock_to_dict(self.lock), "source": self.lock_source},
        }


def fields_to_list(fields: tuple[Field, ...] | None) -> list[dict[str, Any]] | None:
    """A part of a signature for ``--json``."""
    if fields is None:
        return None
    return [{"name": one.name, "type": one.type, "required": one.required, "default": one.default} for one in fields]
