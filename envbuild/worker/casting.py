"""Casting: the values of a request made into the types that the model's signature names.

The same forms that MLflow makes, with one difference: what would lose something silently (1.5 for an integer, 300 for
a ``uint8``, ``"false"`` for a boolean) is refused here and not cut off.
"""

import base64
import importlib

from .loading import Mismatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

DTYPES = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "string": "object",
    "binary": "object",
    "datetime": "datetime64[ns]",
}
# In arrays (``instances`` and ``inputs``) MLflow gives text and bytes their own dtypes.
ARRAY_DTYPES = dict(DTYPES, string="str", binary="bytes")
NESTED = ("array", "object", "map", "any")


class InputInvalid(Exception):
    """The request cannot be understood."""


def require(module: str, form: str) -> "Any":
    """Import what a form of input needs.

    :raises InputInvalid: the environment does not have it.
    """
    try:
        return importlib.import_module(module)
    except ImportError:
        raise InputInvalid(f"{form} needs {module}, which the model's environment does not have") from None


class Spec:
    """One input of a signature: a column or a tensor."""

    def __init__(self, spec: "dict[str, Any]") -> None:
        self.name = spec.get("name")
        self.type = str(spec.get("type", "any")).lower()
        self.tensor = spec["tensor-spec"] if self.type == "tensor" else None
        self.required = bool(spec.get("required", not spec.get("optional", False)))

    @property
    def dtype(self) -> "str | None":
        """Its dtype in a table, ``None`` for what is passed as it is."""
        return self.tensor["dtype"] if self.tensor else DTYPES.get(self.type)

    def cast_column(self, column: "Any") -> "Any":
        """A column of a table in this type.

        :raises Mismatch: it cannot be, or not without loss.
        """
        what = f"column {column.name!r} is {self.dtype if self.tensor else self.type} in the signature"
        return _try(what, lambda: self._column(column))

    def _column(self, column: "Any") -> "Any":
        dtype = self.dtype
        if dtype is None or (self.tensor and len(column) and isinstance(column.iloc[0], list)):
            return column  # nested values: the era's own enforcement shapes them
        if self.type == "binary":
            return column.map(lambda text: base64.b64decode(text) if isinstance(text, str) else text)
        if self.type == "datetime":
            return _moments(column)
        if dtype in ("object", "str") or dtype.startswith("<U"):
            # pandas 3 has a dtype of its own for text, which must not be made object again.
            return column if str(column.dtype) in ("str", "string") else column.astype("object")
        if dtype == "bool":
            _check_booleans(column)
        return _cast(column, dtype)

    def check_shape(self, array: "Any") -> "Any":
        """The array itself.

        :raises Mismatch: its shape is not the tensor's, in which -1 is any length.
        """
        wanted = self.tensor["shape"] if self.tensor else None
        shape = list(getattr(array, "shape", ()))
        if wanted is None or (len(wanted) == len(shape) and all(w in (-1, n) for w, n in zip(wanted, shape))):
            return array
        raise Mismatch(
            "the input {!r} has the shape {}, and the signature says {}".format(self.name or "", shape, wanted)
        )

    def cast_value(self, value: "Any") -> "Any":
        """A value of ``instances`` or ``inputs``: an array, or a scalar of numpy's."""
        if self.type in ("object", "map", "any"):
            return value
        what = "input {!r} is {} in the signature".format(self.name or "", self.dtype if self.tensor else self.type)
        return _try(what, lambda: self._array(value))

    def _array(self, value: "Any") -> "Any":
        numpy = require("numpy", "an array")
        if self.type == "array":
            return numpy.array(value)
        if self.tensor:
            return _cast(numpy.array(value), self.tensor["dtype"])
        array = _cast(numpy.array(value if isinstance(value, list) else [value]), ARRAY_DTYPES[self.type])
        return array if isinstance(value, list) else array[0]


