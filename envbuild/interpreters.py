"""Finding the Python that a model was made with, by a stated policy.

Looked for in this order: the path that was given; what findpython knows (``PATH``, pyenv, asdf, rye, uv's managed
ones); conda's environments; ``/opt`` and ``/usr/local``; then, where that is allowed, a managed Python that uv fetches.
Where the deployer says so, it comes from conda's channel in place of all these.
An interpreter counts by what it says of itself when it runs, never by its name.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from packaging.version import Version

from envbuild import target
from envbuild.errors import InterpreterNotFound, UsageError
from envbuild.files import write_whole
from envbuild.progress import Report, silent
from envbuild.settings import PythonPolicy, Settings
from envbuild.system_errors import is_too_many_files, too_many_files

OLDEST = "3.6"
_PROBE_SECONDS = 20.0
_PROBE = """
import json, os, platform, sys, sysconfig
print(json.dumps({
    "executable": getattr(sys, "_base_executable", None) or sys.executable,
    "base_prefix": sys.base_prefix,
    "in_virtualenv": os.path.exists(os.path.join(os.path.dirname(os.path.dirname(sys.executable)), "pyvenv.cfg")),
    "implementation": sys.implementation.name,
    "version": platform.python_version(),
    "abi": sysconfig.get_config_var("SOABI") or "",
    "platform": sysconfig.get_platform(),
}))
"""
_PLACES = (
    "/opt/*/bin/python3*",
    "/opt/*/*/bin/python3*",
    "/usr/local/bin/python3*",
    "~/miniconda3/envs/*/bin/python3",
    "~/anaconda3/envs/*/bin/python3",
    "~/miniforge3/envs/*/bin/python3",
    "~/.conda/envs/*/bin/python3",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A CPython on this machine, as it describes itself."""

    executable: str
    version: str
    """In full: ``3.8.18``."""
    abi: str
    """``cpython-38-x86_64-linux-gnu``."""
    platform: str
    """As ``sysconfig.get_platform`` says it: ``linux-x86_64``."""

    @property
    def minor(self) -> str:
        """``3.8``."""
        return ".".join(self.version.split(".")[:2])

    @property
    def key(self) -> str:
        """What names it in the store: version, ABI and platform. The same build at another path has the same key."""
        return f"{self.version}-{self.abi or 'noabi'}"

    def to_dict(self) -> dict[str, str]:
        """The form that ``--json`` prints and a marker keeps."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What tells an interpreter's program from another at the same path without running it."""

    size: int
    mtime: int
    """Seconds since the epoch: archives keep no more."""

    @classmethod
    def of(cls, program: str) -> Fingerprint | None:
        """A program's; ``None`` where there is none that can be run."""
        try:
            facts = Path(program).stat()
        except OSError:
            return None
        may = os.access(program, os.X_OK, effective_ids=True)
        return cls(size=facts.st_size, mtime=int(facts.st_mtime)) if may else None


def find(demanded: str, settings: Settings, report: Report = silent) -> Interpreter:
    """The interpreter for a version (``3.8.5`` or ``3.8``).

    Where the very version was found is kept in the store: looking everywhere takes a tenth of a second.

    :raises InterpreterNotFound: it is not here and may not or cannot be fetched; says what was looked at.
    """
    if settings.python_source == "conda":
        return _of_channel(demanded, settings, report)
    kept = kept_at(settings.home, demanded)
    if (known := read_kept(kept)) is not None:
        return known
    looked_at: list[Interpreter] = []
    near: list[Interpreter] = []
    for candidate in _candidates(demanded):
        interpreter = probe(candidate)
        if interpreter is None or interpreter in looked_at:
            continue
        looked_at.append(interpreter)
        if interpreter.version == demanded:
            keep(kept, interpreter)
            return interpreter
        if fits(interpreter.version, demanded, settings.python_policy):
            near.append(interpreter)
    # The very version, fetched, is nearer than a neighbour that is here.
    if not near or settings.python_policy == "exact":
        fetched = _fetched(demanded, settings, report)
        near += [fetched] if fetched is not None else []
    if not near:
        raise _not_found(demanded, settings, looked_at)
    return max(near, key=lambda found: Version(found.version))


