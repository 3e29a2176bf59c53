"""conda prefixes: the channels' half by py-rattler, pip's half on top of it by uv."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from envbuild import faults
from envbuild.builders import Order
from envbuild.builders.uv import UvInstaller
from envbuild.builders.virtualenv import Installer, VirtualenvBuilder
from envbuild.conda import activation
from envbuild.conda.installed import installed
from envbuild.conda.package import CondaHalf
from envbuild.conda.running import Rattler
from envbuild.errors import BuildError
from envbuild.progress import Report, Step
from envbuild.settings import LinkMode, Settings
from envbuild.store.manifest import Manifest
from envbuild.store.record import distributions
from envbuild.store.verification import overwritten

Fill = Callable[[Order, Report], None]


def filled_by_rattler(order: Order, report: Report, *, validate: bool = False) -> None:
    """Put a lock's conda packages into its prefix.

    :param validate: as :meth:`envbuild.conda.running.Rattler.install` has it.
    :raises BuildError: they cannot be had or installed.
    """
    half = order.lock.conda
    if half is None:
        raise BuildError("the lock has nothing from conda's channels", hint="please report this")
    rattler = Rattler(settings=order.settings, channels=order.channels)
    install(half, order.place, rattler, report, link_mode=order.link_mode, validate=validate)


def install(
    half: CondaHalf,
    prefix: Path,
    rattler: Rattler,
    report: Report,
    *,
    known_as: Path | None = None,
    link_mode: LinkMode = "copy",
    validate: bool = True,
) -> None:
    """Make a prefix of the conda packages of a lock.

    :param known_as: where it will lie when it is used, which is what its files then say; ``None``: where it is made.
    :param link_mode: how its files are shared with the package cache.
    :param validate: as :meth:`envbuild.conda.running.Rattler.install` has it.
    :raises BuildError: they cannot be had or installed.
    """
    if half.link_scripts:
        _check_scripts(rattler.settings, known_as)
    report(Step("installing", f"{len(half.packages)} conda packages", count=len(half.packages)))
    rattler.install(
        half.packages,
        prefix,
        half.subdir,
        report,
        known_as=known_as,
        link_mode=link_mode,
        validate=validate,
        link_scripts=half.link_scripts,
    )
    faults.point("conda packages installed")


def _check_scripts(settings: Settings, known_as: Path | None) -> None:
    """Be sure that packages may run scripts of their own, and that these can do what they are for.

    :raises BuildError: one of the two is not so.
    """
    if not settings.link_scripts:
        raise BuildError(
            "the lock lets conda packages run scripts of their own, and nobody here does",
            hint="--link-scripts lets them; envbuild lock --update locks without",
        )
    if known_as is not None:
        raise BuildError(
            "conda packages cannot run their scripts for another place than the one that they are linked at",
            hint="images are made of locks without --link-scripts",
        )


class CondaBuilder(VirtualenvBuilder):
    """Builds conda prefixes."""

    def __init__(self, fill: Fill = filled_by_rattler) -> None:
        """:param fill: puts the conda packages into the prefix: where there is no py-rattler, they come another way."""
        self._fill = fill

    def build(self, order: Order, report: Report) -> Manifest:
        """See :class:`envbuild.builders.Builder`."""
        manifest, others = self._built(order, report)
        if _damaged(order, others):
            # Nothing was read from the cache but what was linked; now all of it is, and what is damaged is fetched anew.
            report(Step("installing", "the conda packages again, since what is cached of them is damaged"))
            shutil.rmtree(order.place)
            self._fill = partial(filled_by_rattler, validate=True)
            manifest, others = self._built(order, report)
            if damaged := _damaged(order, others):
                raise BuildError(
                    f"{len(damaged)} files are not those of their conda packages, {min(damaged)} among them",
                    hint="envbuild cache clean empties the cache of packages; build again then",
                )
        return replace(manifest, differing=manifest.differing | others)

    def _built(self, order: Order, report: Report) -> tuple[Manifest, frozenset[str]]:
        """A manifest, and the files in it that are not as conda's packages have them."""
        manifest = super().build(order, report)
        others = (path for package in installed(order.place) for path in overwritten(manifest, package))
        return manifest, frozenset(others)

    def installer(self, order: Order, scratch: Path, report: Report) -> Installer:
        """See :class:`VirtualenvBuilder`."""
        return _CondaInstaller(order, scratch, report, self._fill)


def _damaged(order: Order, others: Iterable[str]) -> frozenset[str]:
    """Of the files that are not as conda's packages have them, those that pip's packages have not brought."""
    # Byte code is ours. For the rest the records of pip's packages must be read, and mostly there is none.
    if not (found := frozenset(path for path in others if not path.endswith(".pyc"))):
        return found
    names = {package.name for package in order.lock.packages}
    return found.difference(*(one.files for one in distributions(order.place) if one.name in names))


class _CondaInstaller(UvInstaller):
    """The conda packages, and uv at work on top of them, in one prefix."""

    def __init__(self, order: Order, scratch: Path, report: Report, fill: Fill) -> None:
        super().__init__(order, scratch, report)
        self._fill = fill

    def create(self) -> Mapping[str, str]:
        """See :class:`Installer`."""
        order = self._order
        self._fill(order, self._report)
        if not Path(self._python).exists():
            raise BuildError("the conda packages brought no bin/python", hint="is the channel's python whole?")
        self._report(Step("installing", "what activates the conda packages"))
        variables = () if order.lock.conda is None else order.lock.conda.variables
        found = activation.computed(order.place, variables, order.settings.build_timeout)
        activation.keep(order.place, found)
        faults.point("activation kept")
        return {one.name: one.version for one in distributions(order.place)}
