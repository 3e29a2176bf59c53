"""What sdists and directories are built with, locked: a build is a part of the lock like any other.

What a source asks for is read from its ``pyproject.toml``; its backend's ``get_requires_for_build_wheel`` is run only
where it may ask for more than is known (PEP 517). All sources share one set of build requirements where one can be
had; where they contradict each other, each gets its own.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeAlias

from envbuild import downloads, process, sources, uv
from envbuild.errors import LockError
from envbuild.lock import BuildLock, LockedPackage, staged
from envbuild.progress import Report, Step
from envbuild.question import Question
from envbuild.repairs.attempt import BUILD_FLOOR, BUILD_TOOLS, Attempt
from envbuild.sources import BuildSystem

_HOOK = """
import importlib, json, os, sys
backend, path, answer = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
sys.path[:0] = [os.path.abspath(p) for p in path]
name, _, attribute = backend.partition(":")
module = importlib.import_module(name)
for part in filter(None, attribute.split(".")):
    module = getattr(module, part)
hook = getattr(module, "get_requires_for_build_wheel", None)
found = list(hook({})) if hook else []
with open(answer, "w") as file:
    json.dump(found, file)
"""
_HOOK_SECONDS = 300.0

# One run of an engine: what lines resolve to for a question, on a try's terms, in a stage; ``None``: to nothing. The last,
# where given, is called with the engine's process, so that another thread can end it before its time.
Compile: TypeAlias = (
    "Callable[[Question, Attempt, Sequence[str], Path, Callable[[process.Child], None] | None],"
    " tuple[LockedPackage, ...] | None]"
)
Asks: TypeAlias = "Callable[[BuildSystem], tuple[str, ...] | None]"

# What a source with a setup.py alone is built with: see BuildRequirements._requires.
_USUAL = ("setuptools>=40.8.0", "wheel")
# Later models' packages nearly all have wheels.
_SDISTS_ARE_RARE = datetime(2024, 1, 1, tzinfo=timezone.utc)


class UsualRequirements:
    """What most old sdists are built with, resolved while the environment itself is: by then it is mostly known.

    A context manager; what it started has ended when it is left.
    """

    def __init__(self, question: Question, attempt: Attempt, stage: Path, compiled: Compile) -> None:
        self._asked = _build_attempt(attempt)
        self._compile = compiled
        self._child: process.Child | None = None
        self._left = False
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="envbuild-usual")
        self._answer: Future[tuple[LockedPackage, ...] | None] | None = None
        wanted = attempt.cut is not None and attempt.cut < _SDISTS_ARE_RARE and not question.settings.no_build
        if wanted:
            self._answer = self._pool.submit(
                compiled_for_builds, compiled, question, self._asked, _USUAL, stage, self._started
            )

    def _started(self, child: process.Child) -> None:
        self._child = child
        if self._left:
            child.kill()

    def __enter__(self) -> UsualRequirements:
        return self

    def __exit__(self, *_: object) -> None:
        self._left = True
        if self._child is not None and self._answer is not None and not self._answer.done():
            self._child.kill()
        self._pool.shutdown(cancel_futures=True)

    def compiled(
        self,
        question: Question,
        attempt: Attempt,
        lines: Sequence[str],
        stage: Path,
        on_start: Callable[[process.Child], None] | None = None,
    ) -> tuple[LockedPackage, ...] | None:
        """What lines resolve to: known already, if they are the usual ones and are asked for on the same terms."""
        same = tuple(lines) == _USUAL and _terms(attempt) == _terms(self._asked)
        known = self._answer.result() if same and self._answer is not None else None
        return known or self._compile(question, attempt, lines, stage, on_start)


def _build_attempt(attempt: Attempt) -> Attempt:
    """The terms of an environment's resolution as they hold for what its sdists are built with."""
    cut = None if attempt.cut is None else max(attempt.cut, BUILD_FLOOR)
    return replace(attempt, cut=cut, overrides=(), only_binary=(), no_binary=(), excluded=(), find_links=())


def _terms(attempt: Attempt) -> tuple[object, ...]:
    """What the usual lines' answer depends on."""
    return attempt.cut, {name: attempt.cuts.get(name) for name in BUILD_TOOLS}, attempt.dead_indexes, attempt.python


def compiled_for_builds(
    compiled: Compile,
    question: Question,
    attempt: Attempt,
    lines: Sequence[str],
    stage: Path,
    on_start: Callable[[process.Child], None] | None = None,
) -> tuple[LockedPackage, ...] | None:
    """What lines resolve to by an engine's word, on the terms of a build."""
    question = replace(question, spec=replace(question.spec, constraints=()))
    # What is built with may need an sdist where the environment needs none.
    for names in dict.fromkeys((attempt.wheels_only, frozenset[str]())):
        found = compiled(question, replace(attempt, wheels_only=names), lines, stage, on_start)
        if found is not None:
            return found
    return None


