"""Serving: one frame after the other, each answered with one frame."""

import sys

# By name and at once: a model may put something else in the modules' place.
from json import dumps, loads
from os import _exit, getpid
from sys import getrecursionlimit, setrecursionlimit

from . import together
from .answering import answered
from .casting import InputInvalid
from .channel import PROTOCOL, BadHeader, Channel, ChannelLost, Frame
from .encoding import OutputInvalid
from .loading import Mismatch, is_enforcement, load, loader_name
from .parsing import Parser, Request, decompressed, readable_types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

EXIT_BROKEN = 3
EXIT_LOST = 74
EXIT_INTERRUPTED = 130
# Characters: of a message, and of an entry of a traceback.
LONGEST = 2000
LONGEST_ENTRY = 20000
DEEPEST = getrecursionlimit()
# How glibc's dynamic linker says that a library is not there, or too old; and how far back it is looked for.
LINKER = ("cannot open shared object file", "' not found (required by")
DEEPEST_CAUSE = 16
# Of a request that is for itself: it is predicted when it is answered.
NOT_YET = object()
TEXT, FLAG = (str, type(None)), (bool, type(None))
# What an order to load says, and of which type.
ORDER = {
    "model": (str,),
    "loader_module": (str,),
    "data": TEXT,
    "direct": FLAG,
    "flavor": (dict, type(None)),
    "mlflow": TEXT,
    "code": TEXT,
    "config": (dict, type(None)),
    "predict_fn": TEXT,
    "signature": (dict, type(None)),
    "nan": TEXT,
    "enforce": FLAG,
    "max_output": (int, type(None)),
}


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
        self._pid = getpid()
        self._model = None  # type: Any
        self._parser = Parser(None)
        self._nan = "null"
        self._max_output = None  # type: int | None

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
        self._channel.send("ready", 0, dumps(facts).encode("utf-8"))

    def answer(self, frame: Frame) -> None:
        """Serve one frame."""
        try:
            verb, payload, more = self._serve(frame)
        except Failure as failure:
            verb, payload, more = "failed", _described(failure), {}
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # what the model left behind spoils what comes after it
            spoilt = _unfit("model-raised", "what the model did cannot be told", error)
            verb, payload, more = "failed", _described(spoilt), {}
        self._stay_alone()
        _flush()
        self._channel.send(verb, frame.id, payload, **more)

    def _serve(self, frame: Frame) -> "tuple[str, bytes, dict[str, Any]]":
        version, verb = frame.header.get("protocol"), frame.header.get("verb")
        if version != PROTOCOL:
            raise Failure("worker-protocol", f"this worker speaks protocol {PROTOCOL}, not {version!r}")
        if type(frame.header.get("id")) is not int:
            raise Failure("worker-protocol", "the frame has no id")
        if frame.payload is None:
            raise Failure("out-of-memory", "the request's {} bytes found no room".format(frame.header["length"]))
        if verb == "load":
            self._load(_order(frame.payload))
            return "loaded", dumps({"reads": readable_types()}).encode("ascii"), {}
        if verb not in ("predict", "predict_each"):
            raise Failure("worker-protocol", f"the verb {verb!r} is none of load, predict, predict_each, stop")
        if self._model is None:
            raise Failure("worker-protocol", "no model is loaded")
        return self._predict(frame) if verb == "predict" else self._predict_each(frame)

    def _load(self, order: "dict[str, Any]") -> None:
        if self._model is not None:
            raise Failure("worker-protocol", "a model is loaded already")
        try:
            model = load(order)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a model may raise anything, SystemExit as well
            raise _raised("model-not-loaded", "the model could not be loaded", error) from None
        finally:
            _restore_depth()
        self._nan = order.get("nan") or "null"
        self._max_output = order.get("max_output")
        enforces = order.get("enforce", True)
        try:
            signature = order.get("signature") if enforces else dict(order.get("signature") or {}, inputs=None)
            conforms = enforces and not model.enforces
            self._parser = Parser(signature, model.takes_raw_inputs, conforms, model.release)
        except Exception as error:
            raise _unfit("model-not-loaded", "the model's signature cannot be understood", error) from None
        self._model = model

    def _predict(self, frame: Frame) -> "tuple[str, bytes, dict[str, Any]]":
        return self._predicted(self._request(_taken(frame), frame.header), frame.header)

    def _predicted(self, request: Request, header: "dict[str, Any]") -> "tuple[str, bytes, dict[str, Any]]":
        rows = _rows_of(request.data)
        predictions = self._call(request.data, request.params)
        return self._answered(request, rows, predictions, header.get("accept"))

    def _predict_each(self, frame: Frame) -> "tuple[str, bytes, dict[str, Any]]":
        """Requests that can be put together in one call; the host asks those alone that cannot."""
        made = [self._part(header, payload) for header, payload in _parts_of(frame)]
        requests = [request for request in made if isinstance(request, Request)]
        answers = self._called_together(_most_alike(requests))
        parts = [self._part_answered(one, header, answers) for one, header in zip(made, frame.header["parts"])]
        described = [dict(more, verb=verb, length=len(payload)) for verb, payload, more in parts]
        return "predicted_each", b"".join(payload for _, payload, _ in parts), {"parts": described}

    def _part(self, header: "dict[str, Any]", payload: bytes) -> "Request | Failure":
        try:
            return self._request(payload, header)
        except Failure as failure:
            return failure

    def _called_together(self, requests: "list[Request]") -> "dict[Request, tuple[int | None, Any]]":
        """By request the rows that it had, and what was predicted of them; without those to be asked alone."""
        if len(requests) < 2:
            return dict.fromkeys(requests, (None, NOT_YET))
        try:
            counts = [together.rows_of(request.data) for request in requests]
            data = together.put([request.data for request in requests])
            parts = together.given_back(self._call(data, requests[0].params), counts)
        except KeyboardInterrupt:
            raise
        except BaseException:  # whose fault it is shows when each is asked alone
            return {}
        return {} if parts is None else dict(zip(requests, zip(counts, parts)))

    def _part_answered(
        self,
        request: "Request | Failure",
        header: "dict[str, Any]",
        answers: "dict[Request, tuple[int | None, Any]]",
    ) -> "tuple[str, bytes, dict[str, Any]]":
        if isinstance(request, Failure):
            return "failed", _described(request), {}
        if request not in answers:
            return "alone", b"", {}
        rows, predictions = answers[request]
        try:
            if predictions is NOT_YET:
                return self._predicted(request, header)
            return self._answered(request, rows, predictions, header.get("accept"))
        except Failure as failure:
            return "failed", _described(failure), {}

    def _answered(
        self, request: Request, rows: "int | None", predictions: "Any", accept: "str | None"
    ) -> "tuple[str, bytes, dict[str, Any]]":
        try:
            answer = answered(predictions, self._nan, accept, rows, request.wrapped, request.kept)
        except OutputInvalid as error:
            raise Failure("output-invalid", str(error)) from None
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # the objects that a model gives back are its own code as well
            raise _unfit("output-invalid", "the answer cannot be written", error) from None
        if self._max_output is not None and len(answer.payload) > self._max_output:
            raise Failure(
                "output-too-large",
                f"the answer has {len(answer.payload)} bytes, and may have {self._max_output}",
            )
        more = {"nulls": answer.nulls, "content_type": answer.content_type}
        if rows is not None:
            more["rows"] = rows
        return "predicted", answer.payload, more

    def _request(self, payload: bytes, header: "dict[str, Any]") -> Request:
        try:
            payload = decompressed(payload, header.get("content_encoding"))
            return self._parser.parse(payload, str(header.get("content_type")), header.get("keep"))
        except InputInvalid as error:
            raise Failure("input-invalid", str(error)) from None
        except Mismatch as error:
            raise Failure("input-mismatch", str(error)) from None
        except Exception as error:  # above all what found no room
            raise _unfit("input-invalid", "the input cannot be read", error) from None

    def _call(self, data: "Any", params: "dict[str, Any] | None") -> "Any":
        try:
            return self._model.predict(data, params)
        except KeyboardInterrupt:
            raise
        except Mismatch as error:
            raise Failure("input-mismatch", str(error)) from None
        except BaseException as error:  # as above
            if is_enforcement(error):
                raise Failure("input-mismatch", self._parser.told(_without_data(_text(error)), data)) from None
            raise _raised("model-raised", "the model's predict raised an exception", error) from None
        finally:
            _restore_depth()

    def _stay_alone(self) -> None:
        # A model may fork and let its child come back from predict: the channel belongs to one process.
        if getpid() != self._pid:
            _exit(0)


