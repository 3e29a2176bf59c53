"""Parsing: from a request's bytes to the data that ``predict`` is called with.

Pandas and numpy are imported only for the forms that need them, and only when such a request comes.
"""

import importlib.util
import os
from json import loads

from .answering import ARROW_STREAM, CSV, JSON, JSON_LINES
from .casting import InputInvalid, Schema
from .loading import Mismatch
from .misfits import first_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable  # noqa: F401 - in the comment that types the readers

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
# A body with one of these at the top is for a language model: it is passed, and answered, without a wrapping.
BARE = ("messages", "prompt", "input")
CHARSETS = ("utf-8", "utf8", "us-ascii", "")
ONE_OF = "the input must be a JSON object with exactly one of " + ", ".join(FORMS)


class Request:
    """A request that was understood: what to predict on, with which params, and whether the answer is wrapped."""

    __slots__ = ("data", "kept", "params", "wrapped")

    def __init__(self, data: "Any", params: "dict[str, Any] | None" = None, wrapped: bool = True) -> None:
        self.data = data
        self.kept = None  # type: dict[str, Any] | None
        self.params = params
        self.wrapped = wrapped


class Parser:
    """Parses requests for one model."""

    def __init__(
        self,
        signature: "dict[str, Any] | None",
        takes_raw_inputs: bool = False,
        conforms: bool = False,
        release: "tuple[int, ...] | None" = None,
    ) -> None:
        """
        :param takes_raw_inputs: pass ``inputs`` as they are.
        :param conforms: check names, order and shapes too, since the loaded model will not.
        :param release: the mlflow whose rules are then followed; ``None``: today's.
        """
        parts = signature or {}
        self._schema = Schema(parts.get("inputs") or [], parts.get("params") or [], release)
        # A signature of outputs alone says nothing of requests.
        self._conforms = conforms and any(parts.get(part) for part in ("inputs", "params"))
        self._params = {spec["name"] for spec in parts.get("params") or [] if "name" in spec}
        self._takes_raw_inputs = takes_raw_inputs

    def parse(self, payload: bytes, content_type: str, keep: "list[str] | None" = None) -> Request:
        """What the request asks for.

        :param keep: columns that are to stand before the answer; the model may change them, or never see them.
        :raises InputInvalid: it cannot be understood.
        :raises Mismatch: it does not fit the signature.
        """
        kind, parameters = _parts(content_type)
        if parameters.get("charset", "utf-8") not in CHARSETS:
            raise InputInvalid("the input must be UTF-8, not {}".format(parameters["charset"]))
        reader = _READERS.get(kind)
        if reader is None:
            known = ", ".join(sorted(set(_READERS) - {HANDED, COLUMNS, FRAME}))
            raise InputInvalid(f"the content type {content_type!r} is none of {known}")
        try:
            request = reader(self, payload, parameters.get("format"))
            if keep:
                from .rows import kept

                request.kept = kept(request.data, keep)
            if self._conforms and not self._takes_raw_inputs:
                request.data = self._schema.conform(request.data)
                request.params = self._schema.conform_params(request.params)
        except (InputInvalid, Mismatch, MemoryError):
            raise
        except RecursionError:
            raise InputInvalid("the input is nested too deeply") from None
        except Exception as error:  # numpy and pandas raise many kinds over a few values
            raise InputInvalid(f"the input cannot be parsed: {type(error).__name__}: {first_line(error)}") from None
        return request

    def told(self, refusal: str, data: "Any") -> str:
        """The era's refusal of what was parsed, with the names and types that it lacks."""
        return self._schema.told(refusal, data)

    def json(self, payload: bytes, form: "str | None" = None) -> Request:
        """A JSON body in any of its forms; MLflow 1.x named two of them in the content type."""
        body = _loads(payload)
        if form is not None:
            return Request(self._as_named(form, body))
        if isinstance(body, list):
            return Request(self._frame_of_records(body))
        if not isinstance(body, dict):
            raise InputInvalid(f"{ONE_OF}; this is {_name(body)}")
        if any(key in body for key in BARE):
            return self._bare(body)
        if not any(form in body for form in FORMS) and "data" in body and "columns" in body:
            return Request(self._frame_of_split(body))  # as MLflow 1.x took it
        return self._wrapped(body)

    def split(self, payload: bytes, form: "str | None" = None) -> Request:
        """The body of the content type that MLflow 1.x had for a table of numbers."""
        return self.json(payload, "pandas-split")

    def json_lines(self, payload: bytes, form: "str | None" = None) -> Request:
        """One record a line."""
        records = []
        for number, line in enumerate(payload.split(b"\n"), 1):
            if line.strip():
                record = _loads(line, f"line {number}")
                if not isinstance(record, dict):
                    raise InputInvalid(f"line {number} is not a JSON object but {_name(record)}")
                records.append(record)
        return Request(self._frame_of_records(records))

    def table(self, name: str, payload: bytes) -> Request:
        """A table that is not JSON, by the reader of that name."""
        from . import tables

        return Request(getattr(tables, name)(payload, self._schema))

    def columns(self, payload: bytes, form: "str | None" = None) -> Request:
        """A table of the host's, as JSON of its columns."""
        from . import tables

        self._check_frame()
        body = _loads(payload)
        return Request(tables.of_columns(body, self._schema), body["params"])

    def frame(self, payload: bytes, form: "str | None" = None) -> Request:
        """A table of the host's, as an Arrow stream."""
        from . import tables

        self._check_frame()
        return Request(*tables.of_frame(payload, self._schema))

    def _check_frame(self) -> None:
        if self._takes_raw_inputs:
            raise InputInvalid("this model's signature comes from type hints: it takes 'inputs' only")

    def _as_named(self, form: str, body: "Any") -> "Any":
        if form == "pandas-split":
            return self._frame_of_split(body)
        if form == "pandas-records":
            return self._frame_of_records(body)
        raise InputInvalid(f"the format {form!r} in the content type is neither pandas-split nor pandas-records")

    def _bare(self, body: "dict[str, Any]") -> Request:
        params = {key: value for key, value in body.items() if key in self._params}
        return Request({key: value for key, value in body.items() if key not in params}, params, wrapped=False)

    def _wrapped(self, body: "dict[str, Any]") -> Request:
        forms = [form for form in FORMS if form in body]
        if len(forms) != 1:
            raise InputInvalid("{}; this one has {}".format(ONE_OF, ", ".join(forms or map(repr, body)) or "nothing"))
        if "signature_name" in body:
            raise InputInvalid("signature_name is not supported")
        params = body.get("params")
        if params is not None and not isinstance(params, dict):
            raise InputInvalid(f"params must be an object, not {_name(params)}")
        return Request(self._data(forms[0], body[forms[0]]), params)

    def _data(self, form: str, value: "Any") -> "Any":
        if self._takes_raw_inputs:
            if form != "inputs":
                self._check_frame()
            return value
        if form == "dataframe_split":
            return self._frame_of_split(value)
        if form == "dataframe_records":
            return self._frame_of_records(value)
        return self._schema.cast_instances(value) if form == "instances" else self._schema.cast_inputs(value)

    def _frame_of_records(self, records: "Any") -> "Any":
        from . import tables

        if not isinstance(records, list):
            raise InputInvalid(f"records must be a list of objects, not {_name(records)}")
        for number, record in enumerate(records):
            if not isinstance(record, dict):
                raise InputInvalid(f"records must be a list of objects, and record {number} is {_name(record)}")
        return tables.of_records(records, self._schema)

    def _frame_of_split(self, split: "Any") -> "Any":
        from . import tables

        if not isinstance(split, dict) or "data" not in split:
            raise InputInvalid("dataframe_split must be an object with data and, optionally, columns and index")
        unknown = sorted(set(split) - {"data", "columns", "index"})
        if unknown:
            raise InputInvalid("dataframe_split has unknown keys: " + ", ".join(unknown))
        return tables.of_split(split["data"], split.get("columns"), split.get("index"), self._schema)


