"""Values: what a setting may be, made of what a variable, the command line or a caller says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from envbuild.errors import UsageError

PythonPolicy = Literal["exact", "minor"]
ModelIndexes = Literal["known", "allow", "deny"]
KeyringProvider = Literal["disabled", "subprocess"]
IndexStrategy = Literal["first-index", "best-match"]
Nan = Literal["null", "string", "error"]
Engine = Literal["uv", "pip", "auto"]
Repair = Literal["safe", "all", "none"]
LinkMode = Literal["auto", "clone", "hardlink", "copy"]
Loader = Literal["auto", "mlflow", "direct"]
LogFormat = Literal["text", "json"]
PythonSource = Literal["auto", "conda"]
CondaPackages = Literal["auto", "conda", "map"]

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "engine": get_args(Engine),
    "conda_packages": get_args(CondaPackages),
    "python_policy": get_args(PythonPolicy),
    "python_source": get_args(PythonSource),
    "model_indexes": get_args(ModelIndexes),
    "index_strategy": get_args(IndexStrategy),
    "keyring_provider": get_args(KeyringProvider),
    "nan": get_args(Nan),
    "repair": get_args(Repair),
    "link_mode": get_args(LinkMode),
    "loader": get_args(Loader),
    "log_format": get_args(LogFormat),
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
    "pass_env",
    "set_env",
    "conda_mirror",
    "virtual_package",
    *_PATH_LISTS,
)
_PATHS = (
    "home",
    "lock",
    "bundle",
    "require_signature",
    "conda_env",
    "override",
    "index_ca",
    "index_client_cert",
    "uds",
    "certfile",
    "keyfile",
)
_FLAGS = (
    "python_downloads",
    "no_build",
    "link_scripts",
    "locked",
    "update",
    "offline",
    "retry",
    "shared",
    "no_network",
    "read_only",
    "no_enforce",
    "no_page",
    "no_probe",
)
_SECONDS = (
    "lock_timeout",
    "build_timeout",
    "load_timeout",
    "predict_timeout",
    "idle_timeout",
    "failure_memory",
    "request_timeout",
)
_COUNTS = ("parallel", "workers", "queue", "batch_size")
_DURATIONS = ("keep_warm",)
_SIZES = ("max_size",)
_LIMITS = ("max_memory", "max_output", "max_body")
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def variable(name: str) -> str:
    """The variable that sets a setting."""
    return f"ENVBUILD_{name.upper()}"


def read(name: str, text: str) -> Any:
    """A setting from its variable's text.

    :raises UsageError: it cannot be understood.
    """
    value: Any = text
    if name in _LISTS:
        value = tuple(text.split())
    elif name in _FLAGS:
        if text.lower() not in _TRUE + _FALSE:
            raise UsageError(f"{variable(name)} is {text!r}, which is neither true nor false", hint="write 1 or 0")
        value = text.lower() in _TRUE
    return checked(name, value, said_by=variable(name))


def read_given(names: Iterable[str], environ: Mapping[str, str], given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that variables name, and those that are ``given`` and not ``None``, which win.

    :raises UsageError: one cannot be understood, or there is none of that name.
    """
    known = set(names)
    if unknown := sorted(set(given) - known):
        raise UsageError(f"there is no setting called {unknown[0]!r}", hint=f"there are: {', '.join(sorted(known))}")
    values = {name: read(name, environ[variable(name)]) for name in known if environ.get(variable(name))}
    values.update({name: checked(name, value) for name, value in given.items() if value is not None})
    return values


def checked(name: str, value: Any, said_by: str | None = None) -> Any:
    """A setting from what somebody gave for it.

    :param said_by: who says it, for the message; by default the setting itself.
    :raises UsageError: it cannot be understood.
    """
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


def _wait(value: Any, said_by: str) -> float:
    return 0.0 if str(value).strip() in ("0", "0.0") else _seconds(value, said_by)


def _port(value: Any, said_by: str) -> int:
    text = str(value).strip()
    if not text.isascii() or not text.isdecimal() or int(text) >= 1 << 16:
        raise UsageError(f"{said_by} is {value!r}, which is no port")
    return int(text)


def _root_path(value: Any, said_by: str) -> str:
    path = str(value).rstrip("/")
    if path and (not path.startswith("/") or re.search(r"[\s?#]", path)):
        raise UsageError(f"{said_by} is {value!r}, which is no path", hint="write /models/heart")
    return path


def _token(value: Any, said_by: str) -> str:
    text = str(value)
    if not re.fullmatch(r"[\x21-\x7e]+", text):
        # It is a secret, and stays out of the message.
        raise UsageError(f"{said_by} has characters that no header can carry", hint="letters, digits and signs alone")
    return text


_TIME_UNITS: Mapping[str, int] = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def _duration(value: Any, said_by: str) -> float:
    """Seconds: a number, or ``90s``, ``10m``, ``2h``."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd]?)", str(value).strip().lower())
    if match is None or not float(match[1]):
        raise UsageError(
            f"{said_by} is {value!r}, which is no time above 0", hint="write 10m, 90s or a number of seconds"
        )
    return float(match[1]) * _TIME_UNITS[match[2]]


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


def _limit(value: Any, said_by: str) -> int:
    size = size_of(value, said_by)
    if size == 0:
        raise UsageError(f"{said_by} is {value!r}, and nothing fits into that")
    return size


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


def name_and_url(text: str) -> tuple[str | None, str]:
    """An index's name, where it has one (``NAME=URL``), and its URL."""
    found = re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9._-]*)=(.+)", text, re.DOTALL)
    return (None, text) if found is None else (found[1], found[2])


