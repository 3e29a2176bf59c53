"""Keeping: one worker, served to whoever calls, until it has been idle for long enough."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from envbuild.errors import EnvbuildError
from envbuild.resident.line import Broken, Line, Status, accepted, said
from envbuild.resident.usage import resident_bytes

if TYPE_CHECKING:
    from envbuild.bridge import Worker
    from envbuild.bridge.frames import Frame
    from envbuild.resident.order import Order

PATIENCE: Final = 2.0
"""Seconds that a caller waits for others' predictions: about what a worker of its own takes to start."""
_LOOK_SECONDS: Final = 5.0
_LINE_SECONDS: Final = 10.0
_MOST_CALLERS: Final = 64
_KEPT_BYTES: Final = 1 << 16


class Keeper:
    """Serves one worker. The main thread looks after all, each caller has a thread, one of them at a time the worker."""

    def __init__(
        self,
        order: Order,
        worker: Worker,
        listener: socket.socket,
        prints: Prints,
        is_wanted: Callable[[], bool],
    ) -> None:
        """
        :param prints: takes what the worker prints.
        :param is_wanted: whether calls lead here still: the socket, the environment and the model are what they were.
        """
        self._order = order
        self._worker = worker
        self._listener = listener
        self._prints = prints
        self._is_wanted = is_wanted
        self._began = time.time()
        self._turn = threading.Lock()
        self._loaded = threading.Event()
        # Everything below is changed under this one, which nobody holds for long.
        self._state = threading.Lock()
        self._callers: dict[Line, _Caller] = {}
        self._keep_warm = order.keep_warm
        self._idle_since = time.monotonic()
        self._served = 0
        self._ending = False
        # Those who are here are served, and nobody else.
        self._retiring = False
        self._not_loaded = False
        self._was_called = False
        self._woken, self._wakes = os.pipe()
        worker.on_end(self._wake)

    def run(self, first: int) -> None:
        """Serve until the end.

        :param first: a pipe that is open as long as who gave the order waits to call.
        """
        threading.Thread(target=self._load, name="envbuild-keeper-load", daemon=True).start()
        while not self._is_over(first):
            self._look(first)

    def end(self) -> None:
        """Take no more calls, and come back from :meth:`run` when those who ask already have been answered."""
        self._ending = self._retiring = True
        self._wake()

    def hang_up(self) -> None:
        """End every line: whoever waits at one learns that all is over."""
        with self._state:
            callers = list(self._callers)
        for line in callers:
            line.close()

    def _wake(self) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wakes, b".")

    def _is_over(self, first: int) -> bool:
        with self._state:
            callers = list(self._callers.values())
            idle = time.monotonic() - self._idle_since
        if any(caller.is_asking for caller in callers):
            return False
        # Why the model could not be loaded is told to those who wait for it.
        if (
            self._ending
            or (self._retiring and not callers)
            or (not self._worker.is_usable and not (self._not_loaded and callers))
        ):
            return True
        has_gone = not self._was_called and _has_hung_up(first)
        # Those who still wait at the door are asked first.
        return (has_gone or idle >= self._keep_warm) and (self._retiring or not _is_readable(self._listener.fileno()))

    def _look(self, first: int) -> None:
        """Wait for what happens next, and see to it."""
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        with self._state:
            asking = {line.fileno(): caller for line, caller in self._callers.items() if caller.is_asking}
            if self._retiring:
                # Who calls now, or waits at the door, learns at once that nobody serves here any more.
                self._listener.close()
            elif len(self._callers) < _MOST_CALLERS:
                poll.register(self._listener, select.POLLIN)
            left = self._idle_since + self._keep_warm - time.monotonic()
        for descriptor in asking:
            poll.register(descriptor, select.POLLRDHUP)
        if not self._was_called:
            poll.register(first, 0)
        happened = poll.poll(1000 * max(0.001, min(_LOOK_SECONDS, left if left > 0 else _LOOK_SECONDS)))
        for descriptor, _ in happened:
            if descriptor == self._listener.fileno():
                self._take_call()
            elif descriptor == self._woken:
                os.read(self._woken, 4096)
            elif descriptor in asking:
                self._lose(asking[descriptor])
        if not happened and not self._is_wanted():
            self._retiring = True

    def _take_call(self) -> None:
        with contextlib.suppress(Broken, OSError):
            line = accepted(self._listener)
            caller = _Caller(line)
            with self._state:
                self._was_called = True
                self._callers[line] = caller
            threading.Thread(target=self._attend, args=(caller,), daemon=True).start()

    def _lose(self, caller: _Caller) -> None:
        """A caller went away before it had an answer: nobody wants what the worker computes for it."""
        with self._state:
            caller.is_asking = caller.is_greeted = False
            kills = caller.is_served
        if kills or self._is_forsaken():
            self._kill()

    def _is_forsaken(self) -> bool:
        """Whether the model is being loaded for nobody any more."""
        with self._state:
            return not self._loaded.is_set() and not any(one.is_greeted for one in self._callers.values())

    def _kill(self) -> None:
        self._ending = self._retiring = True
        self._worker.kill()

    def _load(self) -> None:
        # Whoever asks learns why it went wrong.
        try:
            self._worker.wait_loaded()
        except EnvbuildError:
            self._not_loaded = True
        self._worker.catch_up()
        self._prints.end()
        self._loaded.set()
        self._rest()
        self._retiring = not self._is_wanted()
        self._wake()

    def _rest(self) -> None:
        with self._state:
            self._idle_since = time.monotonic()

    def _attend(self, caller: _Caller) -> None:
        line = caller.line
        try:
            line.wait_at_most(_LINE_SECONDS)
            while self._answer(caller, line.receive()):
                pass
        except Broken:
            pass
        except BaseException:
            # A fault of ours: no worker that it may concern is asked again.
            self._kill()
            raise
        finally:
            self._prints.end(line)
            with self._state:
                del self._callers[line]
            if caller.is_greeted and self._is_forsaken():
                self._kill()
            line.close()
            self._wake()

    def _answer(self, caller: _Caller, frame: Frame) -> bool:
        """Serve one frame; whether another may come."""
        line = caller.line
        if frame.verb == "hello":
            return self._greet(line, said(frame))
        if frame.verb == "status":
            line.tell("status", self.status().to_dict())
            return True
        if frame.verb == "stop":
            return self._stop(line)
        if frame.verb == "predict" and caller.is_greeted:
            self._predict(caller, frame)
        return False

    def _greet(self, line: Line, hello: dict[str, object]) -> bool:
        if hello.get("key") != self._order.key:
            line.send("refused")
            return False
        self._callers[line].is_greeted = True
        line.wait_at_most(None)  # its input may take its time
        details = [*self._worker.restraints, f"resident worker {self._order.name.id}, process {self._worker.pid}"]
        line.tell("welcome", {"key": self._order.key, "loading": self._worker.loading, "details": details})
        if not self._loaded.is_set():
            self._prints.begin(line)
        return True

    def _stop(self, line: Line) -> bool:
        self.end()
        with self._state:
            is_busy = any(caller.is_asking for caller in self._callers.values())
        if is_busy:
            line.send("busy")
        else:
            line.wait_at_most(None)
        return not is_busy

    def _predict(self, caller: _Caller, frame: Frame) -> None:
        with self._state:
            if self._ending:
                return
            caller.is_asking = True
            keep_warm = frame.more.get("keep_warm")
            if isinstance(keep_warm, (int, float)):
                self._keep_warm = float(keep_warm)
        self._wake()  # from now on its going away is looked for
        try:
            self._in_turn(caller, frame)
        finally:
            with self._state:
                caller.is_asking = caller.is_served = False
            self._rest()

    def _in_turn(self, caller: _Caller, frame: Frame) -> None:
        self._loaded.wait()
        if not self._turn.acquire(timeout=PATIENCE):
            caller.line.send("busy")
            return
        with contextlib.ExitStack() as stack:
            stack.callback(self._turn.release)
            with self._state:
                if not caller.is_asking:
                    return
                caller.is_served = True
            # One that died while nobody asked it anything is not this caller's affair.
            if self._worker.is_usable or self._not_loaded:
                self._prints.begin(caller.line, takes_over=True)
                self._serve(caller, frame)

    def _serve(self, caller: _Caller, frame: Frame) -> None:
        line, more = caller.line, frame.more
        try:
            prediction = self._worker.predict(
                bytes(frame.payload), frame.content_type, more.get("content_encoding"), accept=more.get("accept")
            )
        except EnvbuildError as error:
            self._settle(caller)
            line.tell("failed", error.to_dict())
            return
        self._settle(caller)
        facts = {"nulls": prediction.nulls, **({} if prediction.rows is None else {"rows": prediction.rows})}
        line.send("predicted", prediction.payload, content_type=prediction.content_type, **facts)

    def _settle(self, caller: _Caller) -> None:
        """Everything that the model has printed comes before its answer."""
        self._worker.catch_up()
        self._prints.end(caller.line)
        with self._state:
            # Who goes away now has left the worker nothing to do.
            caller.is_served = False
            self._served += 1
            if not self._worker.is_usable:
                self._ending = True

    def status(self) -> Status:
        """What there is to say of it."""
        with self._state:
            is_busy = any(caller.is_asking for caller in self._callers.values())
            idle, served = time.monotonic() - self._idle_since, self._served
        resting = self._loaded.is_set() and not is_busy
        now = time.time()
        return Status(
            id=self._order.name.id,
            model=str(self._order.model),
            lock_hash=self._order.environment.lock_hash,
            environment=str(self._order.environment.path),
            pid=os.getpid(),
            worker=self._worker.pid,
            state="idle" if resting else "busy" if self._loaded.is_set() else "loading",
            began=self._began,
            idle_since=now - idle if resting else None,
            ends_at=now - idle + self._keep_warm if resting else None,
            served=served,
            memory=resident_bytes(self._worker.pid),
        )


