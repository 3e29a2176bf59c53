"""Models that misbehave: the host sees an answer or a clear error in time, and nothing is left behind."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import page
import pytest
import seeing
import table
from leftovers import adopting, nothing_left

HERE = Path(sys.executable)
KEPT = 1 << 16


@pytest.fixture(scope="module", autouse=True)
def _orphans_come_to_us() -> Iterator[None]:
    with adopting():
        yield


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the directories of workers are made."""
    place = tmp_path / "private"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    return place


def see(name: str, python: Path, tmp_path: Path, private: Path) -> seeing.Seen:
    model = seeing.model_of(name, tmp_path / "model")
    with nothing_left(private):
        return seeing.see(python, model, lambda chunk: None, **table.options(name))


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", seeing.names())
def test_what_the_host_sees(name: str, tmp_path: Path, private: Path) -> None:
    seen = see(name, HERE, tmp_path, private)
    if name in table.BY_RELEASE and sys.version_info[:2] != (3, 11):
        return
    said, stays = table.EXPECTED[name]
    assert seen.said.startswith(said)
    assert seen.stays is stays
    assert page.row(name, seen) in page.PAGE.read_text().splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in seeing.names() if name not in table.NEEDS_NUMPY])
def test_the_oldest_and_the_newest_python_see_the_same(
    name: str, oldest_and_newest: Path, tmp_path: Path, private: Path
) -> None:
    seen = see(name, oldest_and_newest, tmp_path, private)
    said, stays = table.EXPECTED[name]
    assert name in table.BY_RELEASE or (seen.said.startswith(said), seen.stays) == (True, stays)


def test_the_page_has_every_model_and_no_other() -> None:
    lines = [line.split("`")[1] for line in page.PAGE.read_text().splitlines() if line.startswith("| `")]
    assert lines == seeing.names() == sorted(table.EXPECTED)
