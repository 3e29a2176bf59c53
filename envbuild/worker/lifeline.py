"""The lifeline: when the host dies, however it dies, the worker and everything that it started die as well.

Two threads of the same rope. The kernel kills the worker itself when its parent ends (Linux). A *sentinel*, a tiny
process in the worker's group, sees the host's end of the channel close and kills the group: it works while the model
computes in C without letting go of the GIL, and reaches the model's own children, neither of which a thread in the
worker could promise. It is forked twice, so that a model that waits for its children never meets it.
"""

import os
import select
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .channel import Channel

PR_SET_PDEATHSIG = 1
# Milliseconds. The host kills the group when the worker ends; this is for a worker that has no such host.
LOOK_EVERY = 1000


def tie(channel: "Channel", host: int) -> None:
    """Tie the worker's life to the process ``host``; with 0 to the channel alone."""
    if host:
        _ask_for_death_signal()
        if os.getppid() != host:  # it died before the signal was asked for
            os._exit(1)
    _start_sentinel(channel)


def _ask_for_death_signal() -> None:
    try:
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    except (ImportError, OSError, AttributeError):  # a Python without ctypes, a system that is not Linux
        return


def _start_sentinel(channel: "Channel") -> None:
    worker = os.getpid()
    between = os.fork()
    if between:
        os.waitpid(between, 0)
        return
    if os.fork():
        os._exit(0)
    try:
        _watch(channel, worker)
    finally:
        os._exit(1)


def _watch(channel: "Channel", worker: int) -> None:
    # The stop of a worker begins with these; the sentinel is there for what comes after them.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    # Whoever reads the worker's answers or its stderr must see their end when the worker ends, not the sentinel.
    os.close(channel.writing)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    poll = select.poll()
    poll.register(channel.reading, 0)  # nothing but the hang-up, which is always reported
    while not poll.poll(LOOK_EVERY) and _lives(worker):
        pass
    os.killpg(0, signal.SIGKILL)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
