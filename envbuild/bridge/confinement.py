"""Confinement: a worker without a network, or that cannot write the model and its environment.

The kernel's namespaces do it, or bubblewrap where this user may not have any of its own. The launcher does the work, in
the process that then becomes the worker.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from envbuild import process
from envbuild.bridge.frames import PROTOCOL
from envbuild.bridge.memory import MemoryLimit, system_kills
from envbuild.errors import ConfinementUnavailable

Means = Literal["namespaces", "bubblewrap"]
MEANS: Final[tuple[Means, ...]] = ("namespaces", "bubblewrap")
LAUNCHER: Final = Path(__file__).resolve().parent / "launcher.py"
PARENT: Final = "@parent"
"""As the launcher has it, which the host does not import for the sake of what that imports."""
_TRIAL_SECONDS: Final = 20.0
_ROOT: Final = Path("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Confinement:
    """What is kept from a worker."""

    network: bool = True
    """``False``: it reaches nothing but itself."""
    read_only: tuple[Path, ...] = ()
    """What it cannot write, with everything below."""
    writable: tuple[Path, ...] = ()
    """What it can write all the same."""

    @property
    def is_any(self) -> bool:
        """Whether anything is."""
        return not self.network or bool(self.read_only)


class _Found:
    """What has worked in this process so far; what fails is tried again each time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.means: dict[tuple[bool, bool], Means] = {}


_FOUND: Final = _Found()


def protecting(model: Path, python: Path, store: Path | None) -> tuple[Path, ...]:
    """What a worker may not write: the model, the environment, the Python that that was built from, and the store.

    :param python: the environment's interpreter.
    :param store: where the environment's files are shared with others.
    """
    prefix, base = python.parent.parent, python.resolve().parent.parent
    given = (model, prefix, base, *([] if store is None else [store]))
    paths = dict.fromkeys(path.resolve() for path in given if path.exists())
    # What lies in another one is protected with it; a system whose programs lie in /bin cannot be.
    return tuple(
        path
        for path in paths
        if path != _ROOT and not any(path.is_relative_to(other) for other in paths if other != path)
    )


def means_of(confinement: Confinement) -> Means:
    """How this machine can confine a process so, found out by doing it once.

    :raises ConfinementUnavailable: it cannot; the details say why not.
    """
    key = (confinement.network, bool(confinement.read_only))
    with _FOUND.lock:
        if key not in _FOUND.means:
            _FOUND.means[key] = _tried(confinement)
        return _FOUND.means[key]


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How a worker is started, and what is kept from it."""

    argv: tuple[str, ...]
    confinement: Confinement
    means: Means | None
    """What confines it; ``None`` where nothing does."""
    limit: MemoryLimit | None
    kills_before: int
    """How many processes the system had killed for memory by then."""

    @property
    def restraints(self) -> tuple[str, ...]:
        """What is kept from the worker, in words."""
        said = []
        if self.limit is not None and self.limit.means == "cgroup":
            said.append(f"memory: {self.limit.size} bytes for all its processes, by a control group")
        elif self.limit is not None:
            said.append(
                f"memory: {self.limit.size} bytes for each process, by RLIMIT_DATA (no control group can be had)"
            )
        if not self.confinement.network:
            said.append(f"network: none, by {self.means}")
        if self.confinement.read_only:
            said.append(f"read-only: {', '.join(map(str, self.confinement.read_only))}, by {self.means}")
        return tuple(said)


def launched(confinement: Confinement, limit: MemoryLimit | None, argv: Sequence[str]) -> Launch:
    """How ``argv`` is started, confined and limited; the words :data:`PARENT` in it become the pid of its parent.

    :raises ConfinementUnavailable: this machine cannot do it.
    """
    means = means_of(confinement) if confinement.is_any else None
    if means is None and limit is None:
        command = [str(os.getpid()) if word == PARENT else word for word in argv]
    else:
        command = _command(confinement, means, {} if limit is None else limit.plan(), argv)
    return Launch(argv=tuple(command), confinement=confinement, means=means, limit=limit, kills_before=system_kills())


def _command(confinement: Confinement, means: Means | None, limit: dict[str, Any], argv: Sequence[str]) -> list[str]:
    plan = {
        "host": os.getpid(),
        "protocol": PROTOCOL,
        "cgroup": None,
        "data": None,
        "network": confinement.network,
        "read_only": [str(path) for path in confinement.read_only],
        "writable": [str(path) for path in confinement.writable],
        "bubblewrap": shutil.which("bwrap") if means == "bubblewrap" else None,
        **limit,
    }
    return [sys.executable, "-I", "-S", str(LAUNCHER), json.dumps(plan), *argv]


def _tried(confinement: Confinement) -> Means:
    reasons = []
    for means in MEANS:
        reason = _reason_against(confinement, means)
        if reason is None:
            return means
        reasons.append(f"{means}: {reason}")
    wanted = " or ".join(
        word for word, asked in (("no network", not confinement.network), ("read-only", confinement.read_only)) if asked
    )
    raise ConfinementUnavailable(
        f"this machine cannot confine a worker as {wanted} asks for: {'; '.join(reasons)}",
        hint="allow this user namespaces of its own, or install bubblewrap; envbuild doctor says what works",
    )


def _reason_against(confinement: Confinement, means: Means) -> str | None:
    """Why a machine cannot confine in one way; ``None`` where it can."""
    if means == "bubblewrap" and shutil.which("bwrap") is None:
        return "it is not installed"
    argv = _command(confinement, means, {}, [sys.executable, "-I", "-S", "-c", ""])
    try:
        done = process.run(argv, env={"LC_ALL": "C.UTF-8"}, timeout=_TRIAL_SECONDS)
    except process.TimedOutWaiting:
        return f"it did not answer within {_TRIAL_SECONDS:g} seconds"
    except process.NotStarted as error:
        return str(error)
    if done.returncode == 0:
        return None
    return _said(done) or f"it ended with status {done.returncode}"


def _said(done: process.Completed) -> str:
    _, _, body = done.stdout.partition("\n")
    if body:
        return str(json.loads(body)["message"]).removeprefix("the worker cannot be confined: ")
    return (done.stderr.strip().splitlines() or [""])[-1]
