"""Casting: the values of a request made into the types that the model's signature names.

The same forms that MLflow makes, with one difference: what would lose something silently (1.5 for an integer, 300 for
a ``uint8``, ``"false"`` for a boolean) is refused here and not cut off.
"""

import base64
import importlib
import sys

from .loading import Mismatch
from .misfits import MISFITS, check_loss, first_line, first_misfit, lost, name_of, path_of_misfit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

# Later than every release of mlflow.
TODAY = (sys.maxsize,)
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
# In arrays (``instances`` and ``inputs``) MLflow gives text and bytes dtypes of their own.
ARRAY_DTYPES = dict(DTYPES, string="str", binary="bytes")
# The dtypes of text, of bytes and of anything.
TEXTS = ("U", "str", "S", "bytes", "O", "object")
NESTED = ("array", "object", "map")
# Columns of these never have lists in their cells.
FLAT = ("integer", "long", "float", "double", "datetime")


class InputInvalid(Exception):
    """The request cannot be understood."""


def module(name: str) -> "Any":
    """A module of the environment, ``None`` where it does not have it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def require(name: str, form: str) -> "Any":
    """A module that a form of input needs.

    :raises InputInvalid: the environment does not have it.
    """
    found = module(name)
    if found is None:
        raise InputInvalid(f"{form} needs {name}, which the model's environment does not have")
    return found


class Spec:
    """One input of a signature: a column or a tensor."""

    def __init__(self, spec: "dict[str, Any]") -> None:
        self.written = spec
        self.name = spec.get("name")
        self.type = str(spec.get("type", "any")).lower()
        self.tensor = spec["tensor-spec"] if self.type == "tensor" else None  # type: Any
        self.required = bool(spec.get("required", not spec.get("optional", False)))

    @property
    def dtype(self) -> "str | None":
        """Its dtype in a table, ``None`` for what is nested or anything."""
        return self.tensor["dtype"] if self.tensor else DTYPES.get(self.type)

    @property
    def said(self) -> str:
        """Its type in words."""
        return "a tensor of {}".format(self.tensor["dtype"]) if self.tensor else self.type

    @property
    def described(self) -> str:
        """Its type in words, with a tensor's shape."""
        return "{} of the shape {}".format(self.said, list(self.tensor["shape"])) if self.tensor else self.said

    def cast_column(self, column: "Any") -> "Any":
        """A column of a table in this type.

        :raises Mismatch: it cannot be, or not without loss.
        """
        try:
            return self._column(column)
        except MISFITS as error:
            row = first_misfit(len(column), lambda part: self._column(column.iloc[part]))
            what = f"column {column.name!r} is {self.said} in the signature"
            if row is None:
                raise Mismatch(f"{what}, and the input does not fit: {first_line(error)}") from None
            raise Mismatch(f"{what}, and row {row} has {name_of(column.iloc[row])}{lost(error, self.dtype)}") from None

    def _column(self, column: "Any") -> "Any":
        if self.type in NESTED:
            return self._nested(column)
        if self.type == "binary":
            return _mapped(column, _decoded)
        if self.type == "datetime":
            return _moments(column)
        dtype = self.dtype
        if dtype is None or (self.tensor and len(column) and isinstance(column.iloc[0], list)):
            return column  # the era's own enforcement shapes the lists of a tensor
        return _as_text(column, dtype) if dtype.lstrip("<|=").startswith(TEXTS) else _cast(column, dtype)

    def _nested(self, column: "Any") -> "Any":
        from .nested import enforced

        values = [enforced(value, self.written, self.required, repr(column.name)) for value in column.tolist()]
        made = column.astype("object")
        for place, value in enumerate(values):
            made.iat[place] = value
        return made

    def cast_value(self, value: "Any") -> "Any":
        """A value of ``instances`` or ``inputs``: an array, a scalar of numpy's, or nested Python.

        :raises Mismatch: it cannot be cast, or not without loss.
        """
        name = self.name or ""
        if self.type in NESTED:
            from .nested import enforced

            made = enforced(value, self.written, self.required, repr(name))
            return _array(made) if self.type == "array" else made
        if self.type == "any":
            return value
        try:
            return self._array(value)
        except MISFITS as error:
            found = path_of_misfit(value, self._array)
            what = "{} is {} in the signature".format(f"input {name!r}" if name else "the input", self.said)
            if found is None:
                raise Mismatch(f"{what}, and the input does not fit: {first_line(error)}") from None
            where, culprit = found
            raise Mismatch(f"{what}, and {where} {name_of(culprit)}{lost(error, self.dtype)}") from None

    def _array(self, value: "Any") -> "Any":
        dtype = self.tensor["dtype"] if self.tensor else ARRAY_DTYPES[self.type]
        numpy = require("numpy", "an array")
        if self.tensor or isinstance(value, list):
            return _made(numpy, value, dtype)
        return _made(numpy, [value], dtype)[0]

    def check_shape(self, array: "Any") -> None:
        """Look whether an array has the tensor's shape, in which -1 is any length.

        :raises Mismatch: it has another.
        """
        if not hasattr(array, "shape"):
            return
        if self.name is not None and self.type in FLAT and array.ndim > 1:
            raise Mismatch(
                f"column {self.name!r} is {self.type} in the signature, and has the shape {list(array.shape)}"
            )
        if self.tensor is None or self.tensor["dtype"] == "object":
            return  # arrays of objects may be ragged, which is the era's to judge
        wanted, shape = list(self.tensor["shape"]), list(array.shape)
        if len(wanted) != len(shape) or any(w not in (-1, n) for w, n in zip(wanted, shape)):
            name = f"input {self.name!r}" if self.name else "the input"
            raise Mismatch(f"{name} is a tensor of the shape {wanted} in the signature, and has the shape {shape}")


