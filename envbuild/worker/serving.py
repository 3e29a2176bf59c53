"""Serving: one frame after the other, each answered with one frame."""

import json
import os
import sys

from .casting import InputInvalid
from .channel import PROTOCOL, BadHeader, Channel, Frame
from .encoding import Encoder, OutputInvalid
from .loading import Mismatch, is_enforcement, load, loader_name
from .parsing import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXIT_BROKEN = 3
EXIT_INTERRUPTED = 130
LONGEST = 2000


class Failure(Exception):
    """What goes back as ``failed``."""

    def __init__(self, code: str, message: str, exception: "str | None" = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.exception = exception


class Worker:
    """Answers the host's frames about one model."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._pid = os.getpid()
        self._model = None  # type: Any
        self._parser = None  # type: Parser | None
        self._nan = "null"

    def announce(self) -> None:
        """Say ``ready``."""
        facts = {
            "protocol": PROTOCOL,
            "python": sys.version.split()[0],
            "implementation": sys.implementation.name,
            "executable": sys.executable,
            "pid": self._pid,
            "loader": loader_name(),
        }
        self._channel.send("ready", 0, json.dumps(facts).encode("utf-8"))

    def answer(self, frame: Frame) -> None:
        """Serve one frame."""
        try:
            verb, payload, more = self._serve(frame)
        except Failure as failure:
            verb, payload, more = "failed", _described(failure), {}
        self._stay_alone()
        _flush()
        self._channel.send(verb, frame.id, payload, **more)

    def _serve(self, frame: Frame) -> "tuple[str, bytes, dict[str, Any]]":
        version, verb = frame.header.get("protocol"), frame.header.get("verb")
        if version != PROTOCOL:
            raise Failure("worker-protocol", f"this worker speaks protocol {PROTOCOL}, not {version!r}")
        if type(frame.header.get("id")) is not int:
            raise Failure("worker-protocol", "the frame has no id")
        if verb == "load":
            self._load(_order(frame.payload))
            return "loaded", b"{}", {}
        if verb == "predict":
            return self._predict(frame)
        raise Failure("worker-protocol", f"the verb {verb!r} is none of load, predict, stop")

    def _load(self, order: "dict[str, Any]") -> None:
        if self._model is not None:
            raise Failure("worker-protocol", "a model is loaded already")
        try:
            model = load(order)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a model may raise anything, SystemExit as well
            raise _raised("model-not-loaded", "the model could not be loaded", error) from None
        self._nan = order.get("nan") or "null"
        self._parser = Parser(order.get("signature"), model.takes_raw_inputs, conforms=not model.enforces)
        self._model = model

    def _predict(self, frame: Frame) -> "tuple[str, bytes, dict[str, Any]]":
        if self._parser is None:
            raise Failure("worker-protocol", "no model is loaded")
        try:
            request = self._parser.parse(frame.payload, str(frame.header.get("content_type")))
            frame.payload = b""  # it may be large, and is parsed
            predictions = self._call(request.data, request.params)
            encoder = Encoder(self._nan)
            payload = encoder.dump(predictions, request.wrapped)
        except InputInvalid as error:
            raise Failure("input-invalid", str(error)) from None
        except Mismatch as error:
            raise Failure("input-mismatch", str(error)) from None
        except OutputInvalid as error:
            raise Failure("output-invalid", str(error)) from None
        return "predicted", payload, {"nulls": encoder.nulls}

    def _call(self, data: "Any", params: "dict[str, Any] | None") -> "Any":
        try:
            return self._model.predict(data, params)
        except (KeyboardInterrupt, Mismatch):
            raise
        except BaseException as error:  # as above
            if is_enforcement(error):
                raise Mismatch(_without_data(_text(error))) from None
            raise _raised("model-raised", "the model's predict raised an exception", error) from None

    def _stay_alone(self) -> None:
        # A model may fork and let its child come back from predict: the channel belongs to one process.
        if os.getpid() != self._pid:
            os._exit(0)


def serve(channel: Channel) -> None:
    """Serve until ``stop`` or the end of the channel; does not return."""
    status = EXIT_BROKEN
    try:
        status = _loop(channel)
    except KeyboardInterrupt:
        status = EXIT_INTERRUPTED
    except BrokenPipeError:  # the host is gone; the sentinel does the rest
        status = 0
    finally:
        _flush()
        # Not sys.exit: threads that the model left running would keep the worker alive.
        os._exit(status)


def _loop(channel: Channel) -> int:
    worker = Worker(channel)
    worker.announce()
    while True:
        try:
            frame = channel.receive()
        except BadHeader as error:
            channel.send("failed", 0, _described(Failure("worker-protocol", str(error))))
            return EXIT_BROKEN
        if frame is None or frame.header.get("verb") == "stop":
            return 0
        worker.answer(frame)


def _order(payload: bytes) -> "dict[str, Any]":
    try:
        order = json.loads(payload.decode("utf-8"))
        if isinstance(order["model"], str) and isinstance(order["loader_module"], str):
            return dict(order)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise Failure("worker-protocol", "the payload of load is not an object with model and loader_module")


def _raised(code: str, message: str, error: BaseException) -> Failure:
    if isinstance(error, SystemExit):
        return Failure(code, f"the model called sys.exit({_text(error)})", _line(error))
    _print_traceback(error)
    return Failure(code, f"{message}: {_line(error)}", _line(error))


def _print_traceback(error: BaseException) -> None:
    import traceback  # most workers never need it, and it takes a tenth of the start

    try:
        traceback.print_exception(type(error), error, error.__traceback__)
    except Exception:  # noqa: S110 - the model closed stderr, or its exception cannot be printed
        pass


def _line(error: BaseException) -> str:
    text = _text(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _text(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    except Exception:  # an exception's own __str__ may raise
        return "<cannot be shown>"
    return text


def _without_data(text: str) -> str:
    """Mlflow 3 puts the whole input before its reason; data has no place in a message, nor in the logs after it."""
    _, said, reason = text.partition(". Error: ")
    return reason if said and text.startswith("Failed to enforce schema of data") else text


def _described(failure: Failure) -> bytes:
    body = {"code": failure.code, "message": _shortened(failure.message), "exception": _shortened(failure.exception)}
    return json.dumps(body).encode("ascii")


def _shortened(text: "str | None") -> "str | None":
    return text if text is None or len(text) <= LONGEST else text[:LONGEST] + "…"


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: S110 - closed or replaced by the model, which is its own affair
            pass
