"""Tensors as a question for a worker: a table, an array or a mapping of arrays, whichever the model's signature means.

The worker holds it against the signature then, as it does every other request.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from envbuild.dataframe import COLUMNS
from envbuild.errors import InputError
from envbuild.model import Model
from envbuild.request import JSON, Question
from envbuild.sample import takes_raw_inputs
from envbuild.server.protocols import tensors
from envbuild.server.protocols.tensors import BYTES, JSON_TEXTS, Tensor

Spec = Mapping[str, Any]
_NESTED: Final = ("object", "map")


@dataclass(frozen=True, slots=True, kw_only=True)
class Takes:
    """What a model takes, by its signature."""

    specs: tuple[Spec, ...]
    params: frozenset[str]
    is_raw: bool
    """Whether its signature comes from type hints: it takes a list, and no table."""

    @classmethod
    def of(cls, model: Model) -> Takes:
        """What this model takes."""
        parts: Mapping[str, Any] = {} if model.signature is None else model.signature.to_dict()
        return cls(
            specs=tuple(parts.get("inputs") or ()),
            params=frozenset(str(spec["name"]) for spec in parts.get("params") or () if "name" in spec),
            is_raw=takes_raw_inputs(model),
        )

    @property
    def names(self) -> tuple[str | None, ...]:
        """The names of its inputs, in their order."""
        return tuple(None if spec.get("name") is None else str(spec["name"]) for spec in self.specs)

    @property
    def has_columns(self) -> bool:
        """Whether its inputs are the columns of a table."""
        return bool(self.specs) and not any(spec.get("type") == "tensor" for spec in self.specs)

    def question(self, given: Sequence[Tensor], parameters: Mapping[str, Any], content_type: str | None) -> Question:
        """The question that tensors put.

        :param parameters: those of the request; the ones that the signature knows are the model's params.
        :param content_type: MLServer's, of the request.
        :raises InputError: they do not go together.
        """
        params = {name: value for name, value in parameters.items() if name in self.params} or None
        if self.is_raw:
            return _body({"inputs": _raw(given, self.specs)}, params)
        if self.has_columns:
            return self._table(given, params)
        if self.specs:
            return _body({"inputs": self._by_name(given)}, params)
        is_table = content_type == "pd" or (content_type != "np" and len(given) > 1)
        if is_table and all(tensor.rows is not None for tensor in given):
            return _columns(given, [None] * len(given), params)
        return _body({"inputs": _array(given[0]) if len(given) == 1 else _mapping(given)}, params)

    def _by_name(self, given: Sequence[Tensor]) -> Any:
        is_alone = len(self.specs) == len(given) == 1 and self.names == (None,)
        return _array(given[0]) if is_alone else _mapping(given)

    def _table(self, given: Sequence[Tensor], params: Mapping[str, Any] | None) -> Question:
        if len(given) == 1 and given[0].name not in self.names and len(given[0].shape) == 2:
            return self._matrix(given[0], params)
        if None in self.names:
            if len(given) != len(self.specs):
                raise InputError(f"the signature has {len(self.specs)} columns, and there are {len(given)} inputs")
            return _unnamed(given, self.specs, params)
        known = dict(zip(self.names, self.specs))
        return _columns(given, [known.get(tensor.name) for tensor in given], params)

    def _matrix(self, tensor: Tensor, params: Mapping[str, Any] | None) -> Question:
        """One tensor with all columns in the signature's order."""
        rows, width = tensor.shape
        if width != len(self.specs):
            raise InputError(
                f"input {tensor.name!r} has {width} columns, and is none of those of the signature, which has "
                f"{len(self.specs)}"
            )
        columns = [
            Tensor(
                name=name or "",
                datatype=tensor.datatype,
                shape=(rows,),
                values=tensor.values[at::width],
                content_type=tensor.content_type,
            )
            for at, name in enumerate(self.names)
        ]
        if None in self.names:
            return _unnamed(columns, self.specs, params)
        return _columns(columns, self.specs, params)


def _columns(given: Sequence[Tensor], specs: Sequence[Spec | None], params: Mapping[str, Any] | None) -> Question:
    cells = _cells(given, specs)
    body = {
        "names": [tensor.name for tensor in given],
        "rows": given[0].shape[0] if given[0].shape else 1,
        "params": params,
        "columns": cells,
    }
    return Question(payload=json.dumps(body).encode(), content_type=COLUMNS)


def _unnamed(given: Sequence[Tensor], specs: Sequence[Spec], params: Mapping[str, Any] | None) -> Question:
    rows = list(zip(*_cells(given, specs)))
    return _body({"dataframe_split": {"data": rows}}, params)


def _body(data: dict[str, Any], params: Mapping[str, Any] | None) -> Question:
    body = data if params is None else {**data, "params": params}
    return Question(payload=json.dumps(body).encode(), content_type=JSON)


def _cells(given: Sequence[Tensor], specs: Sequence[Spec | None]) -> list[list[Any]]:
    """Each column's values, as many in each."""
    cells = [_column(tensor, spec) for tensor, spec in zip(given, specs)]
    first = given[0]
    for tensor, column in zip(given, cells):
        if len(column) != len(cells[0]):
            raise InputError(
                f"input {tensor.name!r} has {len(column)} rows, and input {first.name!r} has {len(cells[0])}"
            )
    return cells


def _column(tensor: Tensor, spec: Spec | None) -> list[Any]:
    kind = None if spec is None else spec.get("type")
    if kind == "array" and len(tensor.shape) > 1:
        return list(_array(tensor))
    if tensor.rows is None:
        raise InputError(
            f"input {tensor.name!r} has the shape {list(tensor.shape)}, and a column has [{_first(tensor)}] or "
            f"[{_first(tensor)}, 1]"
        )
    if tensor.datatype == BYTES and (kind in (*_NESTED, "array") or tensor.content_type == JSON_TEXTS):
        return [None if text is None else _parsed(text, tensor) for text in tensor.texts()]
    return _listed(tensor, kind)


def _listed(tensor: Tensor, kind: Any) -> list[Any]:
    """Its values, in which null stands for a number that is missing."""
    values = tensor.base64s() if kind == "binary" else tensor.texts()
    if tensor.datatype.startswith("FP"):
        return [None if math.isnan(value) else value for value in values]
    return values


def _first(tensor: Tensor) -> int | str:
    return tensor.shape[0] if tensor.shape else "n"


def _parsed(text: str, tensor: Tensor) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"input {tensor.name!r} has a text that is no JSON") from None


def _mapping(given: Sequence[Tensor]) -> dict[str, Any]:
    return {tensor.name: _array(tensor) for tensor in given}


def _array(tensor: Tensor) -> Any:
    return tensors.nested(tensor.texts(), tensor.shape)


def _raw(given: Sequence[Tensor], specs: Sequence[Spec]) -> list[Any]:
    """A list of what the type hints name: one tensor is its items, several are the fields of objects."""
    if len(given) > 1:
        cells = _cells(given, [None] * len(given))
        return [dict(zip((tensor.name for tensor in given), row)) for row in zip(*cells)]
    tensor, kind = given[0], specs[0].get("type") if specs else None
    is_nested = kind in (*_NESTED, "array") or tensor.content_type == JSON_TEXTS
    if is_nested and tensor.datatype == BYTES and tensor.rows is not None:
        return [None if text is None else _parsed(text, tensor) for text in tensor.texts()]
    if kind != "array" and tensor.rows is not None:
        return _listed(tensor, kind)
    items = _array(tensor)
    return items if isinstance(items, list) else [items]
