"""Asking MLflow and object stores, by a short-lived process (:mod:`envbuild.locations.program`)."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from envbuild import process, system_errors
from envbuild.conversation import Conversation, Died
from envbuild.errors import EnvbuildError, ModelNotFound, ModelUnreachable, UsageError
from envbuild.locations.listing import Listing, listing_from
from envbuild.locations.naming import OBJECTS, Named
from envbuild.progress import Report, Step
from envbuild.redaction import redacted
from envbuild.settings import Settings

_PROGRAM = Path(__file__).with_name("program.py")
_IS_SECRET = re.compile(r"(?:SECRET|TOKEN|PASSWORD|KEY|CREDENTIAL|CONNECTION_STRING|SAS)", re.IGNORECASE)
# Its Python is ours, and heeds no one's wishes for another.
_NOT_PASSED = re.compile(r"PYTHON(?!HASHSEED)|VIRTUAL_ENV$|ENVBUILD_")
# What keeps MLflow from talking to others, and to itself for minutes, unless the deployer has said otherwise.
_USUAL = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "GIT_PYTHON_REFRESH": "quiet",
}
_NOT_THERE = ("Missing", "FileNotFoundError", "NotADirectoryError", "NoSuchBucket", "NoSuchKey")
_NOT_THERE_WORDS = re.compile(
    r"RESOURCE_DOES_NOT_EXIST|INVALID_PARAMETER_VALUE|not found|No versions of model", re.IGNORECASE
)
_LOGIN_WORDS = re.compile(
    r"\b(401|403)\b|credential|forbidden|unauthori[sz]ed|access.?denied|permission", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Nearby:
    """A model of a registry that lies on this machine's own disk."""

    path: Path
    said: str


class Questions:
    """Questions to a process that is started at the first of them, and ends when this is closed."""

    def __init__(self, on_bytes: Callable[[int], None]) -> None:
        """:param on_bytes: told how many bytes have been fetched of what is asked for."""
        self._on_bytes = on_bytes
        self._conversation = Conversation([sys.executable, "-I", "-W", "ignore", str(_PROGRAM)], _environ())

    def close(self) -> None:
        """End the process."""
        self._conversation.close()

    def ask(self, request: Mapping[str, Any], timeout: float | None = None) -> dict[str, Any]:
        """An answer; what is wrong stands in it as ``error``, a name, and ``message``.

        :param timeout: seconds; :raises process.TimedOutWaiting: it took longer.
        """
        try:
            answer = self._conversation.ask(request, lambda step: self._on_bytes(int(step["bytes"])), timeout)
        except Died as error:
            answer = {"error": "Died", "message": f"it ended without an answer{error}"}
        return {name: _redacted(value) if name == "message" else value for name, value in answer.items()}


class Asker:
    """Asks for one model."""

    def __init__(self, model: Named, settings: Settings, report: Report) -> None:
        self._model = model
        self._settings = settings
        self._report = report
        self._questions = Questions(self._say)
        self._listed_bytes = 0

    def __enter__(self) -> Asker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._questions.close()

    def listed(self) -> Listing | Nearby:
        """What the model's URI leads to.

        :raises ModelNotFound: there is nothing.
        :raises ModelUnreachable: whoever has it does not answer, or does not let us.
        :raises UsageError: what asks is not installed.
        """
        with tempfile.TemporaryDirectory(prefix="envbuild-model-") as scratch:
            answer = self._asked(
                {"action": "list", "uri": self._model.text, "scratch": scratch}, self._settings.lock_timeout
            )
        if "path" in answer:
            return Nearby(Path(answer["path"]), answer["said"])
        return listing_from(answer)

    def fetch(self, listing: Listing, into: Path, report: Report) -> None:
        """Fetch the files of a listing into a directory; what an earlier try has left there is gone on with.

        :raises ModelUnreachable: one of them cannot be had.
        :raises StoreError: the disk is full.
        """
        files, self._report = [[one.path, one.size] for one in listing.files], report
        self._listed_bytes = listing.size
        self._report(Step("downloading", self._model.said, count=len(files)))
        self._asked({"action": "fetch", "source": listing.source, "files": files, "into": str(into)}, None)
        self._report(Step("downloading", self._model.said, done=True, bytes=listing.size))

    def _asked(self, request: Mapping[str, Any], timeout: float | None) -> dict[str, Any]:
        try:
            answer = self._questions.ask(request, timeout)
        except process.TimedOutWaiting:
            raise ModelUnreachable(
                f"{self._model.said} has not answered for {timeout:g} seconds",
                hint="is it reachable? ENVBUILD_LOCK_TIMEOUT sets another limit",
            ) from None
        if "error" in answer:
            raise _failure(self._model, answer, self._settings)
        return answer

    def _say(self, there: int) -> None:
        self._report(Step("downloading", f"{self._model.said}: {_of(there, self._listed_bytes)}", bytes=there))


def _of(there: int, size: int) -> str:
    return f"{100 * there // size} %" if size else f"{there} bytes"


def _environ() -> dict[str, str]:
    """The deployer's own variables: whoever has a model's files is known to MLflow and the stores' clients by many."""
    passed = {name: value for name, value in os.environ.items() if _NOT_PASSED.match(name) is None}
    # MLflow's own name for what the store's tools have another for.
    endpoint = passed.get("MLFLOW_S3_ENDPOINT_URL")
    return {**_USUAL, **({"AWS_ENDPOINT_URL_S3": endpoint} if endpoint else {}), **passed}


def _failure(model: Named, answer: Mapping[str, Any], settings: Settings) -> EnvbuildError:
    kind, words = str(answer["error"]), str(answer["message"])
    if (trouble := system_errors.in_words(words, settings.home)) is not None:
        return system_errors.explanation(trouble, settings.home)
    if kind in ("ModuleNotFoundError", "ImportError"):
        extra = "mlflow" if model.kind == "mlflow" else OBJECTS[model.text.partition(":")[0].lower()]
        return UsageError(
            f"{model.said} cannot be read: what asks for it is not installed ({words})",
            hint=f"pip install 'envbuild[{extra}]'",
        )
    if kind in _NOT_THERE or _NOT_THERE_WORDS.search(words):
        return ModelNotFound(f"there is no model at {model.said}: {words}", hint="is the name right, to the letter?")
    hint = "is there a network, and is the address right?"
    if model.kind == "mlflow":
        hint = "MLFLOW_TRACKING_URI says which server is asked; is it there?"
    if _LOGIN_WORDS.search(words):
        hint = "the credentials are those that MLflow and the store's own tools take: are they right?"
    return ModelUnreachable(f"{model.said} cannot be had: {words}", hint=hint)


def _redacted(words: object) -> str:
    secrets = [value for name, value in os.environ.items() if _IS_SECRET.search(name) and len(value) > 3]
    return redacted(" ".join(str(words).split()), secrets)[:1000]
