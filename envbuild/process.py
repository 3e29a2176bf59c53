"""Processes: run one to its end, stream its lines, start one that stays, and stop either for good.

The only module that imports :mod:`subprocess`. Commands are argv lists, never shell lines; the environment is always
given whole, never inherited. Every process leads a session of its own, so that stopping it stops what it started.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, cast

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

_DRAIN_SECONDS = 3.0
# For a sentinel to end all others; what it cannot end by then, the system holds.
_SENTINEL_SECONDS = 3.0
# Milliseconds: what fits into the C int that poll takes.
_LONGEST_POLL = 2**31 - 1


class TimedOutWaiting(Exception):
    """The process was still running when the time given was over."""


class NotStarted(Exception):
    """The program is not there or cannot be executed; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """How a process ended: its exit status (negative: the signal's number) and what it wrote, as text."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float


class Child:
    """A started process that leads a session and a process group of its own."""

    def __init__(self, popen: subprocess.Popen[bytes], *, is_sentinel: bool = False) -> None:
        """:param is_sentinel: on SIGHUP it ends what it started, beyond its group, and then itself."""
        self._popen = popen
        self._is_sentinel = is_sentinel

    @property
    def pid(self) -> int:
        """The process's id, which is its group's id as well."""
        return self._popen.pid

    @property
    def stdin(self) -> BinaryIO:
        """The writing end of its standard input, unbuffered."""
        return cast("BinaryIO", self._popen.stdin)

    @property
    def stdout(self) -> BinaryIO:
        """The reading end of its standard output, unbuffered."""
        return cast("BinaryIO", self._popen.stdout)

    @property
    def stderr(self) -> BinaryIO:
        """The reading end of its standard error, unbuffered; only with ``stderr="pipe"``."""
        return cast("BinaryIO", self._popen.stderr)

    def poll(self) -> int | None:
        """Its exit status, or ``None`` while it runs."""
        return self._popen.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, once it has ended.

        :raises TimedOutWaiting: after ``timeout`` seconds.
        """
        # With a timeout subprocess looks now and then, up to 50 ms too late; the kernel can say it at once.
        if timeout is not None and not _ended_within(self.pid, timeout):
            timeout = 0.0
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise TimedOutWaiting from None

    def stop(self, grace: float = 2.0) -> int:
        """Interrupt, then terminate, then kill the group, with ``grace`` seconds before each step that is harder."""
        for number in (signal.SIGINT, signal.SIGTERM):
            if self.poll() is not None:
                break
            self._signal(number)
            self._signal(signal.SIGCONT)  # a process that has stopped itself heeds nothing but this and SIGKILL
            with contextlib.suppress(TimedOutWaiting):
                self.wait(grace)
        return self.kill()

    def kill(self) -> int:
        """Kill what is left of the group at once, the process itself included, and reap it."""
        if self._is_sentinel and self.poll() is None:
            self._popen.send_signal(signal.SIGHUP)
            self._popen.send_signal(signal.SIGCONT)
            with contextlib.suppress(TimedOutWaiting):
                self.wait(_SENTINEL_SECONDS)
        self._signal(signal.SIGKILL)
        return self._popen.wait()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def _ended_within(pid: int, seconds: float) -> bool:
    """Wait for a child to end; whether it did, or nothing can be said here."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(min(seconds * 1000, _LONGEST_POLL)))
    finally:
        os.close(descriptor)


class _Spawner:
    """The one thread that starts processes.

    The kernel sends a parent-death signal when the *thread* that started the child ends, so a worker that was started
    from a short-lived thread would die with it. This thread lives as long as its process.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = -1
        self._thread: ThreadPoolExecutor | None = None

    def call(self, start: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        with self._lock:
            # A fork has our memory but not our thread.
            from concurrent.futures import ThreadPoolExecutor  # what starts nothing needs no threads

            if self._thread is None or self._owner != os.getpid():
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="envbuild-spawner")
                self._owner = os.getpid()
            thread = self._thread
        return thread.submit(start).result()


_SPAWNER = _Spawner()


def start(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stderr: Literal["pipe", "inherit"] = "pipe",
    dies_with_us: bool = False,
    is_sentinel: bool = False,
) -> Child:
    """Start a process that is talked to over its standard input and output.

    :param dies_with_us: the kernel kills it when this process ends, however that ends (Linux).
    :param is_sentinel: it ends what it started when SIGHUP tells it to, as a worker's sentinel does.
    :raises NotStarted: the program is missing or not executable.
    """
    before = _death_signal() if dies_with_us else None

    def popen() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            list(argv),
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if stderr == "pipe" else None,
            bufsize=0,
            start_new_session=True,
            preexec_fn=before,  # noqa: PLW1509 - one system call, and nothing that a thread could hold
        )

    try:
        return Child(_SPAWNER.call(popen), is_sentinel=is_sentinel)
    except OSError as error:
        raise NotStarted(f"{argv[0]}: {error.strerror}") from error


