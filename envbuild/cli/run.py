"""``envbuild run``: anything else in a model's environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from envbuild.cli.options import ModelCommand, lock_options, model_argument, output_options, settings_from
from envbuild.cli.output import Output, open_output

if TYPE_CHECKING:
    from envbuild.pipeline import Built

# They would lead the model's Python to packages of the host's.
_DROPPED_PREFIXES = ("PYTHON", "PIP_", "UV_", "CONDA_", "VIRTUAL_ENV", "ENVBUILD_", "__PYVENV")


@click.command("run", cls=ModelCommand, context_settings={"ignore_unknown_options": False})
@model_argument
@click.argument("words", nargs=-1, required=True, metavar="-- COMMAND...")
@lock_options
@output_options
def command(model: str, words: tuple[str, ...], **options: Any) -> int:
    """Run COMMAND in MODEL's environment; its exit code is the command's.

    The environment's programs come first on PATH, ENVBUILD_MODEL is the model's directory. With --json the command's
    output is captured and becomes part of the result.
    """
    from envbuild import pipeline

    with open_output(options, "run") as output:
        settings = settings_from(options)
        asked = pipeline.ask(model, settings, output.report)
        output.notices(asked.spec.notices)
        built = pipeline.provide(asked, settings, output.report)
        output.notices(built.notices)
        output.rest()
        if output.as_json:
            return _captured(words, built, output)
    return _become(words, built)


def _captured(words: tuple[str, ...], built: Built, output: Output) -> int:
    from envbuild import process
    from envbuild.errors import CommandNotStarted

    environ = _environ(built)
    try:
        done = process.run([_program(words[0], environ), *words[1:]], env=environ)
    except process.NotStarted as error:
        raise CommandNotStarted(f"the command cannot be started: {error}") from None
    content = {
        "returncode": done.returncode,
        "seconds": round(done.seconds, 3),
        "lock_hash": built.environment.lock_hash,
    }
    output.result(content, "", built.notices, {"stdout": done.stdout, "stderr": done.stderr})
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def _become(words: tuple[str, ...], built: Built) -> int:
    from envbuild import process
    from envbuild.errors import CommandNotStarted

    environ = _environ(built)
    # The lease must not end with this program: whatever the command starts holds it as well.
    built.lease.keep_through_exec()
    try:
        process.replace_self([_program(words[0], environ), *words[1:]], env=environ)
    except process.NotStarted as error:
        raise CommandNotStarted(f"the command cannot be started: {error}") from None
    return 0


def _environ(built: Built) -> dict[str, str]:
    from envbuild.bridge.environ import named
    from envbuild.conda import activation

    kept = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED_PREFIXES)}
    root = built.environment.path
    active = activation.kept(root)
    path = os.pathsep.join([str(root / "bin"), *active.path, kept.get("PATH", "/usr/local/bin:/usr/bin:/bin")])
    kept |= active.at_home(kept.get("HOME", "/"))
    # What was compiled is there already, and an environment stays as it was built.
    kept["PYTHONDONTWRITEBYTECODE"] = "1"
    return {**kept, "PATH": path, **named(root), "ENVBUILD_MODEL": str(built.locked.asked.model.path)}


def _program(name: str, environ: dict[str, str]) -> str:
    import shutil

    from envbuild.errors import CommandNotStarted

    found = shutil.which(name, path=environ["PATH"])
    if found is None:
        raise CommandNotStarted(f"there is no command {name!r}", hint="the environment's own are in its bin directory")
    return found
