"""Types: what a model's answer becomes in a DataFrame, by its signature, by what one says, or by its first answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from envbuild.errors import UsageError
from envbuild.model import Model
from envbuild.spark.recipe import Result

_COLUMNS: Final = {
    "boolean": "boolean",
    "integer": "int",
    "long": "bigint",
    "float": "float",
    "double": "double",
    "string": "string",
    "binary": "binary",
    "datetime": "timestamp",
}
# numpy's; Spark has none without a sign, so that the next larger one stands for those.
_DTYPES: Final = {
    "bool": "boolean",
    "int8": "tinyint",
    "int16": "smallint",
    "int32": "int",
    "int64": "bigint",
    "uint8": "smallint",
    "uint16": "int",
    "uint32": "bigint",
    "uint64": "decimal(20,0)",
    "float16": "float",
    "float32": "float",
    "float64": "double",
    "str": "string",
    "object": "string",
    "bytes": "binary",
}
PREDICTION: Final = "prediction"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The columns that an answer becomes, as Spark has them."""

    fields: Any
    """A ``StructType``: one column that is called ``prediction``, or several with their own names."""
    single: bool
    """The answer is one value a row."""

    @property
    def value_type(self) -> Any:
        """The type where all of it is to be one column."""
        return self.fields.fields[0].dataType if self.single else self.fields

    def result(self, zone: str) -> Result:
        """The same for executors."""
        from pyspark.sql.pandas.types import to_arrow_type

        fields = tuple((one.name, to_arrow_type(one.dataType)) for one in self.fields.fields)
        return Result(fields=fields, single=self.single, zone=zone)


def answer_of(result_type: Any) -> Answer:
    """What one says that an answer is: a type of Spark's or its name; a struct's fields become columns.

    :raises UsageError: it is no type.
    """
    from pyspark.errors import PySparkException
    from pyspark.sql.types import DataType, StructType

    if isinstance(result_type, str):
        try:
            kind = _parsed(result_type)
        except (PySparkException, ValueError) as error:
            words = str(error).strip().splitlines() or [type(error).__name__]
            raise UsageError(
                f"the result type {result_type!r} is none of Spark's: {words[0][:200]}",
                hint="such as double, array<double>, 'label string, score double'",
            ) from None
    elif isinstance(result_type, DataType):
        kind = result_type
    else:
        raise UsageError(f"a result type is text or a DataType, and no {type(result_type).__name__}")
    if isinstance(kind, StructType):
        if not kind.fields:
            raise UsageError("the result type has no fields")
        return Answer(fields=kind, single=False)
    return single(kind)


def single(kind: Any, name: str = PREDICTION) -> Answer:
    """An answer of one value a row."""
    from pyspark.sql.types import StructField, StructType

    return Answer(fields=StructType([StructField(name, kind, nullable=True)]), single=True)


def _parsed(text: str) -> Any:
    """A type by its name: in Spark's own words, by its own parser."""
    from pyspark.sql.types import StructType, _parse_datatype_string

    parsed = _parse_datatype_string(text)
    # Older releases make a struct of a lone name.
    if isinstance(parsed, StructType) and len(parsed.fields) == 1 and parsed.fields[0].name == "value":
        return parsed.fields[0].dataType
    return parsed


def of_signature(model: Model) -> Answer | None:
    """What the signature says of the answer; ``None``: nothing that could be a column's type."""
    specs = None if model.signature is None else model.signature.written.get("outputs")
    if not isinstance(specs, list) or not specs:
        return None
    kinds = [_of_spec(spec) for spec in specs]
    if any(kind is None for kind in kinds):
        return None
    names = [spec.get("name") for spec in specs]
    if len(specs) == 1:
        return single(_parsed(str(kinds[0])), PREDICTION if names[0] is None else str(names[0]))
    from pyspark.sql.types import StructField, StructType

    told = [str(at) if name is None else str(name) for at, name in enumerate(names)]
    fields = [StructField(name, _parsed(str(kind)), nullable=True) for name, kind in zip(told, kinds)]
    return Answer(fields=StructType(fields), single=False)


def of_specs(specs: Sequence[Any]) -> dict[str, Any]:
    """The types of a signature's columns that have a name and a type of Spark's."""
    told = {str(spec["name"]): _of_spec(spec) for spec in specs if isinstance(spec, Mapping) and spec.get("name")}
    return {name: _parsed(kind) for name, kind in told.items() if kind is not None}


def _of_spec(spec: Any) -> str | None:
    """A type of a signature in Spark's words."""
    if not isinstance(spec, Mapping):
        return _COLUMNS.get(str(spec))
    kind = spec.get("type")
    if kind == "tensor":
        return _of_tensor(spec.get("tensor-spec"))
    if kind in ("array", "map"):
        inner = _of_spec(spec.get("items" if kind == "array" else "values"))
        whole = "array<{}>" if kind == "array" else "map<string,{}>"
        return None if inner is None else whole.format(inner)
    if kind == "object" and isinstance(spec.get("properties"), Mapping):
        inners = {str(name): _of_spec(below) for name, below in spec["properties"].items()}
        if not inners or any(inner is None for inner in inners.values()):
            return None
        return f"struct<{','.join(f'{quoted(name)}:{inner}' for name, inner in inners.items())}>"
    return _COLUMNS.get(str(kind))


def quoted(name: str) -> str:
    """A name in Spark's words, whatever stands in it."""
    return "`" + name.replace("`", "``") + "`"


def _of_tensor(tensor: Any) -> str | None:
    """A row of a tensor: nested arrays of its further dimensions."""
    if not isinstance(tensor, Mapping) or not isinstance(tensor.get("shape"), Sequence):
        return None
    found = _DTYPES.get(str(tensor.get("dtype")))
    for _ in tensor["shape"][1:]:
        found = None if found is None else f"array<{found}>"
    return found


def of_answer(found: Any, rows: int) -> Answer:
    """What the answer to the first rows shows.

    :param found: the answer as Python objects.
    :raises UsageError: it shows nothing that could be a column's type.
    """
    import pyarrow as pa
    from pyspark.sql.pandas.types import from_arrow_schema

    if isinstance(found, list) and len(found) == rows and all(isinstance(row, Mapping) for row in found):
        named: Mapping[str, Any] = {name: [row.get(name) for row in found] for row in found[:1] for name in row}
    elif isinstance(found, Mapping) and all(isinstance(one, list) and len(one) == rows for one in found.values()):
        named = found
    else:
        named = {}
    is_single = not named
    try:
        table = pa.table(named or {PREDICTION: pa.array(found)})
        if any(_is_unknown(kind) for kind in table.schema.types):
            raise TypeError("nothing but nulls")
        return Answer(fields=from_arrow_schema(table.schema), single=is_single)
    except Exception as error:  # noqa: BLE001 - Arrow's and Spark's own, of several releases
        words = str(error).strip().splitlines() or [type(error).__name__]
        raise UsageError(
            f"the answer to the first {rows} rows has no type of Spark's: {words[0][:200]}",
            hint="result_type says what it is to be, such as string, which has the JSON of whatever comes",
        ) from None


def _is_unknown(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_null(kind) or (hasattr(kind, "value_type") and _is_unknown(kind.value_type)))
