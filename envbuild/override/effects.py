"""Whether a lock meets the deployer's changes, and which of them changed nothing: none of them is ignored."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.utils import canonicalize_name

from envbuild.lock import PYTHON_REPAIRS, Lock, LockedPackage
from envbuild.model import Notice
from envbuild.requirement import Demand
from envbuild.settings import EVERY_PACKAGE, Settings, names_package
from envbuild.spec import EnvironmentSpec


def unmet(lock: Lock, spec: EnvironmentSpec, settings: Settings) -> tuple[str, ...]:
    """What of the deployer's changes a lock does not meet, one sentence each; nothing where it meets all."""
    return tuple(_unmet(lock, spec, settings))


def _unmet(lock: Lock, spec: EnvironmentSpec, settings: Settings) -> Iterator[str]:
    packages = {package.name: package for package in lock.packages}
    moved = any(notice.code in PYTHON_REPAIRS for notice in lock.origin.notices)
    if spec.python.source == "override" and lock.python != spec.python.text and not moved:
        yield f"it is for Python {lock.python}, --python says {spec.python.text}"
    environment = lock.target.marker_environment(lock.python)
    provided = lock.provided
    for demand in (*spec.demands, *spec.constraints):
        if demand.origin == "override" and demand.name is not None and demand.applies(environment):
            if demand.name in provided:
                yield from _unmet_by_conda(provided[demand.name], demand)
                continue
            yield from _unmet_by(packages.get(demand.name), demand, needed=demand in spec.demands)
    for removed in spec.excluded:
        if removed.name in packages or removed.name in provided:
            yield f"it has {removed.name}, which --remove leaves out"
    yield from _wrong_forms(lock, settings)


def _unmet_by_conda(version: str, demand: Demand) -> Iterator[str]:
    if demand.kind != "index" or not demand.specifier.contains(version, prereleases=True):
        yield f"it has {demand.name} {version} from a conda channel, and {demand.text} is asked for ({demand.place})"


def _unmet_by(package: LockedPackage | None, demand: Demand, *, needed: bool) -> Iterator[str]:
    if package is None:
        if needed:
            yield f"it lacks {demand.text} ({demand.place})"
    elif package.version is not None and not demand.specifier.contains(package.version, prereleases=True):
        yield f"it has {package.name} {package.version}, and {demand.text} is asked for ({demand.place})"
    elif needed and demand.kind in ("url", "vcs") and package.kind not in ("archive", "vcs"):
        yield f"it has {package.name} from an index, and {demand.text} is asked for ({demand.place})"
    elif needed and demand.path is not None and package.path is None:
        yield f"it has {package.name} from elsewhere, and {demand.path} is asked for"


def _wrong_forms(lock: Lock, settings: Settings) -> Iterator[str]:
    for package in lock.packages:
        if package.is_built and (settings.no_build or names_package(settings.only_binary, package.name)):
            yield f"it has no wheel of {package.name}, and wheels alone are asked for"
        if package.kind == "wheel" and names_package(settings.no_binary, package.name):
            yield f"it has a wheel of {package.name}, and --no-binary is asked for"


def unused(lock: Lock, spec: EnvironmentSpec, settings: Settings) -> tuple[Notice, ...]:
    """A notice for each change that names what the environment does not have."""
    return tuple(_unused(lock, spec, settings))


def _unused(lock: Lock, spec: EnvironmentSpec, settings: Settings) -> Iterator[Notice]:
    had = {package.name for package in lock.packages} | lock.provided.keys()
    bounds: dict[str, list[Demand]] = {}
    for bound in spec.constraints:
        if bound.origin == "override" and bound.place is not None:
            bounds.setdefault(bound.place.file, []).append(bound)
    for file, of_file in bounds.items():
        missing = [bound for bound in of_file if bound.name not in had]
        if file == "--set" or file.endswith((".yaml", ".yml")):
            for bound in missing:
                message = f"{bound.text} ({bound.place}) changes nothing: the environment has no {bound.name}"
                yield Notice(code="override-unused", message=f"{message}; --add adds it", place=bound.place)
        elif missing:
            said = f"{len(of_file) - len(missing)} of {len(of_file)} constraints concern packages of this environment"
            yield Notice(code="override-unused", message=f"{said} ({file})")
    for option, listed in (("only-binary", settings.only_binary), ("no-binary", settings.no_binary)):
        for name in listed:
            if name != EVERY_PACKAGE and canonicalize_name(name) not in had:
                message = f"--{option} {name} changes nothing: the environment has no {name}"
                yield Notice(code="override-unused", message=message)