def serve(channel: Channel) -> None:
    """Serve until ``stop`` or the end of the channel; does not return."""
    status = EXIT_BROKEN
    worker = Worker(channel)  # kept to the end: deleting a model may take long
    try:
        status = _loop(worker, channel)
    except KeyboardInterrupt:
        status = EXIT_INTERRUPTED
    except BrokenPipeError:  # the host is gone; the sentinel does the rest
        status = 0
    except ChannelLost as error:
        status = EXIT_LOST
        _say(str(error))
    except BaseException as error:  # a model's signal handler may raise while the worker waits
        _print_traceback(error)
    finally:
        _flush()
        # Not sys.exit: threads that the model left running would keep the worker alive.
        _exit(status)


def _loop(worker: Worker, channel: Channel) -> int:
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


def _rows_of(data: "Any") -> "int | None":
    """How many rows the input of a model has, where it has rows; asked before the model, which may change it."""
    if hasattr(data, "columns") and hasattr(data, "index"):
        return len(data)
    columns = data.values() if isinstance(data, dict) else [data]
    lengths = set(map(_length, columns))
    return lengths.pop() if len(lengths) == 1 else None


def _length(column: "Any") -> "int | None":
    return len(column) if isinstance(column, list) or (hasattr(column, "ndim") and column.ndim) else None


def _taken(frame: Frame) -> bytes:
    """The payload, which may be large and is then nobody else's."""
    payload, frame.payload = frame.payload, b""
    return payload or b""


