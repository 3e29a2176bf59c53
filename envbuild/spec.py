"""What a model asks for, as written: one rule for which file wins, a notice for each disagreement.

==================  ===============================================================================================
Python              python_env.yaml, then conda.yaml, then MLmodel, then inferred from the date
pip requirements    the file or lines that python_env.yaml's ``dependencies`` give, then conda.yaml's pip list, then
                    a lone requirements.txt
build dependencies  python_env.yaml's ``build_dependencies``, else pip, setuptools and wheel, as MLflow itself has them
conda packages      conda.yaml alone, by an explicit list of names; what pip lists already wins
mlflow              an exact pin, then ``mlflow_version`` where it lies in the stated range, then as of the date;
                    a ``mlflow.*`` loader and nobody who names mlflow: it is added
the loader's        the version that the flavor states, where nobody names the library of an ``mlflow.*`` loader
library
==================  ===============================================================================================

A version range for Python (``python>=3.8``) gives way to an exact version from a later file that lies in the range.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from envbuild import document, flavors
from envbuild.conda.part import CondaPart, conda_part, entries
from envbuild.conda_env import conda_demands, index_names
from envbuild.document import Node
from envbuild.errors import Place, SpecError
from envbuild.lock import Change
from envbuild.model import Model, Notice, Said
from envbuild.python_demand import CONDA_ENV, PYTHON_ENV, PythonDemand, python_demand
from envbuild.redaction import redacted
from envbuild.requirement import (
    Demand,
    IndexLine,
    Lines,
    Reading,
    read_file,
    read_line,
    version_of,
)

REQUIREMENTS = "requirements.txt"
MLFLOW_NAMES = ("mlflow", "mlflow-skinny")
_MAX_NAME = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentSpec:
    """Everything that a model asks of its environment, each demand with its place."""

    model: Path
    python: PythonDemand
    demands: tuple[Demand, ...]
    constraints: tuple[Demand, ...]
    index_lines: tuple[IndexLine, ...]
    created: datetime | None
    versions_stated: tuple[Demand, ...]
    """Exact versions that are stated anywhere (pins, flavors, ``mlflow_version``): what dates a model without a date."""
    notices: tuple[Notice, ...]
    excluded: tuple[Demand, ...] = ()
    """Packages that the deployer wants to be without, whoever asks for them."""
    replaced: tuple[Demand, ...] = ()
    """What was asked for before the deployer changed or removed it."""
    overrides: tuple[Change, ...] = ()
    """What the deployer changed, for the record."""
    conda: CondaPart | None = None
    """What is to come from channels; ``None``: nothing, all that conda.yaml names is mapped to the index."""

    @property
    def parts(self) -> frozenset[str]:
        """The local packages that lie outside the model, by the deployer's own word: absolute paths."""
        paths = (demand.path for demand in (*self.demands, *self.constraints) if demand.path is not None)
        return frozenset(path for path in paths if path.startswith("/"))

    def digest(self) -> str:
        """sha256 over all that decides what is resolved; lines, order and wording of notices are not in it."""
        content = {
            "python": self.python.text,
            "demands": sorted(self._identity(demand) for demand in self.demands),
            "constraints": sorted(self._identity(demand) for demand in self.constraints),
            "indexes": sorted([line.option, line.url] for line in self.index_lines),
            "created": None if self.created is None else self.created.isoformat(),
            "stated": sorted(demand.text for demand in self.versions_stated),
            **({} if self.conda is None else {"conda": self.conda.identity()}),
            **({"excluded": sorted(demand.text for demand in self.excluded)} if self.excluded else {}),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _identity(self, demand: Demand) -> list[str]:
        if demand.path is None:
            return [demand.text, demand.origin, ""]
        # Where the deployer keeps a file does not matter; what is in it does.
        text = demand.text.removeprefix(demand.path) if demand.path.startswith("/") else demand.text
        return [text, demand.origin, digest_of(self.model / demand.path)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """What the deployer puts in place of the model's own files: files of theirs, or lists in one of them."""

    requirements: tuple[Path | Node, ...] = ()
    """In place of all but the Python and the build tools."""
    conda_env: Path | Node | None = None
    """In place of all."""
    is_whole: bool = False
    """Whether the requirements, too, are in place of all: the model's own files are not looked at."""
    expand: Mapping[str, str] = field(default_factory=dict)
    """The variables that the deployer's files may name."""


def read_spec(
    model: Model,
    expand: Mapping[str, str] | None = None,
    *,
    leave_out_missing: bool = False,
    instead: Replacement | None = None,
    conda: bool = False,
) -> EnvironmentSpec:
    """What a model asks for.

    :param instead: what counts in place of the model's own files.
    :param conda: whether conda.yaml's own packages are to come from their channels; else they are mapped to the index.
    :param expand: variables that ``${VAR}`` in the model's files may name, with their values.
    :param leave_out_missing: leave out, with a notice, what cannot be had: conda packages that the list does not know,
        and files that the model names and lacks. Else either is an error.
    :raises SpecError: a file says something that cannot be understood.
    :raises ModelUnreadable: a file is not of the kind that its name says.
    """
    reading = Reading(model=model.path, expand=expand or {}, leave_out_missing=leave_out_missing, conda=conda)
    notices = list(model.notices)
    asked = _asked(model, reading, notices) if instead is None else _asked_instead(model, instead, notices, conda=conda)
    lines, demands = asked.lines, list(asked.demands)
    python_env, conda_env = asked.python_env, asked.conda_env
    there = index_names(asked.conda)

    def named() -> set[str | None]:
        return {demand.name for demand in demands} | there

    demands += flavors.demands_of_flavors(model, named(), have_files=bool(demands or there))
    # In the deployer's own environment, what the model's was made with binds nothing.
    demands += flavors.demands_of_loader(model, named(), notices, with_versions=instead is None)
    if "mlflow" not in there:
        demands += _mlflow_demands(model, demands, notices, with_version=instead is None)
    demands += _build_demands(python_env, named(), reading, notices)
    return EnvironmentSpec(
        model=model.path,
        python=python_demand(model, python_env, conda_env, notices, alone=instead is not None and python_env is None),
        demands=_unique(demands),
        constraints=lines.constraints,
        index_lines=lines.index_lines,
        created=model.created,
        versions_stated=_versions_stated(model, demands),
        notices=(*notices, *lines.notices),
        conda=asked.conda,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What files ask for before any rule adds to it, and the files that may name a Python."""

    lines: Lines
    demands: tuple[Demand, ...]
    python_env: Node | None
    conda_env: Node | None
    conda: CondaPart | None = None
    """What is to come from channels."""


def _asked(model: Model, reading: Reading, notices: list[Notice]) -> _Asked:
    python_env = _named_file(model, model.pyfunc.python_env, PYTHON_ENV, notices)
    conda_env = _named_file(model, model.pyfunc.conda_env, CONDA_ENV, notices)
    lines = _pip_lines(model, python_env, conda_env, reading, notices)
    return _Asked(
        lines=lines,
        demands=_with_conda(lines, conda_env, reading, notices),
        python_env=python_env,
        conda_env=conda_env,
        conda=_from_channels(conda_env, reading),
    )


def _asked_instead(model: Model, instead: Replacement, notices: list[Notice], *, conda: bool) -> _Asked:
    """What the deployer's files ask for; of the model's own only the Python is looked at, where theirs leave it open."""
    reading = Reading(model=Path.cwd(), expand=instead.expand, origin="override", by_deployer=True, conda=conda)
    if instead.conda_env is not None:
        conda_env = _mapping_in(instead.conda_env) if isinstance(instead.conda_env, Path) else instead.conda_env
        found = [_listed(node, reading, notices) for entry in entries(conda_env) if (node := entry.get("pip"))]
        lines = sum(found, Lines())
        demands = _with_conda(lines, conda_env, reading, notices)
        part = _from_channels(conda_env, reading)
        return _Asked(lines=lines, demands=demands, python_env=None, conda_env=conda_env, conda=part)
    read = [
        read_file(one, reading) if isinstance(one, Path) else _listed(one, reading, notices)
        for one in instead.requirements
    ]
    lines = sum(read, Lines())
    if instead.is_whole:
        return _Asked(lines=lines, demands=lines.demands, python_env=None, conda_env=None)
    return _Asked(
        lines=lines,
        demands=lines.demands,
        python_env=_named_file(model, model.pyfunc.python_env, PYTHON_ENV, notices),
        conda_env=_named_file(model, model.pyfunc.conda_env, CONDA_ENV, notices),
    )


def _with_conda(lines: Lines, conda_env: Node | None, reading: Reading, notices: list[Notice]) -> tuple[Demand, ...]:
    """pip's list with conda's: an image of a conda environment may list both; pip's word is the later one."""
    if _from_channels(conda_env, reading) is not None:
        return lines.demands
    named = {demand.name for demand in lines.demands}
    return (*lines.demands, *(d for d in conda_demands(conda_env, reading, notices) if d.name not in named))


def _from_channels(conda_env: Node | None, reading: Reading) -> CondaPart | None:
    return conda_part(conda_env, by_deployer=reading.by_deployer) if reading.conda else None


def digest_of(path: Path) -> str:
    """sha256 of a file, or of the names and contents below a directory (byte code and version control left out).

    :raises SpecError: a link in it leads out of it.
    """
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    total = hashlib.sha256()
    for below in sorted(path.rglob("*")):
        relative = below.relative_to(path)
        if {"__pycache__", ".git"} & set(relative.parts) or not below.is_file():
            continue
        if not below.resolve().is_relative_to(path.resolve()):
            raise SpecError(f"{below} leads out of {path}")
        total.update(json.dumps([relative.as_posix(), hashlib.sha256(below.read_bytes()).hexdigest()]).encode())
    return total.hexdigest()


def _named_file(model: Model, said: Said | None, default: str, notices: list[Notice]) -> Node | None:
    """The file that MLmodel names, or the one that lies beside it under its usual name."""
    if said is not None:
        path = model.path / said.text
        if path.exists():
            return _mapping_in(path)
        message = f"MLmodel names {said.text}, which the model does not have"
        notices.append(Notice(code="file-missing", message=message, place=said.place))
    path = model.path / default
    return _mapping_in(path) if path.exists() else None


def _mapping_in(path: Path) -> Node:
    root = document.read(path)
    if root.kind != "mapping":
        raise SpecError("this file holds no mapping, as one that describes an environment does", place=root.place)
    return root


def _pip_lines(
    model: Model, python_env: Node | None, conda_env: Node | None, reading: Reading, notices: list[Notice]
) -> Lines:
    """The pip requirements of the source that wins; the others are held against it."""
    sources: list[Lines] = []
    if python_env is not None and (listed := python_env.get("dependencies")) is not None:
        known = len(notices)
        found_lines = _listed(listed, reading, notices)
        # Lines that are nothing but a file that is missing ask for nothing, and rule nothing out.
        if found_lines.demands or not any(notice.code == "file-missing" for notice in notices[known:]):
            sources.append(found_lines)
    if conda_env is not None:
        pip_lists = [node.get("pip") for node in entries(conda_env)]
        if any(node is not None for node in pip_lists):
            found = [_listed(node, reading, notices) for node in pip_lists if node is not None]
            sources.append(sum(found, Lines()))
    lone = model.path / REQUIREMENTS
    if lone.is_file() and (not sources or _is_other_file(sources[0], lone)):
        sources.append(read_file(lone, reading))
    for other in sources[1:]:
        notices.extend(_disagreements(sources[0].demands, other.demands))
    return sources[0] if sources else Lines()


def _is_other_file(lines: Lines, path: Path) -> bool:
    return all(demand.place is None or demand.place.file != str(path) for demand in lines.demands)


def _listed(node: Node, reading: Reading, notices: list[Notice]) -> Lines:
    """Requirement lines in a YAML list; a file that they include and that is missing is a notice, not an error."""
    if node.kind != "sequence":
        raise SpecError("this is not a list of requirements", place=node.place)
    lines = Lines()
    for element in node.elements():
        if element.kind != "scalar" or element.text is None:
            raise SpecError("this is not a requirement", place=element.place)
        missing = _missing_include(element.text, reading)
        if missing is not None:
            message = f"{missing} is included here, and the model does not have it"
            notices.append(Notice(code="file-missing", message=message, place=element.place))
        elif element.text.strip():
            lines += read_line(element.text.strip(), element.place, reading)
    return lines


def _missing_include(text: str, reading: Reading) -> str | None:
    words = text.split()
    if len(words) != 2 or words[0] not in ("-r", "--requirement"):
        return None
    path = PurePosixPath(words[1].replace("\\", "/"))
    # What leads out of the model, or is no path at all, is no missing file but an error of the line's own.
    if path.is_absolute() or ".." in path.parts or not words[1].isprintable() or max(map(len, path.parts)) > _MAX_NAME:
        return None
    return None if (reading.model / path).exists() else words[1]


def _mlflow_demands(model: Model, demands: list[Demand], notices: list[Notice], *, with_version: bool) -> list[Demand]:
    """The mlflow that made the model, where the files leave that open."""
    naming = [demand for demand in demands if demand.name in MLFLOW_NAMES]
    # A frozen list pins the skinny half beside an open mlflow: the whole is what the version belongs to.
    naming = [demand for demand in naming if demand.name == "mlflow"] or naming
    stated = model.mlflow_version if with_version else None
    version = None if stated is None else version_of(stated.text)
    if any(demand.pin is not None or demand.kind != "index" for demand in naming):
        return []
    if not naming and not model.pyfunc.loader_module.startswith("mlflow."):
        return []
    if stated is not None and (version is None or version.local is not None):
        message = f"mlflow_version is {stated.text!r}, no release of the index; mlflow is taken as of the date"
        notices.append(Notice(code="mlflow-version-unusable", message=message, place=stated.place))
        version = None
    name = naming[0].name if naming else "mlflow"
    if version is not None and stated is not None:
        if all(demand.specifier.contains(version, prereleases=True) for demand in naming):
            return [Demand(text=f"{name}=={version}", kind="index", name=name, origin="mlflow", place=stated.place)]
        message = f"mlflow_version is {version}, which the requirements rule out; they count"
        notices.append(Notice(code="mlflow-version-disagrees", message=message, place=stated.place))
    if naming:
        return []
    message = f"the loader {model.pyfunc.loader_module} is mlflow's own and nobody names mlflow; it is added"
    notices.append(Notice(code="mlflow-added", message=message, place=model.pyfunc.place))
    return [Demand(text="mlflow", kind="index", name="mlflow", origin="mlflow", place=model.pyfunc.place)]


def _build_demands(
    python_env: Node | None, named: set[str | None], reading: Reading, notices: list[Notice]
) -> list[Demand]:
    """pip, setuptools and wheel: part of the environment, since many an mlflow imports ``pkg_resources``."""
    listed = None if python_env is None else python_env.get("build_dependencies")
    building = replace(reading, origin="build")
    if listed is not None:
        found = _listed(listed, building, notices).demands
    else:
        found = tuple(
            Demand(text=name, kind="index", name=name, origin="build", place=None)
            for name in ("pip", "setuptools", "wheel")
        )
    return [demand for demand in found if demand.name not in named]


def _disagreements(winning: tuple[Demand, ...], losing: tuple[Demand, ...]) -> list[Notice]:
    """A notice for each package on which another file says something else."""
    ours = {demand.name: demand for demand in winning if demand.name}
    theirs = {demand.name: demand for demand in losing if demand.name}
    found = []
    for name in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(name), theirs.get(name)
        if mine is not None and other is not None and mine.text != other.text:
            message = f"{other.text} is asked for here, {mine.text} in {mine.place}; the latter counts"
            found.append(Notice(code="requirement-disagrees", message=message, place=other.place))
        elif mine is None and other is not None:
            message = f"{other.text} is asked for here alone; the file that counts does not have it: not installed"
            found.append(Notice(code="requirement-disagrees", message=message, place=other.place))
    return found


def _versions_stated(model: Model, demands: list[Demand]) -> tuple[Demand, ...]:
    pins = [demand for demand in demands if demand.kind == "index" and demand.pin is not None]
    stated = [*pins, *flavors.versions_stated(model)]
    said = model.mlflow_version
    if said is not None and version_of(said.text) is not None:
        text = f"mlflow=={said.text}"
        stated.append(Demand(text=text, kind="index", name="mlflow", origin="mlflow", place=said.place))
    return _unique(stated)


def _unique(demands: list[Demand]) -> tuple[Demand, ...]:
    """Each demand once: the same text from two files is one demand, placed where it stands first."""
    seen: dict[str, Demand] = {}
    for demand in demands:
        seen.setdefault(demand.text, demand)
    return tuple(seen.values())


def spec_to_dict(spec: EnvironmentSpec) -> dict[str, Any]:
    """The form that ``inspect --json`` prints."""
    return {
        "python": {"version": spec.python.text, "source": spec.python.source, "place": _place(spec.python.place)},
        "requirements": [
            {"requirement": d.text, "kind": d.kind, "origin": d.origin, "place": _place(d.place)} for d in spec.demands
        ],
        "constraints": [{"requirement": d.text, "place": _place(d.place)} for d in spec.constraints],
        "index_lines": [
            {"option": i.option, "url": redacted(i.url), "place": _place(i.place)} for i in spec.index_lines
        ],
        "conda": None if spec.conda is None else _channels_to_dict(spec.conda),
        "excluded": [demand.text for demand in spec.excluded],
        "overrides": [change.to_dict() for change in spec.overrides],
        "digest": spec.digest(),
    }


def _channels_to_dict(part: CondaPart) -> dict[str, Any]:
    return {
        "packages": [{"spec": redacted(one.text), "place": str(one.place)} for one in part.specs],
        "channels": [redacted(url) for url in part.channels],
        "variables": sorted(name for name, _ in part.variables),
    }


def _place(place: Place | None) -> str | None:
    return None if place is None else str(place)
