"""What is asked for by where it lies and not by its name: for pip-tools, which cannot be told of it in every version.

A wheel says itself what it is; a directory, an sdist or a repository is made into a wheel by the model's pip, which is
what pip would do to learn of its needs. What is locked is the source.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement

from envbuild import process, system_packages, uv
from envbuild.downloads import Downloads
from envbuild.errors import DownloadFailed, IndexUnreachable, LockError, LockTimedOut, Unresolvable
from envbuild.files import sha256_of
from envbuild.lock import LockedPackage, staged
from envbuild.question import Question
from envbuild.redaction import redacted, without_userinfo
from envbuild.requirement import Demand
from envbuild.resolvers import standins
from envbuild.resolvers.standins import Metadata

Build = Callable[[Path, Path], process.Completed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A source, what it says of itself, and what is locked of it."""

    metadata: Metadata
    package: LockedPackage


def suffix_of(demand: Demand) -> tuple[str, str]:
    """The extras (``[x,y]``) and the marker (without its semicolon) of a demand that names a place."""
    requirement = demand.requirement
    if requirement is None and demand.path is None:
        # An address without a name has no extras.
        return "", re.split(r"\s+;\s*", f"{demand.text} ; ", maxsplit=2)[1].strip()
    if requirement is None:
        requirement = Requirement(f"local{demand.text.removeprefix(demand.path or '')}")
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return extras, "" if requirement.marker is None else str(requirement.marker)


def look_at(demand: Demand, question: Question, stage: Path, work: Path, build: Build) -> Located:
    """What a demand's place holds.

    :param stage: where what lies inside the model was copied to.
    :param work: an empty directory for this demand alone.
    :param build: makes a wheel of a source into a directory.
    :raises LockError: it cannot be had, or not be built.
    """
    work.mkdir(parents=True)
    if demand.path is not None:
        source = stage / staged(demand.path)
        return _in_model(demand, source, staged(demand.path), question, work, build)
    address = demand.text if demand.requirement is None else demand.requirement.url or ""
    address = re.split(r"\s+;", address, maxsplit=1)[0]
    if question.settings.offline:
        raise Unresolvable(
            f"{redacted(address)} is to be fetched, and the network is not to be used",
            hint="run once without --offline",
        )
    address, _, fragment = address.partition("#")
    subdirectory = next((part[13:] for part in fragment.split("&") if part.startswith("subdirectory=")), None)
    if demand.kind == "vcs":
        return _in_repository(demand, address.removeprefix("git+"), subdirectory, question, work, build)
    return _at_address(demand, address, subdirectory, question, work, build)


def _in_model(demand: Demand, source: Path, path: str, question: Question, work: Path, build: Build) -> Located:
    metadata = _metadata(demand, source, None, question, work, build)
    if source.is_dir():
        return Located(
            metadata=metadata,
            package=LockedPackage(name=metadata.name, version=None, kind="directory", sha256="", path=path),
        )
    package = LockedPackage(
        name=metadata.name, version=metadata.version, kind="archive", sha256=sha256_of(source), path=path
    )
    return Located(metadata=metadata, package=package)


def _at_address(
    demand: Demand, address: str, subdirectory: str | None, question: Question, work: Path, build: Build
) -> Located:
    name = PurePosixPath(unquote(urlsplit(address).path)).name or "archive"
    with Downloads(question.indexes, question.settings.home, offline=question.settings.offline) as downloads:
        try:
            kept = downloads.fetch(address)
        except DownloadFailed as error:
            raise IndexUnreachable(error.message, hint=error.hint, place=demand.place) from error
    # Under its own name, which says what it is.
    source = work / name
    shutil.copyfile(kept, source)
    metadata = _metadata(demand, source, subdirectory, question, work, build)
    package = LockedPackage(
        name=metadata.name,
        version=metadata.version,
        kind="archive",
        sha256=sha256_of(source),
        url=without_userinfo(address),
        subdirectory=subdirectory,
    )
    return Located(metadata=metadata, package=package)


