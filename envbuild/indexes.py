"""Where packages are looked for: the deployer's indexes, and those that a model asks for and a policy lets through.

Credentials are added at the time of use (:mod:`envbuild.logins`); they are never part of a lock, a key or a message.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from envbuild import web
from envbuild.accelerator import FAMILY, PYTORCH_HOST
from envbuild.logins import Logins
from envbuild.model import Notice
from envbuild.redaction import redacted, without_userinfo
from envbuild.requirement import IndexLine
from envbuild.settings import IndexStrategy, ModelIndexes, Settings, name_and_url

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

    logins: Logins = field(default=Logins(), repr=False)
    """Where their credentials are found."""
    ca: str | None = None
    """A file of authorities that they are believed by, beside the system's."""
    client_cert: str | None = None
    """A file of the certificate that is shown to them, with its key."""

    def names(self) -> list[list[str]]:
        """What identifies them in a key: URLs without credentials."""
        return [
            [without_userinfo(url) for url in urls]
            for urls in ([self.main] if self.main else [], self.extra, self.find_links)
        ]

    def logged_in(self) -> Indexes:
        """The same with the credentials that are found where a URL has none.

        :raises IndexUnreachable: the token command or the keyring fails.
        """
        known = self.logins.logged_in
        return replace(
            self,
            main=None if self.main is None else known(self.main),
            extra=tuple(map(known, self.extra)),
            find_links=tuple(map(known, self.find_links)),
            from_model=tuple(map(known, self.from_model)),
            trusted=tuple(map(known, self.trusted)),
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

    @property
    def are_several(self) -> bool:
        """Whether a package may lie at more than one."""
        return bool(self.extra or self.find_links)

    def of_locked_files(self) -> Indexes:
        """The same for whoever knows each file's sha256: wherever it lies, it is the one.

        Those that are asked first anyway are better asked alone before: of the others one may be gone.
        """
        return replace(self, strategy="best-match")

    def only(self, url: str) -> Indexes:
        """One alone, on the same terms."""
        return replace(self, main=url, extra=(), find_links=(), from_model=(), trusted=(), last=(), alone=False)

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
    :raises UsageError: a file of certificates cannot be used.
    """
    named = {url: name for name, url in map(name_and_url, settings.extra_index_url)}
    main_name, main = (None, None) if settings.index_url is None else name_and_url(settings.index_url)
    extra, find_links, notices = list(named), list(settings.find_links), list[Notice]()
    from_model, given = list[str](), main
    if main is not None:
        named[main] = main_name
    for line in lines:
        if line.url.rstrip("/") in {url.rstrip("/") for url in (default, given or default, *extra)}:
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
    owned = [url for url in (*([main] if main else []), *extra, *find_links) if url not in from_model]
    indexes = Indexes(
        main=main,
        extra=tuple(extra),
        find_links=tuple(find_links),
        from_model=tuple(from_model),
        strategy=settings.index_strategy,
        logins=Logins.of(settings, {url: named.get(url) for url in owned}),
        ca=None if settings.index_ca is None else str(settings.index_ca),
        client_cert=None if settings.index_client_cert is None else str(settings.index_client_cert),
    )
    web.check(indexes.ca, indexes.client_cert)
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
    return tuple(map(Logins().logged_in, urls))
