"""Logging in to a registry: Docker's own credentials, read when a registry asks for them, and sent to nobody else.

An ``Authorization`` header goes to the registry's own origin (scheme, host and port) alone, whatever redirect or upload
location leads elsewhere. The token service that a registry names gets user name and password over TLS, or where it is
on the same host as a registry that has none.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin

from envbuild.errors import ImageError, RegistryRefused
from envbuild.images.reference import Reference
from envbuild.redaction import redacted

if TYPE_CHECKING:
    import httpx

_CLIENT = "envbuild"
_REDIRECTS = 5
_LARGEST_ANSWER = 64 * 2**20
_PARAMETER = re.compile(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')
# What may stand in a header; anything else would be quoted in the HTTP client's own complaint.
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to a registry's API."""

    method: str
    url: str
    scopes: tuple[str, ...]
    """What it needs to be allowed, as a token service calls it: ``repository:NAME:pull,push``."""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Callable[[], Iterable[bytes]] | None = None
    """Begins anew at each call, since what was sent may have to be sent again."""
    timeouts: Mapping[str, float] = field(default_factory=dict)
    """Seconds without a byte, where they are others than the client's own: ``read``, ``write``, ``connect``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """Their names in any case."""
    challenges: tuple[str, ...]
    """The ``WWW-Authenticate`` headers."""
    content: bytes
    url: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Credentials:
    """A user's name and password, or the identity token that stands for both."""

    user: str = ""
    password: str = ""
    identity_token: str = ""

    @property
    def basic(self) -> str:
        """User name and password as HTTP's ``Basic`` has them."""
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def read_credentials(registry: str) -> Credentials | None:
    """What ``docker login`` keeps for a registry, from its configuration or a credential helper.

    :raises ImageError: Docker's configuration cannot be read, a helper fails, or the docker SDK is not installed.
    """
    try:
        from docker import auth
        from docker.errors import DockerException
    except ImportError as error:
        raise ImageError(
            f"the login for {registry} cannot be read: the docker SDK is not installed",
            hint="pip install 'envbuild[docker]'",
        ) from error
    try:
        with warnings.catch_warnings():
            # A helper that is missing is told twice: by this warning, and by the error that follows.
            warnings.simplefilter("ignore")
            found: Mapping[str, Any] = auth.resolve_authconfig(auth.load_config(), registry) or {}
    except (DockerException, ValueError, KeyError, TypeError, AttributeError):
        # What Docker or a helper says here may hold what it read: not even the cause is kept.
        raise ImageError(
            f"the login for {registry} cannot be read from Docker's configuration or its credential helper",
            hint=f"docker login {registry} writes it anew",
        ) from None
    return _credentials({key.lower(): value for key, value in found.items()})


def _credentials(found: Mapping[str, Any]) -> Credentials | None:
    if token := found.get("identitytoken"):
        return Credentials(identity_token=str(token))
    if found.get("username") and found.get("password"):
        return Credentials(user=str(found["username"]), password=str(found["password"]))
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """How a registry wants to be logged in to."""

    scheme: str
    """``basic`` or ``bearer``."""
    realm: str = ""
    service: str = ""


def challenge_in(headers: Iterable[str]) -> Challenge | None:
    """The first challenge of ``WWW-Authenticate`` headers that we can answer.

    Its scope is left aside: registries name too little there, and the one who calls knows what he needs.
    """
    for header in headers:
        scheme, _, rest = header.strip().partition(" ")
        if scheme.lower() in ("basic", "bearer"):
            found = {key.lower(): quoted or plain for key, quoted, plain in _PARAMETER.findall(rest)}
            return Challenge(scheme=scheme.lower(), realm=found.get("realm", ""), service=found.get("service", ""))
    return None


