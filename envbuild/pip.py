"""Running pip, pip-tools and virtualenv: where they are, what they may see, and what their words mean.

pip is the model's own: the very version that its files name, under its own Python. It is run in a virtualenv that is
made for it once and kept (``pip/tools`` in the store), and its only index is a :class:`~envbuild.dated_index.DatedIndex`
on this machine. Nothing of the user's settings or credentials reaches it, nor what sdists run while it builds them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from envbuild import faults, process, projects, system_errors, uv, web
from envbuild.dated_index import DatedIndex
from envbuild.errors import BuildError, IndexUnreachable, LockError, UsageError
from envbuild.files import make_private
from envbuild.indexes import choose
from envbuild.interpreters import Fingerprint, Interpreter
from envbuild.process import Completed
from envbuild.progress import Phase, Report, Step
from envbuild.settings import Settings
from envbuild.store import Store
from envbuild.store.flight import single_flight
from envbuild.store.making import held_path, remove_idle, set_aside

# What pip-tools needs beside pip, in versions that work with it; installed as they stand here, so that neither dates
# nor the resolver of a pip that is just being equipped have a part in it.
_CLICK_7 = ("click==7.1.2", "six==1.16.0")
_PEP517 = (
    "click==7.1.2",
    "pep517==0.12.0",
    'tomli==1.2.3; python_version < "3.11"',
    'importlib-metadata==4.8.3; python_version < "3.8"',
    'zipp==3.6.0; python_version < "3.8"',
    'typing-extensions==4.1.1; python_version < "3.8"',
)
_BUILD = (
    "click==8.1.8",
    "build==0.10.0",
    "packaging==23.2",
    "pyproject-hooks==1.0.0",
    'tomli==2.0.1; python_version < "3.11"',
    'importlib-metadata==6.7.0; python_version < "3.8"',
    'zipp==3.15.0; python_version < "3.8"',
    'typing-extensions==4.7.1; python_version < "3.8"',
)
_BUILD_1 = (
    "click==8.1.8",
    "build==1.2.2.post1",
    "packaging==24.2",
    "pyproject-hooks==1.2.0",
    'tomli==2.2.1; python_version < "3.11"',
    'importlib-metadata==8.5.0; python_full_version < "3.10.2"',
    'zipp==3.20.2; python_full_version < "3.10.2"',
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _PipTools:
    """A release of pip-tools, and the pips and Pythons that it works with."""

    pips: str
    release: str
    needs: tuple[str, ...]
    pythons: str = ">=3.6"


# pip-tools calls pip's inner functions, so each of its releases works with some pips alone: the next pip of each row
# ends in an ImportError or an AttributeError. Each bound was tried (tests/integration/test_pip_tools.py).
_PIP_TOOLS = (
    _PipTools(pips=">=8.1.2,<20.1", release="4.5.1", needs=_CLICK_7),
    _PipTools(pips=">=20.1,<21.1", release="5.5.0", needs=_CLICK_7),
    _PipTools(pips=">=21.1,<22", release="6.4.0", needs=_PEP517),
    _PipTools(pips=">=22,<22.2", release="6.8.0", needs=_BUILD, pythons=">=3.7"),
    _PipTools(pips=">=22.2,<25.1", release="7.4.1", needs=_BUILD_1, pythons=">=3.8"),
    # The last for Python 3.7; the pips after these, up to the last one for that Python (24.0), have none.
    _PipTools(pips=">=22.2,<23.2", release="6.14.0", needs=_BUILD, pythons="==3.7.*"),
    _PipTools(pips=">=25.1,<26", release="7.5.2", needs=_BUILD_1, pythons=">=3.8"),
    _PipTools(
        pips=">=26",
        release="7.6.2",
        needs=(*_BUILD_1, 'typing-extensions==4.12.2; python_version < "3.11"'),
        pythons=">=3.9",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """A virtualenv of a model's Python with its pip, and pip-tools where that was asked for."""

    python: Path
    interpreter: Interpreter
    versions: Mapping[str, str]
    """Of pip, and of setuptools and wheel, which old pips build with."""
    pip_tools: str | None
    unpacked: Path | None = None
    """The directory that a wheel of pip was unpacked into, for a Python that has no pip."""

    @property
    def pip(self) -> str:
        """The version of pip."""
        return self.versions["pip"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of something in the tools' virtualenv."""

    tools: Tools
    arguments: Sequence[str]
    """What follows ``python -m``: ``("pip", "install", …)``, ``("piptools", "compile", …)``."""
    settings: Settings
    index_url: str | None = None
    """A :class:`~envbuild.dated_index.DatedIndex`'s; ``None``: no index at all."""
    cwd: Path | None = None
    stdin: str = ""
    timeout: float | None = None
    on_start: Callable[[process.Child], None] | None = None
    """Called with the process, so that another thread can end it before its time."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """Variables beside those that everything gets."""
    python: Path | None = None
    """Another Python than the tools' own, for a pip that works on another environment."""
    needed: int | None = None
    """How many bytes will be written at least, where that is known: for when the disk is full."""


# Neither as a directory (pip 9 would then take its own `wheel` for the package of that name) nor out of a zip (those from
# 19 to 21.1 run a file of theirs when they build) does every pip work; on the path, every pip does.
_UNPACKED = (
    "import runpy, sys; sys.path[0] = sys.argv.pop(1); "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def run(call: Call, report: Report) -> Completed:
    """Run pip or pip-tools to its end.

    :raises process.TimedOutWaiting: after ``call.timeout`` seconds.
    :raises StoreError: the disk is full, or pip may not write to the store.
    """
    python, unpacked = call.python or call.tools.python, call.tools.unpacked
    program = ["-m"] if unpacked is None else ["-c", _UNPACKED, str(unpacked)]
    # Not as an argument: those are for every user to read, and setup scripts that install what they need read this.
    with _surroundings(call.index_url) as environ:
        done = process.run(
            [str(python), *program, *call.arguments],
            env={**environ, **call.environ},
            cwd=call.cwd,
            stdin=call.stdin.encode(),
            timeout=call.timeout,
            on_line=lambda line: _report_line(line, report),
            on_output=lambda line: _report_line(line, report),
            on_start=call.on_start,
        )
    done = replace(
        done, stdout=_without_address(done.stdout, call.index_url), stderr=_without_address(done.stderr, call.index_url)
    )
    if done.returncode != 0:
        _check_store(f"{done.stdout}\n{done.stderr}", call.settings.home, call.needed)
    return done


def _without_address(words: str, index_url: str | None) -> str:
    """What pip said, without the address of our index: it is nobody's affair, and another one the next time."""
    return words if index_url is None else words.replace(index_url.removesuffix("/simple"), "index:")


def _check_store(words: str, home: Path, needed: int | None = None) -> None:
    """:raises StoreError: the disk is full, or the store cannot be written."""
    trouble = system_errors.in_words(words, home)
    if trouble is not None:
        raise system_errors.explanation(trouble, home, needed) from trouble


@contextlib.contextmanager
def _surroundings(index_url: str | None) -> Iterator[dict[str, str]]:
    """The environment of a pip: made from scratch, with a home of its own that is removed afterwards.

    Its cache lies there too: addresses of our index are others each time, so that it would find nothing in one that is
    kept; files are kept on our side of the index.
    """
    with tempfile.TemporaryDirectory(prefix="envbuild-pip-") as name:
        home = Path(name)
        asked = {"PIP_NO_INDEX": "1"} if index_url is None else {"PIP_INDEX_URL": index_url}
        if index_url is not None:
            # Setup scripts of old install what they need by setuptools' easy_install, which has settings of its own.
            (home / ".pydistutils.cfg").write_text(f"[easy_install]\nindex_url = {index_url}\n", encoding="utf-8")
        yield {
            **uv.bare_environ(home),
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INPUT": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_CACHE_DIR": str(home / "cache"),
            "PIP_TOOLS_CACHE_DIR": str(home / "pip-tools"),
            # Whether and how long upstream is waited for is our own affair, and so is trying again.
            "PIP_DEFAULT_TIMEOUT": "3600",
            "PIP_RETRIES": "0",
            "PYTHONNOUSERSITE": "1",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            **asked,
        }


_WORK = re.compile(
    r"^\s*(Collecting|Downloading|Using cached|Building wheel for|Running setup.py bdist_wheel for|"
    r"Building wheels for collected packages:|Installing collected packages:|Successfully built|"
    r"Successfully installed|Preparing metadata|Installing build dependencies) ?(.*)$"
)
_PHASES: Mapping[str, tuple[Phase, bool]] = {
    "Collecting": ("resolving", False),
    "Downloading": ("downloading", False),
    "Using cached": ("downloading", False),
    "Building wheel for": ("building", False),
    "Running setup.py bdist_wheel for": ("building", False),
    "Installing build dependencies": ("building", False),
    "Preparing metadata": ("building", False),
    "Successfully built": ("building", True),
    "Installing collected packages:": ("installing", False),
    "Successfully installed": ("installing", True),
}


def _report_line(line: str, report: Report) -> None:
    """A line of pip's as a step of ours; lines that say no step are left out."""
    found = _WORK.match(line)
    if found is None or found[1] not in _PHASES:
        return
    phase, is_done = _PHASES[found[1]]
    what = found[2]
    if phase in ("resolving", "downloading") or (phase == "building" and not is_done):
        # Addresses of our own index, sizes and dots say nothing to anybody.
        what = re.sub(r"https?://\S*/", "", what).split(" (")[0].split("#")[0]
    report(Step(phase, what.strip(" .:") or found[1].lower(), done=is_done))


# Tools


def tools(
    interpreter: Interpreter,
    pins: Mapping[str, str],
    index_url: str,
    settings: Settings,
    report: Report,
    *,
    with_pip_tools: bool,
) -> Tools:
    """The virtualenv for a model's pip, made unless it is there; of all who want it at once, one makes it.

    :param pins: the versions of pip, setuptools and wheel; what is not named is the newest on the index for that Python.
    :param index_url: where those come from: a :class:`~envbuild.dated_index.DatedIndex`'s.
    :param with_pip_tools: with the pip-tools that fits the pip.
    :raises UsageError: virtualenv is not installed.
    :raises LockError: no pip-tools fits, or the index does not have what is named.
    :raises StoreError: the store cannot be written.
    """
    _check_virtualenv()
    versions = _pinned(pins, index_url, interpreter)
    kit = _pip_tools_for(versions["pip"], interpreter) if with_pip_tools else None
    store = Store(settings)
    wanted = {
        "form": 1,
        "interpreter": interpreter.to_dict(),
        "versions": versions,
        "pip_tools": None if kit is None else asdict(kit),
    }
    key = hashlib.sha256(json.dumps(wanted, sort_keys=True, default=str).encode()).hexdigest()[:24]
    place = settings.home / "pip" / "tools" / key
    result = Tools(
        python=place / "bin" / "python",
        interpreter=interpreter,
        versions=versions,
        pip_tools=None if kit is None else kit.release,
    )

    def ready() -> Tools | None:
        return result if _is_complete(place, interpreter) else None

    known = ready()
    if known is not None:
        return known
    with contextlib.ExitStack() as stack:
        with store.explained():
            store.make(store.root / "held")
            path = held_path(store.root, f"pip tools {key}")
            what = "another process installs the same pip"
            flight = stack.enter_context(single_flight(path, ready, report, what, store.file_mode))
        if flight.answer is not None:
            return flight.answer
        with store.explained(), store.open_to_its_group():
            store.make(place.parent)
            if (aside := set_aside(store, place)) is not None:
                remove_idle(aside)
            _make(place, result, kit, index_url, settings, flight.relayed(report))
    return result


_MARKER = "envbuild-tools.json"


def _is_complete(place: Path, interpreter: Interpreter) -> bool:
    """Whether tools were made whole at a place, from a Python that is still the same."""
    try:
        content = json.loads((place / _MARKER).read_bytes())
    except (OSError, ValueError):
        return False
    there = Fingerprint.of(interpreter.executable)
    return there is not None and content == asdict(there) and os.access(place / "bin" / "python", os.X_OK)


def _make(place: Path, made: Tools, kit: _PipTools | None, index_url: str, settings: Settings, report: Report) -> None:
    fingerprint = Fingerprint.of(made.interpreter.executable)
    create(place, made.interpreter, settings, report)
    faults.point("virtualenv of the tools made")
    _unpack_pip(place, made, index_url)
    lines = [f"{name}=={version}" for name, version in made.versions.items() if name != "pip"]
    _install(made, lines, index_url, settings, report)
    if kit is not None:
        # As it is today: the tools are ours, and the model's date says nothing of them.
        indexes, _ = choose(settings, (), "")
        with DatedIndex(
            indexes, uv.default_index(settings.home), home=settings.home, offline=settings.offline
        ) as index:
            try:
                _install(made, [f"pip-tools=={kit.release}", *kit.needs], index.url, settings, report)
            except LockError as error:
                error.details = (*index.refusals, *error.details)
                raise
    faults.point("tools installed")
    content = {} if fingerprint is None else asdict(fingerprint)
    own = place / f".{_MARKER}"
    own.write_text(json.dumps(content), encoding="utf-8")
    own.replace(place / _MARKER)


def _unpack_pip(place: Path, made: Tools, index_url: str) -> None:
    """Put pip where it belongs: its wheel is nothing but its modules, and no other pip is needed to install it.

    :raises LockError: the index does not have it.
    """
    packages = place / "lib" / f"python{made.interpreter.minor}" / "site-packages"
    with tempfile.TemporaryDirectory(prefix="envbuild-tools-") as name:
        wheel = _wheel_of_pip(made.pip, index_url, Path(name))
        try:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(packages)
        except zipfile.BadZipFile as error:
            raise LockError(f"{wheel.name} is no wheel: {error}") from error
        # It runs many times, and writes no byte code then. What is not of this Python is left as it is.
        process.run(
            [str(made.python), "-m", "compileall", "-q", str(packages / "pip")], env=uv.bare_environ(Path(name))
        )


def _install(made: Tools, lines: Sequence[str], index_url: str, settings: Settings, report: Report) -> None:
    """Install lines into the tools' virtualenv, by its pip."""
    done = run(
        Call(
            tools=made,
            arguments=["pip", "install", "--no-deps", "--only-binary", ":all:", *lines],
            settings=settings,
            index_url=index_url,
            timeout=settings.build_timeout,
        ),
        report,
    )
    if done.returncode != 0:
        raise LockError(
            f"{', '.join(lines)} cannot be installed under Python {made.interpreter.version}",
            hint="do these versions fit that Python, and does the index have them? --engine uv needs none of them",
            details=done.stderr.splitlines()[-15:],
        )


# The versions


def _pinned(pins: Mapping[str, str], index_url: str, interpreter: Interpreter) -> dict[str, str]:
    """The exact versions of pip, setuptools and wheel."""
    return {name: pins.get(name) or _newest(name, index_url, interpreter) for name in ("pip", "setuptools", "wheel")}


def _newest(name: str, index_url: str, interpreter: Interpreter) -> str:
    fitting = [
        file.version
        for file in _served(index_url, name)
        if file.version is not None
        and file.name.endswith(".whl")
        and file.yanked is None
        and not file.version.is_prerelease
        and _allows(file.requires_python, interpreter.version)
    ]
    if not fitting:
        raise LockError(
            f"the index has no {name} for Python {interpreter.version} as of that date",
            hint="--as-of sets another date; --engine uv needs none",
        )
    return str(max(fitting))


def _allows(requires: str | None, version: str) -> bool:
    try:
        return requires is None or version in SpecifierSet(requires)
    except (InvalidSpecifier, InvalidVersion):
        return True


def _served(index_url: str, name: str) -> list[projects.File]:
    with _asking() as client:
        answer = client.get(f"{index_url}/{name}/")
    if answer.status_code == 404:
        return []
    return projects.files_in_html(_sound(answer).text, str(answer.url))


def _wheel_of_pip(version: str, index_url: str, place: Path) -> Path:
    """The wheel of a pip, fetched into a directory."""
    for file in _served(index_url, "pip"):
        if file.name.endswith(".whl") and file.version == Version(version):
            path = place / file.name
            with _asking() as client:
                content = _sound(client.get(file.url)).content
            path.write_bytes(content)
            return path
    raise LockError(
        f"the index has no wheel of pip {version} as of that date",
        hint="--set pip==VERSION takes another, --as-of another date; --engine uv needs none",
    )


def _asking() -> Any:
    """A client for our own server: neither by this machine's proxies nor with a limit, since that has its own."""
    return web.client(timeout=None, trust_env=False)


def _sound(answer: Any) -> Any:
    if answer.status_code != 200:
        raise IndexUnreachable(
            answer.text.strip() or f"the index answers {answer.status_code}",
            hint="is there a network, and are the index's URL and credentials right (--index-url, netrc)?",
        )
    return answer


def _pip_tools_for(pip: str, interpreter: Interpreter) -> _PipTools:
    """The pip-tools that fits.

    :raises LockError: none does.
    """
    for row in _PIP_TOOLS:
        if SpecifierSet(row.pips).contains(pip, prereleases=True) and interpreter.version in SpecifierSet(row.pythons):
            return row
    raise LockError(
        f"no pip-tools works with pip {pip} under Python {interpreter.version}",
        hint="--set pip==VERSION with a pip of 8.1.2 or later that is for that Python, or --engine uv",
    )


# virtualenv

# Its own modules and nothing of the caller's surroundings, wherever it was installed.
_VIRTUALENV = (
    "import sys; sys.path[:] = sys.argv.pop(1).split(':'); import virtualenv.__main__ as m; m.run_with_catch()"
)

# The first Python that every virtualenv of today makes environments of (its changelog).
_FIRST_MADE = (3, 9)


def _check_virtualenv() -> None:
    if find_spec("virtualenv") is None:
        raise UsageError(
            "virtualenv is not installed, and the engine pip makes environments with it",
            hint="pip install 'envbuild[pip]', or --engine uv",
        )


def _making(place: Path, interpreter: Interpreter, data: Path) -> list[str]:
    """The command that makes it."""
    if tuple(int(part) for part in interpreter.minor.split(".")) < _FIRST_MADE:
        return [interpreter.executable, "-I", "-m", "venv", "--without-pip", str(place)]
    options = ["--no-seed", "--no-vcs-ignore", "--no-periodic-update", "--app-data", str(data)]
    options += ["--python", interpreter.executable]
    return [sys.executable, "-I", "-c", _VIRTUALENV, ":".join(sys.path), *options, str(place)]


def create(place: Path, interpreter: Interpreter, settings: Settings, report: Report) -> None:
    """Make a virtualenv with nothing in it; ``place`` is not there yet.

    For Pythons that virtualenv has left behind their own venv does it.

    :raises UsageError: virtualenv is not installed.
    :raises BuildError: it cannot be made.
    :raises StoreError: the store cannot be written.
    """
    _check_virtualenv()
    make_private(settings.home)
    report(Step("building", f"a virtualenv of Python {interpreter.version}"))
    with tempfile.TemporaryDirectory(prefix="envbuild-virtualenv-") as name:
        home = Path(name)
        done = process.run(
            _making(place, interpreter, home / "data"),
            env={**uv.bare_environ(home), "VIRTUALENV_CONFIG_FILE": os.devnull},
            timeout=settings.build_timeout,
        )
    if done.returncode != 0:
        _check_store(done.stderr, settings.home)
        shutil.rmtree(place, ignore_errors=True)
        raise BuildError(
            f"virtualenv cannot make an environment of {interpreter.executable}",
            details=f"{done.stdout}\n{done.stderr}".strip().splitlines()[-10:],
        )
