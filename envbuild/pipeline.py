"""The way of the data, one function an arrow:

model → spec → (override) → lock → environment → worker → predictions
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from envbuild import accelerator, asof, faults, lock_files, staleness, target
from envbuild.conda import channels
from envbuild.environment import Environment
from envbuild.errors import (
    EnvbuildError,
    IndexUnreachable,
    InterpreterMissing,
    InterpreterNotFound,
    LockError,
    LockInvalid,
    LockMissing,
    LockStale,
    StoreError,
    Unresolvable,
    WrongTarget,
)
from envbuild.indexes import Indexes, choose, logged_in
from envbuild.interpreters import Interpreter, fits
from envbuild.lock import PYTHON_REPAIRS, Lock, check_target, read_kept
from envbuild.model import Model, Notice, read_model
from envbuild.override import applying, effects
from envbuild.override.applying import Overridden
from envbuild.override.merging import override_of
from envbuild.progress import Report, Step, silent
from envbuild.redaction import without_userinfo
from envbuild.repairs.reading import mend
from envbuild.repairs.rules import NEEDS_CONSENT, RULES, Switch
from envbuild.settings import Settings
from envbuild.spec import EnvironmentSpec, read_spec
from envbuild.store import Handout, Store
from envbuild.store.flock import Held

if TYPE_CHECKING:
    from envbuild.bridge import Pool, Worker
    from envbuild.inspection import Inspection
    from envbuild.projects import Project
    from envbuild.store.making import Making

# Raised when a rule changes what the same question resolves to: locks kept under older rules are then not reused.
RULES_VERSION = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A model with what it asks for, as the deployer has it."""

    model: Model
    spec: EnvironmentSpec
    interpreter: Interpreter | None
    """Where the deployer named one by its path."""
    repairs: tuple[Notice, ...] = ()
    """What was mended in the spec."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Locked:
    """A lock, where it came from, and what the one who deploys should know about it."""

    asked: Asked
    lock: Lock
    source: str
    """``resolved``, ``kept`` (in the store), or the path of a lock file."""
    notices: tuple[Notice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A complete environment; ``was_built`` says whether this call built it, ``seconds`` what the call took."""

    locked: Locked
    environment: Environment
    lease: Held
    """Keeps the environment where it is; a worker that is started takes it over, and it ends with the process at last."""
    was_built: bool
    seconds: float
    notices: tuple[Notice, ...]


def ask(path: Path | str, settings: Settings) -> Asked:
    """Model to spec, with the override.

    :raises ModelError: it is no model.
    :raises SpecError: its files cannot be understood.
    """
    model = read_model(path)
    expand = {name: os.environ[name] for name in settings.expand if name in os.environ}
    switch = Switch.of(settings)
    override = override_of(settings, os.environ)
    leave_out = switch.allows("missing-package")
    asked = read_spec(
        model, expand, leave_out_missing=leave_out, instead=override.instead, conda=_from_channels(settings)
    )
    overridden: Overridden = applying.apply(asked, override, settings.python)
    spec, repaired = mend(overridden.spec, switch)
    # What was left out while reading is a repair like the others.
    left_out = tuple(notice for notice in spec.notices if notice.code in NEEDS_CONSENT)
    spec = replace(spec, notices=tuple(notice for notice in spec.notices if notice not in left_out))
    return Asked(model=model, spec=spec, interpreter=overridden.interpreter, repairs=(*left_out, *repaired))


def _from_channels(settings: Settings) -> bool:
    """Whether conda.yaml's own packages are to come from their channels."""
    if settings.conda_packages != "auto":
        return settings.conda_packages == "conda"
    from importlib.util import find_spec

    return find_spec("rattler") is not None


def lock(asked: Asked, settings: Settings, report: Report = silent, platform: str | None = None) -> Locked:
    """Spec to lock: a lock file that fits, one kept in the store, or a new one.

    :param platform: the newest platform tag that the environment may have; ``None``: this machine's.
    :raises LockError: there is none, or not the one that was demanded.
    """
    return _reviewed(_locked(asked, settings, report, platform), settings)


def _locked(asked: Asked, settings: Settings, report: Report, platform: str | None) -> Locked:
    asof.check(settings.as_of)
    wanted = target.of(asked.spec.python.text, platform)
    if (found := _lock_file(asked, settings, wanted)) is not None:
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


