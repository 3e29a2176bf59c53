"""The ground of an environment's image: the base, and every layer between it and the environment."""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from envbuild import uv
from envbuild.errors import BaseImageUnusable, ImageError
from envbuild.images import apt, portable
from envbuild.images.base import PYTHON_PLACE, Base, Facts, refuse_musl
from envbuild.images.config import History, ImageConfig
from envbuild.images.container import Box
from envbuild.images.layer import Layer, Member, tree, write_layer
from envbuild.images.server_layer import PLACE, PYTHON, ServerLayer
from envbuild.images.shelf import short_digest
from envbuild.images.workshop import Part, Workshop
from envbuild.interpreters import Interpreter, probe
from envbuild.progress import Step

USER, USER_ID, USER_HOME = "model", 10001, "/home/model"
INSIDE = (PYTHON, "-I", "-m", "envbuild.images.inside")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What an environment is put on."""

    base: Base
    facts: Facts
    python: Interpreter
    """The model's Python, as it is seen inside."""
    parts: tuple[Part, ...]
    """From the lowest to the topmost."""
    packages: Mapping[str, str] = field(default_factory=dict)
    """The Debian packages that were put on the base."""

    def config(self, more: Sequence[Part] = (), **facts: Any) -> ImageConfig:
        """A config with the base's layers, the ground's, and more.

        :param facts: the fields of :class:`ImageConfig` that differ from the base's.
        """
        image = self.base.image
        history = [History(diff_id=diff_id, created_by=f"base {self.base.digest}") for diff_id in image.diff_ids]
        history += [History(diff_id=part.layer.diff_id, created_by=part.what) for part in (*self.parts, *more)]
        known = {"architecture": image.architecture, "os": image.os, "created": created(image.created)}
        return ImageConfig(**{**known, "environ": image.environ, **facts}, layers=tuple(history))


def created(text: str) -> str:
    """A base's date as ours: to the second, since daemons differ in how they write what is below."""
    return f"{text[:19]}Z" if len(text) >= len("2026-01-01T00:00:00") else "1980-01-01T00:00:00Z"


def found_out(workshop: Workshop, base: Base, server: ServerLayer, python: str) -> Facts:
    """What is in a base: looked at once, and noted."""
    note = workshop.shelf.note(f"facts-{short_digest([base.image.id, server.layer.diff_id, python])}")
    if (known := note.read()) is not None:
        with contextlib.suppress(KeyError, TypeError):
            return Facts.from_dict(known)
    workshop.report(Step("building", f"looking into {base.reference}"))
    refuse_musl(workshop.daemon, base)
    parts = [Part(kind="server", layer=server.layer, what="the HTTP side")]
    config = Ground(base=base, facts=NO_FACTS, python=server.interpreter, parts=tuple(parts)).config()
    with (
        workshop.stage(config, parts, base) as stage,
        workshop.daemon.container(Box(image=stage, command=INSIDE)) as box,
    ):
        said = workshop.ask(box, {"verb": "probe", "python": python})
    with workshop.shelf.explained():
        note.write(dict(said))
    return Facts.from_dict(said)


NO_FACTS = Facts(platform="", system="", pythons=(), packages={}, certificates=False, users="", groups="", modes={})


def ground(
    workshop: Workshop,
    base: Base,
    facts: Facts,
    server: ServerLayer,
    demanded: Demanded,
) -> Ground:
    """The ground for a lock, its layers from the shelf or made now.

    :raises BaseImageUnusable: the base has not the Python that is demanded, and none can be put into it.
    """
    python = demanded.brought or facts.python(demanded.python, workshop.settings.python_policy)
    parts = []
    if python is None:
        layer, python = _portable(workshop, base, demanded)
        parts.append(Part(kind="python", layer=layer, what=f"Python {python.version} at {PYTHON_PLACE}"))
    parts.append(Part(kind="users", layer=_users(workshop, facts), what=f"the user {USER} ({USER_ID})"))
    parts.append(Part(kind="server", layer=server.layer, what=f"the HTTP side at {PLACE}"))
    names = {name for name in demanded.packages if name not in facts.packages}
    if not facts.certificates:
        names.add("ca-certificates")
    known = Ground(base=base, facts=facts, python=python, parts=tuple(parts))
    if not names:
        return known
    part, packages = _apt(workshop, known, names, "Debian", update=demanded.update)
    return replace(known, parts=(*parts, part), packages=packages)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demanded:
    """What an environment needs to stand on."""

    python: str
    interpreter: Interpreter | None
    """The one on this machine that was named by its path: it may be copied."""
    packages: tuple[str, ...]
    """Debian's."""
    brought: Interpreter | None = None
    """The one that the environment brings itself, as it is seen inside: none is looked for below it."""
    update: bool = False
    """Take the packages of today."""


