"""``envbuild lock``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.options import (
    ModelCommand,
    lock_options,
    model_argument,
    output_options,
    settings_from,
)
from envbuild.cli.output import open_output

if TYPE_CHECKING:
    from envbuild.lock import Lock


@click.command("lock", cls=ModelCommand)
@model_argument
@click.option("-o", "--output", "target", type=click.Path(path_type=Path), help="Write the lock to this file.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["pylock", "conda-lock", "requirements"]),
    help="pylock.toml (PEP 751; the default), conda-lock.yml (the default with conda packages), or pip's hashed lines.",
)
@click.option(
    "--platform",
    metavar="linux/ARCH|TAG",
    help="Lock for another machine than this one: linux/arm64, or a platform tag such as manylinux_2_17_x86_64.",
)
@lock_options
@output_options
def command(model: str, target: Path | None, form: str | None, platform: str | None, **options: Any) -> None:
    """Lock MODEL's environment as of the day it was made, and print the lock.

    The lock is kept in the store and used by every later command for this model. With -o it is written to a file;
    a pylock.toml or conda-lock.yml beside MLmodel is found by itself.
    """
    from envbuild import lock_files, pipeline
    from envbuild.files import check_target, write_whole
    from envbuild.lock import lock_to_dict
    from envbuild.target import platform_tag

    with open_output(options, "lock") as output:
        wanted = _form(target, form)
        check_target(target)
        wanted_platform = None if platform is None else platform_tag(platform)
        settings = settings_from(options)
        asked = pipeline.ask(model, settings, output.report, whole=False)
        output.notices(asked.spec.notices)
        if wanted is not None and settings.lock is None:
            lock_files.check_form(wanted, with_conda=asked.spec.conda is not None)
        locked = pipeline.lock(asked, settings, output.report, wanted_platform)
        output.notices(locked.notices)
        text = _text(locked.lock, wanted)
        if target is not None:
            write_whole(target, text.encode())
        content = {
            **lock_to_dict(locked.lock),
            "source": locked.source,
            "file": None if target is None else str(target),
        }
        count = len(locked.lock.installed)
        said = f"{target}: {count} packages, lock hash {locked.lock.hash}"
        output.result(content, text.rstrip("\n") if target is None else said, locked.notices)


def _text(lock: Lock, form: str | None) -> str:
    from envbuild import lock_files
    from envbuild.lock import write_requirements

    if form == "requirements":
        lock_files.check_form(form, with_conda=lock.conda is not None)
        return write_requirements(lock)
    return lock_files.text_of(lock, lock_files.form_of(lock) if form is None else form)


def _form(target: Path | None, form: str | None) -> str | None:
    """The form that is asked for, by its option or the file's name: under another name no tool would read it."""
    from envbuild.errors import UsageError
    from envbuild.lock_files import NAMES, form_of_name

    if target is None or form == "requirements" or (target.exists() and not target.is_file()):
        return form
    named = form_of_name(target)
    if named is None or form not in (None, named):
        raise UsageError(f"{target.name} is no name for a lock{f' of the form {form}' if form else ''}", hint=NAMES)
    return named