def inspect(asked: Asked, settings: Settings) -> Inspection:
    """A model, what it asks for, and what that resolved to where it was locked before; nothing is resolved."""
    from envbuild.inspection import Inspection

    asof.check(settings.as_of)
    locked, notices = None, asked.spec.notices
    try:
        locked = known_lock(asked, settings)
    except LockError as error:
        notices = (*notices, Notice(code="lock-unusable", message=error.message, place=error.place))
    lock = None if locked is None else locked.lock
    # What a lock records has no place any more; what was mended just now has.
    used = {(one.code, one.message): one for one in (*(lock.origin.notices if lock else ()), *asked.repairs)}.values()
    return Inspection(
        model=asked.model,
        spec=asked.spec,
        notices=(*notices, *(notice for notice in used if notice.code not in RULES)),
        repairs=tuple(notice for notice in used if notice.code in RULES),
        lock=lock,
        lock_source="" if locked is None else locked.source,
    )


def known_lock(asked: Asked, settings: Settings) -> Locked | None:
    """The lock that there is already: the file that was named or lies beside MLmodel, or the one kept in the store."""
    wanted = target.here(asked.spec.python.text)
    if (found := _lock_file(asked, settings, wanted)) is not None and found[0] is not None:
        return found[0]
    # Looking must not make a store.
    if not settings.home.is_dir():
        return None
    indexes, _ = _indexes(asked.spec, settings)
    lock = _kept(Store(settings), _key(asked.spec, settings, wanted, indexes), wanted)
    return None if lock is None else Locked(asked=asked, lock=lock, source="kept", notices=lock.origin.notices)


def build(locked: Locked, settings: Settings, report: Report = silent) -> Built:
    """Lock to environment: handed out from the store, or built once.

    :raises BuildError: it cannot be built.
    """
    began = time.monotonic()
    store, stale = Store(settings), list[Notice]()

    def on_stale(why: str) -> None:
        stale.append(Notice(code="interpreter-changed", message=f"the environment is built again: {why}"))

    handout, was_built = store.hand_out(locked.lock.hash, _acceptable(locked, settings), on_stale), False
    if handout is None:
        handout, was_built = _build_once(locked, settings, store, report)
        report(Step("installing", f"the environment, in {time.monotonic() - began:.1f} s", done=True))
    store.note_use(handout.environment, locked.asked.model.path)
    return Built(
        locked=locked,
        environment=handout.environment,
        lease=handout.lease,
        was_built=was_built,
        seconds=time.monotonic() - began,
        notices=(*locked.notices, *stale, *_stand_in(handout.environment.interpreter, locked.lock)),
    )


def start(built: Built, settings: Settings, stderr: Callable[[bytes], None] | None = None) -> Worker:
    """Environment to worker: started, the model being loaded.

    :param stderr: takes what the model prints; by default this process's own standard error.
    """
    started = worker(built, settings, stderr)
    started.on_end(built.lease.release)
    return started


def keep(built: Built, settings: Settings, stderr: Callable[[bytes], None] | None = None) -> Pool:
    """Environment to a model that stays at hand, in ``settings.workers`` workers: one that dies is followed by another.

    :param stderr: as for :func:`start`.
    """
    from envbuild.bridge import Pool

    return Pool(
        lambda: worker(built, settings, stderr),
        workers=settings.workers,
        idle_timeout=settings.idle_timeout,
        on_close=built.lease.release,
    )


def worker(built: Built, settings: Settings, stderr: Callable[[bytes], None] | None = None) -> Worker:
    """Environment to worker, as :func:`start`; the environment's lease stays with the caller."""
    from envbuild.bridge import Worker, options_of
    from envbuild.bridge.loaders import decided

    environment, model = built.environment, built.locked.asked.model
    options = decided(options_of(settings, stderr), model, built.locked.lock)
    return Worker.start(environment.python, model, options, shared=environment.linked, store=settings.home)


def absent_variables(settings: Settings) -> tuple[Notice, ...]:
    """What to say of variables that are to be passed on to the model and are not here."""
    if not settings.pass_env:
        return ()
    from envbuild.bridge.environ import notices_of_absent

    return notices_of_absent(settings.pass_env)