_PR_SET_PDEATHSIG = 1


def _death_signal() -> Callable[[], None] | None:
    """What a child calls before it becomes its program, so as to die with us; ``None`` where the system has no such."""
    if not sys.platform.startswith("linux"):
        return None
    import ctypes  # only where something is started to its end: it is not needed by a prediction

    prctl, us = ctypes.CDLL(None).prctl, os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != us:  # we died before it was asked
            os._exit(1)

    return ask


def identity() -> str:
    """What tells this process from all others of all machines and times, in letters, digits, dots and hyphens."""
    return f"{_machine()}-{os.getpid()}-{_began(os.getpid())}"


def is_gone(identity: str) -> bool:
    """Whether a process of this machine, by its :func:`identity`, runs no more; of others' nothing is known."""
    machine, number, began = ("--" + identity).rsplit("-", 2)
    return machine.lstrip("-") == _machine() and number.isdigit() and str(_began(int(number))) != began


def _machine() -> str:
    """This machine since it was started; another container on it is another one."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8]
        return f"{boot}.{Path('/proc/self/ns/pid').stat().st_ino}"
    return "unknown"


def _began(pid: int) -> int:
    """When a process began, in the kernel's ticks; 0 where there is none."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
        )
    return 0


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path | None = None,
    stdin: bytes = b"",
    timeout: float | None = None,
    on_line: Callable[[str], None] | None = None,
    on_output: Callable[[str], None] | None = None,
    on_start: Callable[[Child], None] | None = None,
) -> Completed:
    """Run a process to its end and keep what it wrote.

    :param stdin: what it reads on its standard input.
    :param timeout: seconds after which it is stopped.
    :param on_line: called with each line of its standard error as it comes, without the line end.
    :param on_output: the same for its standard output.
    :param on_start: called with the process, so that another thread can end it before its time.
    :raises TimedOutWaiting: when it was stopped because the time was over.
    :raises NotStarted: the program is missing or not executable.
    """
    began = time.monotonic()
    # A build that is killed must not leave an installer at work in a place that the next build clears.
    child = start(argv, env=env, cwd=cwd, dies_with_us=True)
    stdout: list[str] = []
    stderr: list[str] = []
    # It may write before it reads, and may never read: each pipe has a thread of its own.
    pumps = [
        threading.Thread(target=_collect, args=(child.stdout, stdout, on_output), daemon=True),
        threading.Thread(target=_collect, args=(child.stderr, stderr, on_line), daemon=True),
        threading.Thread(target=_feed, args=(child, stdin), daemon=True),
    ]
    try:
        for pump in pumps:
            pump.start()
        if on_start is not None:
            on_start(child)
        returncode = child.wait(timeout)
    except BaseException:
        child.stop()
        raise
    # What it started and left behind would hold the pipes open, and nobody waits for it: neither for its group, nor
    # for what has left the group.
    child.kill()
    drained = time.monotonic() + _DRAIN_SECONDS
    for pump in pumps:
        pump.join(max(0.0, drained - time.monotonic()))
    return Completed(
        argv=tuple(argv),
        returncode=returncode,
        stdout="".join(stdout),
        stderr="".join(stderr),
        seconds=time.monotonic() - began,
    )


def _feed(child: Child, data: bytes) -> None:
    # A process may end without reading its input; that is its own affair.
    with contextlib.suppress(BrokenPipeError), child.stdin as pipe:
        view = memoryview(data)
        while view:
            view = view[pipe.write(view) :]


def _collect(pipe: BinaryIO, kept: list[str], on_line: Callable[[str], None] | None) -> None:
    with io.BufferedReader(cast("io.FileIO", pipe)) as lines:
        for raw in lines:
            line = raw.decode("utf-8", "replace")
            kept.append(line)
            if on_line is not None:
                on_line(line.rstrip("\r\n"))


def replace_self(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path | None = None) -> None:
    """Become another program (``execve``): its terminal, its signals and its exit status are then the caller's own.

    :raises NotStarted: the program is missing or not executable.
    """
    try:
        if cwd is not None:
            os.chdir(cwd)
        # Python ignores it for itself; a program that was started from a shell would not.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execve(argv[0], list(argv), dict(env))  # noqa: S606 - no shell is the point
    except OSError as error:
        raise NotStarted(f"{argv[0]}: {error.strerror}") from error
