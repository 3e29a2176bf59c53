"""What can be compared, read: a model, a lock file, an environment, an image, an override file.

==================================  ==============================================================================
a model's directory                 its lock: kept, beside it, or made now
``pylock.toml``, ours or foreign    what it says; a foreign one as the other side's Python installs it
``conda-lock.yml``, likewise        what it says; a foreign one as the other side's platform installs it
an environment's directory or hash  the lock that it was built from
an image                            the lock in it, read without running anything
an override file                    a model's lock under it; two of them without any model: what each says
==================================  ==============================================================================
"""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envbuild import environments, locations, pipeline, target
from envbuild.conda_lock.reading import is_ours, read_conda_lock_file
from envbuild.errors import BuildError, DockerUnavailable, ImageError, LockInvalid, UsageError
from envbuild.lock import Lock, read_kept
from envbuild.lock_files import form_of_name
from envbuild.model import MLMODEL, Notice
from envbuild.override.merging import settings_from
from envbuild.progress import Report, Step, silent
from envbuild.pylock import read_lock_file
from envbuild.review import difference
from envbuild.review.difference import Difference, Side, SideKind
from envbuild.review.entries import side_of_override
from envbuild.settings import Settings
from envbuild.store import MARKER
from envbuild.store.lockfile import PYLOCK, kept_lock
from envbuild.target import Target

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_CAN_BE = (
    "a model's directory",
    "a lock file (pylock.toml, pylock.NAME.toml, conda-lock.yml, NAME-lock.yml)",
    "an environment: its directory, or its lock hash or the beginning of it",
    "an image's name",
    "an override file (NAME.yaml)",
)
_OVERRIDE_ENDINGS = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """What the caller named, and what kind of thing it is."""

    text: str
    kind: SideKind

    @property
    def path(self) -> Path:
        """For what lies on the disk."""
        return Path(self.text).expanduser()


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A side, and what the one who deploys should know of it."""

    side: Side
    notices: tuple[Notice, ...] = ()


def between(
    a: str | Path, b: str | Path, given: Mapping[str, Any], model: str | Path | None = None, report: Report = silent
) -> Difference:
    """What differs between two things that lead to an environment, from ``a`` to ``b``.

    :param given: the settings of the call, for models that must be locked.
    :param model: the model that an override file is taken for; by default the other side, where that is a model.
    :raises UsageError: one of them is nothing that can be compared, or an override file has no model.
    :raises ModelError: a directory's MLmodel is none.
    :raises LockError: a model cannot be locked, or a lock cannot be read.
    :raises BuildError: an environment or an image cannot be read.
    """
    operands = (operand(str(a)), operand(str(b)))
    of_model = next((one.text for one in operands if one.kind == "model"), None) if model is None else str(model)
    if of_model is None and all(one.kind == "override" for one in operands):
        before, after = (side_of_override(one.path, one.text) for one in operands)
        return difference.of(before, after)
    reader = _Reader(given, of_model, report)
    # A foreign lock holds files for many Pythons: it is read for that of the other side.
    last = max((0, 1), key=lambda number: _is_foreign(operands[number]))
    first = reader.read(operands[1 - last], None)
    second = reader.read(operands[last], first.side)
    one, other = (first, second) if last == 1 else (second, first)
    return difference.of(one.side, other.side, tuple(dict.fromkeys((*one.notices, *other.notices))))


def operand(text: str) -> Operand:
    """What a text names.

    :raises UsageError: nothing that can be compared.
    """
    if not text.strip():
        raise _nothing("an empty name was given")
    if locations.is_elsewhere(text):
        return Operand(text=text, kind="model")
    path = Path(text).expanduser()
    if path.is_dir():
        if not (path / MLMODEL).exists() and not (path / MARKER).exists():
            raise _nothing(f"{text} is a directory with neither an MLmodel nor an environment in it")
        return Operand(text=text, kind="model" if (path / MLMODEL).exists() else "environment")
    if path.is_file():
        if path.name == MLMODEL:
            return Operand(text=text, kind="model")
        if path.suffix not in (".toml", *_OVERRIDE_ENDINGS):
            raise _nothing(f"{text} is neither a lock nor an override file, by its name")
        is_lock = path.suffix == ".toml" or form_of_name(path) == "conda-lock"
        return Operand(text=text, kind="lock" if is_lock else "override")
    named_as_path = text.startswith((".", "/", "~")) or path.suffix in (".toml", *_OVERRIDE_ENDINGS)
    if named_as_path or any(letter.isspace() for letter in text):
        raise _nothing(f"there is no {text}")
    return Operand(text=text, kind="image" if environments.is_image(text) else "environment")


class _Reader:
    """Reads sides with one call's settings."""

    def __init__(self, given: Mapping[str, Any], model: str | None, report: Report) -> None:
        self._given = given
        self._model = model
        self._report = report

    def read(self, one: Operand, other: Side | None) -> Read:
        """One side.

        :param other: the other one, where it is known already.
        """
        if one.kind == "model":
            return self._locked(one.text, one, {})
        if one.kind == "override":
            if self._model is None:
                raise UsageError(
                    f"{one.text} is an override file, and there is no model that it could change",
                    hint="name the model with --model, or compare it with a model or another override file",
                )
            return self._locked(f"{self._model} with {one.text}", one, {"override": one.path})
        if one.kind == "lock":
            return Read(side=_lock_side(one, other))
        lock = self._image_lock(one.text) if one.kind == "image" else self._environment_lock(one)
        return Read(side=difference.side_of_lock(lock, one.text, one.kind))

    def _settings(self, more: Mapping[str, Any]) -> Settings:
        return settings_from({**self._given, **more})

    def _locked(self, label: str, one: Operand, more: Mapping[str, Any]) -> Read:
        model = one.text if one.kind == "model" else self._model or ""
        settings = self._settings(more)
        asked = pipeline.ask(model, settings, self._report, whole=False)
        locked = pipeline.lock(asked, settings, self._report)
        return Read(side=difference.side_of_lock(locked.lock, label, one.kind), notices=locked.notices)

    def _environment_lock(self, one: Operand) -> Lock:
        if one.path.is_dir():
            places = [one.path]
        else:
            try:
                places = [kept.path for kept in environments.named(one.text, self._settings({}))]
            except UsageError as error:
                raise UsageError(error.message, hint=error.hint, details=_CAN_BE) from error
        lock = next(filter(None, map(kept_lock, places)), None)
        if lock is None:
            raise BuildError(
                f"the lock of the environment {one.text} cannot be read",
                hint="envbuild verify --repair builds it again",
            )
        return lock

    def _image_lock(self, reference: str) -> Lock:
        from envbuild.images.container import Box, spooled
        from envbuild.images.daemon import Daemon
        from envbuild.images.inside import ENVIRONMENT
        from envbuild.images.reference import Reference

        try:
            Reference.parse(reference)
        except UsageError as error:
            raise _nothing(f"{reference} is nothing on this disk, and no image's name: {error.message}") from error
        try:
            daemon = Daemon.connect()
        except DockerUnavailable as error:
            message = f"{reference} is nothing on this disk, and may be an image; {error.message}"
            raise DockerUnavailable(message, hint=error.hint, details=_CAN_BE) from error
        with daemon:
            image = daemon.find(reference)
            if image is None:
                raise _nothing(f"{reference} is nothing on this disk, and the Docker daemon has no image of that name")
            if "envbuild.lock-hash" not in image.labels:
                raise ImageError(f"{reference} has no label envbuild.lock-hash: envbuild has not made it")
            self._report(Step("building", f"reading {reference}"))
            # A container that is made and never started.
            with daemon.container(Box(image=image.id, command=["/bin/true"])) as container, spooled() as file:
                if not container.get(str(ENVIRONMENT / PYLOCK), file):
                    raise ImageError(f"{reference} has no {ENVIRONMENT / PYLOCK}", hint="envbuild image makes it again")
                with tarfile.open(fileobj=file, mode="r:") as archive:
                    text = _only_file(archive)
        return read_kept(text, f"{reference}:{ENVIRONMENT / PYLOCK}")