def decompressed(payload: bytes, encoding: "Any") -> bytes:
    """A request's payload as it was before it was compressed.

    :raises InputInvalid: it is not compressed in the way that is said, or in one that nobody knows.
    """
    if encoding in (None, "", "identity"):
        return payload
    if encoding not in ("gzip", "x-gzip"):
        raise InputInvalid(f"the content encoding {encoding!r} is not gzip")
    import gzip  # zlib alone would stop in silence after the first of several members
    import zlib

    try:
        return gzip.decompress(payload)
    except (OSError, EOFError, zlib.error) as error:
        raise InputInvalid(f"the input is not gzip: {error}") from None


def readable_types() -> "list[str]":
    """The content types that this environment can parse, found without importing anything."""
    pandas, pyarrow, fastparquet = (_has(name) for name in ("pandas", "pyarrow", "fastparquet"))
    lacking = set()
    if not (pandas and (pyarrow or fastparquet)):
        lacking.add(PARQUET)
    # The format that Arrow has kept since its release 1.0.
    if not (pandas and pyarrow and _major("pyarrow") >= 1):
        lacking.update((*ARROW, FRAME))
    return [kind for kind in _READERS if kind not in lacking]


def _has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # something has put a stand-in for it into sys.modules
        return False


def _major(module: str) -> int:
    """The first number of a package's version, by the name of the folder that pip wrote beside it."""
    spec = importlib.util.find_spec(module)
    folder = os.path.dirname(os.path.dirname((spec and spec.origin) or ""))
    for name in os.listdir(folder or "."):
        if name.startswith(module + "-") and name.endswith(("-info", ".egg")):
            first = name[len(module) + 1 :].partition(".")[0]
            return int(first) if first.isdigit() else 0
    return 1  # installed in a way of its own: it will say itself what it cannot read


