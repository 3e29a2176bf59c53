"""The image of an environment: its key, found by it or built, in a container from its ground, at its final place.

Nothing of a host reaches it: neither paths nor times nor credentials. The lock in it is the lock without its history.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from envbuild import system_packages, uv
from envbuild.errors import BuildError, DownloadFailed, ImageError, RegistryRefused, SdistFailed
from envbuild.images import prefix
from envbuild.images.config import ImageConfig
from envbuild.images.container import Box, Container, spooled
from envbuild.images.daemon import Found
from envbuild.images.ground import INSIDE, USER_HOME, USER_ID, Ground, with_tools
from envbuild.images.inside import ENVIRONMENT, HOME, MEMORY, MODEL
from envbuild.images.layer import Layer, Member, archived, rewrite_layer, tree, write_layer
from envbuild.images.server_layer import PYTHON, ServerLayer
from envbuild.images.workshop import Part, Workshop
from envbuild.indexes import Indexes
from envbuild.lock import Lock, LockedPackage, Origin, staged
from envbuild.progress import Step
from envbuild.pylock import write_lock
from envbuild.store.marker import MARKER, Marker

# Raised when the same key would lead to other bits.
LAYOUT_VERSION = 1
REPOSITORY = "env"
PORT = 8080
_SYSTEM_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentImage:
    """An environment as an image that the daemon has."""

    key: str
    tag: str
    id: str
    """The image ID."""
    config: ImageConfig | None
    """``None`` where the daemon built it from a template."""
    origin: str
    """``built``, ``local`` or ``pulled``."""


def image_key(ground: Ground, lock: Lock, server: ServerLayer, template: str) -> str:
    """sha256 over everything that decides an environment image's bits, in hexadecimal.

    :param template: the digest of the Dockerfile template.
    """
    content = {
        "layout": LAYOUT_VERSION,
        "lock": lock.hash,
        "base": ground.base.digest,
        "python": [ground.python.executable, ground.python.key],
        "parts": [part.layer.diff_id for part in ground.parts if part.kind == "python"],
        "packages": dict(ground.packages),
        "server": server.key,
        "template": template,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def found(workshop: Workshop, key: str) -> EnvironmentImage | None:
    """The image of a key that the daemon has."""
    tag = f"{REPOSITORY}:{key}"
    image = workshop.daemon.find(tag)
    return None if image is None or image.labels.get("envbuild.image-key") != key else _known(workshop, tag, image)


def pulled(workshop: Workshop, key: str, repository: str) -> EnvironmentImage | None:
    """The image of a key from a registry; ``None`` where that has none.

    :raises RegistryUnreachable: it does not answer.
    """
    name = f"{repository}:{key}"
    try:
        workshop.daemon.pull(name, None, workshop.report)
    except RegistryRefused:
        return None
    image = workshop.daemon.find(name)
    if image is None or image.labels.get("envbuild.image-key") != key:
        raise ImageError(f"{name} is not the image that its name says", hint="who may push to that repository?")
    workshop.daemon.tag(name, f"{REPOSITORY}:{key}")
    made = _known(workshop, f"{REPOSITORY}:{key}", image)
    return replace(made, origin="pulled")


def _known(workshop: Workshop, tag: str, image: Found) -> EnvironmentImage:
    return EnvironmentImage(
        key=image.labels["envbuild.image-key"],
        tag=tag,
        id=image.id,
        config=workshop.daemon.config_of(image),
        origin="local",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentOrder:
    """What an environment image is built from."""

    key: str
    ground: Ground
    lock: Lock
    ready: Lock
    """The same as it is built: a bundle's wheels stand in the place of what they were built from."""
    model: Path
    """Where the lock's local packages lie."""
    parts: frozenset[str]
    """Those that lie elsewhere, by the deployer's own word."""
    indexes: Indexes
    channels: tuple[str, ...] = field(default=(), repr=False)
    """conda's, by URL, with what lets one in."""


def build(workshop: Workshop, order: EnvironmentOrder) -> EnvironmentImage:
    """Build the image of a key.

    :raises BuildError: it cannot be built.
    """
    tag, ground = f"{REPOSITORY}:{order.key}", order.ground
    with (
        tempfile.TemporaryDirectory(prefix="envbuild-image-") as name,
        # As long as it is there, the daemon has its layers, and the environment's alone is sent.
        workshop.stage(ground.config(), ground.parts, ground.base),
    ):
        layer, marker = _environment_layer(workshop, order, Path(name))
        part = Part(kind="environment", layer=layer, what=f"the environment of the lock {order.lock.hash}")
        config = _config(order, part, marker)
        workshop.report(Step("loading", "the environment into the daemon", bytes=layer.size))
        workshop.load(config, [tag], [*ground.parts, part], ground.base)
        workshop.report(Step("loading", "the environment into the daemon", done=True, bytes=layer.size))
    return EnvironmentImage(key=order.key, tag=tag, id=config.id, config=config, origin="built")


