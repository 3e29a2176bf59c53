"""``envbuild completion``."""

from __future__ import annotations

from typing import Any

import click

from envbuild.cli.options import output_options
from envbuild.cli.output import open_output


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@output_options
def command(shell: str, **options: Any) -> None:
    """Print the script that completes envbuild's commands and options in SHELL.

    For bash: envbuild completion bash > ~/.local/share/bash-completion/completions/envbuild
    """
    from click.shell_completion import get_completion_class

    from envbuild.cli import envbuild
    from envbuild.errors import UsageError

    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"there is no completion for {shell}")
    with open_output(options, "completion") as output:
        script = kind(envbuild, {}, "envbuild", "_ENVBUILD_COMPLETE").source()
        output.result({"shell": shell, "script": script}, script)
