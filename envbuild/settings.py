"""Settings: what the one who deploys decides once, from ``ENVBUILD_*`` variables or the command line.

The only reader of ``ENVBUILD_*``. Nothing inside a model's directory can change a setting.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from envbuild.errors import UsageError

PythonPolicy = Literal["exact", "minor"]
ModelIndexes = Literal["known", "allow", "deny"]
Nan = Literal["null", "string", "error"]
Engine = Literal["uv"]
Repair = Literal["safe", "all", "none"]
LinkMode = Literal["auto", "clone", "hardlink", "copy"]


# The settings that change what a model's environment is; the others say where and how it is had.
OVERRIDES = (
    "set",
    "add",
    "remove",
    "constraint",
    "requirements",
    "conda_env",
    "python",
    "only_binary",
    "no_binary",
    "no_build",
    "accelerator",
    "as_of",
    "lock",
    "environment",
    "override",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One call's settings. Times are in seconds.

    Each field is set by the variable ``ENVBUILD_`` plus its name in capitals (``ENVBUILD_INDEX_URL``), and by the
    command line's option of that name; lists are separated by white space in variables.
    """

    home: Path
    """The store's root; uv's cache lies inside it, on the same file system, so that files can be linked."""
    engine: Engine = "uv"
    index_url: str | None = None
    """The main index (PEP 503/691); ``None``: the engine's own default."""
    extra_index_url: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    model_indexes: ModelIndexes = "known"
    """What becomes of index lines inside a model: those on the shipped list, all, or none."""
    expand: tuple[str, ...] = ()
    """The variables that ``${VAR}`` in a model's files may name; any other stays as it is written and is reported."""
    as_of: str = "created"
    """``created``, ``now``, or a date (``2021-04-30``) or instant (RFC 3339)."""
    python: str | None = None
    """A version (``3.8``, ``3.8.18``) or the path of an interpreter, in place of what the model says."""
    python_policy: PythonPolicy = "minor"
    """``exact``: that very version; ``minor``: else the newest patch release of the same minor version, with a note."""
    python_downloads: bool = True
    """Whether uv may download a managed Python when none is found."""
    repair: Repair = "safe"
    """Which repairs may be used: those that keep every version that the model pins, all, or none (docs/repairs.md)."""
    allow_repair: tuple[str, ...] = ()
    """Repairs that may be used whatever ``repair`` says, by name."""
    deny_repair: tuple[str, ...] = ()
    """Repairs that may not be used whatever else is said, by name."""
    set: tuple[str, ...] = ()
    """Requirements that count in place of whatever asks for their packages (docs/override.md)."""
    add: tuple[str, ...] = ()
    """Requirements beside the model's own."""
    remove: tuple[str, ...] = ()
    """Names of packages that the environment is not to have."""
    constraint: tuple[Path, ...] = ()
    """Files of constraints, as pip has them."""
    requirements: tuple[Path, ...] = ()
    """Requirements files that replace everything the model asks for, but its Python."""
    conda_env: Path | None = None
    """A conda.yaml that replaces all of the model's own files."""
    only_binary: tuple[str, ...] = ()
    """Packages that are taken as wheels alone; ``:all:`` for every one."""
    no_binary: tuple[str, ...] = ()
    """Packages that are built from their sdists; ``:all:`` for every one."""
    override: Path | None = None
    """A file that holds any of these (docs/override.md)."""
    environment: str | None = None
    """A curated environment that replaces the model's own: ``NAME``, ``NAME:VERSION`` or the path of its file."""
    environments: str | None = None
    """Where curated environments lie: a folder or a URL."""
    accelerator: str = "auto"
    """Which build of torch and tensorflow: ``auto`` (by this machine), ``cpu``, ``cu118``, …"""
    torch_index: str | None = None
    """Where builds of torch for single accelerators lie, a folder each; ``None``: PyTorch's own."""
    no_build: bool = False
    """Refuse sdists: nothing of a package's own build code runs."""
    lock: Path | None = None
    locked: bool = False
    """Use an existing lock that fits, or fail."""
    update: bool = False
    """Resolve again although a lock is kept."""
    offline: bool = False
    lock_timeout: float = 900.0
    build_timeout: float = 3600.0
    load_timeout: float = 600.0
    predict_timeout: float = 3600.0
    nan: Nan = "null"
    link_mode: LinkMode = "auto"
    """How files are shared between the cache and the environments (docs/store.md)."""
    parallel: int = field(default_factory=lambda: max(2, os.cpu_count() or 1))
    """How many environments are built at once in a store, and how many models are locked at once."""
    retry: bool = False
    """Try again at once what failed a moment ago."""
    failure_memory: float = 30.0
    """For how long a failure is remembered, and told to whoever asks for the same."""
    max_size: int | None = None
    """Bytes that the store and its cache may take: a build that makes them more collects what was not used for longest."""
    base_image: str | None = None
    """What images are built on; ``None``: what fits the model's Python (docs/images.md)."""
    server_python: str | None = None
    """The Python of the HTTP side in images, by version or path; ``None``: a portable build, else the one that runs us."""
    build_network: str = "default"
    """The Docker network of building containers; ``none`` gives them none."""
    env_repository: str | None = None
    """Where images of environments are pushed to and pulled from; ``None``: ``env`` beside the model's image."""
    shared: bool = False
    """The store is shared with a group: its directories are the group's to write, and its files may be another user's."""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str] | None = None, **given: Any) -> Settings:
        """The settings of an environment; what is ``given`` and is not ``None`` wins.

        :raises UsageError: a variable, or a name given, cannot be understood.
        """
        environ = os.environ if environ is None else environ
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(given) - known):
            raise UsageError(
                f"there is no setting called {unknown[0]!r}", hint=f"there are: {', '.join(sorted(known))}"
            )
        values = {name: _read(name, environ[_variable(name)]) for name in known if environ.get(_variable(name))}
        values.update({name: _checked(name, value) for name, value in given.items() if value is not None})
        if "home" not in values:
            values["home"] = _default_home()
        return cls(**values)

    def without_override(self) -> Settings:
        """The same as nobody deploys otherwise: the model's own environment, from the same indexes by the same repairs."""
        own: dict[str, Any] = {one.name: one.default for one in fields(self) if one.name in OVERRIDES}
        return replace(self, **own)

    def having(self, **changes: Any) -> Settings:
        """These settings with some changed; ``None`` leaves one as it is."""
        return replace(self, **{name: value for name, value in changes.items() if value is not None})


