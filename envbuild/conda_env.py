"""conda.yaml: the packages of its own list, each with its place, under their names on an index.

Package specs are conda's ("Package match specifications"); which packages of an index they are says an explicit list,
:mod:`envbuild.conda_names`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from envbuild import conda_names
from envbuild.conda.part import CondaPart, own_packages
from envbuild.document import Node
from envbuild.errors import Place, SpecError
from envbuild.model import Notice
from envbuild.redaction import redacted
from envbuild.requirement import Demand, Origin, Reading, check_numbers, without_comment

_CONDA = re.compile(r"^(?:(?P<channel>\S+)::)?(?P<name>[A-Za-z0-9_.\-]+)\s*(?P<rest>.*)$")
_BRACKETED_VERSION = re.compile(
    r"""(?:^|[,\s])version\s*=\s*(?P<quote>['"]?)(?P<version>[^'"\]]*?)(?P=quote)\s*(?=[,\]])"""
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CondaSpec:
    """A package of conda.yaml's own list, without its build and its channel."""

    name: str
    written: str
    """The whole entry."""
    version: str
    """The version part in PEP 440's form, if it has one: conda's own libraries have versions like ``2025b``."""
    place: Place

    @property
    def specifier(self) -> SpecifierSet:
        """The version as PEP 440 specifiers.

        :raises SpecError: it has no such form.
        """
        if "|" in self.version:
            raise SpecError(
                f"{self.written!r} leaves a choice between versions, which no index's requirement can say",
                place=self.place,
                hint="keep one of them",
            )
        try:
            return SpecifierSet(self.version)
        except InvalidSpecifier as error:
            raise SpecError(f"{self.written!r} has a version that cannot be read", place=self.place) from error


def read_conda_spec(text: str, place: Place) -> CondaSpec:
    """One entry of conda.yaml's ``dependencies``.

    :raises SpecError: it is not a package spec.
    """
    check_numbers(text, place)
    match = _CONDA.match(without_comment(text))
    # A colon behind the name: the address of a package's file.
    if match is None or match["rest"].startswith(":"):
        raise SpecError(f"{redacted(text)!r} is no conda package spec", place=place)
    rest, bracket, keywords = match["rest"].partition("[")
    if bracket and not keywords.endswith("]"):
        raise SpecError(f"{text!r} has a bracket that does not end", place=place)
    # As conda has it: what brackets say goes before what stands outside them.
    stated = _BRACKETED_VERSION.search(keywords)
    if stated is None and re.search(r"\bversion\b", keywords):
        raise SpecError(f"{text!r} has a version that cannot be read", place=place, hint="write name=version")
    version = rest.strip() if stated is None else stated["version"].strip()
    return CondaSpec(name=match["name"].lower(), written=text, version=_pep440(version), place=place)


def _pep440(version: str) -> str:
    """Conda's version part as PEP 440: ``=1.2.3=py36_0`` is ``==1.2.3``, ``=1.2`` is ``==1.2.*``."""
    if not version or version == "*":
        return ""
    if "|" in version:
        # Alternatives have no form there; kept, so that whoever needs the version says so.
        return version
    if re.match(r"^[<>!~]|^==|.*,", version):
        clauses = [clause.strip() for clause in version.split(",")]
        return ",".join(filter(None, map(_clause, clauses)))
    number, *build = re.split(r"[=\s]+", version.lstrip("= "))
    # With a build string behind it, conda takes a version to the letter.
    return _clause(("==" if build else "=") + number)


def _clause(clause: str) -> str:
    operator, number = re.match(r"^([<>=!~]*)\s*(.*)$", clause).groups()  # type: ignore[union-attr] # always matches
    number = re.sub(r"\.?\*$", ".*", re.split(r"[=\s]+", number)[0])
    if number == ".*":
        return ""
    if operator in ("", "="):
        exact = number.count(".") >= 2 or number.endswith("*")
        return f"=={number}" if exact else f"=={number}.*"
    if number.endswith(".*") and operator not in ("==", "!="):
        number = number[:-2]
    return f"{operator}{number}"


def index_names(part: CondaPart | None) -> frozenset[str]:
    """Under which names an index has what comes from channels."""
    specs = () if part is None else part.specs
    return frozenset(index_name(spec.name) for spec in specs)


def index_name(name: str) -> str:
    """Under which name an index has a conda package; its own where the list knows no other."""
    known = conda_names.known(name)
    return str(canonicalize_name(name)) if known is None or known.index_name is None else known.index_name


def conda_demands(conda_env: Node | None, reading: Reading, notices: list[Notice]) -> list[Demand]:
    """conda.yaml's own packages, under their names on the index.

    :raises SpecError: one of them cannot be read, or is not on the list of names that are known there.
    """
    found: list[Demand] = []
    unknown: list[CondaSpec] = []
    for text, place in own_packages(conda_env) if conda_env is not None else ():
        spec = read_conda_spec(text, place)
        if spec.name == "python" or (spec.name == "pip" and not spec.version):
            continue
        known = conda_names.known(spec.name)
        if known is None:
            unknown.append(spec)
        elif known.index_name is None:
            notices.append(_set_aside(spec, known.kind))
        else:
            origin: Origin = "override" if reading.by_deployer else "conda"
            found.append(_conda_demand(spec, known.index_name, origin, finer=known.finer_versions))
    if unknown and not reading.leave_out_missing:
        raise _unknown_conda_names(unknown)
    for spec in unknown:
        message = f"the conda package {spec.name} is not on the list of names that are known on the index; left out"
        notices.append(Notice(code="missing-package", message=message, place=spec.place))
    return found


def _conda_demand(spec: CondaSpec, name: str, origin: Origin, *, finer: bool) -> Demand:
    specifier = str(spec.specifier)
    if finer:
        specifier = re.sub(r"==(\d+\.\d+\.\d+)(?=,|$)", r"==\1.*", specifier)
    return Demand(text=f"{name}{specifier}", kind="index", name=name, origin=origin, place=spec.place)


def _set_aside(spec: CondaSpec, kind: conda_names.Kind) -> Notice:
    if kind == "conda-tool":
        message = f"{spec.name} is a program of conda's own; no index has it and no model needs it: not installed"
        return Notice(code="conda-tool", message=message, place=spec.place)
    if kind == "foreign-platform":
        message = f"{spec.name} is a package of Windows or macOS alone: not installed"
        return Notice(code="foreign-platform", message=message, place=spec.place)
    message = f"{spec.name} is a native library or a part of conda's; wheels bring what they need: not installed"
    return Notice(code="conda-native", message=message, place=spec.place)


def _unknown_conda_names(unknown: list[CondaSpec]) -> SpecError:
    """All that one file has of them, so that nobody mends them one at a time."""
    names = ", ".join(repr(spec.name) for spec in unknown)
    several = len(unknown) > 1
    return SpecError(
        f"the conda package{'s' if several else ''} {names} {'are' if several else 'is'} not on the list of names "
        "that are known on the index",
        place=unknown[0].place,
        hint="name the package in conda.yaml's pip list if it is on the index, or remove the line; "
        "--allow-repair missing-package leaves it out",
        details=[f"{spec.place}: {spec.written}" for spec in unknown] if several else (),
    )
