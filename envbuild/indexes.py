"""Where packages are looked for: the deployer's indexes, and those that a model asks for and a policy lets through.

Credentials come from the URL that the deployer gave or from netrc, at the time of use; they are never part of a lock, a
key or a message.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from envbuild.accelerator import PYTORCH_HOST
from envbuild.model import Notice
from envbuild.redaction import redacted, with_userinfo, without_userinfo
from envbuild.requirement import IndexLine
from envbuild.settings import ModelIndexes, Settings

if TYPE_CHECKING:
    import netrc

# Indexes of well-known projects that a model may name without anybody's leave.
KNOWN_HOSTS = (PYTORCH_HOST, "data.pyg.org")


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexes:
    """The main index, further ones, and places that hold files; as the deployer gave them, credentials included."""

    main: str | None = None
    extra: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    alone: bool = False
    """Look nowhere but in ``find_links``."""
    from_model: tuple[str, ...] = ()
    """Those of the ``extra`` and ``find_links`` that the model named."""

    def names(self) -> list[list[str]]:
        """What identifies them in a key: URLs without credentials."""
        return [
            [without_userinfo(url) for url in urls]
            for urls in ([self.main] if self.main else [], self.extra, self.find_links)
        ]

    def logged_in(self) -> Indexes:
        """The same with the credentials of netrc where a URL has none."""
        known = _netrc()
        return Indexes(
            main=None if self.main is None else _logged_in(self.main, known),
            extra=tuple(_logged_in(url, known) for url in self.extra),
            find_links=tuple(_logged_in(url, known) for url in self.find_links),
            alone=self.alone,
            from_model=self.from_model,
        )

    def without(self, dead: Collection[str]) -> Indexes:
        """The same without some that the model named."""
        return replace(
            self,
            extra=tuple(url for url in self.extra if url not in dead),
            find_links=tuple(url for url in self.find_links if url not in dead),
            alone=self.alone,
            from_model=tuple(url for url in self.from_model if url not in dead),
        )

    def beside(self, find_links: Iterable[str]) -> Indexes:
        """The same with more places that hold files."""
        return replace(self, find_links=tuple(dict.fromkeys((*self.find_links, *find_links))))

    def urls(self) -> tuple[str, ...]:
        """All of them."""
        return (*([self.main] if self.main else []), *self.extra, *self.find_links)


def choose(settings: Settings, lines: Iterable[IndexLine], default: str) -> tuple[Indexes, tuple[Notice, ...]]:
    """The indexes to use: the deployer's, and those that the model asks for and the policy lets through.

    :param default: the engine's own default index; a model that names it asks for nothing.
    """
    extra, find_links, notices = list(settings.extra_index_url), list(settings.find_links), list[Notice]()
    from_model, main = list[str](), settings.index_url
    for line in lines:
        if line.url.rstrip("/") in {url.rstrip("/") for url in (default, settings.index_url or default, *extra)}:
            continue
        if not line.by_deployer and not _allowed(line.url, settings.model_indexes):
            notices.append(_ignored(line, settings.model_indexes))
            continue
        if line.by_deployer and line.option == "index-url" and main is None:
            main = line.url
            continue
        # What a model calls its main index is one more place to look: the deployer's stays the main one.
        (find_links if line.option == "find-links" else extra).append(line.url)
        if not line.by_deployer:
            from_model.append(line.url)
    indexes = Indexes(main=main, extra=tuple(extra), find_links=tuple(find_links), from_model=tuple(from_model))
    return indexes, tuple(notices)


def _allowed(url: str, policy: ModelIndexes) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if parts.scheme not in ("http", "https"):
        return False
    return policy == "allow" or (policy == "known" and parts.scheme == "https" and parts.hostname in KNOWN_HOSTS)


def _ignored(line: IndexLine, policy: ModelIndexes) -> Notice:
    message = (
        f"the model asks for packages from {redacted(line.url)}; not used (model indexes: {policy}); "
        "--model-indexes allow, or an index option of yours, changes that"
    )
    return Notice(code="index-ignored", message=message, place=line.place)


def logged_in(urls: Iterable[str]) -> tuple[str, ...]:
    """URLs with what netrc knows of their hosts, at the time of use; one that has credentials keeps its own."""
    known = _netrc()
    return tuple(_logged_in(url, known) for url in urls)


def _netrc() -> netrc.netrc | None:
    import netrc  # a model whose lock is kept asks no index

    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        return netrc.netrc(str(path))
    except (OSError, ValueError, netrc.NetrcParseError):
        return None


def _logged_in(url: str, known: netrc.netrc | None) -> str:
    parts = urlsplit(url)
    if known is None or not parts.scheme.startswith("http") or "@" in parts.netloc or not parts.hostname:
        return url
    entry = known.authenticators(parts.hostname)
    return url if entry is None else with_userinfo(url, entry[0] or entry[1] or "", entry[2] or "")
