"""An input to try a model with: one that was given, the model's own example, or one made from its signature.

MLflow has kept input examples since 1.9, and since 2.13 a second file beside each, which is a request as the server
takes it. The older file is a request only for some types of examples; here it is made one for all of them.
"""

from __future__ import annotations

import base64
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from envbuild import document
from envbuild.errors import UsageError
from envbuild.model import MLMODEL, Model
from envbuild.request import JSON, content_type_of, decompressed, encoding_of, read_input

Kind = Literal["given", "example", "generated"]
Spec = Mapping[str, Any]

ROWS = 5
# What a dimension of any length gets where it is not the first, which counts the rows.
_FREE = 8
_MOST_VALUES = 2_000_000
_MAX_DEPTH = 50
_LETTERS = "abcdefghijk"
_FIRST_DAY = datetime(2020, 1, 1)  # noqa: DTZ001 - the moments of a signature have no zone
# At the top of an example of a language model: the request is the example.
_BARE = ("messages", "prompt", "input")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """An input, and where it comes from."""

    kind: Kind
    payload: bytes
    content_type: str
    text: str
    """Where it comes from, as a part of a sentence."""


class _NoForm(Exception):
    """There is a type or a size for which nothing can be made up."""


def given(path: Path, content_type: str | None = None) -> Sample:
    """The input in a file.

    :raises InputError: it cannot be read, or its ending does not say what it holds.
    """
    payload = decompressed(read_input(path), encoding_of(path))
    return Sample(kind="given", payload=payload, content_type=content_type or content_type_of(path), text=str(path))


def of(model: Model) -> Sample:
    """The model's own input example, or an input made from its signature.

    :raises InputNotFound: the example cannot be read.
    :raises UsageError: the model has neither.
    """
    example = of_example(model)
    if example is not None:
        return example
    try:
        body = request_for(_inputs(model), raw=takes_raw_inputs(model))
    except _NoForm as error:
        raise UsageError(
            f"the model has no input example that can be sent, and {error}", hint="give an input with --input"
        ) from None
    payload = json.dumps(body).encode()
    return Sample(kind="generated", payload=payload, content_type=JSON, text="made from the model's signature")


def made(specs: Sequence[Spec]) -> dict[str, Any] | None:
    """A request for the inputs of a signature; ``None`` where there is a type or a size that nothing is made up for."""
    try:
        return request_for(specs)
    except _NoForm:
        return None


def of_example(model: Model) -> Sample | None:
    """The model's input example as a request; ``None`` where it has none, or one that no request can carry.

    :raises InputNotFound: its file cannot be read.
    """
    path = model.input_example
    if path is None:
        return None
    info = document.read(model.path / MLMODEL).get("saved_input_example_info")
    written: Mapping[str, Any] = {} if info is None else info.plain()
    payload = read_input(path)
    if path.name != Path(str(written.get("serving_input_path"))).name:
        kept = _served(payload, written)
        if kept is None:
            return None
        payload = kept
    return Sample(kind="example", payload=payload, content_type=JSON, text=f"the model's input example {path.name}")


def _served(payload: bytes, info: Mapping[str, Any]) -> bytes | None:
    """The older file of an example as a request; what cannot be read is passed on, for the worker to say why."""
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError):
        return payload
    kind, params = str(info.get("type")), None
    if kind.startswith("sparse"):
        return None
    if info.get("params") and isinstance(content, dict) and set(content) == {"inputs", "params"}:
        content, params = content["inputs"], content["params"]
    body = _wrapped(content, kind)
    return json.dumps(body if params is None else {**body, "params": params}).encode()


def _wrapped(content: Any, kind: str) -> dict[str, Any]:
    if kind == "dataframe":
        # Without default column names: {"data": …}.
        return {"dataframe_records" if isinstance(content, list) else "dataframe_split": content}
    if isinstance(content, dict) and (set(content) == {"inputs"} or (kind == "json_object" and _is_bare(content))):
        return content
    return {"inputs": content}


def _is_bare(content: Mapping[str, Any]) -> bool:
    return any(key in content for key in _BARE)


def _inputs(model: Model) -> list[Spec]:
    specs = None if model.signature is None else model.signature.to_dict()["inputs"]
    if not specs:
        raise _NoForm("no signature says what it takes")
    return specs