def _variable(name: str) -> str:
    return f"ENVBUILD_{name.upper()}"


def _default_home() -> Path:
    # Imported here because most calls of `--help` and of a library user's own settings never need it.
    import platformdirs

    return platformdirs.user_cache_path("envbuild")


_CHOICES: Mapping[str, tuple[str, ...]] = {
    "engine": get_args(Engine),
    "python_policy": get_args(PythonPolicy),
    "model_indexes": get_args(ModelIndexes),
    "nan": get_args(Nan),
    "repair": get_args(Repair),
    "link_mode": get_args(LinkMode),
}
_PATH_LISTS = ("constraint", "requirements")
_LISTS = (
    "extra_index_url",
    "find_links",
    "expand",
    "allow_repair",
    "deny_repair",
    "set",
    "add",
    "remove",
    "only_binary",
    "no_binary",
    *_PATH_LISTS,
)
_PATHS = ("home", "lock", "conda_env", "override")
_FLAGS = ("python_downloads", "no_build", "locked", "update", "offline", "retry", "shared")
_SECONDS = ("lock_timeout", "build_timeout", "load_timeout", "predict_timeout", "failure_memory")
_COUNTS = ("parallel",)
_SIZES = ("max_size",)
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def _read(name: str, text: str) -> Any:
    """A setting from a variable's text."""
    value: Any = text
    if name in _LISTS:
        value = tuple(text.split())
    elif name in _FLAGS:
        if text.lower() not in _TRUE + _FALSE:
            raise UsageError(f"{_variable(name)} is {text!r}, which is neither true nor false", hint="write 1 or 0")
        value = text.lower() in _TRUE
    return _checked(name, value, said_by=_variable(name))