PARQUET = "application/vnd.apache.parquet"
ARROW = ("application/vnd.apache.arrow.file", ARROW_STREAM)
HANDED = "application/vnd.envbuild.table+json"
COLUMNS, FRAME = "application/vnd.envbuild.columns+json", "application/vnd.envbuild.frame+arrow"
_READERS = {
    JSON: Parser.json,
    "application/json-numpy-split": Parser.split,
    JSON_LINES: Parser.json_lines,
    "application/x-ndjson": Parser.json_lines,
    CSV: lambda parser, payload, form: parser.table("of_csv", payload),
    PARQUET: lambda parser, payload, form: parser.table("of_parquet", payload),
    ARROW[0]: lambda parser, payload, form: parser.table("of_arrow", payload),
    ARROW[1]: lambda parser, payload, form: parser.table("of_arrow", payload),
    # What the host makes of a table that this environment cannot parse.
    HANDED: lambda parser, payload, form: parser.table("of_handed", payload),
    # A DataFrame that the host was given.
    COLUMNS: Parser.columns,
    FRAME: Parser.frame,
}  # type: dict[str, Callable[[Parser, bytes, str | None], Request]]


def text_of(payload: bytes, where: str = "the input") -> str:
    """A payload as text.

    :raises InputInvalid: it is not UTF-8; says in which line.
    """
    try:
        return payload.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = payload.count(b"\n", 0, error.start) + 1
        place = f" at line {line}" if line > 1 else ""
        raise InputInvalid(f"{where} is not UTF-8{place}: {error.reason} (byte 0x{payload[error.start]:02x})") from None


def _loads(payload: bytes, where: str = "the input") -> "Any":
    text = text_of(payload, where)
    try:
        return loads(text)
    except ValueError as error:
        raise InputInvalid(f"{where} is not JSON: {error}") from None
    except RecursionError:
        raise InputInvalid(f"{where} is nested too deeply") from None


def _parts(content_type: str) -> "tuple[str, dict[str, str]]":
    """A content type and its parameters."""
    kind, _, rest = content_type.partition(";")
    parameters = {}
    for part in rest.split(";"):
        name, _, value = part.partition("=")
        parameters[name.strip().lower()] = value.strip().strip('"').lower()
    return kind.strip().lower(), parameters


def _name(value: "Any") -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")
