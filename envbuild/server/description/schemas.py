"""Schemas: the types of a signature as JSON Schema (draft 2020-12, which OpenAPI 3.1 has).

The types are MLflow's (MLflow documentation, "Model Signatures"), the formats those of OpenAPI's format registry. A
schema says what fits the signature; a server takes more than that here and there, as docs/bridge.md says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

Schema = dict[str, Any]
Spec = Mapping[str, Any]

_MAX_DEPTH: Final = 50
_NESTED: Final = ("array", "map", "object")
_NEVER_NULL: Final = ("boolean", "integer", "long")
_LARGEST_FLOAT: Final = 3.4028234663852886e38
_LARGEST_HALF: Final = 65504.0
# What a nanosecond's 64 bits hold is a little more; years written out keep the pattern short.
_MOMENT: Final = (
    "^(1[7-9]|2[01])[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    "([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\\.[0-9]{1,9})?)?)?$"
)
_SCALARS: Final[Mapping[str, Schema]] = {
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1},
    "long": {"type": "integer", "format": "int64", "minimum": -(2**63), "maximum": 2**63 - 1},
    "float": {"type": "number", "format": "float", "minimum": -_LARGEST_FLOAT, "maximum": _LARGEST_FLOAT},
    "double": {"type": "number", "format": "double"},
    "string": {"type": "string"},
    "binary": {"type": "string", "format": "byte", "contentEncoding": "base64"},
    "datetime": {"type": "string", "format": "date-time-local", "pattern": _MOMENT},
}
_NUMPYS: Final = {"bool": "boolean", "str": "string", "U": "string", "bytes": "string", "S": "string"}
_FLOATS: Final[Mapping[str, Schema]] = {
    "float16": {"type": "number", "minimum": -_LARGEST_HALF, "maximum": _LARGEST_HALF},
    "float32": _SCALARS["float"],
    "float64": _SCALARS["double"],
}


def of_spec(spec: Any, depth: int = 0) -> Schema:
    """The schema of one value of a column's, a param's or an item's type; an empty one for what nobody knows."""
    if depth > _MAX_DEPTH:
        return {}
    if not isinstance(spec, Mapping):
        return dict(_SCALARS.get(str(spec), {}))
    kind = str(spec.get("type", spec.get("dtype")))
    if kind == "tensor":
        return of_tensor(spec)
    return _of_nested(spec, kind, depth + 1) if kind in _NESTED else dict(_SCALARS.get(kind, {}))


def of_tensor(spec: Spec, *, without_rows: bool = False) -> Schema:
    """Nested arrays, one a dimension; a size of -1 is any, but for the first, which counts the rows and is not 0.

    :param without_rows: of one row of it.
    """
    tensor = spec.get("tensor-spec")
    tensor = tensor if isinstance(tensor, Mapping) else {}
    shape = tensor.get("shape")
    made = _of_dtype(str(tensor.get("dtype")))
    if not isinstance(shape, Sequence) or isinstance(shape, str):
        return {}
    sizes = list(shape)[1:] if without_rows else list(shape)
    for place, size in reversed(list(enumerate(sizes))):
        made = {"type": "array", "items": made}
        if isinstance(size, int) and size >= 0:
            made |= {"minItems": size, "maxItems": size}
        elif place == 0 and not without_rows:
            made |= {"minItems": 1}
    return made


def of_record(specs: Sequence[Spec]) -> Schema:
    """One row as an object: a property a column, and those that must be there."""
    required = names_of(spec for spec in specs if is_required(spec))
    made: Schema = {"type": "object", "properties": {name_of(spec): of_column(spec) for spec in specs}}
    return {**made, "required": required} if required else made


def of_row(specs: Sequence[Spec]) -> Schema:
    """One row as an array, in the order of the columns."""
    columns = [of_column(spec) for spec in specs]
    return {
        "type": "array",
        "prefixItems": columns,
        "items": False,
        "minItems": len(columns),
        "maxItems": len(columns),
    }


