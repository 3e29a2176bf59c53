"""The answers: the schema of ``{"predictions": …}`` from the signature's outputs.

Nothing holds a model to its outputs, so that the schema says what the signature says: docs/serve.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from envbuild.server.description import schemas
from envbuild.server.description.schemas import Schema, Spec


def of_outputs(outputs: Sequence[Spec]) -> Schema:
    """The schema of the predictions alone; an empty one where the signature has no outputs."""
    if not outputs:
        return {}
    if any(spec.get("type") == "tensor" for spec in outputs):
        return _of_tensors(outputs)
    values = [_value(spec) for spec in outputs]
    shapes: list[Schema] = [{"type": "array", "items": {"type": "array"}}]
    if all(spec.get("name") is not None for spec in outputs):
        names = [schemas.name_of(spec) for spec in outputs]
        shapes = [
            {"type": "array", "items": _object(names, values), "title": "Records"},
            _object(names, [{"anyOf": [value, {"type": "array", "items": value}]} for value in values]),
        ]
    if len(outputs) == 1:
        shapes = [*shapes, {"type": "array", "items": values[0]}, values[0]]
    return {"anyOf": shapes} if len(shapes) > 1 else shapes[0]


def of_predictions(outputs: Sequence[Spec], *, bare: bool) -> Schema:
    """The schema of a whole answer.

    :param bare: requests may be bare, and then answers are.
    """
    wrapped: Schema = {
        "type": "object",
        "required": ["predictions"],
        "properties": {"predictions": of_outputs(outputs)},
    }
    return (
        {"anyOf": [wrapped, {"description": "What the model gave back, where the request was bare."}]}
        if bare
        else wrapped
    )


def _value(spec: Spec) -> Schema:
    made = schemas.answered(schemas.of_spec(spec))
    return made if schemas.is_required(spec) else schemas.nullable(made)


def _of_tensors(outputs: Sequence[Spec]) -> Schema:
    if len(outputs) == 1 and outputs[0].get("name") is None:
        return schemas.answered(schemas.of_tensor(outputs[0]))
    names = [schemas.name_of(spec) for spec in outputs]
    return _object(names, [schemas.answered(schemas.of_spec(spec)) for spec in outputs])


def _object(names: Sequence[str], values: Sequence[Any]) -> Schema:
    return {"type": "object", "properties": dict(zip(names, values)), "required": list(dict.fromkeys(names))}
