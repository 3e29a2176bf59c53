"""The repairs, without uv: what the model says goes in, or what uv said of it with what an index holds."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_sdist_filename, parse_wheel_filename
from samples import PLAIN, REPO, WITH_BOTH, WITH_CONDA, asked_for, codes, pip_list, spec_of

from envbuild import projects
from envbuild.asof import Ask, AsOf
from envbuild.errors import Place, UsageError
from envbuild.indexes import Indexes
from envbuild.interpreters import Interpreter
from envbuild.lock import PYTHON_REPAIRS
from envbuild.model import Notice
from envbuild.projects import File, Project
from envbuild.python_demand import PythonDemand
from envbuild.question import Question
from envbuild.repairs import packages, reading, releases, resolving, wheels
from envbuild.repairs.attempt import BUILD_FLOOR, BUILD_TOOLS, AnotherPython, Attempt, Failure
from envbuild.repairs.reading import mend
from envbuild.repairs.rules import RULES, Switch
from envbuild.requirement import Demand
from envbuild.settings import Settings
from envbuild.spec import EnvironmentSpec
from envbuild.target import here

SAFE, ALL, NONE = Switch(level="safe"), Switch(level="all"), Switch(level="none")
CUT = datetime(2021, 6, 16, 12, tzinfo=timezone.utc)
BEFORE, AFTER = datetime(2021, 1, 1, tzinfo=timezone.utc), datetime(2021, 6, 17, tzinfo=timezone.utc)

# The switch


def of(**given: Any) -> Switch:
    return Switch.of(Settings.from_environ({}, home=Path("nowhere"), **given))


SAFE_NAMES = sorted(name for name, rule in RULES.items() if rule.safe)


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ({}, SAFE_NAMES),
        ({"repair": "safe"}, SAFE_NAMES),
        ({"repair": "all"}, sorted(RULES)),
        ({"repair": "none"}, []),
        ({"allow_repair": ("nearest-release",)}, sorted([*SAFE_NAMES, "nearest-release"])),
        ({"repair": "none", "allow_repair": ("dead-index",)}, ["dead-index"]),
        ({"deny_repair": ("dead-index",)}, [name for name in SAFE_NAMES if name != "dead-index"]),
        ({"repair": "all", "deny_repair": ("double-pin",)}, sorted(RULES.keys() - {"double-pin"})),
        ({"repair": "none", "allow_repair": ("double-pin",), "deny_repair": ("double-pin",)}, []),
    ],
)
def test_a_level_decides_unless_a_rule_is_named_and_a_refusal_wins(given: dict[str, Any], allowed: list[str]) -> None:
    switch = of(**given)
    assert switch.key() == allowed
    assert [name for name in sorted(RULES) if switch.allows(name)] == allowed


@pytest.mark.parametrize("setting", ["allow_repair", "deny_repair"])
def test_a_rule_that_there_is_not_is_a_usage_error_that_names_those_there_are(setting: str) -> None:
    with pytest.raises(UsageError, match="'newest-release'") as failure:
        of(**{setting: ("dead-index", "newest-release")})
    assert "nearest-release" in (failure.value.hint or "")


def test_everything_but_what_is_refused() -> None:
    assert of(deny_repair=("double-pin",)).everything().key() == sorted(RULES.keys() - {"double-pin"})


# The names


def _calls() -> Iterator[tuple[str, ast.Call]]:
    others = [REPO / "envbuild" / "resolvers" / name for name in ("uv.py", "trying.py")]
    for path in (*sorted((REPO / "envbuild" / "repairs").glob("*.py")), *others):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield getattr(node.func, "attr", getattr(node.func, "id", "")), node


def _texts(call: ast.Call) -> list[str]:
    given = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "code")]
    return [node.value for node in given[:2] if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def test_every_rule_is_asked_for_leave_and_every_code_is_a_rules() -> None:
    asked = {name for name, _ in resolving._RULES} | set(reading._RULES)
    noted: set[str] = set()
    for name, call in _calls():
        if name == "allows":
            asked |= set(_texts(call))
        elif name in ("noting", "Notice", "_left_out", "_changed", "_ask_for"):
            noted |= set(_texts(call)[:1])
    assert asked == set(RULES)
    assert noted == set(RULES)
    assert set(PYTHON_REPAIRS) <= set(RULES)


def test_the_documentation_lists_every_rule_and_which_need_consent() -> None:
    text = (REPO / "docs" / "repairs.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (consent|nothing: safe) \|", text, re.MULTILINE)
    assert {name: needs != "consent" for name, needs in rows} == {name: rule.safe for name, rule in RULES.items()}


# What the model says


def spec(folder: Path, *lines: str) -> EnvironmentSpec:
    return spec_of(folder, PLAIN, {"requirements.txt": "\n".join(lines)})


@pytest.mark.parametrize(
    ("code", "lines", "mended"),
    [
        ("foreign-platform", ["six", "pywin32==300", "attrs"], ["six", "attrs"]),
        ("foreign-platform", ["pyobjc-framework-Cocoa==7.3", "six"], ["six"]),
        ("foreign-platform", ["six", "tensorflow-intel==2.13.0"], ["six", "tensorflow==2.13.0"]),
        ("foreign-platform", ["tensorflow-macos>=2.9,<2.12", "six"], ["tensorflow<2.12,>=2.9", "six"]),
        ("foreign-platform", ["tensorflow-intel==2.13.0", "tensorflow==2.13.0"], ["tensorflow==2.13.0"]),
        ("dummy-package", ["attrs", "sklearn", "six"], ["attrs", "scikit-learn", "six"]),
        ("dummy-package", ["sklearn==0.0", "six"], ["scikit-learn", "six"]),
        ("dummy-package", ["sklearn==0.0.post1"], ["scikit-learn"]),
        ("dummy-package", ["sklearn==0.24.1", "six"], ["scikit-learn==0.24.1", "six"]),
        ("dummy-package", ["sklearn==0.0 ; python_version > '2'"], ['scikit-learn; python_version > "2"']),
        ("dummy-package", ["sklearn", "scikit-learn==0.24.1"], ["scikit-learn==0.24.1"]),
        ("dummy-package", ["six", "scikit-learn==0.0"], ["six", "scikit-learn"]),
        ("dummy-package", ["scikit-learn==0.0", "scikit-learn==0.24.1"], ["scikit-learn==0.24.1"]),
        ("dummy-package", ["six", "pkg-resources==0.0.0", "attrs"], ["six", "attrs"]),
        ("dummy-package", ["pkg_resources==0.0.0"], []),
    ],
)
def test_what_is_no_package_of_this_machine_is_put_right_in_its_place(
    tmp_path: Path, code: str, lines: list[str], mended: list[str]
) -> None:
    asked = spec(tmp_path, *lines)
    found, notices = mend(asked, SAFE)
    assert asked_for(found) == mended
    assert codes(notices) == [code]
    assert str(notices[0].place).startswith(f"{tmp_path}/requirements.txt:")
    names = {canonicalize_name(Requirement(text).name) for text in mended}
    assert {demand.name for demand in found.demands if demand.place is not None} == names


@pytest.mark.parametrize(
    "lines",
    [
        ["pywin32==300 ; sys_platform == 'win32'", "tensorflow-intel==2.13.0 ; sys_platform == 'win32'"],
        ["scikit-learn==0.24.1", "tensorflow==2.13.0", "pyobjectid", "setuptools"],
        ["sklearn @ https://files.example/sklearn-0.0.tar.gz"],
    ],
    ids=["markers", "packages", "an address"],
)
def test_what_can_be_meant_is_left_alone(tmp_path: Path, lines: list[str]) -> None:
    asked = spec(tmp_path, *lines)
    assert mend(asked, ALL) == (asked, ())


@pytest.mark.parametrize("switch", [of(repair="none"), of(repair="all", deny_repair=("foreign-platform",))])
def test_nothing_is_mended_by_a_rule_that_is_refused(tmp_path: Path, switch: Switch) -> None:
    asked = spec(tmp_path, "pywin32==300", "tensorflow-intel==2.13.0")
    assert mend(asked, switch) == (asked, ())


def with_tools(folder: Path, tools: str, *lines: str) -> EnvironmentSpec:
    python_env = f"python: 3.8.5\nbuild_dependencies: [{tools}]\ndependencies: [-r requirements.txt]\n"
    files = {"python_env.yaml": python_env, "conda.yaml": "{}", "requirements.txt": "\n".join(lines)}
    return spec_of(folder, WITH_BOTH, files)


@pytest.mark.parametrize("lines", [["mlflow==2.14.3"], ["mlflow"], ["mlflow-skinny>=1.20"]])
def test_an_old_mlflow_gets_the_setuptools_that_its_build_tools_leave_out(tmp_path: Path, lines: list[str]) -> None:
    asked = with_tools(tmp_path, "pip==21.1", "six", *lines)
    found, notices = mend(asked, SAFE)
    assert [demand.text for demand in found.demands] == [*(demand.text for demand in asked.demands), "setuptools"]
    assert (found.demands[-1].origin, codes(notices)) == ("build", ["setuptools-added"])
    assert mend(asked, of(deny_repair=("setuptools-added",))) == (asked, ())


@pytest.mark.parametrize(
    ("tools", "lines"),
    [("pip", ["mlflow==2.15.0"]), ("pip, setuptools==58", ["mlflow==1.30.0"]), ("pip", ["six"]), ("", ["setuptools"])],
)
def test_nobody_else_gets_it(tmp_path: Path, tools: str, lines: list[str]) -> None:
    asked = with_tools(tmp_path, tools, *lines)
    assert mend(asked, ALL) == (asked, ())


def test_a_python_too_old_is_replaced_with_consent_alone(tmp_path: Path) -> None:
    asked = spec_of(tmp_path, WITH_CONDA, {"conda.yaml": pip_list("six", python="3.5.2")})
    assert mend(asked, SAFE) == (asked, ())
    found, notices = mend(asked, of(allow_repair=("python-too-old",)))
    assert found.python == PythonDemand(text="3.6", place=asked.python.place, source="conda.yaml")
    assert (codes(notices), notices[0].place) == (["python-too-old"], asked.python.place)
    young = spec_of(tmp_path, WITH_CONDA, {"conda.yaml": pip_list("six", python="3.6.1")})
    assert mend(young, ALL) == (young, ())


# What uv 0.13.8 says

NO_VERSION = (
    "Because there is no version of {0} and you require {0}, we can conclude that your requirements are unsatisfiable."
)
NOT_FOUND = (
    "Because {0} was not found in the package registry and you require {0}, "
    "we can conclude that your requirements are unsatisfiable."
)
NOT_CACHED = (
    "Because {0} was not found in the cache and you require {0}, we can conclude that your requirements are "
    "unsatisfiable.\n\nhint: Packages were unavailable because the network was disabled. When the network is disabled, "
    "registry packages may only be read from the cache."
)
OTHER_PLATFORM = (
    "Because {0} has no wheels with a matching platform tag (e.g., `manylinux_2_36_x86_64`) and you require {0}, "
    "we can conclude that your requirements are unsatisfiable."
)
OTHER_PYTHON = (
    "Because {0} has no wheels with a matching Python ABI tag (e.g., `cp310`) and you require {0}, "
    "we can conclude that your requirements are unsatisfiable."
)
NO_WHEELS = (
    "Because scikit-learn==0.23.2 has no usable wheels and you require scikit-learn==0.23.2, we can conclude that your "
    "requirements are unsatisfiable.\n\nhint: Wheels are required for `scikit-learn` because building from source is "
    "disabled for `scikit-learn` (i.e., with `--no-build-package scikit-learn`)"
)
CONFLICT = (
    "Because jupyter-client>=7.3.5 depends on tornado>=6.2 and you require jupyter-client==7.3.5, we can conclude that "
    "you require tornado>=6.2.\nAnd because you require tornado==6.1, we can conclude that your requirements are "
    "unsatisfiable."
)
CONFLICT_OF_ALL = (
    "Because all versions of jupyter-client depend on tornado>=6.2 and you require jupyter-client==7.3.5, we can "
    "conclude that you require tornado>=6.2.\nAnd because you require tornado==6.1, we can conclude that your "
    "requirements are unsatisfiable."
)
RANGES = (
    "Because all versions of jupyter-client depend on tornado>=6.2 and you require jupyter-client, we can conclude that "
    "you require tornado>=6.2.\nAnd because you require tornado<6.2, we can conclude that your requirements are "
    "unsatisfiable."
)
TWICE = "Because you require six==1.15.0 and six==1.16.0, we can conclude that your requirements are unsatisfiable."
WANTS_39 = (
    "Because the requested Python version (>=3.8) does not satisfy Python>=3.9 and numpy==2.0.0 depends on Python>=3.9, "
    "we can conclude that numpy==2.0.0 cannot be used."
)
WANTS_PATCH = (
    "Because the requested Python version (>=3.8.1) does not satisfy Python>=3.8.5 and six==1.16.0 depends on "
    "Python>=3.8.5, we can conclude that six==1.16.0 cannot be used."
)
FILE_WANTS_PATCH = (
    "Because six==1.16.0 requires Python >=3.8.2, !=3.8.5 and you require six==1.16.0, we can conclude that your "
    "requirements are unsatisfiable."
)
NOT_BUILT = (
    "error: Failed to build `lightfm==1.16`\n  cause: The build backend returned an error\n  cause: Call to "
    "`setuptools.build_meta:__legacy__.get_requires_for_build_wheel` failed (exit status: 1)\n\n[stderr]\nTraceback (most "
    "recent call last):\n  File \"<string>\", line 13, in <module>\nModuleNotFoundError: No module named 'numpy'\n"
)
FILTERED = (
    "hint: `{0}` was filtered by `exclude-newer` to only include packages uploaded before 2018-09-06T00:00:00Z. The "
    "latest version satisfying the requirement is v84.2.1, published at 2026-10-20T19:01:35.678Z. Consider using "
    "`exclude-newer-package` to override the cutoff for this package."
)
REQUESTED = (
    "hint: `{0}` was filtered by `exclude-newer` to only include packages uploaded before 2021-06-16T12:00:00Z. The "
    "requested version, v3.0, was published at 2021-06-17T00:00:00Z. Consider using `exclude-newer-package` to override "
    "the cutoff for this package."
)
NO_DATE = (
    "warning: six-1.16.0-py2.py3-none-any.whl is missing an upload date, but user provided: 2021-06-16T12:00:00Z\n"
    "error: No solution found when resolving dependencies"
)
DEAD = (
    "error: Request failed after 3 retries in 7.6s\n  cause: Failed to fetch: http://127.0.0.1:9/simple/six/\n"
    "  cause: error sending request for url (http://127.0.0.1:9/simple/six/)"
)


def demand(text: str) -> Demand:
    name = canonicalize_name(Requirement(text).name)
    return Demand(text=text, kind="index", name=name, origin="pip", place=Place("requirements.txt", 1))


def file(name: str, uploaded: datetime | None = BEFORE, requires_python: str | None = None) -> File:
    return File(name, uploaded, requires_python)


def compiled(release: str, python: str = "3.8", uploaded: datetime = BEFORE) -> File:
    """A wheel for one Python on this machine; ``numpy-1.0`` is its release."""
    target = here(python)
    abi = f"{target.python}m" if target.version < (3, 8) else target.python
    return file(f"{release}-{target.python}-{abi}-{target.platform}.whl", uploaded)


def index(*files: File | str) -> Ask:
    """What an index with these files says."""
    held: dict[str, list[File]] = {}
    for one in files:
        known = file(one) if isinstance(one, str) else one
        is_wheel = known.name.endswith(".whl")
        name = parse_wheel_filename(known.name)[0] if is_wheel else parse_sdist_filename(known.name)[0]
        held.setdefault(name, []).append(known)

    def ask(names: Iterable[str]) -> Mapping[str, Project]:
        found = {name: projects._by_version(held[name]) for name in names if name in held}
        dated = {name: {v: projects._first_upload(fs) for v, fs in of.items()} for name, of in found.items()}
        return {name: Project(name, dated[name], of) for name, of in found.items()}

    return ask


def question(
    *lines: str | Demand, python: str = "3.8", source: str = "conda.yaml", patch: str = "", **more: Any
) -> Question:
    demands = tuple(demand(line) if isinstance(line, str) else line for line in lines)
    asked = EnvironmentSpec(
        model=Path("model"),
        python=PythonDemand(text=python, place=Place("conda.yaml", 2), source=source),
        demands=demands,
        constraints=(),
        index_lines=(),
        created=None,
        versions_stated=(),
        notices=(),
    )
    given = {name: more.pop(name) for name in ("offline", "no_build", "python_policy") if name in more}
    return Question(
        spec=asked,
        target=here(python),
        interpreter=Interpreter(executable="python", version=patch or f"{python}.18", abi="", platform="linux-x86_64"),
        as_of=AsOf(instant=more.pop("cut", CUT), reason="as asked"),
        indexes=Indexes(**more),
        settings=Settings.from_environ({}, home=Path("nowhere"), **given),
    )


def failed(words: str, *lines: str | Demand, ask: Ask | None = None, **more: Any) -> Failure:
    """The first try at some requirements, which uv said these words of."""
    attempt = {name: more.pop(name) for name in ("cuts", "wheels_only", "overrides") if name in more}
    asked = question(*lines, **more)
    tried = replace(resolving.first_attempt(asked, NONE), **attempt)
    return Failure(attempt=tried, words=words, question=asked, ask=ask or index())


def only(*names: str) -> Switch:
    return Switch(level="none", allowed=frozenset(names))


def answer(failure: Failure, *names: str) -> Attempt:
    """What the rules named make of a failure."""
    following = resolving.next_attempt(failure, only(*names))
    assert following is not None
    assert set(codes(following.notices)) <= set(names)
    return following


def outcome(failure: Failure, switch: Switch) -> Attempt | AnotherPython | None:
    try:
        return resolving.next_attempt(failure, switch)
    except AnotherPython as other:
        return other


def texts(attempt: Attempt) -> list[str]:
    return [one.text for one in attempt.demands]


FOUND = ("six-1.16.0-py3-none-any.whl", "attrs-21.2.0-py3-none-any.whl")
MLFLOW = Demand(text="mlflow==1.30.99", kind="index", name="mlflow", origin="mlflow", place=None)

# For each rule that answers a failure, one that it answers.
FAILURES: dict[str, Callable[[], Failure]] = {
    "no-upload-times": lambda: failed(NO_DATE, "six"),
    "dead-index": lambda: failed(
        DEAD, "six", extra=("http://127.0.0.1:9/simple",), from_model=("http://127.0.0.1:9/simple",)
    ),
    "mlflow-not-on-index": lambda: failed(
        NO_VERSION.format(MLFLOW.text), MLFLOW, ask=index("mlflow-1.30.0-py3-none-any.whl")
    ),
    "younger-pin": lambda: failed(
        NO_VERSION.format("six==1.16.0"), "six==1.16.0", ask=index(file("six-1.16.0-py3-none-any.whl", AFTER))
    ),
    "younger-need": lambda: failed(
        "Because only beta==1.0 is available and alpha>=3.0 depends on beta>=3, we can conclude that alpha>=3.0 cannot "
        "be used.\n" + FILTERED.format("beta"),
        "alpha==3.0",
        cuts={"alpha": AFTER},
    ),
    "later-patch": lambda: failed(WANTS_PATCH, "six==1.16.0", python="3.8.1", patch="3.8.18"),
    "conda-tool": lambda: failed(NOT_FOUND.format("conda"), "conda==22.9.0"),
    "standard-library": lambda: failed(NOT_FOUND.format("json"), "json"),
    "foreign-platform": lambda: failed(
        OTHER_PLATFORM.format("xyz-win==1.0"), "xyz-win==1.0", ask=index("xyz_win-1.0-cp38-cp38-win_amd64.whl")
    ),
    "local-version": lambda: failed(
        NO_VERSION.format("torch==1.9.0+cu102"), "torch==1.9.0+cu102", ask=index("torch-1.9.0-py3-none-any.whl")
    ),
    "python-by-wheels": lambda: failed(
        OTHER_PYTHON.format("numpy==1.0"), "numpy==1.0", source="inferred", ask=index(compiled("numpy-1.0", "3.9"))
    ),
    "neighbouring-python": lambda: failed(
        OTHER_PYTHON.format("numpy==1.0"), "numpy==1.0", ask=index(compiled("numpy-1.0", "3.9"))
    ),
    "nearest-release": lambda: failed(
        NO_VERSION.format("tensorflow==2.4.0rc0"),
        "tensorflow==2.4.0rc0",
        ask=index("tensorflow-2.4.0-py3-none-any.whl"),
    ),
    "missing-package": lambda: failed(NOT_FOUND.format("nowhere"), "nowhere", "six", ask=index(*FOUND)),
    "double-pin": lambda: failed(TWICE, "six==1.15.0", "attrs", "six==1.16.0"),
    "wheels-first": lambda: failed(
        NO_WHEELS,
        "scikit-learn==0.23.2",
        wheels_only=frozenset({"scikit-learn", "numpy"}),
        ask=index("scikit-learn-0.23.2.tar.gz"),
    ),
    "build-needs": lambda: failed(NOT_BUILT, "lightfm==1.16"),
    "pins-as-they-are": lambda: failed(
        CONFLICT,
        "jupyter-client==7.3.5",
        "tornado==6.1",
        ask=index("jupyter_client-7.3.5-py3-none-any.whl", "tornado-6.1.tar.gz"),
    ),
    "loose-range": lambda: failed(RANGES, "jupyter-client", "tornado[fast]<6.2"),
}


def test_there_is_a_failure_for_every_rule_that_answers_one() -> None:
    assert FAILURES.keys() == {name for name, _ in resolving._RULES}


@pytest.mark.parametrize("name", FAILURES)
def test_a_rule_answers_its_failure_only_where_it_may_and_is_offered_where_not(name: str) -> None:
    failure = FAILURES[name]()
    before = replace(failure.attempt)
    # What it would do is said, nothing is done.
    offered = resolving.offers(failure, NONE)
    assert name in codes(offered)
    assert (failure.attempt, failure.attempt.notices) == (before, ())
    assert name not in codes(resolving.offers(failure, only(name)))
    denied = Switch(level="none", denied=frozenset({name}))
    assert name not in codes(resolving.offers(failure, denied))
    assert resolving.next_attempt(failure, denied) is None
    assert resolving.next_attempt(failure, NONE) is None
    following = outcome(failure, only(name))
    assert isinstance(following, AnotherPython) == (name in PYTHON_REPAIRS)
    if isinstance(following, AnotherPython):
        assert following.notice in offered
        return
    assert following is not None
    assert codes(following.notices) == [name]
    assert following.notices[0] in offered
    assert following != failure.attempt


@pytest.mark.parametrize("name", FAILURES)
def test_no_rule_answers_what_it_knows_nothing_of(name: str) -> None:
    ask = index("six-1.15.0-py3-none-any.whl", "six-1.16.0-py3-none-any.whl", "attrs-21.2.0.tar.gz")
    failure = failed("error: uv fell over", "six==1.16.0", "attrs>=20", ask=ask)
    assert resolving.next_attempt(failure, only(name)) is None


def test_offers_name_each_rule_once_with_what_it_would_do() -> None:
    failure = failed(NOT_FOUND.format("nowhere"), "nowhere", "elsewhere==1.0")
    (offer,) = resolving.offers(failure, SAFE)
    assert (offer.code, offer.message) == ("missing-package", "nowhere is not on the index; it is left out")


# What is known beforehand


def test_old_build_tools_are_not_taken_from_before_they_could_build() -> None:
    old = question("six", cut=datetime(2018, 9, 6, tzinfo=timezone.utc))
    attempt = resolving.first_attempt(old, SAFE)
    assert attempt.cuts == dict.fromkeys(BUILD_TOOLS, BUILD_FLOOR)
    assert codes(attempt.notices) == ["build-tools-floor"]
    assert resolving.first_attempt(old, of(deny_repair=("build-tools-floor",))).cuts == {}
    assert resolving.first_attempt(question("six"), ALL).notices == ()


def test_an_old_mlflow_among_todays_packages_keeps_pkg_resources() -> None:
    lines = ("mlflow==2.14.0", "six", "setuptools")
    now = question(*lines, cut=None)
    attempt = resolving.first_attempt(now, SAFE)
    assert texts(attempt) == ["mlflow==2.14.0", "six", "setuptools<82"]
    assert codes(attempt.notices) == ["setuptools-bound"]
    assert texts(resolving.first_attempt(now, of(deny_repair=("setuptools-bound",)))) == list(lines)
    for other in (question(*lines), question("mlflow==2.15.0", "setuptools", cut=None), question("six", "setuptools")):
        assert resolving.first_attempt(other, ALL).notices == ()


def test_wheels_are_asked_of_a_pin_where_another_python_may_be_taken_for_it() -> None:
    pinned = question("psutil==1.0", "scipy==1.0")
    assert not {"psutil", "scipy"} & resolving.first_attempt(pinned, SAFE).wheels_only
    consented = of(allow_repair=("neighbouring-python",))
    assert {"psutil", "scipy"} & resolving.first_attempt(pinned, consented).wheels_only == {"scipy"}


def test_compiled_packages_come_as_wheels_and_broken_metadata_is_given() -> None:
    attempt = resolving.first_attempt(question("six"), SAFE)
    assert "scikit-learn" in attempt.wheels_only
    assert attempt.metadata["pandas", "0.23.4"] == ("numpy>=1.9.0", "python-dateutil>=2.5.0", "pytz>=2011")
    assert resolving.first_attempt(question("six", no_build=True), SAFE).wheels_only == frozenset()
    bare = resolving.first_attempt(question("six"), NONE)
    assert (bare.wheels_only, bare.metadata, bare.notices) == (frozenset(), {}, ())


def test_what_was_mended_before_stands_first_among_the_notices() -> None:
    notice = Notice(code="dummy-package", message="sklearn")
    asked = replace(question("six", cut=datetime(2018, 9, 6, tzinfo=timezone.utc)), repairs=(notice,))
    assert codes(resolving.first_attempt(asked, SAFE).notices) == ["dummy-package", "build-tools-floor"]


# What each rule makes of its failure


def test_an_index_without_dates_has_no_cut() -> None:
    following = answer(FAILURES["no-upload-times"](), "no-upload-times")
    assert (following.cut, following.cuts) == (None, {})


def test_of_dead_indexes_only_the_models_own_are_left_out() -> None:
    dead = "http://127.0.0.1:9/simple"
    assert answer(FAILURES["dead-index"](), "dead-index").dead_indexes == {dead}
    assert resolving.next_attempt(failed(DEAD, "six", extra=(dead,)), ALL) is None
    assert (
        resolving.next_attempt(failed(DEAD, "six", extra=(dead,), from_model=("http://127.0.0.1/simple",)), ALL) is None
    )


def test_a_dead_indexs_password_is_not_said() -> None:
    url = "http://user:hunter22@127.0.0.1:9/simple"
    following = answer(failed(DEAD, "six", extra=(url,), from_model=(url,)), "dead-index")
    assert following.dead_indexes == {url}
    assert following.notices[0].message.startswith("http://127.0.0.1:9/simple, which the model names")


@pytest.mark.parametrize(("beside", "expected"), [((), ["mlflow"]), (("mlflow>=1",), ["mlflow>=1"])])
def test_an_mlflow_of_a_vendor_gives_way_to_what_is_asked_for_beside_it(
    beside: tuple[str, ...], expected: list[str]
) -> None:
    failure = failed(NO_VERSION.format(MLFLOW.text), MLFLOW, *beside, ask=index("mlflow-1.30.0-py3-none-any.whl"))
    assert texts(answer(failure, "mlflow-not-on-index")) == expected


@pytest.mark.parametrize(("line", "why"), [("six==1.16.0", "it is pinned"), ("six>=1.16", "none before will do")])
def test_a_younger_pin_or_range_is_let_in_for_a_day_more_and_alone(line: str, why: str) -> None:
    held = index("six-1.15.0-py3-none-any.whl", file("six-1.16.0-py3-none-any.whl", AFTER), "attrs-1.0.tar.gz")
    following = answer(failed(NO_VERSION.format("six"), line, "attrs==1.0", ask=held), "younger-pin")
    assert following.cuts == {"six": datetime(2021, 6, 18, tzinfo=timezone.utc)}
    assert why in following.notices[0].message


def test_a_range_that_an_older_release_meets_is_not_let_in() -> None:
    held = index("six-1.15.0-py3-none-any.whl", file("six-1.16.0-py3-none-any.whl", AFTER))
    assert resolving.next_attempt(failed("error", "six>=1.10", ask=held), only("younger-pin")) is None


def test_what_a_younger_pin_pins_is_let_in_with_it() -> None:
    words = f"Because alpha==3.0 depends on alpha-core==3.0 …\n\n{REQUESTED.format('alpha-core')}"
    following = answer(failed(words, "alpha==3.0", cuts={"alpha": AFTER}), "younger-pin")
    assert following.cuts == {"alpha": AFTER, "alpha-core": datetime(2021, 6, 18, tzinfo=timezone.utc)}


@pytest.mark.parametrize("parent", ["alpha>=3.0 depends", "alpha==3.0 depends", "all versions of alpha depend"])
def test_a_younger_need_is_let_in_up_to_its_parents_day(parent: str) -> None:
    words = f"Because only beta==1.0 is available and {parent} on beta>=3, …\n\n{FILTERED.format('beta')}"
    assert answer(failed(words, "alpha==3.0", cuts={"alpha": AFTER}), "younger-need").cuts["beta"] == AFTER


@pytest.mark.parametrize(
    "words",
    ["", "Because gamma==3.0 depends on beta>=3, …\n\n", "Because alpha==3.0 depends on beta-core>=3, …\n\n"],
    ids=["nobody's need", "another's need", "another need"],
)
def test_what_nothing_younger_needs_is_not_let_in(words: str) -> None:
    failure = failed(words + FILTERED.format("beta"), "alpha==3.0", cuts={"alpha": AFTER})
    assert resolving.next_attempt(failure, only("younger-need")) is None


def test_a_later_patch_release_stands_in_where_it_is_here_and_will_do() -> None:
    asked = {"python": "3.8.1", "patch": "3.8.18"}
    for words in (WANTS_PATCH, FILE_WANTS_PATCH, "Python (>=3.8.1) does not satisfy Python>=3.8.5."):
        assert answer(failed(words, "six==1.16.0", **asked), "later-patch").python == "3.8.18"
    assert (
        resolving.next_attempt(failed(FILE_WANTS_PATCH, "six", python="3.8.1", patch="3.8.5"), only("later-patch"))
        is None
    )
    assert resolving.next_attempt(failed(WANTS_39, "numpy==2.0.0", **asked), only("later-patch")) is None
    for refused in ({"python_policy": "exact"}, {"patch": "3.8.2"}, {"patch": "3.8.1"}):
        assert resolving.next_attempt(failed(WANTS_PATCH, "six", **{**asked, **refused}), only("later-patch")) is None


@pytest.mark.parametrize(
    ("rule", "line", "held"),
    [
        ("conda-tool", "conda==22.9.0", ["conda-4.3.16.tar.gz"]),
        ("conda-tool", "anaconda-navigator==2.1", []),
        ("standard-library", "json", []),
        ("standard-library", "Typing==9.9", ["typing-3.7.4.3-py3-none-any.whl"]),
        ("foreign-platform", "pyreadline==9.9", ["pyreadline-2.1.zip"]),
        ("missing-package", "nowhere", []),
    ],
)
def test_what_is_not_to_be_had_is_left_out_in_its_place(rule: str, line: str, held: list[str]) -> None:
    name = canonicalize_name(Requirement(line).name)
    words = NO_VERSION.format(line.lower()) if held else NOT_FOUND.format(name)
    assert texts(answer(failed(words, "six", line, "attrs", ask=index(*held, *FOUND)), rule)) == ["six", "attrs"]


@pytest.mark.parametrize("line", ["conda==4.3.16", "dataclasses==0.8", "six"])
def test_what_the_index_has_is_left_in(line: str) -> None:
    ask = index("conda-4.3.16-py3-none-any.whl", "dataclasses-0.8-py3-none-any.whl", *FOUND)
    failure = failed(NOT_FOUND.format("nowhere"), line, ask=ask)
    assert resolving.next_attempt(failure, only("conda-tool", "standard-library", "missing-package")) is None


@pytest.mark.parametrize("line", ["json", "conda==22.9.0", "nowhere", "dataclasses==0.8"])
def test_nobody_knows_what_an_index_lacks_that_may_not_be_asked(line: str) -> None:
    name = Requirement(line).name
    for words in (NOT_CACHED.format(name), CONFLICT):
        failure = failed(words, line, ask=lambda names: {}, offline=True)
        assert resolving.next_attempt(failure, only("conda-tool", "standard-library", "missing-package")) is None
        assert resolving.offers(failure, NONE) == ()


def test_another_index_may_have_what_the_main_one_lacks() -> None:
    more = {"extra": ("https://index.example/simple",)}
    failure = failed("error", "nowhere", **more)
    assert resolving.next_attempt(failure, only("missing-package")) is None
    assert texts(answer(failed(NOT_FOUND.format("nowhere"), "nowhere", **more), "missing-package")) == []


@pytest.mark.parametrize("line", ["tensorflow-text-win==2.13.0", "Tensorflow_Text.Win[x]==2.13.0"])
def test_a_release_for_another_system_alone_is_left_out(line: str) -> None:
    words, name = OTHER_PLATFORM.format("tensorflow-text-win==2.13.0"), "tensorflow_text_win-2.13.0"
    foreign = [f"{name}-cp38-cp38-win_amd64.whl", f"{name}-cp38-cp38-macosx_12_0_arm64.whl"]
    assert texts(answer(failed(words, line, "six", ask=index(*foreign)), "foreign-platform")) == ["six"]
    for more in (f"{name}.tar.gz", f"{name}-cp37-cp37m-manylinux1_x86_64.whl"):
        failure = failed(words, line, "six", ask=index(*foreign, more))
        assert resolving.next_attempt(failure, only("foreign-platform")) is None


@pytest.mark.parametrize(
    ("line", "taken"),
    [
        ("torch==1.9.0+cu102", "torch==1.9.0"),
        ("torch[x]==1.9.0+cu102; python_version > '3'", 'torch[x]==1.9.0; python_version > "3"'),
        ("torch==1.9.0.post20200814", "torch==1.9.0"),
        ("torch==1.9.0.post1", None),
        ("torch==1.9.1+cu102", None),
        ("torch==1.9.1", None),
    ],
)
def test_a_build_of_its_own_is_its_release(line: str, taken: str | None) -> None:
    failure = failed(
        NO_VERSION.format(f"torch=={demand(line).pin}"), "six", line, ask=index("torch-1.9.0-py3-none-any.whl", *FOUND)
    )
    following = resolving.next_attempt(failure, only("local-version"))
    assert (None if following is None else texts(following)) == (None if taken is None else ["six", taken])


def other_python(failure: Failure, rule: str = "neighbouring-python") -> str | None:
    other = outcome(failure, only(rule))
    if not isinstance(other, AnotherPython):
        assert other is None
        return None
    assert (other.notice.code, str(other.notice.place)) == (rule, "conda.yaml:2")
    return other.python


@pytest.mark.parametrize(
    ("files", "python"),
    [
        ([compiled("numpy-1.0", "3.9"), compiled("numpy-1.0", "3.11")], "3.9"),
        ([compiled("numpy-1.0", "3.9"), compiled("numpy-1.0", "3.7")], "3.7"),
        ([compiled("numpy-1.0", "3.11"), "numpy-1.0.tar.gz"], "3.11"),
        ([compiled("numpy-1.0", "3.9"), compiled("pandas-1.0", "3.10"), compiled("numpy-1.0", "3.10")], "3.10"),
        ([compiled("numpy-1.0", "3.9"), compiled("pandas-1.0", "3.8")], None),
        ([compiled("numpy-1.0", "3.9"), compiled("pandas-1.0", "3.8"), compiled("pandas-1.0", "3.9")], "3.9"),
        ([compiled("numpy-1.0", "3.8"), compiled("numpy-1.0", "3.9")], None),
        ([file("numpy-1.0-py3-none-any.whl", requires_python=">=3.9")], "3.9"),
        ([file("numpy-1.0.tar.gz", requires_python="<3.8")], "3.7"),
        (["numpy-1.0-py3-none-any.whl"], None),
        (["numpy-1.0.tar.gz"], None),
        (["numpy-1.0-cp39-cp39-win_amd64.whl"], None),
        ([compiled("attrs-1.0", "3.9")], None),
    ],
    ids=[
        "the nearest",
        "of two as near the older",
        "a wheel before an sdist",
        "the one that does for more",
        "not for one at the cost of another",
        "for one where another has both",
        "not where this one does",
        "what a wheel says of its Python",
        "what an sdist says of its Python",
        "not for what runs on any",
        "not for an sdist",
        "not for another system",
        "not for what is not pinned",
    ],
)
def test_the_python_is_the_nearest_that_the_pins_have_files_for(files: list[File | str], python: str | None) -> None:
    failure = failed("error", "numpy==1.0", "pandas==1.0", "attrs", ask=index(*files))
    assert other_python(failure) == python
    inferred = replace(
        failure.question.spec, python=PythonDemand(text="3.8", place=Place("conda.yaml", 2), source="inferred")
    )
    failure = replace(failure, question=replace(failure.question, spec=inferred))
    assert other_python(failure, "python-by-wheels") == python


def test_another_python_is_worth_a_package_that_is_hard_to_build_and_one_that_has_nothing_here_alone() -> None:
    with_sdist = ["psutil-1.0.tar.gz", compiled("psutil-1.0", "3.9")]
    assert other_python(failed("error", "psutil==1.0", ask=index(*with_sdist))) is None
    assert other_python(failed("error", "psutil==1.0", ask=index(*with_sdist[1:]))) == "3.9"
    hard = index(*with_sdist, "scipy-1.0.tar.gz", compiled("scipy-1.0", "3.7"))
    assert other_python(failed("error", "psutil==1.0", "scipy==1.0", ask=hard)) == "3.7"


def test_what_is_hard_to_build_is_compiled() -> None:
    assert packages.HARD_TO_BUILD < packages.COMPILED


def test_a_python_that_a_file_states_is_no_assumption_and_one_of_the_deployers_is_kept() -> None:
    held = {"ask": index(compiled("numpy-1.0", "3.9"))}
    assert other_python(failed("error", "numpy==1.0", **held), "python-by-wheels") is None
    assert other_python(failed("error", "numpy==1.0", source="override", **held)) is None


def nearest(line: str, *files: File | str) -> str | None:
    found = releases.nearest(demand(line), failed("error", line, ask=index(*files)))
    return None if found is None else str(found)


@pytest.mark.parametrize(
    ("pin", "there", "chosen"),
    [
        ("2.4.0rc0", ["2.3.4", "2.4.0rc1", "2.4.0", "2.4.1"], "2.4.0"),
        ("2.4.0rc0", ["2.3.4", "2.4.0rc1"], "2.4.0rc1"),
        ("2.4.0rc0", ["2.3.4", "2.4.1"], "2.4.1"),
        ("1.0.0", ["0.9.9", "1.0.2", "1.0.1", "1.1.0"], "1.0.1"),
        ("1.0.5", ["1.0.3", "1.0.4", "1.1.0"], "1.0.4"),
        ("0.24.0", ["0.23.2", "1.5.0"], "0.23.2"),
        ("1.1", ["0.9", "3.0"], "0.9"),
        ("1.0.0", ["1.0.1rc1", "1.1.0.dev3", "0.9"], "0.9"),
        ("1.0.0", ["1.0.1rc1"], None),
        ("1.0.0", ["1.0.0"], None),
        ("1.0.0", [], None),
    ],
)
def test_the_nearest_release(pin: str, there: list[str], chosen: str | None) -> None:
    for order in (there, there[::-1]):
        assert nearest(f"six=={pin}", *(f"six-{version}-py3-none-any.whl" for version in order)) == chosen


def test_the_nearest_release_has_a_file_for_this_python_and_a_wheel_where_any_has() -> None:
    assert nearest("six==1.0.0", "six-1.0.1.tar.gz", "six-1.0.2.tar.gz") == "1.0.1"
    assert nearest("six==1.0.0", "six-1.0.1.tar.gz", compiled("six-1.0.2")) == "1.0.2"
    assert nearest("six==1.0.0", compiled("six-1.0.1", "3.9"), compiled("six-1.1.0")) == "1.1.0"
    young = file("six-1.0.1-py3-none-any.whl", requires_python=">=3.9")
    assert nearest("six==1.0.0", young, "six-0.9-py3-none-any.whl") == "0.9"
    assert nearest("six", "six-1.0-py3-none-any.whl") is None


def test_the_nearest_release_keeps_place_extras_and_marker() -> None:
    line = "Dask[array]==2.30.1; python_version > '3'"
    words = NO_VERSION.format("dask[array]==2.30.1")
    failure = failed(words, "six", line, "attrs", ask=index("dask-2.30.2-py3-none-any.whl", *FOUND))
    assert texts(answer(failure, "nearest-release")) == [
        "six",
        'Dask[array]==2.30.2; python_version > "3"',
        "attrs",
    ]


def test_a_release_with_nothing_for_this_python_has_a_nearest_one_too() -> None:
    ask = index(file("numpy-2.0.0-py3-none-any.whl", requires_python=">=3.9"), "numpy-1.26.4-py3-none-any.whl")
    assert texts(answer(failed(WANTS_39, "numpy==2.0.0", ask=ask), "nearest-release")) == ["numpy==1.26.4"]


def test_the_words_of_another_pin_of_the_package_are_not_this_ones() -> None:
    ask = index("six-1.16.0-py3-none-any.whl", "six-1.17.0-py3-none-any.whl")
    failure = failed(
        NO_VERSION.format("six==9.9"), "six==1.16.0", "six-more==9.9", ask=ask, extra=("https://x.example",)
    )
    assert resolving.next_attempt(failure, only("nearest-release")) is None


def test_the_later_of_two_pins_counts() -> None:
    assert texts(answer(FAILURES["double-pin"](), "double-pin")) == ["attrs", "six==1.16.0"]
    for line in ("six==1.15.0", "six==1.15", "six==1.16.0; python_version < '3'"):
        failure = failed(TWICE, "six==1.15.0", line)
        assert resolving.next_attempt(failure, only("double-pin")) is None


def test_a_compiled_package_without_a_wheel_is_built() -> None:
    following = answer(FAILURES["wheels-first"](), "wheels-first")
    assert (following.wheels_only, following.sdists_too) == ({"numpy"}, {"scikit-learn"})


def test_wheels_that_will_not_do_give_way_last_of_all() -> None:
    """A wheel is there for the date, so that it is not the wheel that is missing: other rules come first."""
    line = {"wheels_only": frozenset({"scikit-learn"}), "ask": index(compiled("scikit_learn-0.23.2"))}
    failure = failed(NO_WHEELS, "scikit-learn==0.23.2", **line)
    assert wheels.no_wheel_here(failure) is None
    assert answer(failure, "wheels-first").sdists_too == {"scikit-learn"}
    late = index(compiled("scikit_learn-0.23.2", uploaded=AFTER))
    assert wheels.no_wheel_here(replace(failure, ask=late)) is not None


def test_what_cannot_be_built_and_is_not_pinned_comes_as_a_wheel() -> None:
    following = answer(failed(NOT_BUILT, "lightfm>=1.0", "six"), "wheels-first")
    assert following.wheels_only == {"lightfm"}
    assert resolving.next_attempt(failed(NOT_BUILT, "lightfm==1.16"), only("wheels-first")) is None
    built = replace(following, wheels_only=frozenset(), sdists_too=frozenset({"lightfm"}))
    failure = replace(failed(NOT_BUILT, "lightfm>=1.0"), attempt=built)
    assert resolving.next_attempt(failure, only("wheels-first")) is None


def test_a_wheels_only_package_is_not_built_where_wheels_are_not_asked_of_it() -> None:
    assert resolving.next_attempt(failed(NO_WHEELS, "scikit-learn==0.23.2"), only("wheels-first")) is None


@pytest.mark.parametrize(
    ("said", "need"),
    [
        ("ModuleNotFoundError: No module named 'numpy'", "numpy"),
        ("ImportError: No module named Cython.Build", "cython"),
        ("ModuleNotFoundError: No module named 'sklearn.utils'", "scikit-learn"),
        ("error in lightfm setup command: use_2to3 is invalid.", "setuptools<58"),
        ("ImportError: cannot import name 'Feature' from 'setuptools' (/x/setuptools/__init__.py)", "setuptools<46"),
        ("AttributeError: 'build_ext' object has no attribute 'cython_sources'", "cython<3"),
        ("ModuleNotFoundError: No module named 'pkg_resources'", "setuptools<60"),
    ],
)
def test_an_sdist_is_built_with_what_its_failure_lacked(said: str, need: str) -> None:
    words = NOT_BUILT.replace("ModuleNotFoundError: No module named 'numpy'", said)
    assert answer(failed(words, "lightfm==1.16"), "build-needs").build_needs == {"lightfm": (need,)}


def test_an_sdist_gets_one_need_after_another_and_none_twice() -> None:
    first = answer(failed(NOT_BUILT, "lightfm==1.16"), "build-needs")
    again = replace(failed(NOT_BUILT, "lightfm==1.16"), attempt=first)
    assert resolving.next_attempt(again, only("build-needs")) is None
    more = replace(again, words=NOT_BUILT.replace("numpy", "Cython"))
    assert answer(more, "build-needs").build_needs == {"lightfm": ("numpy", "cython")}
    own = NOT_BUILT.replace("lightfm", "numpy")
    assert resolving.next_attempt(failed(own, "numpy==1.16"), only("build-needs")) is None


@pytest.mark.parametrize("words", [CONFLICT, CONFLICT_OF_ALL])
def test_pins_that_contradict_each_other_are_taken_as_they_are(words: str) -> None:
    following = answer(
        failed(words, "jupyter-client==7.3.5", "tornado==6.1", "six>=1", "attrs==1.0", "attrs==2.0"),
        "pins-as-they-are",
    )
    assert following.overrides == ("jupyter-client==7.3.5", "tornado==6.1")
    assert "on tornado>=6.2)" in following.notices[0].message


def test_pins_are_taken_as_they_are_once_and_only_where_they_are_named() -> None:
    lines = ("jupyter-client==7.3.5", "tornado==6.1")
    assert resolving.next_attempt(failed(CONFLICT, *lines, overrides=lines), only("pins-as-they-are")) is None
    assert resolving.next_attempt(failed(CONFLICT, "client==7.3.5", "torn==6.1"), only("pins-as-they-are")) is None
    assert resolving.next_attempt(failed(RANGES, "jupyter-client", "tornado<6.2"), only("pins-as-they-are")) is None


def test_a_range_that_cannot_be_met_is_left_open_with_its_extras() -> None:
    failure = failed(RANGES, "six<2", "jupyter-client", "tornado[fast]<6.2", "tornado==6.1")
    assert texts(answer(failure, "loose-range")) == ["six<2", "jupyter-client", "tornado[fast]", "tornado==6.1"]


def test_what_keeps_the_pins_comes_before_what_does_not() -> None:
    """With consent to all, a conflict of pins is still no reason to change one."""
    assert codes(answer(FAILURES["pins-as-they-are"](), *RULES).notices) == ["pins-as-they-are"]
    assert codes(answer(FAILURES["younger-pin"](), *RULES).notices) == ["younger-pin"]
    assert codes(answer(FAILURES["local-version"](), *RULES).notices) == ["local-version"]
    assert codes(answer(FAILURES["standard-library"](), *RULES).notices) == ["standard-library"]
