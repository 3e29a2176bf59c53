"""Running: chunks read ahead, worked on side by side, and handed on in their order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

Made = TypeVar("Made")
Taken = TypeVar("Taken")
# How long a thread that waits for room goes on before it looks whether all is over.
_LOOK: Final = 0.1


class _Slot(Generic[Taken, Made]):
    """One piece of work, and what came of it."""

    def __init__(self, taken: Taken) -> None:
        self.taken = taken
        self.made: Made | None = None
        self.error: BaseException | None = None
        self.done = threading.Event()


class Row(Generic[Taken, Made]):
    """A row of threads: one reads, some work, and whoever iterates takes what they made, in order.

    No more than ``workers + 2`` pieces are there at once, so that memory does not depend on how many there are.
    """

    def __init__(
        self,
        source: Iterator[Taken],
        work: Callable[[Taken], Made],
        *,
        workers: int,
        interrupt: Callable[[], None],
    ) -> None:
        """
        :param work: done in several threads at once.
        :param interrupt: makes a ``work`` that is being done end soon; called where nobody wants what it makes.
        """
        self._source = source
        self._work = work
        self._interrupt = interrupt
        self._over = threading.Event()
        self._in_order: queue.Queue[_Slot[Taken, Made] | None] = queue.Queue(maxsize=workers + 1)
        self._to_do: queue.SimpleQueue[_Slot[Taken, Made] | None] = queue.SimpleQueue()
        self._workers = workers
        self._threads = [threading.Thread(target=self._read, name="envbuild-batch-reader", daemon=True)]
        for number in range(workers):
            self._threads.append(threading.Thread(target=self._serve, name=f"envbuild-batch-{number}", daemon=True))

    @property
    def is_over(self) -> bool:
        """Whether nobody wants what is made any more."""
        return self._over.is_set()

    def __iter__(self) -> Iterator[tuple[Taken, Made]]:
        """What was made of each, in order; an error of reading or of the work comes in its turn."""
        for thread in self._threads:
            thread.start()
        try:
            while (slot := self._in_order.get()) is not None:
                slot.done.wait()
                if slot.error is not None:
                    raise slot.error
                yield slot.taken, slot.made  # type: ignore[misc]  # it is done
        except BaseException:
            self._over.set()
            # Again and again: a thread may have been about to begin.
            while any(thread.is_alive() for thread in self._threads[1:]):
                self._interrupt()
                for thread in self._threads[1:]:
                    thread.join(_LOOK)
            raise
        finally:
            self._over.set()
            for thread in self._threads[1:]:
                thread.join()

    def _read(self) -> None:
        try:
            for taken in self._source:
                slot: _Slot[Taken, Made] = _Slot(taken)
                if not self._offer(slot):
                    return
                self._to_do.put(slot)
            self._offer(None)
        except BaseException as error:  # noqa: BLE001 - it is raised where the pieces are taken
            failed: _Slot[Taken, Made] = _Slot(None)  # type: ignore[arg-type]  # nobody looks at it
            failed.error = error
            failed.done.set()
            self._offer(failed)
        finally:
            for _ in range(self._workers):
                self._to_do.put(None)

    def _offer(self, slot: _Slot[Taken, Made] | None) -> bool:
        """Put something into the order, when there is room; false where nobody takes it any more."""
        while not self._over.is_set():
            try:
                self._in_order.put(slot, timeout=_LOOK)
            except queue.Full:
                continue
            return True
        return False

    def _serve(self) -> None:
        while (slot := self._next()) is not None:
            try:
                slot.made = self._work(slot.taken)
            except BaseException as error:  # noqa: BLE001 - as above
                slot.error = error
            slot.done.set()

    def _next(self) -> _Slot[Taken, Made] | None:
        """The next piece of work; ``None`` at the end."""
        while not self._over.is_set():
            try:
                return self._to_do.get(timeout=_LOOK)
            except queue.Empty:
                continue
        return None
