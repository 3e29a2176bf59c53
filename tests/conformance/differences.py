"""Where envbuild answers otherwise than MLflow, on purpose: each difference by name, with its reason.

A difference between the two sides that none of these explains fails a test, and so does one of these that never
occurs among many cases. ``docs/conformance.md`` has the same names.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from eras import Era
from sides import CSV, Case, Outcome


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A named difference, and how it is told."""

    name: str
    reason: str
    holds: Callable[[Era, Case, Outcome, Outcome], bool]
    """Whether it explains what theirs and ours are for a case of an era."""


def types_of(case: Case) -> set[str]:
    """The types of a case's columns."""
    return {spec["type"] for spec in (case.signature or {}).get("inputs", ())}


def _lossy(era: Era, case: Case, theirs: Outcome, ours: Outcome) -> bool:
    said = re.search(r"is not a value of|has the number", str(ours.refused))
    return ours.code == "input-mismatch" and said is not None and theirs.refused is None


def _csv_binary(era: Era, case: Case, theirs: Outcome, ours: Outcome) -> bool:
    return case.content_type == CSV and "binary" in types_of(case) and theirs.refused is None


def _csv_moments(era: Era, case: Case, theirs: Outcome, ours: Outcome) -> bool:
    return case.content_type == CSV and "datetime" in types_of(case) and "datetime64" in str(theirs.refused)


def _missing_binary(era: Era, case: Case, theirs: Outcome, ours: Outcome) -> bool:
    return theirs.before and "encoding without a string argument" in str(theirs.refused)


def _moments(era: Era, case: Case, theirs: Outcome, ours: Outcome) -> bool:
    formats = ("match format", "parsing with format")
    return theirs.before and "datetime" in types_of(case) and any(said in str(theirs.refused) for said in formats)


def _nested_moments(era: Era, case: Case, theirs: Outcome, ours: Outcome) -> bool:
    nested = [spec for spec in (case.signature or {}).get("inputs", ()) if spec["type"] in ("array", "object", "map")]
    said = any(words in str(theirs.refused) for words in ("with dtype `datetime`", "Expected type"))
    is_null = theirs.refused is None and ours.refused is None and b"null" in case.body
    if "safely convert str to datetime" in str(theirs.refused):
        return ours.refused is None
    return '"datetime"' in json.dumps(nested) and ((theirs.before and said) or is_null)


def _text_of_null(era: Era, case: Case, theirs: Outcome, ours: Outcome) -> bool:
    said = re.search(r'"array", "items": {"type": "string"}|{"dtype": "str"', json.dumps(case.signature))
    return said is not None and b"null" in case.body and ours.refused is None


def _no_rows(era: Era, case: Case, theirs: Outcome, ours: Outcome) -> bool:
    return theirs.before and "single positional indexer is out-of-bounds" in str(theirs.refused)


def _nul(era: Era, case: Case, theirs: Outcome, ours: Outcome) -> bool:
    return era.pandas < "3" and case.content_type == CSV and b"\0" in case.body


def _empty_value(era: Era, case: Case, theirs: Outcome, ours: Outcome) -> bool:
    said = any(words in str(ours.refused) for words in ("is a list in the input", "is an object in the input"))
    return said and "is double in the signature" in str(ours.refused) and theirs.refused is None


def _missing_text(era: Era, case: Case, theirs: Outcome, ours: Outcome) -> bool:
    return era.pandas < "3" and _missing_alike(theirs.answer) == _missing_alike(ours.answer) is not None


def _missing_alike(answer: Any) -> str | None:
    return None if answer is None else str(answer).replace('["none"]', '["float", "nan"]')


DIFFERENCES = (
    Difference(
        name="lossy-cast",
        reason="A cast to an integer or a boolean that loses something is refused; MLflow cuts off without a word.",
        holds=_lossy,
    ),
    Difference(
        name="csv-binary",
        reason="Base64 in a CSV's binary column is decoded, as in the other tables; MLflow hands on its text.",
        holds=_csv_binary,
    ),
    Difference(
        name="csv-datetime",
        reason="A CSV's datetime column is read; MLflow hands pandas a dtype that read_csv refuses.",
        holds=_csv_moments,
    ),
    Difference(
        name="missing-binary",
        reason="A null in a binary column stays missing; MLflow cannot decode it and refuses the request.",
        holds=_missing_binary,
    ),
    Difference(
        name="datetime-formats",
        reason="The era's pandas reads the datetimes: before 2.0 it reads each by itself, today's wants one format.",
        holds=_moments,
    ),
    Difference(
        name="datetime-text",
        reason="Our own enforcing reads a datetime's text, nested too, and a nested null is None; MLflow on pandas 3 refuses text.",
        holds=_nested_moments,
    ),
    Difference(
        name="text-of-null",
        reason='A null in an array or tensor of strings is what the era makes of it; MLflow on pandas 3 makes text of "nan".',
        holds=_text_of_null,
    ),
    Difference(
        name="missing-text",
        reason="What a record lacks in a text column is NaN to pandas before 3, a null None; today's text is one of both.",
        holds=_missing_text,
    ),
    Difference(
        name="no-rows",
        reason="A tensor in a table without rows is an empty array to mlflow 1; today's looks at the first row and refuses.",
        holds=_no_rows,
    ),
    Difference(
        name="csv-nul",
        reason="A NUL in a CSV ends the field to pandas before 3; today's keeps it.",
        holds=_nul,
    ),
    Difference(
        name="empty-value",
        reason="An empty list or object in the place of a number in an array is refused; pandas takes it for NaN.",
        holds=_empty_value,
    ),
)


