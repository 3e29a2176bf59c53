"""Asking: a keeper found and welcomed by, and its worker asked as one's own would be."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final

from envbuild.bridge.prediction import Prediction
from envbuild.errors import error_from
from envbuild.resident.ground import Ground, Name
from envbuild.resident.line import Broken, Line, connected, said

if TYPE_CHECKING:
    from envbuild.bridge import Worker
    from envbuild.bridge.frames import Frame
    from envbuild.settings import Settings

# For what takes a keeper an instant: who is that slow is of no use.
_STEP_SECONDS: Final = 5.0
# What a keeper may take beyond the time that its model has.
_SLACK_SECONDS: Final = 10.0

Sink = Callable[[bytes], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A line to a keeper that has welcomed us, and what it says of its worker."""

    line: Line
    loading: str
    details: tuple[str, ...]


def found(ground: Ground, name: Name, key: str) -> Found | None:
    """A line to the keeper of a name, and what is kept from its worker; ``None``: none that is the right one."""
    if not ground.is_socket(name):
        return None
    try:
        line = connected(str(ground.file(name.socket)), _STEP_SECONDS)
    except Broken:
        return None
    try:
        line.tell("hello", {"key": key})
        frame = line.receive()
        welcome = said(frame)
        if frame.verb != "welcome" or welcome.get("key") != key:
            raise Broken("it is another one")
        return Found(line=line, loading=str(welcome["loading"]), details=tuple(map(str, welcome["details"])))
    except (Broken, KeyError, TypeError):
        line.close()
        return None


class ResidentWorker:
    """A worker that others may have asked before us, and may ask after us; its verbs are those of a worker."""

    def __init__(self, found: Found, settings: Settings, sink: Sink | None, fresh: Callable[[], Worker]) -> None:
        """
        :param sink: takes what the model prints; by default this process's own standard error.
        :param fresh: starts a worker of our own, for when this one is not there any more.
        """
        self.loading = found.loading
        self.restraints = found.details
        self._line = found.line
        self._settings = settings
        self._sink = sink or _own_stderr
        self._fresh = fresh
        self._own: Worker | None = None

    def predict(
        self,
        payload: bytes,
        content_type: str = "application/json",
        encoding: str | None = None,
        *,
        accept: str | None = None,
    ) -> Prediction:
        """Predict, as :meth:`envbuild.bridge.Worker.predict`; once.

        :raises EnvbuildError: as there.
        """
        asked = {"content_encoding": encoding, "accept": accept, "keep_warm": self._settings.keep_warm}
        more = {name: value for name, value in asked.items() if value is not None}
        times = (self._settings.load_timeout, self._settings.predict_timeout, _SLACK_SECONDS)
        try:
            self._line.wait_at_most(sum(times))
            self._line.send("predict", payload, content_type=content_type, **more)
            answer = self._answer()
        except Broken:
            # It has ended without an answer, or others keep it busy.
            self._line.close()
            self._own = self._fresh()
            return self._own.predict(payload, content_type, encoding, accept=accept)
        if answer.verb == "failed":
            raise error_from(said(answer))
        return Prediction(
            payload=bytes(answer.payload),
            content_type=answer.content_type,
            nulls=int(answer.more.get("nulls", 0)),
            rows=answer.more.get("rows"),
        )

    def close(self) -> None:
        """Hang up: what has not been answered is not computed to its end."""
        self._line.close()
        if self._own is not None:
            self._own.close()

    def __enter__(self) -> ResidentWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self) -> Frame:
        while True:
            frame = self._line.receive()
            if frame.verb == "printed":
                self._sink(bytes(frame.payload))
            elif frame.verb in ("predicted", "failed"):
                return frame
            else:
                raise Broken(f"it says {frame.verb}")


def _own_stderr(chunk: bytes) -> None:
    sys.stderr.buffer.write(chunk)
    sys.stderr.buffer.flush()