def of_column(spec: Spec) -> Schema:
    """One value of a column; what the signature does not require may be null, where its type can hold that."""
    made = of_spec(spec)
    return made if is_required(spec) or not holds_null(spec) else nullable(made)


def of_params(specs: Sequence[Spec]) -> Schema:
    """The params, none of which has to be given."""
    return {"type": "object", "properties": {name_of(spec): of_param(spec) for spec in specs}}


def of_param(spec: Spec) -> Schema:
    """One param: a value or, where it has a shape, a list of them; with its default."""
    made = of_spec(spec)
    if spec.get("shape") is not None:
        made = {"type": "array", "items": made}
    default = spec.get("default")
    return {**(nullable(made) if default is None else made), "default": default}


def answered(schema: Schema) -> Schema:
    """A schema of a request's value as one of an answer's: nothing is promised of ranges, and what is missing is null."""
    made = {key: value for key, value in schema.items() if key not in ("minimum", "maximum", "pattern")}
    if made.get("format") == "date-time-local":
        # As many digits as a moment needs, and its offset where it has one.
        del made["format"]
    if isinstance(made.get("items"), Mapping):
        made["items"] = answered(made["items"])
        if "maxItems" not in made:
            made.pop("minItems", None)
    if isinstance(made.get("properties"), Mapping):
        made["properties"] = {name: answered(below) for name, below in made["properties"].items()}
    if isinstance(made.get("additionalProperties"), Mapping):
        made["additionalProperties"] = answered(made["additionalProperties"])
    return nullable(made) if made.get("type") in ("number", "string") else made


def nullable(schema: Schema) -> Schema:
    """A schema that null fits as well."""
    kind = schema.get("type")
    return schema if kind is None or isinstance(kind, list) else {**schema, "type": [kind, "null"]}


def holds_null(spec: Spec) -> bool:
    """Whether a column of that type can lack a value: the integers and booleans of numpy cannot."""
    return str(spec.get("type")) not in _NEVER_NULL


def name_of(spec: Spec) -> str:
    """The name of a column, a tensor or a param."""
    return str(spec.get("name"))


def names_of(specs: Iterable[Spec]) -> list[str]:
    """The names of some, each once."""
    return list(dict.fromkeys(map(name_of, specs)))


def is_required(spec: Spec) -> bool:
    """Whether the signature wants a column to be there."""
    return bool(spec.get("required", not spec.get("optional", False)))


def _of_nested(spec: Spec, kind: str, depth: int) -> Schema:
    if kind == "array":
        return {"type": "array", "items": of_spec(spec.get("items"), depth)}
    if kind == "map":
        return {"type": "object", "additionalProperties": of_spec(spec.get("values"), depth)}
    properties = spec.get("properties")
    if not isinstance(properties, Mapping):
        return {"type": "object"}
    made: Schema = {
        "type": "object",
        "properties": {str(name): of_spec(below, depth) for name, below in properties.items()},
    }
    required = [str(name) for name, below in properties.items() if not isinstance(below, Mapping) or is_required(below)]
    return {**made, "required": required} if required else made


def _of_dtype(dtype: str) -> Schema:
    """The schema of one value of a numpy dtype."""
    name = dtype.lstrip("<>|=")
    if name in _FLOATS:
        return dict(_FLOATS[name])
    kind, bits = name.rstrip("0123456789"), name[len(name.rstrip("0123456789")) :]
    if kind in ("int", "uint") and bits in ("8", "16", "32", "64"):
        return _of_integer(int(bits), signed=kind == "int")
    if kind.startswith("datetime"):
        return dict(_SCALARS["datetime"])
    return dict(_SCALARS.get(_NUMPYS.get(kind, ""), {}))


def _of_integer(bits: int, *, signed: bool) -> Schema:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    formats = {32: "int32", 64: "int64"} if signed else {}
    made: Schema = {"type": "integer", "minimum": low, "maximum": high}
    return {**made, "format": formats[bits]} if bits in formats else made
