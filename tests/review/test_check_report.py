"""What a check says: on the terminal, as Markdown, as JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from envbuild.errors import ModelNotLoaded, ModelRaised, Unresolvable, UsageError
from envbuild.lock import BuildLock, Change, Lock, LockedPackage
from envbuild.review import comparison, difference, report
from envbuild.review.check import Checked, Failure, Stage, Tried
from envbuild.review.comparison import Tolerance
from envbuild.sample import Sample
from envbuild.target import Target

SECONDS: dict[Stage, float] = {"lock": 0.84, "build": 12.3, "load": 1.5, "predict": 0.04}


def package(name: str, version: str, file: str = "") -> LockedPackage:
    sha256 = (file or name + version).encode().hex().ljust(64, "0")[:64]
    return LockedPackage(name=name, version=version, kind="wheel", sha256=sha256, file_name=f"{name}-{version}.whl")


def lock(*packages: LockedPackage, python: str = "3.8.18", build: tuple[BuildLock, ...] = ()) -> Lock:
    return Lock(python=python, target=Target("cp38", "manylinux_2_31_x86_64"), packages=packages, build=build)


NUMPY = package("numpy", "1.21.6")
OWN = Tried(
    which="own",
    lock=lock(NUMPY, package("pandas", "1.3.5"), package("six", "1.16.0")),
    path=Path("/store/own"),
    python="3.8.18",
    was_built=True,
    seconds=SECONDS,
    answer=[{"p": 0.25, "label": "no"}, {"p": 0.5, "label": "no"}, {"p": 0.75, "label": "yes"}],
)
OVERRIDDEN = Tried(
    which="overridden",
    lock=lock(NUMPY, package("pandas", "1.4.4"), package("pytz", "2022.1")),
    path=Path("/store/overridden"),
    python="3.8.18",
    seconds=SECONDS,
    answer=[{"p": 0.25, "label": "no"}, {"p": 0.5001, "label": "no"}, {"p": 0.75, "label": "a|b `c`"}],
)
EXAMPLE = Sample(
    kind="example", payload=b"{}", content_type="application/json", text="the model's input example x.json"
)


def checked(**changes: Any) -> Checked:
    compared = comparison.compare(OWN.answer, OVERRIDDEN.answer, Tolerance())
    given: dict[str, Any] = {
        "model": Path("/models/heart"),
        "result": "different",
        "sample": EXAMPLE,
        "tolerance": Tolerance(),
        "overrides": (Change(option="set", text="pandas==1.4.4"),),
        "tried": (OWN, OVERRIDDEN),
        "comparison": compared,
    }
    given.update(changes)
    locks = [(one.which, one.lock) for one in given["tried"] if one.lock is not None]
    if len(locks) == 2:
        sides = [difference.side_of_lock(one, which) for which, one in locks]
        given.setdefault("difference", difference.of(*sides))
    return Checked(**given)


GOLDEN = """\
# Check of heart: different

The overridden environment does not answer as the model's own environment does: 2 of 3 rows differ (1-2); the largest difference is 0.0001, 0.0002 of the larger value.

|  |  |
| --- | --- |
| model | `/models/heart` |
| input | `the model's input example x.json` |
| override | `--set pandas==1.4.4` |
| tolerance | `1e-06 of the larger value, or 1e-09` |

## Environments

|  | own | overridden |
| --- | --- | --- |
| Python | 3.8.18 | 3.8.18 |
| lock hash | FIRST_HASH__ | SECOND_HASH_ |
| packages | 3 | 3 |
| lock | 0.84 s | 0.84 s |
| build | 12.30 s | there already |
| load | 1.50 s | 1.50 s |
| predict | 0.04 s | 0.04 s |

## Packages that differ

|  | package | own | overridden |
| --- | --- | --- | --- |
| ~ | pandas | 1.3.5 | 1.4.4 |
| + | pytz |  | 2022.1 |
| - | six | 1.16.0 |  |

## Rows that differ

