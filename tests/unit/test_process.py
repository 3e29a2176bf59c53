"""Processes: run, streamed, stopped with everything that they started."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from waiting import is_gone

from envbuild import process

ENV = {"PATH": "/usr/bin:/bin"}
# Dies with the thread that started it, as a worker does (prctl PR_SET_PDEATHSIG).
TIED = "import ctypes, signal, sys; ctypes.CDLL(None).prctl(1, signal.SIGKILL); print('tied', flush=True); sys.stdin.read()"


def python(code: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", code]


def until(holds: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        threading.Event().wait(0.01)
    return True


def test_a_process_runs_to_its_end_and_what_it_wrote_is_kept() -> None:
    code = "import sys; print('out ä'); print('err', file=sys.stderr); sys.exit(3)"
    done = process.run(python(code), env={**ENV, "PYTHONIOENCODING": "utf-8", "LC_ALL": "C.UTF-8"})
    assert (done.returncode, done.stdout, done.stderr) == (3, "out ä\n", "err\n")
    assert done.argv[0] == sys.executable
    assert 0 < done.seconds < 30


def test_a_process_that_a_signal_ended_says_so() -> None:
    done = process.run(python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"), env=ENV)
    assert done.returncode == -signal.SIGKILL


def test_the_environment_is_exactly_what_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "secret")
    done = process.run(["/usr/bin/env"], env={"ONLY": "this"})
    assert done.stdout == "ONLY=this\n"


def test_arguments_are_never_a_shell_line(tmp_path: Path) -> None:
    done = process.run([*python("import sys; print(sys.argv[1])"), "$(touch owned); `id`"], env=ENV, cwd=tmp_path)
    assert done.stdout == "$(touch owned); `id`\n"
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_utf_8_is_kept_readable() -> None:
    done = process.run(python("import os; os.write(1, b'a\\xffb')"), env=ENV)
    assert done.stdout == "a\ufffdb"


def test_much_input_and_much_output_do_not_wait_for_each_other() -> None:
    data = b"x" * 3_000_000
    code = "import sys; d = sys.stdin.buffer.read(); sys.stderr.write('e' * 1000000); sys.stdout.buffer.write(d + d)"
    done = process.run(python(code), env=ENV, stdin=data, timeout=60)
    assert (len(done.stdout), len(done.stderr)) == (6_000_000, 1_000_000)


def test_a_process_may_write_much_before_it_reads() -> None:
    code = "import sys; sys.stdout.write('o' * 1000000); sys.stdout.flush(); sys.stdin.read(); print('end')"
    done = process.run(python(code), env=ENV, stdin=b"x" * 1_000_000, timeout=60)
    assert done.stdout.endswith("end\n")


def test_a_process_need_not_read_its_input() -> None:
    assert process.run(python("pass"), env=ENV, stdin=b"x" * 3_000_000, timeout=60).returncode == 0


def test_lines_of_standard_error_come_while_the_process_runs(tmp_path: Path) -> None:
    path = tmp_path / "go"
    os.mkfifo(path)
    code = f"import sys; print('first', file=sys.stderr, flush=True); open({str(path)!r}).read(); print('second', file=sys.stderr)"
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        if line == "first":
            path.write_text("go")

    done = process.run(python(code), env=ENV, timeout=60, on_line=on_line)
    assert lines == ["first", "second"]
    assert done.stderr == "first\nsecond\n"


@pytest.mark.parametrize("stdin", [b"", b"x" * 3_000_000])
def test_a_time_limit_stops_the_whole_group_with_its_grandchildren(tmp_path: Path, stdin: bytes) -> None:
    pids = tmp_path / "pids"
    child = "import signal, sys, time; signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    code = (
        "import os, subprocess, sys, time\n"
        f"found = subprocess.Popen([sys.executable, '-I', '-S', '-c', {child!r}])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{found.pid}}')\n"
        "time.sleep(600)\n"
    )
    began = time.monotonic()
    with pytest.raises(process.TimedOutWaiting):
        process.run(python(code), env=ENV, stdin=stdin, timeout=2.0)
    assert time.monotonic() - began < 30
    found = [int(pid) for pid in pids.read_text().split()]
    assert len(found) == 2
    assert until(lambda: all(is_gone(pid) for pid in found))


def test_what_a_process_left_behind_is_ended_and_not_waited_for() -> None:
    code = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid)"
    began = time.monotonic()
    done = process.run(python(code), env=ENV)
    assert time.monotonic() - began < 30
    assert until(lambda: is_gone(int(done.stdout)))


def test_a_daemon_that_left_the_group_is_not_waited_for() -> None:
    code = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True).pid)"
    began = time.monotonic()
    done = process.run(python(code), env=ENV)
    try:
        assert time.monotonic() - began < 30
        assert not is_gone(int(done.stdout))
    finally:
        os.kill(int(done.stdout), signal.SIGKILL)


@pytest.mark.parametrize("name", ["/no/such/program", "no-such-program", "/etc/passwd", "/tmp"])
def test_a_program_that_cannot_be_started_is_named(name: str) -> None:
    with pytest.raises(process.NotStarted, match=name):
        process.run([name], env=ENV)
    with pytest.raises(process.NotStarted, match=name):
        process.start([name], env=ENV)


def test_a_process_that_stays_is_talked_to() -> None:
    child = process.start(["/bin/cat"], env=ENV)
    child.stdin.write(b"hello\n")
    assert child.stdout.read(6) == b"hello\n"
    assert child.poll() is None
    with pytest.raises(process.TimedOutWaiting):
        child.wait(0.05)
    child.stdin.close()
    assert child.wait(20) == 0
    child.stdout.close()
    child.stderr.close()


def test_stop_interrupts_first_and_a_process_may_end_by_itself() -> None:
    code = "import time\ntry:\n    print('up', flush=True)\n    time.sleep(600)\nexcept KeyboardInterrupt:\n    raise SystemExit(7)"
    child = process.start(python(code), env=ENV, stderr="inherit")
    assert child.stdout.read(3) == b"up\n"
    assert child.stop() == 7
    child.stdout.close()
    child.stdin.close()


def test_stop_kills_what_does_not_listen() -> None:
    code = "import signal, time\nfor n in (2, 15):\n    signal.signal(n, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(600)"
    child = process.start(python(code), env=ENV, stderr="inherit")
    assert child.stdout.read(3) == b"up\n"
    assert child.stop(grace=0.1) == -signal.SIGKILL
    assert child.stop() == -signal.SIGKILL
    child.stdout.close()
    child.stdin.close()


def test_every_process_leads_a_session_of_its_own() -> None:
    child = process.start(["/bin/cat"], env=ENV, stderr="inherit")
    assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid
    child.kill()
    child.stdout.close()
    child.stdin.close()


def test_a_process_survives_the_thread_that_asked_for_it() -> None:
    started: list[process.Child] = []
    thread = threading.Thread(target=lambda: started.append(process.start(python(TIED), env=ENV, stderr="inherit")))
    thread.start()
    thread.join()
    (child,) = started
    assert child.stdout.read(5) == b"tied\n"
    with pytest.raises(process.TimedOutWaiting):
        child.wait(0.5)
    child.stdin.close()
    assert child.wait(20) == 0
    child.stdout.close()


def test_a_fork_of_us_can_start_processes_too() -> None:
    process.run(["/bin/true"], env=ENV)
    code = (
        "import os, sys\nfrom envbuild import process\n"
        "process.run(['/bin/true'], env={})\n"
        "pid = os.fork()\n"
        "if pid == 0:\n    os._exit(process.run(['/bin/sh', '-c', 'exit 5'], env={}, timeout=20).returncode)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    )
    root = str(Path(process.__file__).parents[1])
    done = process.run([sys.executable, "-W", "ignore", "-c", code], env={**ENV, "PYTHONPATH": root}, timeout=60)
    assert done.returncode == 5, done.stderr
