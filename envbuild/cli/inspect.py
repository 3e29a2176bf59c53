"""``envbuild inspect``: the model on one screen."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.options import ModelCommand, model_argument, output_options, settings_from, spec_options
from envbuild.cli.output import open_output
from envbuild.redaction import redacted

if TYPE_CHECKING:
    from envbuild.errors import Place
    from envbuild.inspection import Inspection
    from envbuild.signature import Field

_WIDTH = 100


@click.command("inspect", cls=ModelCommand)
@model_argument
@spec_options
@click.option("--offline", is_flag=True, default=None, help="Never touch the network.")
@output_options
def command(model: str, **options: Any) -> None:
    """Show what MODEL is, what it asks for and where that is written, what disagrees and what is mended.

    Nothing is resolved, built or run. Once the model is locked, what it resolved to is shown too.
    """
    from envbuild import pipeline

    with open_output(options, "inspect") as output:
        settings = settings_from(options)
        asked = pipeline.ask(model, settings, output.report, whole=False)
        found = pipeline.inspect(asked, settings)
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
                *((("from", found.uri),) if model.path != Path(found.uri).absolute() else ()),
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
        _section("Requirements", _requirements(found)),
        _channels(found),
        _lock(found),
    ]
    if spec.overrides:
        sections.append(_section("Overrides", [(str(change), "") for change in spec.overrides]))
    if spec.index_lines:
        sections.append(_section("Indexes", [(redacted(i.url), _where(i.place, model.path)) for i in spec.index_lines]))
    sections.append(_points("Repairs", [(f"{n.code}: {n.message}", n.place) for n in found.repairs], model.path))
    sections.append(_points("To know", [(n.message, n.place) for n in found.notices], model.path))
    return "\n\n".join(section for section in sections if section)


def _requirements(found: Inspection) -> list[tuple[str, str]]:
    """Each requirement with its place, and with what it resolved to where that is known and not said already."""
    rows = []
    for demand in found.spec.demands:
        where = _where(demand.place, found.model.path) or "every environment has it"
        version = None if found.lock is None or demand.name is None else found.lock.version_of(demand.name)
        rows.append((demand.text, where if version in (None, demand.pin) else f"{where}  -> {version}"))
    return rows


def _channels(found: Inspection) -> str:
    """What comes from conda's channels, and which those are."""
    part = found.spec.conda
    if part is None:
        return ""
    rows = [(redacted(spec.text), _where(spec.place, found.model.path)) for spec in part.specs]
    return _section("From conda channels", [*rows, ("channels", ", ".join(map(redacted, part.channels)))])


def _lock(found: Inspection) -> str:
    lock = found.lock
    if lock is None:
        return _section("Lock", [("none yet", "envbuild lock makes one")])
    as_of = " ".join(filter(None, [lock.origin.as_of, lock.origin.as_of_reason and f"({lock.origin.as_of_reason})"]))
    rows = [
        ("hash", lock.hash),
        ("from", "the store" if found.lock_source == "kept" else found.lock_source),
        ("as of", as_of or "not said"),
        ("for", f"Python {lock.python}, {lock.target}"),
        ("packages", _counted(found)),
    ]
    return _section("Lock", rows)


def _counted(found: Inspection) -> str:
    packages = () if found.lock is None else found.lock.packages
    built = [package.name for package in packages if package.is_built]
    half = None if found.lock is None else found.lock.conda
    of_conda = "" if half is None else f"{len(half.packages)} from conda channels, {len(packages)} on top of them"
    return (of_conda or f"{len(packages)}") + (
        f", of which {len(built)} must be built: {', '.join(built)}" if built else ""
    )


def _points(title: str, points: list[tuple[str, Place | None]], model: Path) -> str:
    if not points:
        return ""
    lines = [
        textwrap.fill(f"{text}{_suffix(place, model)}", _WIDTH, initial_indent="  - ", subsequent_indent="    ")
        for text, place in points
    ]
    return "\n".join([click.style(title, bold=True), *lines])


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
    from envbuild.review.reasons import where

    return "" if place is None else where(place, model)


def _suffix(place: Place | None, model: Path) -> str:
    return "" if place is None else f" ({_where(place, model)})"
