"""Programs: the ones that single models need: compilers, git, Java, and a GPU's driver."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from envbuild import accelerator, process
from envbuild.bridge.environ import PrivateDirectories, worker_environ
from envbuild.doctor.finding import Finding, State
from envbuild.settings import Settings

ANSWER_SECONDS = 5.0
_FINE: State = "fine"
_MISSING: State = "missing"
_WRONG: State = "wrong"
_PLAIN = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


def said_by(program: str, *arguments: str, environ: Mapping[str, str] = _PLAIN) -> str | None:
    """The first line that a program says, on either stream; ``None`` where it fails, says nothing or does not end."""
    try:
        done = process.run([program, *arguments], env=environ, timeout=ANSWER_SECONDS)
    except (process.NotStarted, process.TimedOutWaiting):
        return None
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    return lines[0] if lines and done.returncode == 0 else None


def compiler(settings: Settings) -> Iterator[Finding]:
    """Compilers for C and C++, as the Pythons call them."""
    del settings
    found = {language: _first("cc gcc clang" if language == "C" else "c++ g++ clang++") for language in ("C", "C++")}
    lacking = [language for language, said in found.items() if said is None]
    yield Finding(
        name="compiler",
        state="missing" if lacking else "fine",
        found=f"there is none for {' and '.join(lacking)}" if lacking else str(found["C"]),
        without="packages that have no wheel for a model's Python cannot be built; everything with wheels works",
        hint="install one (on Debian and Ubuntu: apt-get install build-essential)" if lacking else None,
    )


def _first(names: str) -> str | None:
    for name in names.split():
        if (path := shutil.which(name)) is not None and (said := said_by(path, "--version")) is not None:
            return said
    return None


def git(settings: Settings) -> Iterator[Finding]:
    """Git, which fetches requirements that are repositories."""
    del settings
    path = shutil.which("git")
    said = None if path is None else said_by(path, "--version")
    yield Finding(
        name="git",
        state="missing" if path is None else "wrong" if said is None else "fine",
        found="it is not on PATH" if path is None else said or f"{path} does not run",
        without="requirements that name a repository (git+https://…) cannot be locked or built; all others work",
        hint=None if said else "install it (on Debian and Ubuntu: apt-get install git)",
    )


def java(settings: Settings) -> Iterator[Finding]:
    """Java as a worker sees it: by ``JAVA_HOME``, else among the system's programs."""
    del settings
    private = PrivateDirectories()
    try:
        environ = worker_environ(Path("/nowhere/bin/python"), private)
        home = environ.get("JAVA_HOME")
        path = shutil.which(str(Path(home) / "bin" / "java") if home else "java", path=environ["PATH"])
        said = None if path is None else said_by(path, "-version", environ=environ)
    finally:
        private.remove()
    where = f"there is no bin/java below JAVA_HOME ({home})" if home else f"it is not in {environ['PATH']}"
    yield Finding(
        name="Java",
        state="missing" if path is None else "wrong" if said is None else "fine",
        found=where.replace("/nowhere/bin:", "") if path is None else said or f"{path} does not run",
        without="models of Spark cannot be loaded; all others work",
        hint=None if said else "install a Java runtime that the models' Spark knows (8, 11 or 17), or set JAVA_HOME",
    )


def gpu(settings: Settings) -> Iterator[Finding]:
    """A GPU: its driver, as the choice of builds goes by it, and what NVIDIA's own program says."""
    del settings
    # Where it lies under Windows' own Linux is on no PATH by default.
    path = shutil.which("nvidia-smi") or shutil.which("nvidia-smi", path="/usr/lib/wsl/lib")
    said = None if path is None else said_by(path, "--query-gpu=name,driver_version", "--format=csv,noheader")
    name, _, version = (said or "").rpartition(", ")
    if said is not None:
        state, found = _FINE, f"{name}, driver {version}"
    elif path is not None:
        state, found = _WRONG, f"{path} does not answer"
    elif accelerator.has_gpu():
        state, found = _FINE, "there is a driver, and no nvidia-smi to say of which GPU"
    else:
        state, found = _MISSING, "there is no GPU with a driver"
    yield Finding(
        name="GPU",
        state=state,
        found=found,
        without="torch and tensorflow compute on the processor, and --accelerator auto takes builds for that; models work",
        hint="reinstall the driver; a container needs to be started with the GPU (--gpus all)"
        if state == _WRONG
        else None,
    )
