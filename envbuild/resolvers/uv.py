"""The uv engine: ``uv pip compile`` for one Python and platform, as of a date."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from packaging.utils import canonicalize_name

from envbuild import process, projects, system_packages, uv
from envbuild.asof import Ask, rfc3339
from envbuild.errors import IndexUnreachable, LockError, LockTimedOut, Unresolvable
from envbuild.files import copy_part
from envbuild.indexes import Indexes
from envbuild.lock import Lock, LockedPackage, Origin, staged
from envbuild.progress import Report, Step
from envbuild.projects import Project
from envbuild.pylock import read_lock
from envbuild.question import Question
from envbuild.repairs import resolving
from envbuild.repairs.attempt import Attempt, Failure
from envbuild.repairs.packages import COMPILED
from envbuild.repairs.rules import Switch
from envbuild.requirement import Demand
from envbuild.resolvers.accelerated import accelerated, with_tensorflow
from envbuild.resolvers.asking import noting_removed, with_dependencies
from envbuild.resolvers.building import BuildRequirements, UsualRequirements
from envbuild.spec import digest_of

_MAX_ATTEMPTS = 40
_NETWORK_WORDS = ("error sending request", "Failed to fetch", "dns error", "HTTP status", "Request failed after")
# To uv an index that refuses us merely lacks the package; a hint names the status.
_REFUSED = re.compile(r"could not be queried.*?\((\d{3} [^)]*)\)|returned a (403 \w+) error")


class UvResolver:
    """Answers questions with uv."""

    def resolve(self, question: Question, report: Report) -> Lock:
        """See :class:`envbuild.resolvers.Resolver`."""
        report(Step("resolving", f"{len(question.spec.demands)} requirements as of {question.as_of.text}"))
        ask = asker(question)
        first = with_tensorflow(question, resolving.first_attempt(question, Switch.of(question.settings)), ask)
        with (
            tempfile.TemporaryDirectory(prefix="envbuild-lock-") as name,
            tempfile.TemporaryDirectory(prefix="envbuild-usual-") as aside,
            UsualRequirements(question, first, Path(aside)) as usual,
        ):
            stage = Path(name)
            _copy_local_parts(question, stage)
            packages, attempt = accelerated(
                question,
                _resolved(question, first, stage, ask, report),
                lambda following: _resolved(question, following, stage, ask, report),
            )
            attempt = _with_notices_of(attempt, packages)
            attempt = noting_removed(question, attempt, packages, stage)
            packages = with_dependencies(question, attempt, packages, stage)
            packages = tuple(_completed(package, question) for package in packages)
            build = BuildRequirements(question, attempt, stage, usual, report).locked(packages)
        return Lock(
            python=question.spec.python.text,
            target=question.target,
            packages=packages,
            build=build,
            origin=Origin(
                spec_digest=question.spec.digest(),
                as_of="now" if attempt.cut is None else rfc3339(attempt.cut),
                as_of_reason=question.as_of.reason,
                engine="uv",
                indexes=tuple(name for names in _indexes(question, attempt).names() for name in names),
                notices=attempt.notices,
                cuts={name: rfc3339(cut) for name, cut in attempt.cuts.items()},
                overrides=question.spec.overrides,
            ),
        )


def asker(question: Question) -> Ask:
    """Asks the index about projects, each once."""
    known: dict[str, Project] = {}
    asked: set[str] = set()

    def ask(names: Iterable[str]) -> Mapping[str, Project]:
        # One that the index does not have is asked for once too.
        missing = set(names) - asked
        if missing and not question.settings.offline:
            default = uv.default_index(question.settings.home)
            known.update(projects.read_projects(missing, question.indexes, default))
            asked.update(missing)
        return known

    return ask


def _copy_local_parts(question: Question, stage: Path) -> None:
    """Copy what lies inside the model to where it may be built: building writes beside the sources."""
    for demand in question.spec.demands:
        if demand.path is None:
            continue
        copy_part(question.spec.model / demand.path, stage / staged(demand.path))


def _resolved(
    question: Question, attempt: Attempt, stage: Path, ask: Ask, report: Report
) -> tuple[tuple[LockedPackage, ...], Attempt]:
    switch = Switch.of(question.settings)
    for _ in range(_MAX_ATTEMPTS):
        done = compile_once(question, attempt, lines_of(attempt), stage, report)
        if done.returncode == 0:
            return packages_in(done.stdout, question), attempt
        failure = Failure(attempt=attempt, words=done.stderr, question=question, ask=ask)
        following = resolving.next_attempt(failure, switch)
        if following is None:
            break
        attempt = following
    bounds = [one for one in question.spec.constraints if one.origin == "override"]
    raise _with_offers(explain(done.stderr, attempt, bounds), failure, switch)


def _with_offers(error: LockError, failure: Failure, switch: Switch) -> LockError:
    """The failure, with the repairs that would be tried if they were allowed."""
    if isinstance(error, IndexUnreachable):
        return error
    offers = resolving.offers(failure, switch)
    if offers:
        names = " ".join(f"--allow-repair {name}" for name in dict.fromkeys(notice.code for notice in offers))
        error.hint = f"{names} would try this: {'; '.join(notice.message for notice in offers)}"
    return error


def _with_notices_of(attempt: Attempt, packages: Iterable[LockedPackage]) -> Attempt:
    """The try with what shows only in its answer."""
    pinned = {demand.name for demand in attempt.demands if demand.pin is not None}
    for package in packages:
        # A pin is taken in whatever form there is: nobody had to give up wheels for it.
        if package.kind == "sdist" and package.name in COMPILED & pinned - attempt.wheels_only - attempt.sdists_too:
            attempt = attempt.noting(
                "wheels-first", f"{package.name} {package.version} has no wheel here; its sdist is built"
            )
        if (package.name, package.version) in attempt.metadata:
            message = (
                f"what {package.name} {package.version} says of its needs no tool of today reads; it is read as meant"
            )
            attempt = attempt.noting("broken-metadata", message)
    return attempt


def lines_of(attempt: Attempt) -> list[str]:
    """What is demanded, a line each."""
    return [_line(demand) for demand in attempt.demands]


def _line(demand: Demand) -> str:
    # Editable or not, what lies inside the model is installed from a copy of it, as a wheel.
    return demand.text if demand.path is None else f"./{staged(demand.path)}{demand.text.removeprefix(demand.path)}"


def compile_once(
    question: Question,
    attempt: Attempt,
    lines: Iterable[str],
    stage: Path,
    report: Report,
    on_start: Callable[[process.Child], None] | None = None,
) -> process.Completed:
    """One run of ``uv pip compile``.

    :param on_start: called with uv's process, so that another thread can end it before its time.
    :raises LockTimedOut: it took longer than the settings allow.
    """
    settings = question.settings
    _write(stage / "requirements.in", lines)
    arguments = [*_arguments(question, attempt, stage), "--format", "pylock.toml", "--no-annotate"]
    call = uv.Call(
        arguments=arguments,
        settings=settings,
        indexes=_indexes(question, attempt),
        cwd=stage,
        timeout=settings.lock_timeout,
        config=_config(attempt),
        on_start=on_start,
    )
    try:
        return uv.run(call, report)
    except process.TimedOutWaiting:
        raise LockTimedOut(
            f"resolving took longer than {settings.lock_timeout:g} seconds",
            hint="ENVBUILD_LOCK_TIMEOUT sets another limit; pins in the requirements make resolving quicker",
        ) from None


def annotated(question: Question, attempt: Attempt, packages: Iterable[LockedPackage], stage: Path) -> str:
    """What ``uv pip compile`` says of who asked for each of some packages that it has just resolved; empty where it cannot.

    The same question once more, with the answer as constraints: nothing is looked for, and what the index said a moment
    ago is mostly in uv's cache.
    """
    exact = [f"{one.name}=={one.version}" for one in packages if one.kind in ("wheel", "sdist")]
    _write(stage / "exact.in", exact)
    arguments = [*_arguments(question, attempt, stage), "--constraints", "exact.in", "--annotation-style", "line"]
    call = uv.Call(
        arguments=[*arguments, "--no-strip-extras"],
        settings=question.settings,
        indexes=_indexes(question, attempt),
        cwd=stage,
        timeout=question.settings.lock_timeout,
        config=_config(attempt),
    )
    try:
        done = uv.run(call, lambda step: None)
    except process.TimedOutWaiting:
        return ""
    return done.stdout if done.returncode == 0 else ""


def _indexes(question: Question, attempt: Attempt) -> Indexes:
    return question.indexes.without(attempt.dead_indexes).beside(attempt.find_links)


def _write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _arguments(question: Question, attempt: Attempt, stage: Path) -> list[str]:
    """The arguments of a run that resolves the lines in ``requirements.in``."""
    settings = question.settings
    _write(stage / "constraints.in", (constraint.text for constraint in question.spec.constraints))
    arguments = ["pip", "compile", "requirements.in", "--constraints", "constraints.in", "--no-header"]
    python = attempt.python or _full(question.spec.python.text)
    arguments += ["--python", question.interpreter.executable, "--python-version", python]
    if (platform := question.target.uv_platform) is not None:
        arguments += ["--python-platform", platform]
    if attempt.overrides:
        _write(stage / "overrides.in", attempt.overrides)
        arguments += ["--overrides", "overrides.in"]
    if attempt.excluded:
        _write(stage / "excludes.in", attempt.excluded)
        arguments += ["--excludes", "excludes.in"]
    for name in sorted({*attempt.wheels_only, *attempt.only_binary}):
        arguments += ["--only-binary", name]
    for name in sorted(attempt.no_binary):
        arguments += ["--no-binary", name]
    if attempt.cut is not None:
        arguments += ["--exclude-newer", rfc3339(attempt.cut)]
        for name, cut in sorted(attempt.cuts.items()):
            arguments += ["--exclude-newer-package", f"{name}={rfc3339(cut)}"]
    if settings.no_build:
        arguments += ["--no-build"]
    return arguments


def _config(attempt: Attempt) -> dict[str, object]:
    config: dict[str, object] = {}
    if attempt.metadata:
        config["dependency-metadata"] = [
            {"name": name, "version": version, "requires-dist": list(needs)}
            for (name, version), needs in attempt.metadata.items()
        ]
    if attempt.build_needs:
        config["extra-build-dependencies"] = {name: list(needs) for name, needs in attempt.build_needs.items()}
    return config


def _full(python: str) -> str:
    """Where no patch release is demanded, the last one counts: a package may ask for 3.8.1 at least."""
    return python if python.count(".") >= 2 else f"{python}.99"


def packages_in(text: str, question: Question) -> tuple[LockedPackage, ...]:
    """The packages of a ``pylock.toml`` of uv's, one file each."""
    # uv demands the Python that it resolved for at least; ours is any of the same minor version.
    text = re.sub(r"^requires-python = .*$", "", text, count=1, flags=re.MULTILINE)
    return read_lock(text, "uv's answer", question.spec.python.text, question.target).packages


