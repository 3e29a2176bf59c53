"""An override file, and the file of a curated environment: YAML that holds what the options say, one key an option.

What a requirement line means is not read here (:mod:`envbuild.spec` does that): a list of lines and a conda.yaml that
is written into the file are handed on as nodes, which know their lines. ``docs/override.schema.json`` says the same as
this module; a test holds the two together.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from envbuild import document
from envbuild.document import Node
from envbuild.errors import ModelUnreadable, OverrideInvalid, Place
from envbuild.lock import Change
from envbuild.override.values import CHANGES, CURATED_KEYS, FILES, OVERRIDE_KEYS, Value, said
from envbuild.redaction import without_userinfo

ENVIRONMENT_KEYS = (*CURATED_KEYS, *(key for key in OVERRIDE_KEYS if key != "environment"))
"""The keys of a curated environment's file."""
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverrideFile:
    """What an override file or a curated environment's file says."""

    source: str
    """Its path, or its URL without credentials."""
    name: str | None = None
    """Of a curated environment, as ``version`` is."""
    version: str | None = None
    description: str | None = None
    given: Mapping[str, Any]
    """Settings, by name: those that the file has, but ``set``, ``add``, ``remove`` and the three files below."""
    places: Mapping[str, Place]
    """Where each key stands; that of ``as_of`` is that of ``created`` where the day comes from there."""
    changes: tuple[Change, ...] = ()
    """Of ``set``, ``add`` and ``remove``: each text as it is written, and its line."""
    constraint: Path | Node | None = None
    """A file's path, or a sequence of lines."""
    requirements: Path | Node | None = None
    """A file's path, or a sequence of lines."""
    conda_env: Path | Node | None = None
    """A file's path, or a mapping as in conda.yaml."""
    digest: str
    """sha256 of the file's bytes."""


def read(path: Path) -> OverrideFile:
    """An override file; paths in it are relative to its folder.

    :raises OverrideInvalid: it cannot be read, or does not say what an override file must say.
    """
    content = _Content.of(_bytes_of(path), str(path), path.parent.absolute())
    _check_keys(content, OVERRIDE_KEYS)
    if set(content.places) <= {"description"}:
        raise OverrideInvalid(
            "there is nothing in this override file",
            place=Place(content.source),
            hint=f"write at least one of: {', '.join(key for key in OVERRIDE_KEYS if key != 'description')}",
        )
    return _file(content)


def read_environment(path: Path) -> OverrideFile:
    """The file of a curated environment; paths in it are relative to its folder.

    :raises OverrideInvalid: it cannot be read, or does not say what a curated environment must say.
    """
    return _environment(_Content.of(_bytes_of(path), str(path), path.parent.absolute()))


def parse_environment(data: bytes, source: str) -> OverrideFile:
    """A curated environment that was fetched: its file lies in no folder, and names no files of this machine.

    :param source: its URL.
    :raises OverrideInvalid: it does not say what a curated environment must say, or names a file.
    """
    return _environment(_Content.of(data, without_userinfo(source), None))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """A file's document, and where each of its keys stands."""

    source: str
    folder: Path | None
    """What paths are relative to; ``None`` where there can be none."""
    root: Node
    places: Mapping[str, Place]
    digest: str

    @classmethod
    def of(cls, data: bytes, source: str, folder: Path | None) -> _Content:
        try:
            text = data.decode("utf-8-sig")
            root = document.parse(text, source)
        except UnicodeDecodeError as error:
            raise OverrideInvalid(
                f"the file is not UTF-8 text (byte {error.start})", place=Place(source), hint="save it as UTF-8"
            ) from error
        except ModelUnreadable as error:
            raise OverrideInvalid(error.message, place=error.place, hint=error.hint) from error
        if root.kind != "mapping":
            what = "a list" if root.kind == "sequence" else "a single value"
            raise OverrideInvalid(f"the file holds {what}", place=root.place, hint=_MAPPING_HINT)
        places = _places_of_keys(text, source)
        if not places:
            raise OverrideInvalid("the file is empty", place=Place(source), hint=_MAPPING_HINT)
        digest = hashlib.sha256(data).hexdigest()
        return cls(source=source, folder=folder, root=root, places=places, digest=digest)


