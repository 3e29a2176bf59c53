"""Environ: the worker's environment variables and private directories, made from nothing.

A model gets what it needs to compute and nothing else of the host's: no tokens, no proxies, no ``PYTHONPATH``.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

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

SYSTEM_PATH: Final = ("/usr/local/bin", "/usr/bin", "/bin")


class PrivateDirectories:
    """A home and a place for temporary files of one worker's own, empty at first and removed at the end."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="envbuild-worker-"))
        self.home = self.root / "home"
        self.temporary = self.root / "tmp"
        self.home.mkdir()
        self.temporary.mkdir()

    def remove(self) -> None:
        """Remove both; what the model made unremovable stays."""
        shutil.rmtree(self.root, ignore_errors=True)


def worker_environ(python: Path, private: PrivateDirectories, host: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment of a worker.

    :param python: the environment's interpreter, as it is called there.
    :param host: the host's variables, by default this process's.
    """
    known = os.environ if host is None else host
    variables = {name: known[name] for name in PASSED if name in known}
    variables.update(
        LC_ALL="C.UTF-8",
        LANG="C.UTF-8",
        PATH=os.pathsep.join((str(python.parent), *SYSTEM_PATH)),
        HOME=str(private.home),
        TMPDIR=str(private.temporary),
        # Some mlflow releases make their tracking store when they load a model, by default in the working directory.
        MLFLOW_TRACKING_URI=(private.temporary / "mlruns").as_uri(),
        # A prediction does not report on itself.
        MLFLOW_DISABLE_TELEMETRY="true",
    )
    return variables | _activation(python.parent.parent)


def _activation(prefix: Path) -> dict[str, str]:
    if (prefix / "pyvenv.cfg").is_file():
        return {"VIRTUAL_ENV": str(prefix)}
    if (prefix / "conda-meta").is_dir():
        return {"CONDA_PREFIX": str(prefix)}
    return {}
