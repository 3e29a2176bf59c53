"""Encoding: from what ``predict`` gave back to strict JSON.

Whole arrays and columns are converted at once where their type allows it. Modules such as numpy and pandas are looked
up among the imported ones, never imported: a value of theirs cannot exist before they do.
"""

import base64
import math
import sys
from json import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

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
        except (OutputInvalid, MemoryError):
            raise
        except RecursionError:
            raise OutputInvalid("are nested too deeply, or hold themselves") from None
        except Exception as error:  # a class of the model's own may raise anything when it is looked into
            raise OutputInvalid(f"cannot be made JSON: looking into them raised {_type_name(error)}") from None
        try:
            text = dumps({"predictions": answer} if wrapped else answer, ensure_ascii=False, allow_nan=False)
        except RecursionError:
            raise OutputInvalid("are nested too deeply") from None
        except ValueError as error:  # this Python writes no integer of more than some thousand digits
            raise OutputInvalid(f"cannot be made JSON: {error}") from None
        try:
            return text.encode("utf-8")
        except UnicodeEncodeError:  # half a surrogate pair, which only an escape can carry
            return dumps(loads(text), allow_nan=False).encode("ascii")

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
            return str.__str__(key)
        plain = Encoder("error").encode(key)
        if isinstance(plain, (dict, list, tuple)):
            raise OutputInvalid(f"has a key or a column's name that is a {_type_name(key)}")
        return plain if isinstance(plain, str) else dumps(plain)

    def array(self, array: "Any") -> "Any":
        """An array as nested lists."""
        kind = array.dtype.kind
        if kind not in "biuUfOSMm":
            raise OutputInvalid(f"is an array of {array.dtype}, which has no form in JSON")
        if hasattr(array, "mask") and hasattr(array, "filled"):
            return self._masked(array)
        if kind in "biuU":
            return array.tolist()
        if kind == "f":
            return self._floats(array)
        if kind in "Mm":
            return _texts(array).tolist()
        return self.encode(array.tolist())

    def _masked(self, array: "Any") -> "Any":
        if array.dtype.kind not in "Mm":
            return self.encode(array.tolist())  # in which what is masked is None
        texts = _texts(array.data)
        texts[sys.modules["numpy"].ma.getmaskarray(array)] = None
        return texts.tolist()

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
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
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
        if str(column.dtype) == "category":
            return self._categories(getattr(column, "cat", column))
        # Not by the class of .values, which for moments with a time zone is an array that has lost the zone.
        if isinstance(column.dtype, numpy.dtype) or str(column.dtype).lower().startswith("sparse"):
            return self.array(numpy.asarray(column.values))
        return self.sequence([None if missing else value for value, missing in zip(column, column.isna())])

    def _categories(self, column: "Any") -> "list[Any]":
        # Not by its values: integers of which one is missing would become floats.
        members = self.column(column.categories)
        return [None if code < 0 else members[code] for code in column.codes.tolist()]

    def arrow(self, value: "Any") -> "Any":
        """A table or a batch of Arrow's as records, one of its columns as a list."""
        if not hasattr(value, "schema"):
            return self.encode(value.to_pylist())
        names = value.schema.names
        if len(set(names)) < len(names):
            raise OutputInvalid("has more than one column of the same name")
        columns = [self.encode(value.column(position).to_pylist()) for position in range(len(names))]
        return [dict(zip(names, row)) for row in zip(*columns)]

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


def _times() -> "Any":
    from . import moments  # most answers have no time in them

    return moments


def _texts(array: "Any") -> "Any":
    return _times().moments(array) if array.dtype.kind == "M" else _times().durations(array)


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
    sparse = sys.modules.get("scipy.sparse")
    return sparse is not None and bool(sparse.issparse(value))


def _is_record(value: "Any") -> bool:
    return hasattr(type(value), "__dataclass_fields__")


def _type_name(value: "Any") -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


# The first test that holds decides, so NaT stands before datetime, whose class it pretends to have.
_ENCODERS = (
    (_is_sparse, lambda encoder, value: encoder.array(value.toarray())),  # one of its formats is a dict
    (_is(dict), Encoder.mapping),
    (_is(list, tuple), Encoder.sequence),
    (_of("numpy", "ndarray"), Encoder.array),
    (_of("pandas", "DataFrame"), Encoder.table),
    (_of("pandas", "Series", "Index"), Encoder.column),
    (_of("numpy", "generic"), Encoder.scalar),
    (_is_missing, lambda encoder, value: None),
    (_of("enum", "Enum"), lambda encoder, value: encoder.encode(value.value)),
    (_is(str), lambda encoder, value: str.__str__(value)),
    (_is(int), lambda encoder, value: int(value)),
    (_is(float), Encoder.number),
    (_is(bytes, bytearray, memoryview), lambda encoder, value: base64.b64encode(value).decode("ascii")),
    (_of("datetime", "datetime"), lambda encoder, value: _times().moment(value)),
    (_of("datetime", "date", "time"), lambda encoder, value: value.isoformat()),
    (_of("datetime", "timedelta"), lambda encoder, value: _times().length(value)),
    (_of("decimal", "Decimal"), lambda encoder, value: str(value)),
    (_of("uuid", "UUID"), lambda encoder, value: str(value)),
    (_of("pathlib", "PurePath"), lambda encoder, value: str(value)),
    (_of("pandas", "Categorical"), Encoder.column),
    (_of("pandas.api.extensions", "ExtensionArray"), lambda encoder, value: encoder.column(_series(value))),
    (_of("pyarrow", "Table", "RecordBatch", "Array", "ChunkedArray"), Encoder.arrow),
    (_of("pyarrow", "Scalar"), lambda encoder, value: encoder.encode(value.as_py())),
    (_of("pydantic", "BaseModel"), lambda encoder, value: encoder.encode(_fields(value))),
    (_of("pydantic.v1", "BaseModel"), lambda encoder, value: encoder.encode(value.dict())),
    (_is_record, lambda encoder, value: encoder.mapping(_record(value))),
    (_of("collections.abc", "Mapping"), Encoder.mapping),
    (_of("collections.abc", "Sequence"), lambda encoder, value: encoder.sequence(list(value))),
)  # type: tuple[tuple[Callable[[Any], bool], Callable[[Encoder, Any], Any]], ...]


def _fields(value: "Any") -> "Any":
    return value.model_dump() if hasattr(value, "model_dump") else value.dict()


def _record(value: "Any") -> "dict[str, Any]":
    return {name: getattr(value, name) for name in (field.name for field in sys.modules["dataclasses"].fields(value))}


def _series(value: "Any") -> "Any":
    return sys.modules["pandas"].Series(value)
