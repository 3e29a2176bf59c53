"""Key: everything that decides what a worker answers and what is kept from it, as one digest.

Two calls with the same key may share a worker: the versions, the environment and its Python, the model's files, how the
worker is treated, the variables that it gets, and what a process inherits from the one that started it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from envbuild.bridge.environ import passed
from envbuild.bridge.frames import PROTOCOL
from envbuild.bridge.options import options_of
from envbuild.resident.ground import Unusable
from envbuild.store.marker import MARKER

if TYPE_CHECKING:
    from envbuild.environment import Environment
    from envbuild.settings import Settings

# Seconds: a file that was changed just now could be changed again without its times showing it.
SETTLED_SECONDS: Final = 0.1
MOST_FILES: Final = 20_000
_OURS: Final = Path(__file__).resolve().parent.parent
_SERVING: Final = ("bridge", "resident", "worker")
_TEMPORARY: Final = ("TMPDIR", "TEMP", "TMP")
# What they do or hold is another call's affair.
_NO_PART: Final = ("stderr", "idle_timeout", "set_env")
_NAMESPACES: Final = ("mnt", "net", "pid", "user", "ipc", "uts")

_CHANGED: Final = 6

Facts = list[list[Any]]
"""Of each file: its path in the model, mode, device, inode, size, mtime, ctime; of a link where it leads."""


class Unsettled(Unusable):
    """Nothing can be promised of a model's files; the message says why."""


def inherited(settings: Settings) -> dict[str, str]:
    """The variables of this process that a keeper and its worker get."""
    # PATH is where bubblewrap is looked for.
    return passed(("PATH", *_TEMPORARY, *settings.pass_env))


def content_of(model: Facts, environment: Environment, path: Path, settings: Settings) -> bytes:
    """What a key is the digest of; it may hold secrets.

    :param model: what :func:`facts_of` found.
    :param path: the model's directory.
    """
    content = {
        "envbuild": [PROTOCOL, os.fspath(_OURS), _own_facts(), sys.executable, sys.version],
        "environment": _environment(environment),
        "model": [os.fspath(path), model],
        "options": _options(settings),
        "variables": [sorted(inherited(settings).items()), sorted(settings.set_env)],
        "process": _process(),
    }
    return json.dumps(content, sort_keys=True).encode("utf-8", "surrogateescape")


def facts_of(model: Path) -> Facts:
    """Which files a model has, and by which size, times and inode one sees that they are the same still.

    :raises Unsettled: one was changed just now, or there are too many of them.
    :raises OSError: they cannot be looked at.
    """
    found = sorted(_walked(model, "", set()), key=lambda facts: (facts[0], len(facts)))
    # Of the times, this one alone cannot be set.
    if max((facts[_CHANGED] for facts in found if len(facts) > _CHANGED), default=0) > time.time_ns() - int(
        SETTLED_SECONDS * 1e9
    ):
        raise Unsettled("the model was changed a moment ago")
    return found


def _walked(folder: Path, below: str, seen: set[tuple[int, int]]) -> Iterator[list[Any]]:
    facts = folder.stat()
    if (facts.st_dev, facts.st_ino) in seen:
        return
    seen.add((facts.st_dev, facts.st_ino))
    with os.scandir(folder) as entries:
        for number, entry in enumerate(entries):
            if number > MOST_FILES or len(seen) > MOST_FILES:
                raise Unsettled(f"the model has more than {MOST_FILES} files")
            name = f"{below}{entry.name}"
            if entry.is_symlink():
                yield [name, str(Path(entry.path).readlink())]
            if entry.is_dir():
                yield from _walked(Path(entry.path), f"{name}/", seen)
            else:
                yield [name, *_facts(entry)]


def _facts(path: Path | os.DirEntry[str]) -> tuple[int, ...]:
    """What changes when a file does; nothing where it is not there."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return ()
    return facts.st_mode, facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns


def _own_facts() -> list[tuple[int, ...]]:
    """Of the files that serve, and of the one with the version: another may come to lie in the place of this one."""
    files = (entry for name in _SERVING for entry in os.scandir(_OURS / name) if entry.is_file())
    served = [_facts(entry) for entry in sorted(files, key=lambda entry: entry.path)]
    return [_facts(_OURS / "__init__.py"), *served]


def _environment(one: Environment) -> list[Any]:
    # Its times change with each use.
    marker = (one.path / MARKER).stat().st_ino
    executable = one.interpreter.executable
    return [os.fspath(one.path), one.lock_hash, one.manifest, one.linked, marker, executable, _facts(Path(executable))]


def _options(settings: Settings) -> dict[str, Any]:
    options = options_of(settings)
    return {one.name: getattr(options, one.name) for one in fields(options) if one.name not in _NO_PART}


def _process() -> list[Any]:
    """What a process inherits."""
    import resource

    limits = [resource.getrlimit(getattr(resource, name)) for name in sorted(dir(resource)) if "RLIMIT_" in name]
    namespaces = [Path("/proc/self/ns", name).stat().st_ino for name in _NAMESPACES]
    who = [os.geteuid(), os.getegid(), sorted(os.getgroups())]
    return [who, os.getcwd(), _umask(), limits, namespaces]  # noqa: PTH109 - a text is wanted


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
