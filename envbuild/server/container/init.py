"""The init: what the first process of a container must do, for a command that should not have to.

Process 1 gets every orphan of its namespace as a child and has to reap it, and the kernel keeps signals from it that it
has no handler for. So it does nothing else: the command is a child of it, in a process group of its own, and gets the
signals that were meant for it. Anywhere else than as process 1 all this is not needed, and not done.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable

FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_WATCHED = frozenset((*FORWARDED, signal.SIGCHLD))


def run(command: Callable[[], int]) -> int:
    """The command's exit status; as process 1 that of a child that runs it: 128+N where signal N ended it.

    As process 1 this returns twice: in the child with what the command returned, and in process 1 after the child's end.
    """
    if os.getpid() != 1:
        return command()
    # Blocked before there is a child, so that nothing that is said to us from here on is lost.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*_WATCHED, signal.SIGTTOU})
    child = os.fork()
    if child == 0:
        _lead_group()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return command()
    return _look_after(child)


def _lead_group() -> None:
    """Lead a process group of one's own, the terminal's if there is one: Ctrl-C then comes once, and not by us too."""
    os.setpgid(0, 0)
    with contextlib.suppress(OSError):
        # With SIGTTOU blocked, a group in the background may do this.
        os.tcsetpgrp(0, os.getpgrp())


def _look_after(child: int) -> int:
    while True:
        number = signal.sigwait(_WATCHED)
        if number != signal.SIGCHLD:
            os.kill(child, number)
        elif (status := _reap(child)) is not None:
            return status if status >= 0 else 128 - status


def _reap(child: int) -> int | None:
    """Reap whoever has ended; the child's exit status (negative: the signal's number) once it is among them."""
    found = None
    # One signal may stand for many ends.
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == child:
                found = os.waitstatus_to_exitcode(status)
    return found