def _config(order: EnvironmentOrder, part: Part, marker: Marker) -> ImageConfig:
    ground = order.ground
    environ = {line.partition("=")[0]: line for line in (_SYSTEM_PATH, *ground.base.image.environ)}
    environ["PATH"] = f"PATH={ENVIRONMENT}/bin:{environ['PATH'].partition('=')[2]}"
    return ground.config(
        [part],
        user=f"{USER_ID}:{USER_ID}",
        environ=tuple(environ.values()),
        entrypoint=(PYTHON, "-I", "-m", "envbuild.server"),
        command=("serve",),
        directory=USER_HOME,
        port=PORT,
        health=(PYTHON, "-I", "-m", "envbuild.server", "health"),
        labels=_labels(order, marker),
    )


def _labels(order: EnvironmentOrder, marker: Marker) -> dict[str, str]:
    ground, lock = order.ground, order.lock
    labels = {
        "org.opencontainers.image.title": REPOSITORY,
        "org.opencontainers.image.created": ground.config().created,
        "org.opencontainers.image.base.name": ground.base.reference,
        "org.opencontainers.image.base.digest": ground.base.digest,
        "envbuild.image-key": order.key,
        "envbuild.lock-hash": lock.hash,
        "envbuild.manifest": marker.manifest,
        "envbuild.python": ground.python.version,
    }
    brought = lock.provided
    names = ("mlflow", "mlflow-skinny")
    mlflow = next((found for name in names if (found := lock.version_of(name) or brought.get(name))), None)
    return labels if mlflow is None else {**labels, "envbuild.mlflow-version": mlflow}


def _environment_layer(workshop: Workshop, order: EnvironmentOrder, folder: Path) -> tuple[Layer, Marker]:
    """Build the environment in a container, and make a layer of it; conda's packages are put into a prefix before."""
    with prefix.staged(workshop, order.ready, order.channels) as members:
        return _with_tools(workshop, order, members, folder)


def _with_tools(
    workshop: Workshop, order: EnvironmentOrder, members: Sequence[Member], folder: Path
) -> tuple[Layer, Marker]:
    """Build it with what the build lacks of the system, as far as its words say that."""
    git = any(package.kind == "vcs" for package in order.ready.packages)
    ground = with_tools(workshop, order.ground, ("git",)) if git else order.ground
    try:
        return _built_by_uv(workshop, order, ground, members, folder)
    except SdistFailed as error:
        tools = system_packages.to_build_with(error.hint)
        if not tools or workshop.settings.offline:
            raise
        workshop.report(Step("building", f"once more, with {', '.join(tools)}"))
        return _built_by_uv(workshop, order, with_tools(workshop, ground, tools), members, folder)
    except DownloadFailed as error:
        network = workshop.settings.build_network
        error.hint = f"{error.hint}; the building container's network is {network!r} (--network names another)"
        raise


def _built_by_uv(
    workshop: Workshop, order: EnvironmentOrder, ground: Ground, members: Sequence[Member], folder: Path
) -> tuple[Layer, Marker]:
    try:
        return _built(workshop, order, ground, members, folder)
    except BuildError as error:
        if order.lock.origin.engine == "pip" and not isinstance(error, DownloadFailed):
            said = "pip made this lock, and images are built by uv (docs/engines.md): a lock of --engine uv may do"
            error.hint = said if error.hint is None else f"{error.hint}; {said}"
        raise


def _built(
    workshop: Workshop, order: EnvironmentOrder, ground: Ground, members: Sequence[Member], folder: Path
) -> tuple[Layer, Marker]:
    daemon = workshop.daemon
    with (
        workshop.stage(ground.config(), ground.parts, ground.base) as stage,
        daemon.container(_box(workshop, stage, order)) as container,
    ):
        _furnish(workshop, container, order, members, folder)
        workshop.ask(container, _order(workshop, order))
        workshop.report(Step("packing", "the environment"))
        layer, marker = _packed(container, folder)
        workshop.report(Step("packing", "the environment", done=True, bytes=layer.size))
        return layer, marker


def _packed(container: Container, folder: Path) -> tuple[Layer, Marker]:
    """An environment as a layer, and its marker."""
    marker = _marker(container)
    path, above = folder / "environment.tar", str(ENVIRONMENT.parent)
    with (
        contextlib.suppress(ValueError),
        tarfile.open(fileobj=container.stream(str(ENVIRONMENT)), mode="r|") as archive,
    ):
        return rewrite_layer(path, archive, above), marker
    # In another order than daemons have it by habit, or with hard links: it is read whole before it is written.
    with spooled() as file:
        container.get(str(ENVIRONMENT), file)
        with tarfile.open(fileobj=file, mode="r:") as archive:
            members = [replace(member, owner=0) for member in archived(archive, above)]
            return write_layer(path, members, archive=archive), marker


def _marker(container: Container) -> Marker:
    with spooled() as file:
        if container.get(f"{ENVIRONMENT}/{MARKER}", file):
            with tarfile.open(fileobj=file, mode="r:") as archive:
                content = archive.extractfile(MARKER)
                marker = None if content is None else Marker.from_bytes(content.read())
            if marker is not None:
                return marker
    raise ImageError("the environment is not complete", hint="please report this")


