"""What each arrow of the data's way gives: a model with what it asks for, its lock, its environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from envbuild.environment import Environment
from envbuild.interpreters import Interpreter
from envbuild.lock import Lock
from envbuild.model import Model, Notice
from envbuild.spec import EnvironmentSpec
from envbuild.store.flock import Held

if TYPE_CHECKING:
    from envbuild.bundles.importing import Imported


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A model with what it asks for, as the deployer has it."""

    model: Model
    spec: EnvironmentSpec
    interpreter: Interpreter | None
    """Where the deployer named one by its path."""
    uri: str = ""
    """How the model was named, without credentials."""
    repairs: tuple[Notice, ...] = ()
    """What was mended in the spec."""
    bundle: Imported | None = None
    """What its lock and their files come from, where that is a bundle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """A lock, where it came from, and what the one who deploys should know about it."""

    asked: Asked
    lock: Lock
    source: str
    """``resolved``, ``kept`` (in the store), or the path of a lock file."""
    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A complete environment; ``was_built`` says whether this call built it, ``seconds`` what the call took."""

    locked: Locked
    environment: Environment
    lease: Held
    """Keeps the environment where it is; a worker that is started takes it over, and it ends with the process at last."""
    was_built: bool
    seconds: float
    notices: tuple[Notice, ...]
