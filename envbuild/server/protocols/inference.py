"""Inference: the routes of the Open Inference Protocol, version 2, as KServe and Triton's clients ask them.

Source: ``specification/protocol/inference_rest.md`` of the protocol. Errors are :mod:`envbuild.server.failing`'s, which
knows the form that they have below ``/v2``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from envbuild import __version__
from envbuild.errors import InputError
from envbuild.redaction import redacted
from envbuild.request import Question
from envbuild.server.crew import Crew
from envbuild.server.protocols import bodies, tensor_answers, tensors
from envbuild.server.protocols.asking import predicted
from envbuild.server.protocols.tensor_answers import Output, outputs_of
from envbuild.server.protocols.tensor_requests import Takes
from envbuild.server.served import Served

LENGTH: Final = "Inference-Header-Content-Length"
"""The header that says how many bytes of a body with binary data are JSON."""
_MODELS: Final = ("/v2/models/{name:path}/versions/{version}", "/v2/models/{name:path}")
# Bytes: what takes longer to read than a moment is read beside the event loop.
_LONG: Final = 64 * 2**10
_VERSION: Final = "1"
_HASH_LENGTH: Final = 12

P = ParamSpec("P")
T = TypeVar("T")


def routes(served: Served, crew: Crew) -> list[Route]:
    """Everything under ``/v2``."""
    inference = Inference(served, crew)
    # What stands below a name comes before it, since a name may have slashes, and with a version before without.
    below = [
        route
        for form in _MODELS
        for route in (
            Route(f"{form}/infer", inference.infer, methods=["POST"]),
            Route(f"{form}/ready", inference.model_ready, methods=["GET"]),
        )
    ]
    return [
        Route("/v2", inference.server, methods=["GET"]),
        Route("/v2/health/live", inference.live, methods=["GET"]),
        Route("/v2/health/ready", inference.ready, methods=["GET"]),
        *below,
        *(Route(form, inference.model, methods=["GET"]) for form in _MODELS),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A request that was read."""

    question: Question
    id: str | None
    outputs: Sequence[tuple[str, bool]] | None
    """The names that are asked for, and whether as binary data; ``None``: all that there are."""
    is_binary: bool
    """Whether outputs are binary where nothing is said of them."""


class Inference:
    """The routes over one crew."""

    def __init__(self, served: Served, crew: Crew) -> None:
        self._crew = crew
        self._name = served.name
        self._version = _VERSION if served.lock is None else served.lock.hash[:_HASH_LENGTH]
        self._takes = Takes.of(served.model)
        signature = served.model.signature
        self._outputs: Sequence[Any] = () if signature is None else signature.to_dict()["outputs"] or ()

    async def server(self, request: Request) -> Response:
        """What this server is."""
        del request
        return JSONResponse({"name": "envbuild", "version": __version__, "extensions": ["binary_tensor_data"]})

    async def live(self, request: Request) -> Response:
        """That it answers at all."""
        del request
        return JSONResponse({"live": True})

    async def ready(self, request: Request) -> Response:
        """Whether a worker is ready; one that died is replaced."""
        del request
        return self._readiness({})

    async def model_ready(self, request: Request) -> Response:
        """Likewise, of the model by its name."""
        self._check_name(request)
        return self._readiness({"name": self._name})

    async def model(self, request: Request) -> Response:
        """The model's inputs and outputs, by its signature."""
        if request.path_params["name"].endswith("/infer"):
            raise HTTPException(405, "only POST asks for a prediction", headers={"Allow": "POST"})
        self._check_name(request)
        return JSONResponse(
            {
                "name": self._name,
                "versions": list(dict.fromkeys((_VERSION, self._version))),
                "platform": "mlflow_pyfunc",
                # The protocol knows no model that takes anything.
                "inputs": _described(self._takes.specs, "input") or [_any("input-1")],
                "outputs": _described(self._outputs, "output") or [_any("output-1")],
            }
        )

    async def infer(self, request: Request) -> Response:
        """A prediction."""
        self._check_name(request)
        body = await bodies.unpacked(request)
        length = request.headers.get(LENGTH)
        asked = await _beside(len(body), self._read, body, length)
        prediction = await predicted(request, self._crew, asked.question)
        return await _beside(len(prediction.payload), self._answered, prediction.payload, asked)

    def _readiness(self, more: Mapping[str, Any]) -> Response:
        trouble = self._crew.trouble()
        self._crew.revive()
        if trouble is None:
            return JSONResponse({**more, "ready": True})
        return JSONResponse({**more, "ready": False, "error": redacted(trouble)}, status_code=503)

    def _check_name(self, request: Request) -> None:
        name, version = request.path_params["name"], request.path_params.get("version")
        if name != self._name:
            raise HTTPException(404, f"there is no model {name[:100]!r} here; this one is {self._name!r}")
        if version not in (None, _VERSION, self._version):
            raise HTTPException(404, f"there is no version {version[:100]!r} of it; this one is {self._version}")

    def _read(self, body: bytes, length: str | None) -> _Asked:
        head, tail = _parts(body, length)
        written = bodies.parsed(head)
        if not isinstance(written, dict):
            raise InputError(f"the request must be an object, not {tensors.named(written)}")
        inputs = written.get("inputs")
        if not isinstance(inputs, list) or not inputs:
            raise InputError("the request must have inputs, a list of tensors")
        parameters = tensors.parameters_of(written, "the request")
        content_type = tensors.content_type_of(parameters, "the request")
        given = [tensors.read(one, place, tail) for place, one in enumerate(inputs)]
        tail.check_end()
        if len({tensor.name for tensor in given}) < len(given):
            raise InputError("two inputs have the same name")
        return _Asked(
            question=self._takes.question(given, parameters, content_type),
            id=_id(written),
            outputs=_asked_outputs(written, _flag(parameters, "binary_data_output", False)),
            is_binary=_flag(parameters, "binary_data_output", False),
        )

    def _answered(self, payload: bytes, asked: _Asked) -> Response:
        answer = json.loads(payload)
        if isinstance(answer, dict) and set(answer) == {"predictions"}:
            answer = answer["predictions"]
        found = {output.name: output for output in outputs_of(answer, self._outputs)}
        wanted = [(name, asked.is_binary) for name in found] if asked.outputs is None else asked.outputs
        for name, _ in wanted:
            if name not in found:
                known = ", ".join(map(repr, found))
                raise InputError(f"there is no output {name[:100]!r}; there are {known[:1000]}")
        more = {} if asked.id is None else {"id": asked.id}
        return _response(
            {"model_name": self._name, "model_version": self._version, **more},
            [(found[name], is_binary) for name, is_binary in wanted],
        )


