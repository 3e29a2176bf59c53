"""The conversation with one repository of a registry: requests and answers of OCI's distribution API 1.1.

A request that the registry fails at is sent again after a pause; one that it refuses is not, and its reasons are said
in words. Logins are the business of :mod:`envbuild.images.credentials`.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any
from urllib.parse import urlencode, urljoin

from envbuild import web
from envbuild.errors import ImageError, Interrupted, RegistryRefused, RegistryUnreachable
from envbuild.images.credentials import Answer, Call, Login
from envbuild.images.manifest import (
    LAYER_TYPE,
    READABLE_TYPES,
    Descriptor,
    Manifest,
    digest_of,
    document_in,
    entries_in,
    is_digest,
    referrers_tag,
)
from envbuild.images.reference import Reference

_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next\b')
_CONNECT_SECONDS, _ANSWER_SECONDS = 15.0, 60.0
# A registry may move a whole layer to its own storage before it answers.
_COMMIT_SECONDS = 600.0
_PAUSES_SECONDS = (0.5, 1.0, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A layer that another repository of the same registry has: a base image's, taken over as it is."""

    repository: str
    """As :attr:`Reference.repository` has it."""
    digest: str
    """Of the compressed layer."""
    size: int
    media_type: str = LAYER_TYPE


class Conversation(AbstractContextManager["Conversation"]):
    """One repository's API; may be used by several threads, and ends with its ``with`` block.

    Whatever asks the registry raises as :meth:`ask` does.
    """

    def __init__(self, reference: Reference, actions: str) -> None:
        # Imported here: most commands talk to no registry.
        import httpx

        self.reference = reference
        self.scope = f"repository:{reference.repository}:{actions}"
        self._stopped = threading.Event()
        self._client = web.client(
            timeout=httpx.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS),
            # This machine is not behind its own proxy.
            trust_env=not reference.is_plain,
        )
        self._login = Login(reference, self._client)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def stop(self) -> None:
        """End what other threads do here: what waits, what is being sent, and what would be sent next."""
        self._stopped.set()
        self._login.cut()

    def go_on(self) -> None:
        """Pass, unless :meth:`stop` was called.

        :raises Interrupted: it was.
        """
        if self._stopped.is_set():
            raise Interrupted("the push was stopped")

    def ask(self, method: str, path: str, what: str, good: Collection[int] = (200,), **more: Any) -> Answer:
        """Ask for something below the repository's path.

        :param what: what it is good for, as an error says it.
        :raises RegistryUnreachable: there is no answer, or one of 500 and above, also after some tries.
        :raises RegistryRefused: the answer's status is 400 or above, and none of the good ones.
        :raises ImageError: it is another that is not good, or the registry leads where nothing may be sent.
        """
        call = Call(method=method, url=self._url(path), scopes=(self.scope,), **more)
        return self._checked(self._tried(lambda: self._login.send(call)), what, good)

    def has(self, digest: str) -> bool:
        """Whether a blob is there."""
        return self.ask("HEAD", f"blobs/{digest}", f"a look at the blob {digest[:19]}", (200, 404)).status == 200

    def mount(self, source: Mount) -> bool:
        """Take a blob over from another repository; whether the registry did so."""
        query = urlencode({"mount": source.digest, "from": source.repository})
        scopes = (self.scope, f"repository:{source.repository}:pull")
        call = Call(method="POST", url=self._url(f"blobs/uploads/?{query}"), scopes=scopes)
        # A refusal says that the layer has to be sent, and what is wrong besides shows then.
        return self._tried(lambda: self._login.send(call)).status == 201

    def send_content(self, blob: Descriptor, content: bytes) -> int:
        """Send a small blob, unless it is there; the bytes that were sent."""
        if self.has(blob.digest):
            return 0
        self.send_blob(blob, lambda: [content])
        return blob.size

    def send_blob(self, blob: Descriptor, body: Callable[[], Iterable[bytes]]) -> None:
        """Send a blob in one request; what fails in the middle begins anew."""
        self._checked(self._tried(lambda: self._upload(blob, body)), f"sending {_size(blob.size)}", (201, 204))

    def _upload(self, blob: Descriptor, body: Callable[[], Iterable[bytes]]) -> Answer:
        begun = self._login.send(Call(method="POST", url=self._url("blobs/uploads/"), scopes=(self.scope,)))
        if begun.status != 202:
            return begun
        location = urljoin(begun.url, begun.headers.get("location", ""))
        # As text: a location is signed as it stands, and must not be put together anew.
        url = f"{location}{'&' if '?' in location else '?'}{urlencode({'digest': blob.digest})}"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
        return self._login.send(
            Call(
                method="PUT",
                url=url,
                scopes=(self.scope,),
                headers=headers,
                body=body,
                timeouts={"read": _COMMIT_SECONDS},
            )
        )

    def put_manifest(self, content: bytes, media_type: str) -> str:
        """Give an image's manifest its names, unless they are its own already; its digest."""
        digest = digest_of(content)
        if self.reference.digest not in (None, digest):
            raise ImageError(f"the image is {digest} and not {self.reference.digest}", hint="push it by a tag")
        key = self.reference.tag or digest
        if self.find_manifest(key) != digest:
            self.put(key, content, media_type)
        return digest

    def put(self, key: str, content: bytes, media_type: str) -> Answer:
        """Keep a manifest under a tag or its digest."""
        headers = {"Content-Type": media_type, "Content-Length": str(len(content))}
        path, what = f"manifests/{key}", f"the manifest for {self.reference}"
        answer = self.ask("PUT", path, what, (201, 200, 202), headers=headers, body=lambda: [content])
        if answer.headers.get("docker-content-digest", digest_of(content)) != digest_of(content):
            raise ImageError(f"the registry {self.reference.registry} has changed the manifest of {self.reference}")
        return answer

    def find_manifest(self, key: str) -> str | None:
        """The digest of what is under a tag or digest."""
        accept = {"Accept": ", ".join(READABLE_TYPES)}
        answer = self.ask("HEAD", f"manifests/{key}", f"a look at {self.reference}", (200, 404), headers=accept)
        if answer.status == 404:
            return None
        digest = answer.headers.get("docker-content-digest", "")
        return digest if is_digest(digest) else self.read_manifest(key).digest

    def read_manifest(self, key: str) -> Manifest:
        """What is under a tag or digest."""
        accept = {"Accept": ", ".join(READABLE_TYPES)}
        answer = self.ask("GET", f"manifests/{key}", f"reading the manifest of {self.reference}", headers=accept)
        digest = digest_of(answer.content)
        stated = key if is_digest(key) else answer.headers.get("docker-content-digest", digest)
        if digest != stated:
            raise ImageError(f"what the registry {self.reference.registry} gives for {stated[:19]} is not it")
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip()
        return Manifest(digest=digest, media_type=media_type, content=answer.content)

    def read_index(self, tag: str) -> list[dict[str, Any]]:
        """The entries of the index under a tag; none where there is no such tag."""
        if self.find_manifest(tag) is None:
            return []
        return entries_in(self.read_manifest(tag).document(), f"the tag {tag} in {self.reference.name}")

    def read_referrers(self, digest: str) -> list[dict[str, Any]]:
        """What refers to a digest: page by page from the API, or where there is none, by the tag."""
        found: list[dict[str, Any]] = []
        path: str | None = f"referrers/{digest}"
        while path is not None:
            answer = self.ask("GET", path, f"what is attached to {self.reference}", (200, 404, 405))
            if answer.status != 200:
                return self.read_index(referrers_tag(digest))
            what = f"what the registry {self.reference.registry} lists as attached"
            found += entries_in(document_in(answer.content, what), what)
            more = _NEXT.search(answer.headers.get("link", ""))
            path = None if more is None else urljoin(answer.url, more[1])
        return found

    def _url(self, path: str) -> str:
        return urljoin(f"{self.reference.origin}/v2/{self.reference.repository}/", path)

    def _tried(self, work: Callable[[], Answer]) -> Answer:
        """Do something again, after a pause, where the registry failed at it rather than refused it."""
        import httpx

        broken = (httpx.ReadError, httpx.WriteError, httpx.CloseError, httpx.RemoteProtocolError)
        for pause in (*_PAUSES_SECONDS, None):
            self.go_on()
            try:
                answer = work()
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                if pause is None or not isinstance(error, broken):
                    raise self._unreachable(error) from error
            else:
                if pause is None or not (answer.status >= 500 or answer.status == 429):
                    return answer
            self._stopped.wait(pause)
        raise AssertionError

    def _unreachable(self, error: Exception) -> RegistryUnreachable:
        hint = "is there a network, and is the registry's name right?"
        if _is_tls(error):
            hint = "is its certificate signed by one whom this machine trusts? SSL_CERT_FILE names others"
        words = self._login.redacted(str(error)) or type(error).__name__
        return RegistryUnreachable(f"the registry {self.reference.registry} does not answer: {words}", hint=hint)

    def _checked(self, answer: Answer, what: str, good: Collection[int]) -> Answer:
        if answer.status in good:
            return answer
        name, status = self.reference.registry, answer.status
        details = [self._login.redacted(words) for words in _words(answer.content)]
        if status >= 500:
            hint = "try again later; the registry's own log says why"
            raise RegistryUnreachable(f"the registry {name} answers {status} to {what}", hint=hint, details=details)
        if status < 400:
            raise ImageError(
                f"the registry {name} answers {status} to {what}; is it one?",
                hint="the name before the first / is the registry's",
            )
        message, hint = self._refusal(status, what)
        raise RegistryRefused(message, hint=hint, details=details)

    def _refusal(self, status: int, what: str) -> tuple[str, str]:
        name, repository = self.reference.registry, self.reference.repository
        if status == 401:
            known = "does not accept the login that Docker keeps for it" if self._login.was_tried else "wants a login"
            return f"the registry {name} {known}, for {what}", f"docker login {name}"
        hints = {
            403: f"may this user do that in {repository}? docker login {name} changes the user",
            404: f"is there {repository} in it? Some registries want a repository made before it is used",
            413: "the registry, or a proxy before it, takes no request of that size: its settings say which",
            429: "it counts requests: wait, or log in as one who may ask more",
        }
        return f"the registry {name} refuses {what} ({status})", hints.get(status, "the details are its own words")


def _words(content: bytes) -> list[str]:
    """A registry's own words for why it refuses; a proxy's page has none."""
    try:
        errors = json.loads(content)["errors"]
        return [str(error.get("message") or error.get("code"))[:500] for error in errors[:5]]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def _is_tls(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _size(size: int) -> str:
    return f"{size} bytes" if size < 2**20 else f"{size / 2**20:.1f} MiB"
