"""``envbuild doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.options import output_options
from envbuild.cli.output import open_output

if TYPE_CHECKING:
    from envbuild.doctor import Finding, Group

_NOT_FINE = 5
_COLOURS = {"fine": "green", "missing": "yellow", "wrong": "red"}


@click.command("doctor")
@click.option("--offline", is_flag=True, default=None, help="Do not ask the network.")
@click.option("--index-url", metavar="[NAME=]URL", help="The package index to ask, in place of the default one.")
@output_options
def command(offline: bool | None, index_url: str | None, **options: Any) -> int:
    """Look at what envbuild needs on this machine: is it there, what works without it, how is it to be had?

    Nothing is changed: no store is made and nothing is installed. The exit code is 5 where something that is needed
    for every model is missing or wrong.
    """
    from envbuild.doctor import examine
    from envbuild.settings import Settings

    with open_output(options, "doctor") as output:
        # This machine's settings: a curated environment that they name is not fetched for this.
        settings = Settings.from_environ(offline=offline, index_url=index_url)
        groups = examine(settings, output.report)
        stopping = [finding for group in groups for finding in group.findings if finding.stops]
        content = {"fine": not stopping, "groups": [group.to_dict() for group in groups]}
        output.result(content, "\n".join([*_table(groups, verbose=output.verbose), "", _said(stopping)]))
        return _NOT_FINE if stopping else 0


def _table(groups: tuple[Group, ...], *, verbose: bool) -> list[str]:
    width = max(len(finding.name) for group in groups for finding in group.findings)
    lines: list[str] = []
    for group in groups:
        lines += [*([""] if lines else []), click.style(group.name, bold=True)]
        for finding in group.findings:
            lines += _lines(finding, width, verbose=verbose)
    return lines


def _lines(finding: Finding, width: int, *, verbose: bool) -> list[str]:
    """One line, and below a thing that is not fine what that means and what to do."""
    mark = click.style(f"{finding.state:<7}", fg=_COLOURS[finding.state])
    lines = [f"  {mark}  {finding.name:<{width}}  {finding.found}"]
    below = " " * (width + 13)
    if finding.state != "fine" or verbose:
        lines.append(f"{below}without it: {finding.without}")
    if finding.hint is not None:
        lines.append(f"{below}hint: {finding.hint}")
    return lines


def _said(stopping: list[Finding]) -> str:
    if not stopping:
        return "everything that is needed for every model is fine"
    return f"envbuild needs these, and they are not fine: {', '.join(finding.name for finding in stopping)}"