class _Caller:
    """Who is at the other end of a line."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.is_greeted = False
        self.is_asking = False
        """Its request is here, and it has no answer yet."""
        self.is_served = False
        """The worker is at work for it."""


class Prints:
    """Whose the model's prints are: of whom it works for; while it is loaded, of the first to call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._line: Line | None = None
        self._kept: bytes | None = b""

    def __call__(self, chunk: bytes) -> None:
        """Take what the model prints; what it prints while nobody has asked it anything is nobody's."""
        with self._lock:
            if self._line is not None:
                with contextlib.suppress(Broken):
                    self._line.send("printed", chunk, content_type="application/octet-stream")
            elif self._kept is not None:
                self._kept = (self._kept + chunk)[:_KEPT_BYTES]

    def begin(self, line: Line, *, takes_over: bool = False) -> None:
        """From now on they are a caller's, unless they are another's and are not taken over."""
        with self._lock:
            if self._line is None or takes_over:
                self._line, kept, self._kept = line, self._kept, None
                if kept:
                    with contextlib.suppress(Broken):
                        line.send("printed", kept, content_type="application/octet-stream")

    def end(self, line: Line | None = None) -> None:
        """They are no longer a caller's, whoever it is."""
        with self._lock:
            if line is None or self._line is line:
                self._line = None


def _is_readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def _has_hung_up(pipe: int) -> bool:
    poll = select.poll()
    poll.register(pipe, 0)
    return bool(poll.poll(0))
