"""How long conda packages take: solved and installed, against py-rattler called bare on the same channel.

Both are processes of their own from start to end, in turn, with the same packages, machine and date; medians and the
median of the ratios::

    solve      what a channel has is in the cache of each
    cold       installed from the channel, with an empty cache of packages
    warm       installed with what is in the cache

Any channel on this machine or elsewhere will do, by its URL::

    python benchmarks/conda.py --channel file:///srv/channel --as-of 2022-12-01 python=3.8 scikit-learn pandas [--runs 9]
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from envbuild import target
from envbuild.conda.channels import channels_of
from envbuild.conda.machine import machine_of
from envbuild.conda.running import Rattler, Solve
from envbuild.conda.session import session
from envbuild.progress import silent
from envbuild.settings import Settings

# What one would write who has py-rattler and no envbuild.
BARE = """
import asyncio, datetime, json, os, sys
from pathlib import Path
from rattler import (BuildString, Channel, Gateway, GenericVirtualPackage, MatchSpec, PackageName, Version, install, solve)

async def main():
    asked = json.loads(sys.argv[1])
    machine = [GenericVirtualPackage(PackageName(n), Version(v), BuildString(b)) for n, v, b in asked["machine"]]
    records = await solve(
        sources=[Channel(asked["channel"])],
        specs=[MatchSpec(text) for text in asked["specs"]],
        gateway=Gateway(cache_dir=Path(asked["cache"]) / "repodata"),
        platforms=[asked["subdir"], "noarch"],
        virtual_packages=machine,
        exclude_newer=datetime.datetime.fromisoformat(asked["newest"]),
    )
    if asked["prefix"]:
        await install(records, target_prefix=asked["prefix"], cache_dir=Path(asked["cache"]), show_progress=False)

asyncio.run(main())
# Some processes crash when they end after it.
os._exit(0)
"""


@dataclass(frozen=True)
class Bench:
    """One question, and a folder for both sides."""

    channel: str
    specs: tuple[str, ...]
    newest: datetime
    folder: Path

    @property
    def asked(self) -> Solve:
        """The question as envbuild puts it."""
        here = machine_of(target.here("3.8"))
        found = channels_of([self.channel], self.specs, {})
        return Solve(specs=self.specs, channels=found, machine=here, exclude_newer=self.newest)

    @property
    def rattler(self) -> Rattler:
        """envbuild's side."""
        return Rattler(settings=Settings.from_environ({}, home=self.folder / "ours"), channels=(self.channel,))

    def bare(self, prefix: Path | None) -> None:
        """py-rattler's own side: solve, and install where there is a prefix."""
        machine = self.asked.machine
        asked = {
            "channel": self.channel,
            "specs": self.specs,
            "newest": self.newest.isoformat(),
            "subdir": machine.subdir,
            "machine": machine.virtual_packages,
            "cache": str(self.folder / "bare"),
            "prefix": None if prefix is None else str(prefix),
        }
        subprocess.run([sys.executable, "-I", "-c", BARE, json.dumps(asked)], check=True)

    def ours(self, prefix: Path | None) -> None:
        """The same through envbuild: what is solved, and what is installed where there is a prefix."""
        # As a command does that locks and builds.
        with session():
            packages = self.rattler.solve(self.asked, silent)
            if prefix is not None:
                self.rattler.install(
                    packages, prefix, self.asked.machine.subdir, silent, link_mode="hardlink", validate=False
                )

    def forget_packages(self) -> None:
        """Empty both caches but for what the channel says it has."""
        for cache in (self.folder / "bare", self.folder / "ours" / "conda"):
            for path in cache.iterdir() if cache.is_dir() else ():
                if path.name not in ("repodata", "provides"):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


def timed(call: Callable[[Path | None], None], prefix: Path | None) -> float:
    """Seconds; the prefix is gone before and after."""
    began = time.perf_counter()
    call(prefix)
    taken = time.perf_counter() - began
    if prefix is not None:
        shutil.rmtree(prefix)
    return taken


def row(name: str, bench: Bench, runs: int, *, prefix: bool, cold: bool) -> str:
    """One line of the table; the two sides take turns in going first."""
    pairs = []
    for number in range(runs + 1):
        sides = [bench.ours, bench.bare]
        seconds = {}
        for side in sides if number % 2 else reversed(sides):
            if cold:
                bench.forget_packages()
            seconds[side.__name__] = timed(side, bench.folder / "prefix" if prefix else None)
        pairs.append((seconds["ours"], seconds["bare"]))
    counted = pairs[1:]
    ours, bare = (statistics.median(side) for side in zip(*counted))
    ratio = statistics.median(one / other for one, other in counted)
    return f"| {name} | {bare:.3f} | {ours:.3f} | {ratio:.2f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specs", nargs="+")
    parser.add_argument("--channel", required=True)
    parser.add_argument("--as-of", required=True)
    parser.add_argument("--runs", type=int, default=9)
    given = parser.parse_args()
    newest = datetime.fromisoformat(given.as_of).replace(tzinfo=timezone.utc)
    with tempfile.TemporaryDirectory(prefix="envbuild-conda-bench-", ignore_cleanup_errors=True) as name:
        bench = Bench(channel=given.channel, specs=tuple(given.specs), newest=newest, folder=Path(name))
        print(f"{len(bench.rattler.solve(bench.asked, silent))} packages, medians of {given.runs} pairs")
        print("| what | bare s | envbuild s | ratio |\n| --- | --- | --- | --- |")
        print(row("solve", bench, given.runs, prefix=False, cold=False))
        print(row("solve and install, cold", bench, given.runs, prefix=True, cold=True))
        print(row("solve and install, warm", bench, given.runs, prefix=True, cold=False))


if __name__ == "__main__":
    main()
