"""Archives on a web server: fetched once a state, gone on with where the network broke off."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from envbuild import web
from envbuild.errors import ModelNotFound, ModelUnreachable
from envbuild.indexes import logged_in
from envbuild.locations.naming import Named
from envbuild.progress import Report, Step
from envbuild.redaction import redacted, secrets_of

if TYPE_CHECKING:
    import httpx

_TIMEOUT_SECONDS = 60.0
_TRIES, _PAUSE_SECONDS = 4, 0.5
_CHUNK, _SAY_BYTES = 2**18, 2**24
_FORBIDDEN = (401, 403, 407)
_NOT_THERE = (404, 410)


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """An archive that was fetched."""

    path: Path
    state: str
    """What the server calls the state that it is in; empty where it says nothing."""


def fetched(model: Named, known_state: str, folder: Path, report: Report) -> Download | None:
    """An archive of a model, fetched into a folder; ``None`` where it is still in a state that is known.

    :param folder: where what an earlier try has left of it is gone on with.
    :raises ModelNotFound: there is no such file.
    :raises ModelUnreachable: the server does not answer, or does not let us.
    """
    import httpx

    (url,) = logged_in([model.text])
    with web.client(timeout=_TIMEOUT_SECONDS, follow_redirects=True) as client:
        fetch = _Fetch(client, url, model.said, folder, report)
        for left in reversed(range(_TRIES)):
            try:
                return fetch.once(known_state)
            except httpx.HTTPStatusError as error:
                raise _refused(model, error.response) from error
            except (httpx.HTTPError, httpx.InvalidURL, RuntimeError) as error:
                if left == 0 or not isinstance(error, httpx.TransportError):
                    words = redacted(str(error) or type(error).__name__, secrets_of([url]))
                    raise ModelUnreachable(
                        f"{model.said} cannot be had: {words}", hint="is there a network, and is the address right?"
                    ) from error
                time.sleep(_PAUSE_SECONDS)
    raise AssertionError  # pragma: no cover - the last try returns or raises


class _Fetch:
    def __init__(self, client: httpx.Client, url: str, said: str, folder: Path, report: Report) -> None:
        self._client = client
        parts = urlsplit(url)
        self._auth = None if parts.username is None else (parts.username, parts.password or "")
        self._url = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
        self._said = said
        self._folder = folder
        self._report = report

    def once(self, known_state: str) -> Download | None:
        headers = {"Accept-Encoding": "identity"}
        if (kind := known_state.partition(" ")[0]) in ("etag", "modified"):
            name = {"etag": "If-None-Match", "modified": "If-Modified-Since"}[kind]
            headers[name] = known_state.partition(" ")[2]
        began = self._begun()
        if began is not None:
            headers["Range"] = f"bytes={began[1].stat().st_size}-"
            headers["If-Range"] = began[0].partition(" ")[2]
        with self._client.stream("GET", self._url, headers=headers, auth=self._auth) as answer:
            if answer.status_code == 304:
                return None
            if answer.status_code == 416 and began is not None:
                began[1].unlink()
                return self.once(known_state)
            answer.raise_for_status()
            state = _state(answer)
            path = self._part(state)
            goes_on = answer.status_code == 206 and began is not None and began[0] == state
            self._write(answer, path, goes_on=goes_on)
        return Download(path=path, state=state)

    def _write(self, answer: httpx.Response, path: Path, *, goes_on: bool) -> None:
        there = path.stat().st_size if goes_on else 0
        total = there + int(answer.headers.get("Content-Length") or 0)
        said = there
        self._report(Step("downloading", self._said))
        with open(path, "ab" if goes_on else "wb") as file:
            for chunk in answer.iter_raw(_CHUNK):
                file.write(chunk)
                there += len(chunk)
                if there - said >= _SAY_BYTES:
                    said = there
                    percent = f": {100 * there // total} %" if total > there else ""
                    self._report(Step("downloading", f"{self._said}{percent}", bytes=there))
            os.fsync(file.fileno())
        self._report(Step("downloading", self._said, done=True, bytes=there))

    def _begun(self) -> tuple[str, Path] | None:
        """What an earlier try has left, with the state that it was of."""
        for path in self._folder.glob("*.part"):
            state = path.with_suffix(".state")
            if state.exists() and path.stat().st_size > 0:
                return state.read_text(encoding="utf-8"), path
        return None

    def _part(self, state: str) -> Path:
        path = self._folder / f"{hashlib.sha256(state.encode()).hexdigest()[:16]}.part"
        for other in self._folder.iterdir():
            if other.stem != path.stem:
                other.unlink()
        # What nothing is said of cannot be gone on with.
        if state:
            path.with_suffix(".state").write_text(state, encoding="utf-8")
        return path


def _state(answer: httpx.Response) -> str:
    """What a server calls the state of a file; a weak tag does not say that the bytes are the same."""
    etag, modified = answer.headers.get("ETag", ""), answer.headers.get("Last-Modified", "")
    if etag and not etag.startswith("W/"):
        return f"etag {etag}"
    return f"modified {modified}" if modified else ""


def _refused(model: Named, answer: httpx.Response) -> ModelNotFound | ModelUnreachable:
    words = f"the server says {answer.status_code} {answer.reason_phrase}"
    if answer.status_code in _NOT_THERE:
        return ModelNotFound(f"there is no {model.said}: {words}", hint="is the address right?")
    hint = "a login is taken from netrc" if answer.status_code in _FORBIDDEN else "try again later"
    return ModelUnreachable(f"{model.said} cannot be had: {words}", hint=hint)
