"""The predictor: a model in its worker, loaded before anybody asks, and put into another worker when that one died."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable

from envbuild.bridge import Prediction, Worker
from envbuild.errors import (
    CommandNotStarted,
    EnvbuildError,
    Interrupted,
    ModelNotLoaded,
    TimedOut,
)
from envbuild.progress import Report, Step, silent


class Predictor:
    """One model, in one worker at a time; one prediction at a time, other threads wait their turn."""

    def __init__(
        self,
        start: Callable[[], Worker],
        *,
        report: Report = silent,
        on_fault: Callable[[EnvbuildError], None] = lambda error: None,
    ) -> None:
        """
        :param start: starts a worker that loads the model.
        :param on_fault: told when the model could not be loaded, and when a worker was lost; not what was ended by us.
        """
        self._start = start
        self._report = report
        self._on_fault = on_fault
        self._turn = threading.Lock()
        self._worker: Worker | None = None
        self._loading = False
        self._failures = 0
        self._failure: EnvbuildError | None = None
        self._closed = False

    @property
    def failures(self) -> int:
        """How many times the model could not be loaded so far; who asks for a prediction says what it was before."""
        return self._failures

    def begin(self) -> None:
        """Begin to load the model, unless it is loaded or being loaded; returns at once."""
        if not self._loading and not self._closed:
            self._loading = True
            threading.Thread(target=self._load_in_background, name="envbuild-loader", daemon=True).start()

    def trouble(self) -> str | None:
        """Why no prediction can be made now; ``None`` where the model is loaded and its worker lives."""
        worker = self._worker
        if self._loading:
            return "the model is being loaded"
        if self._failure is not None:
            return self._failure.message
        if worker is None or not worker.is_usable:
            return "the model's worker has ended"
        return None

    def revive(self) -> None:
        """Begin to load the model again where its worker has died; what could not be loaded waits for a prediction."""
        if self._failure is None:
            self.begin()

    def predict(self, payload: bytes, content_type: str, encoding: str | None = None, *, failures: int) -> Prediction:
        """Predict, in another worker where the last one died; a load that failed is tried again.

        :param encoding: ``gzip``, where the payload is compressed.
        :param failures: :attr:`failures` when this prediction was asked for: who waited for a load that then failed
            shares its failure, and does not wait for another try.
        :raises InputError: the input cannot be understood.
        :raises ModelNotLoaded: the model could not be loaded.
        :raises Interrupted: the predictor is closed.
        :raises ModelFailed: the model raised an exception, or answered what JSON cannot hold, or ended.
        :raises Stopped: the worker was killed, or timed out.
        """
        with self._turn:
            if self._closed:
                raise Interrupted("the server is being stopped")
            worker = self._loaded(failures)
            try:
                return worker.predict(payload, content_type, encoding)
            except EnvbuildError as error:
                # Else the worker takes the next request.
                if not worker.is_usable:
                    self._discard()
                    self._tell(error)
                raise

    def abort(self) -> None:
        """Kill the worker at once, whatever it does, and start no other; waits for nothing."""
        self._closed = True
        worker = self._worker
        if worker is not None and worker.is_usable:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGHUP)  # its sentinel kills the rest

    def close(self) -> None:
        """End the worker: politely, unless it is loading or predicting just now."""
        self._closed = True
        if not self._turn.acquire(blocking=False):
            self.abort()
            self._turn.acquire()
        try:
            self._discard()
        finally:
            self._turn.release()

    def _load_in_background(self) -> None:
        try:
            # Its failure was told already; who asks for a prediction tries again.
            with self._turn, contextlib.suppress(EnvbuildError):
                if not self._closed:
                    self._loaded(self._failures)
        finally:
            self._loading = False

    def _loaded(self, failures: int) -> Worker:
        worker = self._worker
        if worker is not None and worker.is_usable:
            return worker
        if self._failure is not None and self._failures > failures:
            raise self._failure
        self._loading = True
        try:
            return self._loaded_anew()
        finally:
            self._loading = False

    def _loaded_anew(self) -> Worker:
        self._discard()
        began = time.monotonic()
        self._report(Step("loading", "the model"))
        try:
            worker = self._load()
        except EnvbuildError as error:
            self._discard()
            self._failure, self._failures = error, self._failures + 1
            self._tell(error)
            raise
        self._failure = None
        self._report(Step("loading", f"the model, in {time.monotonic() - began:.1f} s", done=True))
        return worker

    def _load(self) -> Worker:
        try:
            # First known, then asked whether it is still wanted: :meth:`abort` does it in the other order.
            worker = self._worker = self._start()
            if self._closed:
                raise Interrupted("the server is being stopped")
            worker.wait_loaded()
        except TimedOut as error:
            raise ModelNotLoaded(error.message, hint=error.hint, details=error.details) from error
        except OSError as error:
            raise CommandNotStarted(f"the model's worker cannot be started: {error}") from error
        return worker

    def _discard(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def _tell(self, error: EnvbuildError) -> None:
        # What was killed at the end is nobody's fault.
        if not self._closed:
            self._on_fault(error)
