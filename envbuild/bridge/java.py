"""Java: the runtime that a flavor's library runs on, found on the host before its worker is started.

A library that finds none, or one that it does not know, fails in the middle of loading with a trace of its own; here it
is said before, with what to install.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from envbuild import process
from envbuild.bridge.environ import SYSTEM_PATH, passed
from envbuild.bridge.options import WorkerOptions
from envbuild.errors import SystemPackageMissing

PACKAGE: Final = "default-jre-headless"
_HOMES: Final = Path("/usr/lib/jvm")
_ANSWER_SECONDS: Final = 20.0
_NEWEST: Final = 999


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """Which Java a library runs on, by major versions."""

    library: str
    """The library with its version, as messages name it."""
    oldest: int = 0
    newest: int = _NEWEST
    documented: tuple[int, ...] = ()
    """Those that the library's documentation names; others within the bounds are known to work."""

    def fits(self, major: int) -> bool:
        """Whether the library runs on it."""
        return self.oldest <= major <= self.newest

    def __str__(self) -> str:
        return f"{self.library} runs on Java {' or '.join(map(str, self.documented))}" if self.documented else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Java:
    """A Java that runs."""

    home: Path
    """What ``JAVA_HOME`` is to be."""
    major: int
    named: str
    """Where it was found, as messages name it."""


def found(need: Need, options: WorkerOptions) -> Java:
    """The Java that a model's worker gets.

    One that ``--set-env`` or ``--pass-env`` names is taken as it is. Else the first of ``JAVA_HOME``, ``PATH`` and the
    system's own that the library knows, those before that its documentation names.

    :raises SystemPackageMissing: there is none that will do.
    """
    known = passed(("PATH",))
    ordered = options.set_env.get("JAVA_HOME")
    if ordered is None and "JAVA_HOME" in options.pass_env:
        ordered = known.get("JAVA_HOME")
    if ordered is not None:
        return _ordered(ordered, need)
    seen = []
    for java in _seen(known, options.set_env.get("PATH", "")):
        if java.major in need.documented or not need.documented:
            return java
        seen.append(java)
    fitting = next((java for java in seen if need.fits(java.major)), None)
    if fitting is None:
        raise _unfit(need, seen, known)
    return fitting


def _ordered(home: str, need: Need) -> Java:
    java = _asked(Path(home) / "bin" / "java", "JAVA_HOME")
    if java is None:
        raise SystemPackageMissing(
            f"{need.library} needs a Java, and there is none that runs in the JAVA_HOME given, {home}",
            hint="give the directory that holds bin/java, or leave it out",
        )
    return java


def _seen(known: Mapping[str, str], path: str) -> Iterator[Java]:
    """All that run, each once, in the order of preference."""
    places: list[tuple[Path, str]] = []
    if home := known.get("JAVA_HOME"):
        places.append((Path(home) / "bin" / "java", "JAVA_HOME"))
    searched = os.pathsep.join(filter(None, (path, known.get("PATH"), *SYSTEM_PATH)))
    if (program := shutil.which("java", path=searched)) is not None:
        places.append((Path(program), "PATH"))
    places += [(below, str(below.parent.parent)) for below in sorted(_HOMES.glob("*/bin/java"))]
    asked: set[Path] = set()
    for program_path, named in places:
        real = program_path.resolve()
        if real not in asked and (java := _asked(program_path, named)) is not None:
            yield java
        asked.add(real)


def _asked(program: Path, named: str) -> Java | None:
    """What a ``java`` says of itself: of one that is a script, its path does not say where its home is."""
    environ = {"PATH": os.pathsep.join(SYSTEM_PATH), "LC_ALL": "C.UTF-8"}
    try:
        argv = [str(program), "-XX:-UsePerfData", "-XshowSettings:properties", "-version"]
        done = process.run(argv, env=environ, timeout=_ANSWER_SECONDS)
    except (process.NotStarted, process.TimedOutWaiting):
        return None
    said = done.stdout + done.stderr
    home = re.search(r"^\s*java\.home = (.+?)\s*$", said, re.MULTILINE)
    # Up to Java 8 it is 1.8.
    version = re.search(r"^\s*java\.specification\.version = (?:1\.)?(\d+)", said, re.MULTILINE)
    if done.returncode != 0 or home is None or version is None:
        return None
    return Java(home=Path(home[1]), major=int(version[1]), named=named)


def _unfit(need: Need, seen: list[Java], known: Mapping[str, str]) -> SystemPackageMissing:
    if not seen:
        where = (
            f"neither in JAVA_HOME ({known['JAVA_HOME']}) nor" if known.get("JAVA_HOME") else "neither by JAVA_HOME nor"
        )
        message = f"{need.library} needs a Java, and none that runs is here: {where} on PATH nor in {_HOMES}"
    else:
        here = ", ".join(f"{java.major} ({java.named})" for java in seen)
        message = f"{need}, and what is here is Java {here}"
    majors = need.documented
    which = f"one of those ({_packages(majors)}" if majors else f"a Java runtime ({PACKAGE}"
    return SystemPackageMissing(
        message,
        hint=f"install {which} on Debian and Ubuntu), or say where one is with JAVA_HOME; "
        "--set-env JAVA_HOME=DIR takes any, as it is",
    )


def _packages(majors: tuple[int, ...]) -> str:
    return (
        f"openjdk-{majors[-1]}-jre-headless"
        if len(majors) == 1
        else ", ".join(f"openjdk-{major}-jre-headless" for major in majors[-2:])
    )
