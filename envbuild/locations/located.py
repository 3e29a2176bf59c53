"""A model that was found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from envbuild.model import Notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A model's directory on this machine, and what is to be said of the way to it."""

    path: Path
    uri: str
    """How it was named, without credentials."""
    notices: tuple[Notice, ...] = ()
    whole: bool = True
    """Whether all files are there, or those alone that say what the model is and asks for."""
