"""The worker as the host sees it: started, asked, timed out, ended, and every way of failing turned into an error."""

from __future__ import annotations

import json
import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from envbuild import process
from envbuild.bridge.environ import PrivateDirectories, worker_environ
from envbuild.bridge.frames import PROTOCOL, Frame, FrameReader
from envbuild.bridge.pipes import Deadline, DeadlinePassed, Pipe
from envbuild.bridge.stderr import StderrPump
from envbuild.errors import (
    CommandNotStarted,
    EnvbuildError,
    InputError,
    InputMismatch,
    ModelNotLoaded,
    ModelRaised,
    OutputInvalid,
    ProtocolError,
    TimedOut,
    UsageError,
    WorkerExited,
    WorkerKilled,
)

if TYPE_CHECKING:
    from types import TracebackType

    from envbuild.model import Model

WORKER_FOLDER: Final = Path(__file__).resolve().parent.parent / "worker"
STOP_SECONDS: Final = 2.0
_FAILURES: Final[dict[str, type[EnvbuildError]]] = {
    kind.code: kind for kind in (InputError, InputMismatch, ModelNotLoaded, ModelRaised, OutputInvalid, ProtocolError)
}
# After these the worker waits for the next request.
_IN_STEP: Final = (InputError, ModelNotLoaded, ModelRaised, OutputInvalid)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How a worker is treated."""

    nan: Literal["null", "string", "error"] = "null"
    """What becomes of NaN and the infinities in answers."""
    load_timeout: float | None = None
    """Seconds from the start until the model must be loaded."""
    predict_timeout: float | None = None
    """Seconds for one prediction."""
    stderr: Callable[[bytes], None] | None = None
    """Takes what the model prints; by default it goes to this process's stderr."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What a worker says of itself."""

    protocol: int
    python: str
    loader: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """An answer, as the bytes that the worker wrote."""

    payload: bytes
    content_type: str
    nulls: int
    """How many NaN and infinities became null."""


_DEFAULTS: Final = WorkerOptions()


