"""Shipping: how executors get the environment and the model, as the driver decides it."""

from __future__ import annotations

import atexit
import contextlib
import shutil
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from envbuild import bundling, pipeline
from envbuild.api import settings_for
from envbuild.errors import UsageError
from envbuild.files import sha256_of
from envbuild.model import Model, Notice
from envbuild.pipeline import Asked
from envbuild.progress import Report, silent
from envbuild.pylock import write_lock
from envbuild.settings import Settings
from envbuild.spark.recipe import Ship, Source
from envbuild.target import platform_tag

# What is about running a model, and not about what it runs in; executors have the rest from their own variables.
RUNNING: Final = (
    "build_timeout",
    "link_mode",
    "load_timeout",
    "loader",
    "max_memory",
    "max_output",
    "nan",
    "no_enforce",
    "no_network",
    "pass_env",
    "predict_timeout",
    "python_downloads",
    "python_policy",
    "read_only",
    "set_env",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """A model that executors can have."""

    asked: Asked
    source: Source
    settings: Settings
    notices: tuple[Notice, ...]

    @property
    def model(self) -> Model:
        """What it is."""
        return self.asked.model

    @property
    def running(self) -> dict[str, Any]:
        """The settings that go along, where they are not what they are anyway."""
        usual = Settings.from_environ({}, home=self.settings.home)
        told = {name: getattr(self.settings, name) for name in RUNNING}
        return {name: value for name, value in told.items() if value != getattr(usual, name)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be shipped, and how."""

    ship: Ship = "auto"
    platforms: tuple[str, ...] = ()
    """The kinds of machines that executors are, for a bundle; none: this one."""
    with_python: bool = False
    """Put the Python into the bundle, too."""
    settings: Mapping[str, Any] = field(default_factory=dict)


def shipped(session: Any, model: str | Path, order: Order, report: Report = silent) -> Shipped:
    """Lock a model, and see to it that executors can have what it needs.

    :raises EnvbuildError: as :func:`envbuild.build` and :func:`envbuild.export_bundle`.
    """
    settings = settings_for(model, order.settings)
    ship = _decided(session, order, settings)
    asked = pipeline.ask(model, settings, report)
    if ship == "nothing":
        return _in_place(asked, settings, report)
    if ship == "model":
        return _with_model(session, asked, settings, report)
    return _with_bundle(session, asked, order, settings, report)


def _decided(session: Any, order: Order, settings: Settings) -> Ship:
    if order.ship not in ("auto", "nothing", "model", "bundle"):
        raise UsageError(f"ship={order.ship!r} is neither auto, nothing, model nor bundle")
    if order.ship == "nothing" and (order.platforms or order.with_python):
        raise UsageError("platforms and with_python are for bundles, and nothing is to be shipped")
    if order.ship != "auto":
        return order.ship
    if settings.bundle is not None or order.platforms or order.with_python:
        return "bundle"
    return "nothing" if _master(session).startswith("local") else "bundle"


def _master(session: Any) -> str:
    """The address of who gives out the work."""
    try:
        return str(session.sparkContext.master)
    except Exception as error:  # Spark Connect has no context, and says so in ways of its own
        raise UsageError(
            "this session has no SparkContext (is it Spark Connect?), by which files could be sent to executors",
            hint="ship='nothing', where they have the driver's store and model at the same paths",
        ) from error


def _in_place(asked: Asked, settings: Settings, report: Report) -> Shipped:
    built = pipeline.provide(asked, settings, report)
    # Executors hold it themselves, as soon as they are asked.
    built.lease.release()
    lock = built.locked.lock
    source = Source(
        ship="nothing",
        model=str(asked.model.path.absolute()),
        lock_hashes=(lock.hash,),
        lock=write_lock(lock),
        home=str(settings.home),
    )
    return Shipped(asked=asked, source=source, settings=settings, notices=built.notices)


def _with_model(session: Any, asked: Asked, settings: Settings, report: Report) -> Shipped:
    if asked.bundle is not None:
        raise UsageError("a bundle is shipped as a bundle", hint="ship='bundle'")
    locked = pipeline.lock(asked, settings, report)
    packed = _folder() / "model.tar"
    with tarfile.open(packed, "w") as archive:
        archive.add(asked.model.path, "model", filter=_anonymous)
    source = Source(
        ship="model",
        model=_sent(session, packed, "tar"),
        lock_hashes=(locked.lock.hash,),
        lock=write_lock(locked.lock),
    )
    return Shipped(asked=asked, source=source, settings=settings, notices=locked.notices)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """The same model is the same archive, whoever packs it and when."""
    if "__pycache__" in Path(member.name).parts:
        return None
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    return member


def _with_bundle(session: Any, asked: Asked, order: Order, settings: Settings, report: Report) -> Shipped:
    if settings.bundle is not None:
        locked = pipeline.lock(asked, settings, report)
        name = _sent(session, Path(settings.bundle), "bundle", keep=True)
        source = Source(ship="bundle", model=name, lock_hashes=(locked.lock.hash,))
        return Shipped(asked=asked, source=source, settings=settings, notices=locked.notices)
    options = bundling.Options(platforms=tuple(map(platform_tag, order.platforms)), with_python=order.with_python)
    made = bundling.export(asked, _folder() / "model.bundle", options, settings, report)
    notices = dict.fromkeys(notice for locked in made.locked for notice in locked.notices)
    source = Source(
        ship="bundle",
        model=_sent(session, made.path, "bundle"),
        lock_hashes=tuple(locked.lock.hash for locked in made.locked),
    )
    return Shipped(asked=asked, source=source, settings=settings, notices=tuple(notices))


def _sent(session: Any, path: Path, ending: str, *, keep: bool = False) -> str:
    """Have Spark send a file to executors, once; the name that it has there, which its content decides.

    :param keep: it is somebody's own, and stays where it is.
    """
    _master(session)
    name = f"envbuild-{sha256_of(path)[:24]}.{ending}"
    known = _folder() / name
    if not known.exists():
        # Spark serves the file from its place for as long as the session lasts.
        known.symlink_to(path.absolute()) if keep else path.rename(known)
    elif not keep:
        path.unlink()
    session.sparkContext.addFile(str(known))
    return name


@cache
def _folder() -> Path:
    """Where what is sent lies until this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="envbuild-spark-"))
    atexit.register(remove_sent)
    return folder


def remove_sent() -> None:
    """Remove what was sent; no job may need it any more."""
    if _folder.cache_info().currsize:
        with contextlib.suppress(OSError):
            shutil.rmtree(_folder())
        _folder.cache_clear()
