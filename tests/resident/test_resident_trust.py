"""Stale, dead, foreign and other-version workers are never used."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit import AS_NOBODY
from residing import House, MakeModel
from waiting import eventually

from envbuild.bridge.frames import Frame
from envbuild.resident import keeping
from envbuild.resident.ground import Ground, Untrusted
from envbuild.resident.key import Unsettled, facts_of
from envbuild.resident.line import Broken, Line, listening

SECRET = "canary-5b1e77"


def changed(model: Path) -> None:
    (model / "value.txt").write_text("two")


def changed_at_the_same_size_and_time(model: Path) -> None:
    before = (model / "value.txt").stat()
    (model / "value.txt").write_text("two")
    os.utime(model / "value.txt", ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(model: Path) -> None:
    (model / "new").write_text("two")
    (model / "new").rename(model / "value.txt")


def led_elsewhere(model: Path) -> None:
    (model.parent / "two.txt").write_text("two")
    (model / "value.txt").unlink()
    (model / "value.txt").symlink_to(model.parent / "two.txt")


def another_in_its_place(model: Path) -> None:
    shutil.copytree(model, model.parent / "other")
    changed(model.parent / "other")
    model.rename(model.parent / "before")
    (model.parent / "other").rename(model)


CHANGES = [changed, changed_at_the_same_size_and_time, replaced, led_elsewhere, another_in_its_place]


@pytest.mark.sampled(5)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_model_that_has_changed_is_loaded_anew(house: House, model: Path, change: object) -> None:
    pid = house.predict(model, "who").answer[0]
    assert callable(change)
    change(model)
    second = house.predict(model, "who")
    assert second.answer[1:] == ["two", 1]
    time.sleep(0.15)
    third = house.predict(model, "who")
    assert third.answer[1] == "two"
    eventually(lambda: pid not in house.running(), "the worker of the model as it was has ended")


def test_a_file_behind_a_link_counts(house: House, model: Path) -> None:
    led_elsewhere(model)
    time.sleep(0.15)
    assert house.predict(model, "who").answer[1] == "two"
    (model.parent / "two.txt").write_text("six")
    assert house.predict(model, "who").answer[1] == "six"


def test_a_model_that_was_changed_a_moment_ago_is_not_kept_warm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(Unsettled, match="a moment ago"):
        facts_of(tmp_path)
    # Whatever its times say, which anybody can set.
    os.utime(tmp_path / "file", (2e9, 2e9))
    time.sleep(0.15)
    facts = facts_of(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path)
    assert [entry[0] for entry in facts_of(tmp_path)] == [facts[0][0], "loop"]


def test_it_is_said_when_no_worker_stays(house: House, model_of: MakeModel) -> None:
    # It changes itself while it is loaded.
    loader = """
import os

class Model:
    def predict(self, data):
        return [os.getpid()]

def _load_pyfunc(path):
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    open(os.path.join(here, "value.txt"), "a").write(".")
    return Model()
"""
    model = model_of(loader=loader)
    pids = [house.predict(model, "who").answer[0] for _ in range(2)]
    assert pids[0] != pids[1]
    house.nothing_is_left()
    (model / "value.txt").write_text("new")
    os.utime(model)
    done = house.call("predict", model, "-", "--keep-warm", "1m", stdin=b'{"inputs": []}')
    assert done.code == 0


def test_another_version_is_not_used(house: House, model: Path, tmp_path: Path) -> None:
    pid = house.predict(model, "who").answer[0]
    other = tmp_path / "other"
    shutil.copytree(Path(keeping.__file__).parents[1], other / "envbuild", ignore=shutil.ignore_patterns("__pycache__"))
    package = other / "envbuild" / "__init__.py"
    package.write_text(package.read_text().replace('__version__ = "', '__version__ = "9'))
    elsewhere = {"PYTHONPATH": str(other)}
    second = house.predict(model, "who", env=elsewhere).answer[0]
    assert second != pid
    assert house.predict(model, "who", env=elsewhere).answer[0] == second
    assert house.predict(model, "who").answer[0] == pid


class Impostor:
    """Listens under the name of a keeper, and answers whatever it is told to."""

    def __init__(self, path: Path, answer: bytes) -> None:
        self.asked: list[bytes] = []
        self._listener = listening(str(path))
        self._listener.setblocking(True)
        self._answer = answer
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection:
                    self.asked.append(connection.recv(65536))
                    connection.sendall(self._answer)
                    while part := connection.recv(65536):
                        self.asked.append(part)
                        if b"predict" in part:
                            break

    def close(self) -> None:
        self._listener.close()


@contextlib.contextmanager
def dead_keeper(house: House, model: Path) -> Iterator[Path]:
    """The path of the socket of a keeper that has died."""
    assert house.predict(model, "who").code == 0
    (worker,) = house.workers()
    (path,) = house.private().glob("*.sock")
    os.kill(worker["pid"], 9)
    eventually(lambda: not house.running(), "both have ended")
    assert path.is_socket()
    yield path


def frame(verb: str, content: object) -> bytes:
    return Frame(id=0, verb=verb, payload=(payload := json.dumps(content).encode())).header() + payload


ANSWERS = [
    b"",
    b"\x00" * 70_000,
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    frame("welcome", {}),
    frame("predicted", {"predictions": [6]}),
    frame("welcome", {"key": "another", "loading": "", "details": []}),
    frame("refused", {}),
]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("answer", ANSWERS, ids=range(len(ANSWERS)))
def test_who_listens_in_a_keepers_place_is_found_out(house: House, model: Path, answer: bytes) -> None:
    with dead_keeper(house, model) as path:
        path.unlink()
        impostor = Impostor(path, answer)
        done = house.predict(model, "who", warm=False)
        impostor.close()
    assert (done.code, done.answer[1:]) == (0, ["one", 1])
    assert b"hello" in impostor.asked[0]
    assert b"predict" not in b"".join(impostor.asked), "it is sent no data"


def test_a_dead_workers_socket_is_cleaned_up(house: House, model: Path) -> None:
    with dead_keeper(house, model) as path:
        assert house.predict(model, "who").answer[2] == 1
        assert path.is_socket()
        assert [one["served"] for one in house.workers()] == [1]
    with dead_keeper(house, model):
        assert house.workers() == []
    house.nothing_is_left()


FOREIGN = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
os.chdir(sys.argv[1])
listener.bind(sys.argv[2])
listener.listen()
print("listens", flush=True)
connection, _ = listener.accept()
print(len(connection.recv(10)), flush=True)
"""


