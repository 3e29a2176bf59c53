"""Making virtualenvs with nothing in them."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from envbuild import process, system_errors, uv
from envbuild.errors import BuildError, UsageError
from envbuild.files import make_private
from envbuild.interpreters import Interpreter
from envbuild.progress import Report, Step
from envbuild.settings import Settings

# Its own modules and nothing of the caller's surroundings, wherever it was installed.
_VIRTUALENV = (
    "import sys; sys.path[:] = sys.argv.pop(1).split(':'); import virtualenv.__main__ as m; m.run_with_catch()"
)

# The first Python that every virtualenv of today makes environments of (its changelog).
_FIRST_MADE = (3, 9)


def check_installed() -> None:
    """:raises UsageError: virtualenv is not installed."""
    if find_spec("virtualenv") is None:
        raise UsageError(
            "virtualenv is not installed, and the engine pip makes environments with it",
            hint="pip install 'envbuild[pip]', or --engine uv",
        )


def _making(place: Path, interpreter: Interpreter, data: Path) -> list[str]:
    """The command that makes it."""
    if tuple(int(part) for part in interpreter.minor.split(".")) < _FIRST_MADE:
        return [interpreter.executable, "-I", "-m", "venv", "--without-pip", str(place)]
    options = ["--no-seed", "--no-vcs-ignore", "--no-periodic-update", "--app-data", str(data)]
    options += ["--python", interpreter.executable]
    return [sys.executable, "-I", "-c", _VIRTUALENV, ":".join(sys.path), *options, str(place)]


def create(place: Path, interpreter: Interpreter, settings: Settings, report: Report) -> None:
    """Make a virtualenv with nothing in it; ``place`` is not there yet.

    For Pythons that virtualenv has left behind their own venv does it.

    :raises UsageError: virtualenv is not installed.
    :raises BuildError: it cannot be made.
    :raises StoreError: the store cannot be written.
    """
    check_installed()
    make_private(settings.home)
    report(Step("building", f"a virtualenv of Python {interpreter.version}"))
    with tempfile.TemporaryDirectory(prefix="envbuild-virtualenv-") as name:
        home = Path(name)
        done = process.run(
            _making(place, interpreter, home / "data"),
            env={**uv.bare_environ(home), "VIRTUALENV_CONFIG_FILE": os.devnull},
            timeout=settings.build_timeout,
        )
    if done.returncode != 0:
        system_errors.check_words(done.stderr, settings.home)
        shutil.rmtree(place, ignore_errors=True)
        raise BuildError(
            f"virtualenv cannot make an environment of {interpreter.executable}",
            details=f"{done.stdout}\n{done.stderr}".strip().splitlines()[-10:],
        )
