"""conda-lock.yml as a command writes it, beside a model and by its name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml
from channel import Channels
from kit import cli
from test_models_of_channels import OF_2019, environ_of

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def run(shared_home: Path, channels: Channels) -> Run:
    """A command that has the two channels; variables by their names."""

    def call(*words: str | Path, **more: str) -> CompletedProcess[str]:
        return cli(*words, environ={**environ_of(shared_home, channels), **more})

    return call


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A model of 2019 that asks conda for scikit-learn; a test's own."""
    return Path(shutil.copytree(OF_2019 / "iris", tmp_path / "model"))


def locked(run: Run, model: Path, *words: str | Path, **more: str) -> dict[str, object]:
    done = run("lock", model, "--json", *words, **more)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert isinstance(said, dict)
    return said


def failed(done: CompletedProcess[str], exit_code: int, code: str, *words: str) -> None:
    assert done.returncode == exit_code, done.stdout + done.stderr
    assert f"error[{code}]" in done.stderr
    for word in words:
        assert word in done.stderr


@pytest.mark.slow
def test_the_text_is_printed_or_written_and_the_same_each_time(run: Run, model: Path, tmp_path: Path) -> None:
    printed = run("lock", model)
    assert printed.returncode == 0, printed.stderr
    content = yaml.safe_load(printed.stdout)
    assert {entry["manager"] for entry in content["package"]} == {"conda", "pip"}
    path = tmp_path / "prod.conda-lock.yml"
    said = locked(run, model, "-o", path)
    assert path.read_text() == printed.stdout
    assert said["file"] == str(path)
    assert said["lock_hash"] == content["metadata"]["custom_metadata"]["envbuild-lock-hash"]
    counted = run("lock", model, "-o", path)
    assert counted.stdout.startswith(f"{path}: {len(content['package'])} packages, lock hash ")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["-o", "pylock.toml"], "conda-lock.yml"),
        (["-o", "pylock.prod.toml", "--format", "pylock"], "conda-lock.yml"),
        (["--format", "pylock"], "conda-lock.yml"),
        (["--format", "requirements"], "--conda-packages map"),
        (["-o", "lock.txt", "--format", "requirements"], "--conda-packages map"),
    ],
)
def test_no_lock_is_written_that_holds_half_of_the_environment(
    run: Run, model: Path, tmp_path: Path, words: list[str], hint: str
) -> None:
    words = [str(tmp_path / word) if word.endswith((".toml", ".txt")) else word for word in words]
    failed(run("lock", model, *words), 2, "usage", "would hold pip's packages alone", hint)
    assert not list(tmp_path.glob("*lock*"))


@pytest.mark.parametrize("words", [["-o", "conda-lock.yml"], ["--format", "conda-lock"]])
def test_a_lock_without_conda_packages_is_no_conda_lock(
    run: Run, model: Path, tmp_path: Path, words: list[str]
) -> None:
    words = [str(tmp_path / word) if word.endswith(".yml") else word for word in words]
    done = run("lock", model, *words, "--conda-packages", "map")
    failed(done, 2, "usage", "this one has none", "pylock.toml")
    assert not list(tmp_path.glob("*lock*"))


@pytest.mark.parametrize(
    "words", [["-o", "lock.yml"], ["-o", "conda.yaml"], ["-o", "x-lock.yml", "--format", "pylock"]]
)
def test_a_name_that_no_tool_would_know_is_refused(run: Run, model: Path, tmp_path: Path, words: list[str]) -> None:
    failed(run("lock", model, "-o", tmp_path / words[1], *words[2:]), 2, "usage", "is no name for a lock")


def test_a_lock_beside_the_model_is_used_and_one_by_name_too(run: Run, model: Path, tmp_path: Path) -> None:
    path = model / "conda-lock.yml"
    made = locked(run, model, "-o", path)
    beside = locked(run, model, "--locked")
    assert (beside["source"], beside["lock_hash"]) == (str(path), made["lock_hash"])
    assert beside["conda"] == made["conda"]
    named = Path(shutil.move(path, tmp_path / "other.yml"))
    failed(run("lock", model, "--locked"), 4, "lock-missing", "-o", "conda-lock.yml")
    assert locked(run, model, "--lock", named)["lock_hash"] == made["lock_hash"]


@pytest.mark.slow
def test_of_two_locks_beside_the_model_the_one_of_the_environment_that_is_wanted_counts(run: Run, model: Path) -> None:
    of_channels, of_index = model / "conda-lock.yml", model / "pylock.toml"
    locked(run, model, "-o", of_channels)
    unused = run("lock", model, "--conda-packages", "map")
    assert f"warning[lock-stale]: the lock {of_channels} is not used" in unused.stderr
    locked(run, model, "--conda-packages", "map", "-o", of_index)
    assert locked(run, model)["source"] == str(of_channels)
    mapped = run("lock", model, "--conda-packages", "map", "--json")
    assert json.loads(mapped.stdout)["source"] == str(of_index)
    assert "lock-stale" not in mapped.stderr
    of_channels.unlink()
    failed(run("lock", model, "--locked"), 4, "lock-stale", "it has no conda packages, and conda.yaml asks for some")


