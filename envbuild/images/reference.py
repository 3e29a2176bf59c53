"""The name of an image: which registry, which repository in it, and which tag or digest; by Docker's own rules."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace

from envbuild.errors import UsageError
from envbuild.redaction import redacted

DOCKER_HUB = "docker.io"
# Docker Hub answers its API under another name than its images have.
_HUB_API = "registry-1.docker.io"
_HUB_NAMES = (DOCKER_HUB, "index.docker.io")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_REGISTRY = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?")
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST = 255
_HINT = "an image is named [REGISTRY[:PORT]/]REPOSITORY[:TAG][@sha256:DIGEST]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An image in a registry, as :meth:`parse` understands its name."""

    registry: str
    """Host and port; :data:`DOCKER_HUB` where the name has none."""
    repository: str
    """As the API has it: ``library/python`` for Docker Hub's ``python``."""
    tag: str | None = None
    digest: str | None = None
    """``sha256:`` and 64 hexadecimal digits."""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """The reference that a name means; one with neither tag nor digest means the tag ``latest``.

        :raises UsageError: it is no name of an image; the message says what is wrong.
        """
        name, at, digest = text.partition("@")
        if at and "/" in digest:
            # Never shown: what stands before the @ may be a password.
            raise _wrong(digest, "no user name belongs into it; docker login keeps it")
        if at and _DIGEST.fullmatch(digest) is None:
            raise _wrong(text, "its digest is not sha256: and 64 hexadecimal digits")
        first, slash, rest = name.partition("/")
        if not slash or not _is_registry(first):
            first, rest = DOCKER_HUB, name
        repository, colon, tag = rest.partition(":")
        if colon and _TAG.fullmatch(tag) is None:
            raise _wrong(text, "its tag is not up to 128 letters, digits, '_', '.' and '-'")
        _check(text, first, repository)
        if not colon and not at:
            tag = "latest"
        registry = DOCKER_HUB if first in _HUB_NAMES else first
        if registry == DOCKER_HUB and "/" not in repository:
            repository = f"library/{repository}"
        return cls(registry=registry, repository=repository, tag=tag or None, digest=digest or None)

    def __str__(self) -> str:
        tag = "" if self.tag is None else f":{self.tag}"
        digest = "" if self.digest is None else f"@{self.digest}"
        return f"{self.name}{tag}{digest}"

    @property
    def name(self) -> str:
        """Without tag and digest, and as short as Docker says it: ``python``, ``registry.example/team/model``."""
        if self.registry == DOCKER_HUB:
            own = self.repository.removeprefix("library/")
            return self.repository if "/" in own else own
        return f"{self.registry}/{self.repository}"

    @property
    def is_plain(self) -> bool:
        """Whether its registry is this machine, which Docker talks to without TLS."""
        host = re.sub(r":[0-9]+$", "", self.registry)
        if host == "localhost":
            return True
        try:
            return ipaddress.ip_address(host.strip("[]")).is_loopback
        except ValueError:
            return False

    @property
    def origin(self) -> str:
        """Where the API of its registry is: scheme, host and port."""
        host = _HUB_API if self.registry == DOCKER_HUB else self.registry
        return f"{'http' if self.is_plain else 'https'}://{host}"

    @property
    def key(self) -> str:
        """What a registry knows its manifest by: the digest where there is one, else the tag."""
        return self.digest or self.tag or "latest"

    def with_digest(self, digest: str) -> Reference:
        """The image of that digest in the same repository, whatever the tag says today."""
        return replace(self, digest=digest)

    def with_tag(self, tag: str) -> Reference:
        """The image of that tag in the same repository."""
        return replace(self, tag=tag, digest=None)


def _is_registry(first: str) -> bool:
    return first == "localhost" or any(sign in first for sign in ".:[") or first != first.lower()


def _check(text: str, registry: str, repository: str) -> None:
    if _REGISTRY.fullmatch(registry) is None:
        raise _wrong(text, f"{registry[:80]!r} is no host of a registry")
    if not repository:
        raise _wrong(text, "it names no repository")
    if repository != repository.lower():
        raise _wrong(text, "a repository is written in small letters")
    if _REPOSITORY.fullmatch(repository) is None:
        raise _wrong(text, "a repository is made of letters, digits and single '.', '_', '-' and '/' between them")
    if len(registry) + len(repository) >= _LONGEST:
        raise _wrong(text, f"it is longer than {_LONGEST} characters")
    if registry == DOCKER_HUB and re.fullmatch(r"[0-9a-f]{64}", repository):
        raise _wrong(text, "64 hexadecimal digits are the ID of an image and no name")


def _wrong(text: str, why: str) -> UsageError:
    shown = redacted(text)
    if "://" in text or text.startswith("//"):
        why = "it has a scheme, and a registry is named without one"
    return UsageError(f"{shown[:200]!r} is no name of an image: {why}", hint=_HINT)
