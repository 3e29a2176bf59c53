"""Short ways into envbuild.conda: a question, a prefix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from channel import SUBDIR

from envbuild.conda.channels import channels_of, spec_for, urls_of
from envbuild.conda.package import CondaPackage
from envbuild.conda.running import Machine, Rattler, Solve
from envbuild.progress import Step
from envbuild.settings import Settings

HERE = Machine(
    subdir=SUBDIR, virtual_packages=(("__glibc", "2.28", "0"), ("__linux", "5.10", "0"), ("__unix", "0", "0"))
)


@dataclass
class Room:
    """py-rattler with a store of the test's own."""

    home: Path
    steps: list[Step] = field(default_factory=list)

    def rattler(self, *channels: str, **settings: Any) -> Rattler:
        return Rattler(settings=Settings.from_environ({}, home=self.home, **settings), channels=channels)

    def solve(
        self,
        *specs: str,
        channels: Sequence[str],
        day: str | None = "2022-12-01",
        machine: Machine = HERE,
        **settings: Any,
    ) -> tuple[CondaPackage, ...]:
        """The packages of specs, as the resolver asks for them."""
        newest = None if day is None else datetime.fromisoformat(day)
        if newest is not None and newest.tzinfo is None:
            newest = newest.replace(tzinfo=timezone.utc)
        rattler = self.rattler(**settings)
        mirrors = dict(rattler.settings.conda_mirror)
        found = channels_of(channels, specs, mirrors)
        asked = Solve(
            specs=tuple(spec_for(spec, found, mirrors) for spec in specs),
            channels=found,
            machine=machine,
            exclude_newer=newest,
        )
        return self.rattler(*urls_of(found), **settings).solve(asked, self.steps.append)

    def install(
        self, packages: Sequence[CondaPackage], prefix: Path, *, channels: Sequence[str] = (), **settings: Any
    ) -> Path:
        more = {name: settings.pop(name) for name in ("link_mode", "known_as") if name in settings}
        self.rattler(*channels, **settings).install(packages, prefix, SUBDIR, self.steps.append, **more)
        return prefix


def named(packages: Sequence[CondaPackage]) -> dict[str, str]:
    """Names and versions."""
    return {package.name: package.version for package in packages}
