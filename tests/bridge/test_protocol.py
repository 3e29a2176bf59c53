"""The protocol, spoken to the worker without the bridge, rightly and wrongly."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import acting
import pytest
from acting import RawWorker, frame, order
from waiting import eventually, is_gone

from envbuild.bridge import Worker
from envbuild.errors import ProtocolError

StartRaw = Callable[..., RawWorker]
MakeModel = Callable[..., Any]


def load_order(model: Any) -> bytes:
    return json.dumps({"model": str(model.path), "loader_module": "its_loader", "code": "code"}).encode()


def failed(answer: Any) -> tuple[int, str]:
    header, payload = answer
    assert header["verb"] == "failed"
    return header["id"], payload["code"]


def test_the_worker_speaks_first(raw_worker: StartRaw, every_python: Path) -> None:
    worker = raw_worker(every_python)
    header, said = worker.receive()  # type: ignore[misc]
    assert (header["protocol"], header["id"], header["verb"]) == (4, 0, "ready")
    assert set(said) == {"protocol", "python", "implementation", "executable", "pid", "loader"}
    assert _group_of(Path("/proc", str(said["pid"]))) == worker.process.pid, "it is in its sentinel's group"
    worker.send(frame("stop", 1))
    assert worker.process.wait(20) == 0


def test_everything_may_be_sent_at_once(raw_worker: StartRaw, make_model: MakeModel) -> None:
    worker = raw_worker()
    asked = [frame("predict", number, order("echo", value=number)) for number in range(2, 50)]
    worker.send(frame("load", 1, load_order(make_model())) + b"".join(asked) + frame("stop", 50))
    answers = [worker.receive() for _ in range(50)]
    assert [header["verb"] for header, _ in answers] == ["ready", "loaded"] + ["predicted"] * 48  # type: ignore[misc]
    assert [payload for _, payload in answers[2:]] == list(range(2, 50))  # type: ignore[misc]
    assert worker.process.wait(20) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        frame("sing", 7),
        frame("predict", 7, protocol=99),
        frame("predict", 7, protocol=None),
        frame("predict", 7, b"{}"),  # nothing is loaded
        frame("load", 7, b"[1, 2]"),
        frame("load", 7, b'{"model": 1}'),
        frame(["list"], 7),  # type: ignore[arg-type]
    ],
)
def test_what_can_be_read_is_answered_and_the_worker_goes_on(
    raw_worker: StartRaw, make_model: MakeModel, wrong: bytes
) -> None:
    worker = raw_worker()
    worker.send(wrong + frame("load", 8, load_order(make_model())) + frame("predict", 9, order("echo", value="ok")))
    assert worker.receive()[0]["verb"] == "ready"  # type: ignore[index]
    assert failed(worker.receive()) == (7, "worker-protocol")
    assert worker.receive()[0]["verb"] == "loaded"  # type: ignore[index]
    assert worker.receive()[1] == "ok"  # type: ignore[index]


def test_the_versions_are_both_named(raw_worker: StartRaw) -> None:
    worker = raw_worker()
    worker.receive()
    worker.send(frame("load", 1, protocol=99))
    assert worker.receive()[1]["message"] == "this worker speaks protocol 4, not 99"  # type: ignore[index]


@pytest.fixture
def worker_of_version_1(tmp_path: Path) -> Path:
    """The worker's folder as it was when the protocol had the version before."""
    folder = shutil.copytree(acting.WORKER_FOLDER, tmp_path / "worker", ignore=shutil.ignore_patterns("__pycache__"))
    channel = folder / "channel.py"
    before = channel.read_text()
    channel.write_text(before.replace("\nPROTOCOL = 4\n", "\nPROTOCOL = 1\n"))
    assert channel.read_text() != before
    return folder


def test_an_older_worker_is_refused(
    make_model: MakeModel, worker_of_version_1: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("envbuild.bridge.worker.WORKER_FOLDER", worker_of_version_1)
    with Worker.start(Path(sys.executable), make_model()) as worker:
        with pytest.raises(ProtocolError, match="the worker speaks protocol 1, and this envbuild speaks 4") as caught:
            worker.predict(order("echo", value=1))
        assert caught.value.hint is not None
    assert is_gone(worker.pid)


def test_an_older_worker_refuses(
    raw_worker: StartRaw, worker_of_version_1: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acting, "WORKER_FOLDER", worker_of_version_1)
    worker = raw_worker()
    assert worker.receive()[0]["protocol"] == 1  # type: ignore[index]
    worker.send(frame("load", 1))
    assert worker.receive()[1]["message"] == "this worker speaks protocol 1, not 4"  # type: ignore[index]


def test_an_older_host_is_refused_and_refuses(
    raw_worker: StartRaw, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = raw_worker()
    worker.receive()
    worker.send(frame("load", 1, protocol=1))
    assert worker.receive()[1]["message"] == "this worker speaks protocol 4, not 1"  # type: ignore[index]
    monkeypatch.setattr("envbuild.bridge.frames.PROTOCOL", 1)
    refused = pytest.raises(ProtocolError, match="the worker speaks protocol 4, and this envbuild speaks 1")
    with Worker.start(Path(sys.executable), make_model()) as younger, refused:
        younger.wait_loaded()


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "wrong",
    [
        b"not json\n",
        b"[]\n",
        b"{}\n",
        b"\n",
        b"\xff\xfe\n",
        frame("predict", 1, length=-1),
        frame("predict", 1, length="5"),
        frame("predict", 1, length=True),
        frame("predict", 1, length=1 << 60),
        b"x" * 70_000 + b"\n",
        b"[" * 60_000 + b"\n",
    ],
)
def test_a_header_that_cannot_be_read_ends_the_worker(raw_worker: StartRaw, every_python: Path, wrong: bytes) -> None:
    worker = raw_worker(every_python)
    worker.receive()
    worker.send(wrong)
    assert failed(worker.receive()) == (0, "worker-protocol")
    assert worker.process.wait(20) == 3


def test_end_of_file_ends_an_idle_worker(raw_worker: StartRaw, every_python: Path) -> None:
    worker = raw_worker(every_python)
    worker.receive()
    assert worker.end() in (0, -9)


def test_the_sentinel_ends_as_its_worker_does(raw_worker: StartRaw, every_python: Path) -> None:
    """Also when nobody kills the group and the channel stays open."""
    worker = raw_worker(every_python)
    os.kill(worker.receive()[1]["pid"], signal.SIGUSR1)  # type: ignore[index]
    assert worker.process.wait(20) == -signal.SIGUSR1
    eventually(lambda: _group_is_gone(worker.process.pid), "the group is gone")


def test_the_worker_ends_with_its_sentinel(raw_worker: StartRaw, every_python: Path) -> None:
    worker = raw_worker(every_python)
    worker.receive()
    worker.process.kill()
    worker.process.wait()
    eventually(lambda: _group_is_gone(worker.process.pid), "the worker is gone")


def _group_is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return all(is_gone(int(path.name)) for path in Path("/proc").glob("[0-9]*") if _group_of(path) == group)


def _group_of(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[2])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def test_a_worker_whose_host_is_another_process_does_not_start(raw_worker: StartRaw) -> None:
    worker = raw_worker(host=os.getppid())
    assert worker.receive() is None
    assert worker.process.wait(20) == 1


def test_a_worker_without_a_host_to_watch(raw_worker: StartRaw) -> None:
    assert raw_worker(host=0).receive()[0]["verb"] == "ready"  # type: ignore[index]
