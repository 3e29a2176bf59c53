"""Byte code: compiled once a wheel and interpreter, kept beside uv's cache, put into every environment with that wheel.

An entry is named by the sha256 of the locked wheel; of a wheel that was built here, by that of its files. It holds the
byte code of every source but those below ``tests`` (which no prediction imports), and the true sha256 of every file
that the wheel has in site-packages: RECORDs are wrong at times.

What is kept already is put into the environment while uv fills it: most of a build from a warm cache is waiting for
the disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import posixpath
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from envbuild import faults, process
from envbuild.builders import Order, links
from envbuild.errors import BuildError
from envbuild.files import sha256_of
from envbuild.progress import Report, Step
from envbuild.store.record import Distribution, distributions

# CPython 3.6 has no hash-based byte code: its sources get this time (1980, as in a reproducible wheel).
SOURCE_TIME = 315532800
_COMPILER = Path(__file__).resolve().parent.parent / "worker" / "compiling.py"
# Its exit status that says: standard output holds what the system said, as [errno, strerror, filename].
_SYSTEM_ERROR = 9
_VERSION = 4
_ENTRY = "entry.json"
# How many sources one process compiles. The same always: what it compiled before decides on the bytes.
_CHUNK = 150


def source_time(python: str) -> int | None:
    """The time that sources must have for a Python's byte code to count (seconds since the epoch); ``None``: any."""
    return SOURCE_TIME if python.startswith("3.6.") else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What is in an environment now."""

    versions: Mapping[str, str]
    """The distributions by name."""
    files: Mapping[str, str]
    """The true sha256 of each file in site-packages, as far as it is known."""
    differing: frozenset[str]
    """The files that some distribution's RECORD gets wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """What is kept of one wheel."""

    folder: Path
    files: Mapping[str, str]
    """The true sha256 of its files in site-packages."""
    wrong: tuple[str, ...]
    """Those that its RECORD gets wrong."""
    bytecode: Mapping[str, str]