def _most_alike(requests: "list[Request]") -> "list[Request]":
    """Those of the form that most have; where no two are alike, one of them."""
    by_kind = {}  # type: dict[str | None, list[Request]]
    for request in requests:
        by_kind.setdefault(together.alike(request), []).append(request)
    by_kind.pop(None, None)
    return max(by_kind.values(), key=len, default=[]) or requests[:1]


def _parts_of(frame: Frame) -> "list[tuple[dict[str, Any], bytes]]":
    """The requests of ``predict_each``: their headers, and their payloads one behind the other."""
    headers, payload, start, parts = frame.header.get("parts") or (), _taken(frame), 0, []
    lengths = [_part_length(header) for header in headers] if isinstance(headers, list) else []
    if not lengths or min(lengths) < 0 or sum(lengths) != len(payload):
        raise Failure("worker-protocol", "the parts of predict_each are not those of its payload")
    for header, length in zip(headers, lengths):
        parts.append((header, payload[start : start + length]))
        start += length
    return parts


def _part_length(header: "Any") -> int:
    length = header.get("length") if isinstance(header, dict) else None
    return length if type(length) is int else -1


def _order(payload: bytes) -> "dict[str, Any]":
    try:
        order = dict(loads(payload.decode("utf-8")))
    except (ValueError, TypeError, RecursionError):
        order = {}
    wrong = [name for name, kinds in ORDER.items() if type(order.get(name)) not in kinds]
    if wrong:
        raise Failure("worker-protocol", "the payload of load has none, or one of a wrong type: " + ", ".join(wrong))
    return order


def _raised(code: str, message: str, error: BaseException) -> Failure:
    if issubclass(type(error), SystemExit):
        return Failure(code, f"the model called sys.exit({_text(error)})", _line(error))
    _print_traceback(error)
    return _unfit(code, message, error)


def _unfit(code: str, message: str, error: BaseException) -> Failure:
    if issubclass(type(error), MemoryError):
        code = "out-of-memory"
    return Failure(code, f"{message}: {_line(error)}{_cause(error)}", _line(error))


def _cause(error: BaseException) -> str:
    """What the dynamic linker said before somebody else said it in other words."""
    if any(words in _text(error) for words in LINKER):
        return ""
    for _ in range(DEEPEST_CAUSE):
        try:
            before = error.__cause__ or error.__context__
        except Exception:  # an exception's own property may raise
            return ""
        if not isinstance(before, BaseException):
            return ""
        error = before
        if any(words in _text(error) for words in LINKER):
            return f" (from {_line(error)})"
    return ""


def _print_traceback(error: BaseException) -> None:
    try:
        import traceback  # most workers never need it, and it takes a tenth of the start

        entries = traceback.format_exception(type(error), error, _own_trace(error))
    except KeyboardInterrupt:
        raise
    except BaseException:  # an exception that cannot be printed, or no file that can be opened any more
        return
    for entry in entries:
        _say((entry if len(entry) <= LONGEST_ENTRY else entry[:LONGEST_ENTRY] + "…").rstrip("\n"))


def _own_trace(error: BaseException) -> "Any":
    """The trace from the model's own first frame on: how we came there helps nobody."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__package__") == __package__:
        trace = trace.tb_next
    return trace or error.__traceback__


def _say(line: str) -> None:
    try:
        sys.__stderr__.write(line + "\n")  # type: ignore[union-attr]  # None is caught like what is closed
    except Exception:  # noqa: S110 - the model closed stderr
        pass


def _line(error: BaseException) -> str:
    text, name = _text(error), type(error).__name__
    return f"{name}: {text}" if text else name


def _text(error: BaseException) -> str:
    try:
        text = str(error)
        if len(text) > 1 << 20:  # the reason may stand behind much data
            text = text[: 1 << 19] + text[-(1 << 19) :]
        return " ".join(text.split())
    except KeyboardInterrupt:
        raise
    except BaseException:  # an exception's own __str__ may raise
        return "<cannot be shown>"


def _without_data(text: str) -> str:
    """Mlflow 3 puts the whole input before its reason; data has no place in a message, nor in the logs after it."""
    _, said, reason = text.partition(". Error: ")
    return reason if said and text.startswith("Failed to enforce schema of data") else text


def _described(failure: Failure) -> bytes:
    body = {"code": failure.code, "message": _shortened(failure.message), "exception": _shortened(failure.exception)}
    return dumps(body).encode("ascii")


def _shortened(text: "str | None") -> "str | None":
    if text is None:
        return None
    # Half a surrogate pair can be in a str, and in nothing that the host prints.
    text = text[: LONGEST + 1].encode("utf-8", "backslashreplace").decode("utf-8")
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def _restore_depth() -> None:
    """A model may leave fewer levels of calls than the worker needs to answer."""
    if getrecursionlimit() < DEEPEST:
        setrecursionlimit(DEEPEST)


def _flush() -> None:
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: S110 - closed or replaced by the model, which is its own affair
            pass