def with_tools(workshop: Workshop, known: Ground, names: tuple[str, ...]) -> Ground:
    """A ground with more Debian packages, to build on and not to run."""
    missing = {name for name in names if name not in known.facts.packages}
    part, _ = _apt(workshop, known, missing, "tools", update=False)
    return replace(known, parts=(*known.parts, part))


def _portable(workshop: Workshop, base: Base, demanded: Demanded) -> tuple[Layer, Interpreter]:
    """A Python of this machine as a layer: the one that was named, or a portable build that uv fetches."""
    source = demanded.interpreter
    settings = workshop.settings
    if source is None and settings.python_downloads and not settings.offline:
        path = uv.managed_python(demanded.python, settings, workshop.report)
        source = None if path is None else probe(path)
    if source is None:
        raise BaseImageUnusable(
            f"{base.reference} has no Python {demanded.python}",
            hint=f"--base-image python:{demanded.python}-slim, or another that has it on its PATH; "
            "--python with a path copies one from here",
        )
    program = hashlib.sha256(Path(source.executable).read_bytes()).hexdigest()
    inside = Interpreter(
        executable=f"{PYTHON_PLACE}/bin/python{source.minor}",
        version=source.version,
        abi=source.abi,
        platform=source.platform,
    )

    def make(path: Path) -> Layer:
        workshop.report(Step("packing", f"Python {source.version}"))
        with tempfile.TemporaryDirectory(prefix="envbuild-python-") as name:
            root = Path(name) / "python"
            portable.copied(source, root, PYTHON_PLACE, headers=True, timeout=settings.build_timeout)
            return write_layer(path, tree(root, PYTHON_PLACE.lstrip("/")))

    layer = workshop.shelf.layer(f"python-{short_digest([source.key, program])}", make, workshop.report)
    return layer, inside


def _users(workshop: Workshop, facts: Facts) -> Layer:
    """The base's users, and ours without privileges."""
    users, groups = facts.users, facts.groups
    if f":{USER_ID}:" not in users:
        users = f"{users.rstrip()}\n{USER}:x:{USER_ID}:{USER_ID}::{USER_HOME}:/usr/sbin/nologin\n".lstrip("\n")
    if f":{USER_ID}:" not in groups:
        groups = f"{groups.rstrip()}\n{USER}:x:{USER_ID}:\n".lstrip("\n")
    members = [
        Member(name="etc/passwd", source=users.encode("utf-8", "surrogateescape")),
        Member(name="etc/group", source=groups.encode("utf-8", "surrogateescape")),
        Member(name=USER_HOME.lstrip("/"), kind="directory", mode=0o755, owner=USER_ID),
    ]
    name = f"users-{short_digest([users, groups, dict(facts.modes)])}"
    return workshop.shelf.layer(name, lambda path: write_layer(path, members, modes=facts.modes), workshop.report)


def _apt(
    workshop: Workshop, below: Ground, wanted: Collection[str], what: str, *, update: bool
) -> tuple[Part, Mapping[str, str]]:
    """Debian packages as a layer, from the shelf or installed now; and all that came with them."""
    names = tuple(sorted(wanted))
    # What a layer holds depends on what lies below it: another Debian package may have brought half of it.
    under = [below.base.digest, *(part.layer.diff_id for part in below.parts if part.kind == "debian")]
    name = apt.kept_name(" ".join(under), names)
    installed = None if update else apt.kept(workshop.shelf, name)
    if installed is None and workshop.settings.offline:
        raise ImageError(
            f"Debian packages are needed ({', '.join(names)}), and the network is not to be used",
            hint="run once without --offline, or take a base that has them",
        )
    if installed is None:
        versions = {} if update else apt.pinned(workshop.shelf, name)
        installed = _install(workshop, below, name, versions or dict.fromkeys(names))
    return Part(kind="debian", layer=installed.layer, what=f"{what}: {' '.join(names)}"), installed.packages


def _install(workshop: Workshop, below: Ground, name: str, wanted: Mapping[str, str | None]) -> apt.Installed:
    """Install packages in a container, of the versions that are given where they are."""
    environ, _ = uv.network()
    with (
        workshop.stage(below.config(), below.parts, below.base) as stage,
        workshop.daemon.container(
            Box(image=stage, command=INSIDE, network=workshop.settings.build_network)
        ) as container,
    ):
        said = workshop.ask(container, {"verb": "apt", "packages": dict(wanted), "environ": environ})
        return apt.keep(workshop.shelf, name, container, said["packages"], workshop.report)
