"""Whether a lock file is one for a model as the deployer has it."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from envbuild import asof, lock_files, staleness, target
from envbuild.conda import channels
from envbuild.errors import (
    LockMissing,
    LockStale,
)
from envbuild.lock import Lock
from envbuild.model import Notice
from envbuild.override import effects
from envbuild.pipeline.asking import from_channels
from envbuild.pipeline.stages import Asked, Locked
from envbuild.settings import Settings


def lock_file(
    asked: Asked, settings: Settings, wanted: target.Target
) -> tuple[Locked | None, tuple[Notice, ...]] | None:
    """The lock file that was named, or the one beside MLmodel; a stale one of the latter kind is a notice."""
    named = settings.lock if asked.bundle is None else asked.bundle.lock_for(wanted)
    path = named or lock_files.beside(asked.model.path, with_conda=asked.spec.conda is not None)
    if named is None and settings.update:
        return None
    if path is None:
        return _unwanted(asked)
    if not path.is_file():
        raise LockMissing(f"there is no lock at {path}", hint=f"envbuild lock {asked.model.path} -o {path} makes one")

    try:
        found = lock_files.read_lock_file(path, asked.spec.python.text, wanted)
        reasons = (
            *_reasons_of_form(found, settings),
            *staleness.reasons_against(found, asked.spec),
            *effects.unmet(found, asked.spec, settings),
            *(() if named is not None else (*_reasons_of_date(found, settings), *_strange(found, settings))),
        )
        if reasons:
            raise LockStale(
                f"the lock {_said(path, asked)} does not fit the model: {'; '.join(reasons)}",
                hint="lock again with envbuild lock --update, or remove it"
                if asked.bundle is None
                else "use it with the model and the options that it was exported with, or export it again",
            )
    except LockStale as error:
        if named is not None or settings.locked:
            raise
        return None, (Notice(code="lock-stale", message=f"{error.message}; it is not used", place=error.place),)
    return Locked(asked=asked, lock=found, source=_said(path, asked), notices=asked.spec.notices), ()


def _said(path: Path, asked: Asked) -> str:
    """Where a lock lies, for who reads it: where the store keeps a bundle's is nobody's business."""
    return str(path if asked.bundle is None else asked.bundle.file)


def _unwanted(asked: Asked) -> tuple[None, tuple[Notice, ...]] | None:
    """A lock beside MLmodel that has conda packages, where none are wanted."""
    path = asked.model.path / lock_files.CONDA_LOCK
    if asked.spec.conda is not None or not path.is_file():
        return None
    message = f"the lock {path} is not used: no conda packages are taken from channels here (docs/lock.md)"
    return None, (Notice(code="lock-stale", message=message),)


def _reasons_of_form(lock: Lock, settings: Settings) -> tuple[str, ...]:
    """Why a lock cannot be used where conda packages are taken from the index."""
    if lock.conda is None or from_channels(settings):
        return ()
    if settings.conda_packages == "map":
        return ("it has conda packages, and --conda-packages map takes none",)
    return ("it has conda packages, and envbuild[conda] is not installed",)


def _reasons_of_date(lock: Lock, settings: Settings) -> tuple[str, ...]:
    """Why a lock that lies in the model does not fit the date that the deployer gives."""
    wanted = asof.stated(settings.as_of)
    if settings.as_of == "created" or wanted == lock.origin.as_of:
        return ()
    return (f"it was locked as of {lock.origin.as_of or 'a date it does not say'}, --as-of is {settings.as_of}",)


def _strange(lock: Lock, settings: Settings) -> tuple[str, ...]:
    """Why a lock that lies in the model, whose maker may be anybody, takes packages from where nobody let it."""
    if lock.conda is None or settings.model_indexes == "allow":
        return ()
    mirrors = dict(settings.conda_mirror)
    fetched = (channels.mirrored(package.url, mirrors) for package in lock.conda.packages)
    hosts = sorted(
        {urlsplit(url).netloc or url.rpartition("/")[0] for url in fetched if not channels.is_known(url, mirrors)}
    )
    if not hosts:
        return ()
    return (
        f"it takes conda packages from {', '.join(hosts)}, which --model-indexes allow or a --conda-mirror lets it",
    )
