"""What every engine's resolver does alike: its first try, the rules' answers to a failed one, and what its lock says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from packaging.utils import canonicalize_name

from envbuild import projects, uv
from envbuild.asof import Ask, rfc3339
from envbuild.errors import IndexUnreachable, LockError
from envbuild.files import copy_part
from envbuild.indexes import Indexes
from envbuild.lock import BuildLock, Lock, LockedPackage, Origin, staged
from envbuild.projects import Project
from envbuild.question import Question
from envbuild.repairs import resolving
from envbuild.repairs.attempt import Attempt, Failure
from envbuild.repairs.packages import COMPILED
from envbuild.repairs.rules import Switch
from envbuild.requirement import Demand
from envbuild.settings import Engine
from envbuild.spec import digest_of

_MAX_ATTEMPTS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an engine made of a try."""

    packages: tuple[LockedPackage, ...] | None
    """``None``: it failed."""
    words: str = ""
    """What it said when it failed, in the form that the rules read: uv's."""


Packages: TypeAlias = "tuple[LockedPackage, ...]"
Compile: TypeAlias = "Callable[[Attempt], Answer]"
Explain: TypeAlias = "Callable[[str, Attempt, Iterable[Demand]], LockError]"


def asker(question: Question) -> Ask:
    """Asks the index about projects, each once."""
    known: dict[str, Project] = {}
    asked: set[str] = set()

    def ask(names: Iterable[str]) -> Mapping[str, Project]:
        # One that the index does not have is asked for once too.
        missing = set(names) - asked
        if missing and not question.settings.offline:
            default = uv.default_index(question.settings.home)
            known.update(projects.read_projects(missing, question.indexes, default))
            asked.update(missing)
        return known

    return ask


def copy_local_parts(question: Question, stage: Path) -> None:
    """Copy what lies inside the model to where it may be built: building writes beside the sources."""
    for demand in question.spec.demands:
        if demand.path is None:
            continue
        copy_part(question.spec.model / demand.path, stage / staged(demand.path))


def resolved(
    question: Question, attempt: Attempt, ask: Ask, compiled: Compile, explain: Explain
) -> tuple[Packages, Attempt]:
    """The packages that a try comes to, or one that a rule made of it.

    :param compiled: one run of the engine.
    :param explain: says a failure's words plainly.
    :raises LockError: no rule knows further.
    """
    switch = Switch.of(question.settings)
    for _ in range(_MAX_ATTEMPTS):
        answer = compiled(attempt)
        if answer.packages is not None:
            return _bettered(answer.packages, attempt, switch, compiled)
        failure = Failure(attempt=attempt, words=answer.words, question=question, ask=ask)
        following = resolving.next_attempt(failure, switch)
        if following is None:
            break
        attempt = following
    bounds = [one for one in question.spec.constraints if one.origin == "override"]
    raise _with_offers(explain(answer.words, attempt, bounds), failure, switch)


def _bettered(packages: Packages, attempt: Attempt, switch: Switch, compiled: Compile) -> tuple[Packages, Attempt]:
    """The answer, or a better one where something is known against it."""
    versions = {one.name: one.version for one in packages if one.version is not None}
    for following in resolving.better_attempts(attempt, versions, switch):
        found = compiled(following).packages
        if found is not None:
            return found, following
    return packages, attempt


def _with_offers(error: LockError, failure: Failure, switch: Switch) -> LockError:
    """The failure, with the repairs that would be tried if they were allowed."""
    if isinstance(error, IndexUnreachable):
        return error
    offers = resolving.offers(failure, switch)
    if offers:
        names = " ".join(f"--allow-repair {name}" for name in dict.fromkeys(notice.code for notice in offers))
        error.hint = f"{names} would try this: {'; '.join(notice.message for notice in offers)}"
    return error


def with_notices_of(attempt: Attempt, packages: Iterable[LockedPackage]) -> Attempt:
    """The try with what shows only in its answer."""
    pinned = {demand.name for demand in attempt.demands if demand.pin is not None}
    for package in packages:
        # A pin is taken in whatever form there is: nobody had to give up wheels for it.
        if package.kind == "sdist" and package.name in COMPILED & pinned - attempt.wheels_only - attempt.sdists_too:
            attempt = attempt.noting(
                "wheels-first", f"{package.name} {package.version} has no wheel here; its sdist is built"
            )
        if (package.name, package.version) in attempt.metadata:
            message = (
                f"what {package.name} {package.version} says of its needs no tool of today reads; it is read as meant"
            )
            attempt = attempt.noting("broken-metadata", message)
    return attempt


def lines_of(attempt: Attempt) -> list[str]:
    """What is demanded, a line each."""
    return [_line(demand) for demand in attempt.demands]


def _line(demand: Demand) -> str:
    # Editable or not, what lies inside the model is installed from a copy of it, as a wheel.
    return demand.text if demand.path is None else f"./{staged(demand.path)}{demand.text.removeprefix(demand.path)}"


def indexes_of(question: Question, attempt: Attempt) -> Indexes:
    """Where a try looks for packages."""
    return question.indexes.without(attempt.dead_indexes).beside(attempt.find_links)


def completed(package: LockedPackage, question: Question) -> LockedPackage:
    """A package with what uv does not say: the extras asked for, and the digest of a directory."""
    named = [d.requirement for d in question.spec.demands if d.name == package.name]
    extras = {canonicalize_name(extra) for requirement in named if requirement for extra in requirement.extras}
    package = replace(package, extras=tuple(sorted(extras)))
    lies = {staged(part): part for part in question.spec.parts}
    if package.path in lies:
        package = replace(package, path=lies[package.path])
    if package.kind == "directory" and package.path is not None:
        package = replace(package, sha256=digest_of(question.spec.model / package.path))
    return package


def lock_of(
    question: Question,
    attempt: Attempt,
    packages: tuple[LockedPackage, ...],
    build: tuple[BuildLock, ...],
    engine: Engine,
) -> Lock:
    """The lock of what was resolved."""
    return Lock(
        python=question.spec.python.text,
        target=question.target,
        packages=packages,
        build=build,
        origin=Origin(
            spec_digest=question.spec.digest(),
            as_of="now" if attempt.cut is None else rfc3339(attempt.cut),
            as_of_reason=question.as_of.reason,
            engine=engine,
            indexes=tuple(name for names in indexes_of(question, attempt).names() for name in names),
            notices=attempt.notices,
            cuts={name: rfc3339(cut) for name, cut in attempt.cuts.items()},
            overrides=question.spec.overrides,
        ),
    )


def who(demand: Demand) -> str:
    """Who asks for a demand that stands in no file."""
    return {"build": "what every environment has", "mlflow": "mlflow_version"}.get(demand.origin, demand.origin)
