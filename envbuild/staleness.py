"""Whether a lock still fits what a model asks for."""

from __future__ import annotations

from collections.abc import Iterator

from envbuild import conda_names
from envbuild.conda.match import may_match
from envbuild.lock import Lock, LockedPackage
from envbuild.requirement import Demand, version_of
from envbuild.spec import EnvironmentSpec, digest_of


def reasons_against(lock: Lock, spec: EnvironmentSpec) -> tuple[str, ...]:
    """Why a lock does not fit a spec, one sentence each; nothing where it fits.

    A lock that was made from this very spec fits. One of another tool, or edited, fits when it holds everything that
    the spec asks for. Of its conda packages that is said as far as it is plain: conda alone can tell the rest.
    """
    if lock.origin.spec_digest == spec.digest():
        return ()
    found = []
    # conda's Python is a package like the others, of one release.
    same_minor = lock.conda is not None and lock.python.startswith(f"{spec.python.text}.")
    if lock.python != spec.python.text and not same_minor:
        found.append(f"it is for Python {lock.python}, the model asks for {spec.python.text}")
    found += _reasons_from_channels(lock, spec)
    for demand in (*spec.demands, *spec.constraints):
        if (reason := _reason(demand, lock, spec, needed=demand in spec.demands)) is not None:
            found.append(reason)
    return tuple(found)


def _reason(demand: Demand, lock: Lock, spec: EnvironmentSpec, *, needed: bool) -> str | None:
    if not demand.applies(lock.target.marker_environment(lock.python)):
        return None
    package = _package_of(demand, lock)
    if package is None:
        return _reason_without(demand, lock, needed=needed)
    if demand.path is not None:
        same = package.sha256 in ("", digest_of(spec.model / demand.path))
        return None if same else f"{demand.path} is not the one that was locked"
    if demand.origin == "mlflow" or package.version is None:
        return None
    if not demand.specifier.contains(package.version, prereleases=True):
        return f"it has {package.name} {package.version}, the model asks for {demand.text}{_where(demand)}"
    return None


def _reason_without(demand: Demand, lock: Lock, *, needed: bool) -> str | None:
    """Why a lock without a package of pip's does not fit: a conda package may bring the same."""
    if (version := _version_from_channels(demand, lock)) is not None:
        if demand.origin == "mlflow" or _may_allow(demand, version):
            return None
        return f"it has conda's {demand.name} {version}, the model asks for {demand.text}{_where(demand)}"
    # What every environment has by our own rule, a lock of another tool need not have.
    own_rule = demand.place is None or demand.origin == "mlflow"
    return None if own_rule or not needed else f"it lacks {demand.text}{_where(demand)}"


def _where(demand: Demand) -> str:
    return "" if demand.place is None else f" ({demand.place})"


def _reasons_from_channels(lock: Lock, spec: EnvironmentSpec) -> Iterator[str]:
    """What conda.yaml asks for from channels and the lock does not have."""
    if spec.conda is None:
        return
    if lock.conda is None:
        yield "it has no conda packages, and conda.yaml asks for some"
        return
    packages = {package.name: package for package in lock.conda.packages}
    for asked in spec.conda.specs:
        package = packages.get(asked.name)
        if package is None:
            if "*" not in asked.name:
                yield f"it lacks conda's {asked.text} ({asked.place})"
        elif not may_match(asked.text, package.version, package.build):
            has = f"{package.name} {package.version} ({package.build})"
            yield f"it has conda's {has}, the model asks for {asked.text} ({asked.place})"


def _version_from_channels(demand: Demand, lock: Lock) -> str | None:
    """The version of a distribution that a conda package brings, by its own word or by its name."""
    if lock.conda is None or demand.name is None:
        return None
    if (version := lock.conda.provides.get(demand.name)) is not None:
        return version
    for package in lock.conda.packages:
        known = None if package.provides else conda_names.known(package.name)
        if known is not None and known.index_name == demand.name:
            return package.version
    return None


def _may_allow(demand: Demand, version: str) -> bool:
    """Whether a demand allows a version; one that is no version of an index may be anything."""
    return version_of(version) is None or demand.specifier.contains(version, prereleases=True)


def _package_of(demand: Demand, lock: Lock) -> LockedPackage | None:
    for package in lock.packages:
        if (demand.path is not None and package.path == demand.path) or package.name == demand.name:
            return package
    return None
