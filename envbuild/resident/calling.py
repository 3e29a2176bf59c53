"""Calling: what a call does to be answered by a resident worker, and to leave one behind.

Nothing here may keep a call from its answer: whatever goes wrong with a resident worker, a fresh one is started.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

from envbuild import pipeline
from envbuild.model import MLMODEL, Notice
from envbuild.resident.ground import Ground, Name, Unusable

if TYPE_CHECKING:
    from envbuild.bridge import Worker
    from envbuild.pipeline import Built
    from envbuild.resident.asking import Found, ResidentWorker
    from envbuild.resident.key import Facts
    from envbuild.resident.order import Started
    from envbuild.settings import Settings

_ID_LETTERS: Final = 16
_TRIES, _PAUSE = 25, 0.02

Sink = Callable[[bytes], None]


class Call:
    """One call's way to a worker: a resident one, one that becomes resident, or one of its own."""

    def __init__(self, model: Path, settings: Settings) -> None:
        """Look whether a worker will have to be left behind, and have its keeper start meanwhile.

        :param model: the model as the call names it.
        """
        self._settings = settings
        self._started: Started | None = None
        self._why_not: str | None = None
        if settings.keep_warm is not None and self._needs_keeper(model):
            self._start_keeper()

    def worker(self, built: Built, stderr: Sink | None = None) -> ResidentWorker | Worker:
        """A worker for an environment, told to load the model where it has not.

        :param stderr: takes what the model prints; by default this process's own standard error.
        :raises EnvbuildError: as :func:`envbuild.pipeline.start`.
        """

        def fresh() -> Worker:
            return pipeline.start(built, self._settings, stderr)

        found = None
        try:
            found = self._resident(built)
        except Unusable as error:
            self._why_not = str(error)
        except OSError as error:
            self._why_not = error.strerror or str(error)
        if found is None:
            return fresh()
        from envbuild.resident.asking import ResidentWorker

        return ResidentWorker(found, self._settings, stderr, fresh)

    def notices(self) -> tuple[Notice, ...]:
        """What to say of a worker that was to stay behind, and does not."""
        if self._settings.keep_warm is None or self._why_not is None:
            return ()
        return (Notice(code="not-kept-warm", message=f"no worker stays behind: {self._why_not}"),)

    def close(self) -> None:
        """Let go of the keeper that was started; without an order it ends."""
        if self._started is not None:
            self._started.close()
            self._started = None

    def __enter__(self) -> Call:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _needs_keeper(self, model: Path) -> bool:
        """Whether a worker will have to be left behind, as far as can be told before its key is known."""
        # Whatever is wrong with the model is said when it is read.
        with contextlib.suppress(Unusable, OSError, RuntimeError):
            path = Path(os.path.abspath(model.expanduser()))  # noqa: PTH100 - links stay, as for the model itself
            directory = path.parent if path.name == MLMODEL else path
            if not (directory / MLMODEL).is_file():
                return False
            if (ground := Ground.opened(self._settings.home)) is None:
                return True
            with ground:
                return not _has_any(ground, directory)
        return False

    def _start_keeper(self) -> None:
        from envbuild import process
        from envbuild.resident.order import Started

        with contextlib.suppress(process.NotStarted):
            self._started = Started(self._settings)

    def _resident(self, built: Built) -> Found | None:
        keeps = self._settings.keep_warm is not None
        ground = Ground.opened(self._settings.home, make=keeps)
        if ground is None:
            return None
        with ground:
            path = built.locked.asked.model.path
            if not keeps and not _has_any(ground, path):
                return None
            from envbuild.resident.asking import found
            from envbuild.resident.key import content_of, facts_of

            facts = facts_of(path)
            key = ground.digest(content_of(facts, built.environment, path, self._settings))
            name = Name(ground.tag_of(path), key[:_ID_LETTERS])
            if (there := found(ground, name, key)) is not None or not keeps:
                return there
            return self._left_behind(ground, name, key, facts, built)

    def _left_behind(self, ground: Ground, name: Name, key: str, facts: Facts, built: Built) -> Found | None:
        from envbuild.resident.asking import found
        from envbuild.resident.order import FAILED, Order

        if self._started is None:
            self._start_keeper()
        if self._started is None or self._settings.keep_warm is None:
            return None
        order = Order(
            name=name,
            key=key,
            facts=facts,
            locked=built.locked,
            environment=built.environment,
            settings=self._settings,
            keep_warm=self._settings.keep_warm,
        )
        if self._started.give(order) == FAILED:
            self._why_not = "its keeper could not be started"
            return None
        # Another one may be about to listen, or about to end.
        for _ in range(_TRIES):
            if (there := found(ground, name, key)) is not None:
                return there
            time.sleep(_PAUSE)
        self._why_not = "its keeper does not answer"
        return None


def _has_any(ground: Ground, model: Path) -> bool:
    """Whether there is any worker of a model, of whatever key."""
    tag = ground.tag_of(model)
    return any(name.tag == tag for name in ground.names())
