"""Death: what is said of a worker that ended in the middle of its work."""

from __future__ import annotations

import signal

from envbuild.bridge.confinement import Launch
from envbuild.bridge.memory import MemoryLimit, system_kills
from envbuild.errors import EnvbuildError, OutOfMemory, WorkerExited, WorkerKilled

_LOOK = "Perhaps the system ran out of memory: look for the out-of-memory killer in its log (dmesg)."
_KILLED_SOME = "The system ran out of memory meanwhile and killed a process, most likely this one (dmesg says which)."
# As in worker/serving.py.
_EXIT_LOST = 74
_LOST = "The model closed or replaced files that are the worker's own; one was its channel to the host."
# How a shell, and bubblewrap as well, says that a signal ended what it started.
_BY_SIGNAL = 128


def death_of(status: int, tail: tuple[str, ...], launch: Launch) -> EnvbuildError:
    """The error for an exit status.

    :param tail: the last lines that the worker printed.
    :param launch: how it was started.
    """
    limit = launch.limit
    number = status - _BY_SIGNAL if launch.means == "bubblewrap" and status > _BY_SIGNAL else -status
    if number <= 0:
        hint = _LOST if status == _EXIT_LOST else None
        return WorkerExited(
            f"the worker exited with status {status} in the middle of its work", hint=hint, details=tail
        )
    if limit is not None and limit.has_killed():
        return out_of_memory(limit, tail)
    hint = None
    if number == signal.SIGKILL:
        hint = _KILLED_SOME if system_kills() > launch.kills_before else _LOOK
    elif limit is not None and limit.means == "rlimit":
        hint = f"Perhaps it could not have the memory that it asked for: the limit is {limit.size} bytes a process."
    return WorkerKilled(f"the worker was killed by {_signal_name(number)}", hint=hint, details=tail)


def out_of_memory(limit: MemoryLimit, tail: tuple[str, ...], said: str | None = None) -> OutOfMemory:
    """The error for a limit that was met.

    :param said: how the worker put it, where it could.
    """
    peak = limit.peak()
    used = "" if peak is None else f", the most in use was {peak}"
    return OutOfMemory(
        f"{said or 'the worker was killed for its memory'} (the limit is {limit.size} bytes{used})",
        hint="raise the limit (--max-memory, ENVBUILD_MAX_MEMORY), or send less at once",
        details=tail,
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
