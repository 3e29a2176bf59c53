"""The pool: one model in several workers, side by side."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import TracebackType

from envbuild.bridge.prediction import Prediction
from envbuild.bridge.renewal import RenewedWorker
from envbuild.bridge.worker import Worker
from envbuild.errors import EnvbuildError, UsageError


class Pool:
    """So many workers with one model, for so many threads: each request goes to one that has none.

    Where all are busy a request waits for the first that is free, in the order in which they came. Of several free
    ones the one that was asked last is asked again, so that those which are not needed can idle to their end; one that
    would have to be started comes last. Each is renewed by itself (:class:`RenewedWorker`).
    """

    def __init__(
        self,
        start: Callable[[], Worker],
        *,
        workers: int = 1,
        idle_timeout: float | None = None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        """
        :param start: starts a worker that loads the model.
        :param workers: how many there are at the most.
        :param idle_timeout: seconds after which a worker that nobody asks anything is ended.
        :param on_close: called at the end, when the last worker has ended.
        :raises UsageError: ``workers`` is less than 1.
        """
        if workers < 1:
            raise UsageError(f"a pool of {workers} workers answers nothing", hint="give 1 or more")
        self._all = tuple(RenewedWorker(start, idle_timeout=idle_timeout) for _ in range(workers))
        self._on_close = on_close
        # Notified when a worker becomes free, when a request leaves the queue, and at the end.
        self._changed = threading.Condition()
        self._free = list(self._all)
        self._queue: deque[object] = deque()
        self._closed = False

    @property
    def size(self) -> int:
        """How many workers there are at the most, which is how many requests are served side by side."""
        return len(self._all)

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the workers that there are now."""
        return tuple(pid for pid in (worker.pid for worker in self._all) if pid is not None)

    @property
    def busy(self) -> int:
        """How many workers serve a request now."""
        return len(self._all) - len(self._free)

    @property
    def waiting(self) -> int:
        """How many requests wait for a worker now."""
        return len(self._queue)

    @property
    def reads(self) -> frozenset[str]:
        """The content types that the model's environment can parse; none before a worker has loaded the model."""
        return next((worker.reads for worker in self._all if worker.reads), frozenset())

    def wait_loaded(self) -> None:
        """Have every worker load the model, side by side, and wait for all.

        :raises ModelNotLoaded: one of them could not; the next call tries again.
        :raises TimedOut: one of them did not within its time; the next call tries again.
        :raises CommandNotStarted: there is no such interpreter.
        :raises UsageError: the pool is closed.
        """
        failures: list[EnvbuildError] = []
        for step in (RenewedWorker.begin, RenewedWorker.wait_loaded):
            for worker in self._all:
                try:
                    step(worker)
                except EnvbuildError as error:  # the others are waited for all the same
                    failures.append(error)
            if failures:
                raise failures[0]

    def predict(
        self,
        payload: bytes | memoryview,
        content_type: str = "application/json",
        encoding: str | None = None,
        *,
        accept: str | None = None,
        keep: Sequence[str] = (),
    ) -> Prediction:
        """Predict, in the first worker that is free; see :meth:`Worker.predict`.

        :raises EnvbuildError: as :meth:`RenewedWorker.predict`; other requests do not notice.
        """
        with self._turn() as worker:
            return worker.predict(payload, content_type, encoding, accept=accept, keep=keep)

    def kill(self) -> None:
        """End the workers that there are now at once, also those in the middle of a request."""
        for worker in self._all:
            worker.kill()

    def close(self) -> None:
        """End the workers, each when it has answered; requests that still wait are refused. Twice does no harm."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
        with ExitStack() as ends:
            ends.callback(self._on_close)
            for worker in self._all:
                ends.callback(worker.close)

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _turn(self) -> Iterator[RenewedWorker]:
        """A worker to oneself."""
        worker = self._taken()
        try:
            yield worker
        finally:
            with self._changed:
                self._free.append(worker)
                self._changed.notify_all()

    def _taken(self) -> RenewedWorker:
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                self._changed.wait_for(lambda: self._closed or (self._free and self._queue[0] is ticket))
                if self._closed:
                    raise UsageError("this model is closed")
                return self._free.pop(self._best())
            finally:
                self._queue.remove(ticket)
                if self._free:  # the next in the queue may go at once
                    self._changed.notify_all()

    def _best(self) -> int:
        """Which of the free workers to ask: the last that was asked, of those that need not be started."""
        if len(self._free) == 1:
            return 0
        places = range(len(self._free) - 1, -1, -1)
        return next((at for at in places if self._free[at].is_usable), len(self._free) - 1)