async def _beside(size: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function, in a thread where it has much to read."""
    if size > _LONG:
        return await run_in_threadpool(function, *args, **kwargs)
    return function(*args, **kwargs)


def _parts(body: bytes, length: str | None) -> tuple[memoryview, tensors.Tail]:
    """The JSON of a body, and the binary data behind it."""
    data = memoryview(body)
    if length is None:
        return data, tensors.Tail(data[len(data) :])
    # Python reads no number of thousands of digits; ten are more than any body has bytes.
    size = int(length) if length.isascii() and length.isdigit() and len(length) < 18 else None
    if size is None or size > len(data):
        raise InputError(f"{LENGTH} is {length[:40]!r}, and the body has {len(data)} bytes")
    return data[:size], tensors.Tail(data[size:])


def _id(written: Mapping[str, Any]) -> str | None:
    found = written.get("id")
    if found is None or isinstance(found, str):
        return found
    raise InputError(f"the id of the request must be a text, not {tensors.named(found)}")


def _asked_outputs(written: Mapping[str, Any], is_binary: bool) -> list[tuple[str, bool]] | None:
    asked = written.get("outputs")
    if asked is None or asked == []:
        return None
    if not isinstance(asked, list) or not all(
        isinstance(one, dict) and isinstance(one.get("name"), str) for one in asked
    ):
        raise InputError("the outputs of the request must be a list of objects with names")
    return [
        (one["name"], _flag(tensors.parameters_of(one, f"output {one['name']!r}"), "binary_data", is_binary))
        for one in asked
    ]


def _flag(parameters: Mapping[str, Any], name: str, usual: bool) -> bool:
    found = parameters.get(name)
    if found is None or isinstance(found, bool):
        return usual if found is None else found
    raise InputError(f"{name} must be true or false, not {tensors.named(found)}")


def _response(head: Mapping[str, Any], outputs: Sequence[tuple[Output, bool]]) -> Response:
    """An answer; with binary data behind its JSON where that is asked for."""
    parts: list[bytes] = []
    written = []
    for output, is_binary in outputs:
        if is_binary:
            said, data = output.written_binary()
            parts.append(data)
        else:
            said = output.written()
        written.append(said)
    text = json.dumps({**head, "outputs": written}, allow_nan=False).encode()
    if not any(is_binary for _, is_binary in outputs):
        return Response(text, media_type="application/json")
    return Response(b"".join((text, *parts)), media_type="application/octet-stream", headers={LENGTH: str(len(text))})


def _described(specs: Sequence[Any], of: str) -> list[dict[str, Any]]:
    return [
        {
            "name": tensor_answers.name_of(spec, place, of),
            "datatype": tensor_answers.datatype_of(spec),
            "shape": tensor_answers.shape_of(spec),
        }
        for place, spec in enumerate(specs)
    ]


def _any(name: str) -> dict[str, Any]:
    return {"name": name, "datatype": "FP64", "shape": [-1, -1]}
