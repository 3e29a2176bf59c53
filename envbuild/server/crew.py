"""The crew: a model in several workers, and the bounded queue of those who wait for one of them.

Everything here belongs to the event loop; the predictors alone are asked in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from envbuild.bridge import Prediction
from envbuild.errors import EnvbuildError, InternalError, ServerBusy, TimedOut
from envbuild.request import Question
from envbuild.server.predictor import Answer, Predictor

# Of a content type in a frame that has many of them.
_LONGEST_TYPE = 200
# What a prediction is allowed at the least before its worker is killed because nobody waits for it any more.
_GRACE_SECONDS = 1.0


class Watcher(Protocol):
    """What wants to know how a crew is doing; all of it is told in the event loop."""

    def batch(self, size: int, waited: float) -> None:
        """So many requests go to a worker; the first of them waited so many seconds."""


class _Deaf:
    def batch(self, size: int, waited: float) -> None:
        """Nobody wants to know."""


class _Asked:
    """A request that waits, or is with a worker."""

    __slots__ = ("arrived", "failures", "future", "question", "turn")

    def __init__(self, question: Question, failures: tuple[int, ...], loop: asyncio.AbstractEventLoop) -> None:
        self.question = question
        self.failures = failures
        self.future: asyncio.Future[Prediction] = loop.create_future()
        self.arrived = loop.time()
        self.turn: _Turn | None = None


class _Turn:
    """Some requests with a worker."""

    __slots__ = ("asked", "given_up", "predictor", "waiting")

    def __init__(self, predictor: Predictor, asked: Sequence[_Asked]) -> None:
        self.predictor = predictor
        self.asked = asked
        self.waiting = len(asked)
        self.given_up: asyncio.TimerHandle | None = None


class Crew:
    """Requests for predictions, in the order in which they come, each to a worker that has none.

    A worker that is being loaded gets nothing while others live. Of several free ones the one that was asked last is
    asked again. With ``batch_size`` over 1 requests that wait are put to a worker together.
    """

    def __init__(
        self,
        predictors: Sequence[Predictor],
        *,
        queue: int = 100,
        batch_size: int = 1,
        batch_wait: float = 0.0,
        request_timeout: float | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        """
        :param queue: how many requests may wait.
        :param batch_size: how many requests are put to a worker together at the most.
        :param batch_wait: how many seconds a request waits for others to come, where a worker is free.
        :param request_timeout: how many seconds a request may take, its waiting included.
        """
        self._predictors = tuple(predictors)
        self._queue, self._batch_size, self._batch_wait = queue, batch_size, batch_wait
        self._request_timeout = request_timeout
        self._watcher = watcher or _Deaf()
        self._idle = list(self._predictors)
        self._waiting: deque[_Asked] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = ThreadPoolExecutor(len(self._predictors), thread_name_prefix="envbuild-predictor")

    @property
    def predictors(self) -> tuple[Predictor, ...]:
        """One a worker."""
        return self._predictors

    @property
    def waiting(self) -> int:
        """How many requests wait for a worker now."""
        return len(self._waiting)

    @property
    def busy(self) -> int:
        """How many workers have a request now."""
        return len(self._predictors) - len(self._idle)

    def trouble(self) -> str | None:
        """Why no worker is ready; ``None`` where one is."""
        troubles = [predictor.trouble() for predictor in self._predictors]
        return None if None in troubles else troubles[0]

    def revive(self) -> None:
        """Have workers that died load the model again."""
        for predictor in self._idle:
            if not predictor.is_usable:
                predictor.revive()

    def wake(self) -> None:
        """Look again who is free: a worker has loaded the model, or could not. Any thread may call this."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # it was closed
                loop.call_soon_threadsafe(self._dispatch)

    async def predict(self, question: Question) -> Prediction:
        """Predict as soon as a worker is free; who is cancelled leaves the queue, or his worker.

        :raises ServerBusy: too many wait already.
        :raises TimedOut: it was not answered in time.
        :raises EnvbuildError: as :meth:`Predictor.predict`.
        """
        loop = self._loop = asyncio.get_running_loop()
        if len(self._waiting) >= self._queue and self._choice() is None:
            raise ServerBusy(f"{len(self._waiting)} requests wait for the model already", hint="try again in a moment")
        asked = _Asked(question, tuple(one.failures for one in self._predictors), loop)
        self._waiting.append(asked)
        self._dispatch()
        try:
            return await asyncio.wait_for(asked.future, self._request_timeout)
        except asyncio.TimeoutError:
            self._leave(asked)
            raise TimedOut(f"the request was not answered within {self._request_timeout:g} seconds") from None
        except asyncio.CancelledError:
            self._leave(asked)
            raise

    def close(self) -> None:
        """Let no thread be left; nobody asks any more."""
        self._threads.shutdown(wait=False)

    def _dispatch(self) -> None:
        """Put requests that wait to workers that are free."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and (predictor := self._choice()) is not None:
            due = self._waiting[0].arrived + self._batch_wait
            if len(self._waiting) < self._batch_size and due > asyncio.get_running_loop().time():
                self._timer = asyncio.get_running_loop().call_at(due, self._dispatch)
                return
            self._idle.remove(predictor)
            task = asyncio.get_running_loop().create_task(self._serve(_Turn(predictor, self._taken())))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _choice(self) -> Predictor | None:
        """The free worker to ask: the last that was asked, of those that have the model loaded."""
        for predictor in reversed(self._idle):
            if predictor.is_usable:
                return predictor
            predictor.revive()
        # Where none lives, a request makes one try again, and is told what comes of it.
        return self._idle[-1] if len(self._idle) == len(self._predictors) else None

    def _taken(self) -> list[_Asked]:
        taken = [self._waiting.popleft()]
        while (
            self._waiting and len(taken) < self._batch_size and all(map(_goes_together, (taken[0], self._waiting[0])))
        ):
            taken.append(self._waiting.popleft())
        return taken

    async def _serve(self, turn: _Turn) -> None:
        for asked in turn.asked:
            asked.turn = turn
        loop = asyncio.get_running_loop()
        self._watcher.batch(len(turn.asked), loop.time() - turn.asked[0].arrived)
        place = self._predictors.index(turn.predictor)
        ask = functools.partial(
            turn.predictor.answer,
            [asked.question for asked in turn.asked],
            failures=min(asked.failures[place] for asked in turn.asked),
        )
        answers: Sequence[Answer]
        try:
            answers = await loop.run_in_executor(self._threads, ask)
        except Exception as error:  # noqa: BLE001 - a fault of our own is each one's answer
            answers = [InternalError(f"{type(error).__name__}: {error}")] * len(turn.asked)
        finally:
            if turn.given_up is not None:
                turn.given_up.cancel()
            self._idle.append(turn.predictor)
        for asked, answer in zip(turn.asked, answers):
            _answer(asked.future, answer)
        self._dispatch()

    def _leave(self, asked: _Asked) -> None:
        """Nobody waits for this one any more."""
        turn = asked.turn
        if turn is None:
            if asked in self._waiting:
                self._waiting.remove(asked)
            return
        turn.waiting -= 1
        if not turn.waiting and turn.predictor not in self._idle:
            # Loading the model again costs others as much as it took; a prediction may take as long before that is less.
            grace = max(_GRACE_SECONDS, turn.predictor.load_seconds)
            turn.given_up = asyncio.get_running_loop().call_later(grace, turn.predictor.give_up)


def _goes_together(asked: _Asked) -> bool:
    return len(asked.question.content_type) <= _LONGEST_TYPE and not asked.question.keep


def _answer(future: asyncio.Future[Prediction], answer: Answer) -> None:
    if future.done():
        return
    if isinstance(answer, EnvbuildError):
        future.set_exception(answer)
    else:
        future.set_result(answer)
