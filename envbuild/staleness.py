"""Whether a lock still fits what a model asks for."""

from __future__ import annotations

from envbuild.lock import Lock, LockedPackage
from envbuild.requirement import Demand
from envbuild.spec import EnvironmentSpec, digest_of


def reasons_against(lock: Lock, spec: EnvironmentSpec) -> tuple[str, ...]:
    """Why a lock does not fit a spec, one sentence each; nothing where it fits.

    A lock that was made from this very spec fits. One of another tool, or edited, fits when it holds everything that
    the spec asks for.
    """
    if lock.origin.spec_digest == spec.digest():
        return ()
    found = []
    if lock.python != spec.python.text:
        found.append(f"it is for Python {lock.python}, the model asks for {spec.python.text}")
    for demand in (*spec.demands, *spec.constraints):
        if (reason := _reason(demand, lock, spec, needed=demand in spec.demands)) is not None:
            found.append(reason)
    return tuple(found)


def _reason(demand: Demand, lock: Lock, spec: EnvironmentSpec, *, needed: bool) -> str | None:
    if not demand.applies(lock.target.marker_environment(lock.python)):
        return None
    package = _package_of(demand, lock)
    where = f" ({demand.place})" if demand.place is not None else ""
    if package is None:
        # What every environment has by our own rule, a lock of another tool need not have.
        own_rule = demand.place is None or demand.origin == "mlflow"
        return None if own_rule or not needed else f"it lacks {demand.text}{where}"
    if demand.path is not None:
        same = package.sha256 in ("", digest_of(spec.model / demand.path))
        return None if same else f"{demand.path} is not the one that was locked"
    if package.version is not None and not demand.specifier.contains(package.version, prereleases=True):
        if demand.origin == "mlflow":
            return None
        return f"it has {package.name} {package.version}, the model asks for {demand.text}{where}"
    return None


def _package_of(demand: Demand, lock: Lock) -> LockedPackage | None:
    for package in lock.packages:
        if (demand.path is not None and package.path == demand.path) or package.name == demand.name:
            return package
    return None
