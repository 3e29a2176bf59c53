"""Frames and the worker's environment variables, on the host's side."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from acting import WORKER_FOLDER

from envbuild.bridge import frames
from envbuild.bridge.environ import PASSED, PrivateDirectories, worker_environ
from envbuild.bridge.frames import Frame, FrameReader
from envbuild.errors import ProtocolError


def reader(data: bytes, piece: int) -> FrameReader:
    """A reader of ``data`` that gets at most ``piece`` bytes at once."""
    rest = memoryview(data)

    def readinto(view: memoryview) -> int:
        nonlocal rest
        count = min(piece, len(view), len(rest))
        view[:count] = rest[:count]
        rest = rest[count:]
        return count

    return FrameReader(readinto)


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_frames_come_back_as_they_went(piece: int) -> None:
    sent = [Frame(id=n, verb="predicted", payload=b"\n" * n, more={"nulls": n}) for n in range(5)]
    reading = reader(b"".join(frame.header() + frame.payload for frame in sent), piece)
    got = [reading.read() for _ in sent]
    assert [(f.id, f.verb, bytes(f.payload), f.more) for f in got if f] == [
        (n, "predicted", b"\n" * n, {"nulls": n}) for n in range(5)
    ]
    assert reading.read() is None


def test_the_end_inside_a_frame_is_the_end() -> None:
    whole = Frame(id=1, verb="loaded", payload=b"12345").header() + b"12345"
    assert [reader(whole[:cut], 100).read() for cut in range(len(whole))] == [None] * len(whole)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"hello\n", "is not JSON"),
        (b"[]\n", "is not an object"),
        (b'{"protocol": 1}\n', "speaks protocol 1, and this envbuild speaks 4"),
        (b'{"protocol": 4, "id": 0, "verb": "x", "content_type": "", "length": "1"}\n', "lacks length"),
        (b'{"protocol": 4, "id": true, "verb": "x", "content_type": "", "length": 1}\n', "lacks id"),
        (b'{"protocol": 4, "id": 0, "verb": "x", "content_type": "", "length": -1}\n', "a length that can be"),
        (b"x" * 200_000, "longer than"),
    ],
)
def test_what_is_not_our_protocol(line: bytes, says: str) -> None:
    with pytest.raises(ProtocolError, match=says):
        reader(line, 1 << 16).read()


def test_both_ends_speak_the_same_version() -> None:
    source = ast.parse((WORKER_FOLDER / "channel.py").read_text())
    said = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in source.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "PROTOCOL"
    }
    assert said == {"PROTOCOL": frames.PROTOCOL}


def test_the_environment_is_an_allow_list(tmp_path: Path) -> None:
    host = dict.fromkeys((*PASSED, "SECRET", "PYTHONPATH", "LD_LIBRARY_PATH", "HTTP_PROXY", "HOME"), "given")
    private = PrivateDirectories()
    try:
        variables = worker_environ(tmp_path / "bin" / "python", private, host)
        own = {"LC_ALL", "LANG", "PATH", "HOME", "TMPDIR", "MLFLOW_TRACKING_URI", "MLFLOW_DISABLE_TELEMETRY"}
        assert set(variables) == own | set(PASSED)
        assert variables["HOME"] == str(private.home)
    finally:
        private.remove()
    assert not private.root.exists()


@pytest.mark.parametrize(("marker", "name"), [("pyvenv.cfg", "VIRTUAL_ENV"), ("conda-meta", "CONDA_PREFIX")])
def test_the_kind_of_environment_is_named(tmp_path: Path, marker: str, name: str) -> None:
    if marker == "pyvenv.cfg":
        (tmp_path / marker).touch()
    else:
        (tmp_path / marker).mkdir()
    private = PrivateDirectories()
    assert worker_environ(tmp_path / "bin" / "python", private, {})[name] == str(tmp_path)
    private.remove()
