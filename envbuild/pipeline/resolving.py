"""A new lock: from whose Python, as of which date, and why its conda packages come from where they come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from envbuild import asof, target
from envbuild.errors import (
    IndexUnreachable,
    InterpreterNotFound,
)
from envbuild.indexes import Indexes
from envbuild.interpreters import Interpreter
from envbuild.lock import PYTHON_REPAIRS, Lock
from envbuild.pipeline.stages import Asked
from envbuild.progress import Report
from envbuild.settings import Settings
from envbuild.spec import EnvironmentSpec

if TYPE_CHECKING:
    from envbuild.projects import Project


def resolve(asked: Asked, settings: Settings, wanted: target.Target, indexes: Indexes, report: Report) -> Lock:
    """Resolve what was asked for.

    :raises Unresolvable: nothing meets it all.
    """
    from envbuild import interpreters
    from envbuild.question import Question
    from envbuild.repairs.attempt import AnotherPython
    from envbuild.resolvers import resolver_for
    from envbuild.resolvers.known_builds import with_known_builds

    interpreter = asked.interpreter or _of_the_time(asked.spec, settings, report)
    as_of = asof.decide(settings.as_of, asked.spec, lambda names: _dates(names, indexes, settings))
    question = Question(
        spec=asked.spec,
        target=wanted,
        interpreter=interpreter,
        as_of=as_of,
        indexes=with_known_builds(indexes, asked.spec.demands, settings),
        settings=settings,
        repairs=asked.repairs,
    )
    resolver = resolver_for(settings.engine, asked.spec.conda)
    try:
        return _with_reason(resolver.resolve(question, report), asked.spec, settings)
    except AnotherPython as other:
        # Once: the Python that a rule found is the best that there is, and whatever else it lacks is another rule's.
        spec = replace(asked.spec, python=replace(asked.spec.python, text=other.python, source="repair"))
        question = replace(
            question,
            spec=spec,
            target=target.of(other.python, wanted.platform),
            interpreter=interpreters.find(other.python, settings, report),
            repairs=(*asked.repairs, other.notice),
            settings=settings.having(deny_repair=(*settings.deny_repair, *PYTHON_REPAIRS)),
        )
        lock = resolver.resolve(question, report)
        lock = replace(lock, origin=replace(lock.origin, spec_digest=asked.spec.digest()))
        return _with_reason(lock, asked.spec, settings)


def _with_reason(lock: Lock, spec: EnvironmentSpec, settings: Settings) -> Lock:
    """A lock that says where conda.yaml's own packages come from, and why."""
    from_channels = spec.conda is not None
    mapped = [demand.name or demand.text for demand in spec.demands if demand.origin == "conda"]
    named = [one.name for one in spec.conda.specs if one.name != "python"] if spec.conda is not None else mapped
    if not named:
        return lock
    why = f"--conda-packages {settings.conda_packages}"
    if settings.conda_packages == "auto":
        why = f"envbuild[conda] is {'' if from_channels else 'not '}installed"
    where = "come from their channels" if from_channels else "are taken from the index"
    said = f"conda.yaml's own packages ({', '.join(named)}) {where}: {why}"
    return replace(lock, origin=replace(lock.origin, conda_reason=said))


def _of_the_time(spec: EnvironmentSpec, settings: Settings, report: Report) -> Interpreter:
    """The Python that resolves, and builds what only tells its requirements when it is built."""
    from envbuild import interpreters

    try:
        return interpreters.find(spec.python.text, settings, report)
    except InterpreterNotFound:
        if spec.conda is None:
            raise
        # Channels are asked in any case, and what they have is what the model had.
        return interpreters.find(spec.python.text, settings.having(python_source="conda"), report)


def _dates(names: Iterable[str], indexes: Indexes, settings: Settings) -> Mapping[str, Project]:
    """What the index says of projects, for a model that has no date itself."""
    from envbuild import uv
    from envbuild.projects import read_projects

    wanted = list(names)
    if wanted and settings.offline:
        raise IndexUnreachable(
            "the model has no date, and the index, which would tell it, may not be asked",
            hint="run once without --offline, or give --as-of",
        )
    return read_projects(wanted, indexes, uv.default_index(settings.home))
