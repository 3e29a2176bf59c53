"""Answering: what ``predict`` gave back, in the content type that the host accepts."""

from .encoding import Encoder, OutputInvalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

JSON = "application/json"
JSON_LINES = "application/jsonl"
CSV = "text/csv"
ARROW_STREAM = "application/vnd.apache.arrow.stream"


class Answer:
    """An answer as bytes; ``nulls`` counts the NaN and infinities that became null."""

    __slots__ = ("content_type", "nulls", "payload")

    def __init__(self, payload: bytes, content_type: str, nulls: int) -> None:
        self.payload = payload
        self.content_type = content_type
        self.nulls = nulls


def answered(
    predictions: "Any",
    nan: str,
    accept: "str | None",
    rows: "int | None",
    wrapped: bool,
    kept: "dict[str, Any] | None" = None,
) -> Answer:
    """An answer in the content type that is accepted; JSON where nothing is said, or nothing else can be had.

    :param nan: what becomes of NaN and the infinities in JSON: ``null``, ``string`` or ``error``.
    :param rows: how many rows the input had; answers of a line a row must have as many.
    :param wrapped: whether JSON has ``predictions`` around it.
    :param kept: columns of the input that stand before the answer, where it is lines of text.
    :raises OutputInvalid: it cannot be written.
    """
    if accept not in (None, JSON, JSON_LINES, CSV, ARROW_STREAM):
        raise OutputInvalid(f"cannot be made {accept!r}")
    encoder = Encoder(nan)
    if accept in (JSON_LINES, CSV):
        from . import rows as lines  # a batch alone asks for them

        written = lines.csv if accept == CSV else lines.json_lines
        return Answer(written(predictions, encoder, rows, kept), accept, encoder.nulls)
    if accept == ARROW_STREAM and wrapped:
        from . import arrow  # likewise

        stream = arrow.stream_of(predictions, nan)
        if stream is not None:
            return Answer(stream[0], ARROW_STREAM, stream[1])
    return Answer(encoder.dump(predictions, wrapped), JSON, encoder.nulls)