class Worker:
    """One process with one model in it. One request at a time; other threads wait their turn."""

    def __init__(self, child: process.Child, private: PrivateDirectories, options: WorkerOptions) -> None:
        self._child = child
        self._private = private
        self._options = options
        self._lock = threading.RLock()
        self._requests = 0
        self._ready: Ready | None = None
        self._loaded = False
        self._fault: EnvbuildError | None = None
        self._closed = False
        self._input = Pipe(child.stdin, select.POLLOUT)
        self._output = Pipe(child.stdout, select.POLLIN)
        self._frames = FrameReader(self._output.readinto)
        self._stderr = StderrPump(child.stderr, options.stderr)
        self._load_deadline = Deadline(options.load_timeout)
        self._ended = threading.Event()
        self._afterwards: list[Callable[[], None]] = []
        reap = threading.Thread(target=self._reap, name="envbuild-worker-reaper", daemon=True)
        reap.start()

    @classmethod
    def start(cls, python: Path, model: Model, options: WorkerOptions = _DEFAULTS, *, shared: bool = False) -> Worker:
        """Start a worker and tell it to load the model; returns without waiting for either.

        :param python: the environment's interpreter.
        :param shared: the environment shares files with others: as root it gives up writing into what is read-only.
        :raises CommandNotStarted: there is no such interpreter.
        """
        order, private = _load_order(model, options), PrivateDirectories()
        argv = [str(python), "-I", "-S", str(WORKER_FOLDER), str(os.getpid()), *(["shared"] if shared else [])]
        try:
            worker = cls(process.start(argv, env=worker_environ(python, private)), private, options)
        except process.NotStarted as error:
            private.remove()
            raise CommandNotStarted(f"the environment's Python cannot be started: {error}") from None
        except BaseException:
            private.remove()
            raise
        with suppress(BrokenPipeError):  # it died at once; the first to wait for it learns why
            worker._send(Frame(id=worker._next(), verb="load", payload=order))
        return worker

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._child.pid

    @property
    def ready(self) -> Ready:
        """What the worker says of itself; waits until it has said it."""
        with self._lock, self._guarded(self._load_deadline, "the worker did not start"):
            if self._ready is None:
                self._ready = _ready(self._answer(0, "ready"))
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
                    self._answer(1, "loaded")
                except EnvbuildError as error:
                    self._fault = error
                    raise
            self._loaded = True

    def predict(self, payload: bytes, content_type: str = "application/json") -> Prediction:
        """Predict; the payload goes to the worker as it is.

        :raises InputError: the input cannot be understood (``InputMismatch``: it does not fit the signature).
        :raises ModelFailed: the model raised an exception, or answered what JSON cannot hold, or ended.
        :raises Stopped: the worker was killed, or timed out.
        """
        with self._lock:
            self.wait_loaded()
            number = self._next()
            with self._guarded(Deadline(self._options.predict_timeout), "the model did not answer"):
                with suppress(BrokenPipeError):  # the reading learns why
                    self._send(Frame(id=number, verb="predict", content_type=content_type, payload=payload))
                frame = self._answer(number, "predicted")
        return Prediction(
            payload=bytes(frame.payload), content_type=frame.content_type, nulls=int(frame.more.get("nulls", 0))
        )

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
                self._private.remove()

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
        self._input.write(frame.header())
        self._input.write(frame.payload)

    def _answer(self, number: int, verb: str) -> Frame:
        frame = self._frames.read()
        if frame is None:
            raise self._death()
        if frame.verb == "failed":
            raise _failure(frame)
        if (frame.id, frame.verb) != (number, verb):
            raise ProtocolError(f"the worker answered {frame.verb!r} to {frame.id}, not {verb!r} to {number}")
        return frame

    def _death(self) -> EnvbuildError:
        """How it ended, now that its end of the channel is closed."""
        self._ended.wait(STOP_SECONDS)  # it closes its files a moment before it has a status
        status = self._child.kill()
        self._stderr.finish()
        tail = self._stderr.tail()
        if status >= 0:
            return WorkerExited(f"the worker exited with status {status} in the middle of its work", details=tail)
        name = _signal_name(-status)
        hint = None
        if -status == signal.SIGKILL:
            hint = "Perhaps the system ran out of memory: look for the out-of-memory killer in its log (dmesg)."
        return WorkerKilled(f"the worker was killed by {name}", hint=hint, details=tail)


def _load_order(model: Model, options: WorkerOptions) -> bytes:
    pyfunc = model.pyfunc
    order = {
        "model": str(model.path),
        "loader_module": pyfunc.loader_module,
        "data": pyfunc.data or pyfunc.data_of_flavor,
        "direct": pyfunc.data is None and pyfunc.data_of_flavor is not None,
        "code": pyfunc.code,
        "config": None if pyfunc.config is None else dict(pyfunc.config),
        "predict_fn": pyfunc.predict_fn,
        "signature": None if model.signature is None else model.signature.to_dict(),
        "nan": options.nan,
    }
    return json.dumps(order).encode()


def _ready(frame: Frame) -> Ready:
    facts = _object(frame)
    if facts.get("protocol") != PROTOCOL:
        raise ProtocolError(
            f"the worker speaks protocol {facts.get('protocol')!r}, and this envbuild speaks {PROTOCOL}"
        )
    return Ready(protocol=PROTOCOL, python=str(facts.get("python")), loader=str(facts.get("loader")))


def _failure(frame: Frame) -> EnvbuildError:
    said = _object(frame)
    kind = _FAILURES.get(str(said.get("code")), ProtocolError)
    hint = None
    if kind in (ModelNotLoaded, ModelRaised):
        hint = "The traceback is on the worker's stderr."
    return kind(str(said.get("message")), hint=hint)


def _object(frame: Frame) -> dict[str, Any]:
    try:
        said = json.loads(frame.payload)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise ProtocolError(f"the payload of {frame.verb!r} from the worker is not a JSON object")
    return said


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
