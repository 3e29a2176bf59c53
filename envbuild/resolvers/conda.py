"""conda's half from channels by py-rattler, and pip's half on top of it by uv, as of the same date."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from envbuild import accelerator
from envbuild.conda import channels
from envbuild.conda.channels import Channel
from envbuild.conda.installed import distribution_of
from envbuild.conda.machine import machine_of
from envbuild.conda.package import CondaHalf
from envbuild.conda.part import CondaPart
from envbuild.conda.running import MAP_HINT, Rattler, Solve
from envbuild.conda.session import session
from envbuild.errors import LockError, Unresolvable, UsageError
from envbuild.indexes import logged_in
from envbuild.lock import PYTHON_REPAIRS, Lock
from envbuild.model import Notice
from envbuild.progress import Report, Step
from envbuild.question import Question
from envbuild.redaction import without_credentials
from envbuild.resolvers.uv import UvResolver
from envbuild.settings import Settings


class CondaResolver:
    """Answers questions whose spec asks for conda packages."""

    def __init__(self, part: CondaPart) -> None:
        """:param part: what is asked of channels."""
        self._part = part

    def resolve(self, question: Question, report: Report) -> Lock:
        """See :class:`envbuild.resolvers.Resolver`."""
        if question.settings.engine == "pip":
            raise UsageError(
                "pip is to resolve, and what stands on top of conda packages is resolved by uv",
                hint=f"--engine uv or auto; {MAP_HINT}",
            )
        half = self.half(question, report)
        provided = half.provides
        # What conda brings need not be asked for; that it is of the version that pip's half wants, uv's constraints say.
        try:
            lock = UvResolver().resolve(_on_top(question, provided), report)
        except Unresolvable as error:
            raise _both_named(error, half) from error
        notices = (*_of_another_machine(self._part, half.subdir), *lock.origin.notices)
        origin = replace(lock.origin, engine="conda and uv", spec_digest=question.spec.digest(), notices=notices)
        return replace(lock, python=_python(half), conda=half, origin=origin)

    def half(self, question: Question, report: Report) -> CondaHalf:
        """What comes from channels."""
        settings, part = question.settings, self._part
        mirrors = dict(settings.conda_mirror)
        found = channels.channels_of(part.channels, (spec.text for spec in part.specs), mirrors)
        _check_policy(found, part, settings)
        urls = channels.urls_of(found)
        machine = machine_of(question.target, _virtual_packages(settings))
        report(Step("resolving", f"{len(part.specs)} conda packages as of {question.as_of.text}"))
        rattler = Rattler(settings=settings, channels=logged_in(urls))
        specs = (*_pythons(question, part), *(spec.text for spec in part.specs if spec.name != "python"))
        asked = Solve(
            specs=tuple(channels.spec_for(text, found, mirrors) for text in specs),
            channels=found,
            machine=machine,
            exclude_newer=question.as_of.instant,
        )
        with session():
            packages = rattler.solve(asked, report)
            in_python = [one for one in packages if any(need.split(" ")[0] == "python" for need in one.depends)]
            folders = rattler.provided(in_python, report)
        return CondaHalf(
            packages=tuple(replace(one, provides=_distributions(folders.get(one.sha256, ()))) for one in packages),
            channels=tuple(without_credentials(url) for url in urls),
            subdir=machine.subdir,
            virtual_packages=machine.virtual_packages,
            variables=part.variables,
            link_scripts=settings.link_scripts,
        )


def _on_top(question: Question, provided: Mapping[str, str]) -> Question:
    """The question of pip's half: with what is there, and without the repairs that take another Python than conda's."""
    settings = question.settings
    settings = settings.having(deny_repair=(*settings.deny_repair, *PYTHON_REPAIRS))
    return replace(question, provided=provided, settings=settings)


def _check_policy(found: Iterable[Channel], part: CondaPart, settings: Settings) -> None:
    """Be sure that a model names no channel that nobody let it name.

    :raises LockError: it does. Left out, what is solved would be something else.
    """
    if part.by_deployer or settings.model_indexes == "allow":
        return
    if strange := channels.unknown(found, dict(settings.conda_mirror)):
        raise LockError(
            f"the model's conda.yaml names channels that are not known: {', '.join(strange)}",
            hint="--model-indexes allow lets a model name any; --conda-mirror CHANNEL=URL says where one is had; "
            + MAP_HINT,
        )


def _of_another_machine(part: CondaPart, subdir: str) -> tuple[Notice, ...]:
    """What to say of a conda.yaml that says which platforms it is for, and not the one that is locked for."""
    if not part.platforms or subdir in part.platforms:
        return ()
    said = f"conda.yaml says that it is for {', '.join(part.platforms)}; it is locked for {subdir}"
    return (Notice(code="conda-platform", message=said),)


def _virtual_packages(settings: Settings) -> tuple[tuple[str, str], ...]:
    """What the deployer says of the machine; a build for one CUDA says which CUDA there is."""
    cuda = re.fullmatch(r"cu(\d+)(\d)", accelerator.chosen(settings.accelerator))
    of_accelerator = () if cuda is None else (("__cuda", f"{cuda[1]}.{cuda[2]}"),)
    return (*of_accelerator, *settings.virtual_package)


def _pythons(question: Question, part: CondaPart) -> Iterable[str]:
    """Python's own spec: as conda.yaml has it, where it is conda.yaml that says which Python it is."""
    own = next((spec.text for spec in part.specs if spec.name == "python"), None)
    python = question.spec.python
    if own is not None and python.source == "conda.yaml":
        yield own
    else:
        yield f"python {python.text}{'' if python.text.count('.') >= 2 else '.*'}"


def _python(half: CondaHalf) -> str:
    """The Python that was solved.

    :raises LockError: there is none.
    """
    found = half.version_of("python")
    if found is None:
        raise LockError("the conda packages bring no Python", hint="name python in conda.yaml")
    return found


def _distributions(folders: Iterable[str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({pair for folder in folders if (pair := distribution_of(folder)) is not None}))


def _both_named(error: Unresolvable, half: CondaHalf) -> Unresolvable:
    """pip's failure with the conda packages that it names."""
    named = [
        f"conda: {package.name} {package.version} ({package.build}) brings {name} {version}"
        for package in half.packages
        for name, version in package.provides
        if re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", error.message)
    ]
    if not named:
        return error
    return Unresolvable(
        f"pip's packages cannot be put on top of conda's: {error.message}",
        hint=error.hint,
        place=error.place,
        details=(*named, *error.details),
    )