def takes_raw_inputs(model: Model) -> bool:
    """Whether the signature comes from type hints: such a model takes a list of what it names."""
    said = document.read(model.path / MLMODEL).get("is_signature_from_type_hint")
    return said is not None and said.plain() in (True, "true", "True")


def request_for(specs: Sequence[Spec], *, raw: bool = False) -> dict[str, Any]:
    """A request for the inputs of a signature, the same each time; parameters are left to their defaults.

    :param raw: the inputs are passed as they are, without a table around them.
    """
    if raw:
        return {"inputs": [_value(specs[0], row) for row in range(ROWS)]}
    if any(spec.get("type") == "tensor" for spec in specs):
        return {"inputs": _tensors(specs)}
    names = [spec.get("name") for spec in specs]
    rows = [[_value(spec, row + 3 * place) for place, spec in enumerate(specs)] for row in range(ROWS)]
    columns = {} if None in names else {"columns": names}
    return {"dataframe_split": {**columns, "data": rows}}


def _tensors(specs: Sequence[Spec]) -> Any:
    if len(specs) == 1 and specs[0].get("name") is None:
        return _tensor(specs[0])
    return {str(spec.get("name")): _tensor(spec) for spec in specs}


def _tensor(spec: Spec) -> Any:
    if spec.get("type") != "tensor":
        return [_value(spec, row) for row in range(ROWS)]
    tensor = spec.get("tensor-spec")
    dtype, shape = (tensor.get("dtype"), tensor.get("shape")) if isinstance(tensor, Mapping) else (None, None)
    if not isinstance(shape, list) or not all(isinstance(size, int) for size in shape):
        raise _NoForm(f"the shape of a tensor of its signature is {shape!r}")
    sizes = [size if size >= 0 else _FREE if place else ROWS for place, size in enumerate(shape)]
    if math.prod(sizes) > _MOST_VALUES:
        raise _NoForm(f"a tensor of the shape {shape} is too large to make one up")
    return _filled(sizes, _cells(str(dtype)))


def _filled(sizes: Sequence[int], cells: Iterator[Any]) -> Any:
    return [_filled(sizes[1:], cells) for _ in range(sizes[0])] if sizes else next(cells)


def _cells(dtype: str) -> Iterator[Any]:
    """Values of a numpy dtype without end."""
    name = dtype.lstrip("<>|=")
    types = {"bool": "boolean", "int": "long", "uint": "long", "float": "double", "complex": "double"}
    types |= dict.fromkeys(("str", "object", "bytes", "U", "S", "O"), "string") | {"datetime": "datetime"}
    kind = types.get(name.partition("[")[0].rstrip("0123456789"))
    if kind is None:
        raise _NoForm(f"its signature has a tensor of {dtype}")
    return (_value({"type": kind}, number) for number in itertools.count())


def _value(spec: Any, number: int, depth: int = 0) -> Any:
    """A value of a type as JSON has it, by its number."""
    kind = str(spec.get("type") if isinstance(spec, Mapping) else spec)
    if depth > _MAX_DEPTH:
        raise _NoForm("the types of its signature are nested without end")
    if isinstance(spec, Mapping) and kind in ("array", "map", "object"):
        return _nested(spec, kind, number, depth + 1)
    letter = _LETTERS[number % len(_LETTERS)]
    plain = {
        "boolean": number % 2 == 0,
        "integer": 1 + number % len(_LETTERS),
        "long": 1 + number % len(_LETTERS),
        # Halves, which a float16 holds as well.
        "float": (1 + number % len(_LETTERS)) / 2,
        "double": (1 + number % len(_LETTERS)) / 2,
        "string": letter,
        "any": letter,
        "binary": base64.b64encode(letter.encode()).decode(),
        "datetime": (_FIRST_DAY + timedelta(days=number % len(_LETTERS))).isoformat(),
    }
    if kind not in plain:
        raise _NoForm(f"its signature has the type {kind}")
    return plain[kind]


def _nested(spec: Spec, kind: str, number: int, depth: int) -> Any:
    if kind == "array":
        return [_value(spec.get("items"), number + place, depth) for place in range(2)]
    if kind == "map":
        return {_LETTERS[place]: _value(spec.get("values"), number + place, depth) for place in range(2)}
    properties = spec.get("properties")
    if not isinstance(properties, Mapping):
        raise _NoForm("its signature has an object without properties")
    return {name: _value(below, number + place, depth) for place, (name, below) in enumerate(properties.items())}
