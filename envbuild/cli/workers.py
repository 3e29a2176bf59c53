"""``envbuild workers``: the workers that stay behind."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.options import output_options, settings_from
from envbuild.cli.output import aligned, open_output

if TYPE_CHECKING:
    from envbuild.resident.line import Status


@click.group("workers", no_args_is_help=True)
def command() -> None:
    """List and stop the workers that stay behind for the next call (predict --keep-warm)."""


@command.command("list")
@output_options
def list_command(**options: Any) -> None:
    """List your resident workers on this machine."""
    from envbuild.resident.listing import listed

    with open_output(options, "workers list") as output:
        found = listed(settings_from(options).home)
        output.result({"workers": [one.to_dict() for one in found]}, "\n".join(_rows(found)))


@command.command("stop")
@click.argument("which", required=False, metavar="[ID|MODEL]")
@click.option("--all", "every", is_flag=True, help="Stop them all.")
@output_options
def stop_command(which: str | None, every: bool, **options: Any) -> None:
    """Stop resident workers: one by its ID or the beginning of it, or those of a MODEL.

    One that is at work ends after its answer, and takes no other call until then.
    """
    from envbuild.errors import EnvironmentUnknown, UsageError
    from envbuild.resident.listing import stopped

    with open_output(options, "workers stop") as output:
        if every == (which is not None):
            raise UsageError("which worker is to be stopped?", hint="give its ID, its MODEL, or --all")
        done = stopped(settings_from(options).home, which)
        if which is not None and not done:
            raise EnvironmentUnknown(f"there is no resident worker {which}", hint="envbuild workers list shows all")
        lines = [f"{one.id} {'has ended' if ended else 'ends after its answer'}  {one.model}" for one, ended in done]
        content = {"stopped": [{**one.to_dict(), "ended": ended} for one, ended in done]}
        output.result(content, "\n".join(lines or ["there are no resident workers"]))


def _rows(found: Sequence[Status]) -> list[str]:
    if not found:
        return ["there are no resident workers"]
    now = time.time()
    table = [("ID", "PID", "STATE", "AGE", "IDLE FOR", "ENDS IN", "SERVED", "MEMORY", "LOCK", "MODEL")]
    for one in found:
        idle = "-" if one.idle_since is None else _seconds(now - one.idle_since)
        ends = "-" if one.ends_at is None else _seconds(one.ends_at - now)
        memory = f"{one.memory / 2**20:.0f} MiB"
        row = (one.id, str(one.worker), one.state, _seconds(now - one.began), idle, ends, str(one.served), memory)
        table.append((*row, one.lock_hash[:12], one.model))
    return aligned(table)


def _seconds(count: float) -> str:
    """A time for people: ``4 m 10 s``."""
    seconds = max(0, round(count))
    if seconds < 60:
        return f"{seconds} s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes} m {seconds} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} m"
