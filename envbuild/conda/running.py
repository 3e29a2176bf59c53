"""Asking py-rattler, which runs in a short-lived process (:mod:`envbuild.conda.session`).

Nothing of the user's conda settings reaches it. Credentials do with the question, over a pipe; the URLs that it works with
hold none, so that none is written into a prefix or a cache.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from envbuild import process, system_errors
from envbuild.conda.channels import Channel, logins, mirrored, secrets, urls_of
from envbuild.conda.explanation import explanation
from envbuild.conda.package import CondaPackage, from_answer
from envbuild.conda.session import session
from envbuild.conversation import Died
from envbuild.errors import (
    BuildError,
    BuildTimedOut,
    DownloadFailed,
    HashMismatch,
    IndexUnreachable,
    LockError,
    LockTimedOut,
    SpecError,
    Unresolvable,
    UsageError,
)
from envbuild.files import make_private, write_whole
from envbuild.progress import Phase, Report, Step
from envbuild.redaction import redacted, without_credentials
from envbuild.settings import LinkMode, Settings

# It may die of what it leaves behind when it has answered, and of a damaged file before: once more tells which it was.
_TRIES = 2
_MOST_LINES = 40
# Which of the ways to share a file py-rattler may try.
_LINKS: Mapping[LinkMode, list[str]] = {"clone": ["ref"], "hardlink": ["hard"], "copy": []}
_OF_FETCHING = (
    "http status",
    "error sending",
    "request failed",
    "timed out",
    "connection",
    "error decoding",
    "offline",
)
_PHASES: Mapping[str, Phase] = {"reading": "resolving", "downloading": "downloading", "installing": "installing"}
MAP_HINT = "--conda-packages map takes the same packages from the index, without any channel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What is solved for: a subdir, and the virtual packages of the machine (name, version, build)."""

    subdir: str
    virtual_packages: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Solve:
    """A question to the solver."""

    specs: tuple[str, ...]
    """conda's match specs."""
    channels: tuple[Channel, ...]
    """The first in priority first."""
    machine: Machine
    exclude_newer: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rattler:
    """py-rattler with the caches of a store."""

    settings: Settings
    channels: tuple[str, ...] = field(default=(), repr=False)
    """Those that credentials are known of."""

    @property
    def cache(self) -> Path:
        """Where packages and what channels say are kept."""
        return self.settings.home / "conda"

    def solve(self, asked: Solve, report: Report) -> tuple[CondaPackage, ...]:
        """The packages that specs come to.

        :raises Unresolvable: there is no set of packages that meets them.
        :raises IndexUnreachable: a channel does not answer, or refuses us.
        :raises LockTimedOut: it took longer than the settings allow.
        """
        request = {
            "action": "solve",
            "specs": list(asked.specs),
            "channels": [[one.name, [without_credentials(url) for url in one.urls]] for one in asked.channels],
            "subdir": asked.machine.subdir,
            "virtual_packages": [list(one) for one in asked.machine.virtual_packages],
            "exclude_newer": None if asked.exclude_newer is None else asked.exclude_newer.isoformat(),
        }
        answer = self._asked_to_lock(request, report)
        if "error" in answer:
            raise self._unsolved(answer, asked)
        try:
            return tuple(sorted(map(from_answer, answer["records"]), key=lambda one: one.name))
        except ValueError as error:
            raise LockError(f"{error}: what it is could not be checked", hint=MAP_HINT) from None

    def _unsolved(self, answer: Mapping[str, Any], asked: Solve) -> LockError:
        kind, words = str(answer["error"]), self._redacted(str(answer["message"]))
        if kind == "InvalidMatchSpec":
            spec = self._redacted(asked.specs[answer["number"]])
            return SpecError(f"{spec!r} is no conda package spec: {_in_one_line(words)}")
        if kind == "WrongSubdir":
            spec = self._redacted(asked.specs[answer["number"]])
            return Unresolvable(
                f"{spec!r} names a subdir, and what else is asked for chooses the package of {words}",
                hint=f"leave the subdir away; {MAP_HINT}",
            )
        if kind != "SolverError":
            return self._unreached(answer, "a conda channel does not answer as it should", urls_of(asked.channels))
        virtual = {name: version for name, version, _ in asked.machine.virtual_packages}
        why = explanation(words, [self._redacted(spec) for spec in asked.specs], virtual)
        hints = [MAP_HINT]
        if why.is_of_date:
            hints.insert(0, "--as-of sets another date")
        if why.is_of_machine:
            hints.insert(0, "--virtual-package __NAME=VERSION says what another machine has")
        return Unresolvable(
            f"no set of conda packages meets all specs: {why.heart}",
            hint="; ".join(hints),
            details=why.lines[:_MOST_LINES],
        )

    def _unreached(self, answer: Mapping[str, Any], what: str, channels: Sequence[str] = ()) -> IndexUnreachable:
        words = _in_one_line(self._redacted(str(answer["message"])))
        if self.settings.offline:
            return IndexUnreachable(
                f"{what}: {words}, and nothing is fetched offline", hint="run once without --offline"
            )
        where = [f"channel: {without_credentials(url)}" for url in channels]
        return IndexUnreachable(f"{what}: {words}", hint=f"{_hint_for(words)}; {MAP_HINT}", details=where)

    def _asked_to_lock(self, request: Mapping[str, Any], report: Report) -> dict[str, Any]:
        try:
            return self._asked(request, self.settings.lock_timeout, report)
        except process.TimedOutWaiting:
            raise LockTimedOut(
                f"solving conda packages took longer than {self.settings.lock_timeout:g} seconds",
                hint="is the channel reachable? ENVBUILD_LOCK_TIMEOUT sets another limit",
            ) from None

    def provided(self, packages: Sequence[CondaPackage], report: Report) -> dict[str, tuple[str, ...]]:
        """The metadata folders (``numpy-1.17.4.dist-info``) in ``site-packages``, by each package's sha256.

        What was read once is kept: a file of one sha256 brings the same for ever.

        :raises IndexUnreachable: one cannot be read.
        :raises LockTimedOut: it took longer than the settings allow.
        """
        known = {one.sha256: self._kept(one.sha256) for one in packages}
        unread = [one for one in packages if known[one.sha256] is None]
        if unread:
            answer = self._asked_to_lock({"action": "provided", "urls": [one.url for one in unread]}, report)
            if "error" in answer:
                raise self._unreached(answer, "a conda package cannot be read")
            for one in unread:
                known[one.sha256] = self._keep(one.sha256, answer["provided"][one.url])
        return {sha256: found or () for sha256, found in known.items()}

    def _kept(self, sha256: str) -> tuple[str, ...] | None:
        with contextlib.suppress(OSError, ValueError, TypeError):
            return tuple(map(str, json.loads((self.cache / "provides" / f"{sha256}.json").read_bytes())))
        return None

    def _keep(self, sha256: str, folders: Sequence[str]) -> tuple[str, ...]:
        folder = self.cache / "provides"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / f"{sha256}.json", json.dumps(list(folders)).encode())
        except OSError as error:
            raise system_errors.explanation(error, self.settings.home) from error
        return tuple(folders)

    def install(
        self,
        packages: Sequence[CondaPackage],
        prefix: Path,
        subdir: str,
        report: Report,
        *,
        link_mode: LinkMode = "copy",
        known_as: Path | None = None,
        validate: bool = True,
        link_scripts: bool = False,
    ) -> None:
        """Make a prefix with exactly these packages.

        :param prefix: an empty directory, or none yet.
        :param link_mode: how files are shared with the cache; never ``auto``.
        :param known_as: where it will lie when it is used, which is what its files then say; ``None``: where it is made.
        :param link_scripts: run the scripts of theirs that are there for this.
        :param validate: read all that is taken from the cache to see that it is whole: whoever writes into a prefix of hard
            links writes into the cache.
        :raises HashMismatch: a package is not what was locked.
        :raises DownloadFailed: one cannot be had.
        :raises StoreError: the disk is full, or may not be written.
        :raises BuildTimedOut: it took longer than the settings allow.
        :raises BuildError: it cannot be installed.
        """
        mirrors = dict(self.settings.conda_mirror)
        request = {
            "action": "install",
            "records": [{**one.to_request(), "url": mirrored(one.url, mirrors)} for one in packages],
            "prefix": str(prefix),
            "prefix_written": None if known_as is None else str(known_as),
            "subdir": subdir,
            "links": _LINKS[link_mode],
            "validate": validate,
            "link_scripts": link_scripts,
        }
        try:
            answer = self._asked(request, self.settings.build_timeout, report)
        except process.TimedOutWaiting:
            raise BuildTimedOut(
                f"installing conda packages took longer than {self.settings.build_timeout:g} seconds",
                hint="ENVBUILD_BUILD_TIMEOUT sets another limit",
            ) from None
        if "error" in answer:
            raise self._not_installed(answer)

    def _not_installed(self, answer: Mapping[str, Any]) -> BuildError:
        kind, words = str(answer["error"]), _in_one_line(self._redacted(str(answer["message"])))
        if (trouble := system_errors.in_words(words, self.settings.home)) is not None:
            return system_errors.explanation(trouble, self.settings.home)
        if kind == "NotCached":
            return DownloadFailed(
                f"conda packages are not in the cache, and nothing is fetched offline: {words}",
                hint="build once without --offline",
            )
        if kind == "FileNotFoundError" or any(word in words.lower() for word in _OF_FETCHING):
            return DownloadFailed(f"a conda package cannot be fetched: {words}", hint=_hint_for(words))
        # Whatever else keeps it from being unpacked, its content does; that is looked at as it comes in.
        if kind == "HashMismatch" or "failed to fetch" in words:
            return HashMismatch(
                f"a conda package is not the one that is locked: {words}",
                hint="the channel, or what is between it and here, serves another file than it did; do not install it",
            )
        hint = "set ENVBUILD_HOME to a directory of a shorter path" if "cannot be longer" in words else None
        return BuildError(f"the conda packages cannot be installed: {words}", hint=hint)

    def _redacted(self, words: str) -> str:
        return redacted(words, secrets(self._known))

    @property
    def _known(self) -> tuple[str, ...]:
        """The URLs that may have credentials; a lock's have none, and the deployer's mirrors may be where it is from."""
        return (*self.channels, *(url for _, url in self.settings.conda_mirror))

    def _asked(self, request: Mapping[str, Any], timeout: float, report: Report) -> dict[str, Any]:
        if find_spec("rattler") is None:
            raise UsageError(
                "py-rattler is not installed, and conda packages are installed by it",
                hint=f"pip install 'envbuild[conda]'; {MAP_HINT}",
            )
        make_private(self.settings.home)
        known = {"cache": str(self.cache), "offline": self.settings.offline, "logins": logins(self._known)}
        died = ""
        for number in range(_TRIES):
            if number > 0 and "prefix" in request:
                # What the first try has left behind is not known.
                shutil.rmtree(request["prefix"], ignore_errors=True)
            try:
                with session() as conversation:
                    return conversation.ask({**request, **known}, lambda step: _tell(step, report), timeout)
            except Died as error:
                died = f"py-rattler ended with {error.returncode}{error}"
        return {"error": "Died", "message": died}


def _in_one_line(words: str) -> str:
    """What it says, and what that was caused by, each once."""
    parts = [part.strip().rstrip(".") for part in words.split("Caused by:")]
    return ": ".join(dict.fromkeys(" ".join(part.split()) for part in parts if part))


def _hint_for(words: str) -> str:
    if re.search(r"\((401|403|404) ", words):
        return (
            "a channel's URL may hold a login, in conda.yaml or in ENVBUILD_CONDA_MIRROR: "
            "https://USER:PASSWORD@host/channel, https://host/t/TOKEN/channel"
        )
    if "certificate" in words:
        return "SSL_CERT_FILE names the certificates that are trusted, such as that of your own authority"
    if "repodata" in words and not any(word in words.lower() for word in _OF_FETCHING):
        return "the channel is damaged, or the URL is not that of a channel"
    return "is there a network, and is the channel's URL right?"


def _tell(step: Mapping[str, Any], report: Report) -> None:
    report(Step(_PHASES[step["phase"]], str(step["what"]), done=bool(step.get("done")), bytes=step.get("bytes")))
