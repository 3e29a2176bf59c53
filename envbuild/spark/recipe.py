"""The recipe: all that an executor must know, pickled with the job."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from envbuild.batching.result import OnError

Ship = Literal["auto", "nothing", "model", "bundle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where an executor has the environment and the model from."""

    ship: Ship
    """``nothing``: store and model lie where the driver has them; ``model``: an archive of the model was sent, and the
    environment is built from the index; ``bundle``: all of it was sent."""
    model: str
    """A path that all machines know, or the name of a file that was sent."""
    lock_hashes: tuple[str, ...]
    """Of the locks that are meant, one for each kind of machine."""
    lock: str | None = None
    """The text of the lock; ``None``: it is in the bundle."""
    home: str | None = None
    """The store; ``None``: the one that the executor's own variables say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The columns that an answer becomes, as Arrow has them."""

    fields: tuple[tuple[str, Any], ...]
    """Names, and types of Arrow's."""
    single: bool
    """The answer is one value a row; else it has columns of its own."""
    zone: str
    """The time zone of what has none, by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is to be predicted, in which environment, and what becomes of it."""

    version: str
    """Of envbuild: both ends must have the same."""
    key: str
    """What tells the loaded model from others: the same key, the same model in the same environment (:func:`key_of`)."""
    source: Source
    result: Result
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Those of the driver that are about running a model, by name."""
    on_error: OnError = "stop"
    chunk_rows: int | None = None


def key_of(source: Source, settings: Mapping[str, Any]) -> str:
    """A digest of where a model comes from and how it is run; made on the driver once, and not with each batch."""
    told = [getattr(source, one.name) for one in fields(source)]
    return hashlib.sha256(pickle.dumps((told, sorted(settings.items())))).hexdigest()
