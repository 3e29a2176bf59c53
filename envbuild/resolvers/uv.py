"""The uv engine: ``uv pip compile`` for one Python and platform, as of a date."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from envbuild import process, system_packages, uv
from envbuild.asof import rfc3339
from envbuild.errors import IndexUnreachable, LockError, LockTimedOut, Unresolvable
from envbuild.indexes import Indexes
from envbuild.lock import Lock, LockedPackage
from envbuild.progress import Report, Step
from envbuild.pylock import read_lock
from envbuild.question import Question
from envbuild.repairs import resolving
from envbuild.repairs.attempt import Attempt
from envbuild.repairs.rules import Switch
from envbuild.requirement import Demand
from envbuild.resolvers import standins
from envbuild.resolvers.accelerated import accelerated, with_tensorflow
from envbuild.resolvers.asking import noting_removed, with_dependencies
from envbuild.resolvers.building import BuildRequirements, UsualRequirements
from envbuild.resolvers.last_links import as_index
from envbuild.resolvers.trying import (
    Answer,
    asker,
    completed,
    copy_local_parts,
    indexes_of,
    lines_of,
    lock_of,
    resolved,
    who,
    with_notices_of,
)
from envbuild.resolvers.yanked import noting_yanked, yanked_in

_NETWORK_WORDS = ("error sending request", "Failed to fetch", "dns error", "HTTP status", "Request failed after")
# To uv an index that refuses us merely lacks the package; a hint names the status.
_REFUSED = re.compile(r"could not be queried.*?\((\d{3} [^)]*)\)|returned a (403 \w+) error")


class UvResolver:
    """Answers questions with uv."""

    def resolve(self, question: Question, report: Report) -> Lock:
        """See :class:`envbuild.resolvers.Resolver`."""
        try:
            return self._resolve(question, report)
        except LockError as error:
            if question.settings.engine == "uv" and pip_might(error):
                hint = "--engine pip (or auto) may get through"
                error.hint = hint if error.hint is None else f"{error.hint}; {hint}"
            raise

    def _resolve(self, question: Question, report: Report) -> Lock:
        report(Step("resolving", f"{len(question.spec.demands)} requirements as of {question.as_of.text}"))
        ask = asker(question)
        first = with_tensorflow(question, resolving.first_attempt(question, Switch.of(question.settings)), ask)
        yanked: dict[tuple[str, str], str] = {}
        compiled_beside = partial(_compiled_beside, yanked)
        with (
            tempfile.TemporaryDirectory(prefix="envbuild-lock-") as name,
            tempfile.TemporaryDirectory(prefix="envbuild-usual-") as aside,
            UsualRequirements(question, first, Path(aside), compiled_beside) as usual,
        ):
            stage = Path(name)
            copy_local_parts(question, stage)

            def compiled(attempt: Attempt) -> Answer:
                done = compile_once(question, attempt, lines_of(attempt), stage, report)
                yanked.update(yanked_in(done.stderr))
                return Answer(
                    packages=packages_in(done.stdout, question) if done.returncode == 0 else None, words=done.stderr
                )

            packages, attempt = accelerated(
                question,
                resolved(question, first, ask, compiled, explain),
                lambda following: resolved(question, following, ask, compiled, explain),
            )
            attempt = with_notices_of(attempt, packages)
            attempt = noting_removed(question, attempt, lambda other: annotated(question, other, packages, stage))
            packages = with_dependencies(packages, annotated(question, attempt, packages, stage))
            packages = tuple(completed(package, question) for package in packages)
            build = BuildRequirements(question, attempt, stage, usual.compiled, report).locked(packages)
            attempt = noting_yanked(attempt, packages, build, yanked)
        return lock_of(question, attempt, packages, build, "uv")


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
    try:
        indexes = _indexes(question, attempt, stage)
    except IndexUnreachable as error:
        # A failure like uv's own, which rules may answer.
        words = f"error: Failed to fetch: {error.message}"
        return process.Completed(argv=(), returncode=2, stdout="", stderr=words, seconds=0.0)
    call = uv.Call(
        arguments=arguments,
        settings=settings,
        indexes=indexes,
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


def _compiled_beside(
    yanked: dict[tuple[str, str], str],
    question: Question,
    attempt: Attempt,
    lines: Sequence[str],
    stage: Path,
    on_start: Callable[[process.Child], None] | None = None,
) -> tuple[LockedPackage, ...] | None:
    """What sdists are built with; see :data:`envbuild.resolvers.building.Compile`.

    :param yanked: gets the releases that were taken back, and why.
    """
    # What is there for the model is not there where something is built.
    question = replace(question, provided={})
    done = compile_once(question, attempt, lines, stage, lambda step: None, on_start)
    yanked.update(yanked_in(done.stderr))
    return packages_in(done.stdout, question) if done.returncode == 0 else None


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
        indexes=_indexes(question, attempt, stage),
        cwd=stage,
        timeout=question.settings.lock_timeout,
        config=_config(attempt),
    )
    try:
        done = uv.run(call, lambda step: None)
    except process.TimedOutWaiting:
        return ""
    return done.stdout if done.returncode == 0 else ""


def _indexes(question: Question, attempt: Attempt, stage: Path) -> Indexes:
    """Where uv looks: for what is there already among stand-ins, since it need not be on an index, nor as old there."""
    indexes = as_index(indexes_of(question, attempt), question.settings, stage / f"links-{len(attempt.dead_indexes)}")
    if not question.provided:
        return indexes
    folder = stage / "provided"
    for name, version in question.provided.items():
        standins.write_provided(name, version, folder)
    return indexes.beside((str(folder),))


def _write(path: Path, lines: Iterable[str]) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _arguments(question: Question, attempt: Attempt, stage: Path) -> list[str]:
    """The arguments of a run that resolves the lines in ``requirements.in``."""
    settings = question.settings
    there = [f"{name}=={version}" for name, version in sorted(question.provided.items())]
    bounds = (constraint.text for constraint in question.spec.constraints)
    _write(stage / "constraints.in", [*bounds, *attempt.bounds, *there])
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
    for name in sorted(question.provided):
        arguments += ["--no-emit-package", name]
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


# What uv says of a file whose name or metadata it does not accept.
_INVALID = re.compile(
    r"(?:has|have) (?:an )?(?:invalid|inconsistent) (?:metadata|package format)|could not be parsed|Metadata field|"
    r"Failed to (?:parse|read) metadata|invalid (?:wheel|source distribution) filename"
)


def pip_might(error: LockError) -> bool:
    """Whether pip may get through where uv failed: at what a source or a file says of itself, not at what there is."""
    return type(error) is LockError or (type(error) is Unresolvable and _INVALID.search(error.message) is not None)


def explain(words: str, attempt: Attempt, bounds: Iterable[Demand] = ()) -> LockError:
    """uv's failure in plain words, with the place of each requirement that it names."""
    text = _plain(words)
    details = [
        f"{demand.text}  ({demand.place or who(demand)})"
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