class ByteCode:
    """The byte code of one environment in the making, to be used in a ``with`` statement around its installation."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._folder = order.bytecode / "-".join(
            filter(None, (order.interpreter.key, str(_VERSION), order.python_build))
        )
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="envbuild-bytecode")
        self._early: Future[tuple[dict[str, _Entry], dict[str, str]]] | None = None
        self._wheels = {p.name: p.sha256 for p in order.lock.packages if p.kind == "wheel"}

    def __enter__(self) -> ByteCode:
        self._early = self._pool.submit(self._place_early)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # It must not write into a place that is cleared.
        self._pool.shutdown(cancel_futures=True)

    def _place_early(self) -> tuple[dict[str, _Entry], dict[str, str]]:
        """Put in place what is kept of the locked wheels, while they are installed; what they disagree on waits."""
        known = {name: entry for name, sha256 in self._wheels.items() if (entry := _read(self._folder / sha256))}
        claims: dict[str, set[str]] = {}
        for entry in known.values():
            for path, digest in entry.bytecode.items():
                claims.setdefault(path, set()).add(digest)
        placed: dict[str, str] = {}
        made: set[str] = set()
        for entry in known.values():
            for path, digest in entry.bytecode.items():
                # What the wheel itself brings of it is installed over ours.
                if path not in placed and len(claims[path]) == 1 and path not in entry.wrong:
                    self._put(entry, path, made)
                    placed[path] = digest
        return known, placed

    def _put(self, entry: _Entry, path: str, made: set[str]) -> None:
        target = f"{self._order.place}/{path}"
        folder = posixpath.dirname(target)
        if folder not in made:
            os.makedirs(folder, exist_ok=True)
            made.add(folder)
        links.place(f"{entry.folder}/{path}", target, self._order.link_mode)

    def completed(self, report: Report) -> Contents:
        """Put in place the rest, now that everything is installed; what nobody has compiled yet is compiled.

        :raises BuildError: the compiler cannot be run.
        """
        assert self._early is not None, "it is used in a with statement"  # noqa: S101 - ours alone
        known, placed = self._early.result()
        found = list(distributions(self._order.place, {name: entry.files for name, entry in known.items()}))
        owned, differing = _owned(self._order, [*found, *_others(self._order, found)])
        entries = self._entries(found, owned, known, report)
        files: dict[str, str] = {}
        wanted: dict[str, tuple[_Entry, str]] = {}
        for entry in entries:
            files.update(entry.files)
            differing.update(entry.wrong)
            for path, digest in entry.bytecode.items():
                wanted.setdefault(path, (entry, digest))
        self._place_late(placed, wanted)
        files.update({path: digest for path, (_, digest) in wanted.items()})
        faults.point("byte code linked")
        return Contents(versions={one.name: one.version for one in found}, files=files, differing=frozenset(differing))

    def _entries(
        self,
        found: Sequence[Distribution],
        owned: Sequence[Distribution],
        known: Mapping[str, _Entry],
        report: Report,
    ) -> list[_Entry]:
        """What is kept of each distribution, made where it is not."""
        kept: list[_Entry] = []
        new: list[tuple[Path, Distribution]] = []
        for number, mine in enumerate(owned):
            whole = number < len(found) and found[number] == mine
            if whole and mine.name in known:
                kept.append(known[mine.name])
                continue
            sha256 = self._wheels.get(mine.name) if whole else None
            folder = self._folder / (sha256 or _digest(self._order, mine))
            entry = _read(folder)
            if entry is None:
                new.append((folder, mine))
            else:
                kept.append(entry)
        return [*kept, *(_make(self._order, new, report) if new else ())]

    def _place_late(self, placed: Mapping[str, str], wanted: Mapping[str, tuple[_Entry, str]]) -> None:
        made: set[str] = set()
        for path in placed.keys() - wanted.keys():
            os.unlink(f"{self._order.place}/{path}")
        for path, (entry, digest) in wanted.items():
            if placed.get(path) != digest:
                with contextlib.suppress(FileNotFoundError):
                    # Another's; or a build that ran among the packages has left its own.
                    os.unlink(f"{self._order.place}/{path}")
                self._put(entry, path, made)


def _read(folder: Path) -> _Entry | None:
    try:
        with open(folder / _ENTRY, "rb") as file:
            content = json.load(file)
    except FileNotFoundError:
        return None
    return _Entry(folder=folder, files=content["files"], wrong=tuple(content["wrong"]), bytecode=content["bytecode"])


def _owned(order: Order, found: Sequence[Distribution]) -> tuple[list[Distribution], set[str]]:
    """The distributions with what is there of their files, and what is another's.

    Where several wheels hold a file of one name, it is of whichever was unpacked last; only where all of them hold the
    same bytes is it each one's own.
    """
    claims: dict[str, list[str]] = {}
    for one in found:
        for path, digest in one.files.items():
            claims.setdefault(path, []).append(digest)
    true = {
        path: sha256_of(f"{order.place}/{path}")
        for path, digests in claims.items()
        if len(set(digests)) > 1 and (order.place / path).is_file()
    }
    owned = []
    others: set[str] = set()
    for one in found:
        foreign = {path for path in true.keys() & one.files.keys() if one.files[path] not in ("", true[path])}
        others |= foreign
        files = {path: digest for path, digest in one.files.items() if path not in foreign}
        owned.append(replace(one, files=files) if foreign else one)
    return owned, others


def _others(order: Order, found: Sequence[Distribution]) -> Iterator[Distribution]:
    """What is no distribution's: uv's own hook, which every start imports; in a conda prefix, the standard library too."""
    claimed = {path for one in found for path in one.files}
    # conda's older packages say by an egg-info what they are, and nothing of their files.
    pattern = "lib/python*/site-packages/*.py" if order.lock.conda is None else "lib/python*/**/*.py"
    there = [path.relative_to(order.place).as_posix() for path in order.place.glob(pattern)]
    site = {path: "" for path in there if "/site-packages/" in path and path not in claimed}
    yield Distribution(name="", version="", files=site)
    if order.lock.conda is not None:
        library = {path: "" for path in there if "/site-packages/" not in path}
        yield Distribution(name="", version="", files=library)


def _digest(order: Order, distribution: Distribution) -> str:
    """What names the entry of a wheel that was built here, and may be other bytes than last time: its files."""
    digest = hashlib.sha256()
    for path in sorted(filter(_is_in_library, distribution.files)):
        content = sha256_of(f"{order.place}/{path}") if (order.place / path).is_file() else "-"
        digest.update(f"{path}\0{distribution.files[path]}\0{content}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _sources(distribution: Distribution) -> Iterator[str]:
    """What is compiled of a distribution: the tests that it brings are imported by no prediction."""
    for path in distribution.files:
        if path.endswith(".py") and _is_in_library(path) and not {"tests", "test"} & set(path.split("/")[:-1]):
            yield path


def _is_in_library(path: str) -> bool:
    # Launchers lie elsewhere: they are made here, and no wheel knows them.
    return path.startswith("lib/python")


def _make(order: Order, new: Sequence[tuple[Path, Distribution]], report: Report) -> list[_Entry]:
    """Compile what is new, each distribution into a directory of its own, which gets its name when it is whole."""
    count = sum(1 for _, distribution in new for _ in _sources(distribution))
    report(Step("compiling", f"byte code of {len(new)} packages", count=count))
    parent = new[0][0].parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=".new-") as name:
        folders = [Path(name) / str(number) for number in range(len(new))]
        _compile(order, [list(_jobs(order, folder, one)) for folder, (_, one) in zip(folders, new)])
        faults.point("compiled")
        for folder, (place, one) in zip(folders, new):
            _keep(order, folder, place, one)
    faults.point("byte code kept")
    report(Step("compiling", f"byte code of {len(new)} packages", done=True, count=count))
    return [entry for place, _ in new if (entry := _read(place)) is not None]


def _jobs(order: Order, folder: Path, distribution: Distribution) -> Iterator[list[str]]:
    folder.mkdir()
    for path in sorted(_sources(distribution)):
        if (order.place / path).is_file():
            shown = path.partition("/site-packages/")[2] or path.split("/", 2)[2]
            yield [str(order.place / path), str(folder / cached(path, order.interpreter.minor)), shown]


def cached(path: str, minor: str) -> str:
    """Where a source's byte code lies (PEP 3147)."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/__pycache__/{name.removesuffix('.py')}.cpython-{minor.replace('.', '')}.pyc"


