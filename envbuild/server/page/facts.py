"""The facts: what the page shows and asks, as one JSON object."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from envbuild.lock import Lock
from envbuild.server.description import forms, schemas
from envbuild.server.description.forms import Forms
from envbuild.server.description.schemas import Spec
from envbuild.server.served import Served
from envbuild.signature import Field

ROWS: Final = 100
"""How many rows of an example the page begins with."""


def facts(served: Served) -> dict[str, Any]:
    """Everything that the page shows; its keys are in docs/serve.md."""
    found = forms.of(served)
    return {"model": _model(served), "input": _input(served, found), "environment": _environment(served.lock)}


def _model(served: Served) -> dict[str, Any]:
    model = served.model
    return {
        "name": served.name,
        "created": None if model.created is None else model.created.isoformat(),
        "mlflow": served.mlflow_version(),
        "flavors": sorted(name for name in model.flavors if name != "python_function"),
    }


def _input(served: Served, found: Forms) -> dict[str, Any]:
    """What is asked: a table with its columns and first rows, or a body as text."""
    signature = served.model.signature
    params = () if signature is None else signature.params or ()
    return {
        "columns": _columns(found) if found.takes_tables and found.inputs and found.is_named else None,
        "rows": _rows(found),
        "body": _body(found),
        "csv": found.takes_csv or not found.inputs,
        "params": [_param(field, spec) for field, spec in zip(params, found.params)],
    }


def _columns(found: Forms) -> list[dict[str, Any]]:
    return [
        {"name": schemas.name_of(spec), "type": str(spec.get("type")), "required": schemas.is_required(spec)}
        for spec in found.inputs
    ]


def _rows(found: Forms) -> list[list[str | None]]:
    """The first rows of the example, a cell for each column: as JSON text, for a script has neither 2.0 nor 2**63."""
    if found.table is None or not found.is_named:
        return []
    names = [schemas.name_of(spec) for spec in found.inputs]
    return [[_cell(record.get(name)) for name in names] for record in found.table.cut(ROWS).records()]


def _cell(value: Any) -> str | None:
    return None if value is None else json.dumps(value, ensure_ascii=False)


def _param(field: Field, spec: Spec) -> dict[str, Any]:
    return {
        "name": field.name or "",
        "type": field.type,
        "default": None if field.default is None else _text(spec.get("default")),
    }


def _text(value: Any) -> str:
    """A default as one writes it: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _body(found: Forms) -> str | None:
    """A JSON body to begin with."""
    example = next((form.example for form in found.json if form.example is not None), found.example)
    return None if example is None else _spread(example)


def _spread(body: Mapping[str, Any]) -> str:
    """A body with its first levels on lines of their own, and what lies deeper on one line."""
    short = json.dumps(body, ensure_ascii=False)
    if len(short) < 100:
        return short
    return "{" + ",".join(f"\n  {json.dumps(key)}: {_lines(value)}" for key, value in body.items()) + "\n}"


def _lines(value: Any) -> str:
    if not isinstance(value, list) or not value:
        return json.dumps(value, ensure_ascii=False)
    return "[" + ",".join(f"\n    {json.dumps(item, ensure_ascii=False)}" for item in value) + "\n  ]"


def _environment(lock: Lock | None) -> dict[str, Any] | None:
    """What the model runs in; ``None`` where its lock cannot be read."""
    if lock is None:
        return None
    return {
        "python": lock.python,
        "target": str(lock.target),
        "lock_hash": lock.hash,
        "as_of": lock.origin.as_of,
        "packages": _packages(lock),
        "overrides": [str(change) for change in lock.origin.overrides],
    }


def _packages(lock: Lock) -> Sequence[Mapping[str, str | None]]:
    return [
        {"name": package.name, "version": package.version or (package.commit or "")[:12] or None}
        for package in sorted(lock.packages, key=lambda one: one.name)
    ]
