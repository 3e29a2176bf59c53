"""Places: which files a batch reads, and which it writes."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from envbuild.batching.result import Form, Options
from envbuild.errors import InputError, InputNotFound, UsageError
from envbuild.request import CSV, JSON_LINES, PARQUET, content_type_of, encoding_of, kind_of

STREAM: Final = "-"
ENDINGS: Final[dict[Form, str]] = {"csv": ".csv", "jsonl": ".jsonl", "parquet": ".parquet"}
_FORMS: Final[dict[str, Form]] = {
    CSV: "csv",
    JSON_LINES: "jsonl",
    "application/x-ndjson": "jsonl",
    PARQUET: "parquet",
}
_FORMS_BY_ENDING: Final[dict[str, Form]] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
# Parquet is compressed inside.
_KNOWN: Final = (*_FORMS_BY_ENDING, *(f"{ending}.gz" for ending, form in _FORMS_BY_ENDING.items() if form != "parquet"))
_HEAD: Final = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file that is read; ``path`` is ``None`` for standard input."""

    path: Path | None
    form: Form
    compressed: bool = False

    @property
    def name(self) -> str:
        """The file as messages name it."""
        return "standard input" if self.path is None else str(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A file that is written, of all these sources in their order; ``path`` is ``None`` for standard output."""

    path: Path | None
    form: Form
    sources: tuple[int, ...]
    """Their places in the plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a batch reads and writes."""

    sources: tuple[Source, ...]
    targets: tuple[Target, ...]
    base: Path | None
    """What the journal is named after: the only target, or the folder of them; ``None`` for standard output."""


def plan(given: Sequence[str | Path], target: str | Path, options: Options) -> Plan:
    """Which files are meant.

    :param given: files, globs, folders, or ``-`` alone.
    :param target: a file, a folder (it exists, ends in ``/``, or has no ending where a source is a folder), or ``-``.
    :raises InputNotFound: there is no such file, or none that fits.
    :raises InputError: what a file holds is not known, or cannot be cut into rows.
    :raises UsageError: the target cannot be written, or is one of the sources.
    """
    sources = tuple(_source(path, options) for path in _paths(given))
    if str(target) == STREAM:
        _check_stream(options)
        form = options.to or (sources[0].form if sources[0].form != "parquet" else "jsonl")
        return Plan(sources=sources, targets=(Target(path=None, form=form, sources=_all(sources)),), base=None)
    path = Path(target).absolute()
    if str(target).endswith("/") or path.is_dir() or (not path.suffix and any(Path(one).is_dir() for one in given)):
        targets = tuple(_targets_in(path, sources, options))
    else:
        targets = (Target(path=path, form=_form_of(path, sources[0], options), sources=_all(sources)),)
    _check(sources, targets)
    if options.resume and sources[0].path is None:
        raise UsageError("what came on standard input cannot be read again, so there is nothing to resume")
    return Plan(sources=sources, targets=targets, base=path)


def form_of(name: str, content_type: str | None = None, to: Form | None = None) -> Form:
    """What a path or URI holds by its ending, or by that of the first file in it where it is a folder here.

    :param content_type: what is said of it; ``to``: likewise.
    :raises InputError: neither tells.
    """
    said = _FORMS.get(kind_of(content_type)) if content_type is not None else to
    if said is not None:
        return said
    path = Path(name.rstrip("/").removesuffix(".gz"))
    if (form := _FORMS_BY_ENDING.get(path.suffix.lower())) is not None:
        return form
    if path.is_dir():
        return form_of(str(_matching(str(path))[0]))
    raise InputError(
        f"the ending of {name} does not say what it holds",
        hint="name it .csv, .jsonl or .parquet, or give --content-type (of IN) or --to (of OUT)",
    )


def identity(source: Source) -> list[Any]:
    """What tells a source from another of the same name: its path, size, time of change, and its first 64 KiB.

    :raises InputNotFound: it is not there any more.
    """
    if source.path is None:
        return [STREAM]
    try:
        facts = source.path.stat()
        with source.path.open("rb") as file:
            head = hashlib.sha256(file.read(_HEAD)).hexdigest()
    except OSError as error:
        raise InputNotFound(f"the input {source.path} cannot be read: {error.strerror}") from error
    return [str(source.path), facts.st_size, facts.st_mtime_ns, head]


def _all(sources: tuple[Source, ...]) -> tuple[int, ...]:
    return tuple(range(len(sources)))


def _paths(given: Sequence[str | Path]) -> Iterator[Path | None]:
    if not given:
        raise UsageError("there is no input", hint="give files, a folder, or - for standard input")
    if any(str(one) == STREAM for one in given):
        if len(given) > 1:
            raise UsageError("- stands for standard input, and no other input can stand beside it")
        yield None
        return
    for one in given:
        yield from _matching(str(one))


def _matching(text: str) -> list[Path]:
    path = Path(text)
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.is_file() and file.name.lower().endswith(_KNOWN))
        if not found:
            raise InputNotFound(f"there is no file in {path} that ends in {', '.join(_KNOWN)}")
        return [file.absolute() for file in found]
    if path.exists() or not glob.has_magic(text):
        if not path.exists():
            raise InputNotFound(f"there is no input {path}", hint="give a file, a folder or a glob in quotes")
        return [path.absolute()]
    # Path.glob would want the part without wildcards apart.
    matches = [Path(match).absolute() for match in sorted(glob.glob(text, recursive=True))]  # noqa: PTH207
    matches = [path for path in matches if path.is_file()]
    if not matches:
        raise InputNotFound(f"no file matches {text}")
    return matches


def _source(path: Path | None, options: Options) -> Source:
    if path is None and options.content_type is None:
        raise UsageError(
            "what standard input holds is not known", hint="give --content-type text/csv or application/jsonl"
        )
    kind = kind_of(options.content_type or content_type_of(path or Path()))
    form = _FORMS.get(kind)
    where = "standard input" if path is None else path.name
    if form is None or (path is None and form == "parquet"):
        raise InputError(
            f"{where} holds {kind}, which is not cut into rows",
            hint="batch reads CSV, JSON Lines and Parquet; envbuild predict reads the others whole",
        )
    compressed = path is not None and encoding_of(path) is not None
    if compressed and form == "parquet":
        raise InputError(f"{where} is a compressed Parquet file", hint="unpack it: Parquet is compressed inside")
    return Source(path=path, form=form, compressed=compressed)


def _form_of(path: Path, first: Source, options: Options) -> Form:
    if options.to is not None:
        return options.to
    form = _FORMS_BY_ENDING.get(path.suffix.lower())
    if form is not None:
        return form
    if path.suffix:
        raise UsageError(
            f"the ending of {path.name} is none of .csv, .jsonl, .ndjson, .parquet", hint="name it so, or give --to"
        )
    return first.form


def _targets_in(folder: Path, sources: tuple[Source, ...], options: Options) -> Iterator[Target]:
    names: dict[str, Source] = {}
    for number, source in enumerate(sources):
        if source.path is None:
            raise UsageError(f"standard input has no name, and {folder} is a folder", hint="give a file as OUT")
        form = options.to or source.form
        stem = source.path.with_suffix("") if source.compressed else source.path
        name = stem.with_suffix(ENDINGS[form]).name
        if name in names:
            raise UsageError(f"{names[name].name} and {source.name} would both be written to {folder / name}")
        names[name] = source
        yield Target(path=folder / name, form=form, sources=(number,))


def _check_stream(options: Options) -> None:
    if options.resume or options.restart:
        raise UsageError("what went to standard output cannot be gone on with", hint="give a file as OUT")
    if options.on_error != "stop":
        raise UsageError(
            f"--on-error {options.on_error} writes a file beside OUT, which is standard output",
            hint="give a file as OUT",
        )
    if options.to == "parquet":
        raise UsageError("Parquet cannot be written to standard output", hint="give a file as OUT")


def _check(sources: tuple[Source, ...], targets: tuple[Target, ...]) -> None:
    read = {source.path.resolve() for source in sources if source.path is not None}
    for target in targets:
        path = target.path or Path()
        if path.resolve() in read:
            raise UsageError(f"{path} is read and would be written", hint="give another OUT")
        parent = path.parent
        if len(targets) == 1 and not parent.is_dir() and not parent.parent.is_dir():
            raise UsageError(f"{path} cannot be written: there is no directory {parent}", hint="make it first")
