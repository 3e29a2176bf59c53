"""A spec with the deployer's changes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.utils import canonicalize_name, is_normalized_name

from envbuild import interpreters
from envbuild.conda_env import index_name
from envbuild.document import Node
from envbuild.errors import Place, SpecError, UsageError
from envbuild.interpreters import Interpreter
from envbuild.lock import Change
from envbuild.model import Notice
from envbuild.override.merging import Override
from envbuild.python_demand import PythonDemand
from envbuild.requirement import Demand, Lines, Reading, read_file, read_line
from envbuild.spec import EnvironmentSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Overridden:
    """A spec after the override, and the interpreter where the deployer named one by its path."""

    spec: EnvironmentSpec
    interpreter: Interpreter | None = None


def apply(spec: EnvironmentSpec, override: Override, python: str | None) -> Overridden:
    """The spec as the deployer has it.

    :param python: a version or the path of an interpreter, in place of what the spec says.
    :raises UsageError: a change cannot be understood, or contradicts another.
    :raises SpecError: a file of the deployer's says something that cannot be understood.
    :raises InterpreterNotFound: ``python`` is a path, and no usable Python is there.
    """
    spec = replace(spec, overrides=override.record)
    demands = _changes(override.changes, override.expand)
    spec = _without(spec, demands["remove"])
    spec = _from_index(spec, demands["set"])
    spec = _with_set(spec, demands["set"])
    spec = _with_added(spec, demands["add"])
    spec = _with_constraints(spec, override)
    _check_bounds(spec)
    return _with_python(spec, python)


def _changes(changes: Iterable[Change], expand: Mapping[str, str]) -> dict[str, list[Demand]]:
    """Each kind's demands, each package once.

    :raises UsageError: two changes of one package contradict each other.
    """
    found: dict[str, list[Demand]] = {"set": [], "add": [], "remove": []}
    said: dict[str, tuple[Change, str]] = {}
    for change in changes:
        demand = _demand(change, expand)
        before, text = said.setdefault(demand.name or demand.text, (change, demand.text))
        if before is not change:
            if (before.option, text) == (change.option, demand.text):
                continue
            raise UsageError(f"{before} and {change} contradict each other", hint="keep one of them")
        found[change.option].append(demand)
    return found


def _demand(change: Change, expand: Mapping[str, str]) -> Demand:
    place = change.place or Place(f"--{change.option}")
    if change.option == "remove":
        return _name_alone(change, place)
    # Paths on the command line are read from where one stands, those in a file from where it lies.
    try:
        lines = read_line(change.text.strip(), place, _reading(expand))
    except SpecError as error:
        raise UsageError(f"{change} cannot be understood: {error.message}", hint=error.hint) from None
    if len(lines.demands) != 1:
        raise UsageError(f"{change} is no requirement", hint="see PEP 508 for the form")
    demand = lines.demands[0]
    if demand.name is None:
        raise UsageError(f"{change} does not say which package that is", hint=f"write NAME @ {change.text}")
    return demand


def _name_alone(change: Change, place: Place) -> Demand:
    name = canonicalize_name(change.text)
    if not is_normalized_name(name):
        raise UsageError(f"{change} is not the name of a package", hint="write the name alone, without a version")
    return Demand(text=name, kind="index", name=name, origin="override", place=place)


def _reading(expand: Mapping[str, str]) -> Reading:
    return Reading(model=Path.cwd(), expand=expand, origin="override", by_deployer=True)


def _from_index(spec: EnvironmentSpec, wanted: list[Demand]) -> EnvironmentSpec:
    """What the deployer sets comes from the index, even where the model has it from a channel."""
    if spec.conda is None:
        return spec
    names = {demand.name for demand in wanted}
    gone = [one for one in spec.conda.specs if index_name(one.name) in names]
    asked = (
        Demand(text=name, kind="index", name=name, origin="conda", place=one.place)
        for one in gone
        if (name := index_name(one.name))
    )
    return replace(spec, demands=(*spec.demands, *asked), conda=spec.conda.without({one.name for one in gone}))


def _without(spec: EnvironmentSpec, removed: list[Demand]) -> EnvironmentSpec:
    spec = _from_index(spec, removed)
    names = {demand.name for demand in removed}
    gone = tuple(demand for demand in spec.demands if demand.name in names)
    kept = tuple(demand for demand in spec.demands if demand.name not in names)
    return replace(spec, demands=kept, excluded=tuple(removed), replaced=(*spec.replaced, *gone))


def _with_set(spec: EnvironmentSpec, wanted: list[Demand]) -> EnvironmentSpec:
    """Each in place of what asks for its package; where nobody does by name, it binds what others bring."""
    demands, constraints, notices = list(spec.demands), list(spec.constraints), list(spec.notices)
    replaced = list(spec.replaced)
    for one in wanted:
        old = [demand for demand in demands if demand.name == one.name]
        constraints = [bound for bound in constraints if bound.name != one.name]
        if not old:
            (constraints if one.kind == "index" else demands).append(one)
            continue
        new = _with_extras_of(old, one)
        if all(demand.text == new.text for demand in old):
            notices.append(_no_effect(f"{new.place} {new.text}", f"that is what is asked for already ({old[0].place})"))
        replaced += old
        demands[demands.index(old[0])] = new
        demands = [demand for demand in demands if demand is new or demand.name != new.name]
    return replace(
        spec,
        demands=tuple(demands),
        constraints=tuple(constraints),
        notices=tuple(notices),
        replaced=tuple(replaced),
    )


def _with_extras_of(old: list[Demand], new: Demand) -> Demand:
    """Another version of a package is asked for with the same extras, unless it names its own."""
    requirement = new.requirement
    if requirement is None or requirement.extras:
        return new
    requirement.extras = {extra for demand in old if demand.requirement for extra in demand.requirement.extras}
    return replace(new, text=str(requirement)) if requirement.extras else new


def _with_added(spec: EnvironmentSpec, added: list[Demand]) -> EnvironmentSpec:
    notices = list(spec.notices)
    for demand in added:
        same = [one for one in spec.demands if one.name == demand.name]
        if any(one.text == demand.text for one in same):
            notices.append(_no_effect(f"--add {demand.text}", f"that is asked for already ({same[0].place})"))
        elif same:
            message = f"--add {demand.text}: {same[0].text} is asked for as well ({same[0].place}), and both must hold"
            hint = "; --set replaces it"
            notices.append(Notice(code="override-beside", message=message + hint, place=demand.place))
    return replace(spec, demands=(*spec.demands, *added), notices=tuple(notices))


def _with_constraints(spec: EnvironmentSpec, override: Override) -> EnvironmentSpec:
    lines, reading = Lines(), _reading(override.expand)
    for source in override.constraints:
        if isinstance(source, Node):
            for element in source.elements():
                lines += read_line((element.text or "").strip(), element.place, reading, constraint=True)
        else:
            lines += read_file(source, reading, constraint=True)
    return replace(
        spec,
        constraints=(*spec.constraints, *lines.constraints),
        index_lines=(*spec.index_lines, *lines.index_lines),
        notices=(*spec.notices, *lines.notices),
    )


def _check_bounds(spec: EnvironmentSpec) -> None:
    """Refuse a pin of the deployer's that a constraint of the deployer's rules out.

    :raises UsageError: there is one.
    """
    bounds = [one for one in spec.constraints if one.origin == "override"]
    for demand in (*spec.demands, *bounds):
        pinned = demand.pinned if demand.origin == "override" else None
        for bound in bounds if pinned is not None else ():
            if bound.name == demand.name and not bound.specifier.contains(str(pinned), prereleases=True):
                raise UsageError(
                    f"{demand.text} ({demand.place}) and the constraint {bound.text} ({bound.place}) contradict "
                    "each other",
                    hint="change one of them",
                )


def _with_python(spec: EnvironmentSpec, python: str | None) -> Overridden:
    if python is None:
        return Overridden(spec=spec)
    found = interpreters.at_path(python) if interpreters.is_path(python) else None
    if found is None and not re.fullmatch(r"\d+\.\d+(\.\d+\S*)?", python):
        raise UsageError(
            f"--python is {python!r}", hint="write a version (3.8 or 3.8.18) or the path of a python program"
        )
    version = python if found is None else found.version
    notices = tuple(notice for notice in spec.notices if notice.code != "python-inferred")
    if version == spec.python.text and spec.python.source != "inferred":
        said = _no_effect(f"--python {python}", f"that is the Python asked for already ({spec.python.place})")
        notices = (*notices, said)
    if found is not None and spec.conda is not None:
        raise UsageError(
            f"--python {python} names a program, and the conda packages of the model bring their own Python",
            hint=f"--python {found.minor} asks for another version; --conda-packages map needs no conda Python",
        )
    demand = PythonDemand(text=version, place=None, source="override")
    return Overridden(spec=replace(spec, python=demand, notices=notices), interpreter=found)


def _no_effect(what: str, why: str) -> Notice:
    return Notice(code="override-without-effect", message=f"{what} changes nothing: {why}")
