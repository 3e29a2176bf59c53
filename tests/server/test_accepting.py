"""``Accept`` and what SageMaker's callers send: in which form an answer of /invocations comes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from asking import HERE, Answer, Server
from standing import standing
from tiny import write_model

# Answers what its first cell says.
LOADER = """
import json

class Says:
    def predict(self, data):
        return json.loads(data["says"][0])

def _load_pyfunc(path):
    return Says()
"""


@pytest.fixture(scope="module")
def server(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    place = tmp_path_factory.mktemp("accepting")
    with standing(environment, write_model(place / "model", python=HERE, loader=LOADER), place) as server:
        yield server.wait_loaded()


def ask(server: Server, says: Any = ("a", "b"), **headers: str) -> Answer:
    """Two rows are asked about."""
    payload = json.dumps({"dataframe_records": [{"says": json.dumps(says)}, {"says": ""}]}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.ask("POST", "/invocations", payload, "application/json", named)


LINES = b'{"prediction": "a"}\n{"prediction": "b"}\n'
FORMS = [
    ("application/json", "application/json", b'{"predictions": ["a", "b"]}'),
    ("text/csv", "text/csv; charset=utf-8", b"prediction\na\nb\n"),
    ("application/jsonlines", "application/jsonlines", LINES),
    ("application/jsonl", "application/jsonl", LINES),
    ("application/x-ndjson", "application/x-ndjson", LINES),
]


@pytest.mark.parametrize(("accept", "content_type", "body"), FORMS)
def test_an_answer_has_the_form_that_is_accepted(server: Server, accept: str, content_type: str, body: bytes) -> None:
    answer = ask(server, Accept=accept)
    assert (answer.status, answer.headers["content-type"], answer.body) == (200, content_type, body)


PREFERRED = [
    (None, "application/json"),
    ("", "application/json"),
    ("*/*", "application/json"),
    ("text/html,application/xhtml+xml;q=0.9", "application/json"),
    ("text/csv;q=0.5, application/json", "application/json"),
    ("application/json;q=0.5, text/csv", "text/csv"),
    ("text/csv, */*;q=0.1", "text/csv"),
    ("text/*", "text/csv"),
    ("TEXT/CSV; header=present", "text/csv"),
    ("text/csv;q=0", "application/json"),
    ("text/csv;q=nan, application/jsonl;q=0.1", "application/jsonl"),
    ("text/csv;q=" + "1" * 5000, "application/json"),
]


@pytest.mark.parametrize(("accept", "name"), PREFERRED)
def test_what_is_liked_best_counts_and_json_where_nothing_is_known(
    server: Server, accept: str | None, name: str
) -> None:
    headers: Mapping[str, str] = {} if accept is None else {"Accept": accept}
    assert ask(server, **headers).headers["content-type"].partition(";")[0] == name


def test_an_answer_that_has_no_rows_is_not_acceptable_as_lines(server: Server) -> None:
    for says in (7, ["a"], {"a": 1}):
        answer = ask(server, says, Accept="text/csv")
        assert (answer.status, answer.json["error_code"]) == (406, "BAD_REQUEST")
        assert "text/csv" in answer.json["message"]
        assert ask(server, says).predictions == says


def test_json_lines_may_be_sent_under_sagemakers_name(server: Server) -> None:
    payload = b'{"says": "[1]"}\n'
    answer = server.ask("POST", "/invocations", payload, "application/jsonlines")
    assert answer.predictions == [1]


def test_the_first_line_of_a_csv_is_its_header_as_in_mlflow(server: Server) -> None:
    assert server.ask("POST", "/invocations", b'says\n"[1, 2]"\n', "text/csv").predictions == [1, 2]
    # SageMaker's own algorithms take a CSV without one; its first row is a header all the same.
    answer = server.ask("POST", "/invocations", b'"[1, 2]"\n"[3]"\n', "text/csv")
    assert answer.status == 500
    assert "says" in answer.json["message"]


ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


def test_custom_attributes_come_back_as_they_are(server: Server) -> None:
    for said in ("trace=1", "a b;c", "x", "x" * 1024):
        assert ask(server, **{ATTRIBUTES: said}).headers[ATTRIBUTES.lower()] == said
    for said in ("x" * 1025, "caf\xe9", ""):
        assert ATTRIBUTES.lower() not in ask(server, **{ATTRIBUTES: said}).headers
    assert ATTRIBUTES.lower() not in ask(server).headers
