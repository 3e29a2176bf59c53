"""Azure Machine Learning's ``/score``: its forms of a request, and its bare answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import HERE, Answer, Server
from standing import column, signature, standing
from tiny import write_model

ECHO = """
class Echo:
    def predict(self, data, params=None):
        return [data, params["depth"]] if params and params["depth"] else data

def _load_pyfunc(path):
    return Echo()
"""
PARAMS = [{"name": "depth", "type": "long", "default": 0, "shape": None}]


def serve(environment: Path, place: Path, written: str) -> Any:
    return standing(environment, write_model(place / "model", python=HERE, loader=ECHO, more=written), place)


@pytest.fixture(scope="module")
def table(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A model of the columns a and b."""
    written = signature([column("long", "a"), column("string", "b")], (), PARAMS)
    with serve(environment, tmp_path_factory.mktemp("azure"), written) as server:
        yield server.wait_loaded()


@pytest.fixture(scope="module")
def plain(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A model that takes anything."""
    with serve(environment, tmp_path_factory.mktemp("azure"), "") as server:
        yield server.wait_loaded()


def score(server: Server, body: Any) -> Answer:
    return server.ask("POST", "/score", json.dumps(body).encode(), "application/json")


ROWS = [[1, "x"], [2, "y"]]
RECORDS = [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
SPLIT = {"columns": ["a", "b"], "data": ROWS}
EXPECTED = {"a": [1, 2], "b": ["x", "y"]}
TABLES = [
    {"input_data": {**SPLIT, "index": [0, 1]}},
    {"input_data": SPLIT},
    {"input_data": {"data": ROWS}},
    {"input_data": ROWS},
    {"input_data": RECORDS},
    {"input_data": {"dataframe_split": SPLIT}},
    {"input_data": {"a": [1, 2], "b": ["x", "y"]}},
    {"data": ROWS},
    {"data": RECORDS},
    {"dataframe_split": SPLIT},
    {"dataframe_records": RECORDS},
    SPLIT,
]


@pytest.mark.parametrize("body", TABLES)
def test_every_form_of_a_table_is_taken_and_the_answer_is_bare(table: Server, body: Any) -> None:
    answer = score(table, body)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json == EXPECTED


def test_tensors_are_taken_with_and_without_names(plain: Server) -> None:
    assert score(plain, {"input_data": [[1, 2], [3, 4]]}).json == [[1, 2], [3, 4]]
    assert score(plain, {"input_data": {"x": [[1]], "y": [[2]]}}).json == {"x": [[1]], "y": [[2]]}
    assert score(plain, {"inputs": [1]}).json == [1]
    assert score(plain, {"input_data": []}).json == []


def test_a_tensor_may_be_called_data_beside_others(plain: Server) -> None:
    answer = score(plain, {"input_data": {"data": [1, 2], "mask": [0, 1]}})
    assert (answer.status, answer.json) == (200, {"data": [1, 2], "mask": [0, 1]})


def test_params_stand_beside_the_data(table: Server) -> None:
    assert score(table, {"input_data": SPLIT, "params": {"depth": 3}}).json == [EXPECTED, 3]


def test_a_csv_is_taken_as_by_invocations_and_json_is_what_is_meant_without_a_content_type(table: Server) -> None:
    assert table.ask("POST", "/score", b"a,b\n1,x\n2,y\n", "text/csv").json == EXPECTED
    assert table.ask("POST", "/score", json.dumps({"input_data": SPLIT}).encode()).json == EXPECTED


@pytest.mark.parametrize(
    "body", [{"input_data": 7}, {"input_data": None}, {"rows": []}, [1], 7, {"input_data": {"data": 1}}]
)
def test_what_is_no_input_is_a_bad_request(table: Server, body: Any) -> None:
    answer = score(table, body)
    assert (answer.status, answer.json["error_code"]) == (400, "BAD_REQUEST")
    assert answer.json["message"]


def test_what_is_no_json_or_of_no_known_type_is_refused(table: Server) -> None:
    for payload in (b"{", b"\xff", b"", b"[" * 100_000):
        assert table.ask("POST", "/score", payload, "application/json").status == 400
    assert table.ask("POST", "/score", b"{}", "text/plain").status == 415
    assert table.ask("GET", "/score").status == 405
