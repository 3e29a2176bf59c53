"""The host's end of the pipe to a worker; ``docs/bridge.md`` states the protocol."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from envbuild.bridge.messages import Ready
    from envbuild.bridge.options import WorkerOptions, options_of
    from envbuild.bridge.pool import Pool
    from envbuild.bridge.prediction import Prediction
    from envbuild.bridge.renewal import RenewedWorker
    from envbuild.bridge.worker import Worker

__all__ = ["Pool", "Prediction", "Ready", "RenewedWorker", "Worker", "WorkerOptions", "options_of"]

_MODULES = {
    "Pool": "pool",
    "Prediction": "prediction",
    "Ready": "messages",
    "RenewedWorker": "renewal",
    "Worker": "worker",
    "WorkerOptions": "options",
    "options_of": "options",
}


def __getattr__(name: str) -> Any:
    """Import a public name's module at its first use: whoever talks to a resident worker starts none."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    return found
