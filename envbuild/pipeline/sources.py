"""Where the files of a spec and of its lock are looked for: indexes and channels."""

from __future__ import annotations

from envbuild import accelerator
from envbuild.conda import channels
from envbuild.indexes import Indexes, choose, logged_in
from envbuild.lock import Lock
from envbuild.model import Notice
from envbuild.pipeline.stages import Locked
from envbuild.redaction import without_userinfo
from envbuild.settings import Settings
from envbuild.spec import EnvironmentSpec


def asked_indexes(spec: EnvironmentSpec, settings: Settings) -> tuple[Indexes, tuple[Notice, ...]]:
    """The indexes that a spec and the deployer name, and what is to be said of the choice."""
    if not spec.index_lines:
        return choose(settings, (), "")
    from envbuild import uv

    return choose(settings, spec.index_lines, uv.default_index(settings.home))


def indexes_of(locked: Locked, settings: Settings) -> Indexes:
    """Where a lock's files are looked for."""
    if locked.asked.bundle is not None:
        return locked.asked.bundle.indexes
    return living(asked_indexes(locked.asked.spec, settings)[0], locked.lock, settings)


def channels_of(locked: Locked, settings: Settings) -> tuple[str, ...]:
    """The channels that a spec names, and those that the deployer has in place of any; with what lets one in."""
    mirrors, part, lock = dict(settings.conda_mirror), locked.asked.spec.conda, locked.lock
    named = () if part is None else channels.channels_of(part.channels, (one.text for one in part.specs), mirrors)
    of_lock = () if lock.conda is None else lock.conda.channels
    return logged_in(dict.fromkeys((*channels.urls_of(named), *mirrors.values(), *of_lock)))


def living(indexes: Indexes, lock: Lock, settings: Settings) -> Indexes:
    """The indexes as a lock was made from them: with those of an accelerator's builds, without those that were dead."""
    if any(notice.code == "accelerator" for notice in lock.origin.notices):
        packages = ((package.name, package.version) for package in lock.packages)
        indexes = indexes.beside(accelerator.links(packages, settings.torch_index))
    if not any(notice.code == "dead-index" for notice in lock.origin.notices):
        return indexes
    return indexes.without([url for url in indexes.from_model if without_userinfo(url) not in lock.origin.indexes])
