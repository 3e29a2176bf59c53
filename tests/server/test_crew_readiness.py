"""Readiness: when a server says that it can predict, and what brings it there."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from asking import HERE, LOADER, Server
from crew_models import begun, kill
from tiny import write_model
from waiting import eventually

from envbuild.bridge import Worker
from envbuild.errors import EnvbuildError, Interrupted, ModelNotLoaded
from envbuild.model import read_model
from envbuild.request import Question
from envbuild.server.predictor import Predictor

Serve = Callable[..., Server]
WithExample = Callable[..., None]


@pytest.fixture
def example(model: Path) -> WithExample:
    """Gives the model an input example: what it is told to do."""

    def example(*data: object) -> None:
        named = "saved_input_example_info:\n  artifact_path: input_example.json\n  type: ndarray\n"
        more = f"mlflow_version: 2.17.2\n{named}"
        files = {"input_example.json": json.dumps({"inputs": [*data]})}
        write_model(model, python=HERE, loader=LOADER, more=more, files=files)

    return example


def loads(model: Path) -> int:
    return len((model.parent / "loads").read_text().splitlines())


def test_it_is_ready_when_the_model_has_answered_its_example(
    serve: Serve, example: WithExample, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    example("wait", str(gate))
    server = serve()
    begun(gate)
    answer = server.ask("GET", "/ping")
    assert (answer.status, answer.json["message"]) == (503, "the model is being loaded")
    asked = server.begin("seen")
    gate.touch()
    assert asked.answer().predictions == ["wait", "seen"]
    assert server.ping() == 200


def test_an_example_that_fails_keeps_it_from_being_ready_and_not_from_answering(
    serve: Serve, example: WithExample
) -> None:
    example("raise")
    server = serve()
    assert server.predict("echo").predictions == ["echo"]
    answer = server.ask("GET", "/ping")
    assert (answer.status, answer.json["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
    assert "did not answer its own input example" in answer.json["message"]
    assert "there is no such fruit" in answer.json["message"]
    assert server.stderr.count("the model did not answer its own input example") == 1


@pytest.mark.parametrize("verb", ["kill", "exit"])
def test_an_example_that_ends_its_worker_is_asked_once(
    serve: Serve, example: WithExample, model: Path, verb: str
) -> None:
    example(verb)
    server = serve()
    assert server.predict("seen").predictions == ["seen"]
    assert "did not answer its own input example" in server.ask("GET", "/ping").json["message"]
    assert server.predict("seen").predictions == ["seen", "seen"]
    assert loads(model) == 2
    # A worker that ends later is replaced by one that is not asked either.
    assert server.predict("kill").status == 503
    assert server.predict("seen").predictions == ["seen"]
    assert loads(model) == 3


def test_without_the_probe_it_is_ready_as_soon_as_it_is_loaded(serve: Serve, example: WithExample) -> None:
    example("raise")
    server = serve(ENVBUILD_NO_PROBE="1").wait_loaded()
    assert server.predict("seen").predictions == ["seen"]


def test_it_is_ready_with_one_worker_of_several(serve: Serve, model: Path, tmp_path: Path) -> None:
    server = serve(ENVBUILD_WORKERS="2").wait_loaded()
    eventually(lambda: loads(model) == 2, "both have begun")
    (model / "waits").touch()
    kill(server.predict("pid").predictions)
    server.wait_loaded()


@pytest.fixture
def make_predictor(model: Path) -> Iterator[Callable[..., Predictor]]:
    """Makes predictors of the model; no environment is needed for it."""
    made: list[Predictor] = []

    def make(**options: Any) -> Predictor:
        made.append(Predictor(lambda: Worker.start(Path(sys.executable), read_model(model)), **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


MakePredictor = Callable[..., Predictor]
SEEN = Question(payload=b'{"inputs": ["seen"]}')


def test_a_model_that_could_not_be_loaded_is_tried_again_without_being_asked(
    make_predictor: MakePredictor, model: Path
) -> None:
    (model / "fails").touch()
    faults: list[EnvbuildError] = []
    predictor = make_predictor(retry_seconds=0.1, on_fault=faults.append)
    predictor.begin()
    eventually(lambda: predictor.failures >= 2, "it is tried again")
    assert "there is no library of that name" in str(faults[0])
    (model / "fails").unlink()
    eventually(lambda: predictor.is_usable, "it is loaded")
    assert {type(fault) for fault in faults} == {ModelNotLoaded}
    assert predictor.trouble() is None
    assert predictor.restarts >= 2
    before = loads(model)
    assert predictor.predict(SEEN, failures=predictor.failures).payload == b'{"predictions": ["seen"]}'
    assert loads(model) == before


@pytest.mark.parametrize("retry_seconds", [0.0, 0.2])
def test_a_worker_that_ends_while_nobody_asks_is_replaced(make_predictor: MakePredictor, retry_seconds: float) -> None:
    predictor = make_predictor(retry_seconds=retry_seconds)
    predictor.begin()
    eventually(lambda: predictor.is_usable, "it is loaded")
    first = predictor.pid
    assert first is not None
    kill(first)
    eventually(lambda: predictor.is_usable and predictor.pid != first, "another worker has loaded the model")
    assert predictor.restarts == 1


def test_a_worker_that_soon_ends_by_itself_is_not_replaced_at_once(make_predictor: MakePredictor, model: Path) -> None:
    predictor = make_predictor(retry_seconds=3600.0)
    predictor.begin()
    eventually(lambda: predictor.is_usable, "it is loaded")
    assert predictor.pid is not None
    kill(predictor.pid)
    eventually(lambda: predictor.trouble() == "the model's worker has ended", "it is known")
    assert loads(model) == 1
    # Who asks does not wait for that.
    assert predictor.predict(SEEN, failures=0).payload == b'{"predictions": ["seen"]}'


def test_who_asks_first_is_answered_though_the_example_ends_its_worker(make_predictor: MakePredictor) -> None:
    predictor = make_predictor(probe=Question(payload=b'{"inputs": ["kill"]}'))
    assert predictor.predict(SEEN, failures=0).payload == b'{"predictions": ["seen"]}'
    assert "its own input example" in str(predictor.trouble())


def test_nothing_is_loaded_after_it_was_closed(make_predictor: MakePredictor, model: Path) -> None:
    (model / "fails").touch()
    predictor = make_predictor(retry_seconds=0.1)
    predictor.begin()
    eventually(lambda: predictor.failures, "it has failed")
    predictor.close()
    before = loads(model)
    predictor.begin()
    predictor.revive()
    with pytest.raises(Interrupted):
        predictor.predict(SEEN, failures=predictor.failures)
    assert loads(model) == before