def _lock_file(
    asked: Asked, settings: Settings, wanted: target.Target
) -> tuple[Locked | None, tuple[Notice, ...]] | None:
    """The lock file that was named, or the one beside MLmodel; a stale one of the latter kind is a notice."""
    path = settings.lock or lock_files.beside(asked.model.path, with_conda=asked.spec.conda is not None)
    if settings.lock is None and settings.update:
        return None
    if path is None:
        return _unwanted(asked)
    if not path.is_file():
        raise LockMissing(f"there is no lock at {path}", hint=f"envbuild lock {asked.model.path} -o {path} makes one")

    try:
        found = lock_files.read_lock_file(path, asked.spec.python.text, wanted)
        reasons = (
            *(_reasons_of_form(found, settings)),
            *staleness.reasons_against(found, asked.spec),
            *effects.unmet(found, asked.spec, settings),
            *(_reasons_of_date(found, settings) if settings.lock is None else ()),
        )
        if reasons:
            raise LockStale(
                f"the lock {path} does not fit the model: {'; '.join(reasons)}",
                hint="lock again with envbuild lock --update, or remove it",
            )
    except LockStale as error:
        if settings.lock is not None or settings.locked:
            raise
        return None, (Notice(code="lock-stale", message=f"{error.message}; it is not used", place=error.place),)
    return Locked(asked=asked, lock=found, source=str(path), notices=asked.spec.notices), ()


def _unwanted(asked: Asked) -> tuple[None, tuple[Notice, ...]] | None:
    """A lock beside MLmodel that has conda packages, where none are wanted."""
    path = asked.model.path / lock_files.CONDA_LOCK
    if asked.spec.conda is not None or not path.is_file():
        return None
    message = f"the lock {path} is not used: no conda packages are taken from channels here (docs/lock.md)"
    return None, (Notice(code="lock-stale", message=message),)


def _reasons_of_form(lock: Lock, settings: Settings) -> tuple[str, ...]:
    """Why a lock cannot be used where conda packages are taken from the index."""
    if lock.conda is None or _from_channels(settings):
        return ()
    if settings.conda_packages == "map":
        return ("it has conda packages, and --conda-packages map takes none",)
    return ("it has conda packages, and envbuild[conda] is not installed",)


def _reasons_of_date(lock: Lock, settings: Settings) -> tuple[str, ...]:
    """Why a lock that lies in the model does not fit the date that the deployer gives."""
    wanted = asof.stated(settings.as_of)
    if settings.as_of == "created" or wanted == lock.origin.as_of:
        return ()
    return (f"it was locked as of {lock.origin.as_of or 'a date it does not say'}, --as-of is {settings.as_of}",)


def _kept_or_resolved(
    asked: Asked, settings: Settings, wanted: target.Target, notices: tuple[Notice, ...], report: Report
) -> Locked:
    indexes, index_notices = _indexes(asked.spec, settings)
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
            found = _resolve(asked, settings, wanted, indexes, relayed)
        faults.point("resolved")
        from envbuild.pylock import write_lock

        making.keep_lock(key, write_lock(found))
        faults.point("lock kept")
        return found

    attempt = _attempt(settings, indexes)
    found, was_made = making.once(f"lock-{key}", answered, resolved, report, kind="lock", attempt=attempt)
    source = "resolved" if was_made else "kept"
    return Locked(asked=asked, lock=found, source=source, notices=(*notices, *found.origin.notices))


def _attempt(settings: Settings, indexes: Indexes) -> str:
    """What may make an attempt go better than the last: a failure is remembered for the same alone."""
    answers = (settings.engine, indexes.names(), settings.offline, settings.no_build, Switch.of(settings).key())
    return json.dumps([*answers, settings.lock_timeout, settings.build_timeout, settings.python_downloads])


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


def _indexes(spec: EnvironmentSpec, settings: Settings) -> tuple[Indexes, tuple[Notice, ...]]:
    if not spec.index_lines:
        return choose(settings, (), "")
    from envbuild import uv

    return choose(settings, spec.index_lines, uv.default_index(settings.home))


