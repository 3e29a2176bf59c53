"""Which Python a model asks for: what its files say, which of them wins, and what is assumed where none does."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from envbuild.conda.part import entries, spec_name
from envbuild.conda_env import read_conda_spec
from envbuild.document import Node
from envbuild.errors import Place, SpecError
from envbuild.model import Model, Notice
from envbuild.requirement import check_numbers, version_of

PYTHON_ENV, CONDA_ENV = "python_env.yaml", "conda.yaml"

# What can name a Python: its minor version at least.
_PYTHON = re.compile(r"\d\.\d+(?:\.\d+(?:(?:a|b|rc)\d+)?)?")

# The Python that most people had when a model without any was saved: minor version, from which date on.
_PYTHON_BY_DATE = (
    ("2018-01-01", "3.6"),
    ("2020-01-01", "3.7"),
    ("2021-07-01", "3.8"),
    ("2023-01-01", "3.9"),
    ("2024-01-01", "3.10"),
    ("2025-01-01", "3.11"),
    ("2026-01-01", "3.12"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonDemand:
    """The Python asked for: ``text`` is ``3.8.5`` or, where no patch release is named, ``3.8``."""

    text: str
    place: Place | None
    source: str
    """``python_env.yaml``, ``conda.yaml``, ``MLmodel``, ``inferred`` or ``override``."""

    @property
    def minor(self) -> str:
        """``3.8`` of ``3.8.5``."""
        return ".".join(self.text.split(".")[:2])


def python_demand(
    model: Model, python_env: Node | None, conda_env: Node | None, notices: list[Notice], *, alone: bool
) -> PythonDemand:
    """The Python of the first source that has one, made exact by a later one where it is a range.

    :param alone: the first is the deployer's, which no other makes exact.
    :raises SpecError: one of them is no version.
    """
    stated = list(_pythons_stated(model, python_env, conda_env))[: 1 if alone else None]
    if not stated:
        return _inferred_python(model, notices)
    (first, wanted), others = stated[0], stated[1:]
    for other, specifier in others:
        exact = _exact_python(specifier)
        if exact is not None and wanted.contains(exact):
            if _exact_python(wanted) is None:
                return replace(first, text=exact)
        elif str(specifier) != str(wanted) and not specifier.contains(_exact_python(wanted) or ""):
            message = (
                f"{other.source} says Python {other.text}, {first.source} says {first.text}; {first.source} counts"
            )
            notices.append(Notice(code="python-disagrees", message=message, place=other.place))
    return replace(first, text=_exact_python(wanted) or _oldest_python(wanted, first, model))


def _pythons_stated(
    model: Model, python_env: Node | None, conda_env: Node | None
) -> Iterable[tuple[PythonDemand, SpecifierSet]]:
    node = None if python_env is None else python_env.get("python")
    if node is not None:
        if node.kind != "scalar" or not node.text:
            raise SpecError("python is not a version", place=node.place)
        yield _stated(node.text, node.place, PYTHON_ENV)
    for entry in entries(conda_env) if conda_env is not None else ():
        # The others are read by whoever installs them: what a channel understands, an index need not.
        if entry.kind == "scalar" and entry.text is not None and spec_name(entry.text) == "python":
            spec = read_conda_spec(entry.text, entry.place)
            if spec.version:
                demand = PythonDemand(text=str(spec.specifier), place=entry.place, source=CONDA_ENV)
                yield replace(demand, text=_exact_python(spec.specifier) or str(spec.specifier)), spec.specifier
    said = model.pyfunc.python_version
    if said is not None:
        yield _stated(said.text, said.place, "MLmodel")


def _stated(text: str, place: Place, source: str) -> tuple[PythonDemand, SpecifierSet]:
    check_numbers(text, place)
    # A Python built from a repository says `3.8.10+`.
    text = re.sub(r"\+\S*$", "", text.strip())
    demand = PythonDemand(text=text, place=place, source=source)
    version = version_of(text)
    try:
        if version is None:
            return demand, SpecifierSet(text)
        full = len(version.release) >= 3
        return demand, SpecifierSet(f"=={version}" if full else f"=={version}.*")
    except InvalidSpecifier as error:
        raise SpecError(f"{text!r} is no Python version", place=place) from error


def _exact_python(specifier: SpecifierSet) -> str | None:
    """``3.8.5`` of ``==3.8.5``."""
    exact = [s.version for s in specifier if s.operator in ("==", "===") and not s.version.endswith(".*")]
    if len(exact) != 1 or len(specifier) != 1:
        return None
    return exact[0] if _PYTHON.fullmatch(exact[0]) else None


def _oldest_python(wanted: SpecifierSet, demand: PythonDemand, model: Model) -> str:
    """The minor version of a range: the one usual when the model was made, else the oldest that it allows."""
    minors = [f"3.{minor}" for minor in range(6, 20)]
    allowed = [m for m in minors if any(wanted.contains(f"{m}.{patch}") for patch in range(30))]
    if not allowed:
        # Older than anything that we run: kept as it is written, so that looking for it says what can be done.
        oldest = next((one.version.removesuffix(".*") for one in wanted), demand.text)
        if not _PYTHON.fullmatch(oldest):
            raise SpecError(f"{demand.text!r} is no Python that there is", place=demand.place)
        return oldest
    usual = None if model.created is None else _usual_python(model.created)
    return usual if usual in allowed else allowed[0]


def _usual_python(created: datetime) -> str:
    day = created.date().isoformat()
    return [minor for since, minor in _PYTHON_BY_DATE if since <= day][-1]


def _inferred_python(model: Model, notices: list[Notice]) -> PythonDemand:
    text = "3.8" if model.created is None else _usual_python(model.created)
    basis = "the model has no date either" if model.created is None else f"usual in {model.created:%B %Y}"
    message = f"no file says which Python made the model; {text} is assumed ({basis}); --python decides otherwise"
    notices.append(Notice(code="python-inferred", message=message))
    return PythonDemand(text=text, place=None, source="inferred")