class Schema:
    """The inputs of a signature; an empty one casts nothing."""

    def __init__(
        self,
        inputs: "list[dict[str, Any]]",
        params: "list[dict[str, Any]] | None" = None,
        release: "tuple[int, ...] | None" = None,
    ) -> None:
        self._params = params
        self.release = release or TODAY
        """The mlflow whose rules :meth:`conform` follows."""
        self.exact = None  # type: Callable[[], Any] | None
        """Gives the last table that was made with all columns in their order and types, while there is one."""
        self.specs = [Spec(spec) for spec in inputs]
        self.named = {spec.name: spec for spec in self.specs if spec.name is not None}
        """The inputs that have a name, in their order."""

    @property
    def text_columns(self) -> "list[Any]":
        """The columns whose text must not be guessed at, by their names or, where there are none, by their places."""
        known = self.named.items() if self.named else enumerate(self.specs)
        return [key for key, spec in known if spec.type in ("string", "binary", "datetime")]

    def told(self, refusal: str, data: "Any") -> str:
        """The era's refusal, with both sides' names and types where it says none of them."""
        if any(str(name) in refusal for name in self.named) or not self.specs or "arameter" in refusal:
            return refusal
        wanted = ", ".join(f"{spec.name or place}: {spec.described}" for place, spec in enumerate(self.specs))
        if hasattr(data, "columns"):
            data = {name: data.iloc[:, place] for place, name in enumerate(data.columns)}
        columns = data.items() if isinstance(data, dict) else [(0, data)]
        had = ", ".join(f"{name}: {_kind_of(value)}" for name, value in columns)
        return f"{refusal.rstrip('.')}. The signature has {wanted}; the input has {had}"

    def cast_frame(self, frame: "Any") -> "Any":
        """A table with the columns that the signature knows in its types.

        :raises Mismatch: a column cannot be cast, or not without loss.
        """
        for position, spec in self._columns(frame):
            name = frame.columns[position]
            column = frame.iloc[:, position]
            cast = spec.cast_column(column)
            if cast is not column:
                frame[name] = cast
        return frame

    def _columns(self, frame: "Any") -> "list[tuple[int, Spec]]":
        if self.named:
            names = list(frame.columns)
            return [(names.index(name), spec) for name, spec in self.named.items() if name in names]
        if len(self.specs) == 1 and self.specs[0].tensor:
            return [(position, self.specs[0]) for position in range(len(frame.columns))]
        return list(zip(range(len(frame.columns)), self.specs))

    def conform(self, data: "Any") -> "Any":
        """What the era's own enforcement would do after the casts, for models that no mlflow loaded.

        :raises Mismatch: the data does not fit the signature.
        """
        from .enforcing import conformed

        return conformed(data, self) if self.specs else data

    def conform_params(self, given: "dict[str, Any] | None") -> "dict[str, Any] | None":
        """The params in the signature's types, with its defaults.

        :raises Mismatch: one does not fit the signature.
        """
        from .enforcing import params_conformed

        return params_conformed(given, self._params, self.release)

    def cast_instances(self, value: "Any") -> "Any":
        """``instances``: row by row. Objects become one array a column, of equal lengths; anything else an array.

        :raises InputInvalid: the columns differ in length.
        :raises Mismatch: a value cannot be cast, or not without loss.
        """
        if module("numpy") is None:
            return value  # plain Python values are passed instead
        if not isinstance(value, list) or not value or not isinstance(value[0], dict):
            cast = self._cast_inputs(value)
        else:
            cast = {name: _array([self._value(name, item) for item in items]) for name, items in _turn(value).items()}
        if isinstance(cast, dict):
            self._check_lengths(cast)
        return self._in_shape(cast)

    def cast_inputs(self, value: "Any") -> "Any":
        """``inputs``: column by column. An object becomes one array a name, anything else one array.

        :raises Mismatch: a value cannot be cast, or not without loss.
        """
        return value if module("numpy") is None else self._in_shape(self._cast_inputs(value))

    def _cast_inputs(self, value: "Any") -> "Any":
        if len(self.named) == 1 and isinstance(value, list) and not any(isinstance(item, dict) for item in value):
            value = {next(iter(self.named)): value}
        elif self.specs and not self.named and (value is None or isinstance(value, dict)):
            said = "null" if value is None else "an object with names"
            raise Mismatch(f"the signature has inputs without names, which an array or a value fits, and not {said}")
        if isinstance(value, dict):
            return {name: self._value(name, item) for name, item in value.items()}
        if isinstance(value, list) and all(isinstance(item, dict) for item in value):
            return [{name: self._value(name, item) for name, item in row.items()} for row in value]
        return self.specs[0].cast_value(value) if self.specs else _array(value)

    def _value(self, name: str, value: "Any") -> "Any":
        spec = self.named.get(name)
        return spec.cast_value(value) if spec else _array(value)

    def _in_shape(self, cast: "Any") -> "Any":
        """The era's enforcement would see it too, but does not say which input."""
        if isinstance(cast, dict):
            for name, array in cast.items():
                if name in self.named:
                    self.named[name].check_shape(array)
            if self.specs and not any(spec.tensor or spec.type in ("array", "object") for spec in self.specs):
                _check_equal_lengths(cast)
        elif len(self.specs) == 1:
            self.specs[0].check_shape(cast)
        return cast

    def _check_lengths(self, columns: "dict[str, Any]") -> None:
        # As in MLflow: with names in the signature only what it requires counts, and its own arrays do not.
        arrays = {name: array for name, array in columns.items() if hasattr(array, "shape") and array.ndim}
        if self.named:
            arrays = {
                n: arrays[n] for n, spec in self.named.items() if spec.required and spec.type != "array" and n in arrays
            }
        sizes = {len(array) for array in arrays.values()}
        if len(sizes) > 1:
            raise InputInvalid(
                "the columns of 'instances' differ in length: {}".format(", ".join(map(str, sorted(sizes))))
            )


