"""Arrow: tables of the host's read from Arrow streams, and answers written as such.

Beside its columns a stream has what they are in its metadata, as JSON under ``envbuild``. Of a table: ``names``, the
columns' names, since Arrow's are text, and ``params``. Of an answer: ``form``, which is ``array`` (one column, with the
``shape`` of the array that it holds row by row) or ``records`` (a table).
"""

import importlib
import sys
from json import dumps, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KEY = b"envbuild"
# Shorter answers are read sooner from JSON.
FEWEST = 2000


def frame_of(payload: bytes) -> "tuple[Any, dict[str, Any] | None]":
    """A table as a DataFrame, and the params beside it."""
    pyarrow, ipc = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.ipc")
    table = ipc.open_stream(pyarrow.py_buffer(payload)).read_all()
    said = loads(table.schema.metadata[KEY].decode("utf-8"))
    frame = table.to_pandas()
    frame.columns = said["names"]
    return frame, said["params"]


class Unfit(Exception):
    """An answer that JSON has to carry: of a type that Arrow would give back as something else."""


def stream_of(predictions: "Any", nan: str) -> "tuple[Any, int] | None":
    """An answer as a stream, and how many NaN and infinities became null in it; ``None`` where JSON has to carry it.

    :param nan: as for :class:`.encoding.Encoder`; only ``null`` has a form in a column of numbers.
    """
    size = getattr(predictions, "size", 0)
    if type(size) is not int or size < FEWEST:
        return None
    try:
        pyarrow = importlib.import_module("pyarrow")
    except ImportError:
        return None
    try:
        return _stream(pyarrow, predictions, nan)
    except (Unfit, pyarrow.ArrowException, UnicodeError):
        return None


def _stream(pyarrow: "Any", predictions: "Any", nan: str) -> "tuple[Any, int]":
    pandas, numpy = sys.modules.get("pandas"), sys.modules["numpy"]
    counted = _Counted(pyarrow, numpy, nan)
    if pandas is not None and type(predictions) is pandas.DataFrame:
        names = list(predictions.columns)
        if any(type(name) is not str for name in names) or len(set(names)) < len(names) or not names:
            raise Unfit
        said = {"form": "records"}  # type: dict[str, Any]
        arrays = [counted.column(predictions.iloc[:, place]) for place in range(len(names))]
    elif pandas is not None and type(predictions) is pandas.Series:
        said = {"form": "array", "shape": [len(predictions)]}
        names, arrays = ["predictions"], [counted.column(predictions)]
    elif type(predictions) is numpy.ndarray and predictions.ndim:
        said = {"form": "array", "shape": list(predictions.shape)}
        names, arrays = ["predictions"], [counted.array(predictions.reshape(-1))]
    else:
        raise Unfit
    return _written(pyarrow, names, arrays, said), counted.nulls


def _written(pyarrow: "Any", names: "list[str]", arrays: "list[Any]", said: "dict[str, Any]") -> "Any":
    ipc = importlib.import_module("pyarrow.ipc")
    fields = [pyarrow.field(name, array.type) for name, array in zip(names, arrays)]
    schema = pyarrow.schema(fields, metadata={KEY: dumps(said).encode("ascii")})
    batch = pyarrow.RecordBatch.from_arrays(arrays, schema=schema)
    sink = pyarrow.BufferOutputStream()
    writer = ipc.RecordBatchStreamWriter(sink, schema)
    writer.write_batch(batch)
    writer.close()
    return memoryview(sink.getvalue())


class _Counted:
    """Makes arrays of Arrow's, and counts what became null on the way."""

    def __init__(self, pyarrow: "Any", numpy: "Any", nan: str) -> None:
        self._pyarrow = pyarrow
        self._numpy = numpy
        self._nan = nan
        self.nulls = 0

    def column(self, column: "Any") -> "Any":
        """One of pandas' columns."""
        if not isinstance(column.dtype, self._numpy.dtype):
            raise Unfit
        return self.array(column.values)

    def array(self, array: "Any") -> "Any":
        """A flat array of numpy's."""
        kind = array.dtype.kind
        if kind in "biu":
            return self._pyarrow.array(array)
        if kind == "f" and array.dtype.itemsize in (4, 8):
            return self._floats(array)
        if kind == "O" and set(map(type, array.tolist())) == {str}:
            # Half a surrogate pair has no place in it.
            return self._pyarrow.array(array, type=self._pyarrow.string())
        raise Unfit

    def _floats(self, array: "Any") -> "Any":
        missing = ~self._numpy.isfinite(array)
        count = int(missing.sum())
        if not count:
            return self._pyarrow.array(array)
        if self._nan != "null":
            raise Unfit
        self.nulls += count
        return self._pyarrow.array(array, mask=missing)