def _in_repository(
    demand: Demand, address: str, subdirectory: str | None, question: Question, work: Path, build: Build
) -> Located:
    place, at, ref = address.rpartition("@")
    if not at or "/" not in urlsplit(place).path:
        place, ref = address, ""
    source = work / "repository"
    commit = _checked_out(place, ref, source, work, question.settings.lock_timeout)
    metadata = _metadata(demand, source / (subdirectory or ""), None, question, work, build)
    package = LockedPackage(
        name=metadata.name,
        version=metadata.version,
        kind="vcs",
        sha256="",
        url=without_userinfo(place),
        commit=commit,
        subdirectory=subdirectory,
    )
    return Located(metadata=metadata, package=package)


def _checked_out(address: str, ref: str, place: Path, work: Path, seconds: float) -> str:
    """Check a repository out as pip does, with what it contains of others, and give the commit."""
    home = work / "home"
    home.mkdir()
    variables, _ = uv.network()
    environ = {**variables, **uv.bare_environ(home), "GIT_TERMINAL_PROMPT": "0"}
    bare = without_userinfo(address)
    if bare != address:
        # Not as an argument, which everybody on the machine can read.
        known = {"COUNT": "1", "KEY_0": f"url.{address}.insteadOf", "VALUE_0": bare}
        environ |= {f"GIT_CONFIG_{name}": value for name, value in known.items()}

    def git(*words: str, cwd: Path = place) -> process.Completed:
        try:
            return process.run(["git", *words], env=environ, cwd=cwd, timeout=seconds)
        except process.NotStarted as error:
            raise LockError(f"{bare} is a repository, and git is not here", hint="install git") from error
        except process.TimedOutWaiting:
            raise LockTimedOut(f"{bare} could not be fetched in {seconds:g} seconds") from None

    done = git("clone", "--quiet", "--no-checkout", "--", bare, str(place), cwd=work)
    for wanted in (f"origin/{ref}", ref) if ref else ("HEAD",):
        if done.returncode == 0 and git("rev-parse", "--quiet", "--verify", f"{wanted}^{{commit}}").returncode == 0:
            done = git("checkout", "--quiet", "--detach", wanted)
            break
    else:
        raise LockError(
            f"{bare}{f' at {ref}' if ref else ''} cannot be fetched",
            hint="is the address right, and is the revision there?",
            details=redacted(done.stderr).splitlines()[-10:],
        )
    if done.returncode == 0:
        done = git("submodule", "--quiet", "update", "--init", "--recursive")
    if done.returncode != 0:
        raise LockError(f"{bare} cannot be checked out", details=redacted(done.stderr).splitlines()[-10:])
    return git("rev-parse", "HEAD").stdout.strip()


def _metadata(
    demand: Demand, source: Path, subdirectory: str | None, question: Question, work: Path, build: Build
) -> Metadata:
    if source.name.endswith(".whl"):
        return standins.read_wheel(source)
    if question.settings.no_build:
        raise Unresolvable(f"{_shown(demand)} must be built, and nothing may be (--no-build)", hint="give a wheel")
    if subdirectory is not None:
        from envbuild import sources

        source = sources.unpack(source, work / "unpacked") / subdirectory
    made = work / "wheel"
    done = build(source, made)
    wheel = next(made.glob("*.whl"), None) if made.is_dir() else None
    if done.returncode != 0 or wheel is None:
        words = f"{done.stdout}\n{done.stderr}"
        raise LockError(
            f"{_shown(demand)} must be built to say what it needs, and could not be",
            hint=system_packages.hint(words),
            place=demand.place,
            details=words.strip().splitlines()[-25:],
        )
    return standins.read_wheel(wheel)


def _shown(demand: Demand) -> str:
    return redacted(demand.text)
