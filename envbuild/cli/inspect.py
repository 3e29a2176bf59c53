"""``envbuild inspect``: the model on one screen."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.options import model_argument, output_options, settings_from, spec_options
from envbuild.cli.output import open_output
from envbuild.redaction import redacted

if TYPE_CHECKING:
    from envbuild.errors import Place
    from envbuild.inspection import Inspection
    from envbuild.signature import Field

_WIDTH = 100


@click.command("inspect")
@model_argument
@spec_options
@output_options
def command(model: Path, **options: Any) -> None:
    """Show what MODEL is, what it asks for and where that is written, and what disagrees.

    Nothing is resolved, built or run.
    """
    from envbuild import pipeline
    from envbuild.inspection import Inspection

    with open_output(options, "inspect") as output:
        settings = settings_from(options)
        asked = pipeline.ask(model, settings)
        found = Inspection(model=asked.model, spec=asked.spec, notices=asked.spec.notices)
        output.notices(found.notices, log_only=not output.as_json)
        output.result(found.to_dict(), _screen(found), found.notices)


def _screen(found: Inspection) -> str:
    model, spec = found.model, found.spec
    created = "not said" if model.created is None else f"{model.created:%Y-%m-%d %H:%M} UTC"
    flavors = [_flavor(name, content) for name, content in model.flavors.items() if name != "python_function"]
    sections = [
        _section(
            "Model",
            [
                ("path", str(model.path)),
                ("flavors", ", ".join(flavors) or "python_function alone"),
                ("loader", f"{model.pyfunc.loader_module}, {model.pyfunc.predict_fn}()"),
                ("created", created),
                ("mlflow", "not said" if model.mlflow_version is None else model.mlflow_version.text),
                ("example", "none" if model.input_example is None else model.input_example.name),
            ],
        ),
        _signature(found),
        _section("Python", [(spec.python.text, _where(spec.python.place, model.path) or spec.python.source)]),
        _section(
            "Requirements",
            [(demand.text, _where(demand.place, model.path) or "every environment has it") for demand in spec.demands],
        ),
    ]
    if spec.index_lines:
        sections.append(_section("Indexes", [(redacted(i.url), _where(i.place, model.path)) for i in spec.index_lines]))
    if found.notices:
        lines = [
            textwrap.fill(
                f"{n.message}{_suffix(n.place, model.path)}", _WIDTH, initial_indent="  - ", subsequent_indent="    "
            )
            for n in found.notices
        ]
        sections.append("\n".join([click.style("To know", bold=True), *lines]))
    return "\n\n".join(section for section in sections if section)


def _flavor(name: str, content: Any) -> str:
    versions = [str(value) for key, value in content.items() if key.endswith("_version") and value is not None]
    return f"{name} {versions[0]}" if versions else name


def _section(title: str, rows: list[tuple[str, str]]) -> str:
    width = max((len(name) for name, _ in rows), default=0)
    lines = [f"  {name:<{width}}  {value}".rstrip() for name, value in rows]
    return "\n".join([click.style(title, bold=True), *lines])


def _signature(found: Inspection) -> str:
    signature = found.model.signature
    if signature is None:
        return _section("Signature", [("none", "inputs are passed to the model as they come")])
    rows: list[tuple[str, str]] = []
    for part in ("inputs", "outputs", "params"):
        fields: tuple[Field, ...] | None = getattr(signature, part)
        for number, field in enumerate(fields or ()):
            rows.append((part if number == 0 else "", _field(field)))
    return _section("Signature", rows)


def _field(field: Field) -> str:
    name = "" if field.name is None else f"{field.name}: "
    optional = "" if field.required else ", optional"
    default = "" if field.default is None else f" = {json.dumps(field.default)}"
    return f"{name}{field.type}{default}{optional}"


def _where(place: Place | None, model: Path) -> str:
    if place is None:
        return ""
    path = Path(place.file)
    name = str(path.relative_to(model)) if path.is_relative_to(model) else place.file
    return name if place.line is None else f"{name}:{place.line}"


def _suffix(place: Place | None, model: Path) -> str:
    return "" if place is None else f" ({_where(place, model)})"
