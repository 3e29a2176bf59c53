"""What the one who deploys changes in a spec: an input of the resolver, never something installed on top."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from envbuild import interpreters
from envbuild.errors import UsageError
from envbuild.interpreters import Interpreter
from envbuild.settings import Settings
from envbuild.spec import EnvironmentSpec, PythonDemand


@dataclass(frozen=True, slots=True, kw_only=True)
class Overridden:
    """A spec after the override, and the interpreter where the deployer named one by its path."""

    spec: EnvironmentSpec
    interpreter: Interpreter | None = None


def apply(spec: EnvironmentSpec, settings: Settings) -> Overridden:
    """The spec as the deployer's settings have it.

    :raises UsageError: ``python`` is neither a version nor a path.
    :raises InterpreterNotFound: it is a path, and no usable Python is there.
    """
    if settings.python is None:
        return Overridden(spec=spec)
    if interpreters.is_path(settings.python):
        interpreter = interpreters.at_path(settings.python)
        return Overridden(spec=_with_python(spec, interpreter.version), interpreter=interpreter)
    if not re.fullmatch(r"\d+\.\d+(\.\d+\S*)?", settings.python):
        raise UsageError(
            f"--python is {settings.python!r}", hint="write a version (3.8 or 3.8.18) or the path of a python program"
        )
    return Overridden(spec=_with_python(spec, settings.python))


def _with_python(spec: EnvironmentSpec, version: str) -> EnvironmentSpec:
    return replace(spec, python=PythonDemand(text=version, place=None, source="override"))
