"""Requirements as files state them: pip's lines and conda's package specs, each with its place.

pip's line format is documented by pip ("Requirements File Format"), names, specifiers and markers by PEP 508, conda's
package specs by conda ("Package match specifications"). A line is read here and nowhere else; what reaches a resolver
is a :class:`Demand`, never the raw line.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal, cast
from urllib.parse import unquote, urlsplit

from packaging.markers import Environment, UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from envbuild import document
from envbuild.errors import Place, SpecError
from envbuild.model import Notice

Kind = Literal["index", "vcs", "url", "file", "directory"]
Origin = Literal["pip", "conda", "build", "mlflow", "flavor", "constraint", "override"]

_VCS = ("git+", "hg+", "svn+", "bzr+")
_OPTION_NAMES = {
    "-i": "--index-url",
    "--pypi-url": "--index-url",
    "-f": "--find-links",
    "-r": "--requirement",
    "-c": "--constraint",
    "-e": "--editable",
}
_INDEX_OPTIONS = {"--index-url": "index-url", "--extra-index-url": "extra-index-url", "--find-links": "find-links"}
# They change where or how packages are fetched for the whole host; in a model they are reported and have no effect.
_IGNORED_OPTIONS = {
    "--trusted-host",
    "--no-index",
    "--pre",
    "--prefer-binary",
    "--no-binary",
    "--only-binary",
    "--require-hashes",
    "--use-feature",
    "--no-cache-dir",
    "--no-deps",
    "--upgrade",
    "-U",
}
_MAX_DEPTH = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """One thing that the environment must hold, in the resolver's terms, and who asked for it.

    ``text`` is a PEP 508 requirement; for what lies inside the model (``file``, ``directory``) it is the path, relative
    to the model. ``name`` is normalised (PEP 503); it is ``None`` where only the resolver can find it out.
    """

    text: str
    kind: Kind
    name: str | None
    origin: Origin
    place: Place | None
    path: str | None = None

    @property
    def requirement(self) -> Requirement | None:
        """The parsed requirement; ``None`` for paths and for addresses without a name."""
        return Requirement(self.text) if self.path is None and self.name is not None else None

    @property
    def specifier(self) -> SpecifierSet:
        """The version specifiers; empty where there are none."""
        requirement = self.requirement
        return SpecifierSet() if requirement is None else requirement.specifier

    @property
    def pin(self) -> str | None:
        """The version that ``==`` or ``===`` demands alone, without a wildcard; else ``None``."""
        for specifier in self.specifier:
            if specifier.operator in ("==", "===") and not specifier.version.endswith(".*"):
                return specifier.version
        return None

    @property
    def pinned(self) -> Version | None:
        """The pin as a version (PEP 440); ``None`` where there is none, or where ``===`` names what is no version."""
        try:
            return None if self.pin is None else Version(self.pin)
        except InvalidVersion:
            return None

    def rewritten(self, specifier: SpecifierSet | str, name: str | None = None) -> Demand:
        """A demand for other versions, or for another package; its extras and its marker stay."""
        requirement = self.requirement
        if requirement is None:
            return self
        requirement.name = name or requirement.name
        requirement.specifier = SpecifierSet(str(specifier))
        return replace(self, text=str(requirement), name=canonicalize_name(requirement.name))

    def applies(self, environment: Environment) -> bool:
        """Whether its marker is true in an environment (PEP 508); one that cannot be decided counts as true."""
        requirement = self.requirement
        if requirement is None or requirement.marker is None:
            return True
        try:
            return requirement.marker.evaluate(cast("dict[str, str]", environment))
        except (UndefinedComparison, UndefinedEnvironmentName):
            return True


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexLine:
    """A place to look for packages that a model's file names: a request, which a policy decides on."""

    option: str
    """``index-url``, ``extra-index-url`` or ``find-links``."""
    url: str
    place: Place
    by_deployer: bool = False
    """Whether it is the deployer's own word, which no policy decides on."""


