"""Pythons: which minor versions are here, and which uv may fetch."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator

from packaging.version import Version

from envbuild import interpreters, process, uv
from envbuild.doctor.finding import Finding
from envbuild.errors import EnvbuildError, InterpreterNotFound
from envbuild.interpreters import Interpreter
from envbuild.settings import Settings

_LIST_SECONDS = 10.0
# Where uv cannot be asked what there is.
_NEWEST_KNOWN = 14


def pythons(settings: Settings) -> Iterator[Finding]:
    """Whether any Python is here or can be, then each minor version from the oldest that envbuild runs to the newest."""
    offered = _offered()
    newest = max([_NEWEST_KNOWN, *(Version(minor).minor for minor in offered)])
    minors = [f"3.{number}" for number in range(Version(interpreters.OLDEST).minor, newest + 1)]
    here = {minor: found for minor in minors if (found := _here(minor, settings)) is not None}
    may_fetch = settings.python_downloads and not settings.offline
    yield _any(here, offered if may_fetch else {}, minors)
    for minor in minors:
        found = here.get(minor)
        yield _missing(minor, offered, settings) if found is None else _there(minor, found)


def _here(minor: str, settings: Settings) -> Interpreter | None:
    """A minor version's newest patch release on this machine; nothing is fetched, and nothing kept."""
    found = []
    with contextlib.suppress(InterpreterNotFound):
        found.append(interpreters.find(minor, settings.having(python_downloads=False)))
    with contextlib.suppress(OSError):
        # Those that uv fetched for envbuild.
        paths = sorted((settings.home / "python").glob(f"*/bin/python{minor}"))
        found += [known for path in paths if (known := interpreters.probe(path)) is not None]
    return max(found, key=lambda one: Version(one.version), default=None)


def _offered() -> dict[str, str]:
    """The newest patch release of each minor version that uv can fetch for this platform, by its own list."""
    options = (
        "--only-downloads",
        "--all-versions",
        "--output-format",
        "json",
        "--no-config",
        "--offline",
        "--no-cache",
    )
    environ = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "TMPDIR": tempfile.gettempdir()}
    try:
        done = process.run([uv.binary(), "python", "list", *options], env=environ, timeout=_LIST_SECONDS)
        entries = json.loads(done.stdout)
        versions = [
            Version(entry["version"])
            for entry in entries
            if entry["implementation"] == "cpython" and entry["variant"] == "default"
        ]
    except (process.NotStarted, process.TimedOutWaiting, EnvbuildError, ValueError, KeyError, TypeError):
        return {}
    final = sorted(version for version in versions if not version.is_prerelease)
    return {f"{version.major}.{version.minor}": str(version) for version in final}


def _any(here: dict[str, Interpreter], offered: dict[str, str], minors: list[str]) -> Finding:
    later = [minor for minor in minors if minor in offered and minor not in here]
    found = f"{len(here)} of {len(minors)} minor versions are here"
    return Finding(
        name="any Python",
        state="fine" if here or later else "missing",
        found=f"{found}; uv fetches {len(later)} more when they are asked for" if later else found,
        without="no model runs",
        hint=None if here or later else "uv python install 3.12, or let envbuild do it (ENVBUILD_PYTHON_DOWNLOADS=1)",
        needed=True,
    )


def _there(minor: str, found: Interpreter) -> Finding:
    return Finding(
        name=f"Python {minor}",
        state="fine",
        found=f"{found.version}, {found.executable}",
        without=f"models of Python {minor} do not run",
    )


def _missing(minor: str, offered: dict[str, str], settings: Settings) -> Finding:
    version = offered.get(minor)
    if version is None:
        found, hint = "it is not here, and uv has none for this platform", f"pyenv install {minor}"
    elif settings.offline:
        found, hint = "it is not here, and nothing may be fetched (offline)", f"once online: uv python install {minor}"
    elif not settings.python_downloads:
        found = "it is not here, and uv may not fetch it (ENVBUILD_PYTHON_DOWNLOADS=0)"
        hint = f"uv python install {minor}; or ENVBUILD_PYTHON_DOWNLOADS=1"
    else:
        return Finding(
            name=f"Python {minor}",
            state="missing",
            found=f"it is not here; uv fetches {version} when a model asks for it",
            without=f"models of Python {minor} wait once for the download, and need the network for it",
            hint=f"uv python install {minor} fetches it now",
        )
    return Finding(
        name=f"Python {minor}",
        state="missing",
        found=found,
        without=f"models of Python {minor} do not run, unless --python names another version",
        hint=hint,
    )
