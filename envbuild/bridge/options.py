"""Options: how a worker is treated, and how a call's settings say so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from envbuild.settings import Loader, Nan, Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How a worker is treated. Times are in seconds, sizes in bytes; ``None`` is no limit."""

    nan: Nan = "null"
    """What becomes of NaN and the infinities in answers."""
    loader: Loader = "mlflow"
    """What loads the model. ``auto`` is decided before a worker is started, by :func:`envbuild.bridge.loaders.decided`."""
    instead_of: str | None = None
    """Of a direct load: the mlflow whose ways are followed, as ``3.17``; ``None``: today's."""
    flavor: Mapping[str, Any] | None = None
    """Likewise: what the worker is told of the flavor; ``None``: the model's own loader module loads it."""
    java: str | None = None
    """Decided likewise: the home of the Java that the model's flavor needs; ``None``: it needs none."""
    spark: bool = False
    """Likewise: whether the model may have a session of Spark, which is then the worker's own."""
    why: str = ""
    """What loads the model, and why, in words."""
    enforce: bool = True
    """Hold the input against the signature; else the model gets what the request says."""
    load_timeout: float | None = None
    """From the start until the model must be loaded."""
    predict_timeout: float | None = None
    """For one prediction."""
    idle_timeout: float | None = None
    """After which a worker that nobody asks anything is ended."""
    max_memory: int | None = None
    """What the worker and all that it starts may take."""
    max_output: int | None = None
    """The longest answer."""
    network: bool = True
    """``False``: the worker reaches nothing but itself."""
    read_only: bool = False
    """Neither the model's files nor the environment's can be written."""
    pass_env: tuple[str, ...] = ()
    """The host's variables that the worker gets beside the usual ones, by name."""
    set_env: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables that the worker gets; they may be secrets."""
    stderr: Callable[[bytes], None] | None = None
    """Takes what the model prints; by default it goes to this process's stderr."""


def options_of(settings: Settings, stderr: Callable[[bytes], None] | None = None) -> WorkerOptions:
    """How the workers of a call are treated.

    :param stderr: takes what the model prints; by default this process's own standard error.
    """
    return WorkerOptions(
        nan=settings.nan,
        loader=settings.loader,
        enforce=not settings.no_enforce,
        load_timeout=settings.load_timeout,
        predict_timeout=settings.predict_timeout,
        idle_timeout=settings.idle_timeout,
        max_memory=settings.max_memory,
        max_output=settings.max_output,
        network=not settings.no_network,
        read_only=settings.read_only,
        pass_env=settings.pass_env,
        set_env=dict(settings.set_env),
        stderr=stderr,
    )
