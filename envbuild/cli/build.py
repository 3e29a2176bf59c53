"""``envbuild build``."""

from __future__ import annotations

from typing import Any

import click

from envbuild.cli.options import ModelCommand, lock_options, model_argument, output_options, settings_from
from envbuild.cli.output import open_output


@click.command("build", cls=ModelCommand)
@model_argument
@lock_options
@output_options
def command(model: str, **options: Any) -> None:
    """Build MODEL's environment in the store, unless it is there, and print its path.

    PATH/bin/python runs Python in it.
    """
    from envbuild import pipeline

    with open_output(options, "build") as output:
        settings = settings_from(options)
        asked = pipeline.ask(model, settings, output.report)
        output.notices(asked.spec.notices)
        built = pipeline.provide(asked, settings, output.report)
        output.notices(built.notices)
        environment = built.environment
        content = {
            "lock_hash": environment.lock_hash,
            "path": str(environment.path),
            "python": environment.interpreter.version,
            "built": built.was_built,
            "seconds": round(built.seconds, 3),
            "lock_source": built.locked.source,
        }
        output.result(content, str(environment.path), built.notices)
