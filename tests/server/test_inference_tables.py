"""Tables by every way in, on a model of MLflow 3 with pandas: the same predictions, and the same refusals."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import HERE, Server
from hypothesis import given, settings
from hypothesis import strategies as st
from inferring import ask, ask_binary, one, outputs_of
from standing import ERA, built, column, signature, standing
from tiny import write_model

KINDS = ("boolean", "integer", "long", "float", "double", "string", "binary", "datetime")
# Says of each column what came, and gives it back; what has no text of its own has one in Python.
ECHO = """
class Echo:
    def predict(self, context, data=None, params=None):
        frame = context if data is None else data
        made = frame.copy()
        for name in list(made.columns):
            made["type of " + name] = str(made[name].dtype)
        return made

def _load_pyfunc(path):
    return Echo()
"""


@pytest.fixture(scope="module")
def server(shared_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    place = tmp_path_factory.mktemp("tables")
    written = signature([column(kind, kind, required=False) for kind in KINDS])
    model = write_model(place / "model", python=HERE, loader=ECHO, more=f"mlflow_version: 3.17.2\n{written}")
    with built(ERA / "heart", shared_home) as environment, standing(environment, model, place) as server:
        yield server.wait_loaded()


def integers(*datatypes: str) -> list[tuple[str, st.SearchStrategy[Any]]]:
    found = []
    for datatype in datatypes:
        bits, is_signed = int(datatype.lstrip("UINT")), datatype.startswith("I")
        lowest, highest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if is_signed else (0, 2**bits - 1)
        found.append((datatype, st.integers(lowest, highest)))
    return found


def floats(*datatypes: str) -> list[tuple[str, st.SearchStrategy[Any]]]:
    return [(datatype, st.floats(width=int(datatype[2:]))) for datatype in datatypes]  # type: ignore[arg-type]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
MOMENTS = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1)).map(dt.datetime.isoformat)
DATATYPES: dict[str, list[tuple[str, st.SearchStrategy[Any]]]] = {
    "boolean": [("BOOL", st.booleans())],
    "integer": integers("INT8", "INT16", "INT32", "UINT8", "UINT16"),
    "long": integers("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32"),
    "float": floats("FP16", "FP32"),
    "double": floats("FP16", "FP32", "FP64"),
    "string": [("BYTES", TEXTS)],
    "binary": [("BYTES", st.binary(max_size=5))],
    "datetime": [("BYTES", MOMENTS.map(lambda text: text.partition(".")[0]))],
}


# Columns: kind, datatype, values and shape.
Table = list[tuple[str, str, list[Any], list[int]]]


@st.composite
def tables(draw: st.DrawFn) -> Table:
    rows = draw(st.integers(1, 4))
    found = []
    for kind in draw(st.lists(st.sampled_from(KINDS), min_size=1, unique=True)):
        datatype, values = draw(st.sampled_from(DATATYPES[kind]))
        column = draw(st.lists(values, min_size=rows, max_size=rows))
        found.append((kind, datatype, column, draw(st.sampled_from(([rows], [rows, 1])))))
    return found


def written(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


@given(tables(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_table_gives_the_same_predictions_by_every_way_in(server: Server, table: Table, is_nested: bool) -> None:
    check(server, table, is_nested)


@pytest.mark.slow
@given(tables(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_hundreds_of_tables_do(server: Server, table: Table, is_nested: bool) -> None:
    check(server, table, is_nested)


def check(server: Server, table: Table, is_nested: bool) -> None:
    columns = [[written(value) for value in values] for _, _, values, _ in table]
    split = {"columns": [kind for kind, *_ in table], "data": list(zip(*columns))}
    answer = server.ask("POST", "/invocations", json.dumps({"dataframe_split": split}).encode(), "application/json")
    expected = {name: [row[name] for row in answer.predictions] for name in answer.predictions[0]}

    plain = [one(kind, datatype, cells, shape) for (kind, datatype, _, shape), cells in zip(table, columns)]
    for tensor in plain:
        if is_nested and len(tensor["shape"]) == 2:
            tensor["data"] = [[value] for value in tensor["data"]]
    binary = [one(kind, datatype, values, shape) for kind, datatype, values, shape in table]
    for found in (ask(server, {"inputs": plain}), ask_binary(server, {"inputs": binary})):
        assert {name: values for name, (_, _, values) in outputs_of(found).items()} == expected


def test_what_does_not_fit_the_signature_is_refused_in_the_workers_words(server: Server) -> None:
    answer = ask(server, {"inputs": [one("long", "FP64", [1.0, 1.5])]})
    assert (answer.status, list(answer.json)) == (400, ["error"])
    assert "'long'" in answer.json["error"]
    assert "row 1" in answer.json["error"]
    answer = ask(server, {"inputs": [one("datetime", "BYTES", ["no day"])]})
    assert answer.status == 400
    assert "'datetime'" in answer.json["error"]


def test_no_rows_are_answered_with_no_rows(server: Server) -> None:
    found = outputs_of(ask(server, {"inputs": [one("double", "FP64", [], [0])]}))
    assert found == {"output-1": ("FP64", [0], [])}
