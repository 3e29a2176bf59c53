"""The workshop: where images are made. A daemon, a shelf and the settings of one call; images loaded, containers asked."""

from __future__ import annotations

import contextlib
import json
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from envbuild import process
from envbuild.errors import BaseImageUnusable, DockerUnavailable, ImageError, error_from
from envbuild.images.base import Base
from envbuild.images.config import Content, ImageConfig, archive, unpacked
from envbuild.images.container import Container, Ended, spooled
from envbuild.images.daemon import STAGES, Daemon
from envbuild.images.layer import Layer
from envbuild.images.shelf import Shelf
from envbuild.progress import Report, Step
from envbuild.settings import Settings

_NOT_STARTED = (126, 127)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A layer of ours, and what it is in words."""

    kind: Literal["python", "users", "server", "debian", "environment", "model"]
    layer: Layer
    what: str


class Workshop:
    """Where images are made: a daemon, a shelf, and the settings of one call."""

    def __init__(self, daemon: Daemon, shelf: Shelf, settings: Settings, report: Report) -> None:
        self.daemon = daemon
        self.shelf = shelf
        self.settings = settings
        self.report = report

    def load(self, config: ImageConfig, tags: Sequence[str], parts: Sequence[Part], base: Base) -> None:
        """Load an image of which the daemon has the base."""
        self._load(config, tags, [_content(part.layer) for part in parts], base.image.id)

    def load_upon(self, config: ImageConfig, tags: Sequence[str], part: Part, below: str) -> None:
        """Load an image that is one of the daemon's and one layer more."""
        self._load(config, tags, [_content(part.layer)], below)

    def _load(self, config: ImageConfig, tags: Sequence[str], own: Sequence[Content], below: str) -> None:
        before = [self.daemon.find(tag) for tag in tags]
        self._send(config, tags, own, below)
        for found in before:
            self.daemon.remove_nameless(found)

    def _send(self, config: ImageConfig, tags: Sequence[str], own: Sequence[Content], below: str) -> None:
        # Which layers a daemon has can only be found out by trying; those that it has are not sent.
        for contents in ([], own[-1:], own):
            try:
                self.daemon.load(archive(config, tags, contents))
            except DockerUnavailable:
                raise
            except ImageError:
                continue
            return
        with spooled() as file, tempfile.TemporaryDirectory(prefix="envbuild-image-") as name:
            self.daemon.save(below, file)
            saved = list(unpacked(file, Path(name)))
            self.daemon.load(archive(config, tags, [*saved, *own]))

    @contextlib.contextmanager
    def stage(self, ground_config: ImageConfig, parts: Sequence[Part], base: Base) -> Iterator[str]:
        """A ground as an image, as long as something is made on it."""
        name = f"{STAGES}:{process.identity()}-{secrets.token_hex(6)}"
        try:
            self.load(ground_config, [name], parts, base)
            yield name
        finally:
            self.daemon.forget(name)

    def ask(self, container: Container, order: Mapping[str, Any]) -> Mapping[str, Any]:
        """Have the program inside a container do something.

        :raises EnvbuildError: what it could not do.
        """
        answers: list[Mapping[str, Any]] = []

        def hear(line: str) -> None:
            said = json.loads(line) if line.startswith("{") else {}
            if "step" in said:
                self.report(Step(**said["step"]))
            elif said:
                answers.append(said)

        ended = container.run(json.dumps(order).encode(), hear)
        if answers and "error" in answers[-1]:
            raise error_from(answers[-1]["error"])
        if not answers or ended.status != 0:
            raise _broken(ended)
        done: Mapping[str, Any] = answers[-1]["done"]
        return done


def _content(layer: Layer) -> Content:
    return Content(diff_id=layer.diff_id, size=layer.size, path=layer.path)


def _broken(ended: Ended) -> ImageError:
    said = ended.stderr.strip().splitlines()
    words = said[-1][:300] if said else f"exit status {ended.status}"
    if (
        ended.status in _NOT_STARTED
        or "error while loading shared libraries" in ended.stderr
        or "GLIBC_" in ended.stderr
    ):
        return BaseImageUnusable(
            f"the HTTP side's Python does not run in this base: {words}",
            hint="it may need a system library (--apt), or a portable build: ENVBUILD_SERVER_PYTHON=3.13",
            details=said[-12:],
        )
    return ImageError(f"a building container failed: {words}", details=said[-12:])
