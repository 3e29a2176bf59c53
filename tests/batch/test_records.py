"""Records are found where pandas finds them."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from envbuild.batching import records

HEADER = b"a,b\n"
PIECES = st.lists(st.sampled_from(['"', '""', ",", "\n", "\r\n", " ", "\t", "x", "7", '","', "ä"]), max_size=40)


def seen_by_pandas(data: bytes) -> list[list[str]]:
    """The rows of a CSV without types; two columns, whatever stands in further fields of a row."""
    names = [str(number) for number in range(60)]
    frame = pd.read_csv(
        io.StringIO(data.decode()), header=None, names=names, dtype=str, keep_default_na=False, index_col=False
    )
    return [list(row) for row in frame.itertuples(index=False)]


def readable(data: bytes) -> bool:
    try:
        seen_by_pandas(data)
    except pd.errors.ParserError:  # a quote without an end
        return False
    except pd.errors.EmptyDataError:
        return True
    return True


def rows_of(data: bytes) -> list[list[str]]:
    try:
        return seen_by_pandas(data)
    except pd.errors.EmptyDataError:
        return []


@pytest.mark.slow
@settings(max_examples=300, deadline=None, derandomize=True)
@example(['"', "a", '"', '"', "\n", '"'])
@example(["x", '"', "\n", "y", '"', "\n"])
@example([",", '"', "\n", '"', "x", '"', "\n"])
@example([" ", '"', "\n", "x", '"', "\n"])
@example(['"', "x", '"', " ", '"', "\n", "y"])
@given(PIECES)
def test_each_record_is_one_row_of_pandas(pieces: list[str]) -> None:
    data = "".join(pieces).encode()
    if not readable(data):
        return
    found = records.spans(data, quoted=True)
    assert [rows_of(data[start:end]) for start, end in found] == [[row] for row in rows_of(data)]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(PIECES, st.integers(1, 7))
def test_cutting_in_steps_finds_the_same_ends_as_going_record_by_record(pieces: list[str], wanted: int) -> None:
    data = "".join(pieces).encode()
    ends, at = [], 0
    while (end := records.end_of(data, at)) > 0:
        ends.append(end)
        at = end
    cuts, start = [], 0
    while True:
        end, count = records.cut(data, start, wanted, quoted=True)
        assert count == len([one for one in ends if start < one <= end])
        cuts.append(end)
        if count < wanted:
            break
        start = end
    assert cuts == [*ends[wanted - 1 :: wanted], ends[-1] if ends else 0][: len(cuts)]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(PIECES, st.integers(0, 60))
def test_what_is_a_record_does_not_depend_on_how_much_of_the_file_is_there(pieces: list[str], length: int) -> None:
    data = "".join(pieces).encode()
    whole, part = records.cut(data, 0, 1000, quoted=True), records.cut(data[:length], 0, 1000, quoted=True)
    assert part[0] <= whole[0]
    assert records.cut(data, 0, max(1, part[1]), quoted=True)[0] == part[0] or not part[1]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(PIECES.map("".join).filter(lambda text: "\n" not in text and "\r" not in text and text.strip()))
def test_as_many_fields_as_pandas_counts(text: str) -> None:
    if not readable(text.encode()):
        return
    assert records.fields(text.encode()) == len(pd.read_csv(io.StringIO(text), header=None).columns)


def test_lines_of_json_are_cut_at_every_line_end() -> None:
    data = b'{"a": "\\""}\n{"a": "x"}\n\n{"a"'
    assert records.cut(data, 0, 10, quoted=False) == (24, 3)
    assert [data[slice(*span)] for span in records.spans(data, quoted=False)] == [
        b'{"a": "\\""}\n',
        b'{"a": "x"}\n',
        b'{"a"',
    ]


@pytest.mark.parametrize("row", [b"1,2\n", b'1,"a, b"\n', b'5" pipe,"a\nb"\n'])
def test_many_records_are_cut_at_the_number_that_is_wanted(row: bytes) -> None:
    data = row * 30_000
    for wanted in (1, 2, 4095, 4097, 29_999, 30_000):
        assert records.cut(data, 0, wanted, quoted=True) == (len(row) * wanted, wanted)
    assert records.cut(data[:-1], 0, 30_000, quoted=True) == (len(row) * 29_999, 29_999)
