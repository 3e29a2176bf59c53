"""The forms: which bodies of ``POST /invocations`` suit a model's signature, each with its schema and an example.

The bodies are MLflow's (MLflow documentation, "Deploy MLflow Model as a Local Inference Server", request formats).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from envbuild import sample
from envbuild.errors import EnvbuildError
from envbuild.server.description import schemas, table
from envbuild.server.description.schemas import Schema, Spec
from envbuild.server.description.table import Table
from envbuild.server.served import Served

FORMS: Final = ("dataframe_split", "dataframe_records", "instances", "inputs")
BARE: Final = ("messages", "prompt", "input")
ROWS: Final = 3
"""How many rows of an example are shown."""
_FLAT: Final = frozenset(("boolean", "integer", "long", "float", "double", "string", "binary", "datetime"))
# In arrays base64 is text, and a moment is read by numpy.
_PLAIN: Final = _FLAT - {"binary", "datetime"}
_LONGEST_EXAMPLE: Final = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One form of a JSON body."""

    key: str
    """What stands at the top; empty for a body that is passed as it is."""
    schema: Schema
    """Of what stands under the key, or of the whole body."""
    example: Any = None
    """A whole body; ``None`` where there is none that would be answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forms:
    """What a model can be sent."""

    inputs: tuple[Spec, ...]
    params: tuple[Spec, ...]
    outputs: tuple[Spec, ...]
    json: tuple[Form, ...]
    table: Table | None = None
    """The example as a table, where the signature has columns with names or without."""
    example: Mapping[str, Any] | None = None
    """The example as it is: the model's own, or one made from its signature."""

    @property
    def is_tensors(self) -> bool:
        """Whether the signature has tensors, and not columns."""
        return any(spec.get("type") == "tensor" for spec in self.inputs)

    @property
    def is_named(self) -> bool:
        """Whether all inputs have a name."""
        return bool(self.inputs) and all(spec.get("name") is not None for spec in self.inputs)

    @property
    def takes_csv(self) -> bool:
        """Whether every column fits a field of a CSV."""
        return self.takes_tables and self.is_named and all(spec.get("type") in _FLAT for spec in self.inputs)

    @property
    def takes_tables(self) -> bool:
        """Whether tables of other content types than JSON suit the signature."""
        return any(form.key == "dataframe_split" for form in self.json)


def of(served: Served) -> Forms:
    """The forms that suit a model."""
    signature = served.model.signature
    parts = {} if signature is None else signature.to_dict()
    inputs, params, outputs = (tuple(parts.get(part) or ()) for part in ("inputs", "params", "outputs"))
    found = Forms(inputs=inputs, params=params, outputs=outputs, json=(), example=_example(served))
    if served.model.from_type_hints:
        return _raw(found)
    if not inputs:
        return _unknown(found)
    return _tensors(found) if found.is_tensors else _columns(found)


