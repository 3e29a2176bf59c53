"""Encoding: from what ``predict`` gave back to strict JSON.

Whole arrays and columns are converted at once where their type allows it. Modules such as numpy and pandas are looked
up among the imported ones, never imported: a value of theirs cannot exist before they do.
"""

import base64
import json
import math
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

SECONDS = len("2020-01-02T00:00:00")
PLAIN = frozenset((bool, int, str, type(None)))


class OutputInvalid(Exception):
    """The answer has something in it that JSON cannot hold; ``path`` says where."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path

    def within(self, step: "int | str") -> "OutputInvalid":
        """The same, seen from the container around it."""
        self.path = (f"[{step}]" if isinstance(step, int) else f".{step}") + self.path
        return self

    def __str__(self) -> str:
        return f"predictions{self.path} {self.reason}"


class Encoder:
    """Encodes one answer; ``nulls`` counts the NaN and infinities that became null."""

    def __init__(self, nan: str = "null") -> None:
        """:param nan: what becomes of NaN and the infinities: ``null``, ``string`` or ``error``."""
        self._nan = nan
        self.nulls = 0

    def dump(self, predictions: "Any", wrapped: bool = True) -> bytes:
        """The answer as UTF-8.

        :raises OutputInvalid: JSON cannot hold it.
        """
        try:
            answer = self.encode(predictions)
            text = json.dumps({"predictions": answer} if wrapped else answer, ensure_ascii=False, allow_nan=False)
        except RecursionError:
            raise OutputInvalid("are nested too deeply, or hold themselves") from None
        try:
            return text.encode("utf-8")
        except UnicodeEncodeError:  # half a surrogate pair, which only an escape can carry
            return json.dumps(json.loads(text), allow_nan=False).encode("ascii")

    def encode(self, value: "Any") -> "Any":
        """A value as something that ``json`` can write without help."""
        kind = type(value)
        if kind in PLAIN:
            return value
        if kind is float:
            return value if math.isfinite(value) else self._not_finite(value)
        for matches, encode in _ENCODERS:
            if matches(value):
                return encode(self, value)
        raise OutputInvalid(f"is a {_type_name(value)}, which has no form in JSON")

    def sequence(self, values: "Any") -> "Any":
        """A list or a tuple."""
        kinds = set(map(type, values))
        if kinds <= PLAIN or (kinds == {float} and all(map(math.isfinite, values))):
            return values
        if len(kinds) == 1 and _of("numpy", "number", "bool_")(values[0]):
            return self.array(sys.modules["numpy"].array(values))
        encoded = []  # type: list[Any]
        for value in values:
            try:
                encoded.append(self.encode(value))
            except OutputInvalid as error:
                raise error.within(len(encoded)) from None
        return encoded

    def mapping(self, values: "Any") -> "Any":
        """A mapping, whose keys become text."""
        encoded = {}  # type: dict[str, Any]
        for key, value in values.items():
            name = self.key(key)
            if name in encoded:
                raise OutputInvalid(f"has two keys that are both {name!r} in JSON")
            try:
                encoded[name] = self.encode(value)
            except OutputInvalid as error:
                raise error.within(name) from None
        return encoded

    def key(self, key: "Any") -> str:
        """A key or a column's name as text, in the way of ``json``."""
        if isinstance(key, str):
            return str(key)
        plain = Encoder("error").encode(key)
        if isinstance(plain, (dict, list, tuple)):
            raise OutputInvalid(f"has a key that is a {_type_name(key)}")
        return plain if isinstance(plain, str) else json.dumps(plain)

    def array(self, array: "Any") -> "Any":
        """An array as nested lists."""
        if hasattr(array, "mask") and hasattr(array, "filled"):
            return self.encode(array.tolist())  # in which what is masked is None
        kind = array.dtype.kind
        if kind in "biuU":
            return array.tolist()
        if kind == "f":
            return self._floats(array)
        if kind == "M":
            return _moments(array).tolist()
        if kind in "OS":
            return self.encode(array.tolist())
        raise OutputInvalid(f"is an array of {array.dtype}, which has no form in JSON")

    def _floats(self, array: "Any") -> "Any":
        numpy = sys.modules["numpy"]
        if array.dtype.itemsize > 8:
            array = array.astype("float64")
        finite = numpy.isfinite(array)
        if finite.all():
            return array.tolist()
        # tolist() first: it keeps a float32 the double that it is.
        return self.encode(array.tolist())

    def table(self, frame: "Any") -> "Any":
        """A table as records."""
        names = [self.key(name) for name in frame.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise OutputInvalid("has more than one column named {}".format(", ".join(map(repr, twice))))
        if not names:
            return [{} for _ in range(len(frame))]
        columns = []
        for position, name in enumerate(names):
            try:
                columns.append(self.column(frame.iloc[:, position]))
            except OutputInvalid as error:
                raise error.within(name) from None
        return [dict(zip(names, row)) for row in zip(*columns)]

    def column(self, column: "Any") -> "Any":
        """A column, a series or an index as a list."""
        numpy = sys.modules["numpy"]
        # Not by the class of .values, which for moments with a time zone is an array that has lost the zone.
        if isinstance(column.dtype, numpy.dtype) or str(column.dtype).lower().startswith(("category", "sparse")):
            return self.array(numpy.asarray(column.values))
        return self.sequence([None if missing else value for value, missing in zip(column, column.isna())])

    def _not_finite(self, value: float) -> "str | None":
        name = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        if self._nan == "error":
            raise OutputInvalid(f"is {name}, which JSON does not have")
        if self._nan == "string":
            return name
        self.nulls += 1
        return None

    def scalar(self, value: "Any") -> "Any":
        """A scalar of numpy's."""
        return self.array(sys.modules["numpy"].asarray(value))

    def number(self, value: float) -> "Any":
        """A float of a class of its own."""
        return self.encode(float(value))


def _moments(array: "Any") -> "Any":
    """ISO 8601 with milliseconds, and with as many digits more as a moment needs to be exact."""
    numpy = sys.modules["numpy"]
    flat = array.reshape(-1)
    texts = numpy.datetime_as_string(flat, unit="ms", casting="unsafe").astype(object)
    known = flat == flat  # NaT is not equal to itself
    for rough, fine in (("ms", "us"), ("us", "ns")):
        finer = known & (flat != flat.astype(f"datetime64[{rough}]"))
        if finer.any():
            texts[finer] = numpy.datetime_as_string(flat[finer], unit=fine, casting="unsafe")
    texts[~known] = None
    return texts.reshape(array.shape)


def _moment(value: "Any") -> str:
    """A ``datetime`` or a pandas Timestamp, with its offset if it has one."""
    nanoseconds = getattr(value, "nanosecond", 0)
    fraction = f"{value.microsecond:06d}" + (f"{nanoseconds:03d}" if nanoseconds else "")
    if not nanoseconds and fraction.endswith("000"):
        fraction = fraction[:3]
    offset = value.isoformat()[SECONDS:].lstrip(".0123456789") if value.tzinfo else ""
    return str(value.isoformat()[:SECONDS]) + "." + fraction + str(offset)


def _of(module: str, *names: str) -> "Callable[[Any], bool]":
    """A test for the classes of a module that may not be imported."""

    def matches(value: "Any") -> bool:
        owner = sys.modules.get(module)
        kinds = tuple(getattr(owner, name) for name in names if hasattr(owner, name))
        return isinstance(value, kinds)

    return matches


def _is(*kinds: type) -> "Callable[[Any], bool]":
    return lambda value: isinstance(value, kinds)


def _is_missing(value: "Any") -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and any(value is getattr(pandas, name, value.__class__) for name in ("NaT", "NA"))


def _is_sparse(value: "Any") -> bool:
    return type(value).__module__.startswith("scipy.sparse") and hasattr(value, "toarray")


def _type_name(value: "Any") -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


# The first test that holds decides, so NaT stands before datetime, whose class it pretends to have.
_ENCODERS = (
    (_is(dict), Encoder.mapping),
    (_is(list, tuple), Encoder.sequence),
    (_of("numpy", "ndarray"), Encoder.array),
    (_of("pandas", "DataFrame"), Encoder.table),
    (_of("pandas", "Series", "Index"), Encoder.column),
    (_of("numpy", "generic"), Encoder.scalar),
    (_is_missing, lambda encoder, value: None),
    (_is(str), lambda encoder, value: str(value)),
    (_is(int), lambda encoder, value: int(value)),
    (_is(float), Encoder.number),
    (_is(bytes, bytearray), lambda encoder, value: base64.b64encode(value).decode("ascii")),
    (_of("datetime", "datetime"), lambda encoder, value: _moment(value)),
    (_of("datetime", "date", "time"), lambda encoder, value: value.isoformat()),
    (_of("decimal", "Decimal"), lambda encoder, value: str(value)),
    (_is_sparse, lambda encoder, value: encoder.array(value.toarray())),
    (_of("pandas", "Categorical"), lambda encoder, value: encoder.array(value.__array__())),
    (_of("pydantic", "BaseModel"), lambda encoder, value: encoder.encode(_fields(value))),
)  # type: tuple[tuple[Callable[[Any], bool], Callable[[Encoder, Any], Any]], ...]


def _fields(value: "Any") -> "Any":
    return value.model_dump() if hasattr(value, "model_dump") else value.dict()
