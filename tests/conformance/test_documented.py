"""Every case of MLflow's published documentation gets the era's own answer; through the real bridge as well."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from comparing import SAME, Compared, compare, compare_with_server
from documented import THEN, TODAY, Documented
from eras import DATETIME, ERAS, SERVER_OF_1
from sides import Case, Outcome, Sides

from envbuild.bridge import Worker
from envbuild.errors import InputError
from envbuild.model import read_model

QUICK = ("1.30", "3.17")
EVERY_ERA = [pytest.param(era, marks=[] if era in QUICK else pytest.mark.slow) for era in ERAS]
WITH_SERVERS = [param for param in EVERY_ERA if SERVER_OF_1 in ERAS[param.values[0]].knows]


def _known(documented: tuple[Documented, ...], era: str) -> list[Documented]:
    return [one for one in documented if one.needs <= ERAS[era].knows]


def _held(known: list[Documented], done: list[Compared]) -> None:
    for one, compared in zip(known, done, strict=True):
        assert (compared.ours.refused is not None) == one.refused, str(compared)
        assert compared.verdict in (SAME, "same refusal", one.differs), str(compared)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("era", EVERY_ERA)
def test_documented_bodies_of_today_get_the_eras_own_answer(era: str, sides_of: Callable[[str], Sides]) -> None:
    known = _known(TODAY, era)
    _held(known, compare(sides_of(era), [one.case for one in known]))


@pytest.mark.parametrize("era", WITH_SERVERS)
def test_documented_bodies_of_1_get_the_answer_of_its_own_server(era: str, sides_of: Callable[[str], Sides]) -> None:
    known = _known(THEN, era)
    _held(known, compare_with_server(sides_of(era), [one.case for one in known]))


def test_moments_with_a_zone_keep_it_as_in_mlflow_and_the_eras_own_enforcement_decides(
    sides_of: Callable[[str], Sides],
) -> None:
    body = {"dataframe_records": [{"a": 0, "b": "2020-01-01T00:00:00Z"}, {"a": 1, "b": "2020-02-01T12:34:56Z"}]}
    signature = {"inputs": [{"name": "a", "type": "long"}, {"name": "b", "type": "datetime"}]}
    for era in (name for name in QUICK if DATETIME in ERAS[name].knows):
        case = Case(signature=signature, body=json.dumps(body).encode())
        (compared,) = compare(sides_of(era), [case])
        assert compared.verdict in (SAME, "same refusal"), str(compared)


@pytest.mark.parametrize("era", WITH_SERVERS)
def test_answers_of_a_plain_model_of_1_have_the_numbers_and_structure_of_its_own_server(
    era: str, sides_of: Callable[[str], Sides]
) -> None:
    sides = sides_of(era)
    bodies = (
        {"columns": ["a", "b"], "data": [[1, 2.5], [3, -0.125]]},
        [{"a": "x", "b": True}, {"a": "", "b": False}],
        {"instances": [[1, 2], [3, 4]]},
        {"inputs": [[0.5]]},
    )
    cases = [Case(signature=None, body=json.dumps(body).encode()) for body in bodies]
    for theirs, ours in zip(sides.scored(cases, "plain"), sides.ours(cases, "plain"), strict=True):
        assert theirs.answer is not None
        assert theirs.answer == ours.answer


@pytest.mark.slow
@pytest.mark.parametrize("era", EVERY_ERA)
def test_the_bridge_itself_gives_what_its_code_gives_many_models_in_one_process(
    era: str, sides_of: Callable[[str], Sides], python_of_era: Callable[[str], Path]
) -> None:
    sides = sides_of(era)
    cases = [one.case for one in _known(TODAY, era)]
    cases = [case for case in cases if case.signature == cases[0].signature]
    with Worker.start(python_of_era(era), read_model(sides.model(cases[0].signature))) as worker:
        asked = [_asked(worker, case) for case in cases]
    assert len(asked) > 2
    assert asked == [Outcome(answer=one.answer, refused=one.refused, code=one.code) for one in sides.ours(cases)]


def _asked(worker: Worker, case: Case) -> Outcome:
    try:
        answer = json.loads(worker.predict(case.body, case.content_type).payload)
    except InputError as error:
        return Outcome(refused=error.message, code=error.code)
    return Outcome(answer=answer["predictions"])
