"""Enforcing: data and params held against the signature, for models that no mlflow loaded.

The rules are those of MLflow 3: required inputs must be there, others are dropped, columns are put in order; integers
may become longer and floats more precise, never the other way round; a tensor's dtype and shape must be the
signature's. What the casts before it have made fit passes. Where an older mlflow would have loaded the model, what its
rules were for the kinds of signature that loaders.json lists for it.
"""

import sys

from .casting import DTYPES, module
from .loading import KNOWS_PARAMS, Mismatch
from .misfits import first_line, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .casting import Schema, Spec

# The releases of mlflow since which an object of single values is a row, text stays objects, and a boolean may be
# missing.
ROWS_OF_VALUES, TEXT_IS_OBJECTS, MISSING_BOOLEANS = (2, 3), (1, 28), (2, 10)
# Of arrays; text and bytes keep the dtype that numpy gives them.
ARRAYS = {kind: dtype for kind, dtype in DTYPES.items() if dtype != "object"}
# Which types of Python's a parameter of a type may have.
PARAMS = {
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "string": (str,),
    "binary": (bytes,),
}  # type: dict[str, tuple[type, ...]]


def conformed(data: "Any", schema: "Schema") -> "Any":
    """Data that fits the signature's inputs: a table for columns, arrays for tensors.

    :raises Mismatch: it does not fit.
    """
    if module("numpy") is None or (module("pandas") is None and not schema.specs[0].tensor):
        return _without_pandas(data, schema)
    if schema.specs[0].tensor:
        return _tensors(data, schema)
    return _columns(_table(data, schema), schema)


def params_conformed(
    given: "dict[str, Any] | None",
    specs: "list[dict[str, Any]] | None",
    release: "tuple[int, ...]",
) -> "dict[str, Any] | None":
    """Params in the signature's types, with its defaults; those that it does not know are dropped, and said.

    :raises Mismatch: one is of another type or shape.
    """
    if release < KNOWS_PARAMS:
        return given  # for the model to refuse
    if not specs:
        if given:
            _warn("the signature has no params; ignored: " + ", ".join(map(str, given)))
        return {} if given else given
    known = {spec["name"]: spec for spec in specs}
    unknown = sorted(name for name in given or {} if name not in known)
    if unknown:
        _warn("params that the signature does not have are ignored: " + ", ".join(unknown))
    made = {name: _param(value, known[name]) for name, value in (given or {}).items() if name in known}
    for name, spec in known.items():
        made.setdefault(name, spec.get("default"))
    return made


def _param(value: "Any", spec: "dict[str, Any]") -> "Any":
    what, kind = "param {!r}".format(spec["name"]), str(spec.get("type", spec.get("dtype", "any"))).lower()
    if spec.get("shape") is None:
        if kind == "object":
            from .nested import enforced

            enforced(value, spec, True, what)
            return value
        return _param_value(value, kind, what)
    if not isinstance(value, list) or any(isinstance(item, list) for item in value):
        raise Mismatch(f"{what} is a list of {kind} in the signature, and is {name_of(value)} in the input")
    return [_param_value(item, kind, f"{what}[{place}]") for place, item in enumerate(value)]


def _param_value(value: "Any", kind: str, what: str) -> "Any":
    if value is None:
        return None
    if kind == "datetime":
        return _moment(value, what)
    if type(value) not in PARAMS.get(kind, (type(value),)):
        raise Mismatch(f"{what} is {kind} in the signature, and is {name_of(value)} in the input")
    try:
        return float(value) if kind in ("float", "double") else value
    except OverflowError:
        raise Mismatch(f"{what} is {kind} in the signature, and {name_of(value)} is too large for it") from None


def _moment(value: "Any", what: str) -> "Any":
    numpy = module("numpy")
    try:
        moment = value if numpy is None else numpy.datetime64(value).item()
    except ValueError:
        moment = 0
    if isinstance(moment, int):
        raise Mismatch(f"{what} is datetime in the signature, and is {name_of(value)} in the input")
    return moment


