"""One entry of a ``conda-lock.yml``: a package for one platform, as the file has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

from envbuild.document import Node
from envbuild.errors import LockInvalid, Place
from envbuild.redaction import without_credentials

Manager = Literal["conda", "pip"]
# Packages of other categories are installed on demand alone: developers' tools, extras.
MAIN = "main"
_VARIABLE = re.compile(r"\$\{?(?P<name>\w+)\}?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of the category ``main``."""

    name: str
    version: str
    manager: Manager
    platform: str
    """A subdir of conda's: ``linux-64``, also for what is ``noarch``."""
    url: str
    dependencies: Mapping[str, str] = field(default_factory=dict)
    """Names and what is asked of their versions; empty for any."""
    md5: str = ""
    sha256: str = ""
    """Of the file; of a commit, the commit."""
    source: str = ""
    """The URL once more, where it was asked for by its URL."""
    build: str = ""
    place: Place | None = field(default=None, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """The form that the file has, in conda-lock's own order."""
        digests = {"md5": self.md5} if self.manager == "conda" else {}
        source = {"source": {"type": "url", "url": self.source}} if self.source else {}
        return {
            "name": self.name,
            "version": self.version,
            "manager": self.manager,
            "platform": self.platform,
            "dependencies": dict(sorted(self.dependencies.items())),
            "url": self.url,
            "hash": {**digests, "sha256": self.sha256},
            **source,
            **({"build": self.build} if self.build else {}),
            "category": MAIN,
            "optional": False,
        }

    def refuse(self, message: str, hint: str | None = None) -> NoReturn:
        """Say what is wrong with it.

        :raises LockInvalid: always.
        """
        raise LockInvalid(f"{self.name} {message}", place=self.place, hint=hint)

    def reachable_url(self, schemes: tuple[str, ...]) -> str:
        """Its URL without credentials.

        :raises LockInvalid: it is of another scheme, or names variables in its path.
        """
        url = without_credentials(self.url)
        if not url.startswith(schemes):
            self.refuse(
                f"lies at {url[:200]!r}, which no other machine can reach", "lock it from a channel or an index"
            )
        if (variable := _VARIABLE.search(url)) is not None:
            self.refuse(
                f"has a URL with the variable {variable['name']}, and none is expanded",
                "write the URL out; credentials are the deployer's settings, not the lock's",
            )
        return url


def read_entry(node: Node) -> Entry:
    """An entry of the category ``main``.

    :raises LockInvalid: something is missing in it, or is not what it should be.
    """
    name = text_of(node, "name")
    manager = text_of(node, "manager")
    if manager not in ("conda", "pip"):
        raise LockInvalid(f"{name} is managed by {manager!r}, which is neither conda nor pip", place=node.place)
    dependencies = node.get("dependencies")
    if dependencies is not None and dependencies.kind != "mapping":
        raise LockInvalid(f"the dependencies of {name} are no mapping", place=dependencies.place)
    return Entry(
        name=name,
        version=text_of(node, "version", ""),
        manager="conda" if manager == "conda" else "pip",
        platform=text_of(node, "platform"),
        url=text_of(node, "url"),
        dependencies={}
        if dependencies is None
        else {key: text_of(dependencies, key, "") for key in dependencies.value},
        md5=text_of(node, "hash.md5", ""),
        sha256=text_of(node, "hash.sha256", ""),
        source=text_of(node, "source.url", ""),
        build=text_of(node, "build", ""),
        place=node.place,
    )


def text_of(node: Node, keys: str, default: str | None = None) -> str:
    """The text under keys that dots join.

    :raises LockInvalid: there is none and no default, or it is no plain value.
    """
    # A dependency's own name may have dots.
    below = node.get(*([keys] if node.kind == "mapping" and keys in node.value else keys.split(".")))
    if below is None:
        if default is not None:
            return default
        raise LockInvalid(f"this has no {keys}", place=node.place)
    if below.kind != "scalar" or below.text is None:
        raise LockInvalid(f"{keys} is no plain value", place=below.place)
    return below.text
