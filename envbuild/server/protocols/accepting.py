"""Accepting: in which form an answer is asked for, by a request's ``Accept``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from starlette.requests import Request

from envbuild.request import CSV, JSON, JSON_LINES, kind_of

# What is asked for, and what a worker calls it. SageMaker says jsonlines (SageMaker documentation, "Common data formats
# for inference").
_FORMS: Final[Mapping[str, str]] = {
    JSON: JSON,
    "application/*": JSON,
    "*/*": JSON,
    CSV: CSV,
    "text/*": CSV,
    JSON_LINES: JSON_LINES,
    "application/jsonlines": JSON_LINES,
    "application/x-ndjson": JSON_LINES,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A form that an answer may have."""

    form: str
    """As a worker calls it."""
    name: str
    """As the one who asks calls it."""

    def name_of(self, content_type: str) -> str:
        """How an answer of a content type is called."""
        return self.name if content_type == self.form else content_type


ANYTHING: Final = Accepted(form=JSON, name=JSON)


def accepted(request: Request) -> Accepted:
    """The form that is liked best of those that there are, of equal ones the first; JSON where none of them is named.

    HTTP leaves it to the server what to do then (RFC 9110, 12.4.1), and a browser asks for HTML.
    """
    best, chosen = 0.0, ANYTHING
    for part in ",".join(request.headers.getlist("accept")).split(","):
        kind, weight = kind_of(part), _weight(part)
        if kind in _FORMS and weight > best:
            form = _FORMS[kind]
            best, chosen = weight, Accepted(form=form, name=form if "*" in kind else kind)
    return chosen


def _weight(part: str) -> float:
    """The weight of a media range, from 0 to 1; 1 where none is said, 0 where it cannot be understood."""
    for parameter in part.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            digits = value.strip()
            is_number = len(digits) < 6 and digits.replace(".", "", 1).isdecimal() and digits.isascii()
            return min(float(digits), 1.0) if is_number else 0.0
    return 1.0
