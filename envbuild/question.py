"""The question that a resolver answers: everything that a lock depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from envbuild.asof import AsOf
from envbuild.indexes import Indexes
from envbuild.interpreters import Interpreter
from envbuild.model import Notice
from envbuild.settings import Settings
from envbuild.spec import EnvironmentSpec
from envbuild.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Everything that a lock depends on."""

    spec: EnvironmentSpec
    target: Target
    interpreter: Interpreter
    """Runs what sdists must run to say what they need; its patch release does not show in the lock."""
    as_of: AsOf
    indexes: Indexes
    settings: Settings
    provided: Mapping[str, str] = field(default_factory=dict)
    """Distributions that are there before anything is installed, with their versions: what conda brings."""
    repairs: tuple[Notice, ...] = ()
    """What was mended before the question was put."""
