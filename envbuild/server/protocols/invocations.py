"""Invocations: the scoring routes, as MLflow's scoring server and SageMaker's containers have them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from envbuild.errors import OutputInvalid
from envbuild.request import ARROW_FILE, ARROW_STREAM, CSV, JSON, JSON_LINES, PARQUET, Question, kind_of
from envbuild.server.crew import Crew
from envbuild.server.failing import failed
from envbuild.server.protocols.accepting import ANYTHING, accepted
from envbuild.server.protocols.asking import predicted
from envbuild.server.served import Served

CONTENT_TYPES: Final = (
    JSON,
    "application/json-numpy-split",
    JSON_LINES,
    "application/x-ndjson",
    CSV,
    PARQUET,
    ARROW_FILE,
    ARROW_STREAM,
)
"""What a worker can read."""
ENCODINGS: Final = ("gzip", "identity")
# What SageMaker calls it (SageMaker documentation, "Common data formats for inference").
_ALSO: Final[Mapping[str, str]] = {"application/jsonlines": JSON_LINES}
# Of no meaning to SageMaker; a container may give back in the answer what the caller said, as an id of his (SageMaker API
# reference, InvokeEndpoint).
_CUSTOM: Final = "X-Amzn-SageMaker-Custom-Attributes"
_CUSTOM_FORM: Final = re.compile(r"[\x21-\x7e](?:[\t\x20-\x7e]{0,1022}[\x21-\x7e])?")


def routes(served: Served, crew: Crew) -> list[Route]:
    """``/ping``, ``/health``, ``/version`` and ``/invocations``."""
    invocations = Invocations(served, crew)
    return [
        Route("/ping", invocations.ping, methods=["GET"]),
        Route("/health", invocations.ping, methods=["GET"]),
        Route("/version", invocations.version, methods=["GET"]),
        Route("/invocations", invocations.invoke, methods=["POST"]),
    ]


class Invocations:
    """The routes over one crew."""

    def __init__(self, served: Served, crew: Crew) -> None:
        self._crew = crew
        self._mlflow_version = served.mlflow_version()

    async def ping(self, request: Request) -> Response:
        """Whether a worker is ready; one that died is replaced."""
        del request
        trouble = self._crew.trouble()
        self._crew.revive()
        return Response("\n", media_type=JSON) if trouble is None else failed(503, "TEMPORARILY_UNAVAILABLE", trouble)

    async def version(self, request: Request) -> Response:
        """The mlflow that saved the model."""
        del request
        if self._mlflow_version is None:
            return failed(404, "RESOURCE_DOES_NOT_EXIST", "the model does not say which mlflow saved it")
        return PlainTextResponse(self._mlflow_version)

    async def invoke(self, request: Request) -> Response:
        """A prediction; waits for the model where it is being loaded, and for the predictions before this one."""
        question, form = await question_of(request), accepted(request)
        if form is not ANYTHING:
            question = replace(question, accept=form.form)
        try:
            prediction = await predicted(request, self._crew, question)
        except OutputInvalid as error:
            if form.form == JSON:
                raise
            raise HTTPException(406, f"the predictions cannot be {form.name}: {error.message}") from error
        return Response(
            prediction.payload, media_type=form.name_of(prediction.content_type), headers=_given_back(request)
        )


async def question_of(request: Request, *, usual: str = "") -> Question:
    """What a request asks.

    :param usual: its content type where it says none.
    :raises HTTPException: 415: no worker can read it, or it is compressed in a way that none knows.
    """
    content_type = request.headers.get("content-type", usual)
    content_type = _ALSO.get(kind_of(content_type), content_type)
    if kind_of(content_type) not in CONTENT_TYPES:
        raise HTTPException(
            415, f"the content type is {content_type[:100]!r}; this server takes {', '.join(CONTENT_TYPES)}"
        )
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ENCODINGS:
        raise HTTPException(
            415, f"the content encoding is {encoding[:100]!r}; this server takes {', '.join(ENCODINGS)}"
        )
    return Question(payload=await request.body(), content_type=content_type, encoding=encoding)


def _given_back(request: Request) -> dict[str, str]:
    said = request.headers.get(_CUSTOM)
    return {_CUSTOM: said} if said is not None and _CUSTOM_FORM.fullmatch(said) else {}