class Login:
    """Sends requests to one registry, with whatever login it asks for; may be used by several threads."""

    def __init__(self, reference: Reference, client: httpx.Client) -> None:
        self._registry = reference.registry
        self._origin = _origin(reference.origin)
        self._client = client
        self._lock = threading.Lock()
        self._credentials: Credentials | None = None
        self._were_read = False
        self._basic: str | None = None
        self._bearers: dict[tuple[str, ...], str] = {}
        self._secrets: set[str] = set()
        self._sockets: list[socket.socket] = []
        self._is_cut = False

    @property
    def was_tried(self) -> bool:
        """Whether there were credentials to log in with when the registry asked."""
        return self._credentials is not None

    def redacted(self, text: str) -> str:
        """A text without what was used to log in."""
        return redacted(text, self._secrets)

    def cut(self) -> None:
        """End every request that other threads wait for; each of them raises there as if the network had failed."""
        self._is_cut = True
        for connection in self._sockets:
            _shut(connection)

    def _note(self, wanted: str, event: str, facts: Mapping[str, Any]) -> None:
        """Keep the socket of a connection that is complete: one in its handshake must be left to that."""
        if event.endswith(wanted):
            connection = facts["return_value"].get_extra_info("socket")
            self._sockets.append(connection)
            if self._is_cut:
                _shut(connection)

    def send(self, call: Call) -> Answer:
        """Send a request; where the registry wants a login, log in and send it once more.

        :raises ImageError: Docker's credentials cannot be read, or the registry leads where nothing may be sent.
        :raises httpx.HTTPError: there was no answer.
        :raises httpx.InvalidURL: the registry leads to what is no URL.
        """
        used = self._header(call.scopes)
        answer = self._follow(call, used)
        # Only the registry itself may ask for its login: a place that it led to may be anybody's.
        if answer.status != 401 or _origin(answer.url) != self._origin:
            return answer
        refusal = self._log_in(answer, call.scopes, used)
        return self._follow(call, self._header(call.scopes)) if refusal is None else refusal

    def _header(self, scopes: tuple[str, ...]) -> str | None:
        return self._bearers.get(scopes, self._basic)

    def _follow(self, call: Call, authorization: str | None) -> Answer:
        for _ in range(_REDIRECTS):
            answer = self._ask(call, authorization)
            if not _leads_on(answer, call.method):
                return answer
            call = replace(call, url=urljoin(answer.url, answer.headers["location"]))
        raise ImageError(f"the registry {self._registry} leads in a circle")

    def _ask(self, call: Call, authorization: str | None) -> Answer:
        import httpx

        headers = {"Accept-Encoding": "identity", **call.headers}
        if authorization is not None and _origin(call.url) == self._origin:
            headers["Authorization"] = authorization
        if self._origin[0] == "https" and _origin(call.url)[0] != "https":
            raise ImageError(
                f"the registry {self._registry} leads to a place without TLS: {_origin(call.url)[1]}",
                hint="does a proxy before it say X-Forwarded-Proto wrongly? Nothing was sent there",
            )
        content = None if call.body is None else call.body()
        request = self._client.build_request(
            call.method,
            call.url,
            headers=headers,
            content=content,
            timeout=httpx.Timeout(**{**self._client.timeout.as_dict(), **call.timeouts}),
        )
        return self._received(request)

    def _received(self, request: httpx.Request) -> Answer:
        wanted = "start_tls.complete" if request.url.scheme == "https" else "connect_tcp.complete"
        request.extensions["trace"] = partial(self._note, wanted)
        response = self._client.send(request, stream=True)
        try:
            content = bytearray()
            for part in response.iter_bytes():
                content += part
                if len(content) > _LARGEST_ANSWER:
                    raise ImageError(f"the registry {self._registry} answers more than {_LARGEST_ANSWER >> 20} MiB")
        finally:
            response.close()
        return Answer(
            status=response.status_code,
            headers=response.headers,
            challenges=tuple(response.headers.get_list("www-authenticate")),
            content=bytes(content),
            url=str(response.url),
        )

    def _log_in(self, answer: Answer, scopes: tuple[str, ...], used: str | None) -> Answer | None:
        """Log in as a 401 says; the answer that refuses, or ``None`` where the request may be sent once more."""
        with self._lock:
            if self._header(scopes) != used:
                return None  # another thread has logged in since
            challenge = challenge_in(answer.challenges)
            known = self._known()
            if challenge is None:
                return answer
            if challenge.scheme == "bearer":
                return self._fetch_token(challenge, scopes, known)
            if known is None or not known.user or self._basic is not None:
                return answer
            self._basic = f"Basic {known.basic}"
            return None

    def _known(self) -> Credentials | None:
        if not self._were_read:
            self._credentials, self._were_read = read_credentials(self._registry), True
            if (known := self._credentials) is not None:
                self._secrets |= {known.password, known.identity_token, known.basic if known.user else ""}
        return self._credentials

    def _fetch_token(self, challenge: Challenge, scopes: tuple[str, ...], known: Credentials | None) -> Answer | None:
        """A token for some scopes from the service that the registry names."""
        self._check_realm(challenge.realm, known)
        answer = self._received(self._token_request(challenge, scopes, known))
        if answer.status != 200:
            return answer
        token = _token_in(answer.content)
        if token is None:
            raise ImageError(f"what the token service of the registry {self._registry} answers is no token")
        self._secrets.add(token)
        self._bearers[scopes] = f"Bearer {token}"
        return None

    def _check_realm(self, realm: str, known: Credentials | None) -> None:
        scheme, host, _ = _origin(realm)
        if scheme not in ("http", "https") or not host:
            raise ImageError(f"the registry {self._registry} names no place where a token is to be had")
        own = self._origin[0] == "http" and host == self._origin[1]
        if known is not None and scheme != "https" and not own:
            raise RegistryRefused(
                f"the registry {self._registry} wants the login sent to {host} without TLS; it was not sent",
                hint="its token service needs an https address",
            )

    def _token_request(self, challenge: Challenge, scopes: tuple[str, ...], known: Credentials | None) -> httpx.Request:
        service = {"service": challenge.service} if challenge.service else {}
        if known is not None and known.identity_token:
            form = {
                "grant_type": "refresh_token",
                "client_id": _CLIENT,
                "scope": " ".join(scopes),
                "refresh_token": known.identity_token,
                **service,
            }
            return self._client.build_request("POST", challenge.realm, data=form)
        query = urlencode([*service.items(), *(("scope", scope) for scope in scopes)])
        headers = {} if known is None else {"Authorization": f"Basic {known.basic}"}
        between = "&" if "?" in challenge.realm else "?"
        return self._client.build_request("GET", f"{challenge.realm}{between}{query}", headers=headers)


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        # The plain socket's: that of a TLS socket would first take its encryption away.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _leads_on(answer: Answer, method: str) -> bool:
    """Whether it is a redirect that may be followed with the same method and body."""
    always = answer.status in (307, 308)
    return (always or (answer.status in (301, 302, 303) and method in ("GET", "HEAD"))) and "location" in answer.headers


def _origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of a URL as the client itself reads it; nothing of them where it is none."""
    import httpx

    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return "", "", None
    return parsed.scheme, parsed.host, parsed.port


def _token_in(content: bytes) -> str | None:
    try:
        answer = json.loads(content)
        token = answer.get("token") or answer.get("access_token")
    except (ValueError, AttributeError):
        return None
    return token if isinstance(token, str) and _TOKEN.fullmatch(token) else None
