"""The base: which image an environment's image is built on, by which digest, and what is in it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from envbuild import process, uv
from envbuild.errors import BaseImageUnusable, EnvbuildError, UsageError
from envbuild.images.container import Box, spooled
from envbuild.images.daemon import Daemon, Found
from envbuild.images.shelf import Shelf
from envbuild.interpreters import Interpreter, fits
from envbuild.progress import Report
from envbuild.settings import PythonPolicy, Settings

# Debian's stable release of today: docs/images.md has the reasons, and the table of both defaults.
PLAIN = "debian:trixie-slim"
# Where a portable build of the model's Python is put, in a base that has none.
PYTHON_PLACE = "/opt/python"
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A base image that the daemon has."""

    reference: str
    """As it was asked for."""
    digest: str
    """Of its registry's manifest; where it came from none, its image ID."""
    image: Found


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was found in a base, by looking at it from the inside."""

    platform: str
    """The newest platform tag (PEP 600) that it installs."""
    system: str
    pythons: tuple[Interpreter, ...]
    packages: Mapping[str, str]
    """Debian's packages by name, with their versions."""
    certificates: bool
    users: str
    groups: str
    modes: Mapping[str, int]
    """Of the directories that layers of ours have members below."""

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Facts:
        """Facts as the program inside, or a note, says them.

        :raises KeyError: they are not whole.
        """
        return cls(
            platform=content["platform"],
            system=content["system"],
            pythons=tuple(Interpreter(**known) for known in content["pythons"]),
            packages=dict(content["packages"]),
            certificates=bool(content["certificates"]),
            users=content["users"],
            groups=content["groups"],
            modes={name: int(mode) for name, mode in content["modes"].items()},
        )

    def python(self, demanded: str, policy: PythonPolicy) -> Interpreter | None:
        """The interpreter for a version, if there is one: the very version first, else what the policy takes."""
        near = [found for found in self.pythons if fits(found.version, demanded, policy)]
        return min(near, key=lambda found: (found.version != demanded, found.executable), default=None)


def default_reference(python: str, *, downloads: bool, brought: bool = False) -> str:
    """The base for a Python where none was named: see the table in docs/images.md.

    :param downloads: whether a portable build may be fetched.
    :param brought: whether the environment brings the Python itself.
    """
    if brought or (downloads and has_portable_build(python)):
        return PLAIN
    return f"python:{python}-slim"


def has_portable_build(python: str) -> bool:
    """Whether uv knows a portable build of a version; asked without any network."""
    arguments = ["python", "list", python, "--only-downloads", "--all-versions", "--output-format", "json"]
    done = process.run([uv.binary(), *arguments, "--no-config", "--offline"], env={"HOME": "/nonexistent"})
    try:
        known = json.loads(done.stdout)
    except ValueError:
        return False
    return any(fits(entry["version"], python, "exact") for entry in known)


def resolve(
    daemon: Daemon, shelf: Shelf, reference: str, kept_as: str, settings: Settings, options: BaseOptions, report: Report
) -> Base:
    """A base by its name: the digest that the name had when it was first used for this lock, unless told otherwise.

    :param kept_as: what the digest is kept under.
    :raises BaseImageUnusable: it is not here, and cannot be had.
    """
    note = shelf.note(f"base-{kept_as}")
    known = None if options.update else note.read()
    if known is not None and (found := daemon.find(known["image"])) is not None:
        return _checked(Base(reference=reference, digest=known["digest"], image=found), options)
    exact = _exact(reference, known)
    found = None if options.update and not _DIGEST.search(reference) else daemon.find(exact)
    if found is None:
        found = _fetched(daemon, exact, reference, settings, options, report)
    base = _checked(Base(reference=reference, digest=_digest_of(found, exact), image=found), options)
    if known is not None and known["digest"] != base.digest:
        raise BaseImageUnusable(
            f"{reference} is not the image any more that this lock was built on ({known['digest'][:19]})",
            hint="--update-base takes the one of today",
        )
    with shelf.explained():
        note.write({"reference": reference, "digest": base.digest, "image": found.id})
    return base


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseOptions:
    """How a base is looked for."""

    platform: str | None = None
    """``linux/amd64``; ``None``: the daemon's own."""
    update: bool = False
    """Ask again what a name means today."""


def _exact(reference: str, known: Mapping[str, Any] | None) -> str:
    """What to ask for: the kept digest where there is one that a registry knows."""
    if known is None or not known["digest"].startswith("sha256:") or known["digest"] == known["image"]:
        return reference
    repository = re.sub(r"(@sha256:[0-9a-f]+|:[\w.-]+)$", "", reference)
    return f"{repository}@{known['digest']}"


def _fetched(
    daemon: Daemon, exact: str, reference: str, settings: Settings, options: BaseOptions, report: Report
) -> Found:
    local = daemon.find(exact)
    if settings.offline:
        if local is not None:
            return local
        raise BaseImageUnusable(
            f"the base {reference} is not here, and the network is not to be used", hint=f"docker pull {reference}"
        )
    try:
        daemon.pull(exact, options.platform, report)
    except EnvbuildError as error:
        # What was made here, and never came from a registry, is its own newest.
        if local is not None and not local.digests:
            return local
        raise BaseImageUnusable(
            f"the base {reference} cannot be had: {error.message}",
            hint=error.hint or "--base-image names another",
            details=error.details,
        ) from error
    found = daemon.find(exact)
    if found is None:
        raise BaseImageUnusable(f"{exact} was pulled and is not there")
    return found


def _digest_of(found: Found, asked: str) -> str:
    """The digest that the registry of the name asked for knows an image by; of one from nowhere, its ID."""
    if (match := _DIGEST.search(asked)) is not None:
        return match.group().lstrip("@")
    repository = re.sub(r":[\w.-]+$", "", asked)
    known = sorted(digest for digest in found.digests if digest.partition("@")[0] == repository)
    return known[0].partition("@")[2] if known else found.id


def _checked(base: Base, options: BaseOptions) -> Base:
    if base.image.os != "linux":
        raise BaseImageUnusable(f"{base.reference} is for {base.image.os}; images are made for Linux")
    if options.platform is not None:
        wanted = options.platform.split("/")
        if len(wanted) < 2 or wanted[0] != "linux":
            raise UsageError(f"--platform is {options.platform!r}", hint="write linux/amd64 or linux/arm64")
        if base.image.architecture != wanted[1]:
            raise BaseImageUnusable(
                f"{base.reference} is here for {base.image.architecture}, not for {wanted[1]}",
                hint="--update-base pulls it again",
            )
    return base


def refuse_musl(daemon: Daemon, base: Base) -> None:
    """Look for another C library than locks are made for.

    :raises BaseImageUnusable: it is there.
    """
    box = Box(image=base.image.id, command=["/bin/true"])
    with daemon.container(box) as container, spooled() as file:
        for machine in ("x86_64", "aarch64"):
            if container.get(f"/lib/ld-musl-{machine}.so.1", file):
                raise BaseImageUnusable(
                    f"{base.reference} has musl as its C library, and the lock's wheels are for glibc",
                    hint="take a base with glibc, such as a -slim image in place of an -alpine one",
                )