def kept_at(home: Path, demanded: str) -> Path:
    """The file in a store that says where the Python of a version is."""
    return home / "interpreters" / f"{demanded}.json"


def read_kept(path: Path) -> Interpreter | None:
    """The interpreter that :func:`keep` kept in a file, if it is still there and the same; it is not run to see that."""
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        known = Interpreter(**content["interpreter"])
        there = Fingerprint.of(known.executable)
        return known if there is not None and [there.size, there.mtime] == content["fingerprint"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(path: Path, interpreter: Interpreter) -> None:
    """Keep an interpreter in a file of the store."""
    there = Fingerprint.of(interpreter.executable)
    # Only in a store that is there; one that cannot be written is said by whoever must write there.
    if there is None or not path.parent.parent.is_dir():
        return
    content = {"interpreter": interpreter.to_dict(), "fingerprint": [there.size, there.mtime]}
    with contextlib.suppress(OSError, UsageError):
        path.parent.mkdir(exist_ok=True)
        write_whole(path, json.dumps(content).encode())


def fits(version: str, demanded: str, policy: PythonPolicy) -> bool:
    """Whether a full version is the one demanded: to the letter, or by its minor version where the policy allows."""
    if version == demanded or version.startswith(f"{demanded}."):
        return True
    same_minor = version.split(".")[:2] == demanded.split(".")[:2]
    return policy == "minor" and same_minor and not Version(version).is_prerelease


def at_path(path: str) -> Interpreter:
    """The interpreter at a path that was given.

    :raises InterpreterNotFound: nothing there runs as a CPython of 3.6 or later.
    """
    program = Path(path).expanduser()
    if not program.exists():
        raise InterpreterNotFound(f"there is no file {path}", hint="give the path of a python program, or a version")
    interpreter = probe(program.absolute())
    if interpreter is None:
        raise InterpreterNotFound(
            f"{path} is no CPython {OLDEST} or later that runs here", hint="give the path of a python program"
        )
    return interpreter


def is_path(text: str) -> bool:
    """Whether ``--python``'s value is a path and not a version."""
    return os.sep in text


@lru_cache(maxsize=256)
def probe(path: Path) -> Interpreter | None:
    """What an interpreter says of itself; a virtualenv's stands for the one it was made from. ``None``: unusable."""
    from envbuild import process  # an interpreter that is known needs none

    try:
        answer = process.run(
            [str(path), "-I", "-S", "-c", _PROBE], env={"PATH": "/usr/bin:/bin"}, timeout=_PROBE_SECONDS
        )
        facts: dict[str, Any] = json.loads(answer.stdout)
    except process.NotStarted as error:
        if is_too_many_files(error.__cause__):
            raise too_many_files() from error
        return None
    except (process.TimedOutWaiting, ValueError):
        return None
    if facts["implementation"] != "cpython" or Version(facts["version"]) < Version(OLDEST):
        return None
    executable = str(path.resolve()) if not facts["in_virtualenv"] else _base_executable(facts)
    return Interpreter(executable=executable, version=facts["version"], abi=facts["abi"], platform=facts["platform"])


def _base_executable(facts: dict[str, Any]) -> str:
    minor = ".".join(facts["version"].split(".")[:2])
    inside = Path(facts["base_prefix"]) / "bin" / f"python{minor}"
    return str(inside.resolve() if inside.exists() else Path(facts["executable"]).resolve())


def _candidates(demanded: str) -> Iterator[Path]:
    """Every Python program there may be, once, the likeliest first: running one costs some 30 ms."""
    seen: set[str] = set()
    minor = ".".join(demanded.split(".")[:2])
    found = [path for path in _everywhere() if _may_be(path, minor)]
    for path in sorted(found, key=lambda path: (demanded not in str(path), f"python{minor}" != path.name)):
        real = os.path.realpath(path)
        if real not in seen:
            seen.add(real)
            yield path


def _may_be(path: Path, minor: str) -> bool:
    """Whether a file may be that minor version: one whose path names another is left alone, as pyenv's shims are."""
    if path.parent.name == "shims" or not re.fullmatch(r"python(3(\.\d+)?m?)?", path.name):
        return False
    real = os.path.realpath(path)
    named = re.search(r"python(\d\.\d+)m?$", real)
    return named is None or named.group(1) == minor


def _everywhere() -> Iterator[Path]:
    # Imported here: it takes 100 ms, and only a build or a lock looks for interpreters.
    from findpython.providers import ALL_PROVIDERS

    for name in ("path", "pyenv", "asdf", "rye", "uv"):
        provider = ALL_PROVIDERS[name].create()
        if provider is not None:
            yield from (found.executable for found in provider.find_pythons())
    for place in _PLACES:
        pattern = Path(place).expanduser()
        yield from Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor)))


