"""Files of packages, fetched once and kept by what they are: their sha256.

They lie in the store's ``files`` and are whole or not there. Whoever fetches one gives the digests that the index
states; a file that has others is never kept. Credentials are added here, at the last moment, from the indexes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from os.path import commonpath
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from envbuild import system_errors, web
from envbuild.errors import DownloadFailed, HashMismatch
from envbuild.files import make_private
from envbuild.indexes import Indexes
from envbuild.progress import Report, Step, silent
from envbuild.redaction import redacted, secrets_of, without_userinfo
from envbuild.settings import Settings

if TYPE_CHECKING:
    import httpx

_TIMEOUT_SECONDS = 60.0
_TRIES = 3
_PAUSE_SECONDS = 0.3
_CHUNK = 2**18
# The strongest first: one that fits is enough (PEP 503 lets an index choose).
_ALGORITHMS = ("sha512", "sha384", "sha256", "sha224", "sha1", "md5")


def fetch_locked(url: str, sha256: str, indexes: Indexes, settings: Settings) -> Path:
    """A locked file, from the store or from where it lies.

    :raises DownloadFailed: it cannot be had.
    :raises HashMismatch: its content is not what was locked.
    :raises StoreError: it cannot be kept.
    """
    with Downloads(indexes, settings.home, offline=settings.offline) as downloads:
        return downloads.fetch(url, {"sha256": sha256})


class Downloads:
    """The files kept below a home, and the way to get more; one for many threads, closed when left."""

    def __init__(self, indexes: Indexes, home: Path, *, offline: bool = False) -> None:
        """:param offline: give what is kept, and ask nobody."""
        self.home = home
        self.offline = offline
        self._indexes = indexes.logged_in()
        self._secrets = secrets_of(self._indexes.urls())
        self._lock = threading.Lock()
        self._fetching: dict[str, threading.Lock] = {}
        self._fetched_here: dict[str, str] = {}
        self._client: httpx.Client | None = None

    def __enter__(self) -> Downloads:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connections."""
        with self._lock:
            if self._client is not None:
                self._client.close()

    @property
    def indexes(self) -> Indexes:
        """The indexes with their credentials."""
        return self._indexes

    def client(self) -> httpx.Client:
        """The client for everything upstream."""
        with self._lock:
            if self._client is None:
                self._client = web.client(
                    self._indexes.ca, self._indexes.client_cert, timeout=_TIMEOUT_SECONDS, follow_redirects=True
                )
            return self._client

    def redacted(self, text: str) -> str:
        """A text without the indexes' credentials."""
        return redacted(text, self._secrets)

    def fetch(self, url: str, digests: Mapping[str, str] = {}, report: Report = silent) -> Path:
        """A file, from the store or from where it lies; its name in the store is its sha256.

        :param digests: in hexadecimal by algorithm, as the index states them; what has others is refused.
        :raises DownloadFailed: it cannot be had.
        :raises HashMismatch: it is not what the index says.
        :raises StoreError: it cannot be kept.
        """
        with self._alone(url):
            kept = self._kept(url, digests)
            if kept is not None:
                return kept
            if self.offline:
                raise DownloadFailed(
                    f"{self._said(url)} is not kept, and the network is not to be used",
                    hint="run once without --offline",
                )
            try:
                return self._fetched(url, digests, report)
            except OSError as error:
                raise system_errors.explanation(error, self.home) from error

    @contextlib.contextmanager
    def _alone(self, url: str) -> Iterator[None]:
        with self._lock:
            lock = self._fetching.setdefault(url, threading.Lock())
        with lock:
            yield

    def _kept(self, url: str, digests: Mapping[str, str]) -> Path | None:
        sha256 = digests.get("sha256")
        if sha256 is None:
            # What states no sha256 is known by its address alone: since we began, or where nobody is to be asked.
            sha256 = self._fetched_here.get(url)
            if sha256 is None and self.offline:
                with contextlib.suppress(OSError, UnicodeError):
                    sha256 = self._address(url).read_text(encoding="ascii")
        path = kept_at(self.home, sha256) if sha256 is not None and _is_sha256(sha256) else None
        return path if path is not None and path.is_file() else None

    def _address(self, url: str) -> Path:
        return self.home / "pip" / "addresses" / hashlib.sha256(without_userinfo(url).encode()).hexdigest()

    def _fetched(self, url: str, digests: Mapping[str, str], report: Report) -> Path:
        own = kept_at(self.home, f".{secrets.token_hex(8)}")
        make_private(self.home)
        own.parent.mkdir(parents=True, exist_ok=True)
        try:
            found = self._load_often(url, own, digests, report)
            wrong = _mismatch(found, digests)
            if wrong is not None:
                raise HashMismatch(
                    f"{self._said(url)} has {wrong} {found[wrong]}; listed or locked is {digests[wrong]}",
                    hint="the index serves another file than it did or lists; do not install it",
                )
            kept = kept_at(self.home, found["sha256"])
            os.replace(own, kept)
        finally:
            own.unlink(missing_ok=True)
        if "sha256" not in digests:
            self._fetched_here[url] = found["sha256"]
            write_kept(self._address(url), found["sha256"].encode())
        return kept

    def _load_often(self, url: str, place: Path, digests: Mapping[str, str], report: Report) -> dict[str, str]:
        """Load a file, again where the network breaks off; gives its digests."""
        import httpx

        for left in reversed(range(_TRIES)):
            try:
                return self._load(url, place, digests, report)
            except (httpx.HTTPError, httpx.InvalidURL, RuntimeError) as error:
                if left == 0 or not isinstance(error, httpx.TransportError):
                    raise DownloadFailed(
                        f"{self._said(url)} cannot be fetched: {self.redacted(str(error) or type(error).__name__)}",
                        hint="is there a network, and are the index's credentials right (netrc, --index-url)?",
                    ) from error
                time.sleep(_PAUSE_SECONDS)
        raise AssertionError  # pragma: no cover - the last try returns or raises

    def _load(self, url: str, place: Path, digests: Mapping[str, str], report: Report) -> dict[str, str]:
        name = unquote(urlsplit(url).path.rpartition("/")[2])
        totals = {algorithm: hashlib.new(algorithm) for algorithm in ("sha256", *digests) if _is_known(algorithm)}
        report(Step("downloading", name))
        size = 0
        # With the usual mode, so that a shared store's group may read it: the home itself is private.
        with open(place, "wb") as file:
            for chunk in self._chunks(url):
                file.write(chunk)
                size += len(chunk)
                for total in totals.values():
                    total.update(chunk)
            file.flush()
            os.fsync(file.fileno())
        report(Step("downloading", name, done=True, bytes=size))
        return {algorithm: total.hexdigest() for algorithm, total in totals.items()}

    def _chunks(self, url: str) -> Iterator[bytes]:
        if url.startswith("file:"):
            with open(unquote(urlsplit(url).path), "rb") as file:
                while chunk := file.read(_CHUNK):
                    yield chunk
            return
        # Some servers pack what is packed already and say so; the digests are of the file, so as it is.
        headers = {"Accept-Encoding": "identity"}
        with self.client().stream("GET", self._with_login(url), headers=headers) as answer:
            answer.raise_for_status()
            yield from answer.iter_bytes(_CHUNK)

    def _with_login(self, url: str) -> str:
        """A file's address with the credentials of the index on the same host; of several, of the nearest."""
        parts = urlsplit(url)
        place = (parts.scheme, parts.hostname, parts.port)
        known = [
            index
            for index in map(urlsplit, self._indexes.urls())
            if "@" in index.netloc and (index.scheme, index.hostname, index.port) == place
        ]
        nearest = max(known, key=lambda index: len(commonpath([index.path or "/", parts.path or "/"])), default=None)
        return url if nearest is None else urlunsplit(parts._replace(netloc=nearest.netloc))

    def _said(self, url: str) -> str:
        return self.redacted(without_userinfo(url))


def kept_at(home: Path, sha256: str) -> Path:
    """Where a file is kept, whether it is there or not."""
    return home / "files" / sha256


def write_kept(path: Path, content: bytes) -> None:
    """Write a small file below the home's ``pip``, whole or not at all; one that is there is replaced.

    :raises OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    own = path.parent / f".{secrets.token_hex(8)}"
    try:
        own.write_bytes(content)
        os.replace(own, path)
    finally:
        own.unlink(missing_ok=True)


def _mismatch(found: Mapping[str, str], stated: Mapping[str, str]) -> str | None:
    """The strongest algorithm that both know, if its digests differ."""
    common = [name for name in _ALGORITHMS if name in found and name in stated]
    return common[0] if common and found[common[0]] != stated[common[0]].lower() else None


def _is_known(algorithm: str) -> bool:
    return algorithm in _ALGORITHMS and algorithm in hashlib.algorithms_available


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and all(letter in "0123456789abcdef" for letter in text)
