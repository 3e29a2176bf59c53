"""Check before deployment: the same input in a model's own environment and in the overridden one.

Each of the two is locked and built, and the model loads and predicts in it; the answers are held against each other.
What goes wrong on the way is a result and no error: that is what is asked for here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from envbuild import pipeline, request, sample
from envbuild.bridge.stderr import Tail
from envbuild.errors import BuildError, EnvbuildError, InputError, LockError, ModelFailed, Stopped, UsageError
from envbuild.lock import Change, Lock
from envbuild.model import Notice
from envbuild.override.merging import override_of
from envbuild.pipeline import Built
from envbuild.progress import Report, Step, silent
from envbuild.review import comparison, difference
from envbuild.review.comparison import Comparison, Tolerance
from envbuild.review.difference import Difference
from envbuild.sample import Sample
from envbuild.settings import Settings

Which = Literal["own", "overridden"]
Stage = Literal["lock", "build", "load", "predict"]
Result = Literal["works", "same", "different", "fails"]
Sink = Callable[[bytes], None]

EXIT_CODES: Mapping[Result, int] = {"works": 0, "same": 0, "different": 10, "fails": 11}
# Those with the exit codes 4 to 8: what an environment or the model in it can do wrong.
_FAILURES = (LockError, BuildError, InputError, ModelFailed, Stopped)


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """An answer that is known already, in place of the model's own environment's."""

    answer: Any
    """As :func:`envbuild.request.answer_of` gives it: what JSON has, without ``predictions`` around it."""
    text: str = "the expected answer"
    """Where it comes from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOptions:
    """What is checked, and how closely."""

    sample: Sample | None = None
    """``None``: the model's own input example, or one made from its signature."""
    expected: Expected | None = None
    only_overridden: bool = False
    """Only see whether the model works in the overridden environment; nothing is compared."""
    tolerance: Tolerance = field(default_factory=Tolerance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What went wrong in an environment, and how far it had come."""

    stage: Stage
    error: EnvbuildError
    stderr: tuple[str, ...] = ()
    """The last lines that the model printed, its traceback among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """An environment that was tried, as far as it came. Times are in seconds, by stage."""

    which: Which
    lock: Lock | None = None
    path: Path | None = None
    """Where the environment is."""
    python: str | None = None
    """The release that is in it; before it is built, the one that is demanded."""
    was_built: bool = False
    seconds: Mapping[Stage, float] = field(default_factory=dict)
    answer: Any = None
    """What the model answered, where nothing failed; NaN and the infinities by their names, to be told apart."""
    failure: Failure | None = None
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check found."""

    model: Path
    result: Result
    sample: Sample
    tolerance: Tolerance
    overrides: tuple[Change, ...]
    tried: tuple[Tried, ...]
    """The model's own environment first, where it was tried."""
    expected: str | None = None
    """Where the expected answer comes from."""
    difference: Difference | None = None
    """Of the two locks, where there are two."""
    comparison: Comparison | None = None

    @property
    def exit_code(self) -> int:
        """What the command ends with: 0, 10 (different) or 11 (fails)."""
        return EXIT_CODES[self.result]

    @property
    def is_one_environment(self) -> bool:
        """Whether the override leads to the very environment that the model has without it."""
        return _is_one(self.tried)

    @property
    def failures(self) -> tuple[Tried, ...]:
        """The environments in which something failed."""
        return tuple(one for one in self.tried if one.failure is not None)


def check(
    path: Path | str,
    settings: Settings,
    options: CheckOptions | None = None,
    report: Report = silent,
    stderr: Sink | None = None,
) -> Checked:
    """Try a model in its own environment and in the one that the settings lead to, and compare what it answers.

    Without an override there is one environment, which is tried alone.

    :param stderr: takes what the model prints; by default this process's own standard error.
    :raises ModelError: it is no model.
    :raises UsageError: the settings contradict each other, or there is no input to try with.
    :raises InputNotFound: the model's input example cannot be read.
    """
    options = options or CheckOptions()
    if options.expected is not None and options.only_overridden:
        raise UsageError("an expected answer is to be compared, and --only-overridden compares nothing")
    model = pipeline.read(path, settings, report)
    overrides = _overrides(settings)
    known = options.sample or sample.of(model)
    tried = _tried(model.path, settings, options, known, report, stderr)
    compared = _compared(tried, options)
    return Checked(
        model=model.path,
        result=_result(tried, compared),
        sample=known,
        tolerance=options.tolerance,
        overrides=overrides,
        tried=tried,
        expected=None if options.expected is None else options.expected.text,
        difference=_difference(tried),
        comparison=compared,
    )


def options_for(data: Any, expected: Any, *, only_overridden: bool, relative: float, absolute: float) -> CheckOptions:
    """The options of a check of Python objects; ``None`` stands for what is not given.

    :raises InputError: there is something in them that JSON cannot hold.
    :raises UsageError: a tolerance is no number of 0 or more.
    """
    given, known = None, None
    if data is not None:
        payload = request.body_of(data)
        given = Sample(kind="given", payload=payload, content_type=request.JSON, text="the data given")
    if expected is not None:
        answer = json.loads(request.body_of({"inputs": expected}))["inputs"]
        known = Expected(answer=request.answer_of(json.dumps(answer).encode()))
    tolerance = Tolerance(relative=relative, absolute=absolute)
    return CheckOptions(sample=given, expected=known, only_overridden=only_overridden, tolerance=tolerance)


def _overrides(settings: Settings) -> tuple[Change, ...]:
    """What the deployer changed; of the variables that its files name, none is asked for."""
    found = override_of(settings, {}).record
    return found if settings.lock is None else (*found, Change(option="lock", text=settings.lock.name))


def _tried(
    path: Path, settings: Settings, options: CheckOptions, known: Sample, report: Report, stderr: Sink | None
) -> tuple[Tried, ...]:
    own = settings.without_override()
    if settings == own:
        return (_Trial("own", settings, report, stderr).run(path, known),)
    alone = options.only_overridden or options.expected is not None
    if not alone and settings.nan == "null":
        # So that infinities are told from NaN and from each other.
        own, settings = own.having(nan="string"), settings.having(nan="string")
    overridden = _Trial("overridden", settings, _naming(report, "overridden"), stderr)
    if alone:
        return (overridden.run(path, known),)
    first = _Trial("own", own, _naming(report, "own"), stderr).run(path, known)
    return first, overridden.run(path, known, first)


def _naming(report: Report, which: Which) -> Report:
    """Steps that say which environment they are about."""
    return lambda step: report(replace(step, text=f"{step.text} [{which}]"))


def _compared(tried: tuple[Tried, ...], options: CheckOptions) -> Comparison | None:
    if any(one.failure is not None for one in tried):
        return None
    if options.expected is not None:
        return comparison.compare(options.expected.answer, tried[-1].answer, options.tolerance)
    if len(tried) == 1 or _is_one(tried):
        return None
    return comparison.compare(tried[0].answer, tried[1].answer, options.tolerance)


def _is_one(tried: tuple[Tried, ...]) -> bool:
    return len(tried) == 2 and tried[0].path is not None and tried[0].path == tried[1].path


def _result(tried: tuple[Tried, ...], compared: Comparison | None) -> Result:
    if any(one.failure is not None for one in tried):
        return "fails"
    if compared is not None:
        return "same" if compared.same else "different"
    return "same" if _is_one(tried) else "works"


def _difference(tried: tuple[Tried, ...]) -> Difference | None:
    locks = [(one.which, one.lock) for one in tried if one.lock is not None]
    if len(locks) < 2:
        return None
    (own, overridden) = (difference.side_of_lock(lock, which) for which, lock in locks)
    return difference.of(own, overridden)


class _Trial:
    """One environment being tried, step by step; what is known by then stays when a step fails."""

    def __init__(self, which: Which, settings: Settings, report: Report, stderr: Sink | None) -> None:
        self._settings = settings
        self._report = report
        self._tail = Tail(stderr)
        self._stage: Stage = "lock"
        self._seconds: dict[Stage, float] = {}
        self._known = Tried(which=which)

    def run(self, path: Path, known: Sample, other: Tried | None = None) -> Tried:
        """Lock, build, load, predict.

        :param other: one that was tried before: in the same environment nothing is done twice.
        """
        failure = None
        try:
            self._go(path, known, other)
        except _FAILURES as error:
            # Its traceback would keep everything alive that it has come through: the worker, the lease.
            failure = Failure(stage=self._stage, error=error.with_traceback(None), stderr=self._tail.lines())
            error.__cause__ = error.__context__ = None
        seconds = dict(self._seconds)
        return replace(self._known, seconds=seconds, failure=failure or self._known.failure)

    def _go(self, path: Path, known: Sample, other: Tried | None) -> None:
        with self._at("lock"):
            asked = pipeline.ask(path, self._settings)
            self._know(notices=asked.spec.notices)
            locked = pipeline.lock(asked, self._settings, self._report)
            self._know(lock=locked.lock, notices=locked.notices, python=locked.lock.python)
        with self._at("build"):
            built = pipeline.build(locked, self._settings, self._report)
        environment = built.environment
        self._know(path=environment.path, python=environment.interpreter.version)
        self._know(was_built=built.was_built, notices=built.notices)
        try:
            if other is not None and other.path == environment.path:
                self._know(answer=other.answer, failure=other.failure)
            else:
                self._know(answer=self._answer(built, known))
        finally:
            built.lease.release()

    def _answer(self, built: Built, known: Sample) -> Any:
        # What it prints has all come when it is closed, and a failure is told after that.
        with ExitStack() as stack:
            with self._at("load"):
                self._report(Step("loading", "the model"))
                worker = stack.enter_context(pipeline.start(built, self._settings, self._tail))
                worker.wait_loaded()
                self._report(Step("loading", "the model", done=True))
            with self._at("predict"):
                self._report(Step("predicting", "an answer"))
                prediction = worker.predict(known.payload, known.content_type)
                self._report(Step("predicting", "an answer", done=True))
        return request.answer_of(prediction.payload)

    def _know(self, **more: Any) -> None:
        self._known = replace(self._known, **more)

    @contextmanager
    def _at(self, stage: Stage) -> Iterator[None]:
        began, self._stage = time.monotonic(), stage
        try:
            yield
        finally:
            self._seconds[stage] = time.monotonic() - began
