"""Tables that have types already, as Parquet has, are widened or refused as the era does it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from comparing import REFUSED, SAME, compare
from eras import TODAY
from pyarrow import parquet
from sides import PARQUET, Case, Sides
from strategies import SCALARS

VALUES: dict[str, list[Any]] = {
    "bool": [True, False],
    **{name: [1, 2] for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")},
    **{name: [0.5, 2.0] for name in ("float32", "float64")},
    "string": ["x", "2"],
    "binary": [b"x", b""],
    "timestamp[us]": ["1970-01-01"],
}


def _table(dtype: str, values: list[Any]) -> bytes:
    kind = pa.timestamp("us") if dtype.startswith("timestamp") else getattr(pa, dtype + ("_" * (dtype == "bool")))()
    cells = [0] if dtype.startswith("timestamp") else values
    written = io.BytesIO()
    parquet.write_table(pa.table({"a": pa.array(cells, kind)}), written)
    return written.getvalue()


def _cases() -> list[Case]:
    tables = {dtype: _table(dtype, values) for dtype, values in VALUES.items()}
    tables |= {"int64 of bits": _table("int64", [0, 1]), "int64 with a null": _table("int64", [1, None])}
    return [
        Case(
            signature={"inputs": [{"name": "a", "type": kind, "required": True}]},
            body=body,
            content_type=PARQUET,
            why=f"{dtype} for {kind}",
        )
        for kind in (*SCALARS, "datetime")
        for dtype, body in tables.items()
    ]


@pytest.mark.parametrize("changes", [{}, {"direct": True}], ids=["its mlflow", "without mlflow"])
def test_a_column_of_every_type_is_widened_or_refused_as_mlflow_does_it(
    changes: dict[str, Any], sides_of: Callable[[str], Sides]
) -> None:
    done = compare(sides_of(TODAY), _cases(), **changes)
    assert [str(one) for one in done if one.verdict not in (SAME, REFUSED)] == []
    assert {one.verdict for one in done} == {SAME, REFUSED}


@pytest.mark.parametrize("changes", [{}, {"direct": True}], ids=["its mlflow", "without mlflow"])
def test_tensors_in_the_place_of_a_tables_columns_get_their_shape(
    changes: dict[str, Any], sides_of: Callable[[str], Sides]
) -> None:
    bodies = (
        ([-1, 2], "a", {"dataframe_records": [{"a": [1, 2]}, {"a": [3, 4]}]}),
        ([-1, 1, 2], "a", {"dataframe_records": [{"a": [1, 2]}, {"a": [3, 4]}]}),
        ([-1, 1], "a", {"dataframe_records": [{"a": 1}, {"a": 2}]}),
        ([-1, 2], None, {"dataframe_split": {"data": [[1, 2], [3, 4]]}}),
        ([-1], None, {"dataframe_split": {"data": [[1], [2]]}}),
    )
    cases = []
    for shape, name, body in bodies:
        spec = {
            "type": "tensor",
            "tensor-spec": {"dtype": "float32", "shape": shape},
            **({"name": name} if name else {}),
        }
        cases.append(Case(signature={"inputs": [spec]}, body=json.dumps(body).encode()))
    for one in compare(sides_of(TODAY), cases, **changes):
        assert one.verdict == SAME, str(one)
