"""Parsing: from a request's bytes to the data that ``predict`` is called with.

Pandas and numpy are imported only for the forms that need them, and only when such a request comes.
"""

import io
import json

from .casting import InputInvalid, Schema, require

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
# A body with one of these at the top is for a language model: it is passed, and answered, without a wrapping.
BARE = ("messages", "prompt", "input")
ONE_OF = "the input must be a JSON object with exactly one of " + ", ".join(FORMS)


class Request:
    """A request that was understood: what to predict on, with which params, and whether the answer is wrapped."""

    __slots__ = ("data", "params", "wrapped")

    def __init__(self, data: "Any", params: "dict[str, Any] | None" = None, wrapped: bool = True) -> None:
        self.data = data
        self.params = params
        self.wrapped = wrapped


class Parser:
    """Parses requests for one model."""

    def __init__(
        self, signature: "dict[str, Any] | None", takes_raw_inputs: bool = False, conforms: bool = False
    ) -> None:
        """
        :param takes_raw_inputs: pass ``inputs`` as they are.
        :param conforms: check names, order and shapes too, since the loaded model will not.
        """
        self._schema = Schema((signature or {}).get("inputs") or [])
        self._conforms = conforms
        self._params = {spec["name"] for spec in (signature or {}).get("params") or [] if "name" in spec}
        self._takes_raw_inputs = takes_raw_inputs

    def parse(self, payload: bytes, content_type: str) -> Request:
        """What the request asks for.

        :raises InputInvalid: it cannot be understood.
        :raises Mismatch: it does not fit the signature.
        """
        kind, _, parameters = content_type.partition(";")
        charset = parameters.lower().replace(" ", "").partition("charset=")[2].strip('"') or "utf-8"
        if charset not in ("utf-8", "utf8", "us-ascii"):
            raise InputInvalid(f"the input must be UTF-8, not {charset}")
        reader = _READERS.get(kind.strip().lower())
        if reader is None:
            raise InputInvalid("the content type {!r} is none of {}".format(content_type, ", ".join(sorted(_READERS))))
        request = reader(self, payload)
        if self._conforms and request.wrapped:
            request.data = self._schema.conform(request.data)
        return request

    def json(self, payload: bytes) -> Request:
        """A JSON body in any of its forms."""
        body = _loads(payload)
        if isinstance(body, list):
            return Request(self._frame_of_records(body))
        if not isinstance(body, dict):
            raise InputInvalid(ONE_OF + "; this is a " + _name(body))
        if any(key in body for key in BARE):
            return self._bare(body)
        if not any(form in body for form in FORMS) and "data" in body and "columns" in body:
            return Request(self._frame_of_split(body))  # as MLflow 1.x took it
        return self._wrapped(body)

    def json_lines(self, payload: bytes) -> Request:
        """One record a line."""
        records = []
        for number, line in enumerate(payload.split(b"\n"), 1):
            if line.strip():
                record = _loads(line, f"line {number}")
                if not isinstance(record, dict):
                    raise InputInvalid(f"line {number} is not a JSON object but a {_name(record)}")
                records.append(record)
        return Request(self._frame_of_records(records))

    def csv(self, payload: bytes) -> Request:
        """A table with a header line; what the signature calls a string is kept as it is written."""
        pandas = require("pandas", "CSV")
        try:
            frame = pandas.read_csv(io.BytesIO(payload), dtype=dict.fromkeys(self._schema.text_columns, str))
        except Exception as error:  # pandas raises many kinds, all of them about the input
            raise InputInvalid(f"the CSV cannot be read: {error}") from None
        return Request(self._schema.cast_frame(frame))

    def parquet(self, payload: bytes) -> Request:
        """A Parquet file, whose columns have their types already."""
        pandas = require("pandas", "Parquet")
        try:
            return Request(pandas.read_parquet(io.BytesIO(payload)))
        except ImportError as error:
            raise InputInvalid(f"the model's environment cannot read Parquet: {_first_line(error)}") from None
        except Exception as error:  # as above
            raise InputInvalid(f"the Parquet file cannot be read: {_first_line(error)}") from None

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
            raise InputInvalid(f"params must be an object, not a {_name(params)}")
        return Request(self._data(forms[0], body[forms[0]]), params)

    def _data(self, form: str, value: "Any") -> "Any":
        if self._takes_raw_inputs:
            if form != "inputs":
                raise InputInvalid("this model's signature comes from type hints: it takes 'inputs' only")
            return value
        if form == "dataframe_split":
            return self._frame_of_split(value)
        if form == "dataframe_records":
            return self._frame_of_records(value)
        return self._schema.cast_instances(value) if form == "instances" else self._schema.cast_inputs(value)

    def _frame_of_records(self, records: "Any") -> "Any":
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise InputInvalid("records must be a list of objects")
        return self._frame("dataframe_records", data=records)

    def _frame_of_split(self, split: "Any") -> "Any":
        if not isinstance(split, dict) or "data" not in split:
            raise InputInvalid("dataframe_split must be an object with data and, optionally, columns and index")
        unknown = sorted(set(split) - {"data", "columns", "index"})
        if unknown:
            raise InputInvalid("dataframe_split has unknown keys: " + ", ".join(unknown))
        return self._frame("dataframe_split", **split)

    def _frame(self, form: str, **parts: "Any") -> "Any":
        pandas = require("pandas", form)
        try:
            frame = pandas.DataFrame(**parts)
        except Exception as error:  # as above
            raise InputInvalid(f"{form} is not a table: {_first_line(error)}") from None
        return self._schema.cast_frame(frame)


_READERS = {
    "application/json": Parser.json,
    "application/jsonl": Parser.json_lines,
    "application/x-ndjson": Parser.json_lines,
    "text/csv": Parser.csv,
    "application/vnd.apache.parquet": Parser.parquet,
}


def _loads(payload: bytes, where: str = "the input") -> "Any":
    try:
        return json.loads(payload.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise InputInvalid(f"{where} is not UTF-8: {error}") from None
    except ValueError as error:
        raise InputInvalid(f"{where} is not JSON: {error}") from None
    except RecursionError:
        raise InputInvalid(f"{where} is nested too deeply") from None


def _name(value: "Any") -> str:
    names = {dict: "object", list: "list", str: "string", bool: "boolean", int: "number", float: "number"}
    return names.get(type(value), "null")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
