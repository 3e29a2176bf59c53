"""Bodies as MLflow 1.x took them, for its own scoring server."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from sides import CSV, JSON, Case
from strategies import _FORMED, SCALARS, Draw, _as_csv, _records, _rows, columns_of, signatures, spoiled

SPLIT, RECORDS = f"{JSON}; format=pandas-split", f"{JSON}; format=pandas-records"


def _split(table: dict[Any, list[Any]]) -> Any:
    return {"columns": list(table), "data": _rows(table)}


FORMS = (
    ("split", JSON, _split),
    ("records", JSON, _records),
    ("named split", SPLIT, _split),
    ("named records", RECORDS, _records),
    ("instances", JSON, _FORMED["instances of objects"]),
    ("inputs", JSON, _FORMED["inputs of lists"]),
)


@st.composite
def bodies(draw: Draw, signature: Any) -> Case:
    """A body of 1.x for a signature."""
    specs = (signature or {}).get("inputs") or [{"type": "long", "name": "a"}, {"type": "double", "name": "b"}]
    specs = [{**spec, "name": spec.get("name", f"c{place}")} for place, spec in enumerate(specs)]
    table, why = draw(spoiled(draw(columns_of(specs, draw(st.integers(0, 3))))))
    flat = all(spec["type"] in (*SCALARS, "datetime") for spec in specs)
    if flat and draw(st.integers(0, 4)) == 0:
        return Case(signature=signature, body=_as_csv(table), content_type=CSV, why=f"csv {why}")
    name, kind, form = draw(st.sampled_from(FORMS))
    return Case(signature=signature, body=json.dumps(form(table)).encode(), content_type=kind, why=f"{name} {why}")


def batches(knows: frozenset[str], size: int) -> st.SearchStrategy[list[Case]]:
    """Several bodies for one signature."""
    return signatures(knows).flatmap(lambda known: st.lists(bodies(known), min_size=size, max_size=size))
