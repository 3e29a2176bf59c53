"""Channels: from a name to the URLs that it stands for (conda's "Configuring channels"), and how they are logged in to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from envbuild.conda.part import DEFAULTS
from envbuild.redaction import secrets_of, token_of, without_credentials, without_userinfo

ALIAS = "https://conda.anaconda.org"
_ANACONDA = "https://repo.anaconda.com"
PACKAGES = f"{_ANACONDA}/pkgs"
_OF_DEFAULTS = (f"{PACKAGES}/main", f"{PACKAGES}/r")
# ``channel::rest``, ``channel/subdir::rest``; a URL has colons of its own.
_BEFORE = re.compile(r"^(?P<channel>[^\s\[]+?)::(?P<rest>.*)$")
_KEY = re.compile(r"(?P<before>[\[,\s]channel\s*=\s*)(?P<quote>['\"]?)(?P<channel>[^'\",\]]+)(?P=quote)")
_SUBDIR = re.compile(r"^(?P<channel>.+)/(?P<subdir>noarch|(?:linux|osx|win|zos|emscripten|wasi)-[a-z0-9_]+)/?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A channel by the name that specs call it, and where it lies."""

    name: str
    """As it was named; a URL is without credentials."""
    urls: tuple[str, ...] = field(repr=False)
    """With credentials, if they have some; those of one channel are of one priority."""


def channels_of(named: Iterable[str], specs: Iterable[str], mirrors: Mapping[str, str]) -> tuple[Channel, ...]:
    """The channels that count, the first in priority first; those that specs alone name come last, as conda has it.

    :param mirrors: the deployer's own URLs, by the name or the URL that they stand in for.
    """
    found = {channel.name: channel for channel in (_channel(one, mirrors) for one in named)}
    for text in specs:
        own = _channel_in(text)
        if own is None:
            continue
        channel = _channel(_without_subdir(own), mirrors)
        known = {without_credentials(url) for one in found.values() for url in one.urls}
        if channel.name not in found and not known.issuperset(map(without_credentials, channel.urls)):
            found[channel.name] = channel
    return tuple(found.values())


def unknown(channels: Iterable[Channel], mirrors: Mapping[str, str]) -> tuple[str, ...]:
    """Of channels, those that are neither had from the owners of conda's two nor from where the deployer says."""
    return tuple(channel.name for channel in channels if not all(is_known(url, mirrors) for url in channel.urls))


def is_known(url: str, mirrors: Mapping[str, str]) -> bool:
    """Whether a URL lies with the owners of conda's two channels, or where the deployer says.

    :param url: of a channel, or of a package as it is fetched.
    """
    plain = without_credentials(url).rstrip("/")
    of_deployer = (without_credentials(mirror).rstrip("/") for mirror in mirrors.values())
    return plain.startswith((f"{ALIAS}/", f"{_ANACONDA}/")) or any(
        plain == own or plain.startswith(f"{own}/") for own in of_deployer
    )


def spec_for(text: str, channels: Iterable[Channel], mirrors: Mapping[str, str]) -> str:
    """A spec as the solver is to read it: its channel by a name among these, or by its URL without credentials."""
    names = {channel.name for channel in channels if "://" not in channel.name}

    def spelled(said: str) -> str:
        with_subdir = _SUBDIR.match(said)
        channel = _channel(_without_subdir(said), mirrors)
        name = channel.name if channel.name in names else without_credentials(channel.urls[0])
        return name if with_subdir is None else f"{name}/{with_subdir['subdir']}"

    if (found := _BEFORE.match(text)) is not None:
        return f"{spelled(found['channel'])}::{found['rest']}"
    return _KEY.sub(lambda m: f"{m['before']}'{spelled(m['channel'].strip())}'", text)


def urls_of(channels: Iterable[Channel]) -> tuple[str, ...]:
    """All their URLs, with credentials, in their order."""
    return tuple(dict.fromkeys(url for channel in channels for url in channel.urls))


def secrets(urls: Iterable[str]) -> tuple[str, ...]:
    """What of URLs nobody may see."""
    listed = tuple(urls)
    tokens = (token_of(url) for url in listed)
    return (*secrets_of(listed), *(token for token in tokens if token is not None))


def logins(urls: Iterable[str]) -> list[dict[str, Any]]:
    """How those of these channels that want it are logged in to, in the form that :mod:`envbuild.conda.program` takes.

    A channel is listed once, by its URL without credentials: by the first of these that has some.
    """
    found: dict[str, dict[str, Any]] = {}
    for url in urls:
        parts, plain = urlsplit(url), without_credentials(url).rstrip("/")
        if plain in found or plain == url.rstrip("/"):
            continue
        login = None
        if parts.username is not None:
            login = [unquote(parts.username), unquote(parts.password or "")]
        through = None if token_of(url) is None else without_userinfo(url).rstrip("/")
        found[plain] = {"url": plain, "login": login, "through": through}
    return list(found.values())


def _channel(said: str, mirrors: Mapping[str, str]) -> Channel:
    bare = said.rstrip("/")
    if bare.startswith("/"):
        bare = Path(bare).as_uri()
    return Channel(name=without_credentials(bare), urls=_urls_of(bare, mirrors))


def _urls_of(bare: str, mirrors: Mapping[str, str]) -> tuple[str, ...]:
    plain = without_credentials(bare)
    if plain in mirrors:
        return (mirrors[plain],)
    if bare == DEFAULTS:
        return tuple(mirrors.get(url, url) for url in _OF_DEFAULTS)
    if "://" in bare:
        return (bare,)
    url = f"{_ANACONDA if bare.startswith('pkgs/') else ALIAS}/{bare}"
    return (mirrors.get(url, url),)


def _channel_in(text: str) -> str | None:
    """The channel that a spec names."""
    if (found := _BEFORE.match(text)) is not None:
        return found["channel"]
    key = _KEY.search(text)
    return None if key is None else key["channel"].strip()


def _without_subdir(channel: str) -> str:
    found = _SUBDIR.match(channel)
    return channel if found is None else found["channel"]


def mirrored(url: str, mirrors: Mapping[str, str]) -> str:
    """Where a package lies whose channel the deployer has a URL of their own for; else where it lay."""
    for name, mirror in mirrors.items():
        for channel in _urls_of(name, {}):
            if url.startswith(f"{channel}/"):
                return without_credentials(mirror).rstrip("/") + url.removeprefix(channel)
    return url
