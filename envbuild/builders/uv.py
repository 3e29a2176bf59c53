"""Virtualenvs, made and filled by uv."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from envbuild import process, system_packages, uv
from envbuild.builders import Order
from envbuild.builders.bytecode import SOURCE_TIME
from envbuild.builders.virtualenv import Batch, Installer, VirtualenvBuilder, timed_out
from envbuild.errors import BuildError, DownloadFailed, HashMismatch, SdistFailed
from envbuild.lock import BuildLock, requirement_line
from envbuild.progress import Report, Step


class UvBuilder(VirtualenvBuilder):
    """Builds virtualenvs with uv."""

    def installer(self, order: Order, scratch: Path, report: Report) -> Installer:
        """See :class:`VirtualenvBuilder`."""
        return UvInstaller(order, scratch, report)


class UvInstaller:
    """uv at work on one environment."""

    def __init__(self, order: Order, scratch: Path, report: Report) -> None:
        self._order = order
        self._scratch = scratch
        self._report = report
        self._python = str(order.place / "bin" / "python")

    def create(self) -> Mapping[str, str]:
        """See :class:`Installer`."""
        order = self._order
        self._report(Step("installing", f"a virtualenv of Python {order.interpreter.version}"))
        arguments = ["venv", str(order.place), "--python", order.interpreter.executable, "--no-project"]
        self._run(arguments, cwd=order.place.parent)
        return {}

    def unpack(self, build: BuildLock, place: Path) -> None:
        """See :class:`Installer`."""
        arguments = ["pip", "install", "--python", self._python, "--no-deps", "--target", str(place)]
        arguments += ["--requirements", str(self._written("overlay.txt", _build_lines(build))), "--require-hashes"]
        self._run(arguments)

    def install(self, batch: Batch, overlay: Path | None = None) -> None:
        """See :class:`Installer`."""
        order = self._order
        lines = [requirement_line(package, batch.local[package.name]) for package in batch.packages]
        self._report(Step("installing", f"{len(lines)} packages", count=len(lines)))
        requirements = self._written("requirements.txt", lines)
        arguments = ["pip", "install", "--python", self._python, "--no-deps", "--no-editable"]
        arguments += ["--requirements", str(requirements), "--link-mode", order.link_mode]
        if order.lock.conda is not None:
            # Some channels' Pythons call themselves managed by others (PEP 668). Here they are managed by us.
            arguments.append("--break-system-packages")
        if batch.hashed:
            arguments.append("--require-hashes")
        config: dict[str, object] = {}
        if batch.build is not None:
            arguments += [*self._constrained(batch.build), "--require-build-hashes"]
            config = _config(batch.build)
        elif not batch.hashed and order.lock.origin.as_of not in ("", "now"):
            # A commit's build requirements are not locked; they come from the model's time all the same.
            arguments += ["--exclude-newer", order.lock.origin.as_of]
        environ: dict[str, str] = {}
        if overlay is not None:
            arguments.append("--no-build-isolation")
            environ["PYTHONPATH"] = str(overlay)
        self._run(arguments, config=config, environ=environ, locked=batch.hashed)

    def wheel(self, source: Path, build: BuildLock, place: Path, overlay: Path | None = None) -> Path:
        """Build a wheel with exactly its locked build requirements.

        :param source: an sdist under its own name, or a directory.
        :param place: the directory that it is put into, which has no other.
        :param overlay: as for :meth:`install`.
        :raises SdistFailed: it cannot be built.
        :raises BuildError: something else is wrong.
        """
        self._report(Step("building", source.name))
        arguments = ["build", "--wheel", str(source), "--out-dir", str(place), "--python", self._python, "--no-sources"]
        arguments += [*self._constrained(build), "--require-hashes", "--no-create-gitignore"]
        environ = {"SOURCE_DATE_EPOCH": str(SOURCE_TIME)}
        if overlay is not None:
            arguments.append("--no-build-isolation")
            environ["PYTHONPATH"] = str(overlay)
        try:
            self._run(arguments, config=_config(build), environ=environ)
        except BuildError as error:
            if type(error) is not BuildError:
                raise
            raise sdist_failed(source.name, list(error.details)) from error
        found = sorted(place.glob("*.whl"))
        if len(found) != 1:
            raise SdistFailed(f"the sdist of {source.name} was built into no wheel")
        self._report(Step("building", source.name, done=True))
        return found[0]

    def _constrained(self, build: BuildLock) -> list[str]:
        """What holds builds to their locked requirements."""
        constraints = self._written("build.txt", _build_lines(build))
        return ["--build-constraints", str(constraints), "--preview-features", "build-dependency-hashes"]

    def _written(self, name: str, lines: Sequence[str]) -> Path:
        path = self._scratch / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def _run(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path | None = None,
        config: Mapping[str, object] | None = None,
        environ: Mapping[str, str] | None = None,
        locked: bool = True,
    ) -> None:
        """:param locked: all that is fetched is known by its sha256."""
        order, report = self._order, self._report
        call = uv.Call(
            arguments=arguments,
            settings=order.settings,
            indexes=order.indexes,
            cwd=cwd or self._scratch,
            timeout=order.settings.build_timeout,
            config=config or {},
            environ=environ or {},
            needed=order.lock.size,
        )

        def reported(step: Step) -> None:
            # Resolving by name and hash is a formality here, and no step that anybody waits for.
            if step.phase != "resolving":
                report(step)

        try:
            done = uv.run(call, reported)
            if done.returncode != 0 and locked and order.indexes.are_several and re.search(_ABSENT, done.stderr):
                done = uv.run(replace(call, indexes=order.indexes.of_locked_files()), reported)
        except process.TimedOutWaiting:
            raise timed_out(order.settings) from None
        if done.returncode != 0:
            raise explain(done.stderr)


def _config(build: BuildLock) -> dict[str, object]:
    """The settings of uv that give some packages more to be built with than they say themselves."""
    everything = [f"{package.name}=={package.version}" for package in build.packages]
    return {"extra-build-dependencies": dict.fromkeys(build.undeclared, everything)}


def _build_lines(build: BuildLock) -> list[str]:
    return [requirement_line(package, "") for package in build.packages]


_ABSENT = "unsatisfiable|not found in the package registry"
_SDIST_WORDS = r"Failed to (download and )?build|Build backend failed|setup\.py build"
_FAILURES: tuple[tuple[str, type[BuildError], str, str], ...] = (
    (
        "Hash mismatch",
        HashMismatch,
        "a file is not the one that was locked",
        "the index serves another file than it did; do not install it",
    ),
    (_SDIST_WORDS, SdistFailed, "", ""),
    (
        "network was disabled|network connectivity is disabled",
        DownloadFailed,
        "a locked file is not in the cache, and the network is not to be used",
        "run once with the network, or without --offline",
    ),
    (
        "Failed to fetch|Failed to download|error sending request|HTTP status",
        DownloadFailed,
        "a locked file cannot be fetched",
        "is there a network, and are the index's URL and credentials right (--index-url, netrc)?",
    ),
    (
        _ABSENT,
        DownloadFailed,
        "a locked package is not to be had",
        "is it still on the index that you use? envbuild lock --update resolves again",
    ),
    ("", BuildError, "uv failed", "envbuild build -v says more"),
)


_MISMATCH = re.compile(r"Hash mismatch for `([^`]+)`\s+Expected:\s+sha256:(\w+)\s+Computed:\s+sha256:(\w+)")


def explain(words: str) -> BuildError:
    """uv's failure to install, by what failed."""
    lines = words.rstrip().splitlines()
    said = " ".join(re.sub(r"^\s*(error:|cause:)\s*", "", line) for line in lines if line.strip())[:400]
    _, kind, message, hint = next(failure for failure in _FAILURES if re.search(failure[0], words))
    if kind is SdistFailed:
        return _sdist_failed(words, lines)
    if kind is HashMismatch and (found := _MISMATCH.search(words)) is not None:
        package, locked, served = found.groups()
        said = f"{package} has sha256 {served} there, and {locked} is locked"
    return kind(f"{message}: {said}", hint=hint, details=lines[-12:])


def _sdist_failed(words: str, lines: list[str]) -> SdistFailed:
    name = re.search(r"Failed to (?:download and )?build `([^`]+)`", words)
    return sdist_failed(name.group(1) if name else "a package", lines)


def sdist_failed(name: str, lines: list[str]) -> SdistFailed:
    """That an sdist cannot be built, with the end of what its build said."""
    return SdistFailed(
        f"the sdist of {name} could not be built into a wheel",
        hint=system_packages.hint("\n".join(lines)),
        details=lines[-25:],
    )
