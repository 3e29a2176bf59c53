"""Renewal: a model that stays at hand, though its workers come and go."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType

from envbuild.bridge.prediction import Prediction
from envbuild.bridge.worker import Worker
from envbuild.errors import EnvbuildError, UsageError


class RenewedWorker:
    """A worker that is there when it is asked: another one, where the last died, timed out or was ended for idling.

    The verbs are those of :class:`Worker`. One request at a time; other threads wait their turn.
    """

    def __init__(
        self,
        start: Callable[[], Worker],
        *,
        idle_timeout: float | None = None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        """
        :param start: starts a worker that loads the model.
        :param idle_timeout: seconds after which a worker that nobody asks anything is ended.
        :param on_close: called at the end, when no other worker can come.
        """
        self._start = start
        self._idle_timeout = idle_timeout
        self._on_close = on_close
        # Held during a request: who waits for a change waits for its end as well.
        self._changed = threading.Condition()
        self._worker: Worker | None = None
        self._reads: frozenset[str] = frozenset()
        self._idle_since = 0.0
        self._closed = False
        self._watch: threading.Thread | None = None

    @property
    def pid(self) -> int | None:
        """The process id of the worker that there is now."""
        worker = self._worker
        return None if worker is None else worker.pid

    @property
    def is_usable(self) -> bool:
        """Whether there is a worker now that could be asked; the next request starts one where there is none."""
        worker = self._worker
        return worker is not None and worker.is_usable

    @property
    def reads(self) -> frozenset[str]:
        """The content types that the model's environment can parse; none before a worker has loaded the model."""
        return self._reads

    def begin(self) -> None:
        """Start a worker where there is none, and return while it loads the model; one that is busy is there.

        :raises CommandNotStarted: there is no such interpreter.
        """
        if self._changed.acquire(blocking=False):
            try:
                if self._worker is None and not self._closed:
                    self._worker = self._start()
            finally:
                self._changed.release()

    def wait_loaded(self) -> None:
        """Wait until a worker has the model loaded; one that is there and is usable has it.

        :raises ModelNotLoaded: it could not be; the next call tries again.
        :raises TimedOut: not within its time; the next call tries again.
        :raises CommandNotStarted: there is no such interpreter.
        :raises UsageError: this one is closed.
        """
        with self._changed:
            self._loaded()
            self._rest()

    def predict(
        self,
        payload: bytes | memoryview,
        content_type: str = "application/json",
        encoding: str | None = None,
        *,
        accept: str | None = None,
        keep: Sequence[str] = (),
    ) -> Prediction:
        """Predict, in a fresh worker where there is none that could be asked.

        :raises EnvbuildError: as :meth:`wait_loaded` and :meth:`Worker.predict`; the next request may go well.
        """
        with self._changed:
            worker = self._loaded()
            try:
                return worker.predict(payload, content_type, encoding, accept=accept, keep=keep)
            finally:
                if not worker.is_usable:
                    self._discard()
                self._rest()

    def kill(self) -> None:
        """End the worker that there is now at once, be it in the middle of a request; the next one starts another."""
        worker = self._worker
        if worker is not None:
            worker.kill()

    def close(self) -> None:
        """End the worker, when it has answered, and let no other come; twice does no harm."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
            try:
                self._discard()
            finally:
                self._on_close()
        if self._watch is not None:
            self._watch.join()

    def __enter__(self) -> RenewedWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _loaded(self) -> Worker:
        if self._closed:
            raise UsageError("this worker is closed")
        if self._worker is None or not self._worker.is_usable:
            self._discard()
            self._worker = self._start()
        worker = self._worker
        try:
            worker.wait_loaded()
        except BaseException:
            self._discard()
            raise
        self._reads = worker.reads
        return worker

    def _discard(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def _rest(self) -> None:
        """From now on it idles."""
        if self._idle_timeout is None or self._closed:
            return
        self._idle_since = time.monotonic()
        if self._watch is None:
            self._watch = threading.Thread(target=self._end_idle, name="envbuild-worker-idle", daemon=True)
            self._watch.start()
        self._changed.notify_all()

    def _end_idle(self) -> None:
        with self._changed:
            while not self._closed:
                left = self._idle_seconds_left()
                if left is None or left > 0:
                    self._changed.wait(left)
                else:
                    # Whatever its end is like, this thread goes on watching the next.
                    with suppress(OSError, EnvbuildError):
                        self._discard()

    def _idle_seconds_left(self) -> float | None:
        """``None`` while there is no worker that could idle."""
        if self._worker is None or self._idle_timeout is None:
            return None
        return self._idle_since + self._idle_timeout - time.monotonic()
