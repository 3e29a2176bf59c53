"""A YAML document that remembers its lines, read safely.

Models come from anywhere, so that a file may be anything: the reader takes plain YAML only (no tags that make
objects), bounds size, depth and the number of nodes (an alias bomb grows when it is walked, not when it is parsed),
and says file and line for whatever it refuses.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from envbuild.errors import ModelUnreadable, Place

MAX_BYTES = 10 * 2**20
MAX_NODES = 200_000
MAX_DEPTH = 100

_SCALAR_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "timestamp", "binary")}
_NUMBER_TAGS = {"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"}
_MAX_NUMBER = 400
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a document: a mapping, a sequence or a scalar, and the place where it stands."""

    kind: Literal["mapping", "sequence", "scalar"]
    place: Place
    value: Any
    """A dict of nodes, a list of nodes, or the scalar as YAML 1.1 reads it."""
    text: str | None = None
    """The scalar as it is written: ``3.10`` stays ``3.10``."""

    def get(self, *path: str) -> Node | None:
        """The node below, by keys; ``None`` where a key is missing, its value is null or this is not a mapping."""
        node: Node = self
        for key in path:
            below = node.value.get(key) if node.kind == "mapping" else None
            if below is None or (below.kind == "scalar" and below.value is None):
                return None
            node = below
        return node

    def items(self) -> Iterator[tuple[str, Node]]:
        """The keys and nodes of a mapping, in the file's order; nothing for other kinds."""
        return iter(self.value.items() if self.kind == "mapping" else ())

    def elements(self) -> tuple[Node, ...]:
        """The nodes of a sequence; nothing for other kinds."""
        return tuple(self.value) if self.kind == "sequence" else ()

    def plain(self) -> Any:
        """Dicts, lists and scalars, as JSON has them; dates and bytes stay the text that they are written as."""
        if self.kind == "mapping":
            return {key: node.plain() for key, node in self.value.items()}
        if self.kind == "sequence":
            return [node.plain() for node in self.value]
        return self.value if isinstance(self.value, (str, int, float, type(None))) else self.text


def read(path: Path) -> Node:
    """The document in a file.

    :raises ModelUnreadable: it is missing, not a plain file, too large, not UTF-8 text, not YAML, or uses YAML for
        more than data.
    """
    return parse(read_text(path), str(path))


def read_text(path: Path) -> str:
    """A small text file of a model: UTF-8, with or without a byte order mark, any line ends.

    :raises ModelUnreadable: it is missing, not a plain file, too large or not UTF-8 text.
    """
    place = Place(str(path))
    try:
        # Non-blocking, so that a named pipe called MLmodel cannot make us wait for ever.
        with open(path, "rb", opener=_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ModelUnreadable("this is not a file", place=place)
            if status.st_size > MAX_BYTES:
                raise ModelUnreadable(
                    f"the file has {status.st_size:,} bytes; a file of this kind has a few thousand",
                    place=place,
                    hint="is it another kind of file under this name?",
                )
            return file.read(MAX_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise ModelUnreadable(f"the file cannot be read: {error.strerror}", place=place) from error
    except UnicodeDecodeError as error:
        raise ModelUnreadable(
            f"the file is not UTF-8 text (byte {error.start})", place=place, hint="save it as UTF-8"
        ) from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def parse(text: str, name: str, max_nodes: int = MAX_NODES) -> Node:
    """The document in a text; ``name`` stands for the file in errors.

    :raises ModelUnreadable: it is not YAML, or uses YAML for more than data.
    """
    try:
        _bound(text, name, max_nodes)
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        raise ModelUnreadable(f"this is not YAML: {error.problem or error}", place=Place(name, line)) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ModelUnreadable(f"this is not YAML: {str(error).splitlines()[0]}", place=Place(name)) from error
    if root is None:
        return Node("mapping", Place(name), {})
    return _Walk(name, max_nodes).node(root, 0)


def _bound(text: str, name: str, max_nodes: int) -> None:
    """Refuse what is too deep or too large before it is made into a tree: libyaml's composer recurses without end."""
    depth = count = 0
    event: Any
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.NodeEvent):
            count += 1
            depth += isinstance(event, yaml.CollectionStartEvent)
        if count > max_nodes or depth > MAX_DEPTH:
            raise ModelUnreadable("the document is too large or too deep", place=Place(name, event.start_mark.line + 1))


class _Walk:
    """From PyYAML's nodes to ours, counting."""

    def __init__(self, name: str, max_nodes: int) -> None:
        self.name = name
        self.max_nodes = max_nodes
        self.count = 0
        self.scalars: Any = yaml.constructor.SafeConstructor()

    def node(self, node: Any, depth: int) -> Node:
        place = Place(self.name, node.start_mark.line + 1)
        self.count += 1
        if self.count > self.max_nodes or depth > MAX_DEPTH:
            raise ModelUnreadable("the document is too large or too deep once its aliases are followed", place=place)
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return Node("mapping", place, {self.key(key): self.node(below, depth + 1) for key, below in node.value})
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            return Node("sequence", place, [self.node(below, depth + 1) for below in node.value])
        return Node("scalar", place, self.scalar(node, place), str(node.value))

    def key(self, node: Any) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise ModelUnreadable("a key is not a plain text", place=Place(self.name, node.start_mark.line + 1))
        return str(node.value)

    def scalar(self, node: Any, place: Place) -> Any:
        if not isinstance(node, yaml.ScalarNode) or node.tag not in _SCALAR_TAGS:
            raise ModelUnreadable(f"the YAML tag {node.tag!r} is not plain data", place=place)
        if len(node.value) > _MAX_NUMBER and node.tag in _NUMBER_TAGS:
            # A number of a million digits takes minutes to read: the text is what we have.
            return str(node.value)
        try:
            return self.scalars.construct_object(node)
        except (ValueError, ArithmeticError, LookupError, AttributeError, yaml.YAMLError):
            # A date such as 2021-13-45, or an explicit tag on what is no such value.
            return str(node.value)
