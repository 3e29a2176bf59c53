"""Byte code: compiled once a wheel and interpreter, kept beside uv's cache, put into every environment with that wheel.

An entry is named by the sha256 of the locked wheel; of a wheel that was built here, by that of its sources. It holds
the byte code of every source but those below ``tests`` (which no prediction imports), and the true sha256 of files that
the wheel's own RECORD gets wrong.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import posixpath
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from envbuild import faults, process
from envbuild.builders import Order, links
from envbuild.errors import BuildError
from envbuild.progress import Report, Step
from envbuild.store.manifest import sha256_of
from envbuild.store.record import Distribution

# CPython 3.6 has no hash-based byte code: its sources get this time (1980, as in a reproducible wheel).
SOURCE_TIME = 315532800
_COMPILER = Path(__file__).resolve().parent.parent / "worker" / "compiling.py"
# Its exit status that says: standard output holds what the system said, as [errno, strerror, filename].
_SYSTEM_ERROR = 9
_VERSION = 1
_ENTRY = "entry.json"


def source_time(python: str) -> int | None:
    """The time that sources must have for a Python's byte code to count (seconds since the epoch); ``None``: any."""
    return SOURCE_TIME if python.startswith("3.6.") else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """Where a distribution's byte code is kept."""

    folder: Path
    distribution: Distribution


def completed(
    order: Order, found: Sequence[Distribution], report: Report
) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Put byte code into an environment, compiling what nobody has compiled yet.

    :return: the sha256 of the files that the distributions' RECORDs get wrong, and those of the byte code.
    :raises BuildError: the compiler cannot be run.
    """
    found = [*found, _unclaimed(order, found)]
    wheels = {package.name: package.sha256 for package in order.lock.packages if package.kind == "wheel"}
    owned, wrong = _owned(order, found)
    entries = [
        _Entry(folder=_folder(order, mine, wheels.get(mine.name) if mine == one else None), distribution=mine)
        for one, mine in zip(found, owned)
    ]
    new = [entry for entry in entries if not (entry.folder / _ENTRY).exists()]
    if new:
        _make(order, new, report)
    placed: dict[str, str] = {}
    made: set[str] = set()
    for entry in entries:
        facts: dict[str, Any] = json.loads((entry.folder / _ENTRY).read_bytes())
        wrong.update(facts["wrong"])
        for path, digest in facts["bytecode"].items():
            target = f"{order.place}/{path}"
            folder = posixpath.dirname(target)
            if folder not in made:
                os.makedirs(folder, exist_ok=True)
                made.add(folder)
            if path not in placed:
                with contextlib.suppress(FileNotFoundError):
                    # A build that ran among the packages may have left its own.
                    os.unlink(target)
                links.place(f"{entry.folder}/{path}", target, order.link_mode)
                placed[path] = digest
    faults.point("byte code linked")
    return wrong, placed


def _owned(order: Order, found: Sequence[Distribution]) -> tuple[list[Distribution], dict[str, str]]:
    """The distributions with what is there of their files, and the true sha256 of what is another's.

    Where several wheels hold a file of one name, it is of whichever was unpacked last; only where all of them hold the
    same bytes is it each one's own.
    """
    claims = Counter(path for one in found for path in one.files)
    true = {
        path: sha256_of(f"{order.place}/{path}")
        for path, count in claims.items()
        if count > 1 and (order.place / path).is_file()
    }
    owned = []
    others: dict[str, str] = {}
    for one in found:
        foreign = {
            path: true[path] for path, digest in one.files.items() if digest and true.get(path, digest) != digest
        }
        others.update(foreign)
        files = {path: digest for path, digest in one.files.items() if path not in foreign}
        owned.append(replace(one, files=files) if foreign else one)
    return owned, others


def _unclaimed(order: Order, found: Sequence[Distribution]) -> Distribution:
    """What lies in site-packages and is no distribution's: uv's own hook, which every start imports."""
    claimed = {path for one in found for path in one.files}
    there = (path.relative_to(order.place).as_posix() for path in order.place.glob("lib/python*/site-packages/*.py"))
    return Distribution(name="", version="", record="", files={path: "" for path in there if path not in claimed})


def _folder(order: Order, distribution: Distribution, wheel: str | None) -> Path:
    kind = order.bytecode / f"{order.interpreter.key}-{_VERSION}"
    if wheel is not None:
        return kind / wheel
    # What was built here may be other bytes than last time: its files decide.
    digest = hashlib.sha256()
    for path in sorted(filter(_is_in_site, distribution.files)):
        content = sha256_of(f"{order.place}/{path}") if (order.place / path).is_file() else "-"
        digest.update(f"{path}\0{distribution.files[path]}\0{content}\n".encode("utf-8", "surrogateescape"))
    return kind / digest.hexdigest()


def _sources(distribution: Distribution) -> Iterator[str]:
    """What is compiled of a distribution: the tests that it brings are imported by no prediction."""
    for path in distribution.files:
        if path.endswith(".py") and _is_in_site(path) and not {"tests", "test"} & set(path.split("/")[:-1]):
            yield path


def _is_in_site(path: str) -> bool:
    # Launchers lie elsewhere: they are made here, and no wheel knows them.
    return "/site-packages/" in path


def _make(order: Order, entries: Sequence[_Entry], report: Report) -> None:
    """Compile what is new, each distribution into a directory of its own, which gets its name when it is whole."""
    count = sum(1 for entry in entries for _ in _sources(entry.distribution))
    report(Step("compiling", f"byte code of {len(entries)} packages", count=count))
    parent = entries[0].folder.parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".new-") as name:
        jobs = [(Path(name) / str(number), entry) for number, entry in enumerate(entries)]
        _compile(order, [job for folder, entry in jobs for job in _jobs(order, folder, entry.distribution)])
        faults.point("compiled")
        for folder, entry in jobs:
            _keep(order, folder, entry)
    faults.point("byte code kept")
    report(Step("compiling", f"byte code of {len(entries)} packages", done=True, count=count))


def _jobs(order: Order, folder: Path, distribution: Distribution) -> Iterator[list[str]]:
    folder.mkdir()
    for path in _sources(distribution):
        if (order.place / path).is_file():
            shown = path.partition("/site-packages/")[2]
            yield [str(order.place / path), str(folder / _cached(path, order.interpreter.minor)), shown]


def _cached(path: str, minor: str) -> str:
    """Where a source's byte code lies (PEP 3147)."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/__pycache__/{name.removesuffix('.py')}.cpython-{minor.replace('.', '')}.pyc"