def _only_file(archive: tarfile.TarFile) -> str:
    member = next((one for one in archive if one.isfile()), None)
    content = None if member is None else archive.extractfile(member)
    return "" if content is None else content.read().decode("utf-8", "replace")


def _lock_side(one: Operand, other: Side | None) -> Side:
    """A lock file as a side: ours for whatever Python and target it is, a foreign one for those of the other side."""
    if form_of_name(one.path) == "conda-lock":
        foreign = _is_foreign(one)
        _, wanted = _python_for({}, other)
        lock = read_conda_lock_file(one.path, wanted if foreign else None)
        return difference.side_of_lock(lock, one.text, foreign=foreign)
    content = _content(one.path)
    table = content.get("tool", {}).get("envbuild") if isinstance(content.get("tool", {}), dict) else None
    if isinstance(table, dict):
        try:
            stated = str(table["python"]), Target(str(table["python-tag"]), str(table["platform"]))
        except KeyError as error:
            raise LockInvalid(f"the lock's table [tool.envbuild] is damaged: it has no {error}") from error
        return difference.side_of_lock(read_lock_file(one.path, *stated), one.text)
    python, wanted = _python_for(content, other)
    return difference.side_of_lock(read_lock_file(one.path, python, wanted), one.text, foreign=True)


def _python_for(content: Mapping[str, Any], other: Side | None) -> tuple[str, Target]:
    """What a foreign lock is read for."""
    if other is not None and other.python is not None and other.target is not None:
        tag, _, platform = other.target.partition("-")
        return other.python, Target(tag, platform)
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    running = ".".join(map(str, sys.version_info[:2]))
    try:
        allowed = SpecifierSet(str(content.get("requires-python", "")))
    except InvalidSpecifier:
        allowed = SpecifierSet()
    minors = (running, *(f"3.{minor}" for minor in range(6, 20)))
    python = next((one for one in minors if any(allowed.contains(f"{one}.{patch}") for patch in range(30))), running)
    return python, target.here(python)


def _is_foreign(one: Operand) -> bool:
    if one.kind != "lock":
        return False
    if form_of_name(one.path) == "conda-lock":
        return not is_ours(one.path)
    tool = _content(one.path).get("tool", {})
    return not (isinstance(tool, dict) and "envbuild" in tool)


def _content(path: Path) -> Mapping[str, Any]:
    """What a lock file holds; nothing where it cannot be read: whoever reads it as a lock says why."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}


def _nothing(message: str) -> UsageError:
    return UsageError(message, hint="diff compares any two of the following", details=_CAN_BE)
