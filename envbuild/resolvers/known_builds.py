"""What a model's own index may bring beside the deployer's: the builds that its project makes itself.

With the strategy ``first-index`` a package comes from the first index that has it, and the model's come last. PyTorch's
releases are on every index all the same, and its builds (``1.13.0+cu117``) on its own alone: without them no such model
could be locked. So of what a known project builds itself, and somebody pins, the files of its index count as well; but
never under a name that an extra index of the deployer's has, which is the deployer's own affair.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

from envbuild.errors import IndexUnreachable
from envbuild.indexes import BUILT_AT, Indexes
from envbuild.projects import read_projects
from envbuild.requirement import Demand
from envbuild.settings import Settings


def with_known_builds(indexes: Indexes, demands: Iterable[Demand], settings: Settings) -> Indexes:
    """The indexes with the pages of known projects' own builds, of packages that are pinned.

    :raises IndexUnreachable: an extra index of the deployer's does not say what it has.
    """
    pinned = {one.name for one in demands if one.name is not None and one.kind == "index" and one.pin is not None}
    theirs = {url: pinned & set(_built_at(url)) for url in indexes.from_model}
    wanted = {name for names in theirs.values() for name in names}
    if indexes.strategy != "first-index" or not wanted:
        return indexes
    free = wanted - _had_by_the_deployer(wanted, indexes, settings)
    trusted = tuple(url for url in indexes.find_links if theirs.get(url) and theirs[url] <= free)
    pages = [
        f"{url.rstrip('/')}/{name}/"
        for url in indexes.extra
        for name in sorted(theirs.get(url, set()) & free)
        if _has(indexes.only(url), name, settings)
    ]
    return replace(indexes, trusted=trusted).beside(pages)


def _built_at(url: str) -> tuple[str, ...]:
    return BUILT_AT.get(urlsplit(url).hostname or "", ())


def _had_by_the_deployer(names: Collection[str], indexes: Indexes, settings: Settings) -> set[str]:
    """Those that an extra index of the deployer's has; where nobody may be asked, all."""
    extra = [url for url in indexes.extra if url not in indexes.from_model]
    if extra and settings.offline:
        return set(names)
    return {name for url in extra for name in read_projects(names, indexes.only(url), url)}


def _has(index: Indexes, name: str, settings: Settings) -> bool:
    """Whether an index has a project's page; of one that is gone no page is asked for."""
    if settings.offline:
        return True
    with suppress(IndexUnreachable):
        return name in read_projects([name], index, "")
    return False
