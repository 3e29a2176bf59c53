"""Azure: ``/score``, as Azure Machine Learning's endpoints of MLflow models have it.

Source: Azure Machine Learning's documentation, "Guidelines for deploying MLflow models", and the scoring script that
Azure makes for such models: the input is under ``input_data``, and the answer is bare.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from envbuild.errors import InputError
from envbuild.request import BODY_KEYS, JSON, Question, kind_of
from envbuild.server.crew import Crew
from envbuild.server.protocols import bodies
from envbuild.server.protocols.asking import predicted
from envbuild.server.protocols.invocations import question_of
from envbuild.server.protocols.tensor_requests import Takes
from envbuild.server.served import Served

INPUT_DATA: Final = "input_data"
# As inference-schema's decorators and the older scoring scripts name the same.
_OLDER: Final = "data"
# What the worker writes before and behind an answer.
_OPENING, _CLOSING = b'{"predictions": ', b"}"


def routes(served: Served, crew: Crew) -> list[Route]:
    """``/score``."""
    return [Route("/score", Scoring(served, crew).score, methods=["POST"])]


class Scoring:
    """The route over one crew."""

    def __init__(self, served: Served, crew: Crew) -> None:
        self._crew = crew
        self._takes = Takes.of(served.model)

    async def score(self, request: Request) -> Response:
        """A prediction, without the object that MLflow has around it."""
        question = await question_of(request, usual=JSON)
        if kind_of(question.content_type) == JSON:
            question = self._translated(await bodies.unpacked(request), question)
        prediction = await predicted(request, self._crew, question)
        payload = prediction.payload
        if payload.startswith(_OPENING):
            payload = payload[len(_OPENING) : -len(_CLOSING)]
        return Response(payload, media_type=prediction.content_type)

    def _translated(self, body: bytes, question: Question) -> Question:
        """Azure's form of a request as MLflow's; MLflow's own as it is."""
        written = bodies.parsed(body)
        if not isinstance(written, dict) or BODY_KEYS & set(written):
            return question
        key = next((key for key in (INPUT_DATA, _OLDER) if key in written), None)
        if key is None:
            return question
        made = self._body(written[key], key)
        if written.get("params") is not None:
            made = {**made, "params": written["params"]}
        return Question(payload=json.dumps(made).encode(), content_type=JSON)

    def _body(self, data: Any, key: str) -> dict[str, Any]:
        if isinstance(data, dict):
            return self._of_object(data)
        if not isinstance(data, list):
            raise InputError(f"{key} must be a list or an object")
        if data and all(isinstance(row, dict) for row in data):
            return {"dataframe_records": data}
        if data and self._takes.has_columns and not self._takes.is_raw and all(isinstance(row, list) for row in data):
            names = self._takes.names
            return {"dataframe_split": {"data": data} if None in names else {"columns": names, "data": data}}
        return {"inputs": data}

    def _of_object(self, data: Mapping[str, Any]) -> dict[str, Any]:
        if "data" in data and set(data) <= {"columns", "index", "data"}:
            if "columns" in data:
                return {"dataframe_split": data}
            return self._body(data["data"], INPUT_DATA)
        # A form of MLflow's may stand there as well; else these are tensors by their names.
        return dict(data) if BODY_KEYS & set(data) else {"inputs": data}
