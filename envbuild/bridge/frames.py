"""Frames: one line of JSON header, then exactly ``length`` bytes of payload."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from envbuild.errors import ProtocolError

PROTOCOL: Final = 4
MAX_HEADER: Final = 64 * 1024
MAX_PAYLOAD: Final = 1 << 40
_CHUNK: Final = 1 << 16
# Of a payload, read at once; most are shorter.
_FIRST: Final = 1 << 26


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame of either direction."""

    id: int
    verb: str
    content_type: str = "application/json"
    payload: bytes | bytearray | memoryview = b""
    more: Mapping[str, Any] = field(default_factory=dict)
    """The header's other fields, such as ``nulls``."""

    def header(self) -> bytes:
        """The header's line, with its end; the payload follows it as it is."""
        header = {
            **self.more,
            "protocol": PROTOCOL,
            "id": self.id,
            "verb": self.verb,
            "content_type": self.content_type,
            "length": len(self.payload),
        }
        return json.dumps(header).encode("ascii") + b"\n"

    def said(self) -> dict[str, Any]:
        """The payload, where it is a JSON object.

        :raises ProtocolError: it is none.
        """
        try:
            content = json.loads(bytes(self.payload))
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise ProtocolError(f"the payload of {self.verb!r} is not a JSON object")
        return content


class TooLong(Exception):
    """A payload is longer than what may be read."""

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self.length = length


class FrameReader:
    """Reads frames from something that fills a buffer, as ``readinto`` does."""

    def __init__(self, readinto: Callable[[memoryview], int], longest: int = MAX_PAYLOAD) -> None:
        """
        :param readinto: fills a part of the buffer and says how much; 0 is the end.
        :param longest: the longest payload that is read, in bytes.
        """
        self._readinto = readinto
        self._longest = longest
        self._rest = b""

    def read(self) -> Frame | None:
        """The next frame, or ``None`` at the end, be it in the middle of a frame.

        :raises ProtocolError: what comes is not frames of this protocol.
        :raises TooLong: a payload is longer than the longest; nothing can be read any more.
        """
        line = self._line()
        if line is None:
            return None
        header = _parse(line)
        if header["length"] > self._longest:
            raise TooLong(header["length"])
        payload = self._payload(header.pop("length"))
        if payload is None:
            return None
        known = {name: header.pop(name) for name in ("id", "verb", "content_type")}
        del header["protocol"]
        return Frame(payload=payload, more=header, **known)

    def _line(self) -> bytes | None:
        chunk = bytearray(_CHUNK)
        while b"\n" not in self._rest:
            if len(self._rest) > MAX_HEADER:
                raise ProtocolError(f"a header from the worker is longer than {MAX_HEADER} bytes")
            count = self._readinto(memoryview(chunk))
            if not count:
                return None
            self._rest += chunk[:count]
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def _payload(self, length: int) -> bytearray | None:
        payload = bytearray(self._rest[:length])
        self._rest = self._rest[length:]
        while len(payload) < length:
            start = len(payload)
            # Room for what is said to come is made as it comes: a header may say anything.
            payload.extend(bytes(min(length - start, max(start, _FIRST))))
            if not self._fill(memoryview(payload)[start:]):
                return None
        return payload

    def _fill(self, view: memoryview) -> bool:
        with view:
            start = 0
            while start < len(view):
                count = self._readinto(view[start:])
                if not count:
                    return False
                start += count
        return True


def _parse(line: bytes) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except (ValueError, RecursionError):
        raise _not_ours(line, "is not JSON") from None
    if not isinstance(header, dict):
        raise _not_ours(line, "is not an object")
    version = header.get("protocol")
    if version != PROTOCOL:
        raise ProtocolError(
            f"the worker speaks protocol {repr(version)[:100]}, and this envbuild speaks {PROTOCOL}",
            hint="The worker comes with envbuild: use the same version on both sides (rebuild the image).",
        )
    kinds = {"id": int, "verb": str, "content_type": str, "length": int}
    wrong = [name for name, kind in kinds.items() if type(header.get(name)) is not kind]
    wrong += [name for name in ("nulls", "rows") if type(header.get(name, 0)) is not int]
    if wrong or not 0 <= header["length"] <= MAX_PAYLOAD:
        raise _not_ours(line, f"lacks {', '.join(wrong) or 'a length that can be'}")
    return header


def _not_ours(line: bytes, why: str) -> ProtocolError:
    shown = line[:200].decode("utf-8", "replace")
    return ProtocolError(f"a header from the worker {why}", details=(shown,))
