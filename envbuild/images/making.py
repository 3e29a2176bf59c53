"""Making images: from a model to the image of its environment, and to its own."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from envbuild import pipeline, system_packages
from envbuild.errors import ImageError
from envbuild.images import base, context, environment, model, prefix, template
from envbuild.images.base import BaseOptions
from envbuild.images.daemon import Daemon
from envbuild.images.environment import EnvironmentImage, EnvironmentOrder
from envbuild.images.ground import Demanded, Ground, found_out, ground
from envbuild.images.layer import Layer
from envbuild.images.model import ModelImage
from envbuild.images.server_layer import ServerLayer, server_layer
from envbuild.images.shelf import Shelf, short_digest
from envbuild.images.workshop import Workshop
from envbuild.interpreters import fits
from envbuild.lock import Lock
from envbuild.model import Notice
from envbuild.pipeline import Asked, Locked
from envbuild.progress import Report, silent
from envbuild.settings import Settings
from envbuild.store import Store
from envbuild.store.making import Making


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """What the deployer wants of an image, beside the settings."""

    tags: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    platform: str | None = None
    packages: tuple[str, ...] = ()
    """Debian's, beside those that are known to be needed."""
    update_base: bool = False
    template: Path | None = None
    pull: bool = False
    """Look for the environment's image in a registry before it is built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is known before anything is built: what the images will hold, and the key."""

    locked: Locked
    ground: Ground
    server: ServerLayer
    key: str
    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """What was made: the environment's image and the model's, and how long each step took."""

    plan: Plan
    environment: EnvironmentImage
    model: ModelImage
    seconds: Mapping[str, float]
    sizes: Mapping[str, int]
    """The bytes of the model image's layers, as files, by their diff IDs; of a base of many layers, only ours."""


class Clock:
    """How long each step takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Take the time of what is inside."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.monotonic() - began, 3)


def make(asked: Asked, settings: Settings, options: ImageOptions, report: Report = silent) -> Images:
    """Make a model's image, and its environment's where nobody has it.

    :raises LockError: the model cannot be locked.
    :raises BuildError: an image cannot be made.
    """
    with Daemon.connect() as daemon:
        return _made(Workshop(daemon, Shelf(settings.home), settings, report), asked, options)


def _made(workshop: Workshop, asked: Asked, options: ImageOptions) -> Images:
    clock = Clock()
    workshop.daemon.sweep()
    known = plan(workshop, asked, options, clock)
    with tempfile.TemporaryDirectory(prefix="envbuild-image-") as name:
        with clock.step("model"):
            layer = model.model_layer(asked.model, Path(name))
            tags = options.tags or (model.default_tag(asked.model, known.locked.lock.hash, layer.diff_id),)
        if options.template is not None:
            cache = Making(Store(workshop.settings), workshop.settings).cache_in_use()
            with clock.step("template"), cache:
                built, made = _by_template(workshop, known, options, options.template, tags, layer)
        else:
            with clock.step("environment"):
                built = environment_image(workshop, known, options)
            with clock.step("model"):
                made = model.make(workshop, built, asked.model, layer, tags, options.labels)
    return Images(plan=known, environment=built, model=made, seconds=clock.seconds, sizes=_sizes(workshop.daemon, made))


def _sizes(daemon: Daemon, image: ModelImage) -> dict[str, int]:
    if image.config is None:
        return {}
    sizes = daemon.sizes(image.id)
    return dict(zip(image.config.diff_ids, sizes)) if len(sizes) == len(image.config.diff_ids) else {}


def write_context(
    asked: Asked, settings: Settings, options: ImageOptions, target: Path, report: Report = silent
) -> Plan:
    """Write a build context, for those who build elsewhere, in place of building.

    :raises UsageError: the directory is not empty.
    :raises ImageError: the lock names what a context cannot hold.
    """
    with Daemon.connect() as daemon:
        workshop = Workshop(daemon, Shelf(settings.home), settings, report)
        known = plan(workshop, asked, options, Clock())
        with Making(Store(settings), settings).cache_in_use():
            context.write(workshop, known, template.text(options.template), target)
    return known


def _by_template(
    workshop: Workshop, known: Plan, options: ImageOptions, path: Path, tags: Sequence[str], layer: Layer
) -> tuple[EnvironmentImage, ModelImage]:
    own = known.locked.asked.model
    created = known.ground.config().created
    labels = {**model.labels_of(own, layer.diff_id, created), **options.labels}
    built, made = template.build(workshop, known, path, tags, labels)
    tag = f"{environment.REPOSITORY}:{known.key}"
    return (
        EnvironmentImage(key=known.key, tag=tag, id=built.id, config=None, origin="built"),
        ModelImage(tags=tuple(tags), id=made.id, config=None, digest=layer.diff_id),
    )


def plan(workshop: Workshop, asked: Asked, options: ImageOptions, clock: Clock) -> Plan:
    """Lock a model for its base, and find out everything that decides its environment's image."""
    settings, report = workshop.settings, workshop.report
    with clock.step("lock"):
        locked = pipeline.lock(asked, settings, report)
    with clock.step("base"):
        server = server_layer(workshop.shelf, settings, report)
        found = _base(workshop, locked, options)
        facts = found_out(workshop, found, server, locked.lock.python)
    notices = list(locked.notices)
    if not _is_for(locked, facts.platform):
        notices.append(_other_target(locked, facts.platform))
        with clock.step("lock"):
            locked = pipeline.lock(asked, settings, report, facts.platform)
    prefix.check_libc(locked.lock, found, facts)
    needed = _needed(locked.lock)
    demanded = Demanded(
        python=locked.lock.python,
        interpreter=asked.interpreter,
        packages=tuple({*needed, *options.packages}),
        brought=prefix.python_in(locked.lock),
        update=options.update_base,
    )
    with clock.step("ground"):
        known = ground(workshop, found, facts, server, demanded)
    notices += _said(known, needed, locked)
    digest = hashlib.sha256(template.text(options.template).encode()).hexdigest()
    key = environment.image_key(known, locked.lock, server, digest)
    return Plan(locked=locked, ground=known, server=server, key=key, notices=tuple(notices))


