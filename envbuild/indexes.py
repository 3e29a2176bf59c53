"""Where packages are looked for: the deployer's indexes, and those that a model asks for and a policy lets through.

Credentials come from the URL that the deployer gave or from netrc, at the time of use; they are never part of a lock, a
key or a message.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from envbuild.accelerator import FAMILY, PYTORCH_HOST
from envbuild.model import Notice
from envbuild.redaction import redacted, with_userinfo, without_userinfo
from envbuild.requirement import IndexLine
from envbuild.settings import IndexStrategy, ModelIndexes, Settings

if TYPE_CHECKING:
    import netrc

# Indexes of well-known projects that a model may name without anybody's leave, and what those build themselves in
# versions of their own (``+cu117``), beside the releases that every index has.
BUILT_AT: Mapping[str, tuple[str, ...]] = {
    PYTORCH_HOST: FAMILY,
    "data.pyg.org": ("pyg-lib", "torch-cluster", "torch-scatter", "torch-sparse", "torch-spline-conv"),
}


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
    trusted: tuple[str, ...] = ()
    """Those of ``from_model`` whose files count beside those of the index that has a package."""
    last: tuple[str, ...] = ()
    """Folders laid out as an index (PEP 503) that are asked after all others, as of whatever date."""
    strategy: IndexStrategy = "first-index"
    """Which index a package comes from, where several have it: see :meth:`chain`."""

    def names(self) -> list[list[str]]:
        """What identifies them in a key: URLs without credentials."""
        return [
            [without_userinfo(url) for url in urls]
            for urls in ([self.main] if self.main else [], self.extra, self.find_links)
        ]

    def logged_in(self) -> Indexes:
        """The same with the credentials of netrc where a URL has none."""
        known = _netrc()
        return replace(
            self,
            main=None if self.main is None else _logged_in(self.main, known),
            extra=tuple(_logged_in(url, known) for url in self.extra),
            find_links=tuple(_logged_in(url, known) for url in self.find_links),
            from_model=tuple(_logged_in(url, known) for url in self.from_model),
            trusted=tuple(_logged_in(url, known) for url in self.trusted),
        )

    def chain(self, default: str) -> tuple[str, ...]:
        """The indexes in the order in which they are asked: extra ones before the main one, those of the model last.

        A package comes from the first that has it, whatever versions the others have; with the strategy ``best-match``
        the best version of all is taken, and the order decides between files of the same version alone.

        :param default: the main index where none is named.
        """
        if self.alone:
            return ()
        own = tuple(url for url in self.extra if url not in self.from_model)
        theirs = tuple(url for url in self.extra if url in self.from_model)
        main = self.main or default
        found = (*own, main, *theirs) if self.strategy == "first-index" else (*self.extra, main)
        return tuple(dict.fromkeys(found))

    def own(self, default: str) -> tuple[str, ...]:
        """Those of the :meth:`chain` that the deployer named."""
        return tuple(url for url in self.chain(default) if url not in self.from_model)

    def beside_all(self) -> tuple[str, ...]:
        """The places whose files count beside those of whichever index has a package."""
        last = self.after_all()
        return tuple(url for url in self.find_links if url not in last)

    def after_all(self) -> tuple[str, ...]:
        """The places that the model names and whose files count for what no index has."""
        if self.strategy == "best-match":
            return ()
        return tuple(url for url in self.find_links if url in self.from_model and url not in self.trusted)

    def of_locked_files(self) -> Indexes:
        """The same for whoever knows each file's sha256: wherever it lies, it is the one."""
        return replace(self, strategy="best-match")

    def without(self, dead: Collection[str]) -> Indexes:
        """The same without some that the model named."""
        return replace(
            self,
            extra=tuple(url for url in self.extra if url not in dead),
            find_links=tuple(url for url in self.find_links if not _is_below(url, dead)),
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
    indexes = Indexes(
        main=main,
        extra=tuple(extra),
        find_links=tuple(find_links),
        from_model=tuple(from_model),
        strategy=settings.index_strategy,
    )
    return indexes, tuple(notices)


def _is_below(url: str, folders: Collection[str]) -> bool:
    return any(url == folder or url.startswith(f"{folder.rstrip('/')}/") for folder in folders)


def _allowed(url: str, policy: ModelIndexes) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    if parts.scheme not in ("http", "https"):
        return False
    return policy == "allow" or (policy == "known" and parts.scheme == "https" and parts.hostname in BUILT_AT)


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