def _example(served: Served) -> Mapping[str, Any] | None:
    """The model's own example, else one that is made from its signature."""
    try:
        found = served.example() or sample.of(served.model)
        body = json.loads(found.payload)
    except (EnvbuildError, ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def _made(inputs: Sequence[Spec]) -> Table | None:
    """A table that is made from the columns themselves."""
    made = sample.made(inputs)
    return None if made is None else table.of_body(inputs, made)


def _columns(found: Forms) -> Forms:
    bare = _bare(found)
    rows = (None if found.example is None else table.of_body(found.inputs, found.example)) or _made(found.inputs)
    specs = found.inputs if rows is None else _eased(found.inputs, rows.specs)
    columns = specs if rows is None else rows.specs
    shown = None if rows is None else rows.cut(ROWS)
    split: Schema = {"data": {"type": "array", "minItems": 1, "items": schemas.of_row(columns)}}
    needed = ["data"]
    if found.is_named:
        split["columns"], needed = {"const": [schemas.name_of(spec) for spec in columns]}, ["columns", "data"]
    split["index"] = {"type": "array", "description": "Dropped."}
    made: Schema = {"type": "object", "required": needed, "properties": split, "additionalProperties": False}
    forms = [Form(key="dataframe_split", schema=made, example=None if shown is None else shown.split())]
    if found.is_named:
        records: Schema = {"type": "array", "minItems": 1, "items": schemas.of_record(specs)}
        example = None if shown is None else shown.records()
        forms.append(Form(key="dataframe_records", schema=records, example=example))
        if all(spec.get("type") in _PLAIN for spec in specs):
            forms.append(Form(key="instances", schema=records, example=example))
            forms.append(Form(key="inputs", schema=_by_column(specs), example=shown and shown.columns()))
    whole = tuple(_wrapped(form, found.example) for form in forms)
    return replace(found, inputs=specs, json=(*bare, *whole), table=rows)


def _eased(inputs: Sequence[Spec], known: Sequence[Spec]) -> tuple[Spec, ...]:
    """All columns, each as a table has it."""
    named = {schemas.name_of(spec): spec for spec in known if spec.get("name") is not None}
    return tuple(named.get(schemas.name_of(spec), spec) for spec in inputs)


def _by_column(specs: Sequence[Spec]) -> Schema:
    columns = {
        schemas.name_of(spec): {"type": "array", "minItems": 1, "items": schemas.of_column(spec)} for spec in specs
    }
    needed = schemas.names_of(spec for spec in specs if schemas.is_required(spec))
    made: Schema = {"type": "object", "properties": columns, "description": "Arrays of one length."}
    return {**made, "required": needed} if needed else made


def _tensors(found: Forms) -> Forms:
    schema = _of_tensors(found.inputs)
    example = None if found.example is None else found.example.get("inputs", found.example.get("instances"))
    if found.example is not None and "instances" in found.example and found.is_named:
        example = None
    forms = [Form(key="inputs", schema=schema, example=_few(example, found.inputs))]
    if not found.is_named:
        forms.append(Form(key="instances", schema=schema, example=_few(example, found.inputs)))
    elif all(_counts_rows(spec) for spec in found.inputs):
        row: Schema = {
            "type": "object",
            "properties": {schemas.name_of(spec): schemas.of_tensor(spec, without_rows=True) for spec in found.inputs},
            "required": schemas.names_of(found.inputs),
        }
        rows: Schema = {"type": "array", "minItems": 1, "items": row}
        forms.append(Form(key="instances", schema=rows, example=_turned(_few(example, found.inputs))))
    return replace(found, json=tuple(_wrapped(form, found.example) for form in forms))


def _of_tensors(inputs: Sequence[Spec]) -> Schema:
    if len(inputs) == 1 and inputs[0].get("name") is None:
        return schemas.of_spec(inputs[0])
    return {
        "type": "object",
        "properties": {schemas.name_of(spec): schemas.of_spec(spec) for spec in inputs},
        "required": schemas.names_of(spec for spec in inputs if schemas.is_required(spec)),
    }


def _counts_rows(spec: Spec) -> bool:
    """Whether the first dimension of a tensor is of any length."""
    tensor = spec.get("tensor-spec")
    shape = tensor.get("shape") if isinstance(tensor, Mapping) else None
    return isinstance(shape, list) and bool(shape) and shape[0] == -1


def _few(example: Any, inputs: Sequence[Spec]) -> Any:
    """The first rows of tensors that may have any number of them."""
    if not all(_counts_rows(spec) for spec in inputs):
        return example
    if isinstance(example, Mapping):
        return {name: value[:ROWS] if isinstance(value, list) else value for name, value in example.items()}
    return example[:ROWS] if isinstance(example, list) else example


def _turned(columns: Any) -> Any:
    """Named tensors row by row."""
    if not isinstance(columns, Mapping) or not all(isinstance(value, list) for value in columns.values()):
        return None
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


def _raw(found: Forms) -> Forms:
    """A model of type hints takes a list of what it names, as it is."""
    items = schemas.of_spec(found.inputs[0]) if found.inputs else {}
    example = None if found.example is None else found.example.get("inputs")
    rows = example[:ROWS] if isinstance(example, list) else example
    form = Form(key="inputs", schema={"type": "array", "items": items}, example=rows)
    return replace(found, json=(_wrapped(form, found.example),))


def _unknown(found: Forms) -> Forms:
    """Without a signature every form is taken."""
    row: Schema = {"type": "array"}
    split: Schema = {
        "type": "object",
        "required": ["data"],
        "properties": {"columns": {"type": "array"}, "index": row, "data": {"type": "array", "items": row}},
        "additionalProperties": False,
    }
    known: Mapping[str, Schema] = {
        "dataframe_split": split,
        "dataframe_records": {"type": "array", "items": {"type": "object"}},
        "instances": {"type": "array"},
        "inputs": {},
    }
    example = found.example or {}
    forms = (Form(key=key, schema=schema, example=example.get(key)) for key, schema in known.items())
    return replace(found, json=(*_bare(found), *(_wrapped(form, found.example) for form in forms)))


def _bare(found: Forms) -> tuple[Form, ...]:
    """The body of a language model, where its example or its signature says that it is one."""
    names = [schemas.name_of(spec) for spec in found.inputs]
    said = names if any(name in BARE for name in names) else list(found.example or {})
    top = [name for name in said if name in BARE]
    if not top or (found.example is not None and any(key in found.example for key in FORMS)):
        return ()
    known = {schemas.name_of(spec): schemas.of_column(spec) for spec in found.inputs}
    params = {schemas.name_of(spec): schemas.of_param(spec) for spec in found.params}
    needed = schemas.names_of(spec for spec in found.inputs if schemas.is_required(spec)) or top[:1]
    schema: Schema = {"type": "object", "properties": {**params, **known}, "required": needed}
    return (Form(key="", schema=schema, example=_short(found.example)),)


def _wrapped(form: Form, example: Mapping[str, Any] | None) -> Form:
    """A form whose example is the whole body, with the params that the model's own example has."""
    if form.example is None:
        return form
    params = (example or {}).get("params")
    body = {form.key: form.example}
    return replace(form, example=_short({**body, "params": params} if isinstance(params, Mapping) else body))


def _short(example: Any) -> Any:
    """An example that is not too long for a description to hold it several times."""
    return example if len(json.dumps(example)) <= _LONGEST_EXAMPLE else None
