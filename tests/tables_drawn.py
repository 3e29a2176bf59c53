"""Tables as Hypothesis draws them: columns of every dtype, and signatures that may know them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd
from hypothesis import strategies as st

KINDS = ("long", "integer", "double", "float", "boolean", "string", "datetime", "binary", "any")
INTEGERS = st.integers(-(2**63), 2**63 - 1)
SMALL = st.integers(-100, 100)
FLOATS = st.floats(width=64)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.sampled_from(["", "1", "2020-01-02", "aGk="])
MOMENTS = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))
MISSING = st.none()


@st.composite
def series(draw: st.DrawFn, rows: int) -> Any:
    def values(of: st.SearchStrategy[Any]) -> list[Any]:
        return draw(st.lists(of, min_size=rows, max_size=rows))

    return draw(
        st.sampled_from(
            (
                lambda: pd.Series(values(INTEGERS), dtype="int64"),
                lambda: pd.Series(values(SMALL), dtype=draw(st.sampled_from(("int8", "int16", "int32")))),
                lambda: pd.Series(
                    values(st.integers(0, 200)), dtype=draw(st.sampled_from(("uint8", "uint32", "uint64")))
                ),
                lambda: pd.Series(values(st.integers(2**63, 2**64 - 1)), dtype="uint64"),
                lambda: pd.Series(values(FLOATS), dtype="float64"),
                lambda: pd.Series(values(SMALL), dtype="float64"),
                lambda: pd.Series(values(st.floats(width=32)), dtype="float32"),
                lambda: pd.Series(values(st.floats(width=16)), dtype="float16"),
                lambda: pd.Series([float("nan")] * rows, dtype="float64"),
                lambda: pd.Series(values(st.booleans()), dtype="bool"),
                lambda: pd.Series(values(TEXTS), dtype=draw(st.sampled_from(("object", "str", "string")))),
                lambda: pd.Series(values(TEXTS | MISSING), dtype=draw(st.sampled_from(("object", "str", "string")))),
                lambda: pd.Series(values(TEXTS | MISSING), dtype="category"),
                lambda: pd.Series(values(SMALL), dtype="category"),
                lambda: pd.Series(
                    values(MOMENTS | MISSING), dtype=draw(st.sampled_from(("datetime64[ns]", "datetime64[us]")))
                ),
                lambda: pd.Series(values(MOMENTS), dtype="datetime64[us]").dt.tz_localize("UTC"),
                lambda: pd.Series(values(SMALL | MISSING), dtype="Int64"),
                lambda: pd.Series(values(SMALL), dtype="Int8"),
                lambda: pd.Series(values(st.booleans() | MISSING), dtype="boolean"),
                lambda: pd.Series(values(st.floats(allow_nan=False) | MISSING), dtype="Float64"),
                lambda: pd.Series(values(SMALL | st.booleans() | MISSING), dtype="object"),
                lambda: pd.Series(values(SMALL), dtype="object"),
                lambda: pd.Series(values(SMALL | FLOATS), dtype="object"),
                lambda: pd.Series(values(FLOATS | MISSING), dtype="object"),
                lambda: pd.Series(values(TEXTS | SMALL), dtype="object"),
                lambda: pd.Series(values(st.binary(max_size=3)), dtype="object"),
                lambda: pd.Series(values(st.dates()), dtype="object"),
                lambda: pd.Series(values(MOMENTS), dtype="object"),
                lambda: pd.Series(values(st.lists(SMALL, max_size=2)), dtype="object"),
                lambda: pd.Series(values(st.timedeltas()), dtype="object"),
                lambda: pd.Series([None] * rows, dtype="object"),
                lambda: pd.Series(values(SMALL), dtype="int64[pyarrow]"),
                lambda: pd.Series(values(TEXTS | MISSING), dtype="string[pyarrow]"),
            )
        )
    )()


@st.composite
def tables(draw: st.DrawFn) -> Any:
    rows, names = (
        draw(st.integers(1, 4)),
        draw(st.sampled_from((["a", "b"], ["b", "a"], [0, 1], ["a", "a"], ["x", "é"]))),
    )
    frame = pd.concat([draw(series(rows)) for _ in names], axis=1)
    frame.columns = pd.Index(names)
    frame.index = pd.Index(draw(st.permutations(range(rows))))
    return frame


KNOWN = st.fixed_dictionaries({}, optional={name: st.sampled_from(KINDS) for name in ("a", "b")}).filter(bool)
