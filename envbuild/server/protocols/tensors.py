"""Tensors: the named arrays of the Open Inference Protocol, as JSON and as its binary extension has them.

Sources: the Open Inference Protocol, version 2 (``inference_rest.md``), and Triton's and KServe's "Binary Tensor Data
Extension": little-endian, row by row, without padding; a text is its length in four bytes and then its bytes.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from envbuild.errors import InputError

BYTES: Final = "BYTES"
FORMATS: Final[Mapping[str, str]] = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
"""The datatypes beside :data:`BYTES`, and :mod:`struct`'s letters for them."""
JSON_TEXTS: Final = "pd_json"
"""MLServer's content type of texts that are JSON each."""
CONTENT_TYPES: Final = ("np", "pd", "str", "base64", "datetime", JSON_TEXTS)
"""What MLServer's ``content_type`` may say of a tensor or of a whole request."""
# As many as numpy has.
_MOST_DIMENSIONS: Final = 32
_LENGTH: Final = struct.Struct("<I")
_NAMES: Final = {dict: "an object", list: "a list", str: "a text", bool: "a boolean", type(None): "null"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor of a request."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Sequence[Any]
    """Flat, row by row: booleans, integers, floats; of BYTES ``str`` or ``None`` from JSON, ``bytes`` from binary data."""
    content_type: str | None

    @property
    def rows(self) -> int | None:
        """Its length where it is one column, as ``[n]`` or ``[n, 1]``; else ``None``."""
        is_column = len(self.shape) == 1 or (len(self.shape) == 2 and self.shape[1] == 1)
        return self.shape[0] if is_column else None

    def texts(self) -> list[Any]:
        """The values, those of BYTES as text.

        :raises InputError: one is neither UTF-8 nor, where that is said, base64.
        """
        if self.datatype != BYTES:
            return list(self.values)
        return [value if type(value) is str and not self._is_base64 else self._text(value) for value in self.values]

    def base64s(self) -> list[Any]:
        """The values, those of BYTES as base64: what JSON has for a column of bytes.

        A text in JSON is base64 already, unless its content type says that it is a plain one.

        :raises InputError: one is not base64 that is said to be.
        """
        if self.datatype != BYTES:
            return list(self.values)
        return [self._base64(value) for value in self.values]

    @property
    def _is_base64(self) -> bool:
        return self.content_type == "base64"

    def _text(self, value: Any) -> str | None:
        if value is None:
            return None
        try:
            return (_decoded(value) if self._is_base64 else bytes(value)).decode()
        except (UnicodeDecodeError, binascii.Error, ValueError):
            form = "base64 of UTF-8" if self._is_base64 else "UTF-8"
            raise InputError(f"input {self.name!r} has a text that is not {form}") from None

    def _base64(self, value: Any) -> str | None:
        if value is None or (type(value) is str and self.content_type != "str"):
            return value
        try:
            if self._is_base64:
                return bytes(value).decode("ascii")
            return base64.b64encode(value.encode() if type(value) is str else value).decode()
        except UnicodeError:
            raise InputError(f"input {self.name!r} has a value that is not what its content type says") from None


def _decoded(value: str | bytes) -> bytes:
    return base64.b64decode(value, validate=True)


class Tail:
    """The binary data behind the JSON of a request, of which each tensor takes its part."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int, what: str) -> memoryview:
        """The next bytes.

        :raises InputError: there are not as many.
        """
        left = len(self._data) - self._at
        if size > left:
            raise InputError(f"{what} has binary_data_size {size}, and there are {left} bytes left")
        self._at += size
        return self._data[self._at - size : self._at]

    def check_end(self) -> None:
        """Look whether all was taken.

        :raises InputError: there is more.
        """
        if left := len(self._data) - self._at:
            raise InputError(f"there are {left} bytes of binary data that belong to no input")


def read(written: Any, place: int, tail: Tail) -> Tensor:
    """A tensor of a request.

    :param place: its number among the inputs, from 0.
    :raises InputError: there is something in it that does not go together; names the tensor.
    """
    if not isinstance(written, dict):
        raise InputError(f"inputs[{place}] must be an object, not {named(written)}")
    name = written.get("name")
    if not isinstance(name, str) or not name:
        raise InputError(f"inputs[{place}] must have a name")
    what = f"input {name!r}"
    datatype, shape = written.get("datatype"), _shape(written.get("shape"), what)
    if not isinstance(datatype, str) or (datatype not in FORMATS and datatype != BYTES):
        known = ", ".join((*FORMATS, BYTES))
        raise InputError(f"{what} has the datatype {str(datatype)[:40]!r}, which is none of {known}")
    parameters = parameters_of(written, what)
    return Tensor(
        name=name,
        datatype=datatype,
        shape=shape,
        values=_values(written, parameters, datatype, shape, tail, what),
        content_type=content_type_of(parameters, what),
    )


def parameters_of(written: Mapping[str, Any], what: str) -> Mapping[str, Any]:
    """The parameters of a request, an input or an output.

    :raises InputError: they are no object.
    """
    parameters = written.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise InputError(f"the parameters of {what} must be an object, not {named(parameters)}")
    return parameters


def content_type_of(parameters: Mapping[str, Any], what: str) -> str | None:
    """MLServer's ``content_type``.

    :raises InputError: it is none that is known.
    """
    found = parameters.get("content_type")
    if found is None or (isinstance(found, str) and found in CONTENT_TYPES):
        return found
    raise InputError(f"the content_type of {what} is {str(found)[:40]!r}, which is none of {', '.join(CONTENT_TYPES)}")


def named(value: Any) -> str:
    """What a value of JSON is, in words."""
    return _NAMES.get(type(value), "a number")


def _shape(written: Any, what: str) -> tuple[int, ...]:
    if not isinstance(written, list) or not all(type(size) is int and size >= 0 for size in written):
        raise InputError(f"{what} must have a shape, a list of lengths")
    if len(written) > _MOST_DIMENSIONS:
        raise InputError(f"{what} has {len(written)} dimensions, and no more than {_MOST_DIMENSIONS} can be")
    if 0 in written[1:]:
        raise InputError(f"{what} has the shape {written}, and only its first length can be 0")
    return tuple(written)


def _values(
    written: Mapping[str, Any],
    parameters: Mapping[str, Any],
    datatype: str,
    shape: tuple[int, ...],
    tail: Tail,
    what: str,
) -> Sequence[Any]:
    size, data = parameters.get("binary_data_size"), written.get("data")
    if size is None:
        if data is None:
            raise InputError(f"{what} has no data")
        return _checked(_flat(data, shape, what), datatype, what)
    if data is not None:
        raise InputError(f"{what} has data, and a binary_data_size as well")
    if type(size) is not int or size < 0:
        raise InputError(f"the binary_data_size of {what} must be a number of bytes")
    return unpacked(tail.take(size, what), datatype, math.prod(shape), what)


def _flat(data: Any, shape: tuple[int, ...], what: str) -> list[Any]:
    """The values of JSON row by row, whether they are nested or not."""
    # A tensor of one value may come without a list, as MLServer's clients send it.
    values: list[Any] = data if isinstance(data, list) else [data]
    if len(shape) > 1 and values and all(type(row) is list for row in values):
        values = _unnested(values, shape, what)
    # Shapes hold numbers without end; a product is compared, and nothing is made of it.
    if len(values) != math.prod(shape):
        count = _short(math.prod(shape))
        raise InputError(f"{what} has {len(values)} values, and its shape {list(shape)} is of {count}")
    return values


def _unnested(data: list[Any], shape: tuple[int, ...], what: str) -> list[Any]:
    for depth, size in enumerate(shape):
        if depth:
            if not all(type(row) is list for row in data):
                raise InputError(f"{what} has lists that are not nested as its shape {list(shape)} says")
            if any(len(row) != size for row in data):
                raise InputError(f"{what} has lists of other lengths than its shape {list(shape)} says")
            data = list(itertools.chain.from_iterable(data))
        elif len(data) != size:
            raise InputError(f"{what} has {len(data)} rows, and its shape {list(shape)} says {_short(size)}")
    return data


def _short(number: int) -> str:
    return str(number) if number < 10**18 else "far more"


def _checked(values: list[Any], datatype: str, what: str) -> Sequence[Any]:
    """The values of JSON as their datatype has them."""
    kinds = set(map(type, values))
    if datatype == BYTES:
        return _only(values, kinds <= {str, type(None)}, lambda value: value is None or type(value) is str, what, BYTES)
    if datatype == "BOOL":
        return _only(values, kinds <= {bool}, lambda value: type(value) is bool, what, datatype)
    if datatype.startswith("FP"):
        floats = _only(
            values,
            kinds <= {int, float, type(None)},
            lambda value: type(value) in (int, float, type(None)),
            what,
            datatype,
        )
        return _rounded(floats, datatype, what)
    return _integers(values, kinds, datatype, what)


def _only(values: list[Any], is_sure: bool, fits: Callable[[Any], bool], what: str, datatype: str) -> list[Any]:
    if not is_sure:
        place = next(place for place, value in enumerate(values) if not fits(value))
        raise InputError(f"{what} is {datatype}, and its value {place} is {named(values[place])}")
    return values


def _integers(values: list[Any], kinds: set[type], datatype: str, what: str) -> list[int]:
    if not kinds <= {int}:
        # Some clients write whole numbers with a point.
        values = [int(value) for value in _only(values, all(map(_is_whole, values)), _is_whole, what, datatype)]
    bits = 8 * struct.calcsize(FORMATS[datatype])
    lowest, highest = (0, 2**bits - 1) if datatype.startswith("U") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if values and not (lowest <= min(values) and max(values) <= highest):
        place = next(place for place, value in enumerate(values) if not lowest <= value <= highest)
        raise InputError(f"{what} is {datatype}, and its value {place} is not between {lowest} and {highest}")
    return values


def _is_whole(value: Any) -> bool:
    return type(value) is int or (type(value) is float and value.is_integer())


def _rounded(values: list[Any], datatype: str, what: str) -> Sequence[float]:
    """Floats as precise as their datatype is; null is NaN."""
    try:
        floats = [math.nan if value is None else float(value) for value in values]
        if datatype == "FP64":
            return floats
        form = f"<{len(floats)}{FORMATS[datatype]}"
        return struct.unpack(form, struct.pack(form, *floats))
    except OverflowError:
        raise InputError(f"{what} is {datatype}, and has a number that is too large for it") from None


def unpacked(data: memoryview, datatype: str, count: int, what: str) -> Sequence[Any]:
    """The values of a tensor's binary data.

    :raises InputError: there are not as many.
    """
    if datatype == BYTES:
        return _unpacked_texts(data, count, what)
    size = struct.calcsize(FORMATS[datatype])
    if count * size != len(data):
        raise InputError(
            f"{what} has {len(data)} bytes of binary data, and {_short(count)} values of {datatype} are "
            f"{_short(count * size)}"
        )
    if datatype == "BOOL" and data.nbytes and max(data) > 1:
        raise InputError(f"{what} is BOOL, and has a byte that is neither 0 nor 1")
    return struct.unpack(f"<{count}{FORMATS[datatype]}", data)


def _unpacked_texts(data: memoryview, count: int, what: str) -> list[bytes]:
    found, at = [], 0
    while at < len(data):
        if at + _LENGTH.size > len(data):
            raise InputError(f"{what} has binary data that ends inside of a length")
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if at + length > len(data):
            raise InputError(f"{what} has a text of {length} bytes, and {len(data) - at} are left")
        found.append(bytes(data[at : at + length]))
        at += length
    if len(found) != count:
        raise InputError(f"{what} has {len(found)} texts in its binary data, and its shape is of {_short(count)}")
    return found


def packed(values: Sequence[Any], datatype: str) -> bytes:
    """Values as binary data; what is missing is NaN, or an empty text."""
    if datatype == BYTES:
        texts = [b"" if value is None else value if type(value) is bytes else _encoded(value) for value in values]
        return b"".join(itertools.chain.from_iterable((_LENGTH.pack(len(text)), text) for text in texts))
    plain = [math.nan if value is None else value for value in values]
    return struct.pack(f"<{len(plain)}{FORMATS[datatype]}", *plain)


def _encoded(text: str) -> bytes:
    # Half a surrogate pair becomes the escape that JSON has for it.
    return text.encode("utf-8", "backslashreplace")


def nested(values: Sequence[Any], shape: Sequence[int]) -> Any:
    """Flat values as the nested lists of a shape; one value where it has no lengths."""
    if not shape:
        return values[0]
    made: Sequence[Any] = values
    for size in reversed(shape[1:]):
        made = [made[at : at + size] for at in range(0, len(made), size)]
    return [_listed(item) for item in made] if len(shape) > 1 else list(made)


def _listed(value: Any) -> Any:
    """Slices of tuples as lists."""
    return [_listed(item) for item in value] if isinstance(value, (list, tuple)) else value
