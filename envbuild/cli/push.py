"""``envbuild push``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from envbuild.cli.envs import size
from envbuild.cli.options import model_argument, output_options, own_lock_options, settings_from
from envbuild.cli.output import open_output


@click.command("push")
@model_argument
@click.argument("share")
@click.option(
    "--sign-key",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="KEY",
    help="Sign it with this private key (Ed25519, PEM).",
)
@own_lock_options
@output_options
def command(model: str, share: str, sign_key: Path | None, **options: Any) -> None:
    """Put MODEL's lock and the files that it names into SHARE, for others to pull.

    SHARE is a folder, a place in an object store (s3://bucket/path) or a repository of a registry
    (oci://registry/repository). What is an sdist goes as a wheel that is built here.
    """
    from envbuild import pipeline
    from envbuild.sharing import pushing

    with open_output(options, "push") as output:
        settings = settings_from(options)
        asked = pipeline.ask(model, settings, output.report)
        output.notices(asked.spec.notices)
        pushed = pushing.push(asked, share, settings, output.report, sign_key=sign_key)
        output.notices(pushed.locked.notices)
        lock_hash = pushed.locked.lock.hash
        facts = {
            "share": pushed.share,
            "lock_hash": lock_hash,
            "sent": pushed.sent,
            "there": pushed.there,
            "bytes": pushed.bytes_sent,
        }
        said = f"{pushed.share}: lock hash {lock_hash}, {pushed.sent} files sent ({size(pushed.bytes_sent)}), {pushed.there} were there"
        output.result(facts, said, pushed.locked.notices)
