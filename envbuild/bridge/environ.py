"""Environ: the worker's environment variables and private directories, made from nothing.

A model gets what it needs to compute and nothing else of the host's: no tokens, no proxies, no ``PYTHONPATH``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

from envbuild.conda import activation
from envbuild.model import Notice
from envbuild.settings import check_variable

PASSED: Final = (
    "TZ",
    # How many threads the number libraries may start.
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMEXPR_MAX_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "LOKY_MAX_CPU_COUNT",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    # Which accelerators it may use.
    "CUDA_VISIBLE_DEVICES",
    "NVIDIA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    # Where Spark finds its Java.
    "JAVA_HOME",
)
"""The host's variables that a worker gets, where the host has them."""

_NONE: Final[Mapping[str, str]] = MappingProxyType({})
SYSTEM_PATH: Final = ("/usr/local/bin", "/usr/bin", "/bin")


class PrivateDirectories:
    """A home and a place for temporary files of one worker's own, empty at first and removed at the end."""

    def __init__(self) -> None:
        import tempfile  # whoever only asks what a worker gets makes none

        self.root = Path(tempfile.mkdtemp(prefix="envbuild-worker-"))
        self.home = self.root / "home"
        self.temporary = self.root / "tmp"
        self.home.mkdir()
        self.temporary.mkdir()

    def remove(self) -> None:
        """Remove both; what the model made unremovable stays."""
        import shutil

        shutil.rmtree(self.root, ignore_errors=True)


def worker_environ(
    python: Path,
    private: PrivateDirectories,
    host: Mapping[str, str] | None = None,
    *,
    pass_env: Sequence[str] = (),
    set_env: Mapping[str, str] = _NONE,
    of_flavor: Mapping[str, str] = _NONE,
) -> dict[str, str]:
    """The whole environment of a worker.

    :param python: the environment's interpreter, as it is called there.
    :param host: the host's variables, by default this process's.
    :param pass_env: more of the host's variables, by name; :func:`absent` says which it does not have.
    :param set_env: variables that count before all others. Programs of the environment are found first in any case.
    :param of_flavor: what the model's flavor needs; it counts before what the host has, and after what is passed and set.
    :raises UsageError: a variable is named that is the worker's own.
    """
    known = os.environ if host is None else host
    prefix = python.parent.parent
    active = activation.kept(prefix)
    for name in (*pass_env, *set_env):
        check_variable(name, "the worker's environment")
    variables = {
        "LC_ALL": "C.UTF-8",
        "LANG": "C.UTF-8",
        "PATH": os.pathsep.join(SYSTEM_PATH),
        # Some mlflow releases make their tracking store when they load a model, by default in the working directory.
        "MLFLOW_TRACKING_URI": (private.temporary / "mlruns").as_uri(),
        # A prediction does not report on itself.
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    variables |= passed((), known)
    variables |= active.at_home(str(private.home))
    variables |= of_flavor
    variables |= {name: known[name] for name in pass_env if name in known}
    variables |= set_env
    variables |= {"HOME": str(private.home), "TMPDIR": str(private.temporary), **named(prefix)}
    return variables | {"PATH": os.pathsep.join([str(python.parent), *active.path, variables["PATH"]])}


def passed(pass_env: Sequence[str] = (), host: Mapping[str, str] | None = None) -> dict[str, str]:
    """Of the host's variables, those that a worker gets as they are."""
    known = os.environ if host is None else host
    return {name: known[name] for name in (*PASSED, *pass_env) if name in known}


def absent(names: Sequence[str], host: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Which of the variables that are to be passed on the host does not have."""
    known = os.environ if host is None else host
    return tuple(name for name in names if name not in known)


def notices_of_absent(names: Sequence[str]) -> tuple[Notice, ...]:
    """What to say of variables that are to be passed on to the model and that this process does not have."""
    return tuple(
        Notice(code="variable-absent", message=f"{name} is to be passed on to the model, and is not set here")
        for name in absent(names)
    )


def named(prefix: Path) -> dict[str, str]:
    """The variable that names an environment to the programs in it."""
    if (prefix / "pyvenv.cfg").is_file():
        return {"VIRTUAL_ENV": str(prefix)}
    if (prefix / "conda-meta").is_dir():
        return {"CONDA_PREFIX": str(prefix)}
    return {}