def test_a_lock_with_conda_packages_is_no_lock_where_none_are_wanted(run: Run, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "conda-lock.yml"
    locked(run, model, "-o", path)
    done = run("lock", model, "--lock", path, "--conda-packages", "map")
    failed(done, 4, "lock-stale", "it has conda packages, and --conda-packages map takes none")


@pytest.mark.slow
def test_a_lock_that_conda_yaml_has_outgrown_is_said(run: Run, model: Path) -> None:
    path = model / "conda-lock.yml"
    made = locked(run, model, "-o", path)
    text = (model / "conda.yaml").read_text()
    (model / "conda.yaml").write_text(text.replace("scikit-learn=0.21.3", "scikit-learn=0.21\n- pytz"))
    done = run("lock", model, "--locked")
    failed(done, 4, "lock-stale", "it lacks conda's pytz (")
    done = run("lock", model, "--json")
    assert "warning[lock-stale]" in done.stderr
    again = json.loads(done.stdout)
    assert (again["source"] != str(path), again["lock_hash"] != made["lock_hash"]) == (True, True)
    # What it asks for otherwise is there: another order of the same is no other environment.
    (model / "conda.yaml").write_text(text.replace("scikit-learn=0.21.3", "scikit-learn=0.21"))
    assert locked(run, model, "--locked")["lock_hash"] == made["lock_hash"]
    (model / "conda.yaml").write_text(text.replace("scikit-learn=0.21.3", "scikit-learn=0.22"))
    failed(run("lock", model, "--locked"), 4, "lock-stale", "it has conda's scikit-learn 0.21.3 (py36")


def test_an_edited_lock_is_refused_with_its_line(run: Run, model: Path) -> None:
    path = model / "conda-lock.yml"
    locked(run, model, "-o", path)
    text = path.read_text()
    assert "version: 0.21.3" in text
    path.write_text(text.replace("version: 0.21.3", "version: 0.21.2"))
    line = 1 + path.read_text().splitlines().index(
        next(one for one in text.splitlines() if "envbuild-lock-hash" in one)
    )
    failed(run("lock", model), 4, "lock-invalid", f"{path}:{line}", "remove the line envbuild-lock-hash")


def test_diff_takes_a_lock_file_for_what_it_is(run: Run, model: Path, tmp_path: Path) -> None:
    path = tmp_path / "conda-lock.yml"
    locked(run, model, "-o", path)
    same = run("diff", model, path)
    assert same.returncode == 0, same.stdout + same.stderr
    # Whoever made it.
    content = yaml.safe_load(path.read_text())
    del content["metadata"]["custom_metadata"]
    foreign = tmp_path / "foreign-lock.yml"
    foreign.write_text(yaml.safe_dump(content))
    same = run("diff", foreign, model)
    assert same.returncode == 0, same.stdout + same.stderr
    content["package"] = [entry for entry in content["package"] if entry["name"] != "joblib"]
    foreign.write_text(yaml.safe_dump(content))
    other = run("diff", foreign, model)
    assert other.returncode == 10
    assert "+ joblib" in other.stdout


def test_explain_goes_by_the_lock_that_is_used(run: Run, model: Path) -> None:
    locked(run, model, "-o", model / "conda-lock.yml")
    done = run("explain", model, "--locked", "--offline")
    assert done.returncode == 0, done.stderr
    assert "scikit-learn" in done.stdout


def test_a_lock_in_the_model_takes_packages_from_nowhere_that_nobody_let_it(
    run: Run, model: Path, tmp_path: Path
) -> None:
    """Whoever made the model may have written it; one that is named is the deployer's."""
    path = model / "conda-lock.yml"
    made = locked(run, model, "-o", path)
    content = yaml.safe_load(path.read_text())
    del content["metadata"]["custom_metadata"]
    entry = next(one for one in content["package"] if one["name"] == "joblib" and one["manager"] == "conda")
    entry["url"] = "https://elsewhere.invalid/" + "/".join(entry["url"].split("/")[-2:])
    path.write_text(yaml.safe_dump(content))
    failed(
        run("lock", model, "--locked"),
        4,
        "lock-stale",
        "takes conda packages from elsewhere.invalid",
        "--model-indexes",
    )
    assert locked(run, model)["lock_hash"] == made["lock_hash"]
    assert locked(run, model, "--locked", "--model-indexes", "allow")["source"] == str(path)
    assert locked(run, model, "--lock", path)["source"] == str(path)
