"""Stopping: the first SIGTERM or SIGINT asks to answer what was asked and end, the second to end at once."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Protocol


class Stoppable(Protocol):
    """A server that looks at these two every moment; uvicorn's is one."""

    should_exit: bool
    force_exit: bool


class Stopping:
    """Takes the two signals from its making on: also while the server is still being put together."""

    def __init__(self, begin: Callable[[], None], abort: Callable[[], None]) -> None:
        """
        :param begin: called at the first signal.
        :param abort: called at the second; neither may wait.
        """
        self._begin = begin
        self._abort = abort
        self._asked = 0
        self._server: Stoppable | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    @property
    def at_once(self) -> bool:
        """Whether it was asked for twice."""
        return self._asked > 1

    def attach(self, server: Stoppable) -> None:
        """Tell this server from now on, and what was asked before."""
        self._server = server
        self._tell()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._asked += 1
        self._begin()
        self._tell()
        if self.at_once:
            self._abort()

    def _tell(self) -> None:
        if self._server is not None and self._asked:
            self._server.should_exit = True
            self._server.force_exit = self.at_once
