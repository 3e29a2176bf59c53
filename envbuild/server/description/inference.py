"""Inference: the operations of the Open Inference Protocol v2 (KServe's "Open Inference Protocol", REST and the binary
tensor data extension), described for one model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from envbuild.request import JSON
from envbuild.server.description import responses, schemas
from envbuild.server.description.forms import Forms
from envbuild.server.description.schemas import Schema, Spec

DATATYPES: Final = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES",
)  # fmt: skip
_OF_COLUMNS: Final = {
    "boolean": "BOOL",
    "integer": "INT32",
    "long": "INT64",
    "float": "FP32",
    "double": "FP64",
} | dict.fromkeys(("string", "binary", "datetime"), "BYTES")
_PARAMETERS: Final[Schema] = {
    "type": "object",
    "additionalProperties": {"type": ["boolean", "integer", "number", "string", "object", "array", "null"]},
}
_SHAPE: Final[Schema] = {"type": "array", "items": {"type": "integer"}}
_DATATYPE: Final[Schema] = {"type": "string", "enum": list(DATATYPES)}
_DATA: Final[Schema] = {"type": "array", "description": "Row by row, nested or flat."}
_TENSOR: Final[Schema] = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": _DATATYPE,
        "parameters": {"$ref": "#/components/schemas/InferenceParameters"},
        "data": _DATA,
    },
}
_METADATA: Final[Schema] = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {"name": {"type": "string"}, "shape": _SHAPE, "datatype": _DATATYPE},
}
SCHEMAS: Final[Mapping[str, Schema]] = {
    "InferenceError": responses.INFERENCE_ERROR,
    "InferenceParameters": _PARAMETERS,
    "InferenceTensor": _TENSOR,
    "InferenceRequest": {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "id": {"type": "string"},
            "parameters": {"$ref": "#/components/schemas/InferenceParameters"},
            "inputs": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/InferenceTensor"}},
            "outputs": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string"},
                        "parameters": {"$ref": "#/components/schemas/InferenceParameters"},
                    },
                },
            },
        },
    },
    "InferenceAnswer": {
        "type": "object",
        "required": ["model_name", "outputs"],
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "parameters": {"$ref": "#/components/schemas/InferenceParameters"},
            "outputs": {"type": "array", "items": {"$ref": "#/components/schemas/InferenceTensor"}},
        },
    },
    "InferenceMetadata": {
        "type": "object",
        "required": ["name", "platform", "inputs", "outputs"],
        "properties": {
            "name": {"type": "string"},
            "versions": {"type": "array", "items": {"type": "string"}},
            "platform": {"type": "string"},
            "inputs": {"type": "array", "items": _METADATA},
            "outputs": {"type": "array", "items": _METADATA},
        },
    },
}
_BINARY: Final = (
    "The JSON of a request, and behind it the bytes of the tensors that say `binary_data_size`; "
    "the header `Inference-Header-Content-Length` says how long the JSON is."
)


def paths(name: str, forms: Forms, *, token: bool) -> dict[str, Any]:
    """The operations, by their paths."""
    model = f"/v2/models/{quote(name, safe='')}"
    live: Schema = {"type": "object", "properties": {"live": {"type": "boolean"}}}
    ready: Schema = {"type": "object", "properties": {"ready": {"type": "boolean"}}}
    server: Schema = {
        "type": "object",
        "required": ["name", "version", "extensions"],
        "properties": {
            "name": {"type": "string"},
            "version": {"type": "string"},
            "extensions": {"type": "array", "items": {"type": "string"}},
        },
    }
    metadata: Schema = {"$ref": "#/components/schemas/InferenceMetadata"}
    open_to_all: dict[str, Any] = {"security": []} if token else {}
    return {
        "/v2": {"get": _asked("v2Server", "The server, and which extensions it knows.", server, token=token)},
        "/v2/health/live": {"get": {**_asked("v2Live", "Whether the server runs.", live, ()), **open_to_all}},
        "/v2/health/ready": {"get": {**_asked("v2Ready", "Whether a worker is ready.", ready), **open_to_all}},
        model: {"get": _asked("v2Model", "The model's inputs and outputs as tensors.", metadata, token=token)},
        f"{model}/ready": {"get": _asked("v2ModelReady", "Whether a worker is ready.", ready, token=token)},
        f"{model}/infer": {"post": _inference(forms, token=token)},
    }


def _asked(
    operation: str, summary: str, schema: Schema, statuses: Sequence[int] = (503,), *, token: bool = False
) -> dict[str, Any]:
    known = (401, *statuses) if token else statuses
    return {
        "operationId": operation,
        "summary": summary,
        "tags": ["Open Inference Protocol v2"],
        "responses": {
            "200": responses.answer("As the protocol has it.", schema),
            **responses.errors(known, token=token, name="InferenceError"),
        },
    }


def _inference(forms: Forms, *, token: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/InferenceRequest"}}
    example = request_of(forms)
    if example is not None:
        body["examples"] = {"example": {"value": example}}
    failures = responses.errors(responses.OF_PREDICTIONS, token=token, name="InferenceError")
    binary: dict[str, Any] = {"schema": {"type": "string", "format": "binary", "description": _BINARY}}
    return {
        "operationId": "v2Infer",
        "summary": "A prediction on tensors: one a column, or those of the signature.",
        "tags": ["Open Inference Protocol v2"],
        "requestBody": {"required": True, "content": {JSON: body, "application/octet-stream": binary}},
        "responses": {
            "200": responses.answer("The predictions.", {"$ref": "#/components/schemas/InferenceAnswer"}),
            **failures,
        },
    }


def request_of(forms: Forms) -> dict[str, Any] | None:
    """The example as a request; ``None`` where the signature has what is no tensor."""
    if forms.is_tensors:
        tensors = _tensors(forms)
        return {"inputs": tensors} if tensors else None
    rows = forms.table
    if rows is None or not forms.is_named or not all(spec.get("type") in _OF_COLUMNS for spec in rows.specs):
        return None
    columns = rows.cut(3).columns()
    if any(None in column for column in columns.values()):
        return None
    return {
        "inputs": [
            {
                "name": schemas.name_of(spec),
                "shape": [len(columns[schemas.name_of(spec)])],
                "datatype": _OF_COLUMNS[spec["type"]],
                "data": columns[schemas.name_of(spec)],
            }
            for spec in rows.specs
        ]
    }


def _tensors(forms: Forms) -> list[dict[str, Any]]:
    """The example of the signature's tensors; none where one of them has no datatype."""
    example = next((form.example["inputs"] for form in forms.json if form.example and "inputs" in form.example), None)
    if example is None:
        return []
    found = []
    for spec in forms.inputs:
        value = example.get(spec.get("name")) if isinstance(example, Mapping) else example
        datatype = datatype_of(spec)
        if value is None or datatype is None:
            return []
        name = schemas.name_of(spec) if spec.get("name") is not None else "input-1"
        found.append({"name": name, "shape": _shape(value), "datatype": datatype, "data": value})
    return found


def datatype_of(spec: Spec) -> str | None:
    """The protocol's name of a tensor's dtype; ``None`` where it has none."""
    tensor = spec.get("tensor-spec")
    dtype = str(tensor.get("dtype")).lstrip("<>|=") if isinstance(tensor, Mapping) else ""
    named = {"float16": "FP16", "float32": "FP32", "float64": "FP64", "bool": "BOOL", "str": "BYTES", "object": "BYTES"}
    upper = dtype.upper()
    return named.get(dtype) or (upper if upper in DATATYPES and upper != "BYTES" else None)


def _shape(value: Any) -> list[int]:
    return [len(value), *(_shape(value[0]) if value else [])] if isinstance(value, list) else []
