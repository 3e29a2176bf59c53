"""Network: the indexes, and the place of curated environments."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from envbuild import projects, uv
from envbuild.doctor.finding import Finding, State
from envbuild.errors import EnvbuildError, EnvironmentUnknown, EnvironmentUnreachable, IndexUnreachable, UsageError
from envbuild.indexes import Indexes, choose
from envbuild.override import curated
from envbuild.projects import Project
from envbuild.redaction import without_userinfo
from envbuild.settings import Settings

# Every index that serves whole environments has one of them.
_COMMON = ("pip", "setuptools", "wheel", "mlflow")
# No such environment: whoever says that there is none was reached.
_NOBODYS_ENVIRONMENT = "envbuild-doctor:0"
_NOT_ASKED = "not asked, since nothing may touch the network (offline)"
_WITHOUT_INDEX = "what is locked and downloaded already can be built; nothing new is locked"
_NAME_IT = "name the index: --index-url URL, or ENVBUILD_INDEX_URL"
_WITHOUT_TIMES = "what a model does not pin is taken as of now, whatever the model's date (repair no-upload-times)"
_WITHOUT_PLACE = "--environment NAME does not work; the path of a file does"


def index(settings: Settings) -> Iterator[Finding]:
    """The main index, and whether it says when files were uploaded."""
    if settings.offline:
        yield Finding(name="index", state="fine", found=_NOT_ASKED, without=_WITHOUT_INDEX)
        return
    try:
        known, _ = choose(settings, (), "")
        url = known.main or _default()
    except EnvbuildError as error:
        yield Finding(
            name="index", state="wrong", found=error.message, without=_WITHOUT_INDEX, hint=_NAME_IT, needed=True
        )
        return
    yield from _index("index", url, known, main=True)


def further_indexes(settings: Settings) -> Iterator[Finding]:
    """The further indexes that the deployer names; each may have a few packages only."""
    known, _ = choose(settings, (), "")
    for url in known.extra:
        name = f"index {without_userinfo(url)}"
        if settings.offline:
            yield Finding(name=name, state="fine", found=_NOT_ASKED, without=_WITHOUT_INDEX)
        else:
            yield from _index(name, url, known, main=False)


def _default() -> str:
    # In a place of its own: the store is not made by looking.
    with tempfile.TemporaryDirectory(prefix="envbuild-doctor-") as name:
        return uv.default_index(Path(name))


def _index(name: str, url: str, known: Indexes, *, main: bool) -> Iterator[Finding]:
    where = without_userinfo(url)
    try:
        found = _first_project(known.only(url), url)
    except IndexUnreachable as error:
        yield Finding(
            name=name, state="wrong", found=error.message, without=_WITHOUT_INDEX, hint=error.hint, needed=True
        )
        return
    if found is None:
        yield _without_packages(name, where, main=main)
        return
    yield Finding(name=name, state="fine", found=f"{where} answers", without=_WITHOUT_INDEX, needed=True)
    yield _upload_times("upload times" if main else f"upload times of {where}", found)


def _first_project(indexes: Indexes, url: str) -> Project | None:
    for name in _COMMON:
        if found := projects.read_projects([name], indexes, url):
            return found[name]
    return None


def _without_packages(name: str, where: str, *, main: bool) -> Finding:
    hint = "is the URL that of a simple API? most end in /simple (--index-url)"
    return Finding(
        name=name,
        state="wrong" if main else "fine",
        found=f"{where} answers, and has none of {', '.join(_COMMON)}",
        without=_WITHOUT_INDEX,
        hint=hint if main else None,
        needed=True,
    )


def _upload_times(name: str, project: Project) -> Finding:
    files = [file for of_version in project.files.values() for file in of_version]
    dated = sum(file.uploaded is not None for file in files)
    said = "none of its" if not dated else f"{dated} of its {len(files)}"
    fine = dated == len(files)
    return Finding(
        name=name,
        state="fine" if fine else "missing",
        found=f"{'it states them' if fine else f'{said} files have one'} (looked at {project.name})",
        without=_WITHOUT_TIMES,
        hint=None if fine else "use an index that has them (the simple API's JSON, PEP 700), or lock elsewhere",
    )


def environments(settings: Settings) -> Iterator[Finding]:
    """The place of curated environments, where one is set."""
    place = settings.environments
    if place is None:
        return
    where, remote = without_userinfo(place), "://" in place
    if remote and settings.offline:
        yield Finding(name="curated environments", state="fine", found=_NOT_ASKED, without=_WITHOUT_PLACE)
        return
    hint: str | None = None
    state: State = "fine"
    try:
        curated.find(_NOBODYS_ENVIRONMENT, settings)
        found = f"{where} answers"
    except EnvironmentUnknown as error:
        found = f"{where} answers" if remote else f"{where} can be read; {error.hint}"
    except (EnvironmentUnreachable, UsageError) as error:
        state, found, hint = "wrong", error.message, error.hint
    yield Finding(name="curated environments", state=state, found=found, without=_WITHOUT_PLACE, hint=hint)
