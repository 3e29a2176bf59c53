"""Tensors: arrays, and tables in the place of arrays, held against a signature's tensors."""

import importlib

from .loading import Mismatch
from .misfits import MISFITS, first_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .casting import Spec


def tensor(array: "Any", spec: "Spec") -> "Any":
    """An array that has the tensor's dtype and shape.

    :raises Mismatch: it has others, or is no array.
    """
    numpy = importlib.import_module("numpy")
    if not isinstance(array, numpy.ndarray):
        raise Mismatch(f"{_called(spec)} is {spec.said} in the signature, and is no array in the input")
    wanted = numpy.dtype(spec.tensor["dtype"])
    if wanted.kind == "O" and list(spec.tensor["shape"]) == [-1]:
        return array
    if _is_ragged(array, spec):
        return array
    spec.check_shape(array)
    # Text has its own length, and moments without a unit in the signature their own unit.
    is_open = wanted.kind in "US" or wanted == numpy.dtype("datetime64")
    same = array.dtype.kind == wanted.kind if is_open else array.dtype == wanted
    if not same:
        raise Mismatch(f"{_called(spec)} is {spec.said} in the signature, and is one of {array.dtype} in the input")
    return array


def tensor_of_column(column: "Any", spec: "Spec") -> "Any":
    """A tensor whose first dimension is a table's rows: of values, or of lists.

    :raises Mismatch: the values do not fit it.
    """
    shape, dtype = list(spec.tensor["shape"]), spec.tensor["dtype"]
    if shape[0] != -1 or -1 in shape[1:]:
        raise Mismatch(f"{_called(spec)} has the shape {shape}, which a table's rows cannot have")
    cells = column.tolist()
    if not cells:
        raise Mismatch(f"{_called(spec)} is {spec.said} in the signature, and the input has no rows")
    numpy = importlib.import_module("numpy")
    if not isinstance(cells[0], list) or not cells[0] or not numpy.isscalar(cells[0][0]):
        if not numpy.isscalar(cells[0]) or shape not in ([-1], [-1, 1]):
            raise Mismatch(f"{_called(spec)} has the shape {shape}, and the input has other values than that")
        return tensor(_try(spec, lambda: numpy.array(column, dtype=dtype).reshape(shape)), spec)
    made = _try(spec, lambda: numpy.vstack(cells).reshape(shape).astype(dtype))
    if len(made) != len(cells):
        raise Mismatch(f"{_called(spec)} has the shape {shape}, and the input's lists have other lengths")
    return made


def tensor_of_table(frame: "Any", spec: "Spec") -> "Any":
    """A tensor without a name: a table's one column, or all of them side by side.

    :raises Mismatch: the table does not fit it.
    """
    if frame.empty:
        raise Mismatch("the input is an empty table, and the signature has a tensor")
    count = len(frame.columns)
    if count == 1:
        return tensor_of_column(frame.iloc[:, 0], spec)
    if list(spec.tensor["shape"]) != [-1, count]:
        raise Mismatch("the tensor has the shape {}, and the table {} columns".format(spec.tensor["shape"], count))
    return tensor(frame.to_numpy(), spec)


def _is_ragged(array: "Any", spec: "Spec") -> bool:
    shape = list(spec.tensor["shape"])
    return len(shape) > 1 and -1 in shape[1:] and array.ndim == 1 and array.dtype == object


def _try(spec: "Spec", make: "Any") -> "Any":
    try:
        return make()
    except MISFITS as error:
        said = first_line(error)
        raise Mismatch(f"{_called(spec)} is {spec.said} in the signature, and the input does not fit: {said}") from None


def _called(spec: "Spec") -> str:
    return f"column {spec.name!r}" if spec.name else "the input"
