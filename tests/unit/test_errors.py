"""The error tree, as it is drawn."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from envbuild import errors
from envbuild.errors import EnvbuildError, Place

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, EnvbuildError) and kind is not EnvbuildError
]
DRAWN = re.compile(r"^    (?P<indent>[│ ]*)[├└]── (?P<name>\w+)\s+(?P<exit>\d+)\s+(?P<code>[a-z-]+)$", re.MULTILINE)


def drawn() -> dict[str, tuple[str, int, str]]:
    """Each class of the docstring's tree with its parent, exit code and code."""
    found: dict[str, tuple[str, int, str]] = {}
    line: list[str] = ["EnvbuildError"]
    for match in DRAWN.finditer(errors.__doc__ or ""):
        depth = len(match["indent"]) // 4 + 1
        line[depth:] = [match["name"]]
        found[match["name"]] = (line[depth - 1], int(match["exit"]), match["code"])
    return found


def test_the_tree_that_is_drawn_is_the_tree_of_classes() -> None:
    assert drawn() == {kind.__name__: (kind.__bases__[0].__name__, kind.exit_code, kind.code) for kind in CLASSES}


def test_every_class_has_a_code_of_its_own() -> None:
    assert len({kind.code for kind in CLASSES}) == len(CLASSES)
    assert all("code" in vars(kind) for kind in CLASSES)


def test_the_exit_codes_are_those_that_are_promised() -> None:
    found = {kind.__name__: kind.exit_code for kind in CLASSES if kind.__bases__[0] is EnvbuildError}
    assert found == {
        "InternalError": 1,
        "UsageError": 2,
        "ModelError": 3,
        "LockError": 4,
        "BuildError": 5,
        "InputError": 6,
        "ModelFailed": 7,
        "Stopped": 8,
        "Interrupted": 130,
    }


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_an_error_crosses_a_pickle_whole(kind: type[EnvbuildError]) -> None:
    error = kind("what", hint="do", place=Place("MLmodel", 3), details=["a", "b"])
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert again.to_dict() == error.to_dict()
    assert (again.place, str(again)) == (Place("MLmodel", 3), "MLmodel:3: what")


def test_the_form_for_programs_has_every_part() -> None:
    error = errors.SpecError("what", hint="do", place=Place("conda.yaml", 3), details=["a"])
    assert error.to_dict() == {
        "code": "spec-invalid",
        "exit_code": 4,
        "message": "what",
        "hint": "do",
        "place": {"file": "conda.yaml", "line": 3},
        "details": ["a"],
    }
    assert errors.SpecError("what").to_dict()["place"] is None


def test_a_place_without_a_line_is_the_file() -> None:
    assert str(Place("MLmodel")) == "MLmodel"
    assert str(errors.ModelError("what")) == "what"
