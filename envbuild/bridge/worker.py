"""The worker as the host sees it: started, asked, timed out, ended, and every way of failing turned into an error."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from envbuild import process
from envbuild.bridge import confinement, memory, spark, tables
from envbuild.bridge.confinement import Confinement, Launch
from envbuild.bridge.death import death_of, out_of_memory
from envbuild.bridge.environ import PrivateDirectories, worker_environ
from envbuild.bridge.frames import Frame, FrameReader, TooLong
from envbuild.bridge.messages import (
    Ready,
    each_of,
    failure_of,
    header_of,
    load_order,
    parts_of,
    prediction_of,
    reads_of,
    ready_of,
)
from envbuild.bridge.options import WorkerOptions
from envbuild.bridge.pipes import Deadline, DeadlinePassed, Pipe
from envbuild.bridge.prediction import Prediction
from envbuild.bridge.stderr import StderrPump
from envbuild.errors import (
    CommandNotStarted,
    EnvbuildError,
    InputError,
    ModelNotLoaded,
    ModelRaised,
    OutOfMemory,
    OutputInvalid,
    OutputTooLarge,
    ProtocolError,
    TimedOut,
    UsageError,
)
from envbuild.request import Question, kind_of

if TYPE_CHECKING:
    from types import TracebackType

    from envbuild.model import Model

__all__ = ["Prediction", "Worker"]

WORKER_FOLDER: Final = Path(__file__).resolve().parent.parent / "worker"
STOP_SECONDS: Final = 2.0
# After these the worker waits for the next request.
_IN_STEP: Final = (InputError, ModelNotLoaded, ModelRaised, OutOfMemory, OutputInvalid, OutputTooLarge)
# What an answer may have beyond its own limit: a failure in its place is longer than the shortest answers.
_MARGIN: Final = 1 << 16
# Up to so many bytes a payload is copied behind its header, so that both are one write.
_TOGETHER: Final = 1 << 16
_DEFAULTS: Final = WorkerOptions()


class Worker:
    """One process with one model in it. One request at a time; other threads wait their turn."""

    def __init__(self, child: process.Child, options: WorkerOptions, launch: Launch, tidy: ExitStack) -> None:
        """
        :param launch: how it was started.
        :param tidy: removes what is this worker's own, once it has ended.
        """
        self._child = child
        self._options = options
        self._launch = launch
        self._tidy = tidy
        self._lock = threading.RLock()
        self._requests = 0
        self._ready: Ready | None = None
        self._loaded = False
        self._reads: frozenset[str] = frozenset()
        self._fault: EnvbuildError | None = None
        self._closed = False
        self._input = Pipe(child.stdin, select.POLLOUT)
        self._output = Pipe(child.stdout, select.POLLIN)
        longest = () if options.max_output is None else (options.max_output + _MARGIN,)
        self._frames = FrameReader(self._output.readinto, *longest)
        self._stderr = StderrPump(child.stderr, options.stderr)
        self._load_deadline = Deadline(options.load_timeout)
        self._ended = threading.Event()
        self._afterwards: list[Callable[[], None]] = []
        reap = threading.Thread(target=self._reap, name="envbuild-worker-reaper", daemon=True)
        reap.start()

    @classmethod
    def start(
        cls,
        python: Path,
        model: Model,
        options: WorkerOptions = _DEFAULTS,
        *,
        shared: bool = False,
        store: Path | None = None,
    ) -> Worker:
        """Start a worker and tell it to load the model; returns without waiting for either.

        :param python: the environment's interpreter.
        :param shared: the environment shares files with others: as root it gives up writing into what is read-only.
        :param store: where those files are; with ``read_only`` nothing there can be written either.
        :raises CommandNotStarted: there is no such interpreter.
        :raises ConfinementUnavailable: this machine cannot keep from it what it should not have.
        """
        order = load_order(model, options)
        with ExitStack() as tidy:
            private = PrivateDirectories()
            tidy.callback(private.remove)
            environ = worker_environ(
                python,
                private,
                pass_env=options.pass_env,
                set_env=options.set_env,
                of_flavor=spark.variables(options, python, private),
            )
            limit = None if options.max_memory is None else memory.limited(options.max_memory)
            if limit is not None:
                tidy.callback(limit.remove)
            # What cannot be written needs no more care, and that of "shared" leaves a way around mounts.
            words = ["shared"] if shared and not options.read_only else []
            argv = [str(python), "-I", "-S", "-B", str(WORKER_FOLDER), confinement.PARENT, *words]
            kept = _confinement(options, model.path, python, store, private)
            launch = confinement.launched(kept, limit, argv)
            try:
                child = process.start(launch.argv, env=environ, is_sentinel=True)
            except process.NotStarted as error:
                raise CommandNotStarted(f"the environment's Python cannot be started: {error}") from None
            worker = cls(child, options, launch, tidy.pop_all())
        with suppress(BrokenPipeError):  # it died at once; the first to wait for it learns why
            worker._send(Frame(id=worker._next(), verb="load", payload=order))
        return worker

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._child.pid

    @property
    def loading(self) -> str:
        """What loads the model, and why, in words."""
        return self._options.why

    @property
    def restraints(self) -> tuple[str, ...]:
        """What is kept from it, and by what means, in words."""
        return self._launch.restraints

    @property
    def is_usable(self) -> bool:
        """Whether it can be asked again: it lives, by the kernel's word, and is in step with us."""
        if self._closed or self._fault is not None or self._ended.is_set() or not self._output.has_other_end():
            return False
        try:
            # Its reaper may not have heard of its end yet.
            return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
        except ChildProcessError:
            return False

    @property
    def reads(self) -> frozenset[str]:
        """The content types that its environment can parse; none before the model is loaded."""
        return self._reads

    @property
    def ready(self) -> Ready:
        """What the worker says of itself; waits until it has said it."""
        with self._lock, self._guarded(self._load_deadline, "the worker did not start"):
            if self._ready is None:
                self._ready = ready_of(self._answer(0, "ready"))
            return self._ready

    def wait_loaded(self) -> None:
        """Wait until the model is loaded.

        :raises ModelNotLoaded: it could not be.
        :raises TimedOut: not within ``load_timeout`` of the start.
        """
        with self._lock:
            if self._loaded:
                return
            _ = self.ready
            with self._guarded(self._load_deadline, "the model was not loaded"):
                try:
                    self._reads = reads_of(self._answer(1, "loaded"))
                except EnvbuildError as error:
                    self._fault = error
                    raise
            self._loaded = True

    def predict(
        self,
        payload: bytes | memoryview,
        content_type: str = "application/json",
        encoding: str | None = None,
        *,
        accept: str | None = None,
        keep: Sequence[str] = (),
    ) -> Prediction:
        """Predict; the payload goes to the worker as it is, unless the model's environment cannot parse it and ours can.

        The parameters are those of :class:`envbuild.request.Question`; the errors are :meth:`predict_one`'s.
        """
        question = Question(
            payload=payload, content_type=content_type, encoding=encoding, accept=accept, keep=tuple(keep)
        )
        return self.predict_one(question)

    def predict_one(self, question: Question) -> Prediction:
        """Predict.

        :raises InputError: the input cannot be understood (``InputMismatch``: it does not fit the signature).
        :raises ModelFailed: the model raised an exception, or answered what JSON cannot hold, or ended.
        :raises Stopped: the worker was killed, or timed out.
        """
        with self._lock:
            self.wait_loaded()
            asked = self._readable(question)
            frame = Frame(
                id=self._next(),
                verb="predict",
                content_type=asked.content_type,
                payload=asked.payload,
                more=header_of(asked),
            )
            with self._guarded(Deadline(self._options.predict_timeout), "the model did not answer"):
                return prediction_of(self._asked(frame, "predicted"))

    def predict_each(self, questions: Sequence[Question]) -> list[Prediction | EnvbuildError | None]:
        """Predict several requests in one call of the model, where that can be.

        Gives for each what came of it: the answer, or the error that is its own, or ``None`` where it is to be asked
        alone: its data is not like the others', or the model failed on all of them, or how many rows it gave back does
        not say whose they are.

        :raises EnvbuildError: of all of them, as :meth:`predict`.
        """
        with self._lock:
            self.wait_loaded()
            read = [self._readable_or_why(question) for question in questions]
            asked = [one for one in read if isinstance(one, Question)]
            parts: Iterator[Frame] = iter(())
            if asked:
                frame = each_of(self._next(), asked)
                with self._guarded(Deadline(self._options.predict_timeout), "the model did not answer"):
                    parts = iter(parts_of(self._asked(frame, "predicted_each"), len(asked)))
            return [self._said_of(next(parts)) if isinstance(one, Question) else one for one in read]

    def _said_of(self, part: Frame) -> Prediction | EnvbuildError | None:
        if part.verb == "failed":
            return self._failure(part)
        return None if part.verb == "alone" else prediction_of(part)

    def _readable(self, question: Question) -> Question:
        """A request that the model's environment can parse.

        :raises InputError: it cannot, and neither can we.
        """
        if not tables.is_table(question.content_type) or kind_of(question.content_type) in self._reads:
            return question
        payload, kind, encoding = tables.as_json(bytes(question.payload), question.content_type, question.encoding)
        return replace(question, payload=payload, content_type=kind, encoding=encoding)

    def _readable_or_why(self, question: Question) -> Question | EnvbuildError:
        try:
            return self._readable(question)
        except InputError as error:
            return error

    def _asked(self, frame: Frame, verb: str) -> Frame:
        with suppress(BrokenPipeError):  # the reading learns why
            self._send(frame)
        return self._answer(frame.id, verb)

    def on_end(self, call: Callable[[], None]) -> None:
        """Have something called when the worker has ended, however it did; at once, if it has already."""
        self._afterwards.append(call)
        if self._ended.is_set():
            call()

    def _reap(self) -> None:
        """When the worker ends, end what it started as well: its children hold the pipes that we read."""
        self._child.wait()
        self._child.kill()
        self._ended.set()
        for call in self._afterwards:
            call()

    def kill(self) -> None:
        """End the worker and all that it started at once, from any thread, be it in the middle of a request."""
        self._child.kill()

    def catch_up(self) -> None:
        """Wait until what the model has printed so far is carried on."""
        self._stderr.catch_up()

    def close(self) -> None:
        """End the worker and all that it started, and remove its private directories; twice does no harm."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                self._stop()
            finally:
                self._child.kill()
                self._stderr.finish()
                self._input.close()
                self._output.close()
                self._tidy.close()

    def _stop(self) -> None:
        """Ask it to end; it may be dead already, or busy with something else."""
        if self._fault is not None and not isinstance(self._fault, ModelNotLoaded):
            return
        with suppress(BrokenPipeError, DeadlinePassed):
            self._input.deadline = Deadline(STOP_SECONDS)
            self._send(Frame(id=self._next(), verb="stop"))
            self._ended.wait(STOP_SECONDS)

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _guarded(self, deadline: Deadline, what: str) -> Iterator[None]:
        """Around each exchange: afterwards the worker is either still in step with us or dead."""
        if self._closed:
            raise UsageError("this worker is closed")
        if self._fault is not None:
            raise self._fault
        self._input.deadline = self._output.deadline = deadline
        try:
            yield
        except _IN_STEP:
            raise
        except DeadlinePassed:
            self._child.stop()
            self._stderr.finish()
            self._fault = TimedOut(f"{what} within {deadline.seconds:g} seconds", details=self._stderr.tail())
            raise self._fault from None
        except BaseException as error:
            # Ctrl-C or a broken stream: the next frame would be the answer to the wrong question.
            self._child.kill()
            self._fault = error if isinstance(error, EnvbuildError) else UsageError("this worker was interrupted")
            raise

    def _next(self) -> int:
        self._requests += 1
        return self._requests

    def _send(self, frame: Frame) -> None:
        header, payload = frame.header(), frame.payload
        if len(payload) <= _TOGETHER:
            self._input.write(header + payload)  # else the worker wakes twice
            return
        self._input.write(header)
        self._input.write(payload)

    def _answer(self, number: int, verb: str) -> Frame:
        try:
            frame = self._frames.read()
        except TooLong as error:
            self._child.kill()
            self._fault = OutputTooLarge(
                f"the answer has {error.length} bytes, and may have {self._options.max_output}"
            )
            raise self._fault from None
        if frame is None:
            self._fault = self._death()
            raise self._fault
        if frame.verb == "failed":
            raise self._failure(frame)
        if (frame.id, frame.verb) != (number, verb):
            raise ProtocolError(f"the worker answered {frame.verb!r} to {frame.id}, not {verb!r} to {number}")
        return frame

    def _failure(self, frame: Frame) -> EnvbuildError:
        error, limit = failure_of(frame), self._launch.limit
        if limit is None or not isinstance(error, (ModelNotLoaded, ModelRaised, OutOfMemory)):
            return error
        # It may have lost a process of its own, and not know why.
        if isinstance(error, OutOfMemory) or limit.has_killed():
            return out_of_memory(limit, (), error.message)
        return error

    def _death(self) -> EnvbuildError:
        """How it ended, now that its end of the channel is closed."""
        self._ended.wait(STOP_SECONDS)  # it closes its files a moment before it has a status
        status = self._child.kill()
        self._stderr.finish()
        return death_of(status, self._stderr.tail(), self._launch)


def _confinement(
    options: WorkerOptions, model: Path, python: Path, store: Path | None, private: PrivateDirectories
) -> Confinement:
    if not options.read_only:
        return Confinement(network=options.network)
    protected, own = confinement.protecting(model, python, store), private.root.resolve()
    # Where it is a mount of its own, it can be removed by the host alone.
    writable = (own,) if any(own.is_relative_to(path) for path in protected) else ()
    return Confinement(network=options.network, read_only=protected, writable=writable)