class BuildRequirements:
    """Locks the build requirements of whatever a lock must build."""

    def __init__(
        self,
        question: Question,
        attempt: Attempt,
        stage: Path,
        compiled: Compile,
        report: Report,
        asks: Asks | None = None,
    ) -> None:
        """
        :param compiled: the engine.
        :param asks: what a source is built with, where the engine knows better than the standards; ``None``: they count.
        """
        self._question = question
        self._attempt = attempt
        self._stage = stage
        self._compile = compiled
        self._report = report
        self._asks = asks

    def locked(self, packages: Sequence[LockedPackage]) -> tuple[BuildLock, ...]:
        """One lock for all that is built, or one for each where they cannot share.

        :raises LockError: a source's build requirements cannot be had.
        """
        built = [package for package in packages if package.is_built and package.kind != "vcs"]
        if not built:
            return ()
        self._report(Step("resolving", f"what {len(built)} sdists are built with"))
        needs = self._attempt.build_needs
        wanted = {package.name: (*self._requires(package), *needs.get(package.name, ())) for package in built}
        together = self._compiled(sorted({line for lines in wanted.values() for line in lines}))
        if together is not None:
            undeclared = tuple(sorted(wanted.keys() & needs.keys()))
            return (BuildLock(builds=tuple(sorted(wanted)), packages=together, undeclared=undeclared),)
        return tuple(self._alone(name, lines) for name, lines in sorted(wanted.items()))

    def _alone(self, name: str, lines: Sequence[str]) -> BuildLock:
        packages = self._compiled(lines)
        if packages is None:
            raise LockError(
                f"what {name} needs to be built cannot be resolved: {', '.join(lines)}",
                hint="a version of it with a wheel needs no building",
            )
        undeclared = (name,) if name in self._attempt.build_needs else ()
        return BuildLock(builds=(name,), packages=packages, undeclared=undeclared)

    def _compiled(self, lines: Sequence[str]) -> tuple[LockedPackage, ...] | None:
        return compiled_for_builds(self._compile, self._question, _build_attempt(self._attempt), lines, self._stage)

    def _requires(self, package: LockedPackage) -> tuple[str, ...]:
        """What a source asks for, by its own word and by its backend's."""
        source = self._source(package)
        system = sources.build_system_of(source)
        own = None if self._asks is None else self._asks(system)
        if own is not None:
            return own
        # setuptools asks for wheel in every version that needs it; where it needs none, having it does no harm.
        if system.is_setuptools and not system.asks_more:
            return tuple(sorted({*system.requires, "wheel"}))
        return tuple(sorted({*system.requires, *self._by_hook(package.name, source, system)}))

    def _source(self, package: LockedPackage) -> Path:
        if package.path is not None:
            return self._stage / staged(package.path)
        question = self._question
        return downloads.fetch_locked(package.url or "", package.sha256, question.indexes, question.settings)

    def _by_hook(self, name: str, source: Path, system: BuildSystem) -> tuple[str, ...]:
        """What the backend's hook says, run in a virtualenv with what the source asks for."""
        with tempfile.TemporaryDirectory(prefix="envbuild-hook-") as folder:
            place = Path(folder)
            python = self._hook_python(name, place, system)
            top = source if source.is_dir() else sources.unpack(source, place / "source")
            answer = place / "answer.json"
            environ = {"PATH": os.environ.get("PATH", ""), "HOME": str(place), "LC_ALL": "C.UTF-8"}
            arguments = [system.backend, json.dumps(system.backend_path), str(answer)]
            try:
                done = process.run([str(python), "-c", _HOOK, *arguments], env=environ, cwd=top, timeout=_HOOK_SECONDS)
            except process.TimedOutWaiting:
                raise LockError(f"the build backend of {name} did not say in time what it needs") from None
            if done.returncode != 0 or not answer.exists():
                raise LockError(
                    f"the build backend of {name} does not say what it needs", details=done.stderr.splitlines()[-15:]
                )
            return tuple(str(line) for line in json.loads(answer.read_text()))

    def _hook_python(self, name: str, place: Path, system: BuildSystem) -> Path:
        question = self._question
        python = place / "venv" / "bin" / "python"
        needs = self._attempt.build_needs.get(name, ())
        install = ["pip", "install", "--python", str(python), *system.requires, *needs]
        cut = self._attempt.cut
        if cut is not None:
            install += ["--exclude-newer", max(cut, BUILD_FLOOR).isoformat()]
        for arguments in (["venv", str(place / "venv"), "--python", question.interpreter.executable], install):
            call = uv.Call(arguments=arguments, settings=question.settings, indexes=question.indexes, cwd=place)
            done = uv.run(call, lambda step: None)
            if done.returncode != 0:
                raise LockError(f"what {name} is built with cannot be had", details=done.stderr.splitlines()[-15:])
        return python