| row | where | own | overridden | absolute | relative |
| --- | --- | --- | --- | --- | --- |
| 1 | `.p` | `0.5` | `0.5001` | 0.0001 | 0.0002 |
| 2 | `.label` | `"yes"` | ``"a\\|b `c`"`` |  |  |
"""


def hashed(golden: str) -> str:
    """With the lock hashes, which are no part of what is tested here."""
    for mark, one in (("FIRST_HASH__", OWN), ("SECOND_HASH_", OVERRIDDEN)):
        assert one.lock is not None
        golden = golden.replace(mark, one.lock.hash[:12])
    return golden


def test_the_report_in_markdown() -> None:
    assert report.markdown(checked()) == hashed(GOLDEN)


GOLDEN_TEXT = """\
different: the overridden environment does not answer as the model's own environment does: 2 of 3 rows differ (1-2); the largest difference is 0.0001, 0.0002 of the larger value

  model      /models/heart
  input      the model's input example x.json
  override   --set pandas==1.4.4
  tolerance  1e-06 of the larger value, or 1e-09

             own           overridden
  Python     3.8.18        3.8.18
  lock hash  FIRST_HASH__  SECOND_HASH_
  packages   3             3
  lock       0.84 s        0.84 s
  build      12.30 s       there already
  load       1.50 s        1.50 s
  predict    0.04 s        0.04 s

packages that differ
  ~  pandas  1.3.5   1.4.4
  +  pytz            2022.1
  -  six     1.16.0

rows that differ
  row  where   own    overridden  absolute  relative
  1    .p      0.5    0.5001      0.0001    0.0002
  2    .label  "yes"  "a|b `c`"