def _base(workshop: Workshop, locked: Locked, options: ImageOptions) -> base.Base:
    settings = workshop.settings
    downloads = settings.python_downloads and not settings.offline
    brought = locked.lock.conda is not None
    reference = settings.base_image or base.default_reference(locked.lock.python, downloads=downloads, brought=brought)
    named = short_digest([locked.lock.hash, reference, options.platform])
    how = BaseOptions(platform=options.platform, update=options.update_base)
    return base.resolve(workshop.daemon, workshop.shelf, reference, named, settings, how, workshop.report)


def _needed(lock: Lock) -> dict[str, tuple[str, ...]]:
    """The Debian packages that a lock's packages need of the system, each with those that need it."""
    needed = system_packages.at_work(package.name for package in lock.packages)
    return {name: users for name, users in needed.items() if name not in prefix.programs_in(lock)}


def _is_for(locked: Locked, platform: str) -> bool:
    """Whether a lock is one for a base: made for its very platform, or a file that holds what that installs as well."""
    own = locked.lock.target
    is_file = locked.source not in ("resolved", "kept")
    return own.platform == platform or (is_file and replace(own, platform=platform).installs(own.platform))


def _other_target(locked: Locked, platform: str) -> Notice:
    message = (
        f"the lock is for {locked.lock.target}, and the base installs {platform}: the model is locked for that; "
        "its lock hash is another one"
    )
    return Notice(code="image-target", message=message)


def _said(known: Ground, needed: Mapping[str, Sequence[str]], locked: Locked) -> list[Notice]:
    """What was decided on the way."""
    notices = []
    added = {name: users for name, users in needed.items() if name in known.packages}
    if added:
        parts = [f"{name} (for {', '.join(users)})" for name, users in sorted(added.items())]
        notices.append(Notice(code="image-packages", message=f"Debian packages were added: {', '.join(parts)}"))
    demanded, got = locked.lock.python, known.python.version
    if not fits(got, demanded, "exact"):
        message = f"Python {demanded} is not in the base; {got}, of the same minor version, stands in for it"
        notices.append(Notice(code="python-patch", message=message))
    return notices


def environment_image(workshop: Workshop, known: Plan, options: ImageOptions) -> EnvironmentImage:
    """The image of a plan's environment: the daemon's, a registry's, or built now. One of all builds it.

    :raises BuildError: it cannot be built.
    """
    if (there := environment.found(workshop, known.key)) is not None:
        return there
    settings = workshop.settings
    if options.pull:
        repository = environment_repository(settings, options.tags)
        pulled = environment.pulled(workshop, known.key, repository)
        if pulled is not None:
            return pulled
    with workshop.shelf.alone(f"env-{known.key}", workshop.report, "the environment's image"):
        if (there := environment.found(workshop, known.key)) is not None:
            return there
        with Making(Store(settings), settings).cache_in_use():
            return environment.build(workshop, _order(workshop, known))


def _order(workshop: Workshop, known: Plan) -> EnvironmentOrder:
    return EnvironmentOrder(
        key=known.key,
        ground=known.ground,
        lock=known.locked.lock,
        ready=pipeline.ready(known.locked),
        model=known.locked.asked.model.path,
        parts=known.locked.asked.spec.parts,
        indexes=pipeline.indexes_of(known.locked, workshop.settings),
        channels=pipeline.channels_of(known.locked, workshop.settings),
    )


def environment_repository(settings: Settings, tags: Sequence[str]) -> str:
    """The repository of environments' images: the one of the settings, or ``env`` beside the model's.

    :raises ImageError: neither names a registry.
    """
    if settings.env_repository is not None:
        return settings.env_repository
    for tag in tags:
        head, slash, _ = tag.rpartition("/")
        if slash:
            return f"{head}/{environment.REPOSITORY}"
    raise ImageError(
        "it is not said in which registry the images of environments lie",
        hint="-t REGISTRY/NAME:TAG, or ENVBUILD_ENV_REPOSITORY=REGISTRY/env",
    )
