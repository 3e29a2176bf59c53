"""The crew: a model in several workers, and the bounded queue of those who wait for one of them.

Everything here belongs to the event loop; the predictors alone are asked in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from envbuild.bridge import Prediction
from envbuild.errors import EnvbuildError, InternalError, ServerBusy, TimedOut
from envbuild.request import Question
from envbuild.server.predictor import Answer, Predictor

# What the header of a frame with several requests may take, of the 64 KiB that one may have, and what a request takes
# in it besides its content types, whose characters may each be written as six.
_HEADER_ROOM = 60_000
_HEADER_OF_ONE = 150
# So many bytes of requests are copied into one frame at the most.
_PAYLOAD_ROOM = 16 * 2**20
# What a prediction is allowed at the least before its worker is killed because nobody waits for it any more.
_GRACE_SECONDS = 1.0


class Watcher(Protocol):
    """What wants to know how a crew is doing; all of it is told in the event loop."""

    def batch(self, size: int, waited: float) -> None:
        """So many requests go to a worker; the first of them waited so many seconds."""


Told = Callable[[float, float], None]


def _untold(waited: float, predicted: float) -> None:
    """Nobody wants to know."""


class _Deaf:
    def batch(self, size: int, waited: float) -> None:
        """Nobody wants to know."""


class _Asked:
    """A request that waits, or is with a worker."""

    __slots__ = ("arrived", "failures", "future", "is_for_itself", "question", "turn")

    def __init__(self, question: Question, failures: tuple[int, ...], loop: asyncio.AbstractEventLoop) -> None:
        self.question = question
        self.failures = failures
        self.future: asyncio.Future[Prediction] = loop.create_future()
        self.arrived = loop.time()
        self.is_for_itself = False
        self.turn: _Turn | None = None


class _Turn:
    """Some requests with a worker."""

    __slots__ = ("asked", "began", "given_up", "is_over", "predictor")

    def __init__(self, predictor: Predictor, asked: Sequence[_Asked]) -> None:
        self.predictor = predictor
        self.asked = asked
        self.began = asyncio.get_running_loop().time()
        self.is_over = False
        self.given_up: asyncio.TimerHandle | None = None
        for one in asked:
            one.turn = self


class Crew:
    """Requests for predictions, in the order in which they come, each to a worker that has none.

    A worker that is being loaded gets nothing while others live. Of several free ones the one that was asked last is
    asked again. With ``batch_size`` over 1 requests that wait are put to a worker together; where that fails, each is asked
    alone, by whichever worker is free, before those that came later.
    """

    def __init__(
        self,
        predictors: Sequence[Predictor],
        *,
        queue: int = 100,
        batch_size: int = 1,
        batch_wait: float = 0.0,
        request_timeout: float | None = None,
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
        self._watcher: Watcher = _Deaf()
        self._retired = False
        self._idle = list(self._predictors)
        self._waiting: deque[_Asked] = deque()
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

    def watch(self, watcher: Watcher) -> None:
        """Tell this one from now on."""
        self._watcher = watcher

    def retire(self) -> None:
        """Have no more to do than what is asked already; a handler of signals may call this."""
        self._retired = True

    def trouble(self) -> str | None:
        """Why no worker is ready, or nobody should ask any more; ``None`` where one is."""
        if self._retired:
            return "the server is being stopped"
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

    async def predict(self, question: Question, told: Told = _untold) -> Prediction:
        """As :meth:`ask`, for one that has nothing else to wait for."""
        return await self.ask(question, told)

    def ask(self, question: Question, told: Told = _untold) -> asyncio.Future[Prediction]:
        """The prediction that is to be made as soon as a worker is free; cancelled, it leaves the queue, or its worker.

        Its errors are those of :meth:`Predictor.predict`, and ``TimedOut``, where it was not answered in time.

        :param told: of a request that came to a worker, how many seconds it waited, and was with the worker.
        :raises ServerBusy: too many wait already.
        """
        loop = self._loop = asyncio.get_running_loop()
        if len(self._waiting) >= self._queue and self._choice() is None:
            raise ServerBusy(f"{len(self._waiting)} requests wait for the model already", hint="try again in a moment")
        asked = _Asked(question, tuple(one.failures for one in self._predictors), loop)
        limit = self._request_timeout
        expiry = None if limit is None else loop.call_later(limit, self._expire, asked)

        def settled(future: asyncio.Future[Prediction]) -> None:
            if expiry is not None:
                expiry.cancel()
            # An error that nobody takes is not to be told as one that was forgotten.
            if future.cancelled() or future.exception() is not None:
                self._leave(asked)
            if asked.turn is not None:
                told(asked.turn.began - asked.arrived, loop.time() - asked.turn.began)

        asked.future.add_done_callback(settled)
        self._waiting.append(asked)
        self._dispatch()
        return asked.future

    def close(self) -> None:
        """Let no thread be left; nobody asks any more."""
        self._threads.shutdown(wait=False)

    def _dispatch(self) -> None:
        """Put requests that wait to workers that are free."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and (predictor := self._choice()) is not None:
            first = self._waiting[0]
            if first.future.done():  # it was cancelled a moment ago
                self._waiting.popleft()
                continue
            due = first.arrived + (0.0 if first.is_for_itself else self._batch_wait)
            if len(self._waiting) < self._batch_size and due > asyncio.get_running_loop().time():
                self._timer = asyncio.get_running_loop().call_at(due, self._dispatch)
                return
            self._begin(_Turn(predictor, self._taken()))

    def _choice(self) -> Predictor | None:
        """The free worker to ask: the last that was asked, of those that have the model loaded."""
        for predictor in reversed(self._idle):
            if predictor.is_usable:
                return predictor
            predictor.revive()
        if len(self._idle) < len(self._predictors) or any(one.is_loading for one in self._predictors):
            return None
        # Where none lives and none is on its way, a request makes one try again, and is told what comes of it.
        return self._idle[-1]

    def _taken(self) -> list[_Asked]:
        taken = [self._waiting.popleft()]
        if self._batch_size == 1 or taken[0].is_for_itself:
            return taken
        header, payload = _room_of(taken[0].question)
        while self._waiting and len(taken) < self._batch_size and not self._waiting[0].is_for_itself:
            more_header, more_payload = _room_of(self._waiting[0].question)
            header, payload = header + more_header, payload + more_payload
            if header > _HEADER_ROOM or payload > _PAYLOAD_ROOM:
                break
            taken.append(self._waiting.popleft())
        return taken

    def _begin(self, turn: _Turn) -> None:
        """Have a turn's requests answered in a thread; :meth:`_end` takes the answers."""
        loop, predictor = asyncio.get_running_loop(), turn.predictor
        self._idle.remove(predictor)
        self._watcher.batch(len(turn.asked), loop.time() - turn.asked[0].arrived)
        place = self._predictors.index(predictor)
        failures = min(asked.failures[place] for asked in turn.asked)
        # Callbacks and no coroutine: each turn of the event loop that a request needs is one that it waits for.
        self._threads.submit(self._compute, turn, failures, loop)

    def _compute(self, turn: _Turn, failures: int, loop: asyncio.AbstractEventLoop) -> None:
        """What comes of a turn; in a thread of its own."""
        questions = [asked.question for asked in turn.asked]
        answers: Sequence[Answer | None]
        try:
            if len(questions) > 1:
                answers = turn.predictor.predict_together(questions, failures=failures)
            else:
                answers = [turn.predictor.predict(questions[0], failures=failures)]
        except EnvbuildError as error:
            answers = [error]
        except Exception as error:  # noqa: BLE001 - a fault of our own is each one's answer
            answers = [InternalError(f"{type(error).__name__}: {error}")] * len(questions)
        with contextlib.suppress(RuntimeError):  # it was closed, at the second signal
            loop.call_soon_threadsafe(self._end, turn, answers)

    def _end(self, turn: _Turn, answers: Sequence[Answer | None]) -> None:
        """Give answers to whom they belong; what is to be asked alone goes back to the head of the queue."""
        turn.is_over = True
        if turn.given_up is not None:
            turn.given_up.cancel()
        self._idle.append(turn.predictor)
        # The last one first, so that the first one comes to stand at the head.
        for asked, answer in zip(reversed(turn.asked), reversed(answers)):
            if asked.future.done():
                continue
            if answer is None:
                asked.is_for_itself, asked.turn = True, None
                self._waiting.appendleft(asked)
            elif isinstance(answer, EnvbuildError):
                asked.future.set_exception(answer)
            else:
                asked.future.set_result(answer)
        if not turn.predictor.is_usable:
            turn.predictor.revive()
        self._dispatch()

    def _expire(self, asked: _Asked) -> None:
        if not asked.future.done():
            late = TimedOut(f"the request was not answered within {self._request_timeout:g} seconds")
            asked.future.set_exception(late)

    def _leave(self, asked: _Asked) -> None:
        """Nobody waits for this one any more."""
        turn = asked.turn
        if turn is None:
            if asked in self._waiting:
                self._waiting.remove(asked)
        elif not turn.is_over and turn.given_up is None and all(one.future.done() for one in turn.asked):
            # Loading the model again costs others as much as it took; a prediction may take as long before that is less.
            grace = max(_GRACE_SECONDS, turn.predictor.load_seconds)
            turn.given_up = asyncio.get_running_loop().call_later(grace, turn.predictor.give_up)


def _room_of(question: Question) -> tuple[int, int]:
    """What a request takes of the header and the payload of a frame with several, at the most."""
    types = len(question.content_type) + len(question.accept or "") + sum(map(len, question.keep))
    return _HEADER_OF_ONE + 6 * types, len(question.payload)