def _check_equal_lengths(columns: "dict[str, Any]") -> None:
    sizes = {name: len(array) for name, array in columns.items() if getattr(array, "ndim", 0)}
    if len(set(sizes.values())) > 1:
        said = ", ".join(f"{name!r} has {size}" for name, size in sizes.items())
        raise Mismatch(f"the columns differ in length: {said}")


def _kind_of(value: "Any") -> str:
    dtype = getattr(value, "dtype", None)
    shape = list(getattr(value, "shape", ()))
    return name_of(value) if dtype is None else f"{dtype} of the shape {shape}"


def _turn(rows: "list[Any]") -> "dict[str, list[Any]]":
    columns = {}  # type: dict[str, list[Any]]
    for row in rows:
        if not isinstance(row, dict):
            raise InputInvalid("'instances' has objects and other things side by side")
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return columns


def _array(value: "Any") -> "Any":
    numpy = require("numpy", "an array")
    try:
        array = numpy.array(value)
    except ValueError as error:  # rows of different lengths
        raise InputInvalid(f"the input cannot be made an array: {error}") from None
    # Before 1.24 numpy makes lists of different lengths an array of lists.
    if array.dtype.kind == "O" and any(
        isinstance(item, list) or getattr(item, "ndim", 0) for item in array.reshape(-1)
    ):
        raise InputInvalid("the input cannot be made an array: its lists differ in length")
    return array


def _made(numpy: "Any", value: "Any", dtype: str) -> "Any":
    """An array of a dtype.

    :raises Lossy: an integer or a boolean type would lose something.
    """
    array = numpy.array(value, dtype=dtype)
    if array.dtype.kind in "iub":
        source = numpy.array(value)
        if source.dtype.kind not in "iub":
            # Between integers and floats numpy's own choice may have lost something already.
            source = numpy.array(value, dtype="object")
        check_loss(source, array, dtype)
    return array


def _cast(column: "Any", dtype: str) -> "Any":
    if str(column.dtype) == dtype:
        return column
    cast = column.astype(dtype)
    check_loss(column, cast, dtype)
    return cast


def _as_text(column: "Any", dtype: str) -> "Any":
    if dtype.lstrip("<|").startswith(("S", "bytes")):
        return _mapped(column, lambda text: text.encode("utf-8"))
    # pandas 3 has a dtype of its own for text, which must not be made object again.
    if str(column.dtype) in ("str", "string", dtype):
        return column
    return column.astype("object" if dtype in ("O", "object") else "str")


def _mapped(column: "Any", made: "Callable[[Any], Any]") -> "Any":
    # What is missing stays missing, in the column's own way.
    return (
        column.astype("object")
        .map(
            lambda value: (
                made(value)
                if isinstance(value, str)
                else value
                if value is None or value != value
                else _refuse(value, "a string")
            )
        )
        .astype("object")
    )


def _refuse(value: "Any", wanted: str) -> "Any":
    raise ValueError(f"{name_of(value)} is not {wanted}")


def _decoded(text: str) -> bytes:
    return base64.b64decode(text.encode("utf-8"))


def _moments(column: "Any") -> "Any":
    pandas = require("pandas", "datetime")
    if str(column.dtype) == "datetime64[ns]":
        return column
    moments = pandas.to_datetime(column)
    # Signatures mean nanoseconds; pandas 3 makes microseconds out of text.
    unit = getattr(getattr(moments, "dt", None), "unit", "ns")
    return moments.dt.as_unit("ns") if unit != "ns" else moments
