"""Environment to worker."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from envbuild.model import Notice
from envbuild.pipeline.stages import Built
from envbuild.settings import Settings

if TYPE_CHECKING:
    from envbuild.bridge import Pool, Worker


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
    from envbuild.locations import hold

    environment, model = built.environment, built.locked.asked.model
    hold(model.path, settings)
    options = decided(options_of(settings, stderr), model, built.locked.lock)
    return Worker.start(environment.python, model, options, shared=environment.linked, store=settings.home)


def absent_variables(settings: Settings) -> tuple[Notice, ...]:
    """What to say of variables that are to be passed on to the model and are not here."""
    if not settings.pass_env:
        return ()
    from envbuild.bridge.environ import notices_of_absent

    return notices_of_absent(settings.pass_env)
