"""Secrets stay out: credentials are cut from every URL, and known secrets from every text that leaves us."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote, urlsplit, urlunsplit

_USERINFO = re.compile(r"([a-z][a-z0-9+.-]*://)([^/?#\s\"'<>]+)@", re.IGNORECASE)
# conda's channels take a token in the path (``https://host/t/TOKEN/channel``).
_TOKEN = re.compile(r"(https?://[^?#\s\"'<>]*?)/t/([^/?#\s\"'<>]+)", re.IGNORECASE)
# In any other text a longer path may name a folder ``t``.
_TOKEN_FIRST = re.compile(r"(https?://[^/?#\s\"'<>]+/t/)[^/?#\s\"'<>]+", re.IGNORECASE)


def without_userinfo(url: str) -> str:
    """A URL without user name and password; ``git@`` of a git URL is no secret and stays."""
    return _USERINFO.sub(lambda m: m.group(0) if m.group(2) == "git" else m.group(1), url)


def without_credentials(url: str) -> str:
    """A channel's URL, or a text with some, without user name, password and token."""
    return _TOKEN.sub(lambda m: m.group(1), without_userinfo(url))


def token_of(url: str) -> str | None:
    """The token in a channel's URL; ``None`` where it has none."""
    found = _TOKEN.search(url)
    return None if found is None else found[2]


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """A text with the user info and conda tokens of its URLs, and every secret named, replaced by ``****``."""
    text = _USERINFO.sub(lambda m: m.group(0) if m.group(2) == "git" else f"{m.group(1)}****@", text)
    text = _TOKEN_FIRST.sub(lambda m: f"{m.group(1)}****", text)
    for secret in sorted({s for s in secrets if len(s) >= 4}, key=len, reverse=True):
        for form in {secret, quote(secret, safe="")}:
            text = text.replace(form, "****")
    return text


def secrets_of(urls: Iterable[str]) -> tuple[str, ...]:
    """The passwords and tokens in the user info of URLs."""
    found = []
    for url in urls:
        parts = urlsplit(url)
        said = (part for part in (parts.password, parts.username) if part and part not in ("git", "__token__"))
        found += [form for part in said for form in dict.fromkeys((part, unquote(part)))]
    return tuple(found)


def with_userinfo(url: str, user: str, password: str) -> str:
    """A URL that logs in."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{host}"))