def _compile(order: Order, jobs: Sequence[list[str]]) -> None:
    """Run the compiler on all, a process a core; large sources are spread evenly."""
    if not jobs:
        return
    if (time := source_time(order.interpreter.version)) is not None:
        for source, _, _ in jobs:
            os.utime(source, (time, time))
    share = min(os.cpu_count() or 1, -(-len(jobs) // 20))
    by_size = sorted(jobs, key=lambda job: os.path.getsize(job[0]))
    argv = [order.interpreter.executable, "-I", "-S", str(_COMPILER)]

    def run(part: Sequence[list[str]]) -> None:
        lines = "".join(f"{json.dumps(job)}\n" for job in part)
        done = process.run(argv, env={"LC_ALL": "C.UTF-8"}, stdin=lines.encode(), timeout=order.settings.build_timeout)
        if done.returncode == _SYSTEM_ERROR:
            raise OSError(*json.loads(done.stdout))
        if done.returncode != 0:
            raise BuildError("byte code could not be compiled", details=done.stderr.splitlines()[-12:])

    with ThreadPoolExecutor(share) as pool:
        list(pool.map(run, [by_size[number::share] for number in range(share)]))


def _keep(order: Order, folder: Path, entry: _Entry) -> None:
    bytecode = {
        path: sha256_of(f"{folder}/{path}")
        for source in _sources(entry.distribution)
        if (folder / (path := _cached(source, order.interpreter.minor))).exists()
    }
    wrong = _wrong(order, entry.distribution.files)
    content = json.dumps({"bytecode": bytecode, "wrong": wrong}, sort_keys=True)
    (folder / _ENTRY).write_text(content, encoding="utf-8")
    try:
        os.rename(folder, entry.folder)
    except OSError:
        # Another build kept the same meanwhile.
        if not (entry.folder / _ENTRY).exists():
            shutil.rmtree(entry.folder, ignore_errors=True)
            os.rename(folder, entry.folder)


def _wrong(order: Order, files: Mapping[str, str]) -> dict[str, str]:
    """The files whose content is not what their wheel's RECORD says, with what it is."""
    there = [path for path in filter(_is_in_site, files) if files[path] and (order.place / path).is_file()]
    return {path: digest for path in there if (digest := sha256_of(f"{order.place}/{path}")) != files[path]}
