"""Predictions as the output tensors of the Open Inference Protocol, with the names and datatypes of the signature."""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from envbuild.server.protocols import tensors
from envbuild.server.protocols.tensors import BYTES, FORMATS, JSON_TEXTS

Spec = Mapping[str, Any]
_COLUMNS: Final[Mapping[str, str]] = {
    "boolean": "BOOL",
    "integer": "INT32",
    "long": "INT64",
    "float": "FP32",
    "double": "FP64",
}
_DTYPES: Final[Mapping[str, str]] = {
    "bool": "BOOL",
    **{f"{sign}int{bits}": f"{sign.upper()}INT{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"FP{bits}" for bits in (16, 32, 64)},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One tensor of an answer."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Sequence[Any]
    """Flat, row by row; ``None`` is a missing number or text."""
    is_base64: bool = False
    """Whether its texts are base64 of the bytes that are meant."""
    is_json: bool = False
    """Whether its texts are JSON each."""

    def written(self) -> dict[str, Any]:
        """It as JSON has it; a number that is missing is null."""
        parameters = self._parameters()
        return {**self._facts(), **({"parameters": parameters} if parameters else {}), "data": list(self.values)}

    def written_binary(self) -> tuple[dict[str, Any], bytes]:
        """What JSON says of it, and its binary data."""
        data = tensors.packed(self._bytes() if self.is_base64 else self.values, self.datatype)
        return {**self._facts(), "parameters": {**self._parameters(), "binary_data_size": len(data)}}, data

    def _facts(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}

    def _parameters(self) -> dict[str, Any]:
        return {"content_type": JSON_TEXTS} if self.is_json else {}

    def _bytes(self) -> list[Any]:
        try:
            return [None if value is None else base64.b64decode(value, validate=True) for value in self.values]
        except (binascii.Error, ValueError):
            return list(self.values)


def datatype_of(spec: Spec) -> str:
    """The datatype of a column or a tensor of a signature; what is no number is BYTES."""
    if spec.get("type") == "tensor":
        return _DTYPES.get(str(_tensor(spec).get("dtype")).lstrip("<>|="), BYTES)
    if spec.get("type") == "array":
        items = spec.get("items")
        return datatype_of(items) if isinstance(items, Mapping) else BYTES
    return _COLUMNS.get(str(spec.get("type")).lower(), BYTES)


def shape_of(spec: Spec) -> list[int]:
    """Its shape, in which -1 is any length."""
    if spec.get("type") == "tensor":
        shape = _tensor(spec).get("shape")
        return list(shape) if isinstance(shape, list) else [-1]
    if spec.get("type") == "array":
        items = spec.get("items")
        return [-1, *shape_of(items)] if isinstance(items, Mapping) else [-1, -1]
    return [-1]


def _tensor(spec: Spec) -> Mapping[str, Any]:
    found = spec.get("tensor-spec")
    return found if isinstance(found, Mapping) else {}


def name_of(spec: Spec, place: int, of: str) -> str:
    """Its name, or one by its place."""
    return f"{of}-{place + 1}" if spec.get("name") is None else str(spec["name"])


def outputs_of(predictions: Any, specs: Sequence[Spec]) -> list[Output]:
    """The tensors that predictions are.

    :param specs: the signature's outputs; they count where the predictions fit them.
    """
    known = {name_of(spec, place, "output"): spec for place, spec in enumerate(specs)}
    return [_output(name, value, known.get(name)) for name, value in _named(predictions, list(known), specs)]


def _named(predictions: Any, names: list[str], specs: Sequence[Spec]) -> list[tuple[str, Any]]:
    """The parts of predictions that are tensors, by their names."""
    if isinstance(predictions, dict) and predictions and all(isinstance(part, list) for part in predictions.values()):
        return [(str(name), part) for name, part in predictions.items()]
    if not isinstance(predictions, list):
        return [(_only(names), [predictions])]
    if predictions and all(isinstance(row, dict) and row for row in predictions):
        columns = dict.fromkeys(name for row in predictions for name in row)
        return [(name, [row.get(name) for row in predictions]) for name in columns]
    are_columns = len(names) > 1 and not any(spec.get("type") == "tensor" for spec in specs)
    if are_columns and predictions and all(isinstance(row, list) and len(row) == len(names) for row in predictions):
        return [(name, [row[at] for row in predictions]) for at, name in enumerate(names)]
    return [(_only(names), predictions)]


def _only(names: list[str]) -> str:
    return names[0] if len(names) == 1 else "output-1"


def _output(name: str, value: list[Any], spec: Spec | None) -> Output:
    shape, values = _rectangular(value)
    wanted = None if spec is None else datatype_of(spec)
    datatype = wanted if wanted is not None and _fits(values, wanted) else _datatype(values)
    if datatype is None:
        # Nothing that a tensor has: each as JSON.
        texts = [json.dumps(item) for item in values]
        return Output(name=name, datatype=BYTES, shape=shape, values=texts, is_json=True)
    if datatype.startswith("FP"):
        values = [None if item is None else float(item) for item in values]
    is_base64 = datatype == BYTES and spec is not None and spec.get("type") == "binary"
    return Output(name=name, datatype=datatype, shape=shape, values=values, is_base64=is_base64)


def _rectangular(value: list[Any]) -> tuple[tuple[int, ...], list[Any]]:
    """The shape and the flat values of nested lists; where they are ragged, each row is a value."""
    shape, flat = [len(value)], value
    while flat and all(type(item) is list for item in flat):
        if len({len(item) for item in flat}) > 1:
            return (len(value),), value
        shape.append(len(flat[0]))
        flat = list(itertools.chain.from_iterable(flat))
    if any(type(item) in (list, dict) for item in flat):
        return (len(value),), value
    return tuple(shape), flat


def _datatype(values: list[Any]) -> str | None:
    """The datatype that values have by themselves; ``None`` where they have none together."""
    kinds = set(map(type, values))
    if kinds == {bool}:
        return "BOOL"
    if kinds == {int}:
        return next((datatype for datatype in ("INT64", "UINT64") if _fits(values, datatype)), None)
    if kinds <= {int, float, type(None)}:
        return "FP64" if _fits(values, "FP64") else None
    return BYTES if kinds <= {str, type(None)} else None


def _fits(values: list[Any], datatype: str) -> bool:
    """Whether a datatype holds all the values as they are."""
    kinds = set(map(type, values))
    if datatype == BYTES:
        return kinds <= {str, type(None)}
    if datatype == "BOOL":
        return kinds <= {bool}
    try:
        if not datatype.startswith("FP"):
            return kinds <= {int} and bool(struct.pack(f"{len(values)}{FORMATS[datatype]}", *values) or True)
        return kinds <= {int, float, type(None)} and _holds(values, datatype)
    except (struct.error, OverflowError):
        return False


def _holds(values: list[Any], datatype: str) -> bool:
    floats = [math.nan if value is None else float(value) for value in values]
    if datatype == "FP64":
        return True
    form = f"<{len(floats)}{FORMATS[datatype]}"
    back = struct.unpack(form, struct.pack(form, *floats))
    return all(one == other or other is None for one, other in zip(back, values))
