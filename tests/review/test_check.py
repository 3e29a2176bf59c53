"""``envbuild check``: the model's own environment and the overridden one, with the same input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kit import Kit, cli, cli_environ
from local_index import LocalIndex
from tiny import wheel
from waiting import eventually, is_gone

import envbuild
from envbuild.errors import UsageError
from envbuild.review import check
from envbuild.review.check import CheckOptions
from envbuild.sample import Sample

MakeModel = Callable[..., Path]

# Answers with the factor that the package fruit has; what it is told in `act` decides what it does with it.
LOADER = """
import fruit, os, sys

class Model:
    def predict(self, data):
        print("fruit", fruit.version)
        values = data["values"] if isinstance(data, dict) else data
        if fruit.version in data.get("raises", ()) if isinstance(data, dict) else False:
            raise ValueError("no %s today" % fruit.version)
        if isinstance(data, dict) and data.get("mark"):
            import time
            open(data["mark"] + ".new", "w").write(str(os.getpid()))
            os.rename(data["mark"] + ".new", data["mark"])
            time.sleep(600)
        return fruit.answer(values)

def _load_pyfunc(path):
    return Model()
"""
PLAIN = "def answer(values):\n    return [2 * value for value in values]\n"
EXAMPLE = json.dumps({"values": [1, 2.5, 3, None], "input": 0})
MORE = "saved_input_example_info:\n  artifact_path: input_example.json\n  type: json_object\n"


def fruit(version: str, code: str = PLAIN) -> Any:
    return wheel("fruit", version, modules={"fruit.py": f"version = {version!r}\n{code}"})


SKIPPING_NONE = "def answer(values):\n    return [{} * value if value is not None else None for value in values]\n"
VERSIONS = (
    fruit("1.0", SKIPPING_NONE.format("2")),
    fruit("1.1", SKIPPING_NONE.format("2.0000000001")),
    fruit("2.0", SKIPPING_NONE.format("3")),
    fruit("3.0", "raise ImportError('fruit 3 is broken')\n"),
    fruit("4.0", "def answer(values):\n    return {'first': values[0]}\n"),
    fruit("5.0", "def answer(values):\n    return [float('inf')] * 4\n"),
    fruit("6.0", "def answer(values):\n    return [float('nan')] * 4\n"),
    fruit("7.0"),
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    """An index with fruit, and a store that these tests share: each builds what is not there yet."""
    index = LocalIndex().add(*VERSIONS)
    yield Kit(tmp_path_factory.mktemp("check") / "home", index)
    index.close()


@pytest.fixture
def make_fruity(make_model: MakeModel) -> MakeModel:
    """Makes models that need fruit and have an input example."""

    def make(version: str = "1.0", **more: Any) -> Path:
        asked = {"loader": LOADER, "more": MORE, "files": {"input_example.json": EXAMPLE}, **more}
        return make_model(pip=[f"fruit=={version}"], **asked)

    return make


@pytest.fixture
def model(make_fruity: MakeModel) -> Path:
    """The one with fruit 1.0."""
    return make_fruity()


def run(shop: Kit, model: Path, *words: str | Path, code: int, **options: Any) -> subprocess.CompletedProcess[str]:
    done = cli("check", model, *words, environ=cli_environ(shop.home, shop.index.url), **options)
    assert done.returncode == code, done.stdout + done.stderr
    assert "error[internal]" not in done.stderr
    return done


def reported(shop: Kit, model: Path, *words: str | Path, code: int, **options: Any) -> tuple[str, dict[str, Any]]:
    """What is printed, and the report in JSON, of one run."""
    path = model.parent / "report.json"
    done = run(shop, model, *words, "--report", path, code=code, **options)
    content = json.loads(path.read_text())
    assert isinstance(content, dict)
    assert content["exit_code"] == code
    return done.stdout, content


def test_without_an_override_it_is_seen_whether_the_model_works(shop: Kit, model: Path) -> None:
    done = run(shop, model, code=0)
    assert done.stdout.startswith("works: the model is locked, built, loaded and predicts in the model's own")
    assert "overridden" not in done.stdout
    assert "fruit 1.0\n" in done.stderr
    answer = json.loads(run(shop, model, "--json", code=0).stdout)
    assert (answer["result"], answer["exit_code"], answer["ok"]) == ("works", 0, True)
    (own,) = answer["environments"]
    assert (own["environment"], own["packages"], own["built"], own["failure"]) == ("own", 1, False, None)
    assert set(own["seconds"]) == {"lock", "build", "load", "predict"}
    assert answer["comparison"] is answer["difference"] is None


def test_answers_that_are_the_same_within_the_tolerance(shop: Kit, model: Path) -> None:
    done = run(shop, model, "--set", "fruit==1.1", code=0)
    assert done.stdout.startswith("same: the overridden environment answers as the model's own environment does")
    assert "~  fruit  1.0  1.1" in done.stdout
    assert "[own]" in done.stderr
    assert "[overridden]" in done.stderr
    exact = ["--tolerance", "0", "--absolute-tolerance", "0"]
    _, answer = reported(shop, model, "--set", "fruit==1.1", *exact, code=10)
    assert answer["tolerance"] == {"relative": 0.0, "absolute": 0.0}
    assert answer["comparison"]["rows_differing"] == [0, 1, 2]
    assert 0 < answer["comparison"]["largest_absolute"] < 1e-9


def test_answers_that_differ_say_which_rows_and_how_much(shop: Kit, model: Path) -> None:
    said, answer = reported(shop, model, "--set", "fruit==2.0", code=10)
    first = said.splitlines()[0]
    assert first.startswith("different: the overridden environment does not answer as the model's own environment does")
    assert "3 of 4 rows differ (0-2); the largest difference is 3, 0.333 of the larger value" in first
    assert answer["input"]["kind"] == "example"
    assert [one["lock_hash"] for one in answer["environments"]] == [
        shop.lock(model).lock.hash,
        shop.lock(model, set=("fruit==2.0",)).lock.hash,
    ]
    (changed,) = answer["difference"]["changed"]
    assert (changed["name"], changed["before"]["version"], changed["after"]["version"]) == ("fruit", "1.0", "2.0")
    assert answer["overrides"] == [{"option": "set", "value": "fruit==2.0", "place": None}]
    (row, *_) = answer["comparison"]["shown"]
    (difference,) = row["differences"]
    assert (row["row"], difference["before"], difference["after"], difference["absolute"]) == (0, "2", "3", 1.0)


def test_an_answer_of_another_shape_is_different(shop: Kit, model: Path) -> None:
    done = run(shop, model, "--set", "fruit==4.0", code=10)
    assert "its one value differs" in done.stdout
    assert "the answer" in done.stdout


def test_infinities_are_no_nan(shop: Kit, make_fruity: MakeModel) -> None:
    model = make_fruity("5.0")
    assert "4 of 4 rows differ" in run(shop, model, "--set", "fruit==6.0", code=10).stdout


def test_an_overridden_environment_in_which_the_model_does_not_load_fails(shop: Kit, model: Path) -> None:
    done = run(shop, model, "--set", "fruit==3.0", "--report", model.parent / "report.md", code=11)
    assert done.stdout.startswith(
        "fails: the overridden environment does not load the model; in the model's own environment it predicts\n"
    )
    assert "error[model-not-loaded]" in done.stdout
    assert "fruit 3 is broken" in done.stdout
    report = (model.parent / "report.md").read_text()
    assert "## What failed: the overridden environment does not load the model" in report
    assert "Traceback (most recent call last)" in report
    _, answer = reported(shop, model, "--set", "fruit==3.0", code=11)
    failure = answer["environments"][1]["failure"]
    assert (failure["stage"], failure["error"]["code"]) == ("load", "model-not-loaded")
    assert failure["stderr"][-1] == "ImportError: fruit 3 is broken"


def test_an_override_that_cannot_be_locked_fails(shop: Kit, model: Path) -> None:
    done = run(shop, model, "--set", "fruit==9.0", code=11)
    assert "the overridden environment cannot be locked" in done.stdout
    assert "error[lock-unresolvable]" in done.stdout


def test_an_environment_that_cannot_be_built_fails(shop: Kit, model: Path) -> None:
    shop.lock(model, set=("fruit==7.0",))
    shop.index.served["fruit-7.0-py3-none-any.whl"] = fruit("7.0", "another = 1\n").content
    done = run(shop, model, "--set", "fruit==7.0", code=11)
    assert "the overridden environment cannot be built" in done.stdout
    assert "error[build-" in done.stdout


def test_a_model_that_raises_in_one_of_them_fails(shop: Kit, model: Path, tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text(json.dumps({"input": 0, "values": [1], "raises": ["2.0"]}))
    done = run(shop, model, "--set", "fruit==2.0", "--input", tmp_path / "in.json", code=11)
    assert "the overridden environment does not predict" in done.stdout
    assert "ValueError: no 2.0 today" in done.stdout
    both = json.dumps({"input": 0, "values": [1], "raises": ["1.0", "2.0"]})
    done = run(shop, model, "--set", "fruit==2.0", "--input", "-", code=11, input=both)
    assert "the model's own environment does not predict; the overridden environment does not predict" in done.stdout
    assert "standard input" in done.stdout


def test_where_the_own_environment_fails_the_ways_out_are_said_and_work(
    shop: Kit, make_fruity: MakeModel, tmp_path: Path
) -> None:
    model = make_fruity("3.0")
    words = ["--set", "fruit==2.0"]
    done = run(shop, model, *words, code=11)
    assert done.stdout.startswith(
        "fails: the model's own environment does not load the model, so there is nothing to compare with; "
        "in the overridden environment it predicts\nhint: --expected FILE"
    )
    done = run(shop, model, *words, "--only-overridden", code=0)
    assert done.stdout.startswith("works: the model is locked, built, loaded and predicts in the overridden")
    answer = tmp_path / "answer.json"
    environ = cli_environ(shop.home, shop.index.url)
    assert cli("predict", model, *words, "-o", answer, environ=environ).returncode == 0
    assert run(shop, model, *words, "--expected", answer, code=0).stdout.startswith("same: ")
    answer.write_text('{"predictions": [3, 7.5, 9, 1]}')
    done = run(shop, model, *words, "--expected", answer, code=10)
    assert "1 of 4 rows differs (3)" in done.stdout


def test_an_expected_answer_counts_without_an_override_too(shop: Kit, model: Path, tmp_path: Path) -> None:
    (tmp_path / "answer.json").write_text('{"predictions": [2, 5, 6, null]}')
    assert run(shop, model, "--expected", tmp_path / "answer.json", code=0).stdout.startswith("same: ")
    (tmp_path / "answer.json").write_text('{"predictions": [2, 5, 6]}')
    assert "3 rows became 4" in run(shop, model, "--expected", tmp_path / "answer.json", code=10).stdout


def test_an_override_that_leads_to_the_same_environment_is_said_so(shop: Kit, model: Path) -> None:
    done = run(shop, model, "--set", "fruit<1.1", "--report", model.parent / "report.json", code=0)
    assert done.stdout.startswith("same: the override leads to the very environment that the model has without it")
    assert done.stderr.count("fruit 1.0\n") == 1
    answer = json.loads((model.parent / "report.json").read_text())
    assert (answer["result"], answer["one_environment"], answer["comparison"]) == ("same", True, None)


@pytest.mark.slow
def test_another_python_is_an_override_as_well(shop: Kit, model: Path) -> None:
    done = run(shop, model, "--python", "3.9", code=0)
    assert "Python" in done.stdout
    assert "3.8." in done.stdout
    assert "3.9." in done.stdout
    assert "override   --python 3.9" in done.stdout


@pytest.mark.slow
def test_the_environments_stay_as_they_were(shop: Kit, model: Path) -> None:
    before = shop.build(model).environment
    run(shop, model, "--set", "fruit==2.0", code=10)
    after = shop.build(model)
    assert (after.environment, after.was_built) == (before, False)


@pytest.mark.parametrize("name", ["report.md", "report.json"])
def test_a_report_is_written_whole_or_not_at_all(shop: Kit, model: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    target.write_text("an older one")
    run(shop, model, "--set", "fruit==2.0", "--report", target, code=10)
    written = target.read_text()
    if name.endswith(".md"):
        assert written.startswith("# Check of model: different\n")
        assert "| 0 |  | `2` | `3` | 1 | 0.333 |" in written
    else:
        content = json.loads(written)
        assert (content["schema_version"], content["result"]) == (1, "different")
        printed = json.loads(run(shop, model, "--set", "fruit==2.0", "--json", code=10).stdout)
        assert set(printed) - set(content) == {"command", "ok", "notices"}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["model", name])


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--report", "report.txt"], 2, "error[usage]"),
        (["--report", "no/such/report.md"], 2, "error[usage]"),
        (["--tolerance", "-1"], 2, "error[usage]"),
        (["--tolerance", "nan"], 2, "error[usage]"),
        (["--expected", "no.json"], 6, "error[input-not-found]"),
        (["--expected", "model/MLmodel"], 6, "error[input-invalid]"),
        (["--input", "no.json"], 6, "error[input-not-found]"),
        (["--expected", "good.json", "--only-overridden"], 2, "error[usage]"),
    ],
)
def test_a_call_that_is_wrong_is_no_result(
    shop: Kit, model: Path, tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    (tmp_path / "good.json").write_text("[1]")
    done = run(shop, model, *words, code=code, cwd=tmp_path)
    assert done.stdout == ""
    assert said in done.stderr
    assert "resolving" not in done.stderr


def test_no_model_is_no_result(shop: Kit, tmp_path: Path) -> None:
    assert "error[model-not-found]" in run(shop, tmp_path / "none", code=3).stderr


def test_a_model_with_nothing_to_try_it_with_asks_for_an_input(shop: Kit, make_fruity: MakeModel) -> None:
    done = run(shop, make_fruity(more=""), code=2)
    assert "no signature says what it takes" in done.stderr
    assert "--input" in done.stderr


def test_an_input_made_from_the_signature_is_said_to_be_one(shop: Kit, make_fruity: MakeModel) -> None:
    tensor = {"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1]}}
    signature = f"signature:\n  inputs: '{json.dumps([tensor])}'\n"
    model = make_fruity(more=signature)
    done = run(shop, model, "--set", "fruit==2.0", code=10)
    assert "input      made from the model's signature" in done.stdout
    assert "5 of 5 rows differ" in done.stdout
    broken = make_fruity(
        name="broken", loader=LOADER.replace("return fruit.answer", "return nothing.answer"), more=signature
    )
    done = run(shop, broken, code=11)
    assert "the input was made from the signature, and may be none that the model takes" in done.stdout


def test_an_interruption_is_no_result_and_leaves_no_worker(shop: Kit, model: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "in.json").write_text(json.dumps({"input": 0, "values": [], "mark": str(mark)}))
    argv = [sys.executable, "-m", "envbuild", "check", model, "--set", "fruit==2.0", "--input", tmp_path / "in.json"]
    environ = cli_environ(shop.home, shop.index.url)
    process = subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    eventually(mark.exists, "the model predicts")
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "error[interrupted]" in err
    assert is_gone(int(mark.read_text()))


def test_a_check_from_python_gives_the_whole_result(shop: Kit, model: Path) -> None:
    given = {"home": shop.home, "index_url": shop.index.url, "python_downloads": False}
    found = envbuild.check(model, set=["fruit==2.0"], **given)
    assert (found.result, found.exit_code) == ("different", 10)
    assert found.tried[0].answer == [2, 5.0, 6, None]
    assert found.tried[1].answer == [3, 7.5, 9, None]
    assert found.comparison is not None
    assert found.comparison.differing == (0, 1, 2)
    assert found.difference is not None
    assert [one.name for one in found.difference.packages] == ["fruit"]
    rough = envbuild.check(model, set=["fruit==2.0"], tolerance=0.5, **given)
    assert (rough.result, rough.exit_code) == ("different", 10), "whole numbers are exact"
    data = {"input": 0, "values": [0.5, 1.5]}
    assert envbuild.check(model, data, set=["fruit==2.0"], tolerance=0.5, **given).result == "same"
    assert envbuild.check(model, data, expected=[1.0, 3.0], **given).result == "same"
    assert envbuild.check(model, data, expected={"predictions": [1.0, 3.5]}, **given).result == "different"
    alone = envbuild.check(model, only_overridden=True, set=["fruit==2.0"], **given)
    assert (alone.result, len(alone.tried)) == ("works", 1)


@pytest.mark.slow
def test_a_result_keeps_no_environment_in_use(shop: Kit, model: Path) -> None:
    settings = shop.settings(set=("fruit==3.0",))
    found = check.check(model, settings, stderr=lambda chunk: None)
    assert found.result == "fails"
    environ = cli_environ(shop.home, shop.index.url)
    for one in found.tried:
        assert one.lock is not None
        done = cli("envs", "rm", one.lock.hash, environ=environ)
        assert done.returncode == 0, done.stderr


def test_an_expected_answer_and_no_comparison_contradict_each_other(shop: Kit, model: Path) -> None:
    options = CheckOptions(expected=check.Expected(answer=[]), only_overridden=True)
    with pytest.raises(UsageError, match="compares nothing"):
        check.check(model, shop.settings(), options)


def test_a_given_input_is_told_by_its_kind(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("a\n1\n")
    from envbuild import sample

    assert sample.given(tmp_path / "in.csv") == Sample(
        kind="given", payload=b"a\n1\n", content_type="text/csv", text=str(tmp_path / "in.csv")
    )