def _refused_then(era: Era, case: Case, theirs: Outcome, ours: Outcome) -> bool:
    return theirs.refused is not None and ours.refused is None


def _rough_floats(era: Era, case: Case, theirs: Outcome, ours: Outcome) -> bool:
    return theirs.refused is None and ours.refused is None and _nearly(theirs.answer, ours.answer)


def _nearly(one: Any, other: Any) -> bool:
    """Whether two answers differ in the last digits of floats alone."""
    if isinstance(one, str) and isinstance(other, str) and one[:1] == other[:1] == "[":
        return _nearly(json.loads(one), json.loads(other))
    if not isinstance(one, list) or not isinstance(other, list) or len(one) != len(other):
        return bool(one == other)
    if one[:1] == other[:1] == ["float"]:
        return one == other or math.isclose(
            float.fromhex(one[1]), float.fromhex(other[1]), rel_tol=1e-10, abs_tol=1e-300
        )
    return all(map(_nearly, one, other))


def _no_instances(era: Era, case: Case, theirs: Outcome, ours: Outcome) -> bool:
    return case.body == b'{"instances": []}'


def _nulls(era: Era, case: Case, theirs: Outcome, ours: Outcome) -> bool:
    return case.signature is None and b"null" in case.body and theirs.refused is None and ours.refused is None


def _no_number(era: Era, case: Case, theirs: Outcome, ours: Outcome) -> bool:
    return any(said in str(ours.refused) for said in (" an object", " null")) and theirs.refused is None


def _ragged(era: Era, case: Case, theirs: Outcome, ours: Outcome) -> bool:
    return case.signature is None and "differ in length" in str(ours.refused) and theirs.refused is None


def _words(era: Era, case: Case, theirs: Outcome, ours: Outcome) -> bool:
    return era.pandas < "2" and case.content_type == CSV and b"None" in case.body


def _nameless_binary(era: Era, case: Case, theirs: Outcome, ours: Outcome) -> bool:
    specs = (case.signature or {}).get("inputs", ())
    return any(spec["type"] == "binary" and "name" not in spec for spec in specs) and theirs.refused is None


def _counted_moments(era: Era, case: Case, theirs: Outcome, ours: Outcome) -> bool:
    alike = [re.sub(r'\["moment", "[^"]*"\]', "", str(one.answer)) for one in (theirs, ours)]
    return "datetime" in types_of(case) and theirs.refused is ours.refused is None and alike[0] == alike[1]


def _lists_for_values(era: Era, case: Case, theirs: Outcome, ours: Outcome) -> bool:
    return theirs.refused is None and "does not match expected dtype bool" in str(ours.refused)


# What there is beside a scoring server of 1.x.
OF_SERVERS_OF_1 = (
    *(difference for difference in DIFFERENCES if difference.name in ("lossy-cast", "csv-binary")),
    Difference(
        name="refused-by-1.x",
        reason="The scoring server of 1.x refused it, and today's rules take it.",
        holds=_refused_then,
    ),
    Difference(
        name="floats-of-1.x",
        reason="The scoring server of 1.x read floats with an error in the last digits.",
        holds=_rough_floats,
    ),
    Difference(
        name="datetime-counts",
        reason="A number among datetimes counts milliseconds to 1.x, nanoseconds today.",
        holds=_counted_moments,
    ),
    Difference(
        name="list-for-boolean",
        reason="A list in the place of a tensor's boolean is refused; 1.x made true of it, whatever it held.",
        holds=_lists_for_values,
    ),
    Difference(
        name="no-instances",
        reason="No instances: 1.x made an empty array or column of it, today's rules make an empty list.",
        holds=_no_instances,
    ),
    Difference(
        name="nulls-of-1.x",
        reason="Nulls without a signature: None in a table, arrays without dimensions in instances; 1.x made NaN and None.",
        holds=_nulls,
    ),
    Difference(
        name="no-number",
        reason="A null for an integer and an object for a number are refused; 1.x made 0 and NaN of them.",
        holds=_no_number,
    ),
    Difference(
        name="ragged",
        reason="Lists of different lengths are no array today; numpy before 1.24 made an array of lists of them.",
        holds=_ragged,
    ),
    Difference(
        name="csv-none",
        reason="The word None in a CSV is a missing value, as it is today; to pandas before 2.0 it was a text.",
        holds=_words,
    ),
    Difference(
        name="nameless-binary",
        reason="Base64 in a binary column without a name is decoded; 1.x decoded only columns with names.",
        holds=_nameless_binary,
    ),
)


def explain(
    era: Era, case: Case, theirs: Outcome, ours: Outcome, known: Sequence[Difference] = DIFFERENCES
) -> str | None:
    """The name of what explains a difference; ``None`` where nothing does."""
    return next((difference.name for difference in known if difference.holds(era, case, theirs, ours)), None)