def _checked(name: str, value: Any, said_by: str | None = None) -> Any:
    said_by = said_by or f"the setting {name}"
    if name in _CHOICES and value not in _CHOICES[name]:
        raise UsageError(f"{said_by} is {value!r}", hint=f"write one of: {', '.join(_CHOICES[name])}")
    convert = _CONVERSIONS.get(name)
    return value if convert is None else convert(value, said_by)


def _seconds(value: Any, said_by: str) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = 0.0
    if not seconds > 0:
        raise UsageError(f"{said_by} is {value!r}, which is not a number of seconds above 0")
    return seconds


def _count(value: Any, said_by: str) -> int:
    try:
        count = int(value)
    except (TypeError, ValueError):
        count = 0
    if count < 1 or isinstance(value, bool):
        raise UsageError(f"{said_by} is {value!r}, which is not a number above 0")
    return count


_UNITS: Mapping[str, int] = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_UNITS: Mapping[str, int] = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def size_of(value: Any, said_by: str) -> int:
    """Bytes: a number, or ``20GB``, ``500 MiB``.

    :raises UsageError: it is neither.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", str(value).strip().lower())
    if match is None or (match[3] and not match[2]):
        raise UsageError(f"{said_by} is {value!r}, which is no size", hint="write 20GB, 500MiB or a number of bytes")
    return int(float(match[1]) * (_BINARY_UNITS if match[3] else _UNITS)[match[2]])


def _path(value: Any, said_by: str) -> Path:
    if not str(value).strip():
        raise UsageError(f"{said_by} is an empty path")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", str(value)):
        # It may hold a password, which no message of a path's reader would cut out; a Path has one slash less.
        raise UsageError(f"{said_by} is a URL; a path on this machine is wanted")
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError as error:
        raise UsageError(f"{said_by} is {str(value)!r}: {error}") from error


def _places(value: Any, said_by: str) -> tuple[str, ...]:
    """URLs as they are, paths in full: what reads them runs in another directory."""
    places = _texts(value, said_by)
    return tuple(_url(place, said_by) if "://" in place else str(_path(place, said_by)) for place in places)


def _path_list(value: Any, said_by: str) -> tuple[Path, ...]:
    if isinstance(value, (str, Path)):
        value = (value,)
    return tuple(_path(one, said_by) for one in value)


def _texts(value: Any, said_by: str) -> tuple[str, ...]:
    if isinstance(value, str):
        raise UsageError(f"{said_by} is one text where a list of texts is wanted", hint="put it into a list")
    return tuple(str(item) for item in value)


def _url(value: Any, said_by: str) -> str:
    # Imported here: most calls name no index.
    from urllib.parse import urlsplit

    try:
        urlsplit(str(value))
    except ValueError as error:
        # The value itself may hold a password.
        raise UsageError(f"{said_by} is no address: {error}") from None
    return str(value)


def _urls(value: Any, said_by: str) -> tuple[str, ...]:
    return tuple(_url(url, said_by) for url in _texts(value, said_by))


def _flag(value: Any, said_by: str) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{said_by} is {value!r}, which is neither True nor False")
    return value


_CONVERSIONS: Mapping[str, Callable[[Any, str], Any]] = {
    **dict.fromkeys(_FLAGS, _flag),
    **dict.fromkeys(_SECONDS, _seconds),
    **dict.fromkeys(_COUNTS, _count),
    **dict.fromkeys(_SIZES, size_of),
    **dict.fromkeys(_PATHS, _path),
    **dict.fromkeys(_LISTS, _texts),
    **dict.fromkeys(_PATH_LISTS, _path_list),
    "index_url": _url,
    "extra_index_url": _urls,
    "find_links": _places,
}