def _fetched(demanded: str, settings: Settings, report: Report) -> Interpreter | None:
    if settings.offline or not settings.python_downloads:
        return None
    from envbuild import uv

    for version in dict.fromkeys((demanded, ".".join(demanded.split(".")[:2]))):
        if settings.python_policy == "exact" and version != demanded:
            continue
        path = uv.managed_python(version, settings, report)
        if path is not None:
            return probe(path)
    return None


def _of_channel(demanded: str, settings: Settings, report: Report) -> Interpreter:
    """A Python of conda's channel: one that was fetched before, else a new one.

    :raises InterpreterNotFound: there is none, and none to be had.
    :raises LockError: the channel does not answer.
    """
    from envbuild.conda import pythons  # few ask for it

    here = [found for program in pythons.kept(settings) if (found := probe(program)) is not None]
    exact = [found for found in here if fits(found.version, demanded, "exact")]
    if not exact and settings.python_downloads and not settings.offline:
        versions = [demanded] if settings.python_policy == "exact" else [demanded, ".".join(demanded.split(".")[:2])]
        for version in dict.fromkeys(versions):
            program = pythons.fetched(version, target.here(version), settings, report)
            if program is not None and (found := probe(program)) is not None:
                return found
    near = exact or [found for found in here if fits(found.version, demanded, settings.python_policy)]
    if near:
        return max(near, key=lambda found: Version(found.version))
    raise InterpreterNotFound(
        f"the conda channel {pythons.CHANNEL} has no Python {demanded}",
        hint="--python with another version, or --python-source auto",
        details=[f"fetched before: Python {found.version}" for found in here],
    )


def _not_found(demanded: str, settings: Settings, looked_at: list[Interpreter]) -> InterpreterNotFound:
    minor = ".".join(demanded.split(".")[:2])
    details = [f"found {found.executable}: Python {found.version}" for found in looked_at]
    details += ["looked in: PATH, pyenv, asdf, rye, uv's managed Pythons, conda's environments, /opt, /usr/local"]
    if settings.offline or not settings.python_downloads:
        details.append("uv's managed download is switched off (offline, or ENVBUILD_PYTHON_DOWNLOADS=0)")
    else:
        details.append("uv's managed download has none for this platform, or cannot be reached")
    hints = [f"pyenv install {demanded if demanded.count('.') == 2 else minor}", f"uv python install {minor}"]
    if settings.python_policy == "exact" and any(found.minor == minor for found in looked_at):
        hints.insert(0, "--python-policy minor (takes another patch release)")
    if Version(minor) < Version(OLDEST):
        hints = [f"--python {OLDEST}: the oldest that envbuild runs (or --allow-repair python-too-old)"]
    hint = f"one of: {'; '.join(hints)}; or --python with a path or another version"
    return InterpreterNotFound(f"there is no Python {demanded} here", hint=hint, details=details)