def _table(data: "Any", schema: "Schema") -> "Any":
    """Columns as a table, whatever they came as."""
    pandas = module("pandas")
    if isinstance(data, pandas.DataFrame):
        return data
    try:
        return pandas.DataFrame(_tabular(data, schema))
    except Exception as error:  # pandas raises many kinds over a few values
        raise Mismatch(f"the signature has columns, and the input makes no table: {first_line(error)}") from None


def _tabular(data: "Any", schema: "Schema") -> "Any":
    numpy = module("numpy")
    if not isinstance(data, dict):
        if not isinstance(data, (list, numpy.ndarray)) and not numpy.isscalar(data):
            raise TypeError(f"it is {name_of(data)}")
        return [data] if numpy.isscalar(data) else data
    if schema.release < ROWS_OF_VALUES:
        return data
    if any(spec.type in ("array", "object") for spec in schema.specs) or all(map(_is_single, data.values())):
        return [data]
    arrays = [value for value in data.values() if isinstance(value, numpy.ndarray)]
    if len(arrays) == len(data) and all(array.dtype.kind == "U" and array.shape == () for array in arrays):
        return [data]
    return {name: value.tolist() if getattr(value, "ndim", 0) > 1 else value for name, value in data.items()}


def _is_single(value: "Any") -> bool:
    texts = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return value is None or texts or bool(module("numpy").isscalar(value))


def _columns(frame: "Any", schema: "Schema") -> "Any":
    if schema.exact is not None and schema.exact() is frame and schema.release >= TEXT_IS_OBJECTS:
        return frame
    if schema.named:
        _check_names(list(frame.columns), schema)
        specs = [(name, spec) for name, spec in schema.named.items() if name in frame.columns]
    else:
        names = list(frame.columns)
        if len(names) < len(schema.specs):
            raise Mismatch(f"the signature has {len(schema.specs)} columns, and the input has {len(names)}")
        specs = list(zip(names, schema.specs))
    if _is_as_said(frame, specs, schema.release):
        return frame
    made = {name: _column(frame[name], spec, schema.release) for name, spec in specs}
    return module("pandas").DataFrame(made, columns=[name for name, _ in specs])


def _is_as_said(frame: "Any", specs: "list[tuple[Any, Spec]]", release: "tuple[int, ...]") -> bool:
    """Whether a table has the signature's columns in their order and types, so that no column needs to be made anew."""
    # Without columns a table made anew has no rows.
    if not specs or list(frame.columns) != [name for name, _ in specs]:
        return False
    texts = ("object", "str", "string") if release >= TEXT_IS_OBJECTS else ("str", "string")
    return all(
        dtype in texts if spec.type == "string" else dtype == DTYPES.get(spec.type)
        for dtype, (_, spec) in zip(map(str, frame.dtypes), specs)
    )


def _check_names(names: "list[Any]", schema: "Schema") -> None:
    missing = [str(name) for name, spec in schema.named.items() if spec.required and name not in names]
    extra = [str(name) for name in names if name not in schema.named]
    if missing:
        also = ", and has others: " + ", ".join(extra) if extra else ""
        raise Mismatch("the input lacks what the signature requires: " + ", ".join(missing) + also)
    if extra:
        _warn("inputs that the signature does not have are ignored: " + ", ".join(extra))


