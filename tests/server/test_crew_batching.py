"""Requests put together: their rows in one call of the model, and each request's own back to it."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from asking import HERE, Answer, Server
from crew_models import ROW_BY_ROW, begun, rows
from hypothesis import given, settings
from hypothesis import strategies as st
from kit import REPO
from tiny import write_model
from waiting import eventually

Serve = Callable[..., Server]
JSON = "application/json"
HEART = REPO / "tests" / "models" / "py311_mlflow3_17" / "heart"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "served" / "model", python=HERE, loader=ROW_BY_ROW)


class Line:
    """Requests that wait behind one that is being made, so that they are all there when the worker is free."""

    def __init__(self, server: Server, gate: Path) -> None:
        self._server, self._gate = server, gate
        self._connections = [self._begun(rows(["wait", str(gate)]), JSON)]
        begun(gate)

    def add(self, payload: bytes, content_type: str = JSON) -> None:
        self._connections.append(self._begun(payload, content_type))

    def _begun(self, payload: bytes, content_type: str) -> Any:
        connection = self._server.connect()
        connection.request("POST", "/invocations", payload, {"Content-Type": content_type})
        return connection

    def leave(self, number: int) -> None:
        """Have one go away without an answer."""
        self._connections.pop(number).close()

    def answers(self) -> list[Answer]:
        """What all but the one in front are answered."""
        assert self._server.ping() == 200
        self._gate.touch()
        made = []
        for connection in self._connections:
            answer = connection.getresponse()
            made.append(Answer(answer.status, dict(answer.getheaders()), answer.read()))
            connection.close()
        return made[1:]


def together(server: Server, gate: Path, *requests: Sequence[Any]) -> list[Answer]:
    """The answers of requests, each given by its rows, that wait together."""
    line = Line(server, gate)
    for request in requests:
        line.add(rows(*request))
    return line.answers()


def sizes(answers: list[Answer]) -> list[int]:
    """How many rows the call had that made an answer's first row."""
    return [answer.predictions[0]["of"] for answer in answers]


def test_off_by_default(serve: Serve, tmp_path: Path) -> None:
    assert sizes(together(serve(), tmp_path / "gate", *[[["a"]]] * 3)) == [1, 1, 1]


def test_so_many_that_wait_are_one_call(serve: Serve, tmp_path: Path) -> None:
    server = serve(ENVBUILD_BATCH_SIZE="3")
    answers = together(server, tmp_path / "gate", *([[str(number)]] for number in range(5)))
    assert sizes(answers) == [3, 3, 3, 2, 2]
    assert [answer.predictions[0]["row"] for answer in answers] == [[str(number)] for number in range(5)]


def test_a_request_waits_for_others_no_longer_than_it_may(serve: Serve) -> None:
    server = serve(ENVBUILD_BATCH_SIZE="2", ENVBUILD_BATCH_WAIT="0.01")
    assert sizes([server.ask("POST", "/invocations", rows(["alone"]), JSON)]) == [1]


def test_a_full_batch_waits_no_longer(serve: Serve) -> None:
    server = serve(ENVBUILD_BATCH_SIZE="2", ENVBUILD_BATCH_WAIT="50").wait_loaded()
    with ThreadPoolExecutor(2) as clients:
        asked = [
            clients.submit(server.ask, "POST", "/invocations", rows([name], [name]), JSON) for name in ("one", "two")
        ]
    for one, name in zip(asked, ("one", "two")):
        assert one.result().predictions == [{"row": [name], "of": 4}] * 2


@pytest.mark.parametrize(
    ("bad", "status", "name"), [("raise", 500, "INTERNAL_ERROR"), ("exit", 503, "TEMPORARILY_UNAVAILABLE")]
)
def test_a_bad_row_fails_its_own_request_alone(serve: Serve, tmp_path: Path, bad: str, status: int, name: str) -> None:
    server = serve(ENVBUILD_BATCH_SIZE="8")
    answers = together(server, tmp_path / "gate", [["a"]], [["b"], [bad]], [["c"]])
    assert [answer.status for answer in answers] == [200, status, 200]
    assert answers[1].json["error_code"] == name
    assert [answers[place].predictions[0]["row"] for place in (0, 2)] == [["a"], ["c"]]
    # The next ones are put together as ever.
    assert sizes(together(server, tmp_path / "another", [["a"]], [["b"]])) == [2, 2]


def test_what_is_asked_alone_comes_before_what_came_later(serve: Serve, tmp_path: Path) -> None:
    server = serve(ENVBUILD_BATCH_SIZE="2")
    together(server, tmp_path / "gate", [["raise"]], [["a"]], [["b"]], [["c"]])

    def statuses() -> list[str]:
        return re.findall(r"^POST /invocations (\d+)", server.stderr, re.MULTILINE)

    eventually(lambda: len(statuses()) == 5, "all are in the log")
    assert statuses() == ["200", "500", "200", "200", "200"]