def test_a_foreign_process_is_not_asked(house: House, model: Path) -> None:
    with dead_keeper(house, model) as path:
        path.unlink()
        path.parent.chmod(0o777)
        for folder in (house.home, *house.home.parents[:-1]):
            if not folder.stat().st_mode & 0o001:
                folder.chmod(folder.stat().st_mode | 0o011)
        argv = [*AS_NOBODY, sys.executable, "-c", FOREIGN, str(path.parent), path.name]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as foreign:
            assert foreign.stdout is not None
            assert foreign.stdout.readline() == "listens\n"
            path.parent.chmod(0o700)
            assert path.stat().st_uid == 65534
            assert house.predict(model, "who", warm=False).answer[2] == 1
            # Also where the file is ours.
            os.chown(path, 0, 0)
            assert house.predict(model, "who", warm=False).answer[2] == 1
            foreign.kill()
            assert foreign.stdout.read() in ("", "0\n")
        house.home.chmod(0o700)


def test_a_foreign_caller_is_not_served(house: House, model: Path) -> None:
    assert house.predict(model, "who").code == 0
    (path,) = house.private().glob("*.sock")
    code = (
        "import os, socket, sys\n"
        "os.chdir(sys.argv[1])\nos.setgid(65534); os.setuid(65534)\n"
        "line = socket.socket(socket.AF_UNIX)\n"
        "try:\n    line.connect(sys.argv[2])\n    line.sendall(sys.argv[3].encode())\n    print(line.recv(10))\n"
        "except OSError as error:\n    print(error.errno)\n"
    )
    argv = [sys.executable, "-c", code, str(path.parent), path.name, frame("status", {}).decode()]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "13\n"
    # The kernel keeps others out of the directory; if it did not, the keeper would.
    path.parent.chmod(0o711)
    path.chmod(0o777)
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout in ("b''\n", "104\n", "32\n")
    path.parent.chmod(0o700)


def test_a_worker_without_a_network_does_not_reach_another_that_has_it(house: House, model: Path) -> None:
    assert house.predict(model, "who").code == 0
    (path,) = house.private().glob("*.sock")
    code = (
        "import socket, sys\nline = socket.socket(socket.AF_UNIX)\nline.connect(sys.argv[1])\n"
        "line.sendall(sys.argv[2].encode())\nprint(line.recv(10))"
    )
    argv = [sys.executable, "-c", code, str(path), frame("status", {}).decode()]
    assert '{"' in subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    done = subprocess.run(["unshare", "--net", *argv], capture_output=True, text=True, check=False)
    assert "b''" in done.stdout or "Error" in done.stderr


def test_a_directory_that_others_may_enter_is_not_used(house: House, model: Path) -> None:
    pid = house.predict(model, "who").answer[0]
    house.private().chmod(0o750)
    done = house.call("predict", model, "-", "--keep-warm", "1m", stdin=b'{"inputs": ["who"]}')
    assert done.answer[0] != pid
    assert "warning[not-kept-warm]" in done.stderr
    assert "is open to others (mode 0750)" in done.stderr
    plain = house.call("predict", model, "-", stdin=b'{"inputs": ["who"]}')
    assert (plain.code, "warning" in plain.stderr) == (0, False)
    listed = house.call("workers", "list")
    assert (listed.code, "store-untrusted" in listed.stderr) == (5, True)


