"""Rules that need nothing but what the model says: what cannot be meant for this machine, or for any."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from packaging.version import Version

from envbuild.conda_env import index_names
from envbuild.model import Notice
from envbuild.python_demand import PythonDemand
from envbuild.repairs.packages import DUMMIES, FOREIGN, NO_RELEASE, OF_THE_SYSTEM, SAME_HERE
from envbuild.repairs.rules import Switch
from envbuild.requirement import Demand
from envbuild.spec import MLFLOW_NAMES, EnvironmentSpec

_OLDEST_PYTHON = (3, 6)
# From 2.15 on mlflow no longer imports pkg_resources, which setuptools brings.
_MLFLOW_WITHOUT_PKG_RESOURCES = Version("2.15")


def mend(spec: EnvironmentSpec, switch: Switch) -> tuple[EnvironmentSpec, tuple[Notice, ...]]:
    """A spec with what the rules make of it, and a notice for each use of one."""
    notices: list[Notice] = []
    for name, rule in _RULES.items():
        if switch.allows(name):
            spec, found = rule(spec)
            notices += found
    return spec, tuple(notices)


Mended = tuple[EnvironmentSpec, list[Notice]]


def _python_too_old(spec: EnvironmentSpec) -> Mended:
    """No Python before 3.6 is run; what was written for one mostly runs there."""
    try:
        major, minor = (int(part) for part in spec.python.minor.split("."))
    except ValueError:
        return spec, []
    if (major, minor) >= _OLDEST_PYTHON or spec.python.source == "override":
        return spec, []
    message = f"Python {spec.python.text} is asked for, older than any that is run here; 3.6 is taken instead"
    notice = Notice(code="python-too-old", message=message, place=spec.python.place)
    return replace(spec, python=PythonDemand(text="3.6", place=spec.python.place, source=spec.python.source)), [notice]


def _foreign_platform(spec: EnvironmentSpec) -> Mended:
    """Packages of another operating system, which a frozen list from there names."""
    named = {demand.name for demand in spec.demands}

    def instead(demand: Demand) -> tuple[Demand | None, str] | None:
        if demand.kind != "index" or demand.requirement is None or demand.requirement.marker is not None:
            return None
        same = SAME_HERE.get(demand.name or "")
        if same is not None and same not in named:
            other = demand.rewritten(demand.specifier, same)
            return other, f"{demand.name} is {same} for another operating system; {same} is taken"
        if demand.name in FOREIGN or (demand.name or "").startswith("pyobjc-"):
            return None, f"{demand.text} is for another operating system; it is left out"
        return None

    return _changed(spec, "foreign-platform", instead)


def _dummy_package(spec: EnvironmentSpec) -> Mended:
    """Placeholders: ``sklearn`` for scikit-learn, and releases 0.0 that never were."""
    named = {demand.name for demand in spec.demands if demand.pin != NO_RELEASE}

    def instead(demand: Demand) -> tuple[Demand | None, str] | None:
        if demand.kind != "index":
            return None
        if demand.name is not None and demand.name in DUMMIES:
            meant = DUMMIES[demand.name]
            if meant is None or meant in named:
                return None, f"{demand.text} is a placeholder; it is left out"
            is_dummy = demand.pin is None or demand.pin.startswith("0.0")
            other = demand.rewritten("" if is_dummy else demand.specifier, meant)
            return other, f"{demand.name} is a placeholder for {meant}; {other.text} is taken"
        if demand.name == "scikit-learn" and demand.pin == NO_RELEASE:
            if demand.name in named:
                return None, f"{demand.text} is no release; what is asked for beside it counts"
            return demand.rewritten(""), f"{demand.text} is no release; its version is left open"
        return None

    return _changed(spec, "dummy-package", instead)


def _system_package(spec: EnvironmentSpec) -> Mended:
    """What belongs to a Linux distribution, in a list frozen from its own Python."""

    def instead(demand: Demand) -> tuple[Demand | None, str] | None:
        if demand.kind != "index" or demand.pin is None or demand.name not in OF_THE_SYSTEM:
            return None
        return None, f"{demand.text} belongs to the system that the list was frozen on; it is left out"

    return _changed(spec, "system-package", instead)


def _local_version(spec: EnvironmentSpec) -> Mended:
    """``===1.1build1``: a distribution's build of a release, in a version that no index can have."""

    def instead(demand: Demand) -> tuple[Demand | None, str] | None:
        pin = demand.pin if demand.kind == "index" else None
        release = None if pin is None or _is_version(pin) else re.match(r"\d+(?:\.\d+)*", pin)
        if release is None:
            return None
        other = replace(demand, text=f"{demand.name}=={release.group()}")
        return other, f"{demand.text} is a build of {other.text}, which is taken"

    return _changed(spec, "local-version", instead)


def _is_version(text: str) -> bool:
    return _at_least(text, Version("0.dev0"))


def _setuptools_added(spec: EnvironmentSpec) -> Mended:
    """mlflow before 2.15 imports ``pkg_resources``; what lists its build tools without setuptools would lack it."""
    mlflow = next((demand for demand in spec.demands if demand.name in MLFLOW_NAMES), None)
    named = {demand.name for demand in (*spec.demands, *spec.excluded)} | index_names(spec.conda)
    if mlflow is None or "setuptools" in named:
        return spec, []
    if mlflow.pin is not None and _at_least(mlflow.pin, _MLFLOW_WITHOUT_PKG_RESOURCES):
        return spec, []
    added = Demand(text="setuptools", kind="index", name="setuptools", origin="build", place=None)
    message = "mlflow before 2.15 imports pkg_resources, and nobody names setuptools, which brings it; it is added"
    return replace(spec, demands=(*spec.demands, added)), [Notice(code="setuptools-added", message=message)]


def _at_least(version: str, floor: Version) -> bool:
    try:
        return Version(version) >= floor
    except ValueError:
        return False


def _changed(spec: EnvironmentSpec, code: str, instead: Callable[[Demand], tuple[Demand | None, str] | None]) -> Mended:
    """A spec with some of its demands replaced or left out."""
    demands, notices = list[Demand](), list[Notice]()
    for demand in spec.demands:
        # What the deployer asks for is not mended: it is meant.
        change = None if demand.origin == "override" else instead(demand)
        if change is None:
            demands.append(demand)
            continue
        other, message = change
        if other is not None:
            demands.append(other)
        notices.append(Notice(code=code, message=message, place=demand.place))
    return (spec, notices) if not notices else (replace(spec, demands=tuple(demands)), notices)


_RULES: dict[str, Callable[[EnvironmentSpec], Mended]] = {
    "python-too-old": _python_too_old,
    "foreign-platform": _foreign_platform,
    "dummy-package": _dummy_package,
    "system-package": _system_package,
    "local-version": _local_version,
    "setuptools-added": _setuptools_added,
}
