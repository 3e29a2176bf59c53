"""Logins: the credentials of an index, found at the time of use and part of nothing that is kept.

In this order: what its URL says; the variables of its name; the deployer's token command; the keyring; netrc. Variables,
command and keyring are for indexes that the deployer names, never for one that a model does.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import unquote, urlsplit

from envbuild import process
from envbuild.errors import IndexUnreachable, UsageError
from envbuild.redaction import with_userinfo, without_userinfo
from envbuild.settings import Settings, index_login

if TYPE_CHECKING:
    import netrc

TOKEN_USER = "__token__"  # noqa: S105 - the user's name that goes with a token, and no secret
_COMMAND_SECONDS = 60.0
Login: TypeAlias = "tuple[str, str]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Logins:
    """Where credentials are looked for; none of them is in it."""

    own: tuple[str, ...] = ()
    """The URLs that the deployer names, without credentials."""
    names: tuple[tuple[str, str], ...] = ()
    """Those of them that have a name, each with it."""
    keyring: bool = False
    token_command: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, settings: Settings, urls: Mapping[str, str | None]) -> Logins:
        """:param urls: what the deployer names, each with its name or ``None``."""
        return cls(
            own=tuple(without_userinfo(url) for url in urls),
            names=tuple((without_userinfo(url), name) for url, name in urls.items() if name is not None),
            keyring=settings.keyring_provider == "subprocess",
            token_command=settings.index_token_command,
        )

    def logged_in(self, url: str) -> str:
        """A URL with its credentials; as it is where there are none.

        :raises IndexUnreachable: the token command or the keyring fails.
        :raises UsageError: it is not there.
        """
        parts = urlsplit(url)
        if not parts.scheme.startswith("http") or not parts.hostname or parts.password is not None:
            return url
        bare, user = without_userinfo(url), unquote(parts.username or "")
        login = self._own_login(bare, user) if bare in self.own else None
        login = login or _of_netrc(parts.hostname, user)
        return url if login is None else with_userinfo(bare, *login)

    def _own_login(self, url: str, user: str) -> Login | None:
        name = dict(self.names).get(url)
        given, password = ("", None) if name is None else index_login(name)
        user = user or given
        if password is not None:
            return user or TOKEN_USER, password
        # Where some have names, the others are public.
        if self.token_command is not None and (name is not None or not self.names):
            login = _of_command(self.token_command, _host(url), user)
            if login is not None:
                return login
        return _of_keyring(url, user) if self.keyring and user else None


def _host(url: str) -> str:
    return urlsplit(url).netloc


# The token command


_asked: dict[tuple[str, ...], Login | None] = {}
_asking = threading.Lock()


def _once(key: tuple[str, ...], ask: Callable[[], Login | None]) -> Login | None:
    """An answer, asked for once in the life of this process."""
    with _asking:
        if key not in _asked:
            _asked[key] = ask()
        return _asked[key]


def _of_command(command: str, host: str, user: str) -> Login | None:
    """What the deployer's command says of a host; ``None``: nothing."""
    argv = [part.replace("{host}", host) for part in shlex.split(command)]
    said = f"the token command ({Path(argv[0]).name})"
    login = _once(("command", command, host), lambda: _read(_output(argv, said, host), said, host))
    return login if login is None or login[0] else (user or TOKEN_USER, login[1])


def _output(argv: list[str], said: str, host: str) -> str:
    """What a program prints; it gets the variables of whoever called us, since it is the deployer's own.

    :raises IndexUnreachable: it fails.
    """
    hint = "run it by hand: what it says itself is not shown, since that may be a secret"
    try:
        done = process.run(argv, env=dict(os.environ), timeout=_COMMAND_SECONDS)
    except process.NotStarted:
        raise UsageError(f"{said} cannot be started", hint="is it on PATH, and can it be run?") from None
    except process.TimedOutWaiting:
        raise IndexUnreachable(
            f"{said} took longer than {_COMMAND_SECONDS:.0f} seconds for {host}", hint=hint
        ) from None
    if done.returncode != 0:
        raise IndexUnreachable(f"{said} fails for {host} with status {done.returncode}", hint=hint)
    return done.stdout


def _read(text: str, said: str, host: str) -> Login | None:
    """Login and password, the former empty where it is not said; ``None``: nothing is printed.

    :raises IndexUnreachable: it is neither a token nor JSON.
    """
    text = text.strip()
    if not text.startswith("{"):
        return ("", text.splitlines()[0].strip()) if text else None
    try:
        content = json.loads(text)
        user, password = content.get("username", ""), content["password"]
    except (ValueError, KeyError):
        user = password = None
    if not isinstance(user, str) or not isinstance(password, str):
        hint = 'it prints a token alone, or {"username": "…", "password": "…"}'
        raise IndexUnreachable(f"{said} prints something for {host} that is no login", hint=hint)
    return user, password


# The keyring


def _of_keyring(url: str, user: str) -> Login | None:
    """What the program ``keyring`` has of a user at a URL, or at its host."""
    program = shutil.which("keyring")
    if program is None:
        raise UsageError("there is no program keyring on PATH", hint="pip install keyring, or no --keyring-provider")
    return _once(("keyring", url, user), lambda: _in_keyring(program, url, user))


def _in_keyring(program: str, url: str, user: str) -> Login | None:
    for service in (url, _host(url)):
        try:
            done = process.run([program, "get", service, user], env=dict(os.environ), timeout=_COMMAND_SECONDS)
        except process.TimedOutWaiting:
            raise IndexUnreachable(
                f"the keyring took longer than {_COMMAND_SECONDS:.0f} seconds for {_host(url)}",
                hint="does it wait for somebody to unlock it?",
            ) from None
        if done.returncode == 0 and (password := done.stdout.removesuffix("\n")):
            return user, password
    return None


# netrc


def _of_netrc(host: str, user: str) -> Login | None:
    known = _netrc()
    entry = None if known is None else known.authenticators(host)
    if entry is None or (user and user != entry[0]):
        return None
    return entry[0] or entry[1] or "", entry[2] or ""


def _netrc() -> netrc.netrc | None:
    import netrc  # a model whose lock is kept asks no index

    path = Path(os.environ.get("NETRC") or "~/.netrc").expanduser()
    try:
        return netrc.netrc(str(path))
    except (OSError, ValueError, netrc.NetrcParseError):
        return None
