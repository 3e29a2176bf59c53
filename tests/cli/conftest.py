"""The command line as a process, tiny models, and an index of our own: no test here needs a network."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from calling import CANARY, HERE, LOADER, ROOT, USER, Call, Done, MakeTiny, Start, Tiny
from local_index import LocalIndex
from tiny import wheel


def _index() -> LocalIndex:
    tools = [wheel(name, "1.0") for name in ("pip", "setuptools", "wheel", "fruit")]
    return LocalIndex().add(*tools, wheel("fruit", "2.0", uploaded="2025-01-01T00:00:00Z"))


@pytest.fixture(scope="session")
def cli_index() -> Iterator[LocalIndex]:
    """An index with small packages under the names that every environment has; to be asked, not changed."""
    index = _index()
    yield index
    index.close()


@pytest.fixture
def private_index() -> Iterator[LocalIndex]:
    """The same for those who log in."""
    index = _index()
    index.login = (USER, CANARY)
    yield index
    index.close()


@pytest.fixture
def sluggish_index() -> Iterator[LocalIndex]:
    """The same, and it does not answer."""
    index = _index()
    index.open.clear()
    yield index
    index.close()


@pytest.fixture(scope="session")
def cli_environ(cli_index: LocalIndex, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What envbuild is started with: a store and a home of these tests' own, and the index above."""
    top = tmp_path_factory.mktemp("cli")
    (top / "home").mkdir()
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(top / "home"),
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": str(ROOT),
        "ENVBUILD_HOME": str(top / "store"),
        "ENVBUILD_CONDA_PACKAGES": "map",
        "ENVBUILD_INDEX_URL": cli_index.url,
        "ENVBUILD_PYTHON_DOWNLOADS": "0",
    }


@pytest.fixture
def start(cli_environ: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Starts envbuild; what still runs at the end of the test is killed."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: object, env: Mapping[str, str] | None = None, **more: Any) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "envbuild", *map(str, arguments)]
        options: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        options.update(cwd=tmp_path, env={**cli_environ, **(env or {})}, start_new_session=True)
        process = subprocess.Popen(argv, **{**options, **more})
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def call(start: Start) -> Call:
    """Runs envbuild to its end; a traceback is never an answer."""

    def call(*arguments: object, stdin: bytes = b"", tracebacks: bool = False, **more: Any) -> Done:
        began = time.monotonic()
        process = start(*arguments, **more)
        out, err = process.communicate(stdin, timeout=60)
        done = Done(process.returncode, (out or b"").decode(), (err or b"").decode(), seconds=time.monotonic() - began)
        assert done.code != 1, done.stderr
        assert tracebacks or "Traceback" not in done.stderr, done.stderr
        return done

    return call


@pytest.fixture
def tiny(tmp_path: Path) -> MakeTiny:
    """Makes models: ``mlmodel`` are more lines of MLmodel, ``pip`` and ``conda`` entries of conda.yaml."""

    def make(
        name: str = "model",
        *,
        mlmodel: str = "",
        pip: tuple[str, ...] = (),
        conda: tuple[str, ...] = (),
        python: str = HERE,
        loader: str = LOADER,
        created: str = "2024-03-01 10:00:00.000000",
    ) -> Tiny:
        path = tmp_path / name
        (path / "code").mkdir(parents=True)
        (path / "code" / "tiny_loader.py").write_text(loader)
        (path / "MLmodel").write_text(
            "flavors:\n  python_function:\n    loader_module: tiny_loader\n    code: code\n    env: conda.yaml\n"
            f"utc_time_created: '{created}'\n{mlmodel}"
        )
        entries = [f"- python={python}", *(f"- {entry}" for entry in conda), "- pip:", *(f"  - {line}" for line in pip)]
        (path / "conda.yaml").write_text("dependencies:\n" + "\n".join(entries) + "\n")
        return Tiny(path)

    return make
