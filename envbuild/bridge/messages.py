"""Messages: what a worker is told of its model, and what its answers mean here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from envbuild.bridge.frames import PROTOCOL, Frame
from envbuild.bridge.options import WorkerOptions
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
)

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


def failure_of(frame: Frame) -> EnvbuildError:
    """The error that ``failed`` says."""
    said = frame.said()
    kind = _FAILURES.get(str(said.get("code")), ProtocolError)
    hint = None
    if kind in (ModelNotLoaded, ModelRaised):
        hint = "The traceback is on the worker's stderr."
    return kind(str(said.get("message")), hint=hint)
