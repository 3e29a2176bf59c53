"""``envbuild cache``: what was downloaded and compiled, kept for the next environment."""

from __future__ import annotations

from typing import Any

import click

from envbuild.cli.envs import size
from envbuild.cli.options import output_options, settings_from
from envbuild.cli.output import open_output


@click.group("cache", no_args_is_help=True)
def command() -> None:
    """Show and clean what was downloaded and compiled."""


@command.command("dir")
@output_options
def dir_command(**options: Any) -> None:
    """Print the directory that holds the store and its caches."""
    with open_output(options, "cache dir") as output:
        home = settings_from(options).home
        output.result({"home": str(home)}, str(home))


@command.command("size")
@output_options
def size_command(**options: Any) -> None:
    """Print what everything takes on the disk; a file that has several names counts once."""
    from envbuild.store import Store
    from envbuild.store.upkeep import Upkeep

    with open_output(options, "cache size") as output:
        parts = Upkeep(Store(settings_from(options))).parts()
        rows = [f"{size(taken):>10}  {name}" for name, taken in parts.items()]
        output.result({"bytes": parts}, "\n".join(rows))


@command.command("clean")
@output_options
def clean_command(**options: Any) -> None:
    """Remove everything that was downloaded and compiled; environments keep what they have."""
    from envbuild.errors import EnvironmentInUse
    from envbuild.store import Store
    from envbuild.store.upkeep import Upkeep

    with open_output(options, "cache clean") as output:
        upkeep = Upkeep(Store(settings_from(options)))
        before = upkeep.parts()["everything"]
        why = upkeep.clean_caches((), output.report)
        if why is not None:
            raise EnvironmentInUse(why, hint="try again when no build runs")
        after = upkeep.parts()["everything"]
        output.result({"before": before, "after": after}, f"{size(before - after)} are free now")
