"""The init as the first process of a namespace of its own, as a container has it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from asking import SERVE, Server, children_of, environ, here
from waiting import eventually, is_gone

NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc")
Start = Callable[..., Server]

BY_INIT = "import os, signal, sys, time\nfrom envbuild.server.container import init\ndef command():\n{}\nsys.exit(init.run(command))\n"


def by_init(body: str) -> list[object]:
    """Python that runs a body as the command of the init."""
    return [sys.executable, "-c", BY_INIT.format("".join(f"    {line}\n" for line in body.strip().splitlines()))]


def first_process(server: Server) -> int:
    """The process that is number 1 in the namespace."""
    return int(eventually(lambda: children_of(server.process.pid), "the namespace has a process")[0])


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("return 0", 0),
        ("return 7", 7),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137),
        ("os.kill(os.getpid(), signal.SIGTERM)", 143),
        ("raise SystemExit(3)", 3),
    ],
)
def test_the_status_is_that_of_the_command(start: Start, body: str, status: int) -> None:
    assert start([*NAMESPACE, *by_init(body)]).wait() == status


def test_as_process_1_the_command_is_another_process_and_otherwise_it_is_not(start: Start) -> None:
    body = "sys.stderr.write('%d %d' % (os.getpid(), os.getppid()))\nreturn 0"
    server = start([*NAMESPACE, *by_init(body)])
    assert server.wait() == 0
    assert server.stderr.split()[1] == "1"
    server = start(by_init(body))
    assert server.wait() == 0
    assert int(server.stderr.split()[0]) == server.process.pid


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2],
    ids=lambda number: number.name,
)
def test_a_signal_reaches_the_command_once(start: Start, number: signal.Signals) -> None:
    body = f"""
heard = []
for number in (signal.SIGALRM, {int(number)}):
    signal.signal(number, lambda number, frame: heard.append(number))
sys.stderr.write("ready\\n")
sys.stderr.flush()
while not heard:
    time.sleep(0.01)
signal.setitimer(signal.ITIMER_REAL, 0.2)
while signal.SIGALRM not in heard:
    time.sleep(0.01)
return 40 + len(heard)
"""
    server = start([*NAMESPACE, *by_init(body)])
    eventually(lambda: "ready" in server.stderr, "it listens to signals")
    os.kill(first_process(server), number)
    assert server.wait() == 42


def test_the_commands_own_signals_are_as_they_were_before(start: Start) -> None:
    body = "sys.stderr.write(repr(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))))\nreturn 0"
    server = start([*NAMESPACE, *by_init(body)])
    assert server.wait() == 0
    assert server.stderr == "[]"


def test_orphans_are_reaped(start: Start) -> None:
    # Forked twice and left alone: forty at once, since one signal may stand for many.
    body = """
for _ in range(40):
    between = os.fork()
    if not between:
        if not os.fork():
            time.sleep(0.05)
        os._exit(0)
    os.waitpid(between, 0)
def others():
    return [name for name in os.listdir("/proc") if name.isdigit() and name not in ("1", str(os.getpid()))]
assert others()
end = time.monotonic() + 30
while others() and time.monotonic() < end:
    time.sleep(0.01)
return len(others())
"""
    server = start([*NAMESPACE, *by_init(body)])
    assert (server.wait(), server.stderr) == (0, "")


def test_ctrl_c_on_a_terminal_comes_once() -> None:
    body = """
heard = []
for number in (signal.SIGALRM, signal.SIGINT):
    signal.signal(number, lambda number, frame: heard.append(number))
os.write(1, b"ready")
while not heard:
    time.sleep(0.01)
signal.setitimer(signal.ITIMER_REAL, 0.2)
while signal.SIGALRM not in heard:
    time.sleep(0.01)
return 40 + len(heard)
"""
    argv = list(map(str, ["unshare", "--pid", "--fork", "--mount-proc", *by_init(body)]))
    # A child process leads the terminal's session, as process 1 of `docker run --tty` does.
    leading, following = pty.openpty()
    script = "import fcntl, os, sys, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
    with subprocess.Popen(
        [sys.executable, "-c", script, *argv], stdin=following, stdout=following, stderr=following, env=environ()
    ) as process:
        os.close(following)
        said = b""
        while b"ready" not in said:
            said += os.read(leading, 100)
        os.write(leading, b"\x03")
        assert process.wait(60) == 42
    os.close(leading)


def test_a_server_as_process_1_drains_reaps_its_sentinels_and_ends_with_0(
    start: Start, environment: Path, model: Path, tmp_path: Path
) -> None:
    server = start([*NAMESPACE, *here(environment, model, *SERVE)])
    assert server.predict("echo").predictions == ["echo"]
    first = first_process(server)
    (serving,) = children_of(first)[:1]
    # The worker dies twice; of each, a sentinel that was forked twice is an orphan.
    for _ in range(2):
        assert server.predict("kill").status == 503
    assert server.predict("echo").predictions == ["echo"]
    eventually(lambda: not any(map(is_gone, [*children_of(first), *children_of(serving)])), "no zombie is left")
    gate = tmp_path / "gate"
    slow = server.begin("wait", str(gate))
    eventually(Path(f"{gate}.begun").exists, "the prediction has begun")
    os.kill(first, signal.SIGTERM)
    gate.touch()
    assert slow.answer().status == 200
    assert server.wait() == 0