"""


def test_what_the_terminal_shows() -> None:
    assert report.text(checked()) == hashed(GOLDEN_TEXT).rstrip("\n")


LOAD_FAILURE = Failure(
    stage="load",
    error=ModelNotLoaded("the model could not be loaded: ImportError: no ```soup```", hint="the traceback is there"),
    stderr=("Traceback (most recent call last):", "ImportError: no ```soup``` <b>"),
)


def failing(one: Tried, stage: Stage = "load", failure: Failure = LOAD_FAILURE) -> Tried:
    seconds = {
        name: taken for name, taken in SECONDS.items() if name in list(SECONDS)[: list(SECONDS).index(stage) + 1]
    }
    return replace(one, answer=None, seconds=seconds, failure=replace(failure, stage=stage))


def failed(*tried: Tried, **more: Any) -> Checked:
    return checked(result="fails", tried=tried, comparison=None, **more)


def test_a_failure_is_told_with_what_the_model_printed() -> None:
    said = report.markdown(failed(OWN, failing(OVERRIDDEN)))
    assert said.startswith(
        "# Check of heart: fails\n\nThe overridden environment does not load the model; "
        "in the model's own environment it predicts.\n"
    )
    assert "| load | 1.50 s | failed |\n| predict | 0.04 s |  |\n" in said
    section = said.partition("## What failed: the overridden environment does not load the model\n\n")[2]
    assert section.startswith(
        "`model-not-loaded`\n\n````text\nthe model could not be loaded: ImportError: no ```soup```\n````\n\n"
        "The traceback is there.\n\nThe last lines that the model printed:\n\n"
        "````text\nTraceback (most recent call last):\nImportError: no ```soup``` <b>\n````\n"
    )


@pytest.mark.parametrize(
    ("tried", "headline", "hint"),
    [
        (
            (OWN, failing(OVERRIDDEN, "lock")),
            "the overridden environment cannot be locked; in the model's own environment it predicts",
            None,
        ),
        (
            (failing(OWN, "build"), OVERRIDDEN),
            "the model's own environment cannot be built, so there is nothing to compare with; "
            "in the overridden environment it predicts",
            "--expected FILE",
        ),
        (
            (failing(OWN, "predict"), failing(OVERRIDDEN, "load")),
            "the model's own environment does not predict; the overridden environment does not load the model",
            None,
        ),
        ((failing(OWN, "load"),), "the model's own environment does not load the model", None),
        ((failing(OVERRIDDEN, "predict"),), "the overridden environment does not predict", None),
    ],
)
def test_what_failed_is_the_first_thing_said(tried: tuple[Tried, ...], headline: str, hint: str | None) -> None:
    found = failed(*tried)
    assert report.headline(found) == headline
    advice = report.advice(found)
    assert advice is None if hint is None else hint in (advice or "")
    assert report.text(found).startswith(f"fails: {headline}\n")


def test_an_input_that_was_made_up_is_suspected_first() -> None:
    made = replace(EXAMPLE, kind="generated", text="made from the model's signature")
    raised = Failure(stage="predict", error=ModelRaised("the model's predict raised an exception: KeyError: 'a'"))
    found = failed(failing(OWN, "predict", raised), failing(OVERRIDDEN, "predict", raised), sample=made)
    assert "--input gives one" in report.text(found)
    assert report.advice(failed(OWN, failing(OVERRIDDEN, "load"), sample=made)) is None


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ([1.0, 2.0], [1.0, 2.0], "2 rows, equal"),
        ([1.0], [1.0 + 1e-8], "1 row, equal within the tolerance; the largest difference is 1e-08"),
        ([], [], "without a single row"),
        ({"a": 1.0, "b": [2.0]}, {"a": 1.0, "b": [2.0]}, "2 values, equal"),
    ],
)
def test_how_equal_two_answers_are_is_said(before: Any, after: Any, said: str) -> None:
    compared = comparison.compare(before, after, Tolerance())
    headline = report.headline(checked(result="same", comparison=compared))
    assert headline.startswith("the overridden environment answers as the model's own environment does: ")
    assert said in headline


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ([1, 2, 3], [1, 2], "3 rows became 2; 1 of 3 rows differs (2)"),
        ([1], [2], "its one row differs (0)"),
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, "1 of 2 values differs"),
        (
            list(range(60)),
            [n + n % 2 for n in range(60)],
            "30 of 60 rows differ (1, 3, 5, 7, 9, 11, 13, 15, 17, 19, …)",
        ),
    ],
)
def test_how_much_differs_is_said(before: Any, after: Any, said: str) -> None:
    compared = comparison.compare(before, after, Tolerance())
    found = checked(comparison=compared)
    assert said in report.headline(found)
    left_out = len(compared.differing) - 10
    assert (f"and {left_out} more rows" in report.markdown(found)) == (left_out > 0)


def test_many_differences_in_a_row_are_counted() -> None:
    compared = comparison.compare([list(range(9))], [list(range(1, 10))], Tolerance())
    assert "and 4 more" in report.text(checked(comparison=compared))


def test_an_expected_answer_is_named_in_place_of_the_own_environment() -> None:
    found = checked(tried=(OVERRIDDEN,), expected="answer.json")
    assert report.headline(found).startswith("the overridden environment does not answer as answer.json does: ")
    assert "| row | where | expected | overridden | absolute | relative |" in report.markdown(found)
    assert "| expected | `answer.json` |" in report.markdown(found)


def test_the_same_release_from_another_file_is_shown_with_its_file() -> None:
    other = replace(OVERRIDDEN, lock=lock(NUMPY, package("pandas", "1.3.5", "another"), package("six", "1.16.0")))
    said = report.text(checked(tried=(OWN, other)))
    assert "pandas  1.3.5 (pandas-1.3.5.whl, 70616e646173)  1.3.5 (pandas-1.3.5.whl, 616e6f746865)" in said


def test_what_an_sdist_is_built_with_is_shown() -> None:
    def built_with(version: str) -> Lock:
        return lock(NUMPY, build=(BuildLock(builds=("numpy",), packages=(package("cython", version),)),))

    tried = (replace(OWN, lock=built_with("0.29.1")), replace(OVERRIDDEN, lock=built_with("0.29.2")))
    assert "~  cython (builds numpy)  0.29.1  0.29.2" in report.text(checked(tried=tried))


def test_json_has_the_same_and_no_bare_nan() -> None:
    content = report.to_dict(checked())
    json.dumps(content, allow_nan=False)
    assert (content["result"], content["exit_code"], content["one_environment"]) == ("different", 10, False)
    assert content["comparison"]["rows_differing"] == [1, 2]
    assert content["comparison"]["shown"][0] == {
        "row": 1,
        "differences": [
            {
                "where": ".p",
                "kind": "value",
                "before": "0.5",
                "after": "0.5001",
                "absolute": pytest.approx(1e-4),
                "relative": pytest.approx(2e-4, rel=1e-3),
            }
        ],
        "more": 0,
    }
    failure = report.to_dict(failed(OWN, failing(OVERRIDDEN)))["environments"][1]["failure"]
    assert (failure["stage"], failure["error"]["code"]) == ("load", "model-not-loaded")


def test_a_report_has_no_secret_and_is_valid_utf_8(tmp_path: Path) -> None:
    secret = "https://user:canary@index.example/simple"
    error = Unresolvable(f"{secret} has nothing", details=(secret, "\udc80"))
    for name in ("report.md", "report.json", "report.MD"):
        report.write(failed(OWN, failing(OVERRIDDEN, "lock", Failure(stage="lock", error=error))), tmp_path / name)
        written = (tmp_path / name).read_text(encoding="utf-8")
        assert "canary" not in written
        assert "index.example" in written
        assert written.endswith(("\n", "}\n"))


@pytest.mark.parametrize("name", ["report", "report.txt", "report.html"])
def test_the_ending_says_which_report_it_is(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="does not say what report"):
        report.check_name(tmp_path / name)
    report.check_name(None)
