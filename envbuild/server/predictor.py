"""The predictor: a model in its worker, loaded before anybody asks, and put into another worker when that one died."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from envbuild.bridge import Prediction, Worker
from envbuild.errors import (
    CommandNotStarted,
    ConfinementUnavailable,
    EnvbuildError,
    Interrupted,
    ModelNotLoaded,
    TimedOut,
    WorkerKilled,
)
from envbuild.progress import Report, Step, silent
from envbuild.request import Question

_T = TypeVar("_T")
Answer = Prediction | EnvbuildError
# Of all requests, whichever of them was meant.
_NOBODYS = (ModelNotLoaded, CommandNotStarted, ConfinementUnavailable, Interrupted)
_RETRY_SECONDS = 10.0
# How many times in a row a load may be killed, of a model that was loaded before, until all who wait are told so.
_LOADS = 3


class Predictor:
    """One model, in one worker at a time; one prediction at a time, other threads wait their turn."""

    def __init__(
        self,
        start: Callable[[], Worker],
        *,
        probe: Question | None = None,
        report: Report = silent,
        on_fault: Callable[[EnvbuildError], None] = lambda error: None,
        on_change: Callable[[], None] = lambda: None,
        retry_seconds: float = _RETRY_SECONDS,
    ) -> None:
        """
        :param start: starts a worker that loads the model.
        :param probe: what a worker that has loaded the model has to answer before it counts as ready.
        :param on_fault: told when the model could not be loaded, and when a worker was lost; not what was ended by us.
        :param on_change: called when the model was loaded, or could not be; by whichever thread loaded it.
        :param retry_seconds: after which a model that could not be loaded is tried again without anybody asking for a
            prediction, and how long a worker has to live at the least to be replaced at once when it ends by itself.
        """
        self._start = start
        self._probe = probe
        self._report = report
        self._on_fault = on_fault
        self._on_change = on_change
        self._retry_seconds = retry_seconds
        self._retry: threading.Timer | None = None
        self._turn = threading.Lock()
        self._worker: Worker | None = None
        self._loading = False
        self._failures = 0
        self._failed_at = 0.0
        self._loaded_at = 0.0
        self._failure: EnvbuildError | None = None
        self._unanswered: EnvbuildError | None = None
        self._closed = False
        self._given_up = False
        self._restarts = -1
        self._load_seconds = 1.0

    @property
    def failures(self) -> int:
        """How many times the model could not be loaded so far; who asks for a prediction says what it was before."""
        return self._failures

    @property
    def restarts(self) -> int:
        """How many workers followed the first one."""
        return max(0, self._restarts)

    @property
    def load_seconds(self) -> float:
        """How long the model took to load the last time."""
        return self._load_seconds

    @property
    def pid(self) -> int | None:
        """The process id of the worker that there is now."""
        worker = self._worker
        return None if worker is None else worker.pid

    def begin(self) -> None:
        """Begin to load the model, unless it is loaded or being loaded; returns at once."""
        if not self._closed and not self._loading and not self.is_usable:
            self._loading = True
            threading.Thread(target=self._load_in_background, name="envbuild-loader", daemon=True).start()

    @property
    def is_loading(self) -> bool:
        """Whether the model is being loaded; that it was, or could not be, is told by ``on_change``."""
        return self._loading

    @property
    def is_usable(self) -> bool:
        """Whether a prediction could begin at once: the model is loaded and its worker lives."""
        worker = self._worker
        return not self._loading and self._failure is None and worker is not None and worker.is_usable

    def trouble(self) -> str | None:
        """Why no prediction can be made now, or why none should be asked for; ``None``: all is well."""
        if self._loading:
            return "the model is being loaded"
        if self._failure is not None:
            return self._failure.message
        if not self.is_usable:
            return "the model's worker has ended"
        if self._unanswered is not None:
            return f"the model did not answer its own input example: {self._unanswered.message}"
        return None

    def revive(self) -> None:
        """Begin to load the model again where its worker has died, or some time after it could not be loaded."""
        if self._failure is None or time.monotonic() - self._failed_at > self._retry_seconds:
            self.begin()

    def predict(self, question: Question, *, failures: int) -> Prediction:
        """Predict, in another worker where the last one died; a load that failed is tried again.

        :param failures: :attr:`failures` when this prediction was asked for: who waited for a load that then failed
            shares its failure, and does not wait for another try.
        :raises InputError: the input cannot be understood.
        :raises ModelNotLoaded: the model could not be loaded.
        :raises Interrupted: the predictor is closed.
        :raises ModelFailed: the model raised an exception, or answered what JSON cannot hold, or ended.
        :raises Stopped: the worker was killed, or timed out.
        """
        return self._with_worker(lambda worker: worker.predict_one(question), failures)

    def predict_together(self, questions: Sequence[Question], *, failures: int) -> list[Answer | None]:
        """What comes of each of several requests in one call of the model; ``None``: it is to be asked alone.

        Where the call fails for all, whose fault it is shows when each is asked alone.

        :param failures: as :meth:`predict`'s.
        """
        try:
            return list(self._with_worker(lambda worker: worker.predict_each(questions), failures))
        except _NOBODYS as error:
            return [error] * len(questions)
        except EnvbuildError:
            return [None] * len(questions)

    def _with_worker(self, ask: Callable[[Worker], _T], failures: int) -> _T:
        with self._turn:
            self._given_up = False
            if self._closed:
                raise Interrupted("the server is being stopped")
            worker = self._loaded(failures)
            if self._given_up:  # a worker that is loading is not killed for it
                raise Interrupted("nobody waits for it any more")
            try:
                return ask(worker)
            except EnvbuildError as error:
                # Else the worker takes the next request.
                if not worker.is_usable:
                    self._discard()
                    self._tell(error)
                raise
            finally:
                self._given_up = False

    def give_up(self) -> None:
        """End the prediction that is being made, for nobody waits for it: its worker is killed; returns at once."""
        worker = self._worker
        if worker is None or not self._turn.locked():
            return
        # First said, then looked: who has just loaded the model does it in the other order.
        self._given_up = True
        if not self._loading:
            # Its end is waited for, and that is not for the one who asks.
            threading.Thread(target=worker.kill, name="envbuild-killer", daemon=True).start()

    def abort(self) -> None:
        """Kill the worker at once, whatever it does, and start no other; waits for nothing."""
        self._close()
        worker = self._worker
        if worker is not None and worker.is_usable:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGHUP)  # its sentinel kills the rest

    def close(self) -> None:
        """End the worker: politely, unless it is loading or predicting just now."""
        self._close()
        if not self._turn.acquire(blocking=False):
            self.abort()
            self._turn.acquire()
        try:
            self._discard()
        finally:
            self._turn.release()

    def _close(self) -> None:
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()

    def _begin_later(self) -> None:
        """Begin to load the model after some time, unless that has been done meanwhile."""
        if self._retry is not None:
            self._retry.cancel()
        self._retry = threading.Timer(self._retry_seconds, self.begin)
        self._retry.daemon = True
        if not self._closed:
            self._retry.start()

    def _on_end(self, worker: Worker) -> None:
        """A worker has ended; who had it in use, or ended it, sees to that himself."""
        if worker is not self._worker or self._turn.locked() or self._closed:
            return
        # One that dies again and again by itself is not to keep the machine busy with its loading.
        if time.monotonic() - self._loaded_at > self._retry_seconds:
            self.begin()
        else:
            self._begin_later()

    def _load_in_background(self) -> None:
        try:
            # Its failure was told already; who asks for a prediction tries again.
            with self._turn, contextlib.suppress(EnvbuildError):
                if not self._closed:
                    self._loaded(self._failures)
        finally:
            self._loading = False
            worker = self._worker
            if worker is not None and not worker.is_usable:
                self._on_end(worker)
            self._on_change()

    def _loaded(self, failures: int) -> Worker:
        worker = self._worker
        if worker is not None and worker.is_usable:
            return worker
        if self._failure is not None and self._failures > failures:
            raise self._failure.with_traceback(None)  # else it would grow with each one that shares it
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
            self._load_seconds = time.monotonic() - began
            self._report(Step("loading", f"the model, in {self._load_seconds:.1f} s", done=True))
            if not self._survives_probe(worker):
                self._discard()
                worker = self._load()
        except EnvbuildError as error:
            self._discard()
            self._failure, self._failures, self._failed_at = error, self._failures + 1, time.monotonic()
            self._begin_later()
            self._tell(error)
            raise
        self._failure = None
        self._loaded_at = time.monotonic()
        worker.on_end(lambda: self._on_end(worker))
        return worker

    def _load(self) -> Worker:
        """A worker that has loaded the model; where that is known to be possible, being killed on the way is no reason to fail."""
        left = _LOADS if self._loaded_at else 1
        while True:
            left -= 1
            try:
                return self._load_once()
            except WorkerKilled as error:
                if not left or self._closed:
                    raise
                self._discard()
                self._tell(error)

    def _load_once(self) -> Worker:
        self._restarts += 1
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

    def _survives_probe(self, worker: Worker) -> bool:
        """Ask the model its own example; whether the worker lives on.

        An example that it cannot answer keeps the model from being called ready, not from being asked.
        """
        if self._probe is None:
            return True
        self._unanswered = None
        try:
            worker.predict_one(self._probe)
        except EnvbuildError as error:
            self._unanswered = error
            self._tell(type(error)(f"the model did not answer its own input example: {error.message}", hint=error.hint))
            if not worker.is_usable:
                self._probe = None  # it would end the next worker too
                return self._closed
        return True

    def _discard(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.close()

    def _tell(self, error: EnvbuildError) -> None:
        # What was killed at the end, or because nobody waited for it, is nobody's fault.
        if not self._closed and not self._given_up:
            self._on_fault(error)