@dataclass(frozen=True, slots=True)
class Lines:
    """What one requirements file, or a list in another file, comes to."""

    demands: tuple[Demand, ...] = ()
    constraints: tuple[Demand, ...] = ()
    index_lines: tuple[IndexLine, ...] = ()
    notices: tuple[Notice, ...] = ()

    def __add__(self, other: Lines) -> Lines:
        return Lines(
            self.demands + other.demands,
            self.constraints + other.constraints,
            self.index_lines + other.index_lines,
            self.notices + other.notices,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What reading a line depends on: the model's directory, and the variables that may be expanded."""

    model: Path
    expand: Mapping[str, str]
    origin: Origin = "pip"
    leave_out_missing: bool = False
    """Whether what the model names and does not have is left out, with a notice; else it is an error."""
    conda: bool = False
    """Whether conda.yaml's own packages come from their channels, rather than from the index."""
    by_deployer: bool = False
    """Whether the lines are the deployer's own: then paths may lead anywhere, and are kept in full."""


class _PartMissing(SpecError):
    """A line names a wheel, an archive or a directory that the model does not have."""


def read_file(path: Path, reading: Reading, *, constraint: bool = False, depth: int = 0) -> Lines:
    """The requirements in a file, with those of the files that it includes.

    :raises ModelUnreadable: the file is missing or not text.
    :raises SpecError: a line is no requirement, or files include each other without end.
    """
    if depth > _MAX_DEPTH:
        raise SpecError("requirements files include each other without end", place=Place(str(path)))
    text = document.read_text(path)
    if "\0" in text:
        raise SpecError("this is not a requirements file: it holds NUL bytes", place=Place(str(path)))
    result = Lines()
    for number, line in _logical_lines(text):
        result += read_line(line, Place(str(path), number), reading, constraint=constraint, depth=depth)
    return result


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers: continuations joined, comments and empty lines left out."""
    kept, first = "", 0
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        first = first if kept else number
        # As pip has it: a comment's own backslash continues nothing.
        if line.endswith("\\") and not re.match(r"\s*#|.*\s#", line):
            kept += line[:-1] + " "
            continue
        if whole := without_comment(kept + line):
            yield first, whole
        kept = ""
    if whole := without_comment(kept):
        yield first, whole


def without_comment(line: str) -> str:
    """A line up to its comment."""
    return re.sub(r"(^|\s)#.*$", "", line).strip()


def read_line(line: str, place: Place, reading: Reading, *, constraint: bool = False, depth: int = 0) -> Lines:
    """One line: a requirement, an option, or a file to include.

    :raises SpecError: it is none of them.
    """
    if not line.replace("\t", " ").isprintable():
        # A line end inside a YAML text would become a line of its own where the resolver reads it.
        raise SpecError(f"{line[:60]!r} holds characters that no requirement has", place=place)
    check_numbers(line, place)
    line, notices = _expanded(line, place, reading)
    try:
        if line.startswith("-"):
            found = _option(line, place, reading, constraint=constraint, depth=depth)
        else:
            demand, more = _demand(_without_hashes(line), place, reading)
            found = Lines(constraints=(demand,), notices=more) if constraint else Lines(demands=(demand,), notices=more)
    except _PartMissing as error:
        if not reading.leave_out_missing:
            raise
        found = Lines(notices=(Notice(code="missing-package", message=f"{error.message}; left out", place=place),))
    except (ValueError, OSError, RuntimeError) as error:
        # An address with half a bracket, a path that is too long or a link to itself, a number of 5000 digits.
        raise SpecError(f"{line[:80]!r} cannot be understood: {error}", place=place) from error
    return found + Lines(notices=notices)


def check_numbers(text: str, place: Place) -> None:
    """Refuse numbers that Python does not read: they would fail wherever the version is compared.

    :raises SpecError: there is one.
    """
    if re.search(r"\d{200}", text):
        raise SpecError(f"{text[:40]}… holds a number of hundreds of digits", place=place)


def _expanded(line: str, place: Place, reading: Reading) -> tuple[str, tuple[Notice, ...]]:
    notices: list[Notice] = []

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if name in reading.expand:
            return reading.expand[name]
        message = f"the variable {name} is not expanded; name it in ENVBUILD_EXPAND to allow that"
        notices.append(Notice(code="variable-not-expanded", message=message, place=place))
        return match.group(0)

    return re.sub(r"\$\{([A-Z0-9_]+)\}", value, line), tuple(notices)


def _without_hashes(line: str) -> str:
    # pip's per-requirement options; the lock has hashes of its own.
    return re.split(r"\s--(?:hash|global-option|install-option|config-settings?)\b", line, maxsplit=1)[0].strip()


def _option(line: str, place: Place, reading: Reading, *, constraint: bool, depth: int) -> Lines:
    name, value = _option_parts(line, place)
    if name in ("--requirement", "--constraint"):
        path = _own_path(value, place, reading, base=Path(place.file).parent)
        return read_file(
            reading.model / path, reading, constraint=constraint or name == "--constraint", depth=depth + 1
        )
    if name in _INDEX_OPTIONS and value:
        if reading.by_deployer and name == "--find-links" and "://" not in value:
            value = str((Path(place.file).parent / value).resolve())
        option = _INDEX_OPTIONS[name]
        index_line = IndexLine(option=option, url=value, place=place, by_deployer=reading.by_deployer)
        return Lines(index_lines=(index_line,))
    if name == "--editable":
        demand, notices = _demand(value, place, reading)
        return Lines(demands=(demand,), notices=notices)
    if name in _IGNORED_OPTIONS:
        message = f"the option {name} has no effect: what a model's files say does not change how packages are fetched"
        if reading.by_deployer:
            message = f"the option {name} has no effect in a file; envbuild has options and settings of its own for it"
        return Lines(notices=(Notice(code="option-ignored", message=message, place=place),))
    raise SpecError(f"{name!r} is no option of a requirements file", place=place, hint="remove the line")


def _option_parts(line: str, place: Place) -> tuple[str, str]:
    try:
        words = shlex.split(line, comments=False)
    except ValueError as error:
        raise SpecError(f"the line cannot be read: {error}", place=place) from error
    name, equals, value = words[0].partition("=")
    if not name.startswith("--") and len(name) > 2:
        name, value = name[:2], name[2:]
    elif not equals:
        value = words[1] if len(words) > 1 else ""
    return _OPTION_NAMES.get(name, name), value


def _demand(text: str, place: Place, reading: Reading) -> tuple[Demand, tuple[Notice, ...]]:
    """A requirement of any kind: PEP 508, a URL or a path."""
    if text.startswith(("file:", *_VCS)) or "://" in text.split("@", maxsplit=1)[0]:
        return _located(text, None, place, reading)
    if (named := re.match(r"([A-Za-z0-9._-]+)\s*(\[[^]]*\])?\s*@\s*(\S.*)$", text)) is not None:
        url, name = named.group(3).strip(), named.group(1)
        if reading.by_deployer and _looks_like_path(url) and "://" not in url and not url.startswith("file:"):
            return _local(f"{url}{named.group(2) or ''}", place, reading, base=Path(place.file).parent, name=name), ()
        return _located(url, name, place, reading, extras=named.group(2) or "")
    if _looks_like_path(text):
        return _local(text, place, reading, base=Path(place.file).parent), ()
    requirement = _parsed(text, place)
    return (
        Demand(
            text=str(requirement),
            kind="index",
            name=canonicalize_name(requirement.name),
            origin=reading.origin,
            place=place,
        ),
        (),
    )


def _parsed(text: str, place: Place) -> Requirement:
    try:
        return Requirement(text)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise SpecError(
            f"{text!r} is no requirement: {reason}", place=place, hint="see PEP 508 for the form"
        ) from error


def _looks_like_path(text: str) -> bool:
    bare = re.sub(r"\[[^]]*\]$", "", text.split(";", maxsplit=1)[0].strip())
    return bare.startswith((".", "/", "~")) or "/" in bare or bare.endswith((".whl", ".tar.gz", ".zip"))


def _located(
    url: str, name: str | None, place: Place, reading: Reading, extras: str = ""
) -> tuple[Demand, tuple[Notice, ...]]:
    """A requirement by URL, with a name (``name @ url``) or without."""
    if url.startswith("file:"):
        return _file_url(url, name, place, reading, extras)
    url, *marker = re.split(r"\s+;\s*", url, maxsplit=1)
    marked = f" ; {marker[0]}" if marker else ""
    if url.startswith(_VCS):
        if not url.startswith("git+"):
            raise SpecError(
                f"{url.split('+', maxsplit=1)[0]} repositories are not supported",
                place=place,
                hint="use git or a wheel",
            )
        egg = re.search(r"[#&]egg=([A-Za-z0-9._-]+)", url)
        name, url = name or (egg.group(1) if egg else None), re.sub(r"#.*$", _fragment, url)
        return _by_url(url + marked, name, extras, "vcs", place, reading), ()
    if not url.startswith(("https://", "http://")):
        raise SpecError(f"{url!r} is no address that packages come from", place=place)
    return _by_url(url + marked, name or _name_in_file_name(url), extras, "url", place, reading), ()


def _fragment(match: re.Match[str]) -> str:
    kept = [part for part in match.group(0)[1:].split("&") if part.startswith("subdirectory=")]
    return f"#{kept[0]}" if kept else ""


def _by_url(url: str, name: str | None, extras: str, kind: Kind, place: Place, reading: Reading) -> Demand:
    if name is None:
        # Checked under a name that says nothing: only the resolver can find out which one it is.
        _parsed(f"unnamed @ {url}", place)
        return Demand(text=url, kind=kind, name=None, origin=reading.origin, place=place)
    text = f"{name}{extras} @ {url}"
    _parsed(text, place)
    return Demand(text=text, kind=kind, name=canonicalize_name(name), origin=reading.origin, place=place)


def _file_url(
    url: str, name: str | None, place: Place, reading: Reading, extras: str = ""
) -> tuple[Demand, tuple[Notice, ...]]:
    """``file:``: inside the model it is the model's own; elsewhere the name is all that can count."""
    url, *marker = re.split(r"\s+;\s*", url, maxsplit=1)
    path = unquote(urlsplit(url).path)
    if not path.startswith("/") or Path(path).is_relative_to(reading.model) or reading.by_deployer:
        return _local(f"{path}{extras}", place, reading, base=reading.model, name=name), ()
    name = name or _name_in_file_name(path)
    if name is None:
        raise SpecError(f"{url!r} lies outside the model and says no package's name", place=place)
    message = f"{path} is a path of the machine that made the model; the name {name} counts, the path does not"
    text = str(_parsed(f"{name}{extras}{f' ; {marker[0]}' if marker else ''}", place))
    demand = Demand(text=text, kind="index", name=canonicalize_name(name), origin=reading.origin, place=place)
    return demand, (Notice(code="path-ignored", message=message, place=place),)


_LOCAL = re.compile(r"(?P<path>[^;]*?)\s*(?P<extras>\[[^]]*\])?\s*(?P<marker>;.*)?")


def _local(text: str, place: Place, reading: Reading, *, base: Path, name: str | None = None) -> Demand:
    """A wheel, an archive or a directory inside the model, or wherever the deployer has it."""
    bare, extras, marker = _LOCAL.fullmatch(text.strip()).group("path", "extras", "marker")  # type: ignore[union-attr] # always matches
    path = _own_path(bare, place, reading, base=base)
    if extras or marker:
        _parsed(f"local{extras or ''}{marker or ''}", place)
    target = reading.model / path
    if not target.exists():
        if reading.by_deployer:
            raise SpecError(f"there is no {path}", place=place)
        hint = "was the whole model directory copied? --allow-repair missing-package leaves it out"
        raise _PartMissing(f"the model has no {path}", place=place, hint=hint)
    own_name = None if target.is_dir() else _name_in_file_name(path)
    return Demand(
        text=f"{path}{extras or ''}{f' {marker}' if marker else ''}",
        kind="directory" if target.is_dir() else "file",
        name=own_name if name is None else canonicalize_name(name),
        origin=reading.origin,
        place=place,
        path=path,
    )


def _own_path(text: str, place: Place, reading: Reading, *, base: Path) -> str:
    """A path inside the model, relative to the model; what leads out of it is refused.

    A path is read as pip reads it, from the file's own directory, and where that gives nothing from the model's.
    """
    posix = PurePosixPath(text.replace("\\", "/"))
    if reading.by_deployer:
        return str((base / Path(posix).expanduser()).resolve())
    root = reading.model.resolve()
    for start in (base, reading.model):
        target = (start / posix).resolve()
        if not target.is_relative_to(root):
            raise SpecError(f"{text!r} lies outside the model's directory", place=place)
        if target.exists():
            break
    return target.relative_to(root).as_posix()


def _name_in_file_name(path: str) -> str | None:
    file_name = PurePosixPath(unquote(urlsplit(path).path)).name
    try:
        if file_name.endswith(".whl"):
            return parse_wheel_filename(file_name)[0]
        return parse_sdist_filename(file_name)[0]
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None


def version_of(text: str) -> Version | None:
    """A version; ``None`` for what is none."""
    try:
        return Version(text)
    except ValueError:
        # No version, or one with a number of thousands of digits.
        return None
