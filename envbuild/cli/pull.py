"""``envbuild pull``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from envbuild.cli.options import model_argument, output_options, own_lock_options, settings_from
from envbuild.cli.output import open_output


@click.command("pull")
@model_argument
@click.argument("share")
@click.option(
    "--require-signature",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="KEY",
    help="Refuse what this public key (Ed25519, PEM) does not prove.",
)
@own_lock_options
@output_options
def command(model: str, share: str, **options: Any) -> None:
    """Build MODEL's environment from SHARE, as somebody has pushed it, and print where it is.

    Nothing is resolved and no package is built; every file is checked before it is used.
    """
    from envbuild import pipeline
    from envbuild.sharing import pulling

    with open_output(options, "pull") as output:
        settings = settings_from(options)
        asked = pipeline.ask(model, settings, output.report)
        output.notices(asked.spec.notices)
        pulled = pulling.pull(asked, share, settings, output.report)
        built = pulled.built
        output.notices(built.notices)
        facts = {
            "share": pulled.share,
            "lock_hash": built.environment.lock_hash,
            "path": str(built.environment.path),
            "built": built.was_built,
            "fetched": pulled.fetched,
            "here": pulled.here,
            "bytes": pulled.bytes_fetched,
        }
        output.result(facts, str(built.environment.path), built.notices)
