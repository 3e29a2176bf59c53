"""Moments and lengths of time as text: ISO 8601, exact. Read only when an answer has one."""

import sys

from .encoding import OutputInvalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SECONDS = len("2020-01-02T00:00:00")
UNITS = ("ms", "us", "ns", "ps", "fs", "as")
ATTOSECONDS = dict(zip(UNITS, (10**15, 10**12, 10**9, 10**6, 10**3, 1)), s=10**18, m=60 * 10**18, h=3600 * 10**18)
ATTOSECONDS.update(D=86400 * 10**18, W=7 * 86400 * 10**18)


def moments(array: "Any") -> "Any":
    """ISO 8601 with milliseconds, and with as many digits more as a moment needs to be exact."""
    numpy = sys.modules["numpy"]
    flat = _native(array)
    missing = numpy.isnat(flat)
    unit = numpy.datetime_data(flat.dtype)[0]
    units = UNITS[: UNITS.index(unit) + 1] if unit in UNITS else UNITS[:1]
    texts = numpy.full(flat.shape, None, dtype=object)
    if not missing.all():  # without a unit there is nothing but NaT
        texts = numpy.datetime_as_string(flat, unit="ms", casting="unsafe").astype(object)
    for rough, fine in zip(units, units[1:]):  # noqa: RUF007 - pairwise is of Python 3.10
        finer = ~missing & (flat != flat.astype(f"datetime64[{rough}]"))
        if finer.any():
            texts[finer] = numpy.datetime_as_string(flat[finer], unit=fine, casting="unsafe")
    texts[missing] = None
    return texts.reshape(array.shape)


def durations(array: "Any") -> "Any":
    """ISO 8601, exact."""
    numpy = sys.modules["numpy"]
    flat = _native(array)
    missing = numpy.isnat(flat)
    unit, step = numpy.datetime_data(flat.dtype)
    if unit not in ATTOSECONDS and not missing.all():
        raise OutputInvalid(f"is an array of {array.dtype}, which has no form in JSON: its unit has no fixed length")
    texts = numpy.full(flat.shape, None, dtype=object)
    for position in numpy.flatnonzero(~missing):
        texts[position] = _duration(int(flat[position].astype("int64")) * step * ATTOSECONDS[unit])
    return texts.reshape(array.shape)


def _native(array: "Any") -> "Any":
    """Flat, and in this machine's byte order: numpy takes no other for the text of a moment."""
    return array.reshape(-1).astype(array.dtype.newbyteorder("="))


def _duration(attoseconds: int) -> str:
    """A length of time in ISO 8601: days, and what is left in hours, minutes and seconds."""
    seconds, fraction = divmod(abs(attoseconds), 10**18)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    digits = f".{fraction:018d}".rstrip("0").rstrip(".")
    return "{}P{}DT{}H{}M{}{}S".format("-" if attoseconds < 0 else "", days, hours, minutes, seconds, digits)


def moment(value: "Any") -> str:
    """A ``datetime`` or a pandas Timestamp, with its offset if it has one."""
    nanoseconds = getattr(value, "nanosecond", 0)
    fraction = f"{value.microsecond:06d}" + (f"{nanoseconds:03d}" if nanoseconds else "")
    if not nanoseconds and fraction.endswith("000"):
        fraction = fraction[:3]
    offset = value.isoformat()[SECONDS:].lstrip(".0123456789") if value.tzinfo else ""
    return str(value.isoformat()[:SECONDS]) + "." + fraction + str(offset)


def length(value: "Any") -> str:
    """A ``timedelta`` or a pandas Timedelta."""
    if hasattr(value, "to_timedelta64"):
        return str(durations(sys.modules["numpy"].asarray(value.to_timedelta64()))[()])
    return _duration(((value.days * 86400 + value.seconds) * 10**6 + value.microseconds) * 10**12)