def test_who_leaves_a_batch_costs_the_others_nothing(serve: Serve, tmp_path: Path) -> None:
    server, gate = serve(ENVBUILD_BATCH_SIZE="2"), tmp_path / "gate"
    line = Line(server, tmp_path / "first")
    line.add(rows(["wait", str(gate)]))
    line.add(rows(["a"]))
    assert server.ping() == 200
    (tmp_path / "first").touch()
    begun(gate)
    line.leave(1)
    eventually(lambda: "POST /invocations 499" in server.stderr, "it has gone")
    # As long as a worker has whom nobody waits for; what must not happen is given time to.
    time.sleep(1.5)
    gate.touch()
    (answer,) = line.answers()
    assert answer.predictions[0] == {"row": ["a"], "of": 2}


def test_what_cannot_be_understood_fails_alone(serve: Serve, tmp_path: Path) -> None:
    server = serve(ENVBUILD_BATCH_SIZE="8")
    line = Line(server, tmp_path / "gate")
    for payload in (rows(["a"]), b"{", rows(["b"]), b'{"inputs": 1, "instances": 2}', rows(["c"])):
        line.add(payload)
    answers = line.answers()
    assert [answer.status for answer in answers] == [200, 400, 200, 400, 200]
    assert sizes(answers[::2]) == [3, 3, 3]


def test_a_model_that_answers_another_number_of_rows_is_asked_one_by_one(serve: Serve, tmp_path: Path) -> None:
    server = serve(ENVBUILD_BATCH_SIZE="8")
    answers = together(server, tmp_path / "gate", [["fewer"], ["a"]], [["b"]], [["c"], ["d"]])
    assert answers[0].predictions == [["a"]]
    assert sizes(answers[1:]) == [1, 2]


def test_many_requests_with_long_content_types_are_answered(serve: Serve, tmp_path: Path) -> None:
    server = serve(ENVBUILD_BATCH_SIZE="1000", ENVBUILD_QUEUE="1000")
    line = Line(server, tmp_path / "gate")
    for number in range(60):
        line.add(rows([str(number)]), f'{JSON}; note="{chr(0xE9) * 700}"')
    answers = line.answers()
    assert [answer.predictions[0]["row"] for answer in answers] == [[str(number)] for number in range(60)]
    assert min(sizes(answers)) > 1, "they were put together, as far as there was room"


# Of each client the sizes of its requests, one after the other.
CLIENTS = st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=6), min_size=2, max_size=8)


def test_nobody_ever_gets_the_rows_of_another(serve: Serve) -> None:
    server = serve(ENVBUILD_BATCH_SIZE="5", ENVBUILD_BATCH_WAIT="0.002", ENVBUILD_WORKERS="2").wait_loaded()
    seen = set()

    def asks(client: int, counts: list[int]) -> None:
        connection = server.connect()
        for number, count in enumerate(counts):
            own = [[f"client {client}", number, place] for place in range(count)]
            connection.request("POST", "/invocations", rows(*own), {"Content-Type": JSON})
            answered = json.loads(connection.getresponse().read())["predictions"]
            assert [one["row"] for one in answered] == own
            seen.update(one["of"] > count for one in answered)
        connection.close()

    @settings(max_examples=40, deadline=None)
    @given(CLIENTS)
    def check(clients: list[list[int]]) -> None:
        with ThreadPoolExecutor(len(clients)) as pool:
            for one in [pool.submit(asks, number, counts) for number, counts in enumerate(clients)]:
                one.result()

    check()
    assert seen == {True, False}


def forms(data: list[list[Any]], columns: list[str]) -> list[tuple[bytes, str]]:
    """The same rows in each form that the heart model takes."""
    text = io.StringIO()
    csv.writer(text).writerows([columns, *data])
    records = [dict(zip(columns, row)) for row in data]
    return [
        (json.dumps({"dataframe_split": {"columns": columns, "data": data}}).encode(), JSON),
        (json.dumps({"dataframe_records": records}).encode(), JSON),
        (text.getvalue().encode(), "text/csv"),
        ("\n".join(map(json.dumps, records)).encode(), "application/jsonl"),
    ]


def test_a_real_model_gives_the_same_bytes_alone_and_together(start: Callable[..., Server], shared_home: Path) -> None:
    table = json.loads((HEART.parent / "heart.input.json").read_text())["dataframe_split"]
    parts = [table["data"][:1], table["data"][1:], table["data"], table["data"][3:4]]
    asked = [one for part in parts for one in forms(part, table["columns"])]
    asked.append((json.dumps({"dataframe_records": [{"age": "old"}]}).encode(), JSON))
    argv = [sys.executable, "-m", "envbuild", "serve", HEART, "--port", 0, "--workers", 1]
    variables = {"ENVBUILD_HOME": str(shared_home)}
    alone = start(argv, variables=variables)
    # Either all of them come together, or the test waits for a minute.
    batching = start([*argv, "--batch-size", len(asked), "--batch-wait", 60], variables=variables)
    expected = [alone.ask("POST", "/invocations", *one) for one in asked]
    batching.wait_loaded()
    with ThreadPoolExecutor(len(asked)) as clients:
        answers = list(clients.map(lambda one: batching.ask("POST", "/invocations", *one), asked))
    assert [(one.status, one.body) for one in answers] == [(one.status, one.body) for one in expected]
    assert [one.status for one in answers] == [200] * (len(asked) - 1) + [400]
