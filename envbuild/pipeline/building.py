"""Lock to environment: handed out from the store, or built once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

from envbuild import faults, target
from envbuild.environment import Environment
from envbuild.errors import (
    InterpreterMissing,
    InterpreterNotFound,
    StoreError,
    WrongTarget,
)
from envbuild.indexes import Indexes
from envbuild.interpreters import Interpreter, fits
from envbuild.lock import Lock
from envbuild.model import Notice
from envbuild.pipeline.locking import conditions, lock
from envbuild.pipeline.sources import channels_of, indexes_of
from envbuild.pipeline.stages import Asked, Built, Locked
from envbuild.progress import Report, Step, silent
from envbuild.settings import Settings
from envbuild.store import Handout, Store

if TYPE_CHECKING:
    from envbuild.store.making import Making


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
        notices=(*locked.notices, *stale, *_said_of(handout.environment, locked.lock, was_built=was_built)),
    )


def provide(asked: Asked, settings: Settings, report: Report = silent) -> Built:
    """Spec to environment, both arrows: :func:`lock` and :func:`build`.

    :raises LockError: there is no lock, or not the one that was demanded.
    :raises BuildError: the environment cannot be built.
    """
    with _one_rattler(asked):
        return build(lock(asked, settings, report), settings, report)


def _one_rattler(asked: Asked) -> AbstractContextManager[object]:
    """What solves conda packages also installs them: its process takes its time to start."""
    if asked.spec.conda is None:
        return contextlib.nullcontext()
    from envbuild.conda.session import session

    return session()


def ready(locked: Locked) -> Lock:
    """The lock as a builder takes it: with a bundle's wheels in the place of what they were built from.

    :raises BundleError: the bundle lacks a file of it.
    """
    bundle = locked.asked.bundle
    return locked.lock if bundle is None else bundle.ready(locked.lock)


def _said_of(environment: Environment, lock: Lock, *, was_built: bool) -> tuple[Notice, ...]:
    return (*_stand_in(environment.interpreter, lock), *(_not_run(environment, lock) if was_built else ()))


def _not_run(environment: Environment, lock: Lock) -> tuple[Notice, ...]:
    """What to say of conda packages whose own scripts have not been run."""
    if lock.conda is None or lock.conda.link_scripts:
        return ()
    from envbuild.conda.installed import linking_scripts

    if not (packages := linking_scripts(environment.path)):
        return ()
    message = f"the scripts that {', '.join(packages)} would run when linked were not run; --link-scripts runs them"
    return (Notice(code="link-scripts", message=message),)


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
    indexes = indexes_of(locked, settings)

    def handed_out() -> Handout | None:
        return store.hand_out(lock.hash, lambda found: found.key == interpreter.key)

    def make(relayed: Report) -> Handout:
        with making.cache_in_use():
            _make(locked, interpreter, indexes, settings, store, making, relayed)
        handout = handed_out()
        if handout is None:
            raise StoreError("the environment went away as soon as it was built", hint="build again")
        return handout

    name, attempt = environment_name(lock.hash, interpreter.key), conditions(settings, indexes)
    handout, was_built = making.once(name, handed_out, make, report, kind="build", attempt=attempt)
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
        lock=ready(locked),
        interpreter=interpreter,
        place=place,
        model=locked.asked.model.path,
        parts=locked.asked.spec.parts,
        indexes=indexes,
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

    if locked.asked.bundle is not None:
        locked.asked.bundle.bring_python()
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
