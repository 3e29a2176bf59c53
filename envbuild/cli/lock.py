"""``envbuild lock``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.options import lock_options, model_argument, output_options, settings_from
from envbuild.cli.output import open_output

if TYPE_CHECKING:
    from envbuild.lock import Lock


@click.command("lock")
@model_argument
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), help="Write the lock to this file.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["pylock", "requirements"]),
    default="pylock",
    show_default=True,
    help="pylock.toml (PEP 751), or pip's hashed requirement lines.",
)
@lock_options
@output_options
def command(model: Path, target: Path | None, form: str, **options: Any) -> None:
    """Lock MODEL's environment as of the day it was made, and print the lock.

    The lock is kept in the store and used by every later command for this model. With -o it is written to a file;
    a pylock.toml beside MLmodel is found by itself.
    """
    from envbuild import pipeline
    from envbuild.files import check_target, write_whole
    from envbuild.lock import lock_to_dict

    with open_output(options, "lock") as output:
        _check_name(target, form)
        check_target(target)
        settings = settings_from(options)
        asked = pipeline.ask(model, settings)
        output.notices(asked.spec.notices)
        locked = pipeline.lock(asked, settings, output.report)
        output.notices(locked.notices)
        text = _text(locked.lock, form)
        if target is not None:
            write_whole(target, text.encode())
        content = {
            **lock_to_dict(locked.lock),
            "source": locked.source,
            "file": None if target is None else str(target),
        }
        said = f"{target}: {len(locked.lock.packages)} packages, lock hash {locked.lock.hash}"
        output.result(content, text.rstrip("\n") if target is None else said, locked.notices)


def _text(lock: Lock, form: str) -> str:
    from envbuild.lock import write_requirements
    from envbuild.pylock import write_lock

    return write_lock(lock) if form == "pylock" else write_requirements(lock)


def _check_name(target: Path | None, form: str) -> None:
    """A lock under another name would not be read by any tool."""
    from packaging.pylock import is_valid_pylock_path

    from envbuild.errors import UsageError

    if target is None or form != "pylock" or (target.exists() and not target.is_file()):
        return
    if not is_valid_pylock_path(target):
        raise UsageError(
            f"{target.name} is no name for a lock", hint="PEP 751 calls them pylock.toml or pylock.NAME.toml"
        )