class Schema:
    """The inputs of a signature; an empty one casts nothing."""

    def __init__(self, inputs: "list[dict[str, Any]]") -> None:
        self._specs = [Spec(spec) for spec in inputs]
        self._named = {spec.name: spec for spec in self._specs if spec.name is not None}

    @property
    def text_columns(self) -> "list[str]":
        """The columns whose text must not be guessed at."""
        return [name for name, spec in self._named.items() if spec.type in ("string", "binary", "datetime")]

    def cast_frame(self, frame: "Any") -> "Any":
        """A table with the columns that the signature knows in its types."""
        for position, spec in self._columns(frame):
            name = frame.columns[position]
            column = frame.iloc[:, position]
            cast = spec.cast_column(column)
            if cast is not column:
                frame[name] = cast
        return frame

    def _columns(self, frame: "Any") -> "list[tuple[int, Spec]]":
        if self._named:
            names = list(frame.columns)
            return [(names.index(name), spec) for name, spec in self._named.items() if name in names]
        if len(self._specs) == 1 and self._specs[0].tensor:
            return [(position, self._specs[0]) for position in range(len(frame.columns))]
        return list(zip(range(len(frame.columns)), self._specs))

    def conform(self, data: "Any") -> "Any":
        """What the era's own enforcement would do after the casts: missing inputs refused, others dropped, in order.

        :raises Mismatch: an input that the signature requires is missing, or a tensor has another shape.
        """
        if not self._specs or not (hasattr(data, "columns") or isinstance(data, dict) or hasattr(data, "shape")):
            return data
        if not hasattr(data, "columns") and not isinstance(data, dict):
            return self._specs[0].check_shape(data)
        if not self._named:
            return data
        missing = [name for name, spec in self._named.items() if spec.required and name not in data]
        if missing:
            raise Mismatch("the input lacks what the signature requires: " + ", ".join(map(str, missing)))
        names = [name for name in self._named if name in data]
        if hasattr(data, "columns"):
            return data[names]
        return {name: self._named[name].check_shape(data[name]) for name in names}

    def cast_instances(self, value: "Any") -> "Any":
        """``instances``: row by row. Objects become one array a column, of equal lengths; anything else an array."""
        if not isinstance(value, list) or not value or not isinstance(value[0], dict):
            cast = self.cast_inputs(value)
        elif _numpy() is None:
            return value
        else:
            cast = {name: _array([self._value(name, item) for item in items]) for name, items in _turn(value).items()}
        if isinstance(cast, dict):
            self._check_lengths(cast)
        return cast

    def cast_inputs(self, value: "Any") -> "Any":
        """``inputs``: column by column. An object becomes one array a name, anything else one array."""
        if _numpy() is None:
            return value
        if len(self._named) == 1 and isinstance(value, list) and not any(isinstance(item, dict) for item in value):
            value = {next(iter(self._named)): value}
        if isinstance(value, dict):
            if self._specs and not self._named:
                raise Mismatch("the signature has one input without a name, and the request names some")
            return {name: self._value(name, item) for name, item in value.items()}
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            return [{name: self._value(name, item) for name, item in row.items()} for row in value]
        return self._specs[0].cast_value(value) if self._specs else _array(value)

    def _value(self, name: str, value: "Any") -> "Any":
        spec = self._named.get(name)
        return spec.cast_value(value) if spec else _array(value)

    def _check_lengths(self, columns: "dict[str, Any]") -> None:
        # As in MLflow: with names in the signature only what it requires counts, and its own arrays do not.
        counted = [name for name, spec in self._named.items() if spec.required and spec.type != "array"]
        sizes = {len(columns[name]) for name in counted or columns if len(getattr(columns.get(name), "shape", ()))}
        if len(sizes) > 1:
            raise InputInvalid(
                "the columns of 'instances' differ in length: {}".format(", ".join(map(str, sorted(sizes))))
            )


def _turn(rows: "list[Any]") -> "dict[str, list[Any]]":
    columns = {}  # type: dict[str, list[Any]]
    for row in rows:
        if not isinstance(row, dict):
            raise InputInvalid("'instances' has objects and other things side by side")
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return columns


def _numpy() -> "Any":
    try:
        return importlib.import_module("numpy")
    except ImportError:
        return None  # plain Python values are passed instead


def _array(value: "Any") -> "Any":
    try:
        return require("numpy", "an array").array(value)
    except ValueError as error:  # rows of different lengths
        raise InputInvalid(f"the input cannot be made an array: {error}") from None


def _try(what: str, cast: "Callable[[], Any]") -> "Any":
    try:
        return cast()
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise Mismatch(f"{what}, and the input does not fit: {str(error).splitlines()[0]}") from None


def _cast(values: "Any", dtype: str) -> "Any":
    """An array or a column in another dtype.

    :raises ValueError: an integer type would cut something off.
    """
    integers = "iu"
    cast = values.astype(dtype)
    if getattr(cast.dtype, "kind", "") in integers and getattr(values.dtype, "kind", "O") in "iuf":
        lost = cast != values
        if lost.any():
            # Both arrays and columns give their first bad value in this way.
            raise ValueError(f"{values[lost].tolist()[0]} is not a value of {dtype}")
    return cast


def _check_booleans(column: "Any") -> None:
    for value in column.unique().tolist():
        if value not in (0, 1):
            raise ValueError(f"{value!r} is not a boolean")


def _moments(column: "Any") -> "Any":
    pandas = require("pandas", "datetime")
    moments = pandas.to_datetime(column)
    # Signatures mean nanoseconds; pandas 3 makes microseconds out of text.
    unit = getattr(getattr(moments, "dt", None), "unit", "ns")
    return moments.dt.as_unit("ns") if unit != "ns" else moments
