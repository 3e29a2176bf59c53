"""Order: what a keeper is told by the call that starts it, and how it is started."""

from __future__ import annotations

import contextlib
import json
import pickle
import select
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from envbuild import process
from envbuild.resident.ground import Name
from envbuild.resident.key import Facts, inherited

if TYPE_CHECKING:
    from envbuild.environment import Environment
    from envbuild.pipeline import Locked
    from envbuild.settings import Settings

PROGRAM: Final = Path(__file__).resolve().parent / "__main__.py"
LISTENING, TAKEN, FAILED = "listening", "taken", "failed"
_ANSWER_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Everything that a keeper must know."""

    name: Name
    key: str
    facts: Facts
    """The model's files, as they were when the key was made."""
    locked: Locked
    environment: Environment
    settings: Settings
    keep_warm: float
    """How long its worker may be idle, in seconds."""

    @property
    def model(self) -> Path:
        """The model's directory."""
        return self.locked.asked.model.path


class Started:
    """A keeper that was started and waits for its order; it ends when this is closed before it has got one."""

    def __init__(self, settings: Settings) -> None:
        """:raises process.NotStarted: it cannot be."""
        # A fresh process: it has neither our arguments, which may hold secrets, nor our files.
        argv = [sys.executable, "-I", str(PROGRAM)]
        # Its Python shall understand any file's name.
        self._child = process.start(argv, env={"LC_ALL": "C.UTF-8", **inherited(settings)})

    def give(self, order: Order) -> str:
        """Give it its order; what it says then: it listens, another one does already, or it cannot."""
        with contextlib.suppress(BrokenPipeError):
            pipe = memoryview(pickle.dumps(order))
            while pipe:
                pipe = pipe[self._child.stdin.write(pipe) :]
        poll = select.poll()
        poll.register(self._child.stdout, select.POLLIN)
        line = self._child.stdout.readline() if poll.poll(_ANSWER_SECONDS * 1000) else b""
        with contextlib.suppress(ValueError):
            return str(json.loads(line))
        return FAILED

    def close(self) -> None:
        """Leave it alone: with its order it goes on, without it ends."""
        for pipe in (self._child.stdin, self._child.stdout, self._child.stderr):
            pipe.close()


def received(pipe: IO[bytes]) -> Order | None:
    """The order of whoever started this process; ``None`` where that went away."""
    try:
        order: Any = pickle.load(pipe)  # noqa: S301 - from our parent, which is this program, by a pipe that is ours alone
    except EOFError:
        return None
    return order if isinstance(order, Order) else None
