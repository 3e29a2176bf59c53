"""``envbuild explain``: why this version."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.options import ModelCommand, lock_options, model_argument, output_options, settings_from
from envbuild.cli.output import open_output

if TYPE_CHECKING:
    from envbuild.lock import LockedPackage
    from envbuild.review.explanation import Explanation, Newest, PackageExplanation

_CHAINS = 5
Row = tuple[str, str]


@click.command("explain", cls=ModelCommand)
@model_argument
@click.argument("package", required=False)
@lock_options
@output_options
def command(model: str, package: str | None, **options: Any) -> None:
    """Say why PACKAGE is in MODEL's environment in this version; without PACKAGE, one line for each.

    Who asked for it and in which line, through whom, what binds it, by which date, repair and override it was decided,
    and what the index has today. The model is locked if it was not.
    """
    from envbuild import pipeline
    from envbuild.repairs.rules import RULES
    from envbuild.review import explanation

    with open_output(options, "explain") as output:
        settings = settings_from(options)
        asked = pipeline.ask(model, settings, output.report, whole=False)
        locked = pipeline.lock(asked, settings, output.report)
        # The answer itself shows the repairs.
        output.notices(notice for notice in locked.notices if notice.code not in RULES)
        output.notices((notice for notice in locked.notices if notice.code in RULES), log_only=True)
        found = explanation.of(locked, settings, package)
        text = _overview(found) if package is None else _page(found)
        output.result(found.to_dict(), text, found.notices)


def _page(found: Explanation) -> str:
    """Everything about one package."""
    (one,) = found.packages
    rows = [*_origin_rows(found, one), *_decision_rows(found, one)]
    title = f"{one.package.name} {one.package.version or ''}".rstrip()
    return "\n".join([click.style(title, bold=True), *_lines(rows)])


def _origin_rows(found: Explanation, one: PackageExplanation) -> Iterator[Row]:
    yield "from", _file(one.package)
    for reason in one.asked:
        who = f" ({reason.who})" if reason.place is not None and reason.who != "the model" else ""
        yield "asked by", reason.text(found.model) + who
    if not one.asked:
        yield "asked by", "nobody by name"
    for reason in one.replaced:
        yield "instead of", reason.text(found.model)
    for chain in one.chains[:_CHAINS]:
        yield "through", " -> ".join(chain)
    if len(one.chains) > _CHAINS:
        yield "through", f"and {len(one.chains) - _CHAINS} more"
    if one.parents is None:
        yield "through", "not known: this lock does not say what its packages ask for"
    elif one.parents:
        yield "needed by", ", ".join(one.parents)
    for reason in one.constraints:
        yield "bound by", f"{reason.text(found.model)} ({reason.who})"


def _decision_rows(found: Explanation, one: PackageExplanation) -> Iterator[Row]:
    yield "as of", _cut(found, one)
    for notice in one.repairs:
        yield "repair", f"{notice.code}: {notice.message}"
    for change in one.overrides:
        yield "override", str(change)
    if one.newest is not None:
        yield "index", _newest(one.newest, one.package)


def _file(package: LockedPackage) -> str:
    from envbuild.redaction import without_userinfo

    uploaded = "" if package.uploaded is None else f", uploaded {package.uploaded:%Y-%m-%d %H:%M} UTC"
    if package.kind == "vcs":
        return f"{package.url} at {package.commit} (built here)"
    if package.kind == "conda":
        made = "" if package.uploaded is None else f", made {package.uploaded:%Y-%m-%d %H:%M} UTC"
        return f"{without_userinfo(package.url or '')} (conda{made})"
    name = package.file_name or package.path or package.url or ""
    return f"{name} ({package.kind}{', built here' if package.is_built else ''}{uploaded})"


def _cut(found: Explanation, one: PackageExplanation) -> str:
    if not one.cut:
        return "the lock does not say"
    if one.has_own_cut:
        return f"{one.cut}, a date of its own; the rest is as of {found.as_of}"
    return f"{one.cut}{f' ({found.as_of_reason})' if found.as_of_reason else ''}"


def _newest(newest: Newest, package: LockedPackage) -> str:
    if newest.version is None:
        return newest.unknown or "not known"
    day = "" if newest.uploaded is None else f", uploaded {newest.uploaded:%Y-%m-%d}"
    if newest.version == package.version:
        return f"{newest.version} is the newest there is today"
    return f"{newest.version} is the newest there is today{day}"


def _overview(found: Explanation) -> str:
    """One line for each package, and what holds for all."""
    table = [
        [one.package.name, one.package.version or "", _kind(one.package), one.why(found.model), _own_cut(one)]
        for one in found.packages
    ]
    widths = [max((len(row[column]) for row in table), default=0) for column in range(4)]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, [*widths, 0])).rstrip() for row in table]
    return "\n".join([*_head(found), "", *lines, *_tail(found)])


def _head(found: Explanation) -> list[str]:
    from envbuild.review.reasons import where

    by_file = next((change.place for change in found.overrides if change.option == "python"), None)
    stated = by_file if found.python_source == "override" else found.python_place
    said = "--python" if found.python_source == "override" else found.python_source
    place = said if stated is None else where(stated, found.model)
    as_of = f"{found.as_of}{f' ({found.as_of_reason})' if found.as_of_reason else ''}"
    source = {"kept": "kept in the store", "resolved": "made now"}.get(found.lock_source, found.lock_source)
    return _lines(
        [
            ("Python", f"{found.python} ({place})"),
            ("as of", as_of or "the lock does not say"),
            ("lock", f"{found.lock_hash[:12]}, {source}"),
            *([("conda", found.conda)] if found.conda else []),
        ],
        indent="",
    )


def _tail(found: Explanation) -> list[str]:
    lines = []
    for title, points in (
        ("Repairs", [f"{notice.code}: {notice.message}" for notice in found.repairs]),
        ("Overrides", [str(change) for change in found.overrides]),
    ):
        if points:
            lines += ["", click.style(title, bold=True), *(f"  - {point}" for point in points)]
    return lines


def _kind(package: LockedPackage) -> str:
    if package.kind == "conda":
        return "conda"
    return "build" if package.is_built else "wheel"


def _own_cut(one: PackageExplanation) -> str:
    return f"as of {one.cut}" if one.has_own_cut else ""


def _lines(rows: list[Row], indent: str = "  ") -> list[str]:
    """Rows of a name and a text; a name that is the one before is not said again."""
    width = max(len(name) for name, _ in rows)
    before = ["", *(name for name, _ in rows)]
    return [f"{indent}{'' if name == last else name:<{width}}  {text}" for (name, text), last in zip(rows, before)]
