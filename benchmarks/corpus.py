"""What becomes of a directory of models: locked, of their own time, built, imported, and how long that takes.

Each sub-directory with an MLmodel is a case; weights are not needed, since nothing is predicted. Every lock is made
anew. With ``--build`` what is not too large is built, and mlflow and the flavor's loader are imported in it; where the
index does not say how large a locked file is, the file's own server is asked (HEAD). With ``--floor`` each lock is made
again from a warm cache, in turns with the bare ``uv pip compile`` that gave its packages: same program, requirements,
constraints and options. With ``--engine pip --compare`` each model is locked by uv as well, and every difference is listed.

Run it with the Python that envbuild is installed in; Markdown goes to stdout, a line a case to stderr::

    python benchmarks/corpus.py DIR [--build] [--max-size 800MB] [--only ID ...] [--repair all] [--floor [RUNS]]
        [--engine uv|pip|auto [--compare]] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import httpx
import truststore
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from envbuild import pipeline, process
from envbuild.errors import EnvbuildError, ModelError
from envbuild.lock import Lock
from envbuild.model import parse_instant
from envbuild.pipeline import Asked, Built, Locked
from envbuild.settings import Settings

T = TypeVar("T")
YES, NO_MODEL, OWN_CODE, TOO_LARGE, LEFT_OUT = "yes", "not a model", "own code", "too large", "-"
CLIENT = httpx.Client(verify=truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT), follow_redirects=True)
IMPORT_SECONDS = 300.0
MLFLOW = ("mlflow", "mlflow-skinny")
# Stated here once more and not imported: what is checked does not say what is right.
BUILD_TOOLS, BUILD_FLOOR = ("pip", "setuptools", "wheel"), datetime(2019, 3, 1, tzinfo=timezone.utc)
# Where a notice names the package that it lets in; one that is worded otherwise lets nothing in, and is seen.
LET_IN = {"younger-pin": r"^[\w.-]+", "younger-need": r"(?<=needs a younger )[\w.-]+"}
SHORT = (
    (r"requires (\S+) and (\S+), we can conclude", "contradicts itself: {} and {}"),
    (r"there (?:is|are) no versions? of ([^\s,]+)", "no such release: {}"),
    (r"([^\s,]+) was not found", "not on the index: {}"),
    (r"(\S+) has no wheels with a matching", "no wheel for this target: {}"),
    (r"[Oo]nly ([^\s,]+) is available", "only {} as of the date"),
    (r"Failed to build `([^`]+)`", "sdist not built: {}"),
)


@dataclass(kw_only=True)
class Row:
    """What became of one model; each step is ``yes``, ``-`` where it was not tried, or the class of its failure."""

    id: str
    python: str = ""
    as_of: str = ""
    locked: str = LEFT_OUT
    era: str = LEFT_OUT
    built: str = LEFT_OUT
    mlflow: str = LEFT_OUT
    loader: str = LEFT_OUT
    error: dict[str, Any] = field(default_factory=dict)
    offenders: list[str] = field(default_factory=list)
    repairs: list[str] = field(default_factory=list)
    packages: int = 0
    size: int = 0
    unsized: int = 0
    """How many files are not in ``size``, since nobody says how large they are."""
    seconds: dict[str, float] = field(default_factory=dict)
    floor: dict[str, float] = field(default_factory=dict)
    engine: str = ""
    """What made the lock."""
    differences: list[str] | None = None
    """What uv's lock has otherwise, a line each; ``None``: it was not asked for, or there is none."""


