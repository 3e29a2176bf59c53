"""A DataFrame reaches the model as the same table, whichever way it crosses, in every era's Python."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eras import ERAS
from hypothesis import HealthCheck, given, seed, settings
from sides import FAR
from tables_drawn import KNOWN, tables

from envbuild import arrow, dataframe, request
from envbuild.bridge.worker import WORKER_FOLDER
from envbuild.errors import InputError

# Environments of several eras are built for it.
pytestmark = pytest.mark.slow

BY_ARROW = ("2.9", "2.22", "3.17")


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables with a signature each, in both forms."""
    drawn: list[dict[str, Any]] = []
    quiet = settings(max_examples=600, deadline=None, database=None, suppress_health_check=list(HealthCheck))

    @seed(20260101)
    @quiet
    @given(tables(), KNOWN)
    def draw(frame: Any, kinds: dict[str, str]) -> None:
        try:
            plain = request.question_of(frame, kinds=kinds)
        except InputError:
            return
        other = request.question_of(frame, kinds=kinds, reads=frozenset((arrow.FRAME,)))
        stream = base64.b64encode(other.payload).decode() if other.content_type == arrow.FRAME else None
        drawn.append({"kinds": kinds, "columns": base64.b64encode(plain.payload).decode(), "arrow": stream})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataframe, "LARGE", 1)
        draw()
    written = tmp_path_factory.mktemp("ways") / "cases.json"
    written.write_text(json.dumps(drawn))
    return written


@pytest.mark.parametrize("era", ERAS)
def test_all_ways_make_the_same_table(era: str, python_of_era: Callable[[str], Path], cases: Path) -> None:
    argv = [str(python_of_era(era)), "-I", str(FAR / "ways.py"), str(WORKER_FOLDER), str(cases)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout)
    assert said["differ"] == []
    assert (said["arrow"] > 100) == (era in BY_ARROW), "whether the era's environment has pyarrow"
