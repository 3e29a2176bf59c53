"""The settings of a call, and what is changed of the spec.

What counts, first to last: the options of the call, the override file, the curated environment, ``ENVBUILD_*``, the
defaults. Lists of the call and of its files add up. The call and its override file are one word of one deployer: where
they say different things, that is an error.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from envbuild.errors import Place, UsageError
from envbuild.redaction import redacted, without_userinfo
from envbuild.settings import OVERRIDES, Settings

# What reads files is imported where there is one: every call comes by here.
if TYPE_CHECKING:
    from envbuild.document import Node
    from envbuild.lock import Change
    from envbuild.override.file import OverrideFile
    from envbuild.spec import Replacement

_LINES = ("set", "add", "remove")
_ADD_UP = ("only_binary", "no_binary", "extra_index_url", "find_links", "allow_repair", "deny_repair")
# What is written in full elsewhere in the record, or stands for it.
_SOURCES = ("constraint", "requirements", "conda_env")
_NOT_RECORDED = (*_LINES, *_SOURCES, "override", "lock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What the deployer changes of a spec, from the command line and from files."""

    changes: tuple[Change, ...] = ()
    """Of single packages: ``set``, ``add``, ``remove``."""
    constraints: tuple[Path | Node, ...] = ()
    instead: Replacement | None = None
    record: tuple[Change, ...] = ()
    """Everything, for the lock and the eye; without secrets, and without this machine's paths."""
    expand: Mapping[str, str] = field(default_factory=dict)
    """The variables that the deployer's own lines may name."""