@dataclass(frozen=True, kw_only=True)
class Compile:
    """A run of ``uv pip compile`` with copies of the files that it read."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    answer: str

    def timed(self) -> float:
        """Seconds that it takes as a bare process."""
        began = time.perf_counter()
        subprocess.run(self.argv, env=self.env, cwd=self.cwd, stdin=subprocess.DEVNULL, capture_output=True, check=True)
        return time.perf_counter() - began


class Recorder:
    """Stands in for ``process.run`` and keeps what each successful ``uv pip compile`` was given."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._run = folder, process.run
        self.compiles: list[Compile] = []

    def run(self, argv: Sequence[str], *, cwd: Path | None = None, **options: Any) -> process.Completed:
        """Run it, and keep its files before the next run overwrites them."""
        done = self._run(argv, cwd=cwd, **options)
        if done.returncode == 0 and cwd is not None and tuple(argv[1:4]) == ("pip", "compile", "requirements.in"):
            place = self._folder / str(len(self.compiles))
            shutil.copytree(cwd, place / "cwd")
            (place / "home").mkdir()
            argv = list(argv)
            at = argv.index("--config-file") + 1
            argv[at] = str(shutil.copy2(argv[at], place / "uv.toml"))
            env = {**options["env"], "HOME": str(place / "home")}
            self.compiles.append(Compile(argv=argv, env=env, cwd=place / "cwd", answer=done.stdout))
        return done

    def compile_of(self, lock: Lock) -> Compile | None:
        """The last that gave the lock's packages, rather than what some of them are built with."""
        hashes = [package.sha256 for package in lock.packages if package.sha256]
        return max(reversed(self.compiles), key=lambda c: sum(h in c.answer for h in hashes), default=None)


