"""Conversations: questions to a program that stays for more of them.

A question is a line of JSON on its standard input. A line of JSON on its standard output is a step on the way where it has
``step``, and the answer where it has not. What it writes to standard error is for people, and said where it dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from envbuild import process

_BLOCK = 2**16
_LAST_LINES = 5
_DRAIN_SECONDS = 1.0


class Died(Exception):
    """It ended before it answered; the message has its last words, each with a space before it."""

    def __init__(self, returncode: int, words: Sequence[str]) -> None:
        """:param returncode: its exit status (negative: the signal's number)."""
        super().__init__("".join(f" {line}" for line in words))
        self.returncode = returncode


class Conversation:
    """A program, started at the first question, until it is closed; after it has died the next question starts another."""

    def __init__(self, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        self._argv = argv
        self._environ = environ
        self._child: process.Child | None = None
        self._listening: threading.Thread | None = None
        self._words: deque[str] = deque(maxlen=_LAST_LINES)
        self._unread = b""

    def close(self) -> None:
        """End the program."""
        if (child := self._child) is not None:
            self._child = None
            child.kill()
            child.stdin.close()
            child.stdout.close()

    def ask(
        self, request: Mapping[str, Any], on_step: Callable[[dict[str, Any]], None], timeout: float | None = None
    ) -> dict[str, Any]:
        """The answer.

        :param on_step: told what comes before it.
        :param timeout: seconds; the program is ended when they are over.
        :raises process.TimedOutWaiting: it took longer.
        :raises Died: there is none.
        """
        end = None if timeout is None else time.monotonic() + timeout
        child = self._child = self._child or self._started()
        try:
            _write(child, json.dumps(request).encode() + b"\n")
            while (said := self._said(child, end)) is not None:
                if "step" not in said:
                    return said
                on_step(said["step"])
        except BaseException:
            self.close()
            raise
        raise self._died(child)

    def _started(self) -> process.Child:
        child = process.start(self._argv, env=self._environ, dies_with_us=True)
        self._words.clear()
        self._unread = b""
        self._listening = threading.Thread(target=self._listen, args=(child,), daemon=True)
        self._listening.start()
        return child

    def _listen(self, child: process.Child) -> None:
        with child.stderr as pipe:
            for raw in iter(pipe.readline, b""):
                self._words.append(raw.decode("utf-8", "replace").rstrip())

    def _said(self, child: process.Child, end: float | None) -> dict[str, Any] | None:
        """What its next line says; ``None`` where it says nothing more that can be understood."""
        while b"\n" not in self._unread:
            if not _is_readable(child.stdout.fileno(), end):
                raise process.TimedOutWaiting
            if not (block := os.read(child.stdout.fileno(), _BLOCK)):
                return None
            self._unread += block
        line, _, self._unread = self._unread.partition(b"\n")
        with contextlib.suppress(ValueError):
            if isinstance(said := json.loads(line), dict):
                return said
        return None

    def _died(self, child: process.Child) -> Died:
        self.close()
        if self._listening is not None:
            self._listening.join(_DRAIN_SECONDS)
        return Died(child.wait(), tuple(self._words))


def _write(child: process.Child, content: bytes) -> None:
    # One that is gone has been heard of when its answer is read.
    with contextlib.suppress(BrokenPipeError):
        view = memoryview(content)
        while view:
            view = view[child.stdin.write(view) :]


def _is_readable(descriptor: int, end: float | None) -> bool:
    """Whether there is something to be read, or an end, before a moment of the monotonic clock."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if end is None else max(0.0, end - time.monotonic()) * 1000))
