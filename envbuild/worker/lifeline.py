"""The lifeline: when the host dies, however it dies, the worker and everything that it started die as well.

The process that the host started becomes the *sentinel*, and the worker is its child. The sentinel adopts what the
worker's children leave behind (Linux: also a daemon, which has a session of its own). It ends them all when the worker
ends, when the host's end of the channel closes, when the host dies, and when SIGHUP tells it to: also while the model
computes in C without letting go of the GIL, which no thread of the worker could promise. Then it ends as the worker
did, with its status or by its signal. The worker itself is killed by the kernel when the sentinel is.
"""

import os
import select
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from .channel import Channel

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
# Between two looks at processes that were killed and have not ended yet.
PAUSE_SECONDS = 0.001
# How the host names the directories of one worker's own; others are nobody's to remove.
PRIVATE = "envbuild-worker-"


def tie(channel: "Channel", host: int) -> None:
    """Tie the worker's life to the process ``host``; with 0 to the channel alone. Returns in the worker only."""
    prctl = _prctl()
    adopts = prctl(PR_SET_CHILD_SUBREAPER, 1) == 0
    if host:
        _die_with(host, signal.SIGHUP, prctl)
    sentinel = os.getpid()
    worker = os.fork()
    if worker == 0:
        _die_with(sentinel, signal.SIGKILL, prctl)
        return
    try:
        watch = Sentinel(worker, adopts)
        watch.wait(channel)
        watch.end_all()
        # The signal comes when the first thread of a dying host ends: its files may be open still, and it our parent.
        if host and (watch.is_told or _is_hung_up(channel)):
            _remove_private(os.environ.get("TMPDIR", ""))
        prctl(PR_SET_DUMPABLE, 0)  # one core file is enough
        _end_as(watch.status)
    finally:
        os._exit(1)


def _prctl() -> "Callable[[int, int], Any]":
    """The system call; it does nothing in a Python without ctypes, and in a system that is not Linux."""
    try:
        import ctypes

        call = ctypes.CDLL(None).prctl
    except (ImportError, OSError, AttributeError):
        return lambda option, value: None
    return lambda option, value: call(option, int(value), 0, 0, 0)


def _die_with(parent: int, number: int, prctl: "Callable[[int, int], Any]") -> None:
    prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it died before the signal was asked for
        os._exit(1)


class Sentinel:
    """Waits for an end, makes it everybody's, and knows how the worker's came."""

    def __init__(self, worker: int, adopts: bool) -> None:
        """:param adopts: orphans of the worker's become this process's children, so that none gets lost."""
        self.status = None  # type: int | None
        self._worker = worker
        self._adopts = adopts
        self.is_told = False

    def wait(self, channel: "Channel") -> None:
        """Wait until the worker ends, the host is gone, or SIGHUP comes."""
        woken = self._heed_signals()
        _let_go(channel)
        poll = select.poll()
        poll.register(channel.reading, 0)  # nothing but the hang-up, which is always reported
        poll.register(woken, select.POLLIN)
        while True:
            self._reap()
            if self.is_told or self.status is not None:
                return
            if any(fd == channel.reading for fd, _ in poll.poll()):
                return
            os.read(woken, 4096)

    def end_all(self) -> None:
        """Kill everything that the worker started, and what that started, until nothing is left."""
        while True:
            has_children = self._reap()
            if not has_children and self._adopts:
                return
            others = _others()
            if not has_children and not others:
                return
            for pid in others:
                _kill(pid, signal.SIGKILL)
            time.sleep(PAUSE_SECONDS)

    def _heed_signals(self) -> int:
        """Have each signal wake a ``poll`` on what this gives back."""
        woken, wakes = os.pipe()
        os.set_blocking(wakes, False)
        signal.set_wakeup_fd(wakes)
        signal.signal(signal.SIGHUP, self._take)
        signal.signal(signal.SIGTERM, self._take)
        signal.signal(signal.SIGCHLD, self._take)
        # The stop of a worker begins with these for its whole group; the sentinel is there for what comes after them.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return woken

    def _take(self, number: int, frame: "Any") -> None:
        if number == signal.SIGHUP:
            self.is_told = True
        elif number == signal.SIGTERM and self.status is None:
            _kill(self._worker, number)

    def _reap(self) -> bool:
        """Take leave of the children that have ended; whether there are others."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._worker:
                self.status = status


def _is_hung_up(channel: "Channel") -> bool:
    """Whether the host's end is closed: a host that dies closes it a moment before it is no parent any more."""
    poll = select.poll()
    poll.register(channel.reading, 0)
    return bool(poll.poll(0))


def _let_go(channel: "Channel") -> None:
    """Whoever reads the worker's answers or its stderr must see their end when the worker ends, not the sentinel."""
    os.close(channel.writing)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)


def _others() -> "list[int]":
    """The living children of this process, and the others of its group."""
    me, group = os.getpid(), os.getpgrp()
    try:
        if os.readlink("/proc/self") != str(me):
            raise OSError("this is the /proc of another namespace")
        known = map(_stat, filter(str.isdigit, os.listdir("/proc")))
    except OSError:
        os.killpg(group, signal.SIGKILL)  # more cannot be found, and we are one of them
        return []
    return [
        pid
        for pid, state, parent, belongs in known
        if pid != me and state not in "ZX" and (parent == me or belongs == group)
    ]


def _stat(name: str) -> "tuple[int, str, int, int]":
    """A process's id, state, parent and group."""
    try:
        with open("/proc/" + name + "/stat", "rb") as file:
            state, parent, group = file.read().rpartition(b")")[2].split()[:3]
    except (OSError, ValueError):  # it has ended
        return 0, "X", 0, 0
    return int(name), state.decode("ascii"), int(parent), int(group)


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except OSError:  # it has ended, or has become another user's
        pass


def _remove_private(temporary: str) -> None:
    """Remove the worker's own directories for a host that perhaps cannot any more; else it finds nothing to remove."""
    root = os.path.dirname(temporary)
    if os.path.basename(root).startswith(PRIVATE):
        import shutil  # only then

        shutil.rmtree(root, ignore_errors=True)


def _end_as(status: "int | None") -> None:
    """End with the status of the worker, or by the signal that ended it."""
    if status is None:
        os._exit(1)
    if not os.WIFSIGNALED(status):
        os._exit(os.WEXITSTATUS(status))
    number = os.WTERMSIG(status)
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)
