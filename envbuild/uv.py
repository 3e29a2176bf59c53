"""Running uv: one place for where it is, what it may see and what its words mean.

uv is a program of its own, installed with us and pinned exactly. It gets an environment made from scratch, and its
indexes by a settings file of mode 0600 that is removed afterwards: what sdists run while they are built inherits uv's
environment, so that neither credentials nor a home may be in it.
"""

from __future__ import annotations

import contextlib
import os
import re
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from envbuild import process, system_errors, web
from envbuild.errors import InternalError, UsageError
from envbuild.files import make_private, write_whole
from envbuild.indexes import Indexes
from envbuild.process import Completed
from envbuild.progress import Phase, Report, Step
from envbuild.redaction import redacted, secrets_of
from envbuild.settings import Settings

# What the network, the compiler and the system's certificates need; nothing that holds a credential by habit.
_PASSED = (
    "PATH",
    "LANG",
    "LC_ALL",
    "TMPDIR",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NO_PROXY",
    "no_proxy",
    "CC",
    "CXX",
    "CFLAGS",
    "CXXFLAGS",
    "LDFLAGS",
    "CPATH",
    "LIBRARY_PATH",
    "LD_LIBRARY_PATH",
    "PKG_CONFIG_PATH",
    "MAKEFLAGS",
)
_PROXIES = {"http-proxy": ("HTTP_PROXY", "http_proxy"), "https-proxy": ("HTTPS_PROXY", "https_proxy")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of uv: its arguments, the indexes it may ask, and where it runs."""

    arguments: Sequence[str]
    settings: Settings
    indexes: Indexes = Indexes()
    cwd: Path | None = None
    stdin: str = ""
    timeout: float | None = None
    offline: bool = False
    on_start: Callable[[process.Child], None] | None = None
    """Called with the process, so that another thread can end it before its time."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """Variables for what sdists run, beside those that everything gets."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Further settings of uv's own, as its settings file has them."""
    needed: int | None = None
    """How many bytes will be written at least, where that is known: for when the disk is full."""


@lru_cache(maxsize=1)
def binary() -> str:
    """The uv that belongs to this envbuild.

    :raises InternalError: the installation is broken.
    """
    scripts = Path(sysconfig.get_path("scripts")) / "uv"
    if scripts.exists():
        return str(scripts)
    from uv import find_uv_bin

    try:
        return str(find_uv_bin())
    except FileNotFoundError as error:
        raise InternalError("uv is not installed beside envbuild", hint="install envbuild again with pip") from error


def run(call: Call, report: Report) -> Completed:
    """Run uv to its end; its words are redacted before anybody sees them.

    :raises process.TimedOutWaiting: after ``call.timeout`` seconds.
    :raises StoreError: the disk is full, or uv may not write there.
    """
    make_private(call.settings.home)
    indexes = call.indexes.logged_in()
    secrets = secrets_of(indexes.urls())
    with _private_files(indexes, call.settings.home, call.config) as private:
        done = process.run(
            [
                binary(),
                *call.arguments,
                "--config-file",
                str(private / "uv.toml"),
                "--cache-dir",
                str(call.settings.home / "uv"),
                "--no-python-downloads",
                *(["--offline"] if call.offline or call.settings.offline else []),
                *(["--preview-features", "index-exclude-newer"] if indexes.last else []),
            ],
            env={
                **bare_environ(private / "home"),
                **_certificates(indexes, private),
                "UV_NO_PROGRESS": "1",
                **call.environ,
            },
            cwd=call.cwd,
            stdin=call.stdin.encode(),
            timeout=call.timeout,
            on_line=lambda line: _report_line(redacted(line, secrets), report),
            on_start=call.on_start,
        )
    done = Completed(
        argv=done.argv,
        returncode=done.returncode,
        stdout=redacted(done.stdout, secrets),
        stderr=redacted(done.stderr, secrets),
        seconds=done.seconds,
    )
    if done.returncode != 0:
        system_errors.check_words(done.stderr, call.settings.home, call.needed)
    return done


def _certificates(indexes: Indexes, private: Path) -> dict[str, str]:
    """What uv is to believe and to show, by files."""
    found = {}
    if indexes.ca is not None:
        path = private / "authorities.pem"
        path.write_text(_believed(indexes.ca) or "", encoding="utf-8")
        found["SSL_CERT_FILE"] = str(path)
    if indexes.client_cert is not None:
        found["SSL_CLIENT_CERT"] = indexes.client_cert
    return found


@contextlib.contextmanager
def _private_files(indexes: Indexes, home: Path, config: Mapping[str, Any]) -> Iterator[Path]:
    """A directory of mode 0700 with uv's settings file and an empty home."""
    with tempfile.TemporaryDirectory(prefix="envbuild-uv-") as name:
        private = Path(name)
        (private / "home").mkdir()
        settings = private / "uv.toml"
        descriptor = os.open(settings, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(_settings_text(indexes, home, config))
        yield private


def _settings_text(indexes: Indexes, home: Path, config: Mapping[str, Any]) -> str:
    import tomli_w

    content: dict[str, object] = {**config}
    if not indexes.alone and (indexes.main or indexes.extra or indexes.last):
        chain = indexes.chain("" if indexes.main else default_index(home))
        asked: list[dict[str, object]] = [{"url": url} for url in chain]
        # Their files have no dates, and were named by whoever knew that.
        asked += [{"url": folder, "exclude-newer": False} for folder in indexes.last]
        # Not asked for packages; but what its pages name lies behind the same login.
        asked[:0] = [
            {"name": f"place-{number}", "url": url, "explicit": True}
            for number, url in enumerate(indexes.after_all())
            if "@" in urlsplit(url).netloc
        ]
        # What uv calls the default index is the one that it asks last: no more is meant.
        asked[-1]["default"] = True
        content["index"] = asked
    if links := indexes.beside_all():
        content["find-links"] = list(links)
    if indexes.alone:
        content["no-index"] = True
    if indexes.strategy == "best-match":
        content["index-strategy"] = "unsafe-best-match"
    for key, names in _PROXIES.items():
        if value := next((os.environ[name] for name in names if os.environ.get(name)), None):
            content[key] = value
    return tomli_w.dumps(content)


def network(ca: str | None = None) -> tuple[dict[str, str], str | None]:
    """What a container needs of this machine's network: the variables that name proxies, and the authorities (PEM).

    :param ca: a file of authorities beside the system's.
    """
    names = [name for pair in _PROXIES.values() for name in pair] + ["NO_PROXY", "no_proxy"]
    return {name: os.environ[name] for name in names if name in os.environ}, _believed(ca)


def _believed(ca: str | None) -> str | None:
    """The authorities that are named (PEM), in one text, since to uv a file stands in place of all others."""
    known = None
    if path := os.environ.get("SSL_CERT_FILE"):
        with contextlib.suppress(OSError):
            known = Path(path).read_text(encoding="utf-8", errors="replace")
    if ca is None:
        return known
    return f"{(known or web.system_authorities()).rstrip()}\n{Path(ca).read_text(encoding='utf-8')}"


def bare_environ(home: Path) -> Mapping[str, str]:
    """The environment of what installs packages, and so of what sdists run: nothing of the user's own.

    :param home: an empty directory.
    """
    passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
    # Old sdists read their own files in the locale's encoding.
    # What sdists import while they are built gets its byte code from us.
    ours = {"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    return {"LC_ALL": "C.UTF-8", **passed, **ours}


_WORK = re.compile(r"^\s*(Downloading|Downloaded|Building|Built) (\S+)(?: \(([\d.]+)\s*(B|KiB|MiB|GiB)\))?")
_SUMMARY = re.compile(r"^(Resolved|Installed) (\d+) packages?")
_PHASES: Mapping[str, Phase] = {
    "Downloading": "downloading",
    "Downloaded": "downloading",
    "Building": "building",
    "Built": "building",
    "Resolved": "resolving",
    "Installed": "installing",
}
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def _report_line(line: str, report: Report) -> None:
    """A line of uv's as a step of ours; lines that say no step are left out."""
    if (work := _WORK.match(line)) is not None:
        verb, what, size, unit = work.groups()
        count = None if size is None else int(float(size) * _UNITS[unit])
        report(Step(_PHASES[verb], what, done=verb in ("Downloaded", "Built"), bytes=count))
    elif (summary := _SUMMARY.match(line)) is not None:
        verb, number = summary.groups()
        report(Step(_PHASES[verb], f"{number} packages", done=True, count=int(number)))


@lru_cache(maxsize=1)
def default_index(home: Path) -> str:
    """The URL of the index that uv asks when none is given: uv's own word for it, asked once for each of its releases."""
    from importlib.metadata import version  # 12 ms, and most calls name no index

    make_private(home)
    kept = home / f"default-index-{version('uv')}"
    with contextlib.suppress(OSError):
        if text := kept.read_text(encoding="utf-8").strip():
            return text
    arguments = ["pip", "compile", "-", "--emit-index-url", "--no-header", "--offline", "--no-config"]
    done = process.run(
        [binary(), *arguments, "--no-python-downloads", "--cache-dir", str(home / "uv")],
        env={"PATH": os.environ.get("PATH", ""), "HOME": str(home)},
    )
    match = re.search(r"^--index-url (\S+)$", done.stdout, re.MULTILINE)
    if match is None:
        system_errors.check_words(done.stderr, home)
        raise InternalError("uv does not say its default index", details=done.stderr.splitlines()[-5:])
    # A store that cannot be written is said by whoever must write there.
    with contextlib.suppress(UsageError):
        write_whole(kept, match.group(1).encode())
    return match.group(1)


def clean_cache(home: Path, packages: Sequence[str], report: Report) -> None:
    """Take packages out of uv's cache; all of it where none is named.

    :raises InternalError: uv cannot.
    """
    report(Step("removing", f"{len(packages) or 'all'} packages from the download cache"))
    arguments = ["cache", "clean", *packages, "--no-config", "--cache-dir", str(home / "uv")]
    done = process.run([binary(), *arguments], env={"PATH": os.environ.get("PATH", ""), "HOME": str(home)})
    if done.returncode != 0:
        system_errors.check_words(done.stderr, home)
        raise InternalError("uv cannot clean its cache", details=done.stderr.splitlines()[-5:])


def managed_python(version: str, settings: Settings, report: Report) -> Path | None:
    """A Python that uv fetches and keeps in our store; ``None`` where it has none or cannot reach it."""
    report(Step("downloading", f"Python {version}"))
    place = settings.home / "python"
    environ = {**_environ_for_python(), "UV_PYTHON_INSTALL_DIR": str(place), "UV_NO_PROGRESS": "1"}
    options = ["--no-config", "--cache-dir", str(settings.home / "uv")]
    try:
        done = process.run([binary(), "python", "install", "--no-bin", version, *options], env=environ, timeout=600.0)
        if done.returncode != 0:
            return None
        found = process.run(
            [binary(), "python", "find", "--managed-python", version, *options], env=environ, timeout=60.0
        )
    except process.TimedOutWaiting:
        return None
    return Path(found.stdout.strip()) if found.returncode == 0 and found.stdout.strip() else None


def _environ_for_python() -> dict[str, str]:
    names = (*_PASSED, "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "HOME")
    return {name: os.environ[name] for name in names if name in os.environ}