def _compile(order: Order, groups: Sequence[list[list[str]]]) -> None:
    if (time := source_time(order.interpreter.version)) is not None:
        for group in groups:
            for source, _, _ in group:
                os.utime(source, (time, time))
    compile_groups(order.interpreter.executable, groups, order.settings.build_timeout)


def compile_groups(python: str, groups: Iterable[list[list[str]]], timeout: float) -> None:
    """Run the compiler (:mod:`envbuild.worker.compiling`), a process a core, so that each group is the same bytes always.

    :param groups: sources in a fixed order, each with its path, where its byte code goes, and the name that it is
        compiled under.
    :param timeout: seconds.
    :raises BuildError: it cannot be run.
    """
    chunks = [group[at : at + _CHUNK] for group in groups for at in range(0, len(group), _CHUNK)]
    if not chunks:
        return
    # The largest first: the cores are done at about the same time.
    by_size = sorted(chunks, key=lambda chunk: sum(os.path.getsize(job[0]) for job in chunk), reverse=True)
    # `-I` would ignore the seed, on which the order of sets in byte code depends.
    argv = [python, "-S", "-s", str(_COMPILER), str(os.cpu_count() or 1)]
    environ = {"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"}
    lines = "".join(f"{json.dumps(chunk)}\n" for chunk in by_size)
    done = process.run(argv, env=environ, stdin=lines.encode(), timeout=timeout)
    if done.returncode == _SYSTEM_ERROR:
        raise OSError(*json.loads(done.stdout))
    if done.returncode != 0:
        raise BuildError("byte code could not be compiled", details=done.stderr.splitlines()[-12:])


def _keep(order: Order, folder: Path, place: Path, distribution: Distribution) -> None:
    bytecode = {
        path: sha256_of(f"{folder}/{path}")
        for source in _sources(distribution)
        if (folder / (path := cached(source, order.interpreter.minor))).exists()
    }
    # What is made here is made anew each time: RECORD itself, and what says who installed it.
    files = {
        path: sha256_of(f"{order.place}/{path}")
        for path in filter(_is_in_library, distribution.files)
        if (distribution.files[path] or path.endswith(".py")) and (order.place / path).is_file()
    }
    # What a wheel brings of byte code (numpy 1.26 does), ours replaces.
    wrong = [
        path for path, digest in {**files, **bytecode}.items() if distribution.files.get(path, "") not in ("", digest)
    ]
    content = json.dumps({"files": files, "wrong": wrong, "bytecode": bytecode}, sort_keys=True)
    (folder / _ENTRY).write_text(content, encoding="utf-8")
    try:
        os.rename(folder, place)
    except OSError:
        # Another build kept the same meanwhile.
        if not (place / _ENTRY).exists():
            shutil.rmtree(place, ignore_errors=True)
            os.rename(folder, place)
