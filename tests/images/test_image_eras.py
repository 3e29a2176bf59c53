"""Every model of the five eras answers from a container of its own, by HTTP and on standard output."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from containers import post, predicted, served
from kit import cli_environ
from stand_ins import python, run_docker
from test_era_models import differences, models
from test_image_building import image


@pytest.fixture(scope="module")
def era(request: pytest.FixtureRequest, shared_home: Path) -> Iterator[str]:
    """An era; the images of its environments go when its models are through."""
    # The stand-ins may have been made anew since the last run: a lock would stay with the base that it had.
    for note in shared_home.glob("images/notes/base-*.json"):
        note.unlink()
    before = _environments()
    yield request.param
    for name in _environments() - before:
        run_docker("rmi", "--force", name)


def _environments() -> set[str]:
    return set(run_docker("images", "--format", "{{.Repository}}:{{.Tag}}", "env").stdout.decode().split())


# The oldest, the youngest, and one with code of its own; what the others have besides is not the image's affair.
SLOW = ("py36_mlflow1_2-heart", "py311_mlflow3_17-heart", "py38_mlflow2_1-codepath")


def _case(path: Path) -> Any:
    name = f"{path.parent.name}-{path.name}"
    mark = pytest.mark.slow if name in SLOW else pytest.mark.soak
    return pytest.param(path.parent.name, path, id=name, marks=mark)


CASES = [_case(path) for path in models()]


@pytest.mark.parametrize(("era", "model"), CASES, indirect=["era"])
def test_a_model_of_an_era_answers_from_its_own_container(era: str, model: Path, shared_home: Path) -> None:
    base = python(f"3.{era.partition('_')[0].removeprefix('py3')}")
    environ = cli_environ(shared_home, ENVBUILD_BASE_IMAGE=base, ENVBUILD_BUILD_NETWORK="host")
    made = image(model, environ=environ)
    body = model.with_name(f"{model.name}.input.json").read_bytes()
    _check(model, predicted(made["image"], body))
    with served(made["image"]) as container:
        status, answer = post(f"{container.split()[1]}/invocations", body)
    assert status == 200, answer
    _check(model, answer)


def _check(model: Path, answer: Any) -> None:
    expected = json.loads(model.with_name(f"{model.name}.expected.json").read_text())
    tolerance = 1e-5 if "float32" in (model / "MLmodel").read_text() else 1e-6
    assert set(answer) == {"predictions"}
    assert not list(differences(answer["predictions"], expected, tolerance, "predictions"))
