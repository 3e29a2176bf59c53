"""The place: which model is served in which environment, and where temporary files go.

The only module of the server that reads this process's variables (``ENVBUILD_MODEL`` and ``TMPDIR``).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from envbuild.bridge import Worker, options_of
from envbuild.bridge.loaders import decided
from envbuild.errors import EnvbuildError, EnvironmentDamaged, ModelNotFound, UsageError
from envbuild.lock import Lock
from envbuild.model import MLMODEL, Model, read_model
from envbuild.server import saying
from envbuild.server.served import Served
from envbuild.settings import Settings
from envbuild.store.lockfile import kept_lock
from envbuild.store.marker import MARKER, read_marker


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where things are in an image."""

    environment: Path = Path("/opt/environment")
    own: Path = Path("/opt/ml/model")
    """The model that the image has in it, or that SageMaker puts there."""
    mounted: Path = Path("/mnt/models")
    """Where a model is mounted, by KServe's habit; it goes before the image's own."""
    temporary: tuple[Path, ...] = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))  # noqa: S108 - tried for ``mkdtemp``


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A model and the environment that it runs in."""

    model: Model
    environment: Path
    lock: Lock | None
    """What the environment was built from; ``None`` where it cannot be read."""
    shared: bool
    """Whether the environment's files are shared with others."""
    is_own: bool
    """Whether the environment was built for this very model."""


def find(places: Places) -> Place:
    """The model that ``ENVBUILD_MODEL`` names, else the mounted one, else the image's own.

    :raises ModelError: there is none, or it cannot be read.
    :raises EnvironmentDamaged: there is no complete environment.
    """
    model = read_model(_model_path(places))
    marker = read_marker(places.environment / MARKER)
    if marker is None:
        raise EnvironmentDamaged(
            f"there is no complete environment at {places.environment}",
            hint="envbuild image makes images that have one; mount nothing over it",
        )
    return Place(
        model=model,
        environment=places.environment,
        lock=kept_lock(places.environment),
        shared=marker.linked,
        is_own=model.path == places.own and _same_device(places.own, places.environment),
    )


def served(place: Place, settings: Settings, name: str | None = None) -> Served:
    """The model as it is served.

    :param name: the model's name; by default that of its directory.
    """
    return Served(
        model=place.model,
        name=name or place.model.name,
        lock=place.lock,
        environment=place.environment,
        start=lambda: start_worker(place, settings, saying.of_model()),
    )


def start_worker(place: Place, settings: Settings, stderr: Callable[[bytes], None] | None = None) -> Worker:
    """Start the model's worker; returns while it loads.

    :param stderr: takes what the model prints; by default it goes to this process's stderr.
    :raises CommandNotStarted: the environment's Python cannot be started.
    :raises UsageError: the model cannot be loaded in the way that is demanded.
    """
    python = place.environment / "bin" / "python"
    options = decided(options_of(settings, stderr), place.model, place.lock)
    return Worker.start(python, place.model, options, shared=place.shared)


def reasons_against(place: Place) -> tuple[str, ...]:
    """Why a mounted model does not fit the environment, a sentence each; the image's own was built with it."""
    if place.is_own:
        return ()
    if place.lock is None:
        return (f"the lock of {place.environment} cannot be read, so that nobody knows whether the model fits",)
    # Imported here: what an image's own model asks for was read when the image was made.
    from envbuild import staleness
    from envbuild.spec import read_spec

    try:
        return staleness.reasons_against(place.lock, read_spec(place.model, leave_out_missing=True))
    except EnvbuildError as error:
        return (f"what the model asks for cannot be read: {error}",)


def use_temporary(places: Places) -> Path:
    """Have temporary files go to ``TMPDIR``, or the first of the usual places that can be written, and say which.

    :raises UsageError: none can be.
    """
    named = os.environ.get("TMPDIR")
    candidates = (*([Path(named)] if named else []), *places.temporary)
    for candidate in candidates:
        if _is_writable(candidate):
            tempfile.tempdir = str(candidate.absolute())
            return candidate
    raise UsageError(
        f"no temporary directory can be written: {', '.join(map(str, candidates))}",
        hint="with a read-only root file system, docker run --tmpfs /tmp gives one",
    )


def _model_path(places: Places) -> Path:
    if named := os.environ.get("ENVBUILD_MODEL"):
        return Path(named)
    for path in (places.mounted, places.own):
        if (path / MLMODEL).is_file():
            return path
    raise ModelNotFound(
        f"there is no model: neither {places.mounted} nor {places.own} has a file {MLMODEL}",
        hint=f"mount one: docker run -v /path/to/model:{places.mounted}:ro; ENVBUILD_MODEL names one elsewhere",
    )


def _same_device(one: Path, other: Path) -> bool:
    """Whether both lie on one file system: what is mounted over a directory of the image is on another."""
    return one.stat().st_dev == other.stat().st_dev


def _is_writable(directory: Path) -> bool:
    try:
        with tempfile.TemporaryDirectory(prefix="envbuild-", dir=directory):
            return True
    except OSError:
        return False