def _completed(package: LockedPackage, question: Question) -> LockedPackage:
    """A package with what uv does not say: the extras asked for, and the digest of a directory."""
    named = [d.requirement for d in question.spec.demands if d.name == package.name]
    extras = {canonicalize_name(extra) for requirement in named if requirement for extra in requirement.extras}
    package = replace(package, extras=tuple(sorted(extras)))
    lies = {staged(part): part for part in question.spec.parts}
    if package.path in lies:
        package = replace(package, path=lies[package.path])
    if package.kind == "directory" and package.path is not None:
        package = replace(package, sha256=digest_of(question.spec.model / package.path))
    return package


def explain(words: str, attempt: Attempt, bounds: Iterable[Demand] = ()) -> LockError:
    """uv's failure in plain words, with the place of each requirement that it names."""
    text = _plain(words)
    details = [
        f"{demand.text}  ({demand.place or _who(demand)})"
        for demand in (*attempt.demands, *bounds)
        if demand.name is not None and re.search(rf"(?<![\w.-]){re.escape(demand.name)}(?![\w-])", text)
    ]
    if "network was disabled" in words:
        hint = "run once with the network, or without --offline"
        return Unresolvable("the packages are not in the cache, and the network is not to be used", hint=hint)
    if (refused := _REFUSED.search(words)) is not None:
        hint = "put the index's credentials into netrc or its URL (--index-url)"
        return IndexUnreachable(f"an index refuses us: {refused.group(1) or refused.group(2)}; {text}", hint=hint)
    if any(word in words for word in _NETWORK_WORDS):
        hint = "is there a network, and are the index's URL and credentials right (--index-url, netrc)?"
        return IndexUnreachable(f"the index cannot be reached: {text}", hint=hint)
    if "Failed to build" in words or "Failed to resolve requirements from" in words:
        message = f"an sdist must be built to say what it needs, and could not be: {text[:200]}"
        return LockError(message, hint=system_packages.hint(words), details=words.splitlines()[-25:])
    hint = "change one of the requirements named, or try --as-of now"
    return Unresolvable(f"no set of packages meets all requirements: {text}", hint=hint, details=details)


def _who(demand: Demand) -> str:
    return {"build": "what every environment has", "mlflow": "mlflow_version"}.get(demand.origin, demand.origin)


def _plain(words: str) -> str:
    """uv's reason as one sentence, without its frames, its own advice, and our invented place names."""
    kept = []
    for line in words.splitlines():
        if line.startswith(("hint:", "warning:", "Using ")) or not line.strip():
            continue
        kept.append(re.sub(r"^\s*(error:|cause:|╰─▶|├─▶|│)?\s*", "", line))
    text = " ".join(kept)
    text = re.sub(r"^No solution found when resolving dependencies:?\s*", "", text)
    text = text.replace("you require", "the model requires").replace("your requirements", "the requirements")
    return re.sub(r"\s+", " ", text).strip()
