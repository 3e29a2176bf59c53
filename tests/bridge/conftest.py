"""What the bridge's tests share: real interpreters, and models in a few lines."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import findpython
import pytest
from acting import MODEL, RawWorker


@functools.cache
def _interpreters() -> list[Path]:
    """One CPython of each minor version from 3.6 up, none a virtualenv: the tests' own has envbuild in it."""
    found: dict[tuple[int, int], Path] = {}
    for python in findpython.find_all(allow_prereleases=False):
        executable = Path(python.executable)
        is_virtualenv = (executable.parent.parent / "pyvenv.cfg").exists()
        if python.implementation == "cpython" and not is_virtualenv:
            found.setdefault((python.major, python.minor), executable)
    return [found[version] for version in sorted(found) if version >= (3, 6)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for ``every_python`` runs in each of them."""
    if "every_python" in metafunc.fixturenames:
        pythons = _interpreters()
        metafunc.parametrize("every_python", pythons, ids=[python.parent.parent.name for python in pythons])


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Any]:
    """Makes a model of a loader module's source; what it gives has the shape of ``envbuild.model.Model``."""

    def make(source: str = MODEL, *, signature: dict[str, Any] | None = None, **files: str) -> Any:
        code = tmp_path / "model" / "code"
        code.mkdir(parents=True, exist_ok=True)
        (code / "its_loader.py").write_text(source)
        for name, text in files.items():
            (code / f"{name}.py").write_text(text)
        pyfunc = SimpleNamespace(
            loader_module="its_loader", data=None, code="code", config=None, predict_fn="predict", data_of_flavor=None
        )
        written = None if signature is None else SimpleNamespace(to_dict=lambda: signature)
        return SimpleNamespace(path=tmp_path / "model", pyfunc=pyfunc, signature=written)

    return make


@pytest.fixture
def raw_worker() -> Iterator[Callable[..., RawWorker]]:
    """Starts workers without the bridge, and removes them at the end."""
    started: list[RawWorker] = []

    def start(*args: Any, **kwargs: Any) -> RawWorker:
        started.append(RawWorker(*args, **kwargs))
        return started[-1]

    yield start
    for worker in started:
        worker.remove()