@pytest.mark.parametrize("planted", ["a file", "a link", "another user's"])
def test_what_is_planted_in_its_place_is_not_used(house: House, model: Path, planted: str, tmp_path: Path) -> None:
    assert house.predict(model, "who").code == 0
    place = house.private()
    place.rename(house.home / "aside")
    if planted == "a file":
        place.write_text("")
    elif planted == "a link":
        place.symlink_to("aside")
    else:
        place.mkdir(mode=0o700)
        os.chown(place, 65534, 65534)
    done = house.call("predict", model, "-", "--keep-warm", "1m", stdin=b'{"inputs": ["who"]}')
    assert (done.code, done.answer[2], "not-kept-warm" in done.stderr) == (0, 1, True)
    shutil.rmtree(house.home / "aside")
    shutil.rmtree(place) if planted == "another user's" else place.unlink()


@pytest.mark.sampled(4)
@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33, None])
def test_a_secret_that_is_not_ours_is_not_used(house: House, model: Path, content: bytes | None) -> None:
    assert house.predict(model, "who").code == 0
    path = house.private() / "secret"
    if content is None:
        path.chmod(0o644)
    else:
        path.write_bytes(content)
    done = house.call("predict", model, "-", "--keep-warm", "1m", stdin=b'{"inputs": ["who"]}')
    assert (done.code, done.answer[2], "not-kept-warm" in done.stderr) == (0, 1, True)


def test_planted_files_of_any_kind_do_no_harm(house: House, model: Path) -> None:
    assert house.predict(model, "who").code == 0
    private = house.private()
    (path,) = private.glob("*.sock")
    (private / "00000000-0000000000000000.sock").write_text("not a socket")
    (private / "11111111-1111111111111111.lock").mkdir()
    (private / "zzz").write_text("")
    (private / "-.sock").symlink_to(path)
    assert len(house.workers()) == 1
    path.unlink()
    path.symlink_to("/nowhere")
    assert house.predict(model, "who", warm=False).answer[2] == 1


def test_secrets_are_in_no_file_and_no_command_line(house: House, model: Path) -> None:
    environ = {"TOKEN": f"{SECRET}-1", "ENVBUILD_SET_ENV": f"OTHER={SECRET}-2"}
    done = house.predict(model, "variable", "TOKEN", "OTHER", "THIRD", env=environ, options=("--pass-env", "TOKEN"))
    assert done.answer == [f"{SECRET}-1", f"{SECRET}-2", None]
    third = house.predict(model, "variable", "THIRD", options=("--set-env", f"THIRD={SECRET}-3"))
    assert third.answer == [f"{SECRET}-3"]
    assert len(house.workers()) == 2
    assert SECRET not in str(house.workers())
    assert [words for words in house.running().values() if SECRET in words] == []
    for place in (house.home, house.temporary):
        for path in place.rglob("*"):
            if path.is_file() and not path.is_symlink():
                assert SECRET.encode() not in path.read_bytes(), path
            assert SECRET not in path.name


def test_the_key_tells_nothing_without_the_secret(tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        with contextlib.closing(Ground.opened(tmp_path / name, make=True)) as ground:  # type: ignore[type-var]
            digests.append(ground.digest(b"content"))
            assert digests[-1] == ground.digest(b"content")
        (secret,) = (tmp_path / name).glob("*/secret")
        assert (secret.stat().st_mode & 0o777, len(secret.read_bytes())) == (0o600, 32)
    assert digests[0] != digests[1]


def test_a_directory_that_cannot_be_made_is_no_error(house: House, model: Path, tmp_path: Path) -> None:
    assert Ground.opened(tmp_path / "nothing here") is None
    with pytest.raises(FileNotFoundError):
        Ground.opened(tmp_path / "nothing here", make=True)
    (tmp_path / "here").mkdir()
    with Ground.opened(tmp_path / "here", make=True) as made:  # type: ignore[union-attr]
        assert made.path.stat().st_mode & 0o777 == 0o700
    made.path.chmod(0o701)
    with pytest.raises(Untrusted, match="0701"):
        Ground.opened(tmp_path / "here")


def test_frames_that_are_none_end_the_line_and_nothing_else(house: House, model: Path) -> None:
    pid = house.predict(model, "who").answer[0]
    (path,) = house.private().glob("*.sock")
    for text in (b"x\n", b"{}\n", b"\xff" * 100_000, b"", ANSWERS[4]):
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(str(path))
            with contextlib.suppress(OSError):
                one.sendall(text)
                one.shutdown(socket.SHUT_WR)
                assert one.recv(100) == b""
    # Who was not greeted is not served, and another key is not greeted.
    for frames in (["predict"], ["hello", "predict"]):
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(str(path))
            line = Line(one)
            with contextlib.suppress(Broken):
                for verb in frames:
                    line.send(verb, b'{"key": "0"}')
            said = b""
            with contextlib.suppress(OSError):
                while part := one.recv(1000):
                    said += part
            assert b"predicted" not in said
    assert house.predict(model, "who").answer[::2] == [pid, 2]