def _box(workshop: Workshop, stage: str, order: EnvironmentOrder) -> Box:
    """The container that an environment is built in: as the user of our home, whose caches it shares."""
    home = workshop.settings.home
    mounts = {}
    # A bundle's files are looked for where they lie, and nowhere else.
    for name in ("uv", "bytecode", *(("files", "bundles") if order.indexes.alone else ())):
        (home / name).mkdir(parents=True, exist_ok=True)
        mounts[home / name] = f"{HOME}/{name}"
    network = "none" if workshop.settings.offline else workshop.settings.build_network
    return Box(
        image=stage, command=INSIDE, user=_user(workshop), network=network, mounts=mounts, memory_directories=(MEMORY,)
    )


def _user(workshop: Workshop) -> str:
    if workshop.daemon.is_rootless:
        return "0:0"
    facts = workshop.settings.home.stat()
    return f"{facts.st_uid}:{facts.st_gid}"


def _furnish(
    workshop: Workshop, container: Container, order: EnvironmentOrder, prefix_members: Sequence[Member], folder: Path
) -> None:
    """Put into a container what its program needs: uv, directories that it may write, and the model's own packages.

    :param prefix_members: what of the environment comes from conda's channels, at its place.
    """
    owner = int(_user(workshop).partition(":")[0])
    program = f"{Path(PYTHON).parent}/uv".lstrip("/")
    members = [
        Member(name=program, mode=0o755, source=Path(uv.binary())),
        Member(name=str(ENVIRONMENT).lstrip("/"), kind="directory", mode=0o755, owner=owner),
        Member(name=str(HOME).lstrip("/"), kind="directory", mode=0o755, owner=owner),
        Member(name=str(MODEL).lstrip("/"), kind="directory", mode=0o755, owner=owner),
        *_local_members(order),
        *(replace(member, owner=owner) for member in prefix_members),
    ]
    path = folder / "furniture.tar"
    write_layer(path, members, modes=order.ground.facts.modes)
    with open(path, "rb") as file:
        container.put("/", file)
    path.unlink()


def _local_members(order: EnvironmentOrder) -> Iterator[Member]:
    for path, source in local_parts(order.ready, order.model, order.parts):
        name = f"{MODEL}/{path}".lstrip("/")
        if source.is_dir():
            yield from tree(source, name)
        else:
            yield Member(name=name, source=source)


def local_parts(lock: Lock, model: Path, parts: frozenset[str]) -> Iterator[tuple[str, Path]]:
    """What a lock names inside a model, or by the deployer's word elsewhere: its path inside, and where it lies here.

    :raises ImageError: it is not there, or leads out of the model.
    """
    for package in lock.packages:
        if package.path is None:
            continue
        source = model / package.path
        inside = package.path in parts or source.resolve().is_relative_to(model.resolve())
        if not inside or not source.exists():
            raise ImageError(f"the model has no {package.path}, which its lock names", hint="copy the model whole")
        yield staged(package.path), source


def _order(workshop: Workshop, order: EnvironmentOrder) -> Mapping[str, Any]:
    """What the program inside is asked; it reaches it by standard input alone."""
    settings, indexes = workshop.settings, order.indexes.logged_in()
    environ, authorities = uv.network(indexes.ca)
    return {
        "verb": "build",
        "lock": write_lock(neutral(order.lock)),
        "ready": write_lock(neutral(order.ready)),
        "python": order.ground.python.to_dict(),
        "base": prefix.python_build(order.lock) or order.ground.base.image.id.removeprefix("sha256:")[:12],
        "environ": environ,
        "authorities": authorities,
        "indexes": {
            "main": indexes.main,
            "extra": indexes.extra,
            "find_links": [_inside(place, settings.home) for place in indexes.find_links],
            "alone": indexes.alone,
            "from_model": indexes.from_model,
            "strategy": indexes.strategy,
        },
        "client_cert": None if indexes.client_cert is None else Path(indexes.client_cert).read_text(encoding="utf-8"),
        "settings": {
            "offline": settings.offline,
            "no_build": settings.no_build,
            "build_timeout": settings.build_timeout,
            "repair": settings.repair,
            "allow_repair": settings.allow_repair,
            "deny_repair": settings.deny_repair,
        },
    }


def _inside(place: str, home: Path) -> str:
    """Where a place that holds files is seen inside: what lies in our home does so in the one there."""
    folder = Path(place)
    return f"{HOME}/{folder.relative_to(home)}" if folder.is_relative_to(home) else place


def neutral(lock: Lock) -> Lock:
    """A lock without what its hash does not cover: from which index, when, and why."""
    unhashed = any(package.kind in ("vcs", "directory") for package in lock.packages)
    origin = Origin(as_of=lock.origin.as_of if unhashed else "")
    conda = None if lock.conda is None else prefix.neutral(lock.conda)
    return replace(lock, packages=tuple(map(_neutral, lock.packages)), conda=conda, origin=origin)


def _neutral(package: LockedPackage) -> LockedPackage:
    package = replace(package, dependencies=(), path=None if package.path is None else staged(package.path))
    if package.kind not in ("wheel", "sdist"):
        return package
    return replace(package, url=package.file_name or package.name, uploaded=None, size=None)
