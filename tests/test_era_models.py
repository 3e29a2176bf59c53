"""The main job: real models of five eras predict in the environments that they were born in.

Each was saved by its era's own mlflow on its era's own Python; ``NAME.expected.json`` is what that mlflow answered.
"""

from __future__ import annotations

import json
import math
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from kit import REPO, cli, cli_environ

MODELS = REPO / "tests" / "models"
ERAS = ("py36_mlflow1_2", "py38_mlflow1_30", "py38_mlflow2_1", "py310_mlflow2_17", "py311_mlflow3_17")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")


def models() -> list[Path]:
    return sorted(path.parent for era in ERAS for path in (MODELS / era).glob("*/MLmodel"))


def _cases(*, default: bool) -> list[Any]:
    """The heart model of each era is tried every time, all others in the slow tier."""
    found = [path for path in models() if (path.name == "heart") == default]
    return [pytest.param(path, id=f"{path.parent.name}-{path.name}") for path in found]


def test_the_23_models_of_the_five_eras_are_all_here() -> None:
    assert len(models()) == 23
    assert {path.parent.name for path in models() if path.name == "heart"} == set(ERAS)


@pytest.mark.sampled(5)
@pytest.mark.parametrize("model", _cases(default=True))
def test_heart_of_each_era_gives_the_expected_answer(model: Path, shared_home: Path) -> None:
    _check(model, shared_home)


@pytest.mark.slow
@pytest.mark.parametrize("model", _cases(default=False))
def test_every_other_model_of_the_eras_gives_the_expected_answer(model: Path, shared_home: Path) -> None:
    _check(model, shared_home)


def test_the_documented_fastai_environment_locks_as_of_spring_2022_for_python_3_8_5(shared_home: Path) -> None:
    """MLmodel says Python 3.8.12 and no date; conda.yaml says 3.8.5 and an open mlflow."""
    environ = cli_environ(shared_home)
    done = cli("lock", MODELS / "documented" / "fastai", "--json", environ=environ)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    versions = {package["name"]: package["version"] for package in answer["packages"]}
    assert answer["python"] == "3.8.5"
    assert "2022-03" <= answer["as_of"] < "2022-06"
    assert versions["mlflow"] in ("1.24.0", "1.25.0", "1.25.1")
    assert versions["fastai"] == "2.4.1"
    notices = {notice["code"]: notice["message"] for notice in answer["notices"]}
    assert "3.8.12" in notices["python-disagrees"]
    assert "date-inferred" in notices


def _check(model: Path, home: Path) -> None:
    done = cli("predict", model, model.with_name(f"{model.name}.input.json"), environ=cli_environ(home))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout, parse_constant=_refuse)
    expected = json.loads(model.with_name(f"{model.name}.expected.json").read_text())
    tolerance = 1e-5 if "float32" in (model / "MLmodel").read_text() else 1e-6
    assert set(answer) == {"predictions"}
    assert not list(differences(answer["predictions"], expected, tolerance, "predictions"))


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def differences(found: Any, expected: Any, tolerance: float, at: str) -> Any:
    if isinstance(expected, dict) and isinstance(found, dict):
        if list(found) != list(expected):
            yield f"{at}: {list(found)} are not {list(expected)}"
        for key in expected.keys() & found.keys():
            yield from differences(found[key], expected[key], tolerance, f"{at}.{key}")
    elif isinstance(expected, list) and isinstance(found, list):
        if len(found) != len(expected):
            yield f"{at}: {len(found)} are not {len(expected)}"
        for number, pair in enumerate(zip(found, expected)):
            yield from differences(*pair, tolerance, f"{at}[{number}]")
    elif not _same(found, expected, tolerance):
        yield f"{at}: {found!r} is not {expected!r}"


def _same(found: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(expected, float) and isinstance(found, (int, float)):
        return math.isclose(found, expected, rel_tol=tolerance)
    if isinstance(expected, str) and isinstance(found, str) and _INSTANT.match(expected):
        return _instant(found) == _instant(expected)
    return type(found) is type(expected) and found == expected


def _instant(text: str) -> datetime:
    """A text as an instant; without a zone it is UTC."""
    instant = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return instant if instant.tzinfo else instant.replace(tzinfo=timezone.utc)
