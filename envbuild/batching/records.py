"""Records: where the lines of a CSV or of JSON Lines end, found without parsing them.

For a CSV this is what the C parser of pandas sees with its defaults: a quote opens a field at its first character
alone, and is a plain character elsewhere; two quotes inside quotes are one; whatever stands behind the closing quote
belongs to the field; a line with nothing but blanks is no record.
"""

from __future__ import annotations

import re
from typing import Final

# Lines whose quotes are all a field's first and last character, with neither quotes nor line ends between them.
_SIMPLE: Final = re.compile(rb'(?:[^"\n]*(?:(?<![^,\n])"[^"\n]*"(?=[,\r\n])[^"\n]*)*\n){1,4096}')
_BLANKS: Final = b" \t\r\n"
_NEAR: Final = 4096


def cut(data: bytes, start: int, wanted: int, *, quoted: bool) -> tuple[int, int]:
    """Where the last whole record of so many ends, and how many there are.

    :param start: where a record begins.
    :param wanted: how many at the most; blank lines count.
    :param quoted: whether quotes mean anything (CSV).
    """
    found = 0
    while found < wanted:
        last = data.rfind(b"\n", start) + 1
        quote = data.find(b'"', start, last) if quoted else -1
        plain = last if quote < 0 else data.rfind(b"\n", start, quote) + 1
        if plain > start:
            start, more = _plain(data, start, plain, wanted - found)
        elif quote >= 0:
            start, more = _with_quotes(data, start, wanted - found)
        else:
            return start, found
        if not more:
            return start, found
        found += more
    return start, found


def _plain(data: bytes, start: int, end: int, wanted: int) -> tuple[int, int]:
    """Records in a part without quotes."""
    count = data.count(b"\n", start, end)
    return (end, count) if count <= wanted else (_after(data, start, end, wanted), wanted)


def _after(data: bytes, start: int, end: int, number: int) -> int:
    """Where the line of that number ends: by halves, since counting is quicker than looking for each."""
    while end - start > _NEAR:
        middle = (start + end) // 2
        before = data.count(b"\n", start, middle)
        if before >= number:
            end = middle
        else:
            start, number = middle, number - before
    for _ in range(number):
        start = data.find(b"\n", start) + 1
    return start


def _with_quotes(data: bytes, start: int, wanted: int) -> tuple[int, int]:
    """Records from one with a quote on: many simple ones at once, or the first that is not."""
    simple = _SIMPLE.match(data, start)
    if simple is not None:
        return _plain(data, start, simple.end(), wanted)
    end = end_of(data, start)
    return (start, 0) if end < 0 else (end, 1)


def end_of(data: bytes, start: int) -> int:
    """Where the CSV record ends that begins here; -1 where the data does not say."""
    position = start
    while True:
        newline = data.find(b"\n", position)
        if newline < 0:
            return -1
        quote = data.find(b'"', position, newline)
        if quote < 0:
            return newline + 1
        if quote == start or data[quote - 1] in b",\r":
            position = _closed(data, quote)
            if position < 0:
                return -1
        else:
            position = quote + 1


def _closed(data: bytes, opening: int) -> int:
    """What follows the quote that closes the one that opened; -1 where none does."""
    at = opening + 1
    while (at := data.find(b'"', at)) >= 0:
        if data[at + 1 : at + 2] != b'"':
            return at + 1
        at += 2
    return -1


def spans(data: bytes, *, quoted: bool) -> list[tuple[int, int]]:
    """Where each record begins and ends, without the blank lines; the last may lack its line end."""
    found, start = [], 0
    while start < len(data):
        end = end_of(data, start) if quoted else data.find(b"\n", start) + 1
        end = end if end > 0 else len(data)
        if not is_blank(data[start:end]):
            found.append((start, end))
        start = end
    return found


def is_blank(data: bytes) -> bool:
    """Whether there is no record in it."""
    return not data.strip(_BLANKS)


def fields(record: bytes) -> int:
    """How many fields a CSV record has."""
    count, position = 1, 0
    while True:
        if record[position : position + 1] == b'"':
            position = _closed(record, position)
            if position < 0:
                return count
        comma = record.find(b",", position)
        if comma < 0:
            return count
        count, position = count + 1, comma + 1