_MAPPING_HINT = "write keys and values, such as `set: [pandas==1.5.3]`; docs/override.md has them all"


def _bytes_of(path: Path) -> bytes:
    place = Place(str(path))
    try:
        # Non-blocking, so that a named pipe cannot make us wait for ever.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OverrideInvalid("this is not a file", place=place)
            if status.st_size > document.MAX_BYTES:
                raise OverrideInvalid(
                    f"the file has {status.st_size:,} bytes; a file of this kind has a few thousand",
                    place=place,
                    hint="is it another kind of file under this name?",
                )
            return file.read(document.MAX_BYTES)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise OverrideInvalid(f"the file cannot be read: {reason}", place=place) from error


def _places_of_keys(text: str, source: str) -> dict[str, Place]:
    """Where the keys of the document's mapping stand; the nodes know where their values begin.

    :raises OverrideInvalid: a mapping has a key twice, of which YAML would take the later one in silence.
    """
    # The document has been read before: it is of a bounded depth and size.
    root: Any = yaml.compose(text, Loader=_Loader)
    if root is None:
        return {}
    waiting, seen = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            _lines_of_keys(node, source)
            waiting += [below for _, below in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
    return {key: Place(source, line) for key, line in _lines_of_keys(root, source).items()}


def _lines_of_keys(mapping: Any, source: str) -> dict[str, int]:
    lines: dict[str, int] = {}
    for key, _ in mapping.value:
        line = key.start_mark.line + 1
        if key.value in lines:
            raise OverrideInvalid(
                f"the key {said(key.value)} is there twice; line {lines[key.value]} has it first",
                place=Place(source, line),
                hint="put the two together: one of them would be ignored",
            )
        lines[key.value] = line
    return lines


def _check_keys(content: _Content, known: tuple[str, ...]) -> None:
    """Hold the keys against those that there are.

    :raises OverrideInvalid: there is a key that such a file does not have.
    """
    for key, place in content.places.items():
        if key in known:
            continue
        if key in CURATED_KEYS:
            hint = "that is the file of a curated environment: use it with --environment"
        elif key == "environment":
            hint = "a curated environment stands on no other; an override file (--override) names one"
        else:
            near = difflib.get_close_matches(key.lower().replace("-", "_"), known, 1)
            hint = "".join(f"is {one} meant? " for one in near) + f"there are: {', '.join(known)}"
        raise OverrideInvalid(f"there is no key {said(key)} here", place=place, hint=hint)


def _environment(content: _Content) -> OverrideFile:
    _check_keys(content, ENVIRONMENT_KEYS)
    has, place = content.places, Place(content.source)
    for key in ("name", "version"):
        if key not in has:
            raise OverrideInvalid(
                f"there is no {key}", place=place, hint="a curated environment says its name and its version"
            )
    if "requirements" in has and "conda_env" in has:
        raise OverrideInvalid(
            "there are both requirements and conda_env", place=has["conda_env"], hint="write one of them"
        )
    if "requirements" not in has and "conda_env" not in has:
        raise OverrideInvalid(
            "it does not say what is in the environment", place=place, hint="write requirements or conda_env"
        )
    if "requirements" in has and "python" not in has:
        raise OverrideInvalid(
            "there is no python", place=place, hint='requirements name no Python: write it, as in python: "3.10"'
        )
    return _file(content)


def _file(content: _Content) -> OverrideFile:
    values = {key: Value(key, node, content.folder).read() for key, node in content.root.items()}
    places = dict(content.places)
    if "created" in values and "as_of" not in values:
        values["as_of"], places["as_of"] = values["created"], places["created"]
    apart = (*CHANGES, *FILES, *CURATED_KEYS, "description")
    return OverrideFile(
        source=content.source,
        name=values.get("name"),
        version=values.get("version"),
        description=values.get("description"),
        given={key: value for key, value in values.items() if key not in apart},
        places=places,
        changes=tuple(change for key in CHANGES for change in values.get(key, ())),
        constraint=values.get("constraint"),
        requirements=values.get("requirements"),
        conda_env=values.get("conda_env"),
        digest=content.digest,
    )
