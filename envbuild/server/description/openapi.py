"""OpenAPI: the description of one server as an OpenAPI 3.1 document (OpenAPI Specification 3.1.1)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from envbuild.request import ARROW_FILE, ARROW_STREAM, CSV, JSON, JSON_LINES, PARQUET
from envbuild.server.description import answers, inference, responses, schemas
from envbuild.server.description.forms import Form, Forms
from envbuild.server.description.schemas import Schema
from envbuild.server.served import Served
from envbuild.settings.serving import ServingSettings

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
# As `Accept` has it.
_METRICS: Final = ("text/plain", "application/openmetrics-text")
_TITLES: Final = {
    "dataframe_split": "DataframeSplit",
    "dataframe_records": "DataframeRecords",
    "instances": "Instances",
    "inputs": "Inputs",
    "": "Bare",
}
_SAID: Final = {
    "dataframe_split": "A table as its columns' names and its rows.",
    "dataframe_records": "A table as a list of objects, one a row.",
    "instances": "Row by row.",
    "inputs": "Column by column, or the input as it is.",
    "": "Passed to the model as it is; so is the answer.",
}


def document(served: Served, forms: Forms, settings: ServingSettings) -> dict[str, Any]:
    """The whole description."""
    token = settings.token is not None
    made: dict[str, Any] = {
        "openapi": "3.1.1",
        "jsonSchemaDialect": DIALECT,
        "info": _info(served),
        "servers": [{"url": settings.root_path or "/"}],
        "paths": {
            "/invocations": {"post": _invocations(forms, token=token)},
            "/score": {"post": _score(forms, token=token)},
            **_health(served, token=token),
            **inference.paths(served.name, forms, token=token),
        },
        "components": {"schemas": _schemas(forms)},
    }
    if token:
        made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"token": []}]
    return made


def written(document: Mapping[str, Any]) -> bytes:
    """A description as JSON in UTF-8; half of a surrogate pair in a name, which no strict parser reads, is a ``?``."""
    return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")


def _info(served: Served) -> dict[str, Any]:
    saved = served.mlflow_version()
    by = "" if saved is None else f", saved by mlflow {saved}"
    text = f"An MLflow model{by}, answered from its own environment by envbuild."
    version = "1" if served.lock is None else served.lock.hash[:12]
    return {"title": served.name, "version": version, "description": text}


def _schemas(forms: Forms) -> dict[str, Schema]:
    found: dict[str, Schema] = {"Error": responses.ERROR, **inference.SCHEMAS}
    if forms.params:
        found["Params"] = schemas.of_params(forms.params)
    for form in forms.json:
        found[_TITLES[form.key]] = _body(form, forms)
    found["InputData"] = _azure(forms)
    found["Predictions"] = answers.of_outputs(forms.outputs)
    found["Answer"] = answers.of_predictions(forms.outputs, bare=_takes_bare(forms))
    return found


def _takes_bare(forms: Forms) -> bool:
    return any(not form.key for form in forms.json)


def _body(form: Form, forms: Forms) -> Schema:
    """The whole body of a form: what is not named in it is refused, or ignored with a warning."""
    if not form.key:
        return {**form.schema, "description": _SAID[""]}
    return {
        "type": "object",
        "description": _SAID[form.key],
        "required": [form.key],
        "properties": {form.key: form.schema, **_params(forms)},
        "additionalProperties": False,
    }


def _params(forms: Forms) -> dict[str, Schema]:
    return {"params": {"$ref": "#/components/schemas/Params"}} if forms.params else {}


def _azure(forms: Forms) -> Schema:
    """Azure's own form of a request ("Deploy MLflow models to online endpoints", payload format)."""
    table = next((form.schema for form in forms.json if form.key == "dataframe_split"), {})
    return {
        "type": "object",
        "description": "Azure's own form: a table as its columns' names and its rows, or the input as it is.",
        "required": ["input_data"],
        "properties": {
            "input_data": table if forms.inputs and table else {},
            **_params(forms),
        },
        "additionalProperties": False,
    }


def _invocations(forms: Forms, *, token: bool) -> dict[str, Any]:
    content: dict[str, Any] = {JSON: _json(forms.json)}
    if forms.takes_tables:
        content |= _tables(forms)
    return {
        "operationId": "invocations",
        "summary": "A prediction.",
        "tags": ["MLflow, SageMaker"],
        "requestBody": {"required": True, "content": content},
        "responses": _predicted("Answer", token=token),
    }