def _column(column: "Any", spec: "Spec", release: "tuple[int, ...]") -> "Any":
    if spec.type == "string" and release < TEXT_IS_OBJECTS and column.dtype == object:
        return column.astype(_text_dtype())
    if spec.type not in DTYPES:
        values = [_cell(value, spec, repr(column.name)) for value in column.tolist()]
        return module("pandas").Series(values, index=column.index, name=column.name)
    if column.dtype == object and spec.type not in ("binary", "string"):
        column = column.infer_objects()
    is_text = column.dtype == object or str(column.dtype) in ("str", "string")
    if spec.type in ("string", "binary"):
        if is_text or (spec.type == "binary" and column.dtype.kind == "S"):
            return column
    elif spec.type == "datetime":
        if is_text or column.dtype.kind == "M":
            return _as_moments(column)
    elif spec.type == "boolean" and column.dtype == object and release >= MISSING_BOOLEANS:
        return column  # a boolean that may be missing
    elif str(column.dtype) == DTYPES[spec.type] or _widens(column, module("numpy").dtype(DTYPES[spec.type])):
        return column.astype(DTYPES[spec.type])
    raise Mismatch(f"column {column.name!r} is {spec.type} in the signature, and is {column.dtype} in the input")


def _text_dtype() -> "Any":
    """Of text in a table of mlflow before 1.28, where that pandas has one of its own."""
    dtype = getattr(module("pandas"), "StringDtype", None)
    return object if dtype is None else dtype()


def _widens(column: "Any", wanted: "Any") -> bool:
    """Whether a cast keeps every value that the column's dtype can have, or MLflow's one exception holds."""
    had = column.dtype
    if getattr(had, "kind", "O") not in "iuf" or wanted.kind == "b":
        return False
    if had.kind == wanted.kind:
        return bool(had.itemsize <= wanted.itemsize)
    if had.kind == "u" and wanted.kind == "i":
        return bool(had.itemsize < wanted.itemsize)
    if had.kind in "iu" and str(wanted) == "float64" and had.itemsize < 8:
        return True
    return bool(str(had) == "int64" and wanted.kind == "f" and column.isin([0, 1]).all())


def _as_moments(column: "Any") -> "Any":
    try:
        return column.astype("datetime64[ns]")
    except (TypeError, ValueError, OverflowError) as error:
        said = f"column {column.name!r} is datetime in the signature, and cannot be made it from {column.dtype}"
        raise Mismatch(f"{said}: {first_line(error)}") from None


def _cell(value: "Any", spec: "Spec", path: str) -> "Any":
    """A nested value in a cell of a table; what came as an array stays one."""
    from .nested import enforced  # most signatures have none

    if not isinstance(value, module("numpy").ndarray):
        return enforced(value, spec.written, spec.required, path)
    if not value.ndim:
        raise Mismatch(f"{path} is {spec.said} in the signature, and is {name_of(value.item())} in the input")
    made = enforced(value.tolist(), spec.written, spec.required, path)
    kind = str(spec.written["items"].get("type")).lower() if spec.type == "array" else ""
    return value if not len(value) else module("numpy").array(made, dtype=ARRAYS.get(kind))


def _tensors(data: "Any", schema: "Schema") -> "Any":
    from .tensors import tensor, tensor_of_column, tensor_of_table

    is_table, numpy = hasattr(data, "columns"), module("numpy")
    if not schema.named:
        spec = schema.specs[0]
        if is_table:
            return tensor_of_table(data, spec)
        if not isinstance(data, numpy.ndarray):
            raise Mismatch(f"the signature has a tensor without a name, and the input is {name_of(data)}")
        return tensor(data, spec)
    if isinstance(data, numpy.ndarray) and len(schema.named) == 1:
        data = {next(iter(schema.named)): data}
    if not is_table and not isinstance(data, dict):
        raise Mismatch(f"the signature has tensors with names, and the input is {name_of(data)}")
    _check_names(list(data), schema)
    make = tensor_of_column if is_table else tensor
    return {name: make(data[name], spec) for name, spec in schema.named.items()}


def _without_pandas(data: "Any", schema: "Schema") -> "Any":
    """Names and their order only: what the values are, the casts have looked at."""
    if not isinstance(data, dict) or not schema.named:
        return data
    _check_names(list(data), schema)
    return {name: data[name] for name in schema.named if name in data}


def _warn(text: str) -> None:
    sys.stderr.write(f"envbuild: {text}\n")
