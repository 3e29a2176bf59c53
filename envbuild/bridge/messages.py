"""Messages: what a worker is told of its model, and what its answers mean here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from envbuild.bridge.frames import PROTOCOL, Frame
from envbuild.bridge.options import WorkerOptions
from envbuild.bridge.prediction import Prediction
from envbuild.errors import (
    CommandNotStarted,
    ConfinementUnavailable,
    EnvbuildError,
    InputError,
    InputMismatch,
    ModelNotLoaded,
    ModelRaised,
    OutOfMemory,
    OutputInvalid,
    OutputTooLarge,
    ProtocolError,
    SystemPackageMissing,
)
from envbuild.request import JSON, Question

if TYPE_CHECKING:
    from envbuild.model import Model

_FAILURES: Final[dict[str, type[EnvbuildError]]] = {
    kind.code: kind
    for kind in (
        CommandNotStarted,
        ConfinementUnavailable,
        InputError,
        InputMismatch,
        ModelNotLoaded,
        ModelRaised,
        OutOfMemory,
        OutputInvalid,
        OutputTooLarge,
        ProtocolError,
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What a worker says of itself."""

    protocol: int
    python: str
    loader: str


def load_order(model: Model, options: WorkerOptions) -> bytes:
    """The payload of ``load``: what a model is, and how it is to be asked."""
    pyfunc = model.pyfunc
    is_direct = options.loader == "direct"
    order = {
        "model": str(model.path),
        "loader_module": pyfunc.loader_module,
        "data": pyfunc.data or pyfunc.data_of_flavor,
        "direct": is_direct or (pyfunc.data is None and pyfunc.data_of_flavor is not None),
        "flavor": None if options.flavor is None else dict(options.flavor),
        "mlflow": options.instead_of,
        "code": pyfunc.code,
        "config": None if pyfunc.config is None else dict(pyfunc.config),
        "predict_fn": pyfunc.predict_fn,
        "signature": None if model.signature is None else model.signature.to_dict(),
        "nan": options.nan,
        "enforce": options.enforce,
        "max_output": options.max_output,
    }
    return json.dumps(order).encode()


def ready_of(frame: Frame) -> Ready:
    """What ``ready`` says.

    :raises ProtocolError: it is another version's.
    """
    facts = frame.said()
    if facts.get("protocol") != PROTOCOL:
        raise ProtocolError(
            f"the worker speaks protocol {repr(facts.get('protocol'))[:100]}, and this envbuild speaks {PROTOCOL}"
        )
    return Ready(protocol=PROTOCOL, python=str(facts.get("python")), loader=str(facts.get("loader")))


def reads_of(frame: Frame) -> frozenset[str]:
    """The content types that ``loaded`` names.

    :raises ProtocolError: it names none.
    """
    said = frame.said().get("reads")
    if not isinstance(said, list) or not all(isinstance(kind, str) for kind in said):
        raise ProtocolError("the worker did not say which content types it reads")
    return frozenset(said)


def header_of(question: Question) -> dict[str, Any]:
    """What the header of a request has beside its content type."""
    said = {"content_encoding": question.encoding, "accept": question.accept, "keep": [*question.keep] or None}
    return {name: value for name, value in said.items() if value is not None}


def each_of(number: int, questions: Sequence[Question]) -> Frame:
    """Several requests as one frame: their headers as its ``parts``, their payloads one behind the other."""
    parts = [{**header_of(one), "content_type": one.content_type, "length": len(one.payload)} for one in questions]
    payload = b"".join(one.payload for one in questions)
    return Frame(id=number, verb="predict_each", payload=payload, more={"parts": parts})


def parts_of(frame: Frame, count: int) -> list[Frame]:
    """The answers of ``predicted_each``, a frame each: ``predicted``, ``failed`` or ``alone``.

    :raises ProtocolError: they are not so many, or not as they should be.
    """
    said = frame.more.get("parts")
    if not isinstance(said, list) or len(said) != count or not all(map(_is_part, said)):
        raise ProtocolError("the worker's answers to several requests are not as many, or not as they should be")
    start, made, payload = 0, [], memoryview(frame.payload)
    for part in said:
        facts = {"content_type": JSON, **part}
        verb, length, kind = facts.pop("verb"), facts.pop("length"), facts.pop("content_type")
        piece = bytes(payload[start : start + length])
        made.append(Frame(id=frame.id, verb=verb, content_type=kind, payload=piece, more=facts))
        start += length
    if start != len(payload):
        raise ProtocolError("the worker's answers to several requests are not as long as they should be")
    return made


def _is_part(said: Any) -> bool:
    return (
        isinstance(said, dict)
        and said.get("verb") in ("predicted", "failed", "alone")
        and type(said.get("length")) is int
        and said["length"] >= 0
        and isinstance(said.get("content_type", ""), str)
        and all(type(said.get(name, 0)) is int for name in ("nulls", "rows"))
    )


def prediction_of(frame: Frame) -> Prediction:
    """The answer that ``predicted`` has."""
    return Prediction(
        payload=bytes(frame.payload),
        content_type=frame.content_type,
        nulls=int(frame.more.get("nulls", 0)),
        rows=frame.more.get("rows"),
    )


def failure_of(frame: Frame) -> EnvbuildError:
    """The error that ``failed`` says."""
    said = frame.said()
    kind, message = _FAILURES.get(str(said.get("code")), ProtocolError), str(said.get("message"))
    if kind not in (ModelNotLoaded, ModelRaised):
        return kind(message)
    from envbuild import system_packages  # most workers never fail

    lacking = system_packages.lacking(message)
    if lacking is not None and kind is ModelNotLoaded:
        kind = SystemPackageMissing
    return kind(message, hint=lacking or "The traceback is on the worker's stderr.")
