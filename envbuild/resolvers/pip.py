"""The pip engine: pip-compile of pip-tools, with the model's own pip under its own Python, as of a date.

What it answers is versions. The file that is locked of each is the one that this pip would take: the index is asked for
them (:class:`~envbuild.dated_index.index.DatedIndex`), and this pip for the tags that it knows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from envbuild import process, sources, target, uv
from envbuild.asof import Ask
from envbuild.dated_index.index import DatedIndex
from envbuild.errors import LockError, LockTimedOut
from envbuild.lock import Lock, LockedPackage, by_name
from envbuild.pip import making, running
from envbuild.pip.running import Call, Tools
from envbuild.progress import Report, Step
from envbuild.projects import File
from envbuild.question import Question
from envbuild.repairs import resolving
from envbuild.repairs.attempt import BUILD_TOOLS, Attempt
from envbuild.repairs.rules import Switch
from envbuild.requirement import Demand, version_of
from envbuild.resolvers import located, pip_words, piptools, standins
from envbuild.resolvers.accelerated import accelerated, with_tensorflow
from envbuild.resolvers.asking import noting_removed, with_dependencies
from envbuild.resolvers.building import BuildRequirements
from envbuild.resolvers.located import Located
from envbuild.resolvers.piptools import Account, Compilation, supported_tags
from envbuild.resolvers.standins import Metadata
from envbuild.resolvers.trying import (
    Answer,
    Packages,
    asker,
    completed,
    copy_local_parts,
    indexes_of,
    lock_of,
    resolved,
    with_notices_of,
)
from envbuild.resolvers.uv import explain
from envbuild.resolvers.yanked import noting_yanked
from envbuild.settings import EVERY_PACKAGE, names_package
from envbuild.sources import BuildSystem

# pip 10 isolates builds (PEP 518), pip 19 asks backends (PEP 517).
_ISOLATES, _ASKS_BACKENDS = Version("10"), Version("19")
# From here on its own resolver is asked, which takes what was taken back (PEP 592) where it is pinned and nowhere else.
_KNOWS_YANKED = Version("21.2")
_MAX_RUNS = 20


class PipResolver:
    """Answers questions with pip."""

    def resolve(self, question: Question, report: Report) -> Lock:
        """See :class:`envbuild.resolvers.Resolver`."""
        _check_target(question)
        report(Step("resolving", f"{len(question.spec.demands)} requirements as of {question.as_of.text}, with pip"))
        ask = asker(question)
        first = resolving.first_attempt(question, Switch.of(question.settings))
        # An old pip reads what was written for it.
        first = with_tensorflow(question, replace(first, metadata={}), ask)
        with tempfile.TemporaryDirectory(prefix="envbuild-lock-") as name, Bench(question, Path(name), report) as bench:
            copy_local_parts(question, bench.stage)

            def compiled(attempt: Attempt) -> Answer:
                return bench.answer(attempt, ask)

            packages, attempt = accelerated(
                question,
                resolved(question, first, ask, compiled, explain),
                lambda following: resolved(question, following, ask, compiled, explain),
            )
            attempt = with_notices_of(attempt, packages)
            attempt = noting_removed(question, attempt, lambda other: bench.annotated)
            packages = with_dependencies(packages, bench.annotated)
            packages = tuple(completed(package, question) for package in packages)
            asks = own_builds(bench.tools(attempt), packages)

            def beside(_question: Question, other: Attempt, lines: Sequence[str], *_: object) -> Packages | None:
                return bench.beside(other, lines)

            build = BuildRequirements(question, attempt, bench.stage, beside, report, asks).locked(packages)
            attempt = noting_yanked(attempt, packages, build, bench.yanked)
        return lock_of(question, attempt, packages, build, "pip")


def _check_target(question: Question) -> None:
    if question.target.platform != target.here(question.spec.python.text).platform:
        raise LockError(
            f"pip can lock for the machine that it runs on alone, and {question.target} is wanted",
            hint="--engine uv locks for other platforms",
        )


def own_builds(tools: Tools, packages: Iterable[LockedPackage]) -> Callable[[BuildSystem], tuple[str, ...] | None]:
    """What sources are built with by a pip that knows no PEP 517: by setuptools and wheel of its own environment."""
    own = {one.name: one.version for one in packages if one.name in ("setuptools", "wheel")}
    lines = tuple(f"{name}=={own.get(name) or tools.versions[name]}" for name in ("setuptools", "wheel"))

    def asks(system: BuildSystem) -> tuple[str, ...] | None:
        if Version(tools.pip) >= _ASKS_BACKENDS:
            return None
        if system.is_declared and Version(tools.pip) >= _ISOLATES:
            return tuple(sorted(system.requires))
        return lines

    return asks


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    """What a run of pip-compile depends on beside its lines."""

    attempt: Attempt
    tools: Tools
    index: DatedIndex
    tags: Mapping[Tag, int]


class Bench:
    """The indexes, the tools and the sources of one resolution; each is had once. A context manager."""

    def __init__(self, question: Question, folder: Path, report: Report) -> None:
        self.stage = folder / "stage"
        """Copies of what lies inside the model."""
        self.annotated = ""
        """The packages that were resolved last, each with who asked for it, in uv's form."""
        self.yanked: dict[tuple[str, str], str] = {}
        """The locked releases that were taken back, by name and version, each with the index's reason."""
        self._question = question
        self._folder = folder
        self._standins = folder / "standins"
        self._run_folder = folder / "run"
        self._last: _Terms | None = None
        self._report = report
        self._stack = ExitStack()
        self._indexes: dict[object, DatedIndex] = {}
        self._tools: dict[tuple[tuple[str, str], ...], Tools] = {}
        self._tags: dict[Path, Mapping[Tag, int]] = {}
        self._located: dict[str, Located] = {}
        self._stood_in: set[tuple[str, str]] = set()
        """The releases that have stand-ins, by name and version."""
        self._works = 0

    def __enter__(self) -> Bench:
        self.stage.mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    # What a try needs

    def index(self, attempt: Attempt) -> DatedIndex:
        """The index as a try sees it."""
        return self._index(attempt, attempt.cut, attempt.cuts)

    def _index(
        self, attempt: Attempt, cut: datetime | None, cuts: Mapping[str, datetime], pip: str | None = None
    ) -> DatedIndex:
        """:param pip: the version of the pip that reads it."""
        indexes, settings = indexes_of(self._question, attempt), self._question.settings
        knows_yanked = pip is not None and Version(pip) >= _KNOWS_YANKED
        pins = None if knows_yanked else frozenset(_pins(attempt, self._question))
        key = (cut, tuple(sorted(cuts.items())), indexes, pins)
        if key not in self._indexes:
            default = uv.default_index(settings.home)
            opened = DatedIndex(
                indexes, default, cut=cut, cuts=cuts, home=settings.home, offline=settings.offline, yanked=pins
            )
            self._indexes[key] = self._stack.enter_context(opened)
        return self._indexes[key]

    def tools(self, attempt: Attempt) -> Tools:
        """The pip, setuptools and wheel that the model pins, else the newest as of the date."""
        undated = self._index(attempt, None, {})
        versions = {name: self._version_of(name, attempt, undated) for name in BUILD_TOOLS}
        pins = {name: version for name, version in versions.items() if version is not None}
        key = tuple(sorted(pins.items()))
        if key not in self._tools:
            question = self._question
            self._tools[key] = making.make_tools(
                question.interpreter, pins, undated.url, question.settings, self._report, with_pip_tools=True
            )
        return self._tools[key]

    def _version_of(self, name: str, attempt: Attempt, undated: DatedIndex) -> str | None:
        environment = self._question.target.marker_environment(self._question.spec.python.text)
        asked = [one for one in (*attempt.demands, *self._question.spec.constraints) if one.name == name]
        wanted = SpecifierSet()
        for one in asked:
            if one.kind == "index" and one.applies(environment):
                wanted &= one.specifier
        # A pin counts whatever its date is: pip itself is no part of what the date decides.
        for index in (self.index(attempt), undated):
            found = [
                version for version in self._wheels(name, index) if wanted.contains(version, prereleases=bool(wanted))
            ]
            if found:
                return str(max((one for one in found if not one.is_prerelease), default=max(found)))
        return next((one.pin for one in asked if one.pin is not None), None)

    def _wheels(self, name: str, index: DatedIndex) -> list[Version]:
        return [
            file.version
            for file in index.files(name)
            if file.version is not None and file.name.endswith(".whl") and file.yanked is None and self._may(file)
        ]

    def _may(self, file: File) -> bool:
        return file.may_run_on(self._question.interpreter.version)

    def _terms(self, attempt: Attempt) -> _Terms:
        tools = self.tools(attempt)
        if tools.python not in self._tags:
            texts = supported_tags(tools, self._question.settings, self._folder / "tags")
            order = {Tag(*text.split("-", 2)): number for number, text in reversed(list(enumerate(texts)))}
            self._tags[tools.python] = order
        return _Terms(
            attempt=attempt, tools=tools, index=self._index_for(attempt, tools), tags=self._tags[tools.python]
        )

    def _index_for(self, attempt: Attempt, tools: Tools) -> DatedIndex:
        return self._index(attempt, attempt.cut, attempt.cuts, tools.pip)

    # Resolving

    def answer(self, attempt: Attempt, ask: Ask) -> Answer:
        """What pip makes of a try.

        :raises LockTimedOut: it took longer than the settings allow.
        """
        self._last = terms = self._terms(attempt)
        # Side by side, where pip asks for one after the other.
        terms.index.read(one.name for one in attempt.demands if one.kind == "index" and one.name is not None)
        for _ in range(_MAX_RUNS):
            lines = self._demand_lines(terms)
            stood_in = {name for name, _ in self._stood_in} | {one.metadata.name for one in self._located.values()}
            account = self._run(terms, lines, self._constraint_lines(attempt), stood_in)
            if account.resolved or not (self._relax(account, terms) or self._describe(account, terms)):
                break
        if not account.resolved and account.done.returncode != 0:
            _check_tools(account, terms.tools)
            return Answer(packages=None, words=pip_words.in_uvs_form(account, attempt, terms.index, ask))
        left = _left(account, attempt, self._roots(attempt))
        self.annotated = "\n".join(
            f"{name}=={version}  # via {', '.join(sorted(account.parents[name])) or '-r requirements.in'}"
            for name, version in account.resolved.items()
        )
        packages = by_name(self._package(name, version, terms) for name, version in left.items())
        return Answer(packages=packages)

    def beside(self, attempt: Attempt, lines: Sequence[str]) -> tuple[LockedPackage, ...] | None:
        """What sdists are built with, by the tools that the environment itself was resolved with; ``None``: nothing will do."""
        if self._last is None:
            return None
        terms = replace(self._last, attempt=attempt, index=self._index_for(attempt, self._last.tools))
        account = self._run(terms, lines, (), stood_in=())
        if account.done.returncode != 0:
            return None
        return by_name(self._package(name, version, terms) for name, version in account.resolved.items())

    def _run(
        self, terms: _Terms, lines: Iterable[str], constraints: Iterable[str], stood_in: Collection[str]
    ) -> Account:
        """:param stood_in: the names of the packages that have stand-ins."""
        settings, attempt = self._question.settings, terms.attempt
        folder = self._run_folder
        folder.mkdir(exist_ok=True)
        (folder / "constraints.in").write_text("\n".join(constraints) + "\n", encoding="utf-8")
        options = ["-c constraints.in"]
        wheels = sorted({*attempt.wheels_only, *attempt.only_binary})
        if settings.no_build or EVERY_PACKAGE in wheels:
            wheels = [EVERY_PACKAGE]
        if wheels:
            options.append(f"--only-binary {','.join(wheels)}")
        if attempt.no_binary:
            options.append(f"--no-binary {','.join(sorted(attempt.no_binary))}")
        if stood_in:
            # Last, since what comes later counts: stand-ins are wheels.
            options += [f"--find-links {self._standins}", f"--only-binary {','.join(sorted(stood_in))}"]
        run = Compilation(
            tools=terms.tools, index=terms.index, folder=folder, lines=[*options, *lines], settings=settings
        )
        try:
            return run.run(self._report)
        except process.TimedOutWaiting:
            raise LockTimedOut(
                f"resolving took longer than {settings.lock_timeout:g} seconds",
                hint="ENVBUILD_LOCK_TIMEOUT sets another limit; pins in the requirements make resolving quicker",
            ) from None

    def _demand_lines(self, terms: _Terms) -> list[str]:
        overrides = [Requirement(line) for line in terms.attempt.overrides]
        instead = {str(canonicalize_name(one.name)): one.specifier for one in overrides}
        return [line for one in terms.attempt.demands if (line := self._line(one, instead, terms)) is not None]

    def _line(self, demand: Demand, instead: Mapping[str, SpecifierSet], terms: _Terms) -> str | None:
        if demand.kind == "index":
            other = instead.get(demand.name or "")
            if other is None or demand.pin is None:
                return demand.text
            return demand.rewritten(other).text
        extras, marker = located.suffix_of(demand)
        environment = self._question.target.marker_environment(self._question.spec.python.text)
        probe = replace(demand, text=f"local ; {marker}", path=None, name="local") if marker else None
        if probe is not None and not probe.applies(environment):
            return None
        found = self._look_at(demand, terms)
        version = standins.write(found.metadata, self._standins)
        return f"{found.metadata.name}{extras}=={version}"

    def _look_at(self, demand: Demand, terms: _Terms) -> Located:
        if demand.text not in self._located:
            self._report(Step("building", demand.name or demand.path or "a source"))
            found = located.look_at(
                demand, self._question, self.stage, self._work(), lambda source, made: self._wheel(source, made, terms)
            )
            self._located[demand.text] = found
        return self._located[demand.text]

    def _wheel(self, source: Path, made: Path, terms: _Terms, *options: str) -> process.Completed:
        """A source made into a wheel by pip."""
        call = Call(
            tools=terms.tools,
            arguments=["pip", "wheel", "--no-deps", *options, "--wheel-dir", str(made), str(source)],
            settings=self._question.settings,
            index_url=terms.index.url,
            cwd=made.parent,
            timeout=self._question.settings.build_timeout,
        )
        return running.run(call, self._report)

    def _work(self) -> Path:
        self._works += 1
        return self._folder / "work" / str(self._works)

    def _constraint_lines(self, attempt: Attempt) -> list[str]:
        # What counts in place of what packages ask for binds them here; what they ask for is taken out where it must be.
        return [*(one.text for one in self._question.spec.constraints), *attempt.bounds, *attempt.overrides]

    def _relax(self, account: Account, terms: _Terms) -> bool:
        """Take out of the releases in the way what they ask of packages that are overridden; whether there were any."""
        names = _overridden(terms)
        more = False
        for text, parent in account.lacking:
            name, _, version = (parent or "").partition("==")
            name, version = str(canonicalize_name(name.partition("[")[0])), standins.without_mark(version)
            if not names or _name_of(text) not in names or not version or (name, version) in self._stood_in:
                continue
            metadata = self._metadata_of(name, version, terms)
            if metadata is not None:
                self._stand_in(metadata, name, version, terms)
                more = True
        return more

    def _describe(self, account: Account, terms: _Terms) -> bool:
        """Give pip a stand-in for the sdist that could not say what it needs; whether there is something new.

        As uv has it, a wheel of the release says it, for whatever platform it is. Else its build backend is asked as
        the build will ask it (PEP 517), where pip itself runs a ``setup.py`` without one.
        """
        name, version = pip_words.not_built(account) or ("", "")
        if not version or (name, version) in self._stood_in:
            return False
        metadata = self._in_any_wheel(name, version, terms) or self._by_backend(name, version, terms)
        if metadata is None:
            return False
        self._stand_in(metadata, name, version, terms)
        return True

    def _stand_in(self, metadata: Metadata, name: str, version: str, terms: _Terms) -> None:
        """Have pip see a release as its metadata says it, without what it asks of packages that are overridden."""
        self._stood_in.add((name, version))
        standins.write(metadata.without(_overridden(terms)), self._standins)
        piptools.forget(self._run_folder, name, version)

    def _in_any_wheel(self, name: str, version: str, terms: _Terms) -> Metadata | None:
        wanted = version_of(version)
        wheels = [one for one in terms.index.files(name) if one.version == wanted and one.name.endswith(".whl")]
        # What is small to fetch first.
        file = min(wheels, key=lambda file: (file.metadata is None, file.size or 0), default=None)
        if file is None:
            return None
        if file.metadata is None:
            return standins.read_wheel(terms.index.fetch(file))
        return standins.read_text(file.name, terms.index.fetch_metadata(file).read_text("utf-8", "replace"))

    def _by_backend(self, name: str, version: str, terms: _Terms) -> Metadata | None:
        file = self._file(name, version, terms)
        if file is None or file.name.endswith(".whl") or Version(terms.tools.pip) < _ASKS_BACKENDS:
            return None
        return self._built(file, terms, "--use-pep517", needs=terms.attempt.build_needs.get(name, ()))

    def _metadata_of(self, name: str, version: str, terms: _Terms) -> Metadata | None:
        file = self._file(name, version, terms)
        if file is None:
            return None
        if file.name.endswith(".whl"):
            return standins.read_wheel(terms.index.fetch(file))
        return self._built(file, terms)

    def _built(self, file: File, terms: _Terms, *options: str, needs: Sequence[str] = ()) -> Metadata | None:
        """What the wheel says that an sdist makes; ``None``: it makes none.

        :param needs: what it is built with beside what it says itself.
        """
        work = self._work()
        work.mkdir(parents=True)
        source = work / file.name
        source.symlink_to(terms.index.fetch(file))
        if needs:
            source = sources.unpack(source, work / "source")
            sources.have_it_require(source, needs)
        self._wheel(source, work / "wheel", terms, *options)
        made = next((work / "wheel").glob("*.whl"), None)
        return None if made is None else standins.read_wheel(made)

    def _roots(self, attempt: Attempt) -> set[str]:
        named = {one.name for one in attempt.demands if one.name is not None}
        return named | {one.metadata.name for one in self._located.values()}

    # What is locked

    def _package(self, name: str, version: str, terms: _Terms) -> LockedPackage:
        if standins.is_stand_in(version):
            for one in self._located.values():
                if one.metadata.name == name:
                    return one.package
            version = standins.without_mark(version)
        file = self._file(name, version, terms)
        if file is None:
            raise LockError(f"the index has no file of {name} {version} that pip {terms.tools.pip} takes")
        sha256 = file.sha256 or terms.index.fetch(file).name
        if file.yanked is not None:
            self.yanked[name, str(version_of(version) or version)] = file.yanked
        return LockedPackage(
            name=name,
            version=str(version_of(version) or version),
            kind="wheel" if file.name.endswith(".whl") else "sdist",
            sha256=sha256,
            url=file.url,
            file_name=file.name,
            size=file.size,
            uploaded=file.uploaded,
        )

    def _file(self, name: str, version: str, terms: _Terms) -> File | None:
        """The file of a release that pip takes: the wheel whose tag comes first, else the first sdist."""
        wanted, attempt = version_of(version), terms.attempt
        files = [file for file in terms.index.files(name) if file.version == wanted and self._may(file)]
        if not names_package(tuple(attempt.no_binary), name):
            ranked = [(rank, file) for file in files if (rank := _rank(file, terms.tags)) is not None]
            if ranked:
                return min(ranked, key=lambda pair: (pair[1].yanked is not None, pair[0]))[1]
        sdists = [file for file in files if not file.name.endswith(".whl")]
        return min(sdists, key=lambda file: file.yanked is not None, default=None)


