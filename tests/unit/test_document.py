"""YAML files of strangers: read safely, or refused with a code and a place."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from samples import REPO

from envbuild import document
from envbuild.errors import ModelUnreadable


def refused(text: str) -> ModelUnreadable:
    with pytest.raises(ModelUnreadable) as caught:
        document.parse(text, "MLmodel")
    assert caught.value.code == "model-unreadable"
    assert caught.value.place is not None
    assert caught.value.place.file == "MLmodel"
    return caught.value


def line_of(error: ModelUnreadable) -> int | None:
    assert error.place is not None
    return error.place.line


def test_every_value_knows_its_line_and_its_text() -> None:
    root = document.parse("a: 1\nb:\n- 3.10\n- {c: 2021-01-01}\n", "X")
    listed = root.get("b")
    assert listed is not None
    assert [str(node.place) for node in listed.elements()] == ["X:3", "X:4"]
    assert listed.elements()[0].text == "3.10"
    assert listed.elements()[0].value == 3.1


def test_null_and_missing_and_below_a_scalar_are_none() -> None:
    root = document.parse("a: null\nb: 1\n", "X")
    assert root.get("a") is None
    assert root.get("c") is None
    assert root.get("b", "deeper") is None


def test_an_empty_document_is_an_empty_mapping() -> None:
    assert document.parse("", "X").plain() == {}
    assert document.parse("# only a comment\n", "X").plain() == {}


def test_plain_gives_what_json_has_and_the_text_of_dates_and_bytes() -> None:
    root = document.parse("{i: 1, f: 1.5, t: yes, n: null, s: x, d: 2021-01-02, b: !!binary aGk=}", "X")
    assert root.plain() == {"i": 1, "f": 1.5, "t": True, "n": None, "s": "x", "d": "2021-01-02", "b": "aGk="}


def test_an_alias_bomb_is_refused_and_takes_no_time() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    began = time.monotonic()
    refused("\n".join(rows))
    assert time.monotonic() - began < 10


def test_aliases_that_are_few_are_followed() -> None:
    assert document.parse("a: &x {k: 1}\nb: *x\n", "X").plain() == {"a": {"k": 1}, "b": {"k": 1}}


def test_a_document_that_holds_itself_is_refused() -> None:
    assert "too deep" in refused("&a [*a]").message


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.system ['touch owned']",
        "!!python/name:os.system",
        "a: !our.Thing {x: 1}",
        "!!set {a, b}",
        "!!omap [a: 1]",
        "a: !include other.yaml",
    ],
)
def test_tags_that_make_objects_are_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert line_of(refused(text)) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: [1\nc: 2\n", 3),
        ("a: 1\n\tb: 2\n", 2),
        ("a: 1\n---\nb: 2\n", 2),
        ("a: *nowhere\n", 1),
        ("a: 'open\n", 2),
        ("? [a]\n: 1\n", 1),
        ("%YAML 9.9\n---\na\n", 1),
    ],
)
def test_what_is_not_yaml_is_refused_with_its_line(text: str, line: int) -> None:
    assert line_of(refused(text)) == line


@pytest.mark.parametrize("written", ["!!int ''", "!!float ''", "!!timestamp x", "!!bool x", "!!int x", "2021-13-45"])
def test_a_value_that_its_tag_does_not_fit_stays_text(written: str) -> None:
    node = document.parse(f"a: {written}", "X").get("a")
    assert node is not None
    assert isinstance(node.value, str)


@pytest.mark.parametrize("number", ["9" * 1_000_000, "1" + ":1" * 500_000, "0x" + "f" * 100_000])
def test_a_number_of_a_million_digits_is_text_and_takes_no_time(number: str) -> None:
    began = time.monotonic()
    node = document.parse(f"a: {number}", "X").get("a")
    assert node is not None
    assert node.value == number
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("unit", ["[", "{a: ", "- ", "? ", "[[{a: "])
def test_a_document_that_is_too_deep_is_refused_and_does_not_end_the_process(unit: str) -> None:
    code = (
        "import sys\nfrom envbuild import document\nfrom envbuild.errors import ModelUnreadable\n"
        "try:\n    document.parse(sys.argv[1] * 1000000, 'X')\nexcept ModelUnreadable:\n    print('refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, unit], capture_output=True, text=True, env={"PYTHONPATH": str(REPO)}, check=False
    )
    assert (done.returncode, done.stdout) == (0, "refused\n"), done.stderr


def test_many_small_values_are_refused_before_they_fill_the_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused("[" + "a," * 4_000_000 + "]")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024


def read_refused(path: Path) -> ModelUnreadable:
    with pytest.raises(ModelUnreadable) as caught:
        document.read(path)
    assert caught.value.place is not None
    assert caught.value.place.file == str(path)
    return caught.value


def test_a_file_of_100_megabytes_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "MLmodel"
    with path.open("wb") as file:
        file.truncate(100 * 2**20)
    assert "104,857,600 bytes" in read_refused(path).message


def test_a_named_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "MLmodel")
    assert "not a file" in read_refused(tmp_path / "MLmodel").message


def open_files() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_a_directory_and_a_device_and_nothing_are_refused_and_leave_nothing_open(tmp_path: Path) -> None:
    before = open_files()
    read_refused(tmp_path)
    read_refused(Path("/dev/zero"))
    read_refused(tmp_path / "missing")
    assert open_files() == before


@pytest.mark.parametrize("content", [b"a: \xff\xfe", "a: ä".encode("latin-1"), "a: 1".encode("utf-16")])
def test_what_is_not_utf_8_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "MLmodel").write_bytes(content)
    assert "UTF-8" in read_refused(tmp_path / "MLmodel").message


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_bytes(b"\xef\xbb\xbfa: 1\r\nb:\r\n- x\r\n")
    root = document.read(tmp_path / "MLmodel")
    assert root.plain() == {"a": 1, "b": ["x"]}
    listed = root.get("b")
    assert listed is not None
    assert listed.elements()[0].place.line == 3


def test_a_nul_byte_is_refused(tmp_path: Path) -> None:
    (tmp_path / "MLmodel").write_bytes(b"a: x\0y")
    assert "not YAML" in read_refused(tmp_path / "MLmodel").message