def _json(forms: tuple[Form, ...]) -> dict[str, Any]:
    bodies = [{"$ref": f"#/components/schemas/{_TITLES[form.key]}"} for form in forms]
    examples = {form.key or "bare": {"value": form.example} for form in forms if form.example is not None}
    made: dict[str, Any] = {"schema": {"anyOf": bodies} if len(bodies) > 1 else bodies[0]}
    return {**made, "examples": examples} if examples else made


def _tables(forms: Forms) -> dict[str, Any]:
    """Tables in other content types than JSON."""
    rows = None if forms.table is None or not forms.is_named else forms.table.cut(3)
    found: dict[str, Any] = {}
    if forms.takes_csv or not forms.inputs:
        found[CSV] = _text(
            "With a header line; an empty field is a missing value.", None if rows is None else rows.csv()
        )
    if forms.is_named or not forms.inputs:
        found[JSON_LINES] = _text("A record a line.", None if rows is None else rows.json_lines())
    for content_type in (PARQUET, ARROW_FILE, ARROW_STREAM):
        found[content_type] = {"schema": {"type": "string", "format": "binary"}}
    return found


def _text(description: str, example: str | None) -> dict[str, Any]:
    made: dict[str, Any] = {"schema": {"type": "string", "description": description}}
    return made if example is None else {**made, "examples": {"example": {"value": example}}}


def _score(forms: Forms, *, token: bool) -> dict[str, Any]:
    body = _json(tuple(form for form in forms.json if form.key))
    own = {"$ref": "#/components/schemas/InputData"}
    body["schema"] = {"anyOf": [own, *body["schema"].get("anyOf", [body["schema"]])]}
    split = next((form.example for form in forms.json if form.key == "dataframe_split" and form.example), None)
    examples: dict[str, Any] = body.get("examples", {})
    if split is not None and forms.is_named:
        known = {key: value for key, value in split.items() if key != "dataframe_split"}
        examples = {"input_data": {"value": {"input_data": split["dataframe_split"], **known}}, **examples}
    if examples:
        body["examples"] = examples
    return {
        "operationId": "score",
        "summary": "A prediction, without a wrapping around the answer.",
        "tags": ["Azure ML"],
        "requestBody": {"required": True, "content": {JSON: body}},
        "responses": _predicted("Predictions", token=token),
    }


def _predicted(name: str, *, token: bool) -> dict[str, Any]:
    return {
        "200": responses.answer("The predictions.", {"$ref": f"#/components/schemas/{name}"}),
        **responses.errors(responses.OF_PREDICTIONS, token=token),
    }


def _health(served: Served, *, token: bool) -> dict[str, Any]:
    open_to_all: Mapping[str, Any] = {"security": []} if token else {}
    found: dict[str, Any] = {}
    for path, operation in (("/ping", "ping"), ("/health", "health")):
        found[path] = {
            "get": {
                "operationId": operation,
                "summary": "Whether a worker is ready.",
                "tags": ["MLflow, SageMaker"],
                "responses": {
                    "200": responses.answer("A worker is ready.", None),
                    **responses.errors((503,), token=token),
                },
                **open_to_all,
            }
        }
    text = responses.answer("The version.", {"type": "string"}, "text/plain")
    unknown = responses.answer("Nobody knows which.", {"$ref": "#/components/schemas/Error"})
    version = {"200": text} if served.mlflow_version() is not None else {"404": unknown}
    found["/version"] = {
        "get": {
            "operationId": "version",
            "summary": "The mlflow that saved the model.",
            "tags": ["MLflow, SageMaker"],
            "responses": {**version, **responses.errors((401,), token=token)},
        }
    }
    found["/metrics"] = {
        "get": {
            "operationId": "metrics",
            "summary": "How the server does, for Prometheus.",
            "tags": ["Operations"],
            "responses": {
                "200": {
                    "description": "The metrics, in the format of Prometheus or of OpenMetrics.",
                    "content": {kind: {"schema": {"type": "string"}} for kind in _METRICS},
                },
                **responses.errors((401,), token=token),
            },
        }
    }
    return found
