"""A loaded model for asyncio: the same pool of workers, waited for in threads of its own."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from envbuild.api import LoadedModel, load_model
from envbuild.environment import Environment
from envbuild.errors import UsageError
from envbuild.lock import Lock
from envbuild.override.merging import settings_from

T = TypeVar("T")


class AsyncLoadedModel:
    """A model in ``workers`` workers, for ``async with``; the twin of :class:`envbuild.LoadedModel`.

    It has as many threads as workers, and each waits for one. A prediction that is cancelled while it waits for its
    turn is never made. One that is cancelled while the model computes is computed to its end, unless
    ``predict_timeout`` ends it: its worker is busy until then, its answer is dropped, and the next one in that worker
    gets its own.
    """

    def __init__(self, load: Callable[[], LoadedModel], *, workers: int) -> None:
        """
        :param load: loads the model; called in another thread.
        :param workers: how many workers it loads the model in.
        """
        self._load = load
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="envbuild-model")
        self._loaded: LoadedModel | None = None

    @property
    def lock(self) -> Lock:
        """What the model runs in."""
        return self._model.lock

    @property
    def environment(self) -> Environment:
        """Where the model runs."""
        return self._model.environment

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the workers that there are now."""
        return self._model.pids

    @property
    def busy(self) -> int:
        """How many workers predict now, of ``workers``."""
        return self._model.busy

    @property
    def workers(self) -> int:
        """How many predictions are made side by side; more wait in the order in which they came."""
        return self._model.workers

    async def predict(
        self, data: Any, params: Mapping[str, Any] | None = None, *, content_type: str | None = None
    ) -> Any:
        """The model's answer; see :meth:`envbuild.LoadedModel.predict`.

        :raises EnvbuildError: likewise; :class:`UsageError` before ``async with`` and after it.
        """
        return await self._run(functools.partial(self._model.predict, data, params, content_type=content_type))

    async def close(self) -> None:
        """End the workers when they have made the predictions that were asked for; a second time does nothing."""
        loaded, self._loaded = self._loaded, None
        if loaded is None:
            return
        ending = self._threads.submit(loaded.close)
        self._threads.shutdown(wait=False)
        await asyncio.shield(asyncio.wrap_future(ending))

    async def __aenter__(self) -> AsyncLoadedModel:
        if self._loaded is not None:
            raise UsageError("this model is loaded already")
        loading = self._threads.submit(self._load)
        try:
            self._loaded = await asyncio.wrap_future(loading)
        except BaseException:
            # Cancelled or not: what is loaded nevertheless has nobody to close it.
            loading.add_done_callback(_closed)
            self._threads.shutdown(wait=False)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def _model(self) -> LoadedModel:
        if self._loaded is None:
            raise UsageError("this model is not loaded", hint="use it in an async with statement")
        return self._loaded

    async def _run(self, call: Callable[[], T]) -> T:
        try:
            asked = self._threads.submit(call)
        except RuntimeError:  # another task closed it just now
            raise UsageError("this model is closed") from None
        return await asyncio.wrap_future(asked)


def _closed(loading: Future[LoadedModel]) -> None:
    if not loading.cancelled() and loading.exception() is None:
        loading.result().close()


def load_model_async(model: str | Path, **settings: Any) -> AsyncLoadedModel:
    """A model to be used in an ``async with`` statement, which loads it in ``workers`` workers.

    :raises UsageError: a setting cannot be what it is.
    :raises EnvbuildError: from ``async with``, as :func:`envbuild.load_model`.
    """
    workers = settings_from(settings).workers
    return AsyncLoadedModel(functools.partial(load_model, model, **settings), workers=workers)