def _key(spec: EnvironmentSpec, settings: Settings, wanted: target.Target, indexes: Indexes) -> str:
    """What a lock is kept under: everything that went into it."""
    content = {
        "spec": spec.digest(),
        "as of": asof.key_of(settings.as_of, datetime.now(timezone.utc)),
        "engine": settings.engine,
        "indexes": indexes.names(),
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


def _resolve(asked: Asked, settings: Settings, wanted: target.Target, indexes: Indexes, report: Report) -> Lock:
    from envbuild import interpreters
    from envbuild.question import Question
    from envbuild.repairs.attempt import AnotherPython
    from envbuild.resolvers import resolver_for

    interpreter = asked.interpreter or _of_the_time(asked.spec, settings, report)
    as_of = asof.decide(settings.as_of, asked.spec, lambda names: _dates(names, indexes, settings))
    question = Question(
        spec=asked.spec,
        target=wanted,
        interpreter=interpreter,
        as_of=as_of,
        indexes=indexes,
        settings=settings,
        repairs=asked.repairs,
    )
    resolver = resolver_for(settings.engine, asked.spec.conda)
    try:
        return _with_reason(resolver.resolve(question, report), asked.spec, settings)
    except AnotherPython as other:
        # Once: the Python that a rule found is the best that there is, and whatever else it lacks is another rule's.
        spec = replace(asked.spec, python=replace(asked.spec.python, text=other.python, source="repair"))
        question = replace(
            question,
            spec=spec,
            target=target.of(other.python, wanted.platform),
            interpreter=interpreters.find(other.python, settings, report),
            repairs=(*asked.repairs, other.notice),
            settings=settings.having(deny_repair=(*settings.deny_repair, *PYTHON_REPAIRS)),
        )
        lock = resolver.resolve(question, report)
        lock = replace(lock, origin=replace(lock.origin, spec_digest=asked.spec.digest()))
        return _with_reason(lock, asked.spec, settings)


def _with_reason(lock: Lock, spec: EnvironmentSpec, settings: Settings) -> Lock:
    """A lock that says where conda.yaml's own packages come from, and why."""
    from_channels = spec.conda is not None
    mapped = [demand.name or demand.text for demand in spec.demands if demand.origin == "conda"]
    named = [one.name for one in spec.conda.specs if one.name != "python"] if spec.conda is not None else mapped
    if not named:
        return lock
    why = f"--conda-packages {settings.conda_packages}"
    if settings.conda_packages == "auto":
        why = f"envbuild[conda] is {'' if from_channels else 'not '}installed"
    where = "come from their channels" if from_channels else "are taken from the index"
    said = f"conda.yaml's own packages ({', '.join(named)}) {where}: {why}"
    return replace(lock, origin=replace(lock.origin, conda_reason=said))


def _of_the_time(spec: EnvironmentSpec, settings: Settings, report: Report) -> Interpreter:
    """The Python that resolves, and builds what only tells its requirements when it is built."""
    from envbuild import interpreters

    try:
        return interpreters.find(spec.python.text, settings, report)
    except InterpreterNotFound:
        if spec.conda is None:
            raise
        # Channels are asked in any case, and what they have is what the model had.
        return interpreters.find(spec.python.text, settings.having(python_source="conda"), report)


def _dates(names: Iterable[str], indexes: Indexes, settings: Settings) -> Mapping[str, Project]:
    """What the index says of projects, for a model that has no date itself."""
    from envbuild import uv
    from envbuild.projects import read_projects

    wanted = list(names)
    if wanted and settings.offline:
        raise IndexUnreachable(
            "the model has no date, and the index, which would tell it, may not be asked",
            hint="run once without --offline, or give --as-of",
        )
    return read_projects(wanted, indexes, uv.default_index(settings.home))


def _stand_in(interpreter: Interpreter, lock: Lock) -> tuple[Notice, ...]:
    """What to say of an interpreter that is not the very version demanded."""
    if fits(interpreter.version, lock.python, "exact"):
        return ()
    message = f"Python {lock.python} is not here; {interpreter.version}, of the same minor version, stands in for it"
    return (Notice(code="python-patch", message=message),)


def _acceptable(locked: Locked, settings: Settings) -> Callable[[Interpreter], bool]:
    """Whether an environment that was built from an interpreter may be handed out here."""
    named = locked.asked.interpreter
    if locked.lock.conda is not None:
        return lambda interpreter: interpreter.version == locked.lock.python
    if named is not None:
        return lambda interpreter: interpreter.key == named.key
    return lambda interpreter: fits(interpreter.version, locked.lock.python, settings.python_policy)


def _build_once(locked: Locked, settings: Settings, store: Store, report: Report) -> tuple[Handout, bool]:
    from envbuild.store.making import Making, environment_name

    lock, making = locked.lock, Making(store, settings)
    _check_target(lock)
    interpreter = _interpreter(locked, settings, report)
    indexes, _ = _indexes(locked.asked.spec, settings)

    def ready() -> Handout | None:
        return store.hand_out(lock.hash, lambda found: found.key == interpreter.key)

    def make(relayed: Report) -> Handout:
        with making.cache_in_use():
            _make(locked, interpreter, indexes, settings, store, making, relayed)
        handout = ready()
        if handout is None:
            raise StoreError("the environment went away as soon as it was built", hint="build again")
        return handout

    name, attempt = environment_name(lock.hash, interpreter.key), _attempt(settings, indexes)
    handout, was_built = making.once(name, ready, make, report, kind="build", attempt=attempt)
    if was_built and settings.max_size is not None:
        from envbuild.store.upkeep import Limits, Upkeep

        Upkeep(store).collect(Limits(max_size=settings.max_size), report)
    return handout, was_built


def _make(
    locked: Locked,
    interpreter: Interpreter,
    indexes: Indexes,
    settings: Settings,
    store: Store,
    making: Making,
    report: Report,
) -> None:
    """Build an environment at its place, which nobody else may do now; what is half-made does not stay."""
    from envbuild.builders import Order, builder_for, links

    lock, place = locked.lock, store.place(locked.lock.hash, interpreter)
    making.clear(place)
    faults.point("cleared")
    order = Order(
        lock=lock,
        interpreter=interpreter,
        place=place,
        model=locked.asked.model.path,
        parts=locked.asked.spec.parts,
        indexes=_living(indexes, lock, settings),
        settings=settings,
        channels=channels_of(locked, settings),
        bytecode=store.bytecode,
        link_mode=links.resolved(settings.link_mode, settings.home),
    )
    try:
        with store.explained(needed=lock.size):
            manifest = builder_for(settings.engine, lock).build(order, report)
        making.complete(place, lock, interpreter, manifest, linked=order.link_mode == "hardlink")
    except BaseException:
        # It would be cleared by the next build as well; but what fails on a full disk must not keep it full.
        with contextlib.suppress(StoreError):
            making.clear(place)
        raise
    faults.point("complete")


def indexes_of(locked: Locked, settings: Settings) -> Indexes:
    """Where a lock's files are looked for."""
    return _living(_indexes(locked.asked.spec, settings)[0], locked.lock, settings)


def channels_of(locked: Locked, settings: Settings) -> tuple[str, ...]:
    """The channels that a spec names, and those that the deployer has in place of any; with what lets one in."""
    mirrors, part, lock = dict(settings.conda_mirror), locked.asked.spec.conda, locked.lock
    named = () if part is None else channels.channels_of(part.channels, (one.text for one in part.specs), mirrors)
    of_lock = () if lock.conda is None else lock.conda.channels
    return logged_in(dict.fromkeys((*channels.urls_of(named), *mirrors.values(), *of_lock)))


def _living(indexes: Indexes, lock: Lock, settings: Settings) -> Indexes:
    """The indexes as a lock was made from them: with those of an accelerator's builds, without those that were dead."""
    if any(notice.code == "accelerator" for notice in lock.origin.notices):
        packages = ((package.name, package.version) for package in lock.packages)
        indexes = indexes.beside(accelerator.links(packages, settings.torch_index))
    if not any(notice.code == "dead-index" for notice in lock.origin.notices):
        return indexes
    return indexes.without([url for url in indexes.from_model if without_userinfo(url) not in lock.origin.indexes])


def _check_target(lock: Lock) -> None:
    here = target.here(lock.python)
    if lock.target != here and not target.runs_here(lock.target):
        raise WrongTarget(
            f"the lock is for {lock.target}, this machine is {here}",
            hint="lock the model on a machine like this one, or here with envbuild lock --update",
        )


def _interpreter(locked: Locked, settings: Settings, report: Report) -> Interpreter:
    if locked.lock.conda is not None:
        return _in_prefix(locked.lock, Store(settings))
    if locked.asked.interpreter is not None:
        return locked.asked.interpreter
    from envbuild import interpreters

    try:
        return interpreters.find(locked.lock.python, settings, report)
    except InterpreterNotFound as error:
        raise InterpreterMissing(error.message, hint=error.hint, details=error.details) from error


def _in_prefix(lock: Lock, store: Store) -> Interpreter:
    """The Python that a lock's conda packages bring: it lies in the very prefix that they make."""
    known = python_brought(lock)
    return replace(known, executable=str(store.place(lock.hash, known) / "bin" / "python"))


def python_brought(lock: Lock) -> Interpreter:
    """The Python that a lock's conda packages bring, wherever their prefix lies."""
    machine, minor = lock.target.machine, "".join(lock.python.split(".")[:2])
    # The flag for pymalloc went with Python 3.8.
    abi = f"cpython-{minor}{'m' if minor in ('36', '37') else ''}-{machine}-linux-gnu"
    return Interpreter(executable="", version=lock.python, abi=abi, platform=f"linux-{machine}")
