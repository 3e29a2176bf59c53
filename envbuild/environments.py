"""Environments as one names them, by a model or by a lock hash: found, verified, built again."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from envbuild import interpreters, locations, pipeline
from envbuild.errors import BuildError, EnvbuildError, EnvironmentInUse, UsageError
from envbuild.interpreters import Interpreter
from envbuild.pipeline import Asked, Built, Locked
from envbuild.progress import Report, silent
from envbuild.settings import Settings
from envbuild.store import Store
from envbuild.store.upkeep import Finding, Kept, Upkeep

_SHORTEST_HASH = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """An environment, and what of it is not as it was built."""

    environment: Kept
    findings: tuple[Finding, ...]


def named(text: str, settings: Settings) -> tuple[Kept, ...]:
    """The environments of a model's directory, or of a lock hash or its beginning.

    :raises UsageError: there is none.
    :raises ModelError: it is a directory and no model.
    """
    upkeep = Upkeep(Store(settings))
    if Path(text).is_dir() or locations.is_elsewhere(text):
        locked = pipeline.known_lock(pipeline.ask(text, settings, whole=False), settings)
        found = () if locked is None else tuple(one for one in upkeep.listed() if one.lock_hash == locked.lock.hash)
        if not found:
            raise UsageError(
                f"there is no environment of {text} in the store", hint=f"envbuild build {text} builds one"
            )
        return found
    if len(text) < _SHORTEST_HASH:
        raise UsageError(
            f"{text!r} is no model's directory, and too short for a lock hash", hint="envbuild envs list shows them"
        )
    found = tuple(one for one in upkeep.listed() if one.lock_hash.startswith(text))
    if not found:
        raise UsageError(
            f"{text!r} is no model's directory, and no environment's lock hash begins so",
            hint="envbuild envs list shows them",
        )
    if len({one.lock_hash for one in found}) > 1:
        raise UsageError(f"several lock hashes begin with {text}", hint="give more of it")
    return found


def is_image(text: str) -> bool:
    """Whether a text names an image: it is neither a directory nor the beginning of a lock hash."""
    return not Path(text).is_dir() and re.fullmatch(r"[0-9a-f]{1,64}", text) is None and "/MLmodel" not in text


def verified(environments: Iterable[Kept], settings: Settings) -> tuple[Verified, ...]:
    """Read every file of some environments again, and say what is not as it was built."""
    upkeep = Upkeep(Store(settings))
    return tuple(Verified(environment=one, findings=tuple(upkeep.findings(one.path))) for one in environments)


def build_again(environment: Kept, settings: Settings, report: Report = silent) -> Built:
    """Throw an environment away and build it again, from the lock that it was built from.

    :raises EnvironmentInUse: a worker runs in it.
    :raises BuildError: its lock cannot be read, no model that asked for it is there any more, or it cannot be built.
    """
    store = Store(settings)
    upkeep = Upkeep(store)
    lock = upkeep.lock_of(environment.path)
    asked = _asked(environment, settings)
    if lock is not None and lock.hash == environment.lock_hash:
        locked = Locked(asked=asked, lock=lock, source=str(environment.path), notices=())
    else:
        # Its lock is damaged as well: the model's own leads to the same, or this is no repair.
        locked = pipeline.lock(asked, settings, report)
        if locked.lock.hash != environment.lock_hash:
            raise BuildError(
                f"the lock of {environment.lock_hash[:12]} cannot be read, and {asked.model.path} has another by now",
                hint=f"envbuild envs rm {environment.lock_hash[:12]}",
            )
    why = upkeep.remove(environment)
    if why is not None:
        raise EnvironmentInUse(
            f"the environment {environment.lock_hash[:12]} cannot be built again: {why}", hint="end its workers first"
        )
    if environment.interpreter is not None and asked.interpreter is None:
        locked = replace(locked, asked=replace(asked, interpreter=_same_interpreter(environment)))
    return pipeline.build(locked, settings, report)


def _same_interpreter(environment: Kept) -> Interpreter | None:
    """The interpreter that an environment was built from, if it is still the same."""
    known = environment.interpreter
    found = None if known is None else interpreters.probe(Path(known.executable))
    return found if found is not None and known is not None and found.key == known.key else None


def _asked(environment: Kept, settings: Settings) -> Asked:
    """What a model asks that this environment was built for; its local packages are built from there."""
    for model in environment.models:
        try:
            return pipeline.ask(model, settings)
        except EnvbuildError:
            continue
    raise BuildError(
        f"none of the models that asked for {environment.lock_hash[:12]} is there any more",
        hint=f"envbuild envs rm {environment.lock_hash[:12]}, and envbuild build MODEL",
    )
