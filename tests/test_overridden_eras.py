"""One model of each era under another version, another Python and another environment: is it still the same?

What is found is the models' own: scikit-learn 1.2.2 does not read the encoder that 1.2.0 pickled, for one.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kit import REPO, cli, cli_environ

MODELS = REPO / "tests" / "models"
ENVIRONMENTS = REPO / "tests" / "environments"
CASES = (
    ("py36_mlflow1_2", ("--set", "pandas==0.25.3"), "same"),
    ("py36_mlflow1_2", ("--python", "3.7"), "same"),
    ("py36_mlflow1_2", ("--environment", ENVIRONMENTS / "sklearn-0.21.yaml"), "same"),
    ("py38_mlflow1_30", ("--set", "pandas==1.5.3"), "same"),
    ("py38_mlflow1_30", ("--python", "3.9"), "same"),
    ("py38_mlflow1_30", ("--environment", ENVIRONMENTS / "sklearn-1.1.yaml"), "same"),
    ("py38_mlflow2_1", ("--set", "pandas==1.5.3"), "same"),
    ("py38_mlflow2_1", ("--python", "3.9"), "same"),
    ("py38_mlflow2_1", ("--environment", ENVIRONMENTS / "sklearn-1.2.yaml"), "fails"),
    ("py310_mlflow2_17", ("--set", "scipy==1.15.3"), "same"),
    ("py310_mlflow2_17", ("--python", "3.11"), "same"),
    ("py310_mlflow2_17", ("--environment", REPO / "examples/environments/sklearn-lts/2025.6.yaml"), "same"),
    ("py311_mlflow3_17", ("--set", "urllib3==2.6.3"), "same"),
    ("py311_mlflow3_17", ("--python", "3.12"), "same"),
    ("py311_mlflow3_17", ("--environment", ENVIRONMENTS / "sklearn-1.9.yaml"), "same"),
)
# One of each kind in the slow tier; all of them are fifteen environments to build.
IN_CI = (1, 8, 12)


def _cases() -> list[Any]:
    found = []
    for number, case in enumerate(CASES):
        mark = pytest.mark.slow if number in IN_CI else pytest.mark.soak
        option, value = case[1]
        found.append(pytest.param(*case, id=f"{case[0]}{option}-{Path(str(value)).stem}", marks=mark))
    return found


@pytest.mark.parametrize(("era", "override", "result"), _cases())
def test_a_heart_under_an_override(era: str, override: tuple[str, ...], result: str, shared_home: Path) -> None:
    heart = MODELS / era / "heart"
    environ = cli_environ(shared_home)
    done = cli("check", heart, "--input", f"{heart}.input.json", *override, "--json", environ=environ)
    answer = json.loads(done.stdout)
    assert (answer["result"], done.returncode) == (result, {"same": 0, "fails": 11}[result]), done.stderr
    own, other = answer["environments"]
    assert own["lock_hash"] != other["lock_hash"]
    if result == "same":
        assert answer["comparison"]["rows"] == {"before": 5, "after": 5}


@pytest.mark.slow
def test_the_documented_model_of_2018_predicts_in_a_named_environment(shared_home: Path, tmp_path: Path) -> None:
    model = MODELS / "documented" / "sklearn2018"
    environ = cli_environ(shared_home, ENVBUILD_ENVIRONMENTS=str(REPO / "examples" / "environments"))
    done = cli("predict", model, f"{model}.input.json", "--environment", "sklearn-2018", environ=environ)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["predictions"] == json.loads(Path(f"{model}.expected.json").read_text())


@pytest.mark.soak
def test_the_documented_fastai_model_predicts_in_a_named_environment(shared_home: Path) -> None:
    model = MODELS / "documented" / "fastai"
    environ = cli_environ(shared_home, ENVBUILD_ENVIRONMENTS=str(REPO / "examples" / "environments"))
    done = cli("predict", model, f"{model}.input.json", "--environment", "fastai-lts", environ=environ)
    assert done.returncode == 0, done.stderr
    expected = [row["predictions"] for row in json.loads(Path(f"{model}.expected.json").read_text())]
    # fastai gives a list of one number for each row.
    found = [value for row in json.loads(done.stdout)["predictions"] for value in row["predictions"]]
    assert found == pytest.approx(expected, abs=1e-5)