def main() -> None:
    """Go through the corpus and print what was found."""
    options = parsed()
    settings = Settings.from_environ(update=True, engine=options.engine, **repair_setting(options.repair))
    rows = []
    for path in sorted(mlmodel.parent for mlmodel in options.directory.glob("*/MLmodel")):
        if not options.only or path.name in options.only:
            rows.append(examined(path, options, settings))
            print(progress(rows[-1]), file=sys.stderr, flush=True)
    totals = totals_of(rows)
    print(
        "\n".join(
            [
                *table(rows),
                "",
                *(f"- {name}: {value}" for name, value in totals.items()),
                *failures(rows),
                *compared(rows),
            ]
        )
    )
    if options.json is not None:
        text = json.dumps({"rows": [asdict(row) for row in rows], "totals": totals}, indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("directory", type=Path, metavar="DIR", help="each of its sub-directories holds an MLmodel")
    parser.add_argument("--build", action="store_true", help="build what was locked, and import in it")
    parser.add_argument("--max-size", type=size, default="800MB", metavar="SIZE", help="build no larger locks")
    parser.add_argument("--only", nargs="+", metavar="ID", help="these sub-directories alone")
    parser.add_argument("--repair", choices=("safe", "all", "none"), help="envbuild's setting of that name")
    parser.add_argument("--floor", type=int, nargs="?", const=1, default=0, metavar="RUNS", help="time uv alone, too")
    parser.add_argument("--engine", choices=("uv", "pip", "auto"), help="envbuild's setting of that name")
    parser.add_argument("--compare", action="store_true", help="lock with uv as well, and list what differs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rows there")
    return parser.parse_args()


def size(text: str) -> int:
    """Bytes of ``800MB``."""
    return int(float(text.upper().removesuffix("MB")) * 10**6)


def repair_setting(repair: str | None) -> dict[str, Any]:
    """The setting, where this envbuild has it."""
    known = any(setting.name == "repair" for setting in fields(Settings))
    if repair is not None and not known:
        print("this envbuild has no setting called repair; --repair is left out of account", file=sys.stderr)
    return {"repair": repair} if known else {}


def examined(path: Path, options: argparse.Namespace, settings: Settings) -> Row:
    """One model, taken as far as it goes."""
    row = Row(id=path.name)
    asked, error = attempted(lambda: pipeline.ask(path, settings), row, "ask")
    if asked is None:
        row.locked = NO_MODEL if isinstance(error, ModelError) else class_of(error)
        return row
    row.python = asked.spec.python.text
    with tempfile.TemporaryDirectory(prefix="corpus-") as folder:
        recorder = Recorder(Path(folder))
        with mock.patch.object(process, "run", recorder.run if options.floor else process.run):
            locked, error = attempted(lambda: pipeline.lock(asked, settings), row, "lock")
        row.locked = YES if locked is not None else class_of(error)
        if locked is None:
            return row
        row.engine = locked.lock.origin.engine
        if options.compare:
            attempted(lambda: compare(locked.lock, asked, settings, row), row, "compare")
        _, error = attempted(lambda: describe(locked, row), row, "describe")
        row.era = row.era if error is None else class_of(error)
        bare = recorder.compile_of(locked.lock)
        if bare is not None:
            attempted(lambda: time_floor(asked, settings, bare, options.floor, row), row, "floor")
    if options.build:
        build(locked, options.max_size, settings, row)
    return row


def compare(lock: Lock, asked: Asked, settings: Settings, row: Row) -> None:
    """Lock the same with uv, and note what differs."""
    row.differences = differences(lock, pipeline.lock(asked, settings.having(engine="uv")).lock)


def differences(lock: Lock, by_uv: Lock) -> list[str]:
    """What a lock and uv's have otherwise: packages, files and what sdists are built with."""
    ours, theirs = ({package.name: package for package in one.packages} for one in (lock, by_uv))
    found = [] if lock.python == by_uv.python else [f"Python {lock.python}, uv {by_uv.python}"]
    for name in sorted(ours.keys() | theirs.keys()):
        own, other = ours.get(name), theirs.get(name)
        if own is None or other is None or own.version != other.version:
            found.append(f"{name} {own.version if own else 'absent'}, uv {other.version if other else 'absent'}")
        elif own.sha256 != other.sha256:
            found.append(f"{name} {own.version} from {own.file_name}, uv from {other.file_name}")
    tools, theirs_too = (
        {
            (name, package.name): package.version
            for build in one.build
            for name in build.builds
            for package in build.packages
        }
        for one in (lock, by_uv)
    )
    for name, tool in sorted(tools.keys() | theirs_too.keys()):
        own_version, other_version = tools.get((name, tool)), theirs_too.get((name, tool))
        if own_version != other_version:
            found.append(f"{name} is built with {tool} {own_version or 'absent'}, uv {other_version or 'absent'}")
    return found


def compared(rows: Sequence[Row]) -> list[str]:
    """The differences between the engines, a list for each model that was locked by both."""
    both = [row for row in rows if row.differences is not None]
    if not both:
        return []
    same = [row.id for row in both if not row.differences]
    lines = ["", f"The same by both engines: {len(same)} of {len(both)} ({', '.join(same)})"]
    for row in both:
        if row.differences:
            lines += ["", f"{row.id}:", "", *(f"- {line}" for line in row.differences)]
    return lines


def build(locked: Locked, max_size: int, settings: Settings, row: Row) -> None:
    """Build what is not too large, and import in it; no seconds are said of an environment that was there already."""
    attempted(lambda: ask_sizes(locked.lock, row), row, "sizes")
    if row.size > max_size:
        row.built = TOO_LARGE
        return
    built, error = attempted(lambda: pipeline.build(locked, settings), row, "build")
    row.built = YES if built is not None else class_of(error)
    if built is not None:
        if not built.was_built:
            del row.seconds["build"]
        _, error = attempted(lambda: import_in(built, row), row, "imports")
        row.mlflow = row.mlflow if error is None else class_of(error)


def ask_sizes(lock: Lock, row: Row) -> None:
    """Ask for the sizes that the lock does not know: the files are those that a build fetches."""
    known = [package.size or size_at(package.url) for package in lock.packages]
    row.size, row.unsized = sum(known), sum(not found for found in known)


@cache
def size_at(url: str | None) -> int:
    """Bytes of a file by its server's word; 0 where it does not say."""
    if url is None or not url.startswith("https:"):
        return 0
    try:
        answer = CLIENT.head(url)
    except httpx.HTTPError:
        return 0
    return int(answer.headers.get("content-length", 0)) if answer.is_success else 0


def attempted(action: Callable[[], T], row: Row, step: str) -> tuple[T | None, Exception | None]:
    """What an action gives, or what it raises; its seconds and its error go into the row."""
    began = time.perf_counter()
    try:
        return action(), None
    except Exception as error:  # noqa: BLE001 - one case's failure is a result
        said = {"code": "internal", "message": repr(error)}
        row.error = {"step": step, **(error.to_dict() if isinstance(error, EnvbuildError) else said)}
        return None, error
    finally:
        row.seconds[step] = time.perf_counter() - began


def class_of(error: Exception | None) -> str:
    """An error's code and what it is about, in a few words."""
    if not isinstance(error, EnvbuildError):
        return f"internal: {type(error).__name__}"
    for pattern, words in SHORT:
        if (match := re.search(pattern, error.message)) is not None:
            return f"{error.code}: {words.format(*(group.rstrip('.,') for group in match.groups()))}"
    return f"{error.code}: {shortened(error.message)}"


def shortened(text: str) -> str:
    return text if len(text) <= 90 else f"{text[:89]}…"


def describe(locked: Locked, row: Row) -> None:
    """What a lock says of itself."""
    lock = locked.lock
    row.python, row.as_of, row.packages = lock.python, lock.origin.as_of, len(lock.packages)
    row.size = sum(package.size or 0 for package in lock.packages)
    row.unsized = sum(package.size is None for package in lock.packages)
    row.repairs = [notice.code for notice in lock.origin.notices]
    row.era, row.offenders = era(locked)


def era(locked: Locked) -> tuple[str, list[str]]:
    """Whether a lock is of its model's time, and the packages that are not."""
    lock = locked.lock
    cut = parse_instant(lock.origin.as_of)
    if cut is None:
        return f"no cut: {lock.origin.as_of}", []
    let_in = names_let_in(lock)
    floor = any(notice.code == "build-tools-floor" for notice in lock.origin.notices)
    offenders = []
    for package in lock.packages:
        own = max(cut, BUILD_FLOOR) if floor and package.name in BUILD_TOOLS else cut
        if package.uploaded is not None and package.uploaded >= own and package.name not in let_in:
            offenders.append(f"{package.name} {package.version} of {package.uploaded:%Y-%m-%d}")
    offenders += other_mlflow(locked)
    undated = [p.name for p in lock.packages if p.uploaded is None and p.kind in ("wheel", "sdist")]
    if offenders:
        return f"no: {', '.join(offenders[:3])}{' …' if len(offenders) > 3 else ''}", offenders
    return (f"unknown: {len(undated)} files without upload time" if undated else YES), undated


def names_let_in(lock: Lock) -> set[str]:
    """The packages that notices name as let in although they are younger."""
    notices = [notice for notice in lock.origin.notices if notice.code in LET_IN]
    named = (re.findall(LET_IN[notice.code], notice.message) for notice in notices)
    return {canonicalize_name(name) for names in named for name in names}


def other_mlflow(locked: Locked) -> list[str]:
    """An mlflow that is not the one that made the model, where nothing else decides which it is."""
    said, lock = locked.asked.model.mlflow_version, locked.lock
    excused = {"mlflow-not-on-index", "mlflow-version-unusable"}
    if said is None or excused & {notice.code for notice in locked.notices}:
        return []
    try:
        stated = Version(said.text)
    except InvalidVersion:
        return []
    for demand in locked.asked.spec.demands:
        ruled_out = demand.kind != "index" or not demand.specifier.contains(stated, prereleases=True)
        if demand.name in MLFLOW and ruled_out:
            return []
    found = next((version for name in MLFLOW if (version := lock.version_of(name)) is not None), None)
    return [] if found is None or Version(found) == stated else [f"mlflow {found}, made by {stated}"]


def time_floor(asked: Asked, settings: Settings, bare: Compile, runs: int, row: Row) -> None:
    """Lock and the bare run in turns; the lock made before has warmed the cache."""
    locks, bares = [], []
    for _ in range(runs):
        began = time.perf_counter()
        pipeline.lock(asked, settings)
        locks.append(time.perf_counter() - began)
        bares.append(bare.timed())
    ratio = statistics.median(ours / theirs for ours, theirs in zip(locks, bares))
    row.floor = {"lock": statistics.median(locks), "uv": statistics.median(bares), "ratio": ratio}


def import_in(built: Built, row: Row) -> None:
    """Import mlflow and the flavor's loader in an environment."""
    python, loader = built.environment.python, built.locked.asked.model.pyfunc.loader_module
    row.mlflow = imported(python, "mlflow")
    row.loader = imported(python, loader)
    # The model's own code is no part of a corpus.
    if loader.split(".")[0] != "mlflow" and f"No module named '{loader.split('.')[0]}'" in row.loader:
        row.loader = OWN_CODE


def imported(python: Path, module: str) -> str:
    """Whether a module can be imported, in a process that gets nothing of ours."""
    script = "import importlib, sys; importlib.import_module(sys.argv[1])"
    with tempfile.TemporaryDirectory(prefix="corpus-") as home:
        env = {"PATH": f"{python.parent}:/usr/bin:/bin", "HOME": home, "LC_ALL": "C.UTF-8"}
        command = [str(python), "-I", "-c", script, module]
        try:
            done = process.run(command, env=env, cwd=Path(home), timeout=IMPORT_SECONDS)
        except process.TimedOutWaiting:
            return f"longer than {IMPORT_SECONDS:g} s"
    if done.returncode == 0:
        return YES
    # Messages of several lines follow the line that names the exception, which is the last of its shape.
    lines = [line for line in done.stderr.splitlines() if re.match(r"[A-Za-z_][\w.]*(:|$)", line)]
    return shortened(lines[-1]) if done.returncode > 0 and lines else f"exit status {done.returncode}"


def progress(row: Row) -> str:
    """A case in one line."""
    seconds = ", ".join(f"{step} {value:.1f} s" for step, value in row.seconds.items() if value >= 0.05)
    steps = {name: getattr(row, name) for name in ("locked", "era", "built", "mlflow", "loader")}
    return f"{row.id}: {', '.join(f'{name} {said}' for name, said in steps.items() if said != LEFT_OUT)} ({seconds})"


def table(rows: Iterable[Row]) -> list[str]:
    """All cases in Markdown."""
    head = ["model", "Python", "as of", "locked", "era", "built", "mlflow", "loader", "MB", "lock s", "build s"]
    head += ["imports s", "times uv", "repairs"]
    return [line_of(head), line_of(["---"] * len(head)), *(line_of(cells(row)) for row in rows)]


def cells(row: Row) -> list[str]:
    numbers = [f"{row.seconds[step]:.1f}" if step in row.seconds else "" for step in ("lock", "build", "imports")]
    ratio = f"{row.floor['ratio']:.2f}" if row.floor else ""
    locked = f"{row.locked} ({row.error['code']})" if row.locked == NO_MODEL else row.locked
    steps = [locked, row.era, row.built, row.mlflow, row.loader]
    repairs = ", ".join(f"{code} ({n})" if n > 1 else code for code, n in Counter(row.repairs).items())
    megabytes = f"{row.size / 10**6:.0f}" if row.size else ""
    return [row.id, row.python, row.as_of[:10], *steps, megabytes, *numbers, ratio, repairs]


def line_of(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def totals_of(rows: Sequence[Row]) -> dict[str, str]:
    """The figures over all cases."""
    real = [row for row in rows if row.locked != NO_MODEL]
    locked = [row for row in real if row.locked == YES]
    built = [row for row in locked if row.built == YES]
    codes = Counter(row.error["code"] for row in rows if row.locked == NO_MODEL)
    repairs = Counter(code for row in locked for code in set(row.repairs))
    totals = {
        "models": str(len(real)),
        NO_MODEL: ", ".join(f"{code} {count}" for code, count in codes.items()) or "0",
        "locked": share(len(locked), len(real)),
        "era-correct": share(sum(row.era == YES for row in locked), len(locked)),
        "built": share(len(built), sum(row.built not in (LEFT_OUT, TOO_LARGE) for row in locked)),
        "too large to build here": str(sum(row.built == TOO_LARGE for row in locked)),
        "import mlflow": share(sum(row.mlflow == YES for row in built), len(built)),
        "import the loader": share(
            sum(row.loader == YES for row in built), sum(row.loader != OWN_CODE for row in built)
        ),
        "models with each repair": ", ".join(f"{code} {count}" for code, count in repairs.most_common()) or "none",
    }
    if locked:
        totals["seconds to lock, median"] = f"{statistics.median(row.seconds['lock'] for row in locked):.1f}"
    if ratios := [row.floor["ratio"] for row in locked if row.floor]:
        totals["a lock in times of bare uv, median"] = f"{statistics.median(ratios):.2f} ({len(ratios)} models)"
    return totals


def share(part: int, whole: int) -> str:
    return f"{part}/{whole}, {100 * part / whole:.1f} %" if whole else "0/0"


def failures(rows: Iterable[Row]) -> list[str]:
    """Each class of failure with the models that it befell."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        for step in ("locked", "era", "built", "mlflow", "loader"):
            said = getattr(row, step)
            if said not in (YES, LEFT_OUT, NO_MODEL, OWN_CODE, TOO_LARGE):
                found[line_of([step, said])].append(row.id)
    lines = [f"{cells} {', '.join(ids)} |" for cells, ids in sorted(found.items())]
    return ["", "| step | failure | models |", "| --- | --- | --- |", *lines] if lines else []


if __name__ == "__main__":
    main()