def _index(value: Any, said_by: str) -> str:
    _url(name_and_url(str(value))[1], said_by)
    return str(value)


def _indexes(value: Any, said_by: str) -> tuple[str, ...]:
    return tuple(_index(one, said_by) for one in _texts(value, said_by))


def _command(value: Any, said_by: str) -> str:
    # Imported here: few have one.
    import shlex

    try:
        words = shlex.split(str(value))
    except ValueError as error:
        # The command itself may hold a secret.
        raise UsageError(f"{said_by} is no command: {error}") from None
    if not words:
        raise UsageError(f"{said_by} is an empty command")
    return str(value)


def _flag(value: Any, said_by: str) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{said_by} is {value!r}, which is neither True nor False")
    return value


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
WORKERS_OWN = ("HOME", "TMPDIR", "VIRTUAL_ENV", "CONDA_PREFIX")
"""Variables that say where a worker is; nobody else can set them."""


def check_variable(name: str, said_by: str) -> None:
    """Refuse a variable that a model cannot be given.

    :raises UsageError: it is the worker's own, or its Python would not heed it.
    """
    if name in WORKERS_OWN:
        raise UsageError(
            f"{said_by} has {name}, which is the worker's own", hint="each worker gets its own directories"
        )
    if name.startswith("PYTHON"):
        raise UsageError(f"{said_by} has {name}, and the worker's Python heeds no variable PYTHON*")


def _names(value: Any, said_by: str) -> tuple[str, ...]:
    names = _texts(value, said_by)
    for name in names:
        if not _NAME.fullmatch(name):
            # Somebody may have written NAME=VALUE, and the value may be a secret.
            raise UsageError(f"{said_by} has {name.partition('=')[0]!r}, which is no variable's name alone")
        check_variable(name, said_by)
    return names


def _variables(value: Any, said_by: str) -> tuple[tuple[str, str], ...]:
    """Variables: a mapping, pairs, or texts such as ``NAME=VALUE``."""
    _refuse_one_text(value, said_by, "NAME=VALUE")
    given = value.items() if isinstance(value, Mapping) else value
    pairs = dict(_variable_of(one, said_by) for one in given)
    for name, text in pairs.items():
        if not _NAME.fullmatch(name):
            raise UsageError(f"{said_by} has {name!r}, which is no variable's name", hint="write NAME=VALUE")
        check_variable(name, said_by)
        if "\0" in text:
            raise UsageError(f"{said_by} has a value for {name} that no variable can hold")
    return tuple(pairs.items())


def _variable_of(one: Any, said_by: str) -> tuple[str, str]:
    if isinstance(one, tuple):
        name, text = one
        return str(name), str(text)
    name, given, text = str(one).partition("=")
    if not given:
        # It may be a value alone, and a secret.
        raise UsageError(f"{said_by} has something that is not NAME=VALUE")
    return name, text


def _mirrors(value: Any, said_by: str) -> tuple[tuple[str, str], ...]:
    """Channels and the URLs in their place: pairs, or texts such as ``conda-forge=https://…``."""
    # A channel's own URL may hold an equals sign; the mirror's begins behind the last one before its scheme.
    pairs = _pairs(
        value, said_by, "CHANNEL=URL", r"(.+?)=((?:https?|file)://.+)", hint="write conda-forge=https://…", secret=True
    )
    return tuple((name.rstrip("/"), _url(url, said_by)) for name, url in pairs)


def _virtual_packages(value: Any, said_by: str) -> tuple[tuple[str, str], ...]:
    """conda's virtual packages: pairs, or texts such as ``__glibc=2.17``."""
    hint = "write __glibc=2.17 or __cuda=11.2"
    return tuple(_pairs(value, said_by, "__NAME=VERSION", r"(__[a-z0-9_]+)=(\d[\w.]*)", hint=hint))


def _pairs(
    value: Any, said_by: str, form: str, pattern: str, *, hint: str, secret: bool = False
) -> list[tuple[str, str]]:
    """Pairs, or texts that a pattern takes apart.

    :param secret: what is wrong is not shown, since it may hold one.
    """
    _refuse_one_text(value, said_by, form)
    pairs = []
    for one in value:
        found = one if isinstance(one, tuple) else re.fullmatch(pattern, str(one))
        if found is None:
            shown = "something that" if secret else f"{one!r}, which"
            raise UsageError(f"{said_by} has {shown} is not {form}", hint=hint)
        name, text = found if isinstance(found, tuple) else found.groups()
        pairs.append((str(name), str(text)))
    return pairs


def _refuse_one_text(value: Any, said_by: str, form: str) -> None:
    if isinstance(value, str):
        raise UsageError(f"{said_by} is one text where a list of {form} is wanted", hint="put it into a list")


_CONVERSIONS: Mapping[str, Callable[[Any, str], Any]] = {
    **dict.fromkeys(_FLAGS, _flag),
    **dict.fromkeys(_SECONDS, _seconds),
    **dict.fromkeys(_DURATIONS, _duration),
    **dict.fromkeys(_COUNTS, _count),
    **dict.fromkeys(_SIZES, size_of),
    **dict.fromkeys(_LIMITS, _limit),
    **dict.fromkeys(_PATHS, _path),
    **dict.fromkeys(_LISTS, _texts),
    **dict.fromkeys(_PATH_LISTS, _path_list),
    "batch_wait": _wait,
    "port": _port,
    "root_path": _root_path,
    "token": _token,
    "pass_env": _names,
    "set_env": _variables,
    "conda_mirror": _mirrors,
    "virtual_package": _virtual_packages,
    "index_url": _index,
    "extra_index_url": _indexes,
    "index_token_command": _command,
    "find_links": _places,
}