def settings_from(given: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> Settings:
    """The settings of a call, with those of the files that it names.

    :param given: settings by name; ``None`` stands for one that is not given.
    :raises UsageError: one of them cannot be understood, or two contradict each other.
    """
    stated = {name: value for name, value in given.items() if value is not None}
    settings = Settings.from_environ(environ, **stated)
    if settings.override is not None:
        from envbuild.override import file

        stated = _with_file(stated, file.read(settings.override), settings)
        settings = Settings.from_environ(environ, **stated)
    if settings.environment is not None:
        from envbuild.override import curated
        from envbuild.override.values import is_path

        found = curated.find(settings.environment, settings)
        # From now on this very version, whatever is published meanwhile.
        exact = settings.environment if is_path(settings.environment) else f"{found.name}:{found.version}"
        stated = {**_added_up(found.given, stated), "environment": exact}
        settings = Settings.from_environ(environ, **stated)
    _check(settings)
    return settings


def _with_file(stated: dict[str, Any], read: OverrideFile, settings: Settings) -> dict[str, Any]:
    """What was stated, and what the override file says.

    :raises UsageError: they contradict each other.
    """
    for name, value in read.given.items():
        said = getattr(settings, name) if name in stated else None
        if said is not None and name not in _ADD_UP and str(said) != str(value):
            raise UsageError(
                f"{_option(name)} is {redacted(str(said))}, and the override file says {redacted(str(value))} "
                f"({read.places[name]})",
                hint="change one of them",
            )
    return _added_up(read.given, stated)


def _added_up(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Settings over others: what stands above wins, and lists add up."""
    both = {name: (*below[name], *above[name]) for name in _ADD_UP if name in below and name in above}
    return {**below, **above, **both}


def _check(settings: Settings) -> None:
    """Refuse what cannot both be meant.

    :raises UsageError: there is something.
    """
    both = sorted({*map(str.lower, settings.only_binary)} & {*map(str.lower, settings.no_binary)})
    if both:
        raise UsageError(
            f"--only-binary and --no-binary both name {both[0]}", hint="a package is taken in one way or the other"
        )
    if settings.no_build and settings.no_binary:
        raise UsageError(f"--no-build and --no-binary {settings.no_binary[0]} contradict each other")


def override_of(settings: Settings, environ: Mapping[str, str]) -> Override:
    """What settings of :func:`settings_from` change of a spec.

    :param environ: the variables that the deployer's files may name, as pip has it.
    :raises UsageError: a file cannot be read, or two of them would replace the same.
    """
    if all(getattr(settings, name) == _default(name) for name in OVERRIDES):
        return Override()
    from envbuild.override import curated, file

    own = None if settings.override is None else file.read(settings.override)
    # The version that was found when the settings were made is kept by now.
    found = None if settings.environment is None else curated.find(settings.environment, settings.having(offline=True))
    files = tuple(one for one in (found, own) if one is not None)
    return Override(
        changes=_changes(settings, own, found),
        constraints=(
            *(one.constraint for one in files if one.constraint is not None),
            *settings.constraint,
        ),
        instead=_instead(settings, own, found, environ),
        record=_record(settings, files),
        expand=environ,
    )


def _default(name: str) -> Any:
    return Settings.__dataclass_fields__[name].default


def _changes(settings: Settings, own: OverrideFile | None, found: OverrideFile | None) -> tuple[Change, ...]:
    """The lines of the call and its override file; those of a curated environment where they say nothing of a package."""
    from envbuild.lock import Change

    said = [Change(option=name, text=text) for name in _LINES for text in getattr(settings, name)]
    lines = (*(own.changes if own is not None else ()), *said)
    names = {_beginning(line.text) for line in lines}
    below = () if found is None else tuple(line for line in found.changes if _beginning(line.text) not in names)
    return (*below, *lines)


def _beginning(text: str) -> str:
    """The name that a requirement begins with, normalised."""
    from packaging.utils import canonicalize_name

    return canonicalize_name(re.split(r"[^A-Za-z0-9._-]", text.strip(), maxsplit=1)[0])


def _instead(
    settings: Settings, own: OverrideFile | None, found: OverrideFile | None, environ: Mapping[str, str]
) -> Replacement | None:
    """What replaces the model's own files.

    :raises UsageError: several do.
    """
    from envbuild.spec import Replacement

    def instead(
        requirements: tuple[Path | Node, ...] = (), conda_env: Path | Node | None = None, *, is_whole: bool = False
    ) -> Replacement:
        return Replacement(requirements=requirements, conda_env=conda_env, expand=environ, is_whole=is_whole)

    ways: list[tuple[str, Replacement]] = []
    if settings.environment is not None and found is not None:
        ways.append(
            (
                f"--environment {settings.environment}",
                instead(_listed(found.requirements), found.conda_env, is_whole=True),
            )
        )
    if own is not None and own.requirements is not None:
        ways.append((f"requirements in {own.source}", instead(_listed(own.requirements))))
    if own is not None and own.conda_env is not None:
        ways.append((f"conda_env in {own.source}", instead(conda_env=own.conda_env)))
    if settings.requirements:
        paths = ", ".join(map(str, settings.requirements))
        ways.append((f"--requirements {paths}", instead(settings.requirements)))
    if settings.conda_env is not None:
        ways.append((f"--conda-env {settings.conda_env}", instead(conda_env=settings.conda_env)))
    if len(ways) > 1:
        raise UsageError(
            f"{ways[0][0]} and {ways[1][0]} both replace what the model asks for",
            hint="keep one; --set, --add, --remove and --constraint change it further",
        )
    return ways[0][1] if ways else None


def _listed(source: Path | Node | None) -> tuple[Path | Node, ...]:
    return () if source is None else (source,)


def _record(settings: Settings, files: tuple[OverrideFile, ...]) -> tuple[Change, ...]:
    """Everything that was changed, each with the file that says it."""
    record: list[Change] = []
    for one in files:
        record += [_change(change.option, change.text, change.place) for change in one.changes]
        record += [_of_source(name, source) for name in _SOURCES if (source := getattr(one, name)) is not None]
    record += [_change(name, text) for name in _LINES for text in getattr(settings, name)]
    for name in _SOURCES:
        paths = getattr(settings, name) or ()
        record += [_of_source(name, path) for path in ([paths] if isinstance(paths, Path) else paths)]
    places = {name: place for one in files for name, place in one.places.items()}
    for name in OVERRIDES:
        value = getattr(settings, name)
        if name not in _NOT_RECORDED and value != _default(name):
            shown = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            if name == "environment":
                # Of a path, the file's own name; a name holds no slash.
                shown = Path(shown).name
            record.append(_change(name, shown, places.get(name)))
    return tuple(record)


def _change(option: str, text: str, place: Place | None = None) -> Change:
    from envbuild.lock import Change

    text = redacted(without_userinfo(text) if "://" in text else text)
    return Change(option=option, text=text, place=None if place is None else Place(Path(place.file).name, place.line))


def _of_source(option: str, source: Path | Node) -> Change:
    if not isinstance(source, Path):
        return _change(option, f"{len(source.value)} entries", source.place)
    try:
        digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise UsageError(f"{_option(option)} {source} cannot be read: {error.strerror}") from error
    return _change(option, f"{source.name} (sha256 {digest})")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
