"""Spec to lock: a file that fits, one kept in the store, or a new one; and the key under which one is kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
from dataclasses import replace
from datetime import datetime, timezone

from envbuild import accelerator, asof, faults, lock_files, target
from envbuild.errors import (
    EnvbuildError,
    LockInvalid,
    LockMissing,
    LockStale,
    Unresolvable,
)
from envbuild.indexes import Indexes
from envbuild.lock import Lock, check_target, read_kept
from envbuild.model import Model, Notice
from envbuild.override import effects
from envbuild.pipeline.asking import ask
from envbuild.pipeline.fitting import lock_file
from envbuild.pipeline.resolving import resolve
from envbuild.pipeline.sources import asked_indexes
from envbuild.pipeline.stages import Asked, Locked
from envbuild.progress import Report, silent
from envbuild.redaction import without_userinfo
from envbuild.repairs.rules import Switch
from envbuild.settings import Settings
from envbuild.spec import EnvironmentSpec
from envbuild.store import Store

# Raised when a rule changes what the same question resolves to: locks kept under older rules are then not reused.
RULES_VERSION = 5


def lock(asked: Asked, settings: Settings, report: Report = silent, platform: str | None = None) -> Locked:
    """Spec to lock: a lock file that fits, one kept in the store, or a new one.

    :param platform: the newest platform tag that the environment may have; ``None``: this machine's.
    :raises LockError: there is none, or not the one that was demanded.
    """
    return _reviewed(_locked(asked, settings, report, platform), settings)


def known_lock(asked: Asked, settings: Settings) -> Locked | None:
    """The lock that there is already: the file that was named or lies beside MLmodel, or the one kept in the store."""
    wanted = target.here(asked.spec.python.text)
    if (found := lock_file(asked, settings, wanted)) is not None and found[0] is not None:
        return found[0]
    # Looking must not make a store.
    if not settings.home.is_dir():
        return None
    indexes, _ = asked_indexes(asked.spec, settings)
    lock = _kept(Store(settings), _key(asked.spec, settings, wanted, indexes), wanted)
    return None if lock is None else Locked(asked=asked, lock=lock, source="kept", notices=lock.origin.notices)


def question_key(asked: Asked, settings: Settings) -> str:
    """What the lock of a model is kept under, for this machine: everything that goes into it."""
    indexes, _ = asked_indexes(asked.spec, settings)
    return _key(asked.spec, settings, target.here(asked.spec.python.text), indexes)


def keep(key: str, lock: Lock, settings: Settings) -> None:
    """Keep a lock in the store, as the answer to the question of that key.

    :raises StoreError: the store cannot be written.
    """
    from envbuild.pylock import write_lock
    from envbuild.store.making import Making

    Making(Store(settings), settings).keep_lock(key, write_lock(lock))


def _locked(asked: Asked, settings: Settings, report: Report, platform: str | None) -> Locked:
    asof.check(settings.as_of)
    wanted = target.of(asked.spec.python.text, platform)
    if (found := lock_file(asked, settings, wanted)) is not None:
        fitting, notices = found
        if fitting is not None:
            return fitting
    else:
        notices = ()
    if settings.locked:
        path = asked.model.path / (lock_files.PYLOCK if asked.spec.conda is None else lock_files.CONDA_LOCK)
        raise LockMissing(
            f"there is no lock for {asked.model.path}, and only an existing one may be used",
            hint=f"envbuild lock {asked.model.path} -o {path} makes one; --lock names one elsewhere",
        )
    return _kept_or_resolved(asked, settings, wanted, notices, report)


def _reviewed(locked: Locked, settings: Settings) -> Locked:
    """A lock with what is to be said of the deployer's changes.

    :raises Unresolvable: it does not meet them all.
    """
    spec, lock = locked.asked.spec, locked.lock
    if not spec.overrides:
        return locked
    if wrong := effects.unmet(lock, spec, settings):
        raise Unresolvable(f"the override cannot be met: {'; '.join(wrong)}", hint="change what contradicts it")
    notices = effects.unused(lock, spec, settings)
    if (before := _own_lock(locked.asked.model, settings)) is not None and before.hash == lock.hash:
        message = f"the override leads to the same files as the model's own environment (lock hash {lock.hash[:12]})"
        notices = (*notices, Notice(code="override-without-effect", message=message))
    return replace(locked, notices=(*locked.notices, *notices))


def _own_lock(model: Model, settings: Settings) -> Lock | None:
    """The lock of a model without any override, where there is one already."""
    own = settings.without_override()
    with contextlib.suppress(EnvbuildError):
        found = known_lock(ask(model.path, own), own)
        return None if found is None else found.lock
    return None


def _kept_or_resolved(
    asked: Asked, settings: Settings, wanted: target.Target, notices: tuple[Notice, ...], report: Report
) -> Locked:
    indexes, index_notices = asked_indexes(asked.spec, settings)
    notices = (*asked.spec.notices, *notices, *index_notices)
    store, key = Store(settings), _key(asked.spec, settings, wanted, indexes)
    kept = None if settings.update else _kept(store, key, wanted)
    if kept is not None:
        return Locked(asked=asked, lock=kept, source="kept", notices=(*notices, *kept.origin.notices))
    from envbuild.store.making import Making

    making, before = Making(store, settings), store.kept_lock(key)

    def answered() -> Lock | None:
        # With --update, what another process resolved while we waited counts, and what was there before does not.
        return None if settings.update and store.kept_lock(key) == before else _kept(store, key, wanted)

    def resolved(relayed: Report) -> Lock:
        with making.cache_in_use():
            found = resolve(asked, settings, wanted, indexes, relayed)
        faults.point("resolved")
        keep(key, found, settings)
        faults.point("lock kept")
        return found

    attempt = conditions(settings, indexes)
    found, was_made = making.once(f"lock-{key}", answered, resolved, report, kind="lock", attempt=attempt)
    source = "resolved" if was_made else "kept"
    return Locked(asked=asked, lock=found, source=source, notices=(*notices, *found.origin.notices))


def conditions(settings: Settings, indexes: Indexes) -> str:
    """What may make an attempt go better than the last: a failure is remembered for the same alone."""
    answers = (
        settings.engine,
        indexes.names(),
        indexes.strategy,
        settings.offline,
        settings.no_build,
        Switch.of(settings).key(),
    )
    ways_in = [str(settings.index_ca), str(settings.index_client_cert), settings.keyring_provider]
    ways_in.append(str(settings.index_token_command is not None))
    return json.dumps([*answers, settings.lock_timeout, settings.build_timeout, settings.python_downloads, *ways_in])


def _kept(store: Store, key: str, wanted: target.Target) -> Lock | None:
    text = store.kept_lock(key)
    if text is None:
        return None
    # One that cannot be read (another version's, a damaged disk's) is as good as none.
    with contextlib.suppress(LockInvalid, LockStale):
        lock = read_kept(text, f"the kept lock {key[:12]}")
        check_target(lock, wanted)
        return lock
    return None


def _key(spec: EnvironmentSpec, settings: Settings, wanted: target.Target, indexes: Indexes) -> str:
    """What a lock is kept under: everything that went into it."""
    content = {
        "spec": spec.digest(),
        "as of": asof.key_of(settings.as_of, datetime.now(timezone.utc)),
        "engine": settings.engine,
        "indexes": [*indexes.names(), indexes.strategy],
        "no build": settings.no_build,
        "accelerator": accelerator.chosen(settings.accelerator),
        "torch index": without_userinfo(settings.torch_index or ""),
        "forms": [sorted(settings.only_binary), sorted(settings.no_binary)],
        "repairs": Switch.of(settings).key(),
        "rules": RULES_VERSION,
        "target": str(wanted),
        **({} if spec.conda is None else {"conda": _channels_key(settings)}),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _channels_key(settings: Settings) -> list[object]:
    mirrors = [[without_userinfo(name), without_userinfo(url)] for name, url in settings.conda_mirror]
    return [mirrors, list(settings.virtual_package), settings.link_scripts]
