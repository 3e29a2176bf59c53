"""What a conda.yaml asks of conda: match specs, channels in their order, variables (conda's "Creating an environment file")."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from envbuild.document import Node
from envbuild.errors import Place, SpecError
from envbuild.redaction import redacted, without_credentials

DEFAULTS, NO_DEFAULTS = "defaults", "nodefaults"
# What a plain virtualenv has as well.
_PLAIN = ("python", "pip")
_SPEC_NAME = re.compile(r"^(?:[^\s\[]*::)?(?P<name>[A-Za-z0-9_.\-*]+)")
# conda's own word for the Python that pip has no build of, and whatever stands behind it.
_BARE = re.compile(r"^(?:[^\s\[]*::)?pip\s*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchSpec:
    """One entry, as written (conda's "Package match specifications")."""

    name: str
    text: str
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class CondaPart:
    """What is to be solved from channels."""

    specs: tuple[MatchSpec, ...]
    """Python's own, too, where it stands there."""
    channels: tuple[str, ...]
    """Names and URLs, the first in priority first; with the model's credentials, if it has any."""
    variables: tuple[tuple[str, str], ...] = ()
    """What the environment sets (``variables``)."""
    platforms: tuple[str, ...] = ()
    by_deployer: bool = False
    """Whether it is the deployer's own file, whose channels need nobody's leave."""

    def without(self, left_out: Collection[str]) -> CondaPart | None:
        """The same without some packages; ``None`` where nothing is left that a plain virtualenv does not have."""
        specs = tuple(spec for spec in self.specs if spec.name not in left_out)
        return None if all(spec.name in _PLAIN for spec in specs) else replace(self, specs=specs)

    def identity(self) -> list[object]:
        """What of it decides what is resolved."""
        specs = sorted(without_credentials(spec.text) for spec in self.specs)
        return [specs, [without_credentials(url) for url in self.channels], sorted(self.variables)]


def conda_part(conda_env: Node | None, *, by_deployer: bool = False) -> CondaPart | None:
    """What a conda.yaml asks of conda; ``None`` where it asks for no more than a plain virtualenv has.

    :param by_deployer: whether it is the deployer's own.
    :raises SpecError: something in it is not what it should be.
    """
    if conda_env is None:
        return None
    specs = tuple(_specs(conda_env))
    if all(spec.name in _PLAIN for spec in specs):
        return None
    return CondaPart(
        specs=tuple(spec for spec in specs if not _BARE.match(spec.text)),
        channels=_channels(conda_env),
        variables=_variables(conda_env),
        platforms=tuple(said for said, _ in _listed(conda_env, "platforms")),
        by_deployer=by_deployer,
    )


def entries(conda_env: Node) -> tuple[Node, ...]:
    """What stands in its ``dependencies``.

    :raises SpecError: that is no list.
    """
    listed = conda_env.get("dependencies")
    if listed is None:
        return ()
    if listed.kind != "sequence":
        raise SpecError("conda.yaml's dependencies are not a list", place=listed.place)
    return listed.elements()


def spec_name(text: str) -> str:
    """Which package a match spec is about; nothing where it is none."""
    found = _SPEC_NAME.match(text.strip())
    return "" if found is None else found["name"].lower()


def own_packages(conda_env: Node) -> Iterator[tuple[str, Place]]:
    """The entries of its ``dependencies`` but for pip's list, each with its place.

    :raises SpecError: something else stands there.
    """
    for node in entries(conda_env):
        if node.kind == "mapping" and not node.value.keys() - {"pip"}:
            continue
        if node.kind != "scalar" or node.text is None:
            raise SpecError("this is neither a conda package nor pip's list", place=node.place)
        yield node.text, node.place


def _specs(conda_env: Node) -> Iterator[MatchSpec]:
    for written, place in own_packages(conda_env):
        text = re.sub(r"(^|\s)#.*$", "", written).strip()
        name = spec_name(text)
        if not name:
            raise SpecError(f"{redacted(written)!r} is no conda package spec", place=place)
        yield MatchSpec(name=name, text=text, place=place)


def _channels(conda_env: Node) -> tuple[str, ...]:
    """In their order; without ``nodefaults``, conda asks its defaults last.

    :raises SpecError: one is neither a name nor a path, and lies where nobody here can read.
    """
    listed = _listed(conda_env, "channels")
    for said, place in listed:
        if "://" in said and said.partition("://")[0].lower() not in ("https", "http", "file"):
            raise SpecError(f"{redacted(said)} is no channel that can be read: https, http and file can", place=place)
    named = [said for said, _ in listed if said != NO_DEFAULTS]
    if DEFAULTS not in named and len(named) == len(listed):
        named.append(DEFAULTS)
    return tuple(dict.fromkeys(named))


def _listed(conda_env: Node, key: str) -> list[tuple[str, Place]]:
    listed = conda_env.get(key)
    if listed is None:
        return []
    if listed.kind != "sequence":
        raise SpecError(f"conda.yaml's {key} are not a list", place=listed.place)
    found = []
    for node in listed.elements():
        if node.kind != "scalar" or not node.text:
            raise SpecError(f"this is no entry of conda.yaml's {key}", place=node.place)
        found.append((node.text.strip(), node.place))
    return found


def _variables(conda_env: Node) -> tuple[tuple[str, str], ...]:
    table = conda_env.get("variables")
    if table is None:
        return ()
    if table.kind != "mapping":
        raise SpecError("conda.yaml's variables are no mapping", place=table.place)
    found = []
    for name in table.value:
        node = table.get(name)
        if node is None or node.kind != "scalar" or node.text is None:
            place = table.place if node is None else node.place
            raise SpecError(f"the variable {name} has no plain value", place=place)
        found.append((str(name), node.text))
    return tuple(sorted(found))
