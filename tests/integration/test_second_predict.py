"""A second predict makes no network call and starts no uv."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from kit import Kit, cli_environ
from tiny import wheel

from envbuild import uv

MakeModel = Callable[..., Path]

# A network of one's own has nothing in it, not even this machine.
NO_NETWORK = ("unshare", "--net") if os.geteuid() == 0 else ("unshare", "--map-root-user", "--net")
LOADER = """
import alpha

class Bare:
    def predict(self, data):
        return {"got": data["input"], "alpha": alpha.version}

def _load_pyfunc(path):
    return Bare()
"""


@pytest.fixture
def watched(tmp_path: Path) -> tuple[Path, Path]:
    """A Python with all that envbuild needs, whose uv leaves a mark when it is started; and the mark."""
    host, mark = tmp_path / "host", tmp_path / "mark"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", host], check=True)
    (folder,) = host.glob("lib/python*/site-packages")
    (folder / "outer.pth").write_text(sysconfig.get_path("purelib") + "\n")
    script = host / "bin" / "uv"
    script.write_text(f'#!/bin/sh\necho "$1 $2" >> {mark}\nexec {uv.binary()} "$@"\n')
    script.chmod(0o755)
    return host / "bin" / "python", mark


def test_the_second_predict_needs_no_network_and_starts_no_uv(
    kit: Kit, make_model: MakeModel, watched: tuple[Path, Path], tmp_path: Path
) -> None:
    python, mark = watched
    kit.index.add(wheel("alpha", "1.0"))
    model = make_model(pip=["alpha"], loader=LOADER)
    request = tmp_path / "in.json"
    request.write_text('{"input": [1, 2]}')
    argv = [str(python), "-m", "envbuild", "predict", str(model), str(request)]
    environ = cli_environ(kit.home, kit.index.url)
    first = subprocess.run(argv, env=environ, capture_output=True, text=True, check=False)
    assert (first.returncode, first.stdout) == (0, '{"got": [1, 2], "alpha": "1.0"}\n'), first.stderr
    # The watch sees: the first one started uv, and asked the index.
    assert "pip compile" in mark.read_text()
    assert kit.index.requests
    mark.unlink()
    kit.index.requests.clear()
    second = subprocess.run([*NO_NETWORK, *argv], env=environ, capture_output=True, text=True, check=False)
    assert (second.returncode, second.stdout) == (0, first.stdout), second.stderr
    assert second.stderr == ""
    assert not mark.exists()
    assert kit.index.requests == []


def test_a_second_predict_from_a_model_index_starts_no_uv_either(
    kit: Kit, make_model: MakeModel, watched: tuple[Path, Path], tmp_path: Path
) -> None:
    """Index lines in a model are held against uv's own default: not by asking uv again."""
    python, mark = watched
    kit.index.add(wheel("alpha", "1.0"))
    model = make_model(pip=["--extra-index-url https://index.example/simple", "alpha"], loader=LOADER)
    request = tmp_path / "in.json"
    request.write_text('{"input": [1, 2]}')
    argv = [str(python), "-m", "envbuild", "predict", str(model), str(request)]
    environ = cli_environ(kit.home, kit.index.url)
    assert subprocess.run(argv, env=environ, capture_output=True, check=False).returncode == 0
    mark.unlink()
    second = subprocess.run([*NO_NETWORK, *argv], env=environ, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert "index-ignored" in second.stderr
    assert not mark.exists(), mark.read_text()


def test_a_second_predict_by_a_lock_file_starts_no_uv(
    kit: Kit, make_model: MakeModel, watched: tuple[Path, Path], tmp_path: Path
) -> None:
    python, mark = watched
    kit.index.add(wheel("alpha", "1.0"))
    model = make_model(pip=["alpha"], loader=LOADER)
    environ = cli_environ(kit.home, kit.index.url)
    words = [str(python), "-m", "envbuild"]
    subprocess.run([*words, "lock", str(model), "-o", str(model / "pylock.toml")], env=environ, check=True)
    request = tmp_path / "in.json"
    request.write_text('{"input": [1, 2]}')
    argv = [*words, "predict", str(model), str(request), "--locked"]
    assert subprocess.run(argv, env=environ, capture_output=True, check=False).returncode == 0
    mark.unlink()
    second = subprocess.run([*NO_NETWORK, *argv], env=environ, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert not mark.exists()
