"""Models whose conda.yaml asks conda for packages predict in prefixes of conda's packages with pip's on top."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from channel import Channels
from kit import REPO, cli, cli_environ
from test_era_models import differences

# Channels of real packages are made for it.
pytestmark = pytest.mark.slow

MODELS = REPO / "tests" / "models"
OF_2019, OF_2022 = MODELS / "py36_mlflow1_2", MODELS / "py38_mlflow1_30"


def environ_of(home: Path, channels: Channels, **more: str) -> dict[str, str]:
    """The variables of a command line that has the two channels in place of those on the network."""
    mirrors = f"defaults={channels.main.url} conda-forge={channels.forge.url}"
    return cli_environ(home, ENVBUILD_CONDA_PACKAGES="conda", ENVBUILD_CONDA_MIRROR=mirrors, **more)


def check(model: Path, original: Path, environ: dict[str, str]) -> None:
    name = original.name
    done = cli("predict", model, original.with_name(f"{name}.input.json"), environ=environ)
    assert done.returncode == 0, done.stderr
    expected = json.loads(original.with_name(f"{name}.expected.json").read_text())
    assert not list(differences(json.loads(done.stdout)["predictions"], expected, 1e-6, "predictions"))


@pytest.mark.parametrize("name", ["iris", "heart"])
def test_a_model_of_2019_has_the_scikit_learn_of_its_channel(name: str, shared_home: Path, channels: Channels) -> None:
    check(OF_2019 / name, OF_2019 / name, environ_of(shared_home, channels))


@pytest.mark.parametrize("name", ["iris", "heart"])
def test_a_model_of_2022_has_the_scikit_learn_of_its_channel(
    name: str, of_conda: Callable[[str], Path], shared_home: Path, channels: Channels
) -> None:
    check(of_conda(name), OF_2022 / name, environ_of(shared_home, channels))


def test_pip_brings_nothing_that_conda_has_brought(shared_home: Path, channels: Channels) -> None:
    done = cli("lock", OF_2019 / "iris", "--json", environ=environ_of(shared_home, channels))
    assert done.returncode == 0, done.stderr
    lock = json.loads(done.stdout)
    of_conda = {one["name"]: one["version"] for one in lock["conda"]["packages"]}
    of_pip = {one["name"]: one["version"] for one in lock["packages"]}
    assert of_conda["scikit-learn"] == "0.21.3"
    assert of_conda["python"] == lock["python"] == "3.6.15"
    assert of_pip["mlflow"] == "1.2.0"
    assert not of_conda.keys() & of_pip.keys()
    assert {"numpy", "scipy", "joblib"} <= of_conda.keys()
    # mlflow needs it, and the model's conda.yaml does not.
    assert "pandas" in of_pip


def test_a_second_model_with_the_same_lock_has_nothing_built(shared_home: Path, channels: Channels) -> None:
    environ = environ_of(shared_home, channels)
    first, second = (cli("build", OF_2019 / name, "--json", environ=environ) for name in ("iris", "heart"))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    said = json.loads(second.stdout)
    assert not said["built"]
    assert said["lock_hash"] == json.loads(first.stdout)["lock_hash"]


def test_what_was_built_verifies_and_predicting_changes_nothing_of_it(shared_home: Path, channels: Channels) -> None:
    environ = environ_of(shared_home, channels)
    check(OF_2019 / "iris", OF_2019 / "iris", environ)
    done = cli("verify", OF_2019 / "iris", environ=environ)
    assert done.returncode == 0, done.stderr
    assert "as it was built" in done.stdout


def test_by_the_deployers_word_the_same_model_is_mapped(shared_home: Path, channels: Channels) -> None:
    environ = environ_of(shared_home, channels)
    done = cli("lock", OF_2019 / "iris", "--json", "--conda-packages", "map", environ=environ)
    assert done.returncode == 0, done.stderr
    lock = json.loads(done.stdout)
    assert lock["conda"] is None
    said = "conda.yaml's own packages (scikit-learn) are taken from the index: --conda-packages map"
    assert lock["conda_reason"] == said
    assert {"scikit-learn": "0.21.3"}.items() <= {one["name"]: one["version"] for one in lock["packages"]}.items()


def test_a_conda_yaml_with_python_and_pip_alone_is_a_plain_virtualenv(shared_home: Path, channels: Channels) -> None:
    done = cli("lock", OF_2019 / "codepath", "--json", environ=environ_of(shared_home, channels))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["conda"] is None


def test_a_channel_that_does_not_answer_is_an_error_that_names_the_index(tmp_path: Path) -> None:
    mirror = "defaults=http://127.0.0.1:9/nobody"
    environ = cli_environ(tmp_path, ENVBUILD_CONDA_PACKAGES="conda", ENVBUILD_CONDA_MIRROR=mirror)
    done = cli("predict", OF_2019 / "iris", "-", environ=environ, input="{}")
    assert done.returncode == 4
    assert "http://127.0.0.1:9/nobody" in done.stderr
    assert "--conda-packages map" in done.stderr
    assert done.stdout == ""


def test_explain_says_why_a_package_comes_from_a_channel(shared_home: Path, channels: Channels) -> None:
    environ = environ_of(shared_home, channels)
    done = cli("explain", OF_2019 / "iris", environ=environ)
    assert re.search(
        r"^conda +conda.yaml's own packages \(scikit-learn\) come from their channels: --conda-packages conda$",
        done.stdout,
        re.MULTILINE,
    )
    assert re.search(r"^scikit-learn +0.21.3 +conda +conda.yaml:5 scikit-learn=0.21.3$", done.stdout, re.MULTILINE)
    assert re.search(r"^numpy +\S+ +conda +through scikit-learn", done.stdout, re.MULTILINE)
    page = cli("explain", OF_2019 / "iris", "numpy", environ=environ)
    assert f"{channels.main.url}/linux-64/numpy-1.17.2-py36" in page.stdout


def test_a_program_given_as_python_is_refused_where_conda_brings_its_own(shared_home: Path, channels: Channels) -> None:
    environ = environ_of(shared_home, channels)
    python = cli(
        "run", OF_2019 / "codepath", "--", "python", "-c", "import sys; print(sys.executable)", environ=environ
    )
    done = cli("lock", OF_2019 / "iris", "--python", python.stdout.strip(), environ=environ)
    assert done.returncode == 2
    assert "bring their own Python" in done.stderr
    assert "--conda-packages map" in done.stderr


def test_what_the_deployer_sets_comes_from_the_index_on_top_of_conda(shared_home: Path, channels: Channels) -> None:
    environ = environ_of(shared_home, channels)
    done = cli("lock", OF_2019 / "iris", "--add", "numpy<1.17", environ=environ)
    assert done.returncode == 4
    assert "numpy" in done.stderr
    assert "conda: numpy 1.17.2" in done.stderr
    done = cli("lock", OF_2019 / "iris", "--set", "scikit-learn==0.20.3", "--json", environ=environ)
    assert done.returncode == 0, done.stderr
    lock = json.loads(done.stdout)
    assert {"scikit-learn": "0.20.3"}.items() <= {one["name"]: one["version"] for one in lock["packages"]}.items()
    # Nothing else was asked of conda.
    assert lock["conda"] is None
