"""Swagger: an OpenAPI 3.1 document as a Swagger 2.0 one (OpenAPI Specification 2.0), which Azure ML reads.

Swagger has neither alternatives nor tuples nor null: alternatives of objects become one object that has the properties
of all, a tuple an array of anything, and what may be null says ``x-nullable``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from envbuild.request import JSON
from envbuild.server.description.schemas import Schema

_KEPT: Final = frozenset(
    (
        "type",
        "format",
        "description",
        "title",
        "default",
        "minimum",
        "maximum",
        "pattern",
        "minItems",
        "maxItems",
        "enum",
    )
)
_MAX_DEPTH: Final = 60


def lowered(document: Mapping[str, Any]) -> dict[str, Any]:
    """The same description for those who read Swagger 2.0."""
    known = document["components"]["schemas"]
    lower = _Lowering(known)
    server = str(document["servers"][0]["url"])
    made: dict[str, Any] = {
        "swagger": "2.0",
        "info": document["info"],
        "basePath": server if server.startswith("/") else f"/{server}",
        "consumes": [JSON],
        "produces": [JSON],
        "paths": {
            path: {method: _operation(one, lower) for method, one in below.items()}
            for path, below in document["paths"].items()
        },
        "definitions": {name: lower.schema(schema) for name, schema in known.items()},
    }
    if document.get("security"):
        made["securityDefinitions"] = {"token": {"type": "apiKey", "in": "header", "name": "Authorization"}}
        made["security"] = document["security"]
    return made


def _operation(operation: Mapping[str, Any], lower: _Lowering) -> dict[str, Any]:
    made = {key: operation[key] for key in ("operationId", "summary", "tags", "security") if key in operation}
    content: Mapping[str, Any] = operation.get("requestBody", {}).get("content", {})
    if content:
        body = content[JSON]
        schema = lower.schema(body["schema"])
        example = next((one["value"] for one in body.get("examples", {}).values()), None)
        if example is not None:
            schema = {**lower.resolved(schema), "example": example}
        made["consumes"] = list(content)
        made["parameters"] = [{"in": "body", "name": "body", "required": True, "schema": schema}]
    found = {status: _response(one, lower) for status, one in operation["responses"].items()}
    kinds = {kind for one in operation["responses"].values() for kind in one.get("content", {})}
    return {**made, "produces": sorted(kinds | {JSON}), "responses": found}


def _response(response: Mapping[str, Any], lower: _Lowering) -> dict[str, Any]:
    made: dict[str, Any] = {"description": response["description"]}
    for below in response.get("content", {}).values():
        made["schema"] = lower.schema(below["schema"])
    if "headers" in response:
        made["headers"] = {
            name: {"type": one["schema"]["type"], "description": one["description"]}
            for name, one in response["headers"].items()
        }
    return made


class _Lowering:
    """Schemas made Swagger's, with the ones that they may refer to."""

    def __init__(self, known: Mapping[str, Schema]) -> None:
        self._known = known

    def schema(self, schema: Any, depth: int = 0) -> Schema:
        """A schema in Swagger's words; an empty one where it has none."""
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
            return {}
        if "$ref" in schema:
            return {"$ref": str(schema["$ref"]).replace("#/components/schemas/", "#/definitions/")}
        if "anyOf" in schema:
            return self._merged(schema["anyOf"], depth + 1)
        made: Schema = {key: value for key, value in schema.items() if key in _KEPT}
        made |= _type_of(schema)
        if made.get("default", ...) is None:
            del made["default"]
        if "const" in schema:
            made |= _constant(schema["const"])
        if made.get("type") == "array":
            made["items"] = {} if "prefixItems" in schema else self.schema(schema.get("items"), depth + 1)
        if made.get("type") == "object":
            made |= self._object(schema, depth)
        return made

    def _object(self, schema: Mapping[str, Any], depth: int) -> Schema:
        made: Schema = {}
        if schema.get("properties"):
            made["properties"] = {name: self.schema(one, depth + 1) for name, one in schema["properties"].items()}
        if schema.get("required"):
            made["required"] = list(schema["required"])
        more = schema.get("additionalProperties")
        if isinstance(more, Mapping):
            made["additionalProperties"] = self.schema(more, depth + 1)
        return made

    def resolved(self, schema: Schema) -> Schema:
        """A lowered schema that is no reference."""
        if "$ref" not in schema:
            return schema
        return self.schema(self._known[str(schema["$ref"]).removeprefix("#/definitions/")])

    def _merged(self, schemas: Sequence[Schema], depth: int) -> Schema:
        """Alternatives as one schema: an object with the properties of all, or one that says nothing."""
        made = [self.resolved(self.schema(one, depth)) for one in schemas]
        if not all(one.get("type") == "object" for one in made):
            return {}
        properties: Schema = {}
        for one in made:
            properties |= one.get("properties", {})
        needed = _in_all([one.get("required", ()) for one in made])
        merged: Schema = {"type": "object", "properties": properties}
        return {**merged, "required": needed} if needed else merged


def _type_of(schema: Mapping[str, Any]) -> Schema:
    kind = schema.get("type")
    if not isinstance(kind, list):
        return {}
    named = [one for one in kind if one != "null"]
    if len(named) != 1:
        return {}
    return {"type": named[0], "x-nullable": True} if "null" in kind else {"type": named[0]}


def _constant(value: Any) -> Schema:
    if isinstance(value, list):
        return {"type": "array", "minItems": len(value), "maxItems": len(value), "enum": [value]}
    return {"enum": [value]}


def _in_all(lists: Sequence[Iterable[str]]) -> list[str]:
    first, *others = map(list, lists)
    return [name for name in first if all(name in other for other in others)]
