"""A model's signature: what goes into ``predict`` and what comes out.

MLflow writes each part as a JSON string into MLmodel (MLflow documentation, "Model Signatures"); this module reads the
three parts and keeps each in the form it was written in as well, since that is what the worker is given.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envbuild.document import Node
from envbuild.errors import ModelError, Place

_MAX_DEPTH = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A column, a tensor or a parameter of a signature."""

    name: str | None
    type: str
    """As MLflow writes types, nested ones in full: ``long``, ``array[double]``, ``tensor(uint8, [-1, 4, 4, 3])``."""
    required: bool = True
    default: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Inputs, outputs and parameters; ``None`` where the model states none."""

    inputs: tuple[Field, ...] | None
    outputs: tuple[Field, ...] | None
    params: tuple[Field, ...] | None
    written: Mapping[str, Any]
    """The three parts as MLmodel has them, JSON decoded."""

    def to_dict(self) -> dict[str, list[Any] | None]:
        """The parts as written, each a list of specs or ``None``; the worker's ``load`` takes this."""
        return {part: self.written.get(part) for part in ("inputs", "outputs", "params")}


def read_signature(node: Node | None) -> Signature | None:
    """The signature under MLmodel's ``signature`` key.

    :raises ModelError: a part is neither a JSON list nor a YAML list of specs.
    """
    if node is None or not any(node.get(part) for part in ("inputs", "outputs", "params")):
        return None
    written = {part: _decoded(node.get(part), part) for part in ("inputs", "outputs", "params")}
    places = {part: below.place for part in written if (below := node.get(part)) is not None}
    try:
        read = {
            part: None if specs is None else tuple(_field(spec, places[part], part) for spec in specs)
            for part, specs in written.items()
        }
    except RecursionError as error:
        raise ModelError("the signature's types are nested without end", place=node.place) from error
    return Signature(inputs=read["inputs"], outputs=read["outputs"], params=read["params"], written=written)


def _decoded(node: Node | None, part: str) -> list[Any] | None:
    """A part as a list: a JSON string in every release, a YAML list in files written by hand."""
    if node is None:
        return None
    value = node.plain()
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"the signature's {part} are not JSON: {error}", place=node.place) from error
    if value is None:
        return None
    if not isinstance(value, list):
        raise ModelError(f"the signature's {part} are not a list", place=node.place)
    return value


def _field(spec: Any, place: Place, part: str) -> Field:
    if not isinstance(spec, dict) or not isinstance(spec.get("type"), str):
        raise ModelError(f"the signature's {part} hold a spec without a type: {str(spec)[:80]}", place=place)
    name = spec.get("name")
    required = spec.get("required", not spec.get("optional", False))
    type_name = _type_name(spec)
    if part == "params" and spec.get("shape") is not None:
        type_name = f"{type_name}{_compact(spec['shape'])}"
    return Field(
        name=None if name is None else str(name), type=type_name, required=bool(required), default=spec.get("default")
    )


def _type_name(spec: Any, depth: int = 0) -> str:
    """The type of a spec as one readable text."""
    if depth > _MAX_DEPTH:
        raise RecursionError
    if not isinstance(spec, dict):
        return str(spec)
    kind = str(spec.get("type"))
    if kind == "tensor":
        tensor = spec.get("tensor-spec")
        tensor = tensor if isinstance(tensor, dict) else {}
        return f"tensor({tensor.get('dtype')}, {_compact(tensor.get('shape'))})"
    if kind == "array":
        return f"array[{_type_name(spec.get('items'), depth + 1)}]"
    if kind == "map":
        return f"map[{_type_name(spec.get('values'), depth + 1)}]"
    if kind == "object" and isinstance(spec.get("properties"), dict):
        inner = ", ".join(f"{name}: {_type_name(below, depth + 1)}" for name, below in spec["properties"].items())
        return f"object{{{inner}}}"
    return kind


def _compact(shape: Any) -> str:
    if isinstance(shape, Sequence) and not isinstance(shape, str):
        return f"[{', '.join(str(size) for size in shape)}]"
    return str(shape)
