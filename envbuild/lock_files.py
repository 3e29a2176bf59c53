"""Lock files by their names: which form each has, which one beside a model counts.

A lock of packages from an index alone is a ``pylock.toml``; one with packages from conda's channels a ``conda-lock.yml``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from envbuild.errors import LockInvalid, UsageError
from envbuild.lock import Lock
from envbuild.target import Target

Form = Literal["pylock", "conda-lock"]
PYLOCK, CONDA_LOCK = "pylock.toml", "conda-lock.yml"
NAMES = "pylock.toml and pylock.NAME.toml (PEP 751), conda-lock.yml and NAME-lock.yml (conda-lock, micromamba) are names of locks"


def form_of_name(path: Path) -> Form | None:
    """The form that a file has by its name; ``None`` for what no tool would take for a lock."""
    from packaging.pylock import is_valid_pylock_path

    if is_valid_pylock_path(path):
        return "pylock"
    return "conda-lock" if path.name.endswith(("-lock.yml", "-lock.yaml")) else None


def form_of(lock: Lock) -> Form:
    """The form that holds all of a lock."""
    return "pylock" if lock.conda is None else "conda-lock"


def check_form(form: str, *, with_conda: bool) -> None:
    """Refuse to write a lock in a form that does not hold all of it.

    :raises UsageError: it does not.
    """
    if with_conda and form != "conda-lock":
        raise UsageError(
            f"{'a pylock.toml' if form == 'pylock' else 'a list of requirements'} would hold pip's packages alone,"
            " and this environment has conda packages as well",
            hint=f"-o {CONDA_LOCK} holds both; --conda-packages map takes all packages from the index",
        )
    if not with_conda and form == "conda-lock":
        raise UsageError(
            "a conda-lock.yml is the lock of an environment with conda packages, and this one has none",
            hint=f"-o {PYLOCK} holds all of it",
        )


def text_of(lock: Lock, form: str) -> str:
    """A lock in one of the forms.

    :raises UsageError: it does not hold all of it.
    """
    check_form(form, with_conda=lock.conda is not None)
    if form == "conda-lock":
        from envbuild.conda_lock.writing import write_conda_lock

        return write_conda_lock(lock)
    from envbuild.pylock import write_lock

    return write_lock(lock)


def beside(model: Path, *, with_conda: bool) -> Path | None:
    """The lock file beside a model's ``MLmodel`` that counts, if there is one.

    :param with_conda: whether the environment is to have packages from channels: then a ``conda-lock.yml`` goes first.
    """
    names = (CONDA_LOCK, PYLOCK) if with_conda else (PYLOCK,)
    return next((model / name for name in names if (model / name).is_file()), None)


def read_lock_file(path: Path, python: str, target: Target) -> Lock:
    """The lock in a file of either form, ours or another tool's.

    :param python: the Python demanded, for locks that don't say it themselves.
    :raises LockInvalid: it is no lock, or names packages without files or hashes.
    :raises LockStale: it is for another Python or another target.
    """
    if form_of_name(path) == "pylock":
        from envbuild import pylock

        return pylock.read_lock_file(path, python, target)
    if path.suffix in (".yml", ".yaml"):
        from envbuild.conda_lock.reading import read_conda_lock_file

        return read_conda_lock_file(path, target)
    raise LockInvalid(f"{path.name} is no name for a lock", hint=NAMES)
