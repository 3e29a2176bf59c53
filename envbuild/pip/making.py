"""The virtualenv of a model's own pip, made once and kept (``pip/tools`` in the store)."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from envbuild import faults, process, projects, uv, web
from envbuild.dated_index.index import DatedIndex
from envbuild.errors import IndexUnreachable, LockError
from envbuild.indexes import choose
from envbuild.interpreters import Fingerprint, Interpreter
from envbuild.pip import virtualenv
from envbuild.pip.releases import PipTools, pip_tools_for
from envbuild.pip.running import Call, Tools, run
from envbuild.progress import Report
from envbuild.settings import Settings
from envbuild.store import Store
from envbuild.store.flight import single_flight
from envbuild.store.making import held_path, take_away


def make_tools(
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
    :param index_url: where those come from: a :class:`~envbuild.dated_index.index.DatedIndex`'s.
    :param with_pip_tools: with the pip-tools that fits the pip.
    :raises UsageError: virtualenv is not installed.
    :raises LockError: no pip-tools fits, or the index does not have what is named.
    :raises StoreError: the store cannot be written.
    """
    virtualenv.check_installed()
    versions = _pinned(pins, index_url, interpreter)
    kit = pip_tools_for(versions["pip"], interpreter) if with_pip_tools else None
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
            take_away(store, place)
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


def _make(place: Path, made: Tools, kit: PipTools | None, index_url: str, settings: Settings, report: Report) -> None:
    fingerprint = Fingerprint.of(made.interpreter.executable)
    virtualenv.create(place, made.interpreter, settings, report)
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