def _pins(attempt: Attempt, question: Question) -> Iterator[tuple[str, str]]:
    """The releases that somebody pins, by name and version."""
    for one in (*attempt.demands, *question.spec.constraints):
        if one.name is not None and one.pin is not None:
            yield one.name, one.pin
    yield from _pins_in((*attempt.bounds, *attempt.overrides))


def _pins_in(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        with suppress(InvalidRequirement):
            requirement = Requirement(line)
            for one in requirement.specifier:
                if one.operator in ("==", "===") and not one.version.endswith(".*"):
                    yield str(canonicalize_name(requirement.name)), one.version


# A pip-tools that does not fit its pip, whose inner names it uses.
_MISFITS = ("AttributeError", "ImportError", "ModuleNotFoundError", "TypeError", "NameError")


def _check_tools(account: Account, tools: Tools) -> None:
    """:raises LockError: pip-tools itself failed, and not what it was asked."""
    kind, words = next(iter(account.errors), ("", ""))
    if kind in _MISFITS and not account.lacking:
        raise LockError(
            f"pip-tools {tools.pip_tools} does not work with pip {tools.pip}: {kind}: {words[:200]}",
            hint="--set pip==VERSION takes another pip; --engine uv needs none",
            details=account.words.strip().splitlines()[-15:],
        )


def _rank(file: File, tags: Mapping[Tag, int]) -> tuple[int, tuple[int, str]] | None:
    """How early a wheel comes among those that fit; ``None`` for what is no wheel, or does not fit."""
    if not file.name.endswith(".whl"):
        return None
    try:
        _, _, build, own = parse_wheel_filename(file.name)
    except (InvalidWheelFilename, InvalidVersion):
        return None
    fitting = [tags[tag] for tag in own if tag in tags]
    # Of two builds the later one.
    number, letters = build or (0, "")
    return (min(fitting), (-number, letters)) if fitting else None


def _overridden(terms: _Terms) -> set[str]:
    """The names of the packages whose versions count in place of what others ask for."""
    return {_name_of(line) for line in terms.attempt.overrides}


def _name_of(line: str) -> str:
    try:
        return str(canonicalize_name(Requirement(line).name))
    except InvalidRequirement:
        return ""


def _left(account: Account, attempt: Attempt, roots: set[str]) -> dict[str, str]:
    """What was resolved without what is left out, and without what that alone asked for."""
    if not attempt.excluded:
        return dict(account.resolved)
    excluded = set(attempt.excluded)
    left = {name for name in account.resolved if name in roots or not account.parents[name]} - excluded
    while True:
        more = {
            name
            for name, parents in account.parents.items()
            if name not in left and name not in excluded and parents & left
        }
        if not more:
            return {name: version for name, version in account.resolved.items() if name in left}
        left |= more
