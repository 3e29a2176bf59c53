"""The build of torch and tensorflow that the deployer, or this machine, wants in place of the index's usual one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeAlias

from packaging.version import Version

from envbuild import accelerator
from envbuild.accelerator import AS_INDEXED, FAMILY
from envbuild.asof import Ask
from envbuild.errors import IndexUnreachable, Unresolvable
from envbuild.lock import LockedPackage
from envbuild.projects import Project, read_projects
from envbuild.question import Question
from envbuild.redaction import without_userinfo
from envbuild.repairs import releases
from envbuild.repairs.attempt import Attempt
from envbuild.requirement import Demand

# What torch for a GPU weighs at least, packed.
_HEAVY_BYTES = 400 * 10**6
_TIMEOUT_SECONDS = 15.0
_TENSORFLOW = ("tensorflow", "tensorflow-gpu", "tensorflow-cpu")
_WITH_CUDA = "and-cuda"

Resolved: TypeAlias = "tuple[tuple[LockedPackage, ...], Attempt]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A build, and whether the deployer named it."""

    build: str
    by_name: bool
    folder: str

    @classmethod
    def by(cls, question: Question) -> Wanted:
        """What a question's settings want."""
        settings = question.settings
        build = accelerator.chosen(settings.accelerator)
        return cls(
            build=build,
            by_name=settings.accelerator != "auto",
            folder=accelerator.folder(build, settings.torch_index),
        )

    def __str__(self) -> str:
        return "the processor alone" if self.build == "cpu" else self.build


def with_tensorflow(question: Question, attempt: Attempt, ask: Ask) -> Attempt:
    """A try that asks for tensorflow without a GPU's libraries, where none is wanted and the index has it so."""
    if Wanted.by(question).build != "cpu":
        return attempt
    for demand in attempt.demands:
        instead = _tensorflow_instead(demand, question, ask)
        if instead is not None:
            message = f"{demand.text} is for a GPU; {instead.text}, for the processor alone, is taken"
            attempt = attempt.without(demand, instead).noting("accelerator", message)
            if instead.name == "tensorflow-cpu":
                attempt = replace(attempt, excluded=(*attempt.excluded, "tensorflow"))
    return attempt


def _tensorflow_instead(demand: Demand, question: Question, ask: Ask) -> Demand | None:
    requirement = demand.requirement
    if requirement is None or demand.kind != "index" or demand.name not in _TENSORFLOW:
        return None
    if question.settings.accelerator == "cpu" and demand.name != "tensorflow-cpu":
        name = "tensorflow-cpu"
    elif demand.name == "tensorflow-gpu" or _WITH_CUDA in requirement.extras:
        name = "tensorflow"
    else:
        return None
    bare = _without_cuda(demand)
    other = bare.rewritten(bare.specifier, name)
    project = ask([name]).get(name)
    has_it = project is not None and any(bare.specifier.filter(project.releases, prereleases=True))
    return other if has_it and other.text != demand.text else None


def _without_cuda(demand: Demand) -> Demand:
    requirement = demand.requirement
    if requirement is None:
        return demand
    requirement.extras -= {_WITH_CUDA}
    return replace(demand, text=str(requirement))


def accelerated(question: Question, resolved: Resolved, resolve: Callable[[Attempt], Resolved]) -> Resolved:
    """What was resolved, with the builds that are wanted.

    :param resolve: resolves a try.
    :raises Unresolvable: the deployer names a build that there is not.
    :raises IndexUnreachable: the deployer names a build, and where it would lie does not answer.
    """
    packages, attempt = resolved
    wanted = Wanted.by(question)
    if wanted.build == AS_INDEXED:
        return resolved
    family = [one for one in packages if one.name in FAMILY and one.kind in ("wheel", "sdist")]
    builds = {one.name: f"{Version(one.version or '0').public}+{wanted.build}" for one in family}
    if "torch" not in builds:
        return packages, _unused(attempt, packages, wanted)
    had = {one.name: one.version for one in packages}
    if all(had[name] == version for name, version in builds.items()) or not (wanted.by_name or _is_heavy(packages)):
        return resolved
    try:
        found = _offered(builds, question, wanted)
    except IndexUnreachable as error:
        if wanted.by_name:
            raise
        return packages, attempt.noting("accelerator-unavailable", f"{_taken(packages)}: {error.message}")
    if "torch" not in found:
        if wanted.by_name:
            raise Unresolvable(
                f"there is no torch {builds['torch']} for Python {question.target.python} at {_shown(wanted)}",
                hint="--set torch==VERSION takes another version; --accelerator auto takes what there is",
            )
        return packages, attempt.noting("accelerator-unavailable", f"{_taken(packages)}: {_shown(wanted)} has no other")
    lines = tuple(f"{name}=={version}" for name, version in sorted(found.items()))
    following = replace(
        attempt,
        overrides=(*attempt.overrides, *lines),
        find_links=accelerator.links(found.items(), question.settings.torch_index),
    )
    message = f"{', '.join(lines)} is taken: a build for {wanted}" + (
        "" if wanted.by_name else "; there is no GPU here"
    )
    return resolve(following.noting("accelerator", f"{message} (--accelerator decides otherwise)"))


def _is_heavy(packages: Iterable[LockedPackage]) -> bool:
    """Whether the torch that was found is a GPU's."""
    return any(
        one.name.startswith("nvidia-") or (one.name == "torch" and (one.size or 0) > _HEAVY_BYTES) for one in packages
    )


def _offered(builds: Mapping[str, str], question: Question, wanted: Wanted) -> dict[str, str]:
    """Those of the builds that there are for the target."""
    if question.settings.offline:
        raise IndexUnreachable("the network is not to be used", hint="run once without --offline")
    projects = _asked("torch", wanted, question)
    for name in builds.keys() - projects.keys():
        # To whoever keeps such folders as plain files, what is not there is often forbidden.
        with suppress(IndexUnreachable):
            projects |= _asked(name, wanted, question)
    return {name: text for name, text in builds.items() if _has(projects.get(name), Version(text), question)}


def _asked(name: str, wanted: Wanted, question: Question) -> dict[str, Project]:
    return read_projects([name], question.indexes.only(wanted.folder), wanted.folder, seconds=_TIMEOUT_SECONDS)


def _has(project: Project | None, version: Version, question: Question) -> bool:
    files = () if project is None else project.files.get(version, ())
    return releases.usable(files, question.target, question.spec.python.text)


def _unused(attempt: Attempt, packages: Iterable[LockedPackage], wanted: Wanted) -> Attempt:
    """Nothing that is named is ignored."""
    if not wanted.by_name or any(notice.code == "accelerator" for notice in attempt.notices):
        return attempt
    had = next((one.name for one in packages if one.name in _TENSORFLOW), None)
    why = "the environment has no torch" if had is None else f"there is but one build of {had} here"
    return attempt.noting("override-unused", f"--accelerator {wanted.build} changes nothing: {why}")


def _taken(packages: Iterable[LockedPackage]) -> str:
    heavy = sum(one.size or 0 for one in packages if one.name in FAMILY or one.name.startswith("nvidia-"))
    return f"torch is taken with a GPU's libraries ({heavy / 10**9:.1f} GB), though there is no GPU here"


def _shown(wanted: Wanted) -> str:
    return without_userinfo(wanted.folder)
